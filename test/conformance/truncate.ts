// truncate(2) and ftruncate(2): cut, extend, times, refusals.
import { expect } from 'vitest'
import { O } from '../support/syscalls.ts'
import { type Area, alice, fails, needs } from './world.ts'

export const truncate: Area = {
  'cuts a file': async (t) => {
    await t.p.truncate(await t.file('f', 'abcdef'), 2)
    expect(await t.content(t.at('f'))).toBe('ab')
  },

  'extends a file with zeros': async (t) => {
    await t.p.truncate(await t.file('f', 'ab'), 6000)
    expect(await t.content(t.at('f'))).toBe(`ab${'\0'.repeat(5998)}`)
  },

  'what was cut off does not come back when extended': async (t) => {
    const fd = await t.p.open(await t.file('f', 'x'.repeat(10_000)), O.RDWR)
    expect(await t.p.pread(fd, 10, 9000)).toBe('x'.repeat(10))
    await t.p.ftruncate(fd, 4100)
    await t.p.ftruncate(fd, 10_000)
    expect(await t.content(t.at('f'))).toBe(`${'x'.repeat(4100)}${'\0'.repeat(5900)}`)
  },

  'ftruncate works on an unlinked file and on one without write permission': async (t) => {
    const fd = await t.p.open(t.at('f'), O.RDWR | O.CREAT, 0o444)
    await t.p.unlink(t.at('f'))
    await t.p.ftruncate(fd, 123)
    expect((await t.p.fstat(fd)).size).toBe(123)
  },

  'sets mtime and ctime, also when the size stays': async (t) => {
    await t.file('f', 'abc')
    for (const size of [3, 1, 5]) {
      await t.p.utimens(t.at('f'), 0n, 0n)
      await t.p.truncate(t.at('f'), size)
      expect((await t.p.stat(t.at('f'))).mtimeNs).toBeGreaterThan(0n)
    }
  },

  'of a directory, through a file, of nothing, to a negative size': async (t) => {
    await t.file('f')
    await fails(t.p.truncate(t.dir, 0), 'EISDIR')
    await fails(t.p.truncate(t.at('f/g'), 0), 'ENOTDIR')
    await fails(t.p.truncate(t.at('g'), 0), 'ENOENT')
    await fails(t.p.truncate(t.at('f'), -1), 'EINVAL')
  },

  'to a size that no file can have is EFBIG and changes nothing': async (t) => {
    await fails(t.p.truncate(await t.file('f', 'abc'), 2 ** 62), 'EFBIG')
    expect(await t.content(t.at('f'))).toBe('abc')
  },

  'follows symlinks': async (t) => {
    await t.file('f', 'abc')
    await t.p.symlink('f', t.at('link'))
    await t.p.truncate(t.at('link'), 1)
    expect(await t.content(t.at('f'))).toBe('a')
  },

  'needs write permission': needs('otherUsers', async (t) => {
    await t.file('f', 'abc', 0o644)
    await fails(t.as(alice).truncate(t.at('f'), 0), 'EACCES')
    await t.p.chmod(t.at('f'), 0o666)
    await t.as(alice).truncate(t.at('f'), 0)
    expect((await t.p.stat(t.at('f'))).size).toBe(0)
  }),
}
