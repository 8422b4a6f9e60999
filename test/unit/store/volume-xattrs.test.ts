import { describe, expect, it } from 'vitest'
import { S_IFIFO, S_IFLNK } from '../../../src/posix/mode.ts'
import { alice, as, bob, codeOf, file, folder, openVolume, root, scratch, superuser } from './volume-fixture.ts'

const bytes = (text: string) => Buffer.from(text)

describe('extended attributes', () => {
  it('are set, read, listed and removed', async () => {
    const directory = scratch()
    const volume = await openVolume(directory)
    const f = file(volume, 1, 'f')
    const { change } = volume.changeOf(f)
    volume.setXattr(f, 'user.a', bytes('1'), 'create', root)
    volume.setXattr(f, 'user.b', bytes(''), 'either', root)
    volume.setXattr(f, 'user.a', Buffer.alloc(65_536, 7), 'replace', root)
    expect(volume.changeOf(f).change).toBe(change + 3)
    expect(codeOf(() => volume.setXattr(f, 'user.a', bytes(''), 'create', root))).toBe('EEXIST')
    expect(codeOf(() => volume.setXattr(f, 'user.c', bytes(''), 'replace', root))).toBe('ENODATA')
    expect(volume.getXattr(f, 'user.c', root)).toBe(undefined)
    expect(codeOf(() => volume.removeXattr(f, 'user.c', root))).toBe('ENODATA')
    await volume.close()
    const again = await openVolume(directory)
    expect(again.listXattrs(f, root).sort()).toEqual(['user.a', 'user.b'])
    expect(again.getXattr(f, 'user.a', root)).toEqual(Buffer.alloc(65_536, 7))
    expect(again.getXattr(f, 'user.b', root)?.length).toBe(0)
    again.removeXattr(f, 'user.a', root)
    expect(again.listXattrs(f, root)).toEqual(['user.b'])
    again.unlink(1, 'f', root)
    expect(codeOf(() => again.listXattrs(f, root))).toBe('ESTALE')
  })

  it('have limits', async () => {
    const volume = await openVolume()
    const f = file(volume, 1, 'f')
    const code = (name: string, size = 1) => codeOf(() => volume.setXattr(f, name, Buffer.alloc(size), 'either', root))
    expect(code('user.a', 65_537)).toBe('E2BIG')
    expect(code('')).toBe('ERANGE')
    expect(code(`user.${'x'.repeat(251)}`)).toBe('ERANGE')
    expect(code('user.')).toBe('EINVAL')
    expect(code('user.a\0')).toBe('EINVAL')
    expect(code('user.\ud800')).toBe('EILSEQ')
    expect(code('other.a')).toBe('EOPNOTSUPP')
    expect(code('system.posix_acl_access')).toBe('EOPNOTSUPP')
    for (let n = 0; n < 256; n++) expect(code(`user.${String(n).padStart(250, 'x')}`)).toBe(undefined)
    expect(code('user.more')).toBe('ENOSPC')
    expect(code(`user.${'0'.padStart(250, 'x')}`, 5)).toBe(undefined)
  })

  it('of namespace user are for files and directories, by permission', async () => {
    const volume = await openVolume()
    const f = file(volume, 1, 'f', as(alice), 0o640)
    expect(codeOf(() => volume.setXattr(f, 'user.a', bytes('1'), 'either', bob))).toBe('EACCES')
    expect(codeOf(() => volume.setXattr(f, 'user.a', bytes('1'), 'either', alice))).toBe(undefined)
    expect(codeOf(() => volume.getXattr(f, 'user.a', bob))).toBe('EACCES')
    expect(codeOf(() => volume.removeXattr(f, 'user.a', bob))).toBe('EACCES')
    for (const mode of [S_IFIFO | 0o666, S_IFLNK | 0o777]) {
      const ino = volume.create(1, `n${mode}`, { mode, target: 'x' }, root)
      expect(codeOf(() => volume.setXattr(ino, 'user.a', bytes('1'), 'either', root))).toBe('EPERM')
      expect(volume.getXattr(ino, 'user.a', root)).toBe(undefined)
      expect(codeOf(() => volume.setXattr(ino, 'trusted.a', bytes('1'), 'either', root))).toBe(undefined)
    }
    const d = folder(volume, 1, 'd')
    volume.setAttributes(d, { mode: 0o1777 }, root)
    expect(codeOf(() => volume.setXattr(d, 'user.a', bytes('1'), 'either', bob))).toBe('EPERM')
  })

  it('of namespaces trusted and security are the superuser’s', async () => {
    const volume = await openVolume()
    const f = file(volume, 1, 'f', as(alice))
    for (const name of ['trusted.a', 'security.a']) {
      expect(codeOf(() => volume.setXattr(f, name, bytes('1'), 'either', alice))).toBe('EPERM')
      expect(codeOf(() => volume.setXattr(f, name, bytes('1'), 'either', superuser))).toBe(undefined)
      expect(codeOf(() => volume.removeXattr(f, name, alice))).toBe('EPERM')
    }
    expect(volume.getXattr(f, 'trusted.a', alice)).toBe(undefined)
    expect(codeOf(() => volume.getXattr(f, 'security.a', alice))).toBe(undefined)
    expect(volume.listXattrs(f, alice)).toEqual(['security.a'])
    expect(volume.listXattrs(f, superuser).sort()).toEqual(['security.a', 'trusted.a'])
  })
})
