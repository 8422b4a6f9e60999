import { describe, expect, it } from 'vitest'
import { S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFREG, S_IFSOCK } from '../../../src/posix/mode.ts'
import type { Notice } from '../../../src/store/notices.ts'
import {
  alice,
  as,
  bob,
  checkVolume,
  codeOf,
  contentOf,
  file,
  folder,
  names,
  openVolume,
  put,
  root,
  scratch,
  superuser,
} from './volume-fixture.ts'

describe('creating', () => {
  it('makes every type of node', async () => {
    const volume = await openVolume()
    for (const [index, type] of [S_IFREG, S_IFDIR, S_IFIFO, S_IFSOCK, S_IFCHR, S_IFBLK].entries()) {
      const ino = volume.create(
        1,
        `n${index}`,
        { mode: type | 0o640, rdev: 0x105 },
        { uid: 7, gid: 8, groups: [], checked: true },
      )
      const { mode, uid, gid, rdev, nlink } = volume.attributes(ino)
      expect({ mode, uid, gid, nlink }).toEqual({ mode: type | 0o640, uid: 7, gid: 8, nlink: type === S_IFDIR ? 2 : 1 })
      expect(rdev).toBe(type === S_IFCHR || type === S_IFBLK ? 0x105 : 0)
      expect(volume.lookup(1, `n${index}`, root)).toBe(ino)
    }
    const link = volume.create(1, 'link', { mode: S_IFLNK | 0o777, target: 'zu/Ende…' }, root)
    expect(volume.readlink(link)).toBe('zu/Ende…')
    expect(volume.attributes(link).size).toBe(Buffer.byteLength('zu/Ende…'))
    expect(codeOf(() => volume.readlink(1))).toBe('EINVAL')
    expect(codeOf(() => volume.create(1, 'x', { mode: 0o644 }, root))).toBe('EINVAL')
  })

  it('checks names', async () => {
    const volume = await openVolume()
    const codes = (name: string) => [codeOf(() => file(volume, 1, name)), codeOf(() => volume.lookup(1, name, root))]
    expect(codes('')).toEqual(['EINVAL', 'EINVAL'])
    expect(codes('a/b')).toEqual(['EINVAL', 'EINVAL'])
    expect(codes('a\0b')).toEqual(['EINVAL', 'EINVAL'])
    expect(codes('\ud800')).toEqual(['EILSEQ', 'EILSEQ'])
    expect(codes('\udc00x')).toEqual(['EILSEQ', 'EILSEQ'])
    expect(codes('x'.repeat(256))).toEqual(['ENAMETOOLONG', 'ENAMETOOLONG'])
    expect(codes('ü'.repeat(128))).toEqual(['ENAMETOOLONG', 'ENAMETOOLONG'])
    expect(codes('.')).toEqual(['EEXIST', undefined])
    expect(codes('..')).toEqual(['EEXIST', undefined])
    for (const name of ['x'.repeat(255), 'ü'.repeat(127), '😀'.repeat(63), '...', ' ', '\u{feff}', 'e\u0301', 'é']) {
      const ino = file(volume, 1, name)
      expect(volume.lookup(1, name, root)).toBe(ino)
      expect(names(volume, 1)).toContain(name)
    }
  })

  it('checks targets of symbolic links', async () => {
    const volume = await openVolume()
    const code = (target?: string) =>
      codeOf(() => volume.create(1, 'l', { mode: S_IFLNK | 0o777, ...(target === undefined ? {} : { target }) }, root))
    expect(code()).toBe('ENOENT')
    expect(code('')).toBe('ENOENT')
    expect(code('x'.repeat(4096))).toBe('ENAMETOOLONG')
    expect(code('a\0')).toBe('EINVAL')
    expect(code('\ud800')).toBe('EILSEQ')
    expect(code('x'.repeat(4095))).toBe(undefined)
  })

  it('refuses names that exist, and parents that are none', async () => {
    const volume = await openVolume()
    const a = file(volume, 1, 'a')
    expect(codeOf(() => folder(volume, 1, 'a'))).toBe('EEXIST')
    expect(codeOf(() => file(volume, a, 'b'))).toBe('ENOTDIR')
    expect(codeOf(() => volume.lookup(a, 'b', root))).toBe('ENOTDIR')
    expect(codeOf(() => file(volume, 4711, 'b'))).toBe('ESTALE')
    const d = folder(volume, 1, 'd')
    volume.hold(d, 1)
    volume.removeDirectory(1, 'd', root)
    expect(codeOf(() => file(volume, d, 'b'))).toBe('ENOENT')
    expect(codeOf(() => volume.createTemporary(d, 0o600, root))).toBe('ENOENT')
    expect(volume.lookup(d, 'b', root)).toBe(undefined)
    expect(names(volume, d)).toEqual([])
    volume.drop(d, 1)
    expect(codeOf(() => volume.attributes(d))).toBe('ESTALE')
  })

  it('asks for permission on the directory', async () => {
    const volume = await openVolume()
    const d = folder(volume, 1, 'd', as(alice), 0o750)
    expect(codeOf(() => file(volume, d, 'x', bob))).toBe('EACCES')
    expect(codeOf(() => volume.lookup(d, 'x', bob))).toBe('EACCES')
    expect(codeOf(() => file(volume, d, 'x', alice))).toBe(undefined)
    volume.setAttributes(d, { mode: 0o755 }, root)
    expect(volume.lookup(d, 'x', bob)).toBeDefined()
    // What exists exists, whoever asks; what does not may not be made.
    expect(codeOf(() => file(volume, d, 'x', bob))).toBe('EEXIST')
    expect(codeOf(() => file(volume, d, 'y', bob))).toBe('EACCES')
    expect(codeOf(() => volume.unlink(d, 'x', bob))).toBe('EACCES')
    expect(codeOf(() => file(volume, d, 'y', superuser))).toBe(undefined)
  })

  it('inherits the group of a set-group-ID directory', async () => {
    const volume = await openVolume()
    const d = folder(volume, 1, 'd')
    volume.setAttributes(d, { gid: 77, mode: 0o2777 }, root)
    const sub = folder(volume, d, 'sub', alice)
    expect(volume.attributes(sub)).toMatchObject({ gid: 77, mode: S_IFDIR | 0o2755, uid: 1000 })
    expect(volume.attributes(file(volume, d, 'f', alice))).toMatchObject({ gid: 77, mode: S_IFREG | 0o644 })
    expect(volume.attributes(file(volume, d, 'g', alice, 0o2755)).mode).toBe(S_IFREG | 0o755)
    expect(volume.attributes(file(volume, d, 'h', root, 0o2755)).mode).toBe(S_IFREG | 0o2755)
  })
})

