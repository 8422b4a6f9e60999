// The procedures on names and attributes, bytes in and bytes out.
import { describe, expect, it } from 'vitest'
import { encode } from '../../../../src/codec/xdr.ts'
import { NFS3 } from '../../../../src/modes/nfs/nfs3.ts'
import { ACCESS3, nfs_fh3 } from '../../../../src/modes/nfs/nfs3-types.ts'
import { alice, bob, callBytes, handleOf, NOTHING, ok, root, World } from './nfs-world.ts'

const open = async () => {
  const world = await World.open()
  return { world, top: await world.mount() }
}
const GARBAGE = Buffer.alloc(36, 7)

/** What a call did to a directory, as its answer tells, against what GETATTR says. */
function expectWcc(
  wcc: { before: unknown; after: unknown },
  before: { size: number; mtime: unknown; ctime: unknown },
  after: unknown,
) {
  expect(wcc.before).toEqual({ size: before.size, mtime: before.mtime, ctime: before.ctime })
  expect(wcc.after).toEqual(after)
}

describe('GETATTR, SETATTR, ACCESS', () => {
  it('tells the attributes of every type', async () => {
    const { world, top } = await open()
    expect(await world.attributes(top)).toMatchObject({ type: 'NF3DIR', mode: 0o755, nlink: 2 })
    const file = await world.file(top, 'f', {}, 0o4751)
    await world.write(file, 'hello')
    expect(await world.attributes(file)).toMatchObject({ type: 'NF3REG', mode: 0o4751, nlink: 1, size: 5, uid: 0 })
    const spec = { specdata1: 0xfff, specdata2: 0xf_ffff }
    const what = { type: 'NF3BLK', attributes: { ...NOTHING, mode: 0o600 }, spec } as const
    const block = handleOf(ok(await world.nfs('MKNOD', { where: { dir: top, name: 'b' }, what })))
    expect(await world.attributes(block)).toMatchObject({ type: 'NF3BLK', rdev: spec, mode: 0o600 })
  })

  it('says BADHANDLE to what it never gave out, STALE to what is gone', async () => {
    const { world, top } = await open()
    expect(await world.status('GETATTR', { object: GARBAGE })).toBe('NFS3ERR_BADHANDLE')
    expect(await world.status('GETATTR', { object: Buffer.alloc(0) })).toBe('NFS3ERR_BADHANDLE')
    expect(await world.status('GETATTR', { object: Buffer.alloc(64) })).toBe('NFS3ERR_BADHANDLE')
    const file = await world.file(top, 'f')
    ok(await world.nfs('REMOVE', { object: { dir: top, name: 'f' } }))
    expect(await world.status('GETATTR', { object: file })).toBe('NFS3ERR_STALE')
    const folder = await world.folder(top, 'd')
    ok(await world.nfs('RMDIR', { object: { dir: top, name: 'd' } }))
    expect(await world.status('LOOKUP', { what: { dir: folder, name: '.' } })).toBe('NFS3ERR_STALE')
  })

  it('keeps handles over renames and restarts', async () => {
    const { world, top } = await open()
    const [one, two] = [await world.folder(top, 'one'), await world.folder(top, 'two')]
    const file = await world.file(one, 'f')
    ok(await world.nfs('RENAME', { from: { dir: one, name: 'f' }, to: { dir: two, name: 'g' } }))
    const before = await world.attributes(file)
    expect(await world.find(two, 'g')).toEqual(file)
    await world.restart()
    expect(await world.attributes(file)).toEqual(before)
  })

  it('changes what is asked for, tells before and after, and minds the guard', async () => {
    const { world, top } = await open()
    const file = await world.file(top, 'f')
    await world.write(file, '0123456789')
    const before = await world.attributes(file)
    const time = { how: 'SET_TO_CLIENT_TIME', time: { seconds: 4_000_000_000, nseconds: 7 } } as const
    const changes = { ...NOTHING, mode: 0o600, uid: 5, gid: 6, size: 4, atime: time, mtime: time }
    const changed = ok(await world.nfs('SETATTR', { object: file, changes, guard: before.ctime }))
    const after = await world.attributes(file)
    expectWcc(changed.wcc, before, after)
    expect(after).toMatchObject({ mode: 0o600, uid: 5, gid: 6, size: 4, mtime: time.time, atime: time.time })

    const guard = { seconds: before.ctime.seconds, nseconds: (before.ctime.nseconds + 1) % 1_000_000_000 }
    const refused = await world.nfs('SETATTR', { object: file, changes: { ...NOTHING, size: 0 }, guard })
    expect(refused.status).toBe('NFS3ERR_NOT_SYNC')
    expectWcc(refused.wcc, after, after)
    expect(await world.attributes(file)).toEqual(after)
    ok(await world.nfs('SETATTR', { object: file, changes: NOTHING, guard: undefined }))
    expect(await world.attributes(file)).toEqual(after)
  })

  it('refuses what may not be changed, and changes nothing then', async () => {
    const { world, top } = await open()
    const file = await world.file(top, 'f')
    const before = await world.attributes(file)
    const set = (changes: object, who = root, object = file) =>
      world.status('SETATTR', { object, changes: { ...NOTHING, ...changes }, guard: undefined }, { who })
    expect(await set({ mode: 0o777 }, alice)).toBe('NFS3ERR_PERM')
    expect(await set({ uid: 1000 }, alice)).toBe('NFS3ERR_PERM')
    expect(await set({ size: 1 }, alice)).toBe('NFS3ERR_ACCES')
    expect(await set({ size: 2 ** 44 })).toBe('NFS3ERR_FBIG')
    expect(await set({ size: Number.MAX_SAFE_INTEGER })).toBe('NFS3ERR_FBIG')
    expect(await set({ size: 0 }, root, top)).toBe('NFS3ERR_ISDIR')
    expect(await set({ mode: 0 }, root, GARBAGE)).toBe('NFS3ERR_BADHANDLE')
    expect(await world.attributes(file)).toEqual(before)
  })

  it('lets the owner truncate what they may have open for writing, whatever the mode is by now', async () => {
    const { world, top } = await open()
    const dir = await world.folder(top, 'd', {}, 0o777)
    const file = await world.file(dir, 'f', { who: alice }, 0o444)
    await world.write(file, 'abc', 0, { who: alice })
    const changes = { ...NOTHING, size: 1 }
    ok(await world.nfs('SETATTR', { object: file, changes, guard: undefined }, { who: alice }))
    expect(await world.status('SETATTR', { object: file, changes, guard: undefined }, { who: bob })).toBe(
      'NFS3ERR_ACCES',
    )
    expect((await world.attributes(file)).size).toBe(1)
  })

  it('tells each user what they may do', async () => {
    const { world, top } = await open()
    const access = async (object: Buffer, who = root) =>
      ok(await world.nfs('ACCESS', { object, access: 0xffff_ffff }, { who })).access
    const { READ, LOOKUP, MODIFY, EXTEND, DELETE, EXECUTE } = ACCESS3
    const dir = await world.folder(top, 'd', {}, 0o751)
    expect(await access(dir)).toBe(READ | LOOKUP | MODIFY | EXTEND | DELETE)
    expect(await access(dir, alice)).toBe(LOOKUP)
    const file = await world.file(top, 'f', {}, 0o640)
    ok(await world.nfs('SETATTR', { object: file, changes: { ...NOTHING, uid: 1000, gid: 50 }, guard: undefined }))
    expect(await access(file, alice)).toBe(READ | MODIFY | EXTEND)
    expect(await access(file, { ...bob, groups: [50] })).toBe(READ)
    expect(await access(file, bob)).toBe(0)
    expect(await access(file)).toBe(READ | MODIFY | EXTEND)
    ok(await world.nfs('SETATTR', { object: file, changes: { ...NOTHING, mode: 0o100 }, guard: undefined }))
    expect(await access(file)).toBe(READ | MODIFY | EXTEND | EXECUTE)
    expect(ok(await world.nfs('ACCESS', { object: file, access: READ })).access).toBe(READ)
    expect(await world.status('ACCESS', { object: GARBAGE, access: 1 })).toBe('NFS3ERR_BADHANDLE')
  })
})

