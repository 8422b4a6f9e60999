// link(2), symlink(2), unlink(2), files without a name.
import { expect } from 'vitest'
import { O } from '../support/syscalls.ts'
import { type Area, fails, needs } from './world.ts'

export const links: Area = {
  'a hard link is the same file': async (t) => {
    await t.file('f', 'abc')
    await t.p.link(t.at('f'), t.at('g'))
    const [f, g] = [await t.p.stat(t.at('f')), await t.p.stat(t.at('g'))]
    expect(g).toEqual(f)
    expect(f.nlink).toBe(2)
    await t.p.truncate(t.at('g'), 1)
    await t.p.chmod(t.at('f'), 0o600)
    expect(await t.p.stat(t.at('g'))).toMatchObject({ size: 1, mode: 0o100600 })
    await t.p.unlink(t.at('f'))
    expect((await t.p.stat(t.at('g'))).nlink).toBe(1)
    expect(await t.content(t.at('g'))).toBe('a')
  },

  'both names show what is written through either, while open': async (t) => {
    const fd = await t.p.open(await t.file('f', 'abc'), O.RDWR)
    await t.p.link(t.at('f'), t.at('g'))
    const other = await t.p.open(t.at('g'), O.RDWR)
    await t.p.pwrite(fd, 'X', 0)
    await t.p.pwrite(other, 'Y', 2)
    expect(await t.p.pread(fd, 3, 0)).toBe('XbY')
  },

  'link refuses an existing name, a directory, and nothing': async (t) => {
    await t.file('f')
    await t.file('g')
    await fails(t.p.link(t.at('f'), t.at('g')), 'EEXIST')
    await fails(t.p.link(await t.directory('d'), t.at('x')), 'EPERM')
    await fails(t.p.link(t.at('nothing'), t.at('x')), 'ENOENT')
  },

  'link of a symlink links the symlink': async (t) => {
    await t.p.symlink('nowhere', t.at('l'))
    await t.p.link(t.at('l'), t.at('m'))
    expect(await t.p.readlink(t.at('m'))).toBe('nowhere')
    expect((await t.p.lstat(t.at('l'))).nlink).toBe(2)
  },

  'two hundred links': async ({ p, at, dir }) => {
    await p.mknod(at('f'), 0o100644)
    for (let i = 0; i < 200; i++) await p.link(at('f'), at(`l${i}`))
    expect((await p.stat(at('l199'))).nlink).toBe(201)
    for (let i = 0; i < 200; i++) await p.unlink(at(`l${i}`))
    expect((await p.stat(at('f'))).nlink).toBe(1)
    expect(await p.readdir(dir)).toEqual(['f'])
  },

  'a symlink keeps its target exactly': async ({ p, at }) => {
    for (const [i, target] of ['x', '../..//a/./b', '/absolute', 'ä 🐙', 'x'.repeat(4095), ' '].entries()) {
      await p.symlink(target, at(`l${i}`))
      expect(await p.readlink(at(`l${i}`))).toBe(target)
      expect((await p.lstat(at(`l${i}`))).size).toBe(Buffer.byteLength(target))
    }
    await fails(p.symlink('x'.repeat(4096), at('long')), 'ENAMETOOLONG')
    await fails(p.symlink('', at('empty')), 'ENOENT')
  },

  'readlink is for symlinks': async (t) => {
    await fails(t.p.readlink(await t.file('f')), 'EINVAL')
    await fails(t.p.readlink(t.dir), 'EINVAL')
  },

  'symlinks lead to files and through directories': async (t) => {
    await t.directory('d')
    await t.file('d/f', 'abc')
    await t.p.symlink('d', t.at('l'))
    expect(await t.content(t.at('l/f'))).toBe('abc')
    expect(await t.p.readdir(t.at('l'))).toEqual(['f'])
    await fails(t.p.rmdir(t.at('l')), 'ENOTDIR')
    await t.p.unlink(t.at('l'))
    expect(await t.p.readdir(t.at('d'))).toEqual(['f'])
  },

  'an unlinked file lives until its last close': needs('unlinkedCount', async (t) => {
    const fd = await t.p.open(await t.file('f', 'abc'), O.RDWR)
    const second = await t.p.open(t.at('f'), O.RDONLY)
    await t.p.unlink(t.at('f'))
    await fails(t.p.stat(t.at('f')), 'ENOENT')
    expect(await t.p.fstat(fd)).toMatchObject({ nlink: 0, size: 3 })
    await t.p.pwrite(fd, 'def', 3)
    expect(await t.p.pread(second, 10, 0)).toBe('abcdef')
    await t.p.close(fd)
    expect(await t.p.pread(second, 10, 0)).toBe('abcdef')
  }),

  'a new file under the name of an unlinked one is another file': async (t) => {
    const fd = await t.p.open(await t.file('f', 'old'), O.RDONLY)
    const { ino } = await t.p.fstat(fd)
    await t.p.unlink(t.at('f'))
    await t.file('f', 'new')
    expect((await t.p.stat(t.at('f'))).ino).not.toBe(ino)
    expect(await t.p.read(fd, 3)).toBe('old')
    expect(await t.content(t.at('f'))).toBe('new')
  },

  'unlink fails on nothing, and twice': async (t) => {
    await t.p.unlink(await t.file('f'))
    await fails(t.p.unlink(t.at('f')), 'ENOENT')
  },

  'O_TMPFILE has no name until it is given one': needs('temporaryFiles', async (t) => {
    const fd = await t.p.open(t.dir, O.TMPFILE | O.RDWR, 0o640)
    await t.p.write(fd, 'abc')
    expect(await t.p.fstat(fd)).toMatchObject({ nlink: 0, size: 3, mode: 0o100640 })
    expect(await t.p.readdir(t.dir)).toEqual([])
    await t.p.linkDescriptor(fd, t.at('named'))
    expect(await t.content(t.at('named'))).toBe('abc')
    expect((await t.p.fstat(fd)).nlink).toBe(1)
  }),

  'O_TMPFILE with O_EXCL stays without a name': needs('temporaryFiles', async (t) => {
    const fd = await t.p.open(t.dir, O.TMPFILE | O.RDWR | O.EXCL, 0o600)
    await fails(t.p.linkDescriptor(fd, t.at('named')), 'ENOENT')
    await fails(t.p.open(t.at('nothing'), O.TMPFILE | O.RDWR), 'ENOENT')
    await fails(t.p.open(await t.file('f'), O.TMPFILE | O.RDWR), 'ENOTDIR')
  }),

  'an unlinked file cannot get a name again': async (t) => {
    const fd = await t.p.open(await t.file('f'), O.RDWR)
    await t.p.unlink(t.at('f'))
    await fails(t.p.linkDescriptor(fd, t.at('g')), 'ENOENT')
  },
}