describe('links', () => {
  it('give a file more names', async () => {
    const volume = await openVolume()
    const a = file(volume, 1, 'a')
    const d = folder(volume, 1, 'd')
    volume.link(a, d, 'b', root)
    expect(volume.attributes(a).nlink).toBe(2)
    put(volume, a, 'text')
    volume.unlink(1, 'a', root)
    expect(volume.attributes(a).nlink).toBe(1)
    expect(contentOf(volume, volume.lookup(d, 'b', root) ?? 0)).toBe('text')
    expect(codeOf(() => volume.link(d, 1, 'e', root))).toBe('EPERM')
    expect(codeOf(() => volume.link(a, d, 'b', root))).toBe('EEXIST')
    expect(codeOf(() => volume.link(a, a, 'b', root))).toBe('ENOTDIR')
  })

  it('end at 65,000', async () => {
    const volume = await openVolume()
    const a = file(volume, 1, 'a')
    for (let n = 1; n < 65_000; n++) volume.link(a, 1, `a${n}`, root)
    expect(codeOf(() => volume.link(a, 1, 'more', root))).toBe('EMLINK')
    expect(volume.lookup(1, 'more', root)).toBe(undefined)
  })
})

describe('removing', () => {
  it('knows files from directories', async () => {
    const volume = await openVolume()
    file(volume, 1, 'f')
    const d = folder(volume, 1, 'd')
    file(volume, d, 'x')
    expect(codeOf(() => volume.unlink(1, 'd', root))).toBe('EISDIR')
    expect(codeOf(() => volume.removeDirectory(1, 'f', root))).toBe('ENOTDIR')
    expect(codeOf(() => volume.removeDirectory(1, 'd', root))).toBe('ENOTEMPTY')
    expect(codeOf(() => volume.removeDirectory(1, '.', root))).toBe('EINVAL')
    expect(codeOf(() => volume.removeDirectory(1, '..', root))).toBe('ENOTEMPTY')
    expect(codeOf(() => volume.unlink(1, '.', root))).toBe('EISDIR')
    expect(codeOf(() => volume.unlink(1, 'none', root))).toBe('ENOENT')
    volume.unlink(d, 'x', root)
    volume.removeDirectory(1, 'd', root)
    expect(volume.attributes(1).nlink).toBe(2)
    expect(names(volume, 1)).toEqual(['f'])
  })

  it('respects the sticky bit', async () => {
    const volume = await openVolume()
    const d = folder(volume, 1, 'd')
    volume.setAttributes(d, { mode: 0o1777 }, root)
    file(volume, d, 'f', alice)
    expect(codeOf(() => volume.unlink(d, 'f', bob))).toBe('EPERM')
    expect(codeOf(() => volume.rename({ parent: d, name: 'f', newParent: d, newName: 'g' }, bob))).toBe('EPERM')
    file(volume, d, 'g', bob)
    expect(codeOf(() => volume.rename({ parent: d, name: 'g', newParent: d, newName: 'f' }, bob))).toBe('EPERM')
    expect(codeOf(() => volume.unlink(d, 'f', alice))).toBe(undefined)
  })
})