describe('LOOKUP and names', () => {
  it('finds, and tells of the directory, found or not', async () => {
    const { world, top } = await open()
    const file = await world.file(top, 'f')
    const found = ok(await world.nfs('LOOKUP', { what: { dir: top, name: 'f' } }))
    expect(found.object).toEqual(file)
    expect(found.attributes).toEqual(await world.attributes(file))
    expect(found.directory).toEqual(await world.attributes(top))
    const missing = await world.nfs('LOOKUP', { what: { dir: top, name: 'g' } })
    expect(missing).toEqual({ status: 'NFS3ERR_NOENT', directory: await world.attributes(top) })
    expect(await world.status('LOOKUP', { what: { dir: file, name: 'x' } })).toBe('NFS3ERR_NOTDIR')
    expect(await world.find(top, '.')).toEqual(top)
    expect(await world.find(await world.folder(top, 'd'), '..')).toEqual(top)
    expect(await world.find(top, '..')).toEqual(top)
    const closed = await world.folder(top, 'closed', {}, 0o700)
    expect(await world.status('LOOKUP', { what: { dir: closed, name: 'x' } }, { who: alice })).toBe('NFS3ERR_ACCES')
  })

  const strange = [
    ['', 'NFS3ERR_INVAL'],
    ['a/b', 'NFS3ERR_INVAL'],
    ['/', 'NFS3ERR_INVAL'],
    ['a\0b', 'NFS3ERR_INVAL'],
    ['x'.repeat(256), 'NFS3ERR_NAMETOOLONG'],
    ['ü'.repeat(128), 'NFS3ERR_NAMETOOLONG'],
    ['x'.repeat(1024), 'NFS3ERR_NAMETOOLONG'],
  ] as const
  it.each(strange)('no procedure takes %j: %s', async (name, status) => {
    const { world, top } = await open()
    const file = await world.file(top, 'f')
    const where = { dir: top, name }
    const before = await world.attributes(top)
    expect(await world.status('LOOKUP', { what: where })).toBe(status)
    expect(await world.status('CREATE', { where, how: { mode: 'UNCHECKED', attributes: NOTHING } })).toBe(status)
    expect(await world.status('CREATE', { where, how: { mode: 'EXCLUSIVE', verifier: Buffer.alloc(8) } })).toBe(status)
    expect(await world.status('MKDIR', { where, attributes: NOTHING })).toBe(status)
    expect(await world.status('SYMLINK', { where, attributes: NOTHING, target: 't' })).toBe(status)
    expect(await world.status('MKNOD', { where, what: { type: 'NF3FIFO', attributes: NOTHING } })).toBe(status)
    expect(await world.status('REMOVE', { object: where })).toBe(status)
    expect(await world.status('RMDIR', { object: where })).toBe(status)
    expect(await world.status('RENAME', { from: where, to: { dir: top, name: 'n' } })).toBe(status)
    expect(await world.status('RENAME', { from: { dir: top, name: 'f' }, to: where })).toBe(status)
    expect(await world.status('LINK', { file, link: where })).toBe(status)
    expect(await world.attributes(top)).toEqual(before)
  })

  it('takes names of 255 bytes of UTF-8', async () => {
    const { world, top } = await open()
    for (const name of ['x'.repeat(255), `${'ü'.repeat(127)}x`, '日本語', '🙂', ' ', '...', '\u{10ffff}', '\ufffd']) {
      const file = await world.file(top, name)
      expect(await world.find(top, name)).toEqual(file)
    }
  })

  it('does not take `.` and `..` for names to be made or to go', async () => {
    const { world, top } = await open()
    const file = await world.file(top, 'f')
    const dir = await world.folder(top, 'd')
    const before = await world.attributes(dir)
    for (const name of ['.', '..']) {
      const where = { dir, name }
      expect(await world.status('CREATE', { where, how: { mode: 'UNCHECKED', attributes: NOTHING } })).toBe(
        'NFS3ERR_EXIST',
      )
      expect(await world.status('MKDIR', { where, attributes: NOTHING })).toBe('NFS3ERR_EXIST')
      expect(await world.status('LINK', { file, link: where })).toBe('NFS3ERR_EXIST')
      expect(await world.status('RENAME', { from: where, to: { dir, name: 'n' } })).toBe('NFS3ERR_INVAL')
      expect(await world.status('RENAME', { from: { dir: top, name: 'f' }, to: where })).toBe('NFS3ERR_INVAL')
      expect(await world.status('REMOVE', { object: where })).toBe('NFS3ERR_ISDIR')
    }
    expect(await world.status('RMDIR', { object: { dir, name: '.' } })).toBe('NFS3ERR_INVAL')
    expect(await world.status('RMDIR', { object: { dir, name: '..' } })).toBe('NFS3ERR_NOTEMPTY')
    expect(await world.attributes(dir)).toEqual(before)
  })

  it('says INVAL to names that are not UTF-8', async () => {
    const { world, top } = await open()
    const fh = encode(nfs_fh3, top)
    const name = Buffer.from([0, 0, 0, 2, 0xc3, 0x28, 0, 0])
    const sattr = Buffer.alloc(24)
    const nfsArgs: Partial<Record<keyof typeof NFS3.procedures, Buffer>> = {
      LOOKUP: Buffer.concat([fh, name]),
      CREATE: Buffer.concat([fh, name, Buffer.alloc(4), sattr]),
      MKDIR: Buffer.concat([fh, name, sattr]),
      SYMLINK: Buffer.concat([fh, name, sattr, name]),
      MKNOD: Buffer.concat([fh, name, Buffer.from([0, 0, 0, 7]), sattr]),
      REMOVE: Buffer.concat([fh, name]),
      RMDIR: Buffer.concat([fh, name]),
      RENAME: Buffer.concat([fh, name, fh, name]),
      LINK: Buffer.concat([fh, fh, name]),
    }
    const before = await world.attributes(top)
    for (const [key, args] of Object.entries(nfsArgs)) {
      const procedure = NFS3.procedures[key as keyof typeof NFS3.procedures].number
      const reply = await world.raw(callBytes({ program: 100003, version: 3, procedure, args }))
      // xid, REPLY, accepted, verifier (2), SUCCESS, then nfsstat3.
      expect(reply?.readUInt32BE(20), key).toBe(0)
      expect(reply?.readUInt32BE(24), key).toBe(22)
    }
    expect(await world.attributes(top)).toEqual(before)
  })
})

