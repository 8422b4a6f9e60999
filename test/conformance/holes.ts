// Sparse files: fallocate(2) with its modes, SEEK_DATA and SEEK_HOLE.
import { expect } from 'vitest'
import { FALLOC, O, SEEK } from '../support/syscalls.ts'
import { type Area, fails, needs } from './world.ts'

const MIB = 1024 * 1024

export const holes: Area = {
  'a file of one far byte takes little space': needs('sparse', async (t) => {
    const fd = await t.p.open(t.at('f'), O.RDWR | O.CREAT)
    await t.p.pwrite(fd, 'x', 64 * MIB)
    await t.p.fsync(fd)
    const { size, blocks } = await t.p.fstat(fd)
    expect(size).toBe(64 * MIB + 1)
    expect(blocks * 512).toBeLessThan(MIB)
  }),

  'st_blocks grows with what is written': async (t) => {
    const fd = await t.p.open(t.at('f'), O.RDWR | O.CREAT)
    await t.p.write(fd, 'x'.repeat(MIB))
    await t.p.fsync(fd)
    expect((await t.p.fstat(fd)).blocks * 512).toBeGreaterThanOrEqual(MIB)
  },

  'SEEK_DATA and SEEK_HOLE find the parts': needs('holes', async (t) => {
    const fd = await t.p.open(t.at('f'), O.RDWR | O.CREAT)
    await t.p.pwrite(fd, 'x'.repeat(4096), MIB)
    await t.p.ftruncate(fd, 2 * MIB)
    await t.p.fsync(fd)
    expect(await t.p.lseek(fd, 0, SEEK.HOLE)).toBe(0)
    expect(await t.p.lseek(fd, 0, SEEK.DATA)).toBe(MIB)
    expect(await t.p.lseek(fd, MIB + 5, SEEK.DATA)).toBe(MIB + 5)
    const hole = await t.p.lseek(fd, MIB, SEEK.HOLE)
    expect(hole).toBeGreaterThanOrEqual(MIB + 4096)
    expect(hole).toBeLessThan(2 * MIB)
    await fails(t.p.lseek(fd, hole, SEEK.DATA), 'ENXIO')
  }),

  'the end of a file counts as a hole; beyond it there is ENXIO': async (t) => {
    const fd = await t.p.open(await t.file('f', 'x'.repeat(5000)), O.RDONLY)
    expect(await t.p.lseek(fd, 0, SEEK.DATA)).toBe(0)
    expect(await t.p.lseek(fd, 0, SEEK.HOLE)).toBe(5000)
    for (const whence of [SEEK.DATA, SEEK.HOLE]) await fails(t.p.lseek(fd, 5000, whence), 'ENXIO')
  },

  'SEEK_DATA and SEEK_HOLE before the start or far beyond the end of a file: ENXIO': needs('holes', async (t) => {
    const fd = await t.p.open(await t.file('f', 'abc'), O.RDONLY)
    for (const offset of [-1, -(2 ** 62), 2 ** 53, 2 ** 62])
      for (const whence of [SEEK.DATA, SEEK.HOLE]) await fails(t.p.lseek(fd, offset, whence), 'ENXIO')
  }),

  'fallocate beyond what a file can have is EFBIG': needs('fallocate', async (t) => {
    const fd = await t.p.open(await t.file('f', 'abc'), O.RDWR)
    for (const [offset, length] of [
      [2 ** 62, 1],
      [1, 2 ** 62],
    ] as const)
      await fails(t.p.fallocate(fd, 0, offset, length), 'EFBIG')
    expect((await t.p.fstat(fd)).size).toBe(3)
  }),

  'fallocate extends the file with zeros': needs('fallocate', async (t) => {
    const fd = await t.p.open(await t.file('f', 'abc'), O.RDWR)
    await t.p.fallocate(fd, 0, 0, 10_000)
    expect(await t.content(t.at('f'))).toBe(`abc${'\0'.repeat(9997)}`)
    await t.p.fallocate(fd, 0, 0, 5) // Shorter than the file: the size stays.
    expect((await t.p.fstat(fd)).size).toBe(10_000)
  }),

  'KEEP_SIZE reserves space and keeps the size': needs('fallocate', async (t) => {
    const fd = await t.p.open(await t.file('f', 'abc'), O.RDWR)
    await t.p.fallocate(fd, FALLOC.KEEP_SIZE, 0, MIB)
    const { size, blocks } = await t.p.fstat(fd)
    expect(size).toBe(3)
    expect(blocks * 512).toBeGreaterThanOrEqual(MIB)
  }),

  'PUNCH_HOLE makes zeros and keeps the size': needs('fallocate', async (t) => {
    const fd = await t.p.open(await t.file('f', 'x'.repeat(20_000)), O.RDWR)
    await t.p.fallocate(fd, FALLOC.PUNCH_HOLE | FALLOC.KEEP_SIZE, 5000, 8000)
    expect(await t.content(t.at('f'))).toBe(`${'x'.repeat(5000)}${'\0'.repeat(8000)}${'x'.repeat(7000)}`)
    await t.p.fallocate(fd, FALLOC.PUNCH_HOLE | FALLOC.KEEP_SIZE, 19_000, 50_000)
    expect((await t.p.fstat(fd)).size).toBe(20_000)
    await fails(t.p.fallocate(fd, FALLOC.PUNCH_HOLE, 0, 10), 'EOPNOTSUPP')
  }),

  'ZERO_RANGE makes zeros and may extend': needs('fallocate', async (t) => {
    const fd = await t.p.open(await t.file('f', 'x'.repeat(10_000)), O.RDWR)
    await t.p.fallocate(fd, FALLOC.ZERO_RANGE | FALLOC.KEEP_SIZE, 9000, 5000)
    expect((await t.p.fstat(fd)).size).toBe(10_000)
    await t.p.fallocate(fd, FALLOC.ZERO_RANGE, 9500, 5500)
    expect(await t.content(t.at('f'))).toBe(`${'x'.repeat(9000)}${'\0'.repeat(6000)}`)
  }),

  'fallocate refuses read-only descriptors, directories and empty ranges': needs('fallocate', async (t) => {
    const reader = await t.p.open(await t.file('f', 'abc'), O.RDONLY)
    await fails(t.p.fallocate(reader, 0, 0, 10), 'EBADF')
    const writer = await t.p.open(t.at('f'), O.RDWR)
    await fails(t.p.fallocate(writer, 0, 0, 0), 'EINVAL')
    await fails(t.p.fallocate(writer, 0, -1, 10), 'EINVAL')
    await fails(t.p.fallocate(await t.p.open(t.dir, O.RDONLY), 0, 0, 10), 'EBADF')
    expect(await t.content(t.at('f'))).toBe('abc')
  }),
}