describe('inodes without a name', () => {
  it('live while they are held or open', async () => {
    const directory = scratch()
    const volume = await openVolume(directory)
    const a = file(volume, 1, 'a')
    put(volume, a, 'still here')
    volume.setXattr(a, 'user.x', Buffer.from('1'), 'either', root)
    volume.hold(a, 2)
    const content = volume.openContent(a, 2, root)
    volume.unlink(1, 'a', root)
    volume.drop(a, 2)
    expect(volume.attributes(a)).toMatchObject({ nlink: 0, size: 10 })
    volume.setAttributes(a, { mode: 0o600 }, root)
    volume.setXattr(a, 'user.y', Buffer.from('2'), 'create', root)
    expect(volume.listXattrs(a, root).sort()).toEqual(['user.x', 'user.y'])
    expect(contentOf(volume, a)).toBe('still here')
    expect(codeOf(() => volume.link(a, 1, 'b', root))).toBe('ENOENT')
    await volume.fsync(a, false)
    volume.closeContent(content)
    volume.closeContent(content)
    expect(codeOf(() => volume.attributes(a))).toBe('ESTALE')
    expect(codeOf(() => volume.write(content, Buffer.from('x'), 0))).toBe('EBADF')
    await volume.close()
    const again = await openVolume(directory)
    await checkVolume(again, directory)
  })

  it('are made by createTemporary, and get a name by link', async () => {
    const directory = scratch()
    const volume = await openVolume(directory)
    const t = volume.createTemporary(1, 0o640, root)
    volume.hold(t, 1)
    put(volume, t, 'temporary')
    volume.setXattr(t, 'user.x', Buffer.from('1'), 'either', root)
    expect(volume.attributes(t)).toMatchObject({ nlink: 0, mode: S_IFREG | 0o640 })
    expect(names(volume, 1)).toEqual([])
    volume.link(t, 1, 'named', root)
    volume.drop(t, 1)
    const gone = volume.createTemporary(1, 0o640, root)
    volume.hold(gone, 1)
    volume.drop(gone, 1)
    expect(codeOf(() => volume.attributes(gone))).toBe('ESTALE')
    await volume.close()
    const again = await openVolume(directory)
    expect(again.lookup(1, 'named', root)).toBe(t)
    expect(contentOf(again, t)).toBe('temporary')
    expect(again.listXattrs(t, root)).toEqual(['user.x'])
    await checkVolume(again, directory)
  })

  it('never give their number to another inode', async () => {
    const directory = scratch()
    let highest = 1
    for (let round = 0; round < 4; round++) {
      const volume = await openVolume(directory)
      const first = file(volume, 1, 'a')
      expect(first).toBeGreaterThan(highest)
      highest = volume.createTemporary(1, 0o600, root)
      volume.unlink(1, 'a', root)
      await volume.close()
    }
  })
})