describe('making', () => {
  it('UNCHECKED takes what is there, GUARDED does not', async () => {
    const { world, top } = await open()
    const where = { dir: top, name: 'f' }
    const create = (mode: 'UNCHECKED' | 'GUARDED', attributes = {}) =>
      world.nfs('CREATE', { where, how: { mode, attributes: { ...NOTHING, ...attributes } } })
    const before = await world.attributes(top)
    const made = ok(await create('GUARDED', { mode: 0o640 }))
    expectWcc(made.directory, before, await world.attributes(top))
    expect(made.attributes).toEqual(await world.attributes(handleOf(made)))
    await world.write(handleOf(made), 'hello')
    const refused = await create('GUARDED', { mode: 0o600 })
    expect(refused.status).toBe('NFS3ERR_EXIST')
    const again = ok(await create('UNCHECKED', { mode: 0o777 }))
    expect(again.object).toEqual(made.object)
    expect(again.attributes).toMatchObject({ mode: 0o640, size: 5 })
    expect(ok(await create('UNCHECKED', { size: 0 })).attributes).toMatchObject({ size: 0 })
    await world.folder(top, 'd')
    const how = { mode: 'UNCHECKED', attributes: NOTHING } as const
    expect(await world.status('CREATE', { where: { dir: top, name: 'd' }, how })).toBe('NFS3ERR_EXIST')
    expect(await world.status('CREATE', { where: { dir: handleOf(made), name: 'x' }, how })).toBe('NFS3ERR_NOTDIR')
  })

  it('makes a file that its owner may not write, at the size that they ask for', async () => {
    const { world, top } = await open()
    const dir = await world.folder(top, 'd', {}, 0o777)
    const how = { mode: 'UNCHECKED', attributes: { ...NOTHING, mode: 0o444, size: 0 } } as const
    const made = ok(await world.nfs('CREATE', { where: { dir, name: 'f' }, how }, { who: alice }))
    expect(made.attributes).toMatchObject({ uid: 1000, mode: 0o444, size: 0 })
  })

  it('EXCLUSIVE answers a repetition with the same file, after a restart, too', async () => {
    const { world, top } = await open()
    const how = (byte: number) => ({ mode: 'EXCLUSIVE', verifier: Buffer.alloc(8, byte) }) as const
    const where = { dir: top, name: 'f' }
    const made = ok(await world.nfs('CREATE', { where, how: how(0xfe) }))
    expect(ok(await world.nfs('CREATE', { where, how: how(0xfe) })).object).toEqual(made.object)
    expect(await world.status('CREATE', { where, how: how(2) })).toBe('NFS3ERR_EXIST')
    await world.restart()
    expect(ok(await world.nfs('CREATE', { where, how: how(0xfe) })).object).toEqual(made.object)
    expect(await world.status('CREATE', { where, how: how(2) })).toBe('NFS3ERR_EXIST')
    const time = { how: 'SET_TO_SERVER_TIME' } as const
    const changes = { ...NOTHING, mode: 0o644, atime: time, mtime: time }
    ok(await world.nfs('SETATTR', { object: handleOf(made), changes, guard: undefined }))
    expect(await world.status('CREATE', { where, how: how(0xfe) })).toBe('NFS3ERR_EXIST')
  })

  it('makes directories, symbolic links and special files', async () => {
    const { world, top } = await open()
    const before = await world.attributes(top)
    const attributes = { ...NOTHING, mode: 0o1750 }
    const dir = ok(await world.nfs('MKDIR', { where: { dir: top, name: 'd' }, attributes }))
    expect(dir.attributes).toMatchObject({ type: 'NF3DIR', mode: 0o1750, nlink: 2 })
    expectWcc(dir.directory, before, await world.attributes(top))
    expect((await world.attributes(top)).nlink).toBe(before.nlink + 1)
    expect(await world.status('MKDIR', { where: { dir: top, name: 'd' }, attributes })).toBe('NFS3ERR_EXIST')

    const where = { dir: top, name: 's' }
    const link = ok(await world.nfs('SYMLINK', { where, attributes: NOTHING, target: '../ü' }))
    expect(link.attributes).toMatchObject({ type: 'NF3LNK', mode: 0o777, size: 5 })
    const read = ok(await world.nfs('READLINK', { symlink: handleOf(link) }))
    expect(read).toMatchObject({ data: '../ü', attributes: link.attributes })
    expect(await world.status('READLINK', { symlink: top })).toBe('NFS3ERR_INVAL')
    expect(await world.status('SYMLINK', { where, attributes: NOTHING, target: 'x' })).toBe('NFS3ERR_EXIST')
    const long = { where: { dir: top, name: 'l' }, attributes: NOTHING, target: 'x'.repeat(4096) }
    expect(await world.status('SYMLINK', long)).toBe('NFS3ERR_NAMETOOLONG')

    for (const type of ['NF3FIFO', 'NF3SOCK'] as const) {
      const what = { type, attributes: { ...NOTHING, mode: 0o600 } }
      const made = ok(await world.nfs('MKNOD', { where: { dir: top, name: type }, what }))
      expect(made.attributes).toMatchObject({ type, mode: 0o600 })
    }
    for (const type of ['NF3REG', 'NF3DIR', 'NF3LNK'] as const)
      expect(await world.status('MKNOD', { where: { dir: top, name: 'n' }, what: { type } })).toBe('NFS3ERR_BADTYPE')
    const device = { type: 'NF3CHR', attributes: NOTHING, spec: { specdata1: 0x1000, specdata2: 0 } } as const
    expect(await world.status('MKNOD', { where: { dir: top, name: 'n' }, what: device })).toBe('NFS3ERR_INVAL')
    const shared = await world.folder(top, 'shared', {}, 0o777)
    const mine = { ...device, spec: { specdata1: 1, specdata2: 3 } }
    expect(await world.status('MKNOD', { where: { dir: shared, name: 'n' }, what: mine }, { who: alice })).toBe(
      'NFS3ERR_PERM',
    )
  })

  it('gives a new node to whom root says, and to nobody else', async () => {
    const { world, top } = await open()
    const dir = await world.folder(top, 'd', {}, 0o777)
    const make = async (name: string, who: typeof root, attributes: object) =>
      ok(await world.nfs('MKDIR', { where: { dir, name }, attributes: { ...NOTHING, ...attributes } }, { who }))
        .attributes
    expect(await make('a', root, { uid: 5, gid: 6, mode: 0o755 })).toMatchObject({ uid: 5, gid: 6 })
    // A squashed root asks for uid 0 and gets what it is.
    expect(await make('b', alice, { uid: 0, gid: 0 })).toMatchObject({ uid: 1000, gid: 1000 })
    expect(await make('c', alice, { uid: 1000, gid: 50 })).toMatchObject({ uid: 1000, gid: 50 })
    const how = { mode: 'GUARDED', attributes: { ...NOTHING, uid: 1000, gid: 50, mode: 0o6755 } } as const
    const file = ok(await world.nfs('CREATE', { where: { dir, name: 'f' }, how }))
    expect(file.attributes).toMatchObject({ uid: 1000, gid: 50, mode: 0o6755 })
  })

  it('leaves nothing behind when it fails', async () => {
    const { world, top } = await open()
    const how = { mode: 'GUARDED', attributes: { ...NOTHING, mode: 0o644, size: 2 ** 50 } } as const
    const failed = await world.nfs('CREATE', { where: { dir: top, name: 'f' }, how })
    expect(failed.status).toBe('NFS3ERR_FBIG')
    expect(failed.directory.after).toEqual(await world.attributes(top))
    expect(await world.status('LOOKUP', { what: { dir: top, name: 'f' } })).toBe('NFS3ERR_NOENT')
  })

  it('refuses a directory where the caller may not write', async () => {
    const { world, top } = await open()
    const where = { dir: top, name: 'x' }
    const who = { who: alice }
    const how = { mode: 'UNCHECKED', attributes: NOTHING } as const
    expect(await world.status('CREATE', { where, how }, who)).toBe('NFS3ERR_ACCES')
    expect(await world.status('MKDIR', { where, attributes: NOTHING }, who)).toBe('NFS3ERR_ACCES')
    expect(await world.status('SYMLINK', { where, attributes: NOTHING, target: 't' }, who)).toBe('NFS3ERR_ACCES')
    const file = await world.file(top, 'f')
    expect(await world.status('REMOVE', { object: { dir: top, name: 'f' } }, who)).toBe('NFS3ERR_ACCES')
    expect(await world.status('LINK', { file, link: where }, who)).toBe('NFS3ERR_ACCES')
    expect(await world.status('RENAME', { from: { dir: top, name: 'f' }, to: where }, who)).toBe('NFS3ERR_ACCES')
  })
})

