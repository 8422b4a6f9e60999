// Extended attributes: create, replace, list, sizes, and who may.
import { expect } from 'vitest'
import { XATTR } from '../support/syscalls.ts'
import { type Area, alice, fails, needs, type World } from './world.ts'

const area: Record<string, (t: World) => Promise<void>> = {
  'set, get, list, remove': async (t) => {
    const path = await t.file('f')
    await t.p.setxattr(path, 'user.one', 'first')
    await t.p.setxattr(path, 'user.two', 'second')
    expect(await t.p.getxattr(path, 'user.one')).toBe('first')
    expect(await t.p.listxattr(path)).toEqual(['user.one', 'user.two'])
    await t.p.removexattr(path, 'user.one')
    expect(await t.p.listxattr(path)).toEqual(['user.two'])
    await fails(t.p.getxattr(path, 'user.one'), 'ENODATA')
    await fails(t.p.removexattr(path, 'user.one'), 'ENODATA')
  },

  'CREATE refuses what is there, REPLACE what is not': async (t) => {
    const path = await t.file('f')
    await fails(t.p.setxattr(path, 'user.x', '1', XATTR.REPLACE), 'ENODATA')
    await t.p.setxattr(path, 'user.x', '2', XATTR.CREATE)
    await fails(t.p.setxattr(path, 'user.x', '3', XATTR.CREATE), 'EEXIST')
    await t.p.setxattr(path, 'user.x', '4', XATTR.REPLACE)
    expect(await t.p.getxattr(path, 'user.x')).toBe('4')
  },

  'empty values, all bytes, long values': async (t) => {
    const path = await t.file('f')
    const all = String.fromCharCode(...Array.from({ length: 256 }, (_, i) => i))
    for (const [i, value] of ['', all, all.repeat(8)].entries()) {
      await t.p.setxattr(path, `user.v${i}`, value)
      expect(await t.p.getxattr(path, `user.v${i}`)).toBe(value)
    }
  },

  'names of 255 bytes, in UTF-8': async (t) => {
    const path = await t.file('f')
    for (const name of [`user.${'x'.repeat(250)}`, `user.${'ä'.repeat(125)}`]) {
      await t.p.setxattr(path, name, 'v')
      expect(await t.p.getxattr(path, name)).toBe('v')
      await t.p.removexattr(path, name)
    }
    await fails(t.p.setxattr(path, `user.${'x'.repeat(251)}`, 'v'), 'ERANGE', 'ENAMETOOLONG')
  },

  'fifty attributes': async (t) => {
    const path = await t.file('f')
    const names = Array.from({ length: 50 }, (_, i) => `user.name${String(i).padStart(2, '0')}`)
    for (const name of names) await t.p.setxattr(path, name, name)
    expect(await t.p.listxattr(path)).toEqual(names)
  },

  'directories have them too, and hard links share them': async (t) => {
    await t.p.setxattr(t.dir, 'user.d', 'dir')
    expect(await t.p.getxattr(t.dir, 'user.d')).toBe('dir')
    await t.file('f')
    await t.p.link(t.at('f'), t.at('g'))
    await t.p.setxattr(t.at('f'), 'user.x', '1')
    expect(await t.p.getxattr(t.at('g'), 'user.x')).toBe('1')
  },

  'they move with a rename and go with the file': async (t) => {
    await t.p.setxattr(await t.file('f'), 'user.x', '1')
    await t.p.rename(t.at('f'), t.at('g'))
    expect(await t.p.getxattr(t.at('g'), 'user.x')).toBe('1')
    await t.p.unlink(t.at('g'))
    await t.file('g')
    expect(await t.p.listxattr(t.at('g'))).toEqual([])
  },

  'setting one moves ctime': async (t) => {
    const path = await t.file('f')
    const before = (await t.p.stat(path)).ctimeNs
    await expect
      .poll(async () => {
        await t.p.setxattr(path, 'user.x', 'y')
        return (await t.p.stat(path)).ctimeNs > before
      })
      .toBe(true)
  },

  'user attributes are for files and directories, not for symlinks and fifos': async (t) => {
    await t.p.symlink('x', t.at('l'))
    await t.p.mkfifo(t.at('p'))
    await fails(t.p.setxattr(t.at('l'), 'user.x', '1', 0, false), 'EPERM')
    await fails(t.p.setxattr(t.at('p'), 'user.x', '1'), 'EPERM')
  },

  'an unknown namespace is EOPNOTSUPP': async (t) => {
    await fails(t.p.setxattr(await t.file('f'), 'other.x', '1'), 'EOPNOTSUPP')
  },
}

const asUsers: Area = {
  'reading needs read, setting needs write permission': needs(['xattrs', 'otherUsers'], async (t) => {
    const path = await t.file('f', '', 0o644)
    await t.p.setxattr(path, 'user.x', '1')
    expect(await t.as(alice).getxattr(path, 'user.x')).toBe('1')
    await fails(t.as(alice).setxattr(path, 'user.x', '2'), 'EACCES')
    await fails(t.as(alice).removexattr(path, 'user.x'), 'EACCES')
    await t.p.chmod(path, 0o600)
    await fails(t.as(alice).getxattr(path, 'user.x'), 'EACCES')
  }),

  'trusted attributes are for root': needs(['xattrs', 'otherUsers'], async (t) => {
    const path = await t.file('f', '', 0o666)
    await t.p.setxattr(path, 'trusted.x', 'secret')
    expect(await t.p.getxattr(path, 'trusted.x')).toBe('secret')
    await fails(t.as(alice).getxattr(path, 'trusted.x'), 'ENODATA', 'EPERM')
    await fails(t.as(alice).setxattr(path, 'trusted.x', '2'), 'EPERM')
  }),
}

export const xattrs: Area = {
  ...Object.fromEntries(Object.entries(area).map(([name, run]) => [name, needs('xattrs', run)])),
  ...asUsers,
}
