// mmap(2): private and shared, in step with read(2) and write(2) and with other mappings.
import { expect } from 'vitest'
import { run } from '../support/run.ts'
import { O } from '../support/syscalls.ts'
import { type Area, fails, needs } from './world.ts'

export const mmap: Area = {
  'a mapping shows the content, and zeros to the end of its page': async (t) => {
    const fd = await t.p.open(await t.file('f', 'abc'), O.RDONLY)
    const mapping = await t.p.mmap(fd, 3, false, false)
    expect(await t.p.mmapRead(mapping, 0, 3)).toBe('abc')
  },

  'a mapping outlives descriptor and name': async (t) => {
    const fd = await t.p.open(await t.file('f', 'abc'), O.RDONLY)
    const mapping = await t.p.mmap(fd, 3, false, false)
    await t.p.close(fd)
    await t.p.unlink(t.at('f'))
    expect(await t.p.mmapRead(mapping, 0, 3)).toBe('abc')
  },

  'a private mapping keeps its changes to itself': async (t) => {
    const fd = await t.p.open(await t.file('f', 'abc'), O.RDWR)
    const mapping = await t.p.mmap(fd, 3, true, false)
    await t.p.mmapWrite(mapping, 0, 'X')
    expect(await t.p.mmapRead(mapping, 0, 3)).toBe('Xbc')
    expect(await t.content(t.at('f'))).toBe('abc')
  },

  'a shared mapping and read and write see each other at once': needs('sharedMmap', async (t) => {
    const fd = await t.p.open(await t.file('f', 'a'.repeat(20_000)), O.RDWR)
    const mapping = await t.p.mmap(fd, 20_000)
    await t.p.mmapWrite(mapping, 9999, 'XYZ')
    expect(await t.p.pread(fd, 5, 9998)).toBe('aXYZa')
    await t.p.pwrite(fd, 'PQR', 5000)
    expect(await t.p.mmapRead(mapping, 4999, 5)).toBe('aPQRa')
  }),

  'two processes share what they map': needs('sharedMmap', async (t) => {
    const other = t.another().calls
    await t.file('f', 'a'.repeat(8192))
    const mine = await t.p.mmap(await t.p.open(t.at('f'), O.RDWR), 8192)
    const theirs = await other.mmap(await other.open(t.at('f'), O.RDWR), 8192)
    for (const [writer, reader, text] of [
      [{ calls: t.p, mapping: mine }, { calls: other, mapping: theirs }, 'ping'],
      [{ calls: other, mapping: theirs }, { calls: t.p, mapping: mine }, 'pong'],
    ] as const) {
      await writer.calls.mmapWrite(writer.mapping, 4094, text)
      expect(await reader.calls.mmapRead(reader.mapping, 4094, 4)).toBe(text)
    }
  }),

  'what a mapping wrote is there after unmap and reopen': needs('sharedMmap', async (t) => {
    const fd = await t.p.open(t.at('f'), O.RDWR | O.CREAT)
    await t.p.ftruncate(fd, 10_000)
    const mapping = await t.p.mmap(fd, 10_000)
    await t.p.mmapWrite(mapping, 0, 'x'.repeat(10_000))
    await t.p.msync(mapping)
    await t.p.munmap(mapping)
    await t.p.close(fd)
    expect(await t.content(t.at('f'))).toBe('x'.repeat(10_000))
  }),

  'a shared writable mapping needs a descriptor that may write': needs('sharedMmap', async (t) => {
    const fd = await t.p.open(await t.file('f', 'abc'), O.RDONLY)
    await fails(t.p.mmap(fd, 3), 'EACCES')
  }),

  'truncation shows in a mapping': needs('sharedMmap', async (t) => {
    const fd = await t.p.open(await t.file('f', 'x'.repeat(4096)), O.RDWR)
    const mapping = await t.p.mmap(fd, 4096)
    expect(await t.p.mmapRead(mapping, 100, 1)).toBe('x')
    await t.p.ftruncate(fd, 100)
    await t.p.ftruncate(fd, 4096)
    expect(await t.p.mmapRead(mapping, 99, 3)).toBe('x\0\0')
  }),

  'a script runs from the mount': async (t) => {
    const path = await t.file('script', '#!/bin/sh\necho ran\n', 0o755)
    expect(await run(path, [])).toBe('ran\n')
  },
}