describe('REMOVE, RMDIR, RENAME, LINK', () => {
  it('removes, and tells before and after', async () => {
    const { world, top } = await open()
    await world.file(top, 'f')
    const dir = await world.folder(top, 'd')
    await world.file(dir, 'x')
    let before = await world.attributes(top)
    const removed = ok(await world.nfs('REMOVE', { object: { dir: top, name: 'f' } }))
    expectWcc(removed.directory, before, await world.attributes(top))
    expect(await world.status('REMOVE', { object: { dir: top, name: 'f' } })).toBe('NFS3ERR_NOENT')
    expect(await world.status('REMOVE', { object: { dir: top, name: 'd' } })).toBe('NFS3ERR_ISDIR')
    expect(await world.status('RMDIR', { object: { dir: top, name: 'd' } })).toBe('NFS3ERR_NOTEMPTY')
    expect(await world.status('RMDIR', { object: { dir, name: 'x' } })).toBe('NFS3ERR_NOTDIR')
    ok(await world.nfs('REMOVE', { object: { dir, name: 'x' } }))
    before = await world.attributes(top)
    expectWcc(
      ok(await world.nfs('RMDIR', { object: { dir: top, name: 'd' } })).directory,
      before,
      await world.attributes(top),
    )
  })

  it('minds the sticky bit', async () => {
    const { world, top } = await open()
    const dir = await world.folder(top, 'tmp', {}, 0o1777)
    await world.file(dir, 'f', { who: alice })
    expect(await world.status('REMOVE', { object: { dir, name: 'f' } }, { who: bob })).toBe('NFS3ERR_PERM')
    ok(await world.nfs('REMOVE', { object: { dir, name: 'f' } }, { who: alice }))
  })

  it('renames within and across directories, over what is there', async () => {
    const { world, top } = await open()
    const [one, two] = [await world.folder(top, 'one'), await world.folder(top, 'two')]
    const file = await world.file(one, 'f')
    const other = await world.file(two, 'g')
    const [beforeOne, beforeTwo] = [await world.attributes(one), await world.attributes(two)]
    const moved = ok(await world.nfs('RENAME', { from: { dir: one, name: 'f' }, to: { dir: two, name: 'g' } }))
    expectWcc(moved.fromDirectory, beforeOne, await world.attributes(one))
    expectWcc(moved.toDirectory, beforeTwo, await world.attributes(two))
    expect(await world.find(two, 'g')).toEqual(file)
    expect(await world.status('GETATTR', { object: other })).toBe('NFS3ERR_STALE')
    const rename = (from: string, to: string, dir = top, target = top) =>
      world.status('RENAME', { from: { dir, name: from }, to: { dir: target, name: to } })
    expect(await rename('none', 'x')).toBe('NFS3ERR_NOENT')
    expect(await rename('one', 'two')).toBe('NFS3ERR_NOTEMPTY')
    expect(await rename('one', 'x', top, one)).toBe('NFS3ERR_INVAL')
    expect(await rename('one', 'g', top, two)).toBe('NFS3ERR_NOTDIR')
    expect(await rename('g', 'one', two, top)).toBe('NFS3ERR_ISDIR')
    expect(await rename('g', 'x', file, top)).toBe('NFS3ERR_NOTDIR')
  })

  it('links', async () => {
    const { world, top } = await open()
    const file = await world.file(top, 'f')
    const before = await world.attributes(top)
    const linked = ok(await world.nfs('LINK', { file, link: { dir: top, name: 'g' } }))
    expect(linked.attributes).toEqual(await world.attributes(file))
    expect(linked.attributes?.nlink).toBe(2)
    expectWcc(linked.directory, before, await world.attributes(top))
    expect(await world.find(top, 'g')).toEqual(file)
    expect(await world.status('LINK', { file, link: { dir: top, name: 'g' } })).toBe('NFS3ERR_EXIST')
    expect(await world.status('LINK', { file: top, link: { dir: top, name: 'h' } })).toBe('NFS3ERR_PERM')
    expect(await world.status('LINK', { file, link: { dir: file, name: 'h' } })).toBe('NFS3ERR_NOTDIR')
  })
})