describe('listing', () => {
  it('goes on where it stopped, whatever changes meanwhile', async () => {
    const volume = await openVolume()
    const d = folder(volume, 1, 'd')
    const stay = Array.from({ length: 500 }, (_, n) => `stay${n}`)
    for (const name of stay) file(volume, d, name)
    for (let n = 0; n < 300; n++) file(volume, d, `go${n}`)
    const seen: string[] = []
    let cookie = 0
    let gone = 0
    for (let steps = 0; ; steps++) {
      const [entry] = volume.list(d, cookie)
      if (!entry) break
      seen.push(entry.name)
      cookie = entry.cookie
      if (gone < 300) volume.unlink(d, `go${gone++}`, root)
      if (steps < 2000) folder(volume, d, `new${steps}`)
    }
    expect(seen.slice(0, 2)).toEqual(['.', '..'])
    expect(new Set(seen).size).toBe(seen.length)
    expect(seen.filter((name) => name.startsWith('stay')).sort()).toEqual(stay.sort())
  })

  it('keeps apart names whose hashes are the same', async () => {
    const directory = scratch()
    const nameHash = () => 640
    const volume = await openVolume(directory, { nameHash })
    const d = folder(volume, 1, 'd')
    for (let n = 0; n < 64; n++) file(volume, d, `f${n}`)
    expect(codeOf(() => file(volume, d, 'f64'))).toBe('ENOSPC')
    volume.unlink(d, 'f10', root)
    volume.rename({ parent: d, name: 'f20', newParent: d, newName: 'g20' }, root)
    volume.rename({ parent: d, name: 'f21', newParent: d, newName: 'f22' }, root)
    const expected = Array.from({ length: 64 }, (_, n) => (n === 20 ? 'g20' : `f${n}`)).filter(
      (_, n) => n !== 10 && n !== 21,
    )
    expect(names(volume, d).sort()).toEqual(expected.sort())
    const one: string[] = []
    for (let cookie = 2; ; ) {
      const [entry] = volume.list(d, cookie)
      if (!entry) break
      one.push(entry.name)
      cookie = entry.cookie
    }
    expect(one.sort()).toEqual(expected)
    await checkVolume(volume, directory)
  })
})

describe('notices', () => {
  it('tell what changed', async () => {
    const volume = await openVolume()
    const notices: Notice[] = []
    const stop = volume.watch((notice) => notices.push(notice))
    const taken = () =>
      notices.splice(0).map((n) => (n.kind === 'name' ? `${n.parent}/${n.name}=${n.node}` : `${n.ino}`))
    const a = file(volume, 1, 'a')
    expect(taken()).toEqual([`1/a=${a}`, '1'])
    volume.link(a, 1, 'b', root)
    expect(taken()).toEqual([`1/b=${a}`, `${a}`, '1'])
    volume.setAttributes(a, { mode: 0o600 }, root)
    expect(taken()).toEqual([`${a}`])
    const c = file(volume, 1, 'c')
    taken()
    volume.rename({ parent: 1, name: 'c', newParent: 1, newName: 'b' }, root)
    expect(taken()).toEqual([`1/c=${c}`, `1/b=${c}`, `${c}`, '1', `${a}`])
    volume.unlink(1, 'b', root)
    expect(taken()).toEqual([`1/b=${c}`, `${c}`, '1'])
    put(volume, a, 'x')
    expect(taken()).toContain(`${a}`)
    stop()
    file(volume, 1, 'd')
    expect(notices).toEqual([])
  })
})
