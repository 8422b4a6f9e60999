// read(2), write(2) and their kin: positions, sizes, copies within the kernel.
import { expect } from 'vitest'
import { O, SEEK } from '../support/syscalls.ts'
import { type Area, fails, needs } from './world.ts'

/** Bytes in which every position is recognised. */
function pattern(length: number): string {
  const bytes = Buffer.alloc(length)
  for (let i = 0; i + 4 <= length; i += 4) bytes.writeUInt32LE((i * 2_654_435_761) >>> 0, i)
  return bytes.toString('latin1')
}

export const data: Area = {
  'reads back what was written, and nothing at the end': async (t) => {
    const fd = await t.p.open(t.at('f'), O.RDWR | O.CREAT)
    await t.p.write(fd, 'hello')
    expect(await t.p.read(fd, 10)).toBe('')
    await t.p.lseek(fd, 1, SEEK.SET)
    expect(await t.p.read(fd, 3)).toBe('ell')
    expect(await t.p.read(fd, 100)).toBe('o')
  },

  'every byte value survives': async (t) => {
    const bytes = String.fromCharCode(...Array.from({ length: 256 }, (_, i) => i))
    expect(await t.content(await t.file('f', bytes))).toBe(bytes)
  },

  'three megabytes in one write': async (t) => {
    const content = pattern(3 * 1024 * 1024 + 17)
    await t.file('f', content)
    expect((await t.content(t.at('f'))) === content).toBe(true)
  },

  'writes that straddle pages and requests': async (t) => {
    const content = pattern(300_000)
    const fd = await t.p.open(t.at('f'), O.RDWR | O.CREAT)
    for (let at = 0, size = 1; at < content.length; at += size, size = (size * 7 + 3) % 70_001) {
      await t.p.pwrite(fd, content.slice(at, at + size), at)
    }
    expect((await t.content(t.at('f'))) === content).toBe(true)
    for (const [at, length] of [
      [4095, 2],
      [131_071, 4098],
      [299_999, 10],
      [300_000, 10],
    ] as const) {
      expect((await t.p.pread(fd, length, at)) === content.slice(at, at + length)).toBe(true)
    }
  },

  'pread and pwrite leave the offset': async (t) => {
    const fd = await t.p.open(await t.file('f', 'abcdef'), O.RDWR)
    await t.p.pwrite(fd, 'XY', 2)
    expect(await t.p.pread(fd, 2, 4)).toBe('ef')
    expect(await t.p.read(fd, 6)).toBe('abXYef')
  },

  'a write beyond the end leaves zeros between': async (t) => {
    const fd = await t.p.open(await t.file('f', 'ab'), O.RDWR)
    await t.p.pwrite(fd, 'yz', 10_000)
    expect(await t.content(t.at('f'))).toBe(`ab${'\0'.repeat(9998)}yz`)
  },

  'a write of nothing changes nothing': async (t) => {
    const fd = await t.p.open(await t.file('f', 'ab'), O.RDWR)
    expect(await t.p.pwrite(fd, '', 100)).toBe(0)
    expect((await t.p.fstat(fd)).size).toBe(2)
  },

  'writev and readv take parts in order': async (t) => {
    const fd = await t.p.open(t.at('f'), O.RDWR | O.CREAT)
    expect(await t.p.writev(fd, ['ab', '', 'cdef', 'g'])).toBe(7)
    await t.p.lseek(fd, 0, SEEK.SET)
    expect(await t.p.readv(fd, [3, 4])).toBe('abcdefg')
  },

  'lseek: current, end, beyond the end, before the start': async (t) => {
    const fd = await t.p.open(await t.file('f', 'abcdef'), O.RDWR)
    expect(await t.p.lseek(fd, -2, SEEK.END)).toBe(4)
    expect(await t.p.lseek(fd, -1, SEEK.CUR)).toBe(3)
    expect(await t.p.lseek(fd, 2 ** 40, SEEK.SET)).toBe(2 ** 40)
    await fails(t.p.lseek(fd, -1, SEEK.SET), 'EINVAL')
  },

  'offsets beyond 4 GiB': needs('sparse', async (t) => {
    const fd = await t.p.open(t.at('f'), O.RDWR | O.CREAT)
    const far = 5 * 2 ** 30 + 3
    await t.p.pwrite(fd, 'far', far)
    expect((await t.p.fstat(fd)).size).toBe(far + 3)
    expect(await t.p.pread(fd, 5, far - 2)).toBe('\0\0far')
  }),

  'a write sets mtime and ctime': async (t) => {
    const fd = await t.p.open(await t.file('f', 'abc'), O.RDWR)
    await t.p.utimens(t.at('f'), 0n, 0n)
    const before = await t.p.fstat(fd)
    await t.p.pwrite(fd, 'x', 0)
    const after = await t.p.fstat(fd)
    expect(after.mtimeNs).toBeGreaterThan(before.mtimeNs)
    expect(after.ctimeNs).toBeGreaterThanOrEqual(before.ctimeNs)
  },

  'an open descriptor sees writes through another at once': async (t) => {
    const reader = await t.p.open(await t.file('f', 'aaaa'), O.RDONLY)
    expect(await t.p.pread(reader, 4, 0)).toBe('aaaa')
    const writer = await t.p.open(t.at('f'), O.WRONLY)
    await t.p.write(writer, 'bbbbbb')
    expect(await t.p.pread(reader, 10, 0)).toBe('bbbbbb')
    expect((await t.p.fstat(reader)).size).toBe(6)
  },

  'stat by path sees the size of an open file at once': async (t) => {
    const fd = await t.p.open(await t.file('f'), O.WRONLY)
    for (const size of [1, 2, 3]) {
      await t.p.write(fd, 'x')
      expect((await t.p.stat(t.at('f'))).size).toBe(size)
    }
  },

  'copy_file_range copies a range, also within one file': async (t) => {
    const source = await t.p.open(await t.file('source', pattern(100_000)), O.RDWR)
    const target = await t.p.open(t.at('target'), O.RDWR | O.CREAT)
    let copied = 0
    while (copied < 90_000) copied += await t.p.copyFileRange(source, 10_000 + copied, target, copied, 90_000 - copied)
    expect((await t.content(t.at('target'))) === pattern(100_000).slice(10_000)).toBe(true)
    expect(await t.p.copyFileRange(target, 0, target, 90_000, 5)).toBe(5)
    expect(await t.p.pread(target, 10, 90_000)).toBe(pattern(100_000).slice(10_000, 10_005))
    expect(await t.p.copyFileRange(source, 200_000, target, 0, 5)).toBe(0)
    await fails(t.p.copyFileRange(target, 0, target, 3, 10), 'EINVAL') // The ranges overlap.
  },

  'sendfile reads through the mount': async (t) => {
    const source = await t.p.open(await t.file('source', 'hello'), O.RDONLY)
    const target = await t.p.open(t.at('target'), O.RDWR | O.CREAT)
    expect(await t.p.sendfile(target, source, 1, 100)).toBe(4)
    expect(await t.content(t.at('target'))).toBe('ello')
  },

  'read and write of a directory are refused': async ({ p, dir }) => {
    const fd = await p.open(dir, O.RDONLY)
    await fails(p.read(fd, 1), 'EISDIR')
  },
}