describe('FSSTAT, FSINFO, PATHCONF', () => {
  it('tell what there is', async () => {
    const { world, top } = await open()
    const attributes = await world.attributes(top)
    const stat = ok(await world.nfs('FSSTAT', { root: top }))
    expect(stat.tbytes).toBeGreaterThanOrEqual(stat.fbytes)
    expect(stat.fbytes).toBeGreaterThanOrEqual(stat.abytes)
    expect(stat.attributes).toEqual(attributes)
    const tcp = ok(await world.nfs('FSINFO', { root: top }))
    expect(tcp).toMatchObject({ attributes, rtmax: 1 << 20, wtmax: 1 << 20, properties: 0x1b })
    expect(ok(await world.nfs('FSINFO', { root: top }, { transport: 'udp' })).rtmax).toBe(32_768)
    const conf = ok(await world.nfs('PATHCONF', { object: top }))
    expect(conf).toMatchObject({ attributes, nameMax: 255, noTrunc: true, casePreserving: true })
    for (const name of ['FSSTAT', 'FSINFO'] as const)
      expect(await world.status(name, { root: GARBAGE })).toBe('NFS3ERR_BADHANDLE')
    expect(await world.status('PATHCONF', { object: GARBAGE })).toBe('NFS3ERR_BADHANDLE')
    expect(await world.call(NFS3.procedures.NULL, undefined)).toBeUndefined()
  })
})
