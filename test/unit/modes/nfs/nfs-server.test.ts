// What an export lets through and what the RPC layer refuses, bytes in and bytes out.
import { describe, expect, it } from 'vitest'
import type { ExportOptions } from '../../../../src/modes/nfs/exports.ts'
import { FileHandles } from '../../../../src/modes/nfs/file-handle.ts'
import { MOUNT3 } from '../../../../src/modes/nfs/mount3.ts'
import { NFS3 } from '../../../../src/modes/nfs/nfs3.ts'
import { serverParts } from '../../../../src/modes/nfs/server.ts'
import { ROOT_CREDENTIALS } from '../../../../src/posix/credentials.ts'
import type { Volume } from '../../../../src/store/volume.ts'
import { alice, callBytes, KEY, NOTHING, ok, root, World, ZERO8 } from './nfs-world.ts'

const NO_WCC = { before: undefined, after: undefined }
const folder = (volume: Volume, parent: number, name: string) =>
  volume.create(parent, name, { mode: 0o040755 }, ROOT_CREDENTIALS)

/** /a/b and /c. */
const tree = (volume: Volume) => {
  folder(volume, folder(volume, volume.root, 'a'), 'b')
  folder(volume, volume.root, 'c')
}
const ALL: ExportOptions = { path: '/all', directory: '/', squash: 'none' }
const A: ExportOptions = { path: '/a', directory: '/a', squash: 'none' }
const C: ExportOptions = { path: '/c', directory: '/c', squash: 'none' }

describe('MOUNT', () => {
  const mount = async (world: World, path: string, from = {}) =>
    (await world.call(MOUNT3.procedures.MNT, path, from)).status

  it('gives the handle of an export and of directories in it', async () => {
    const world = await World.open([ALL, A], tree)
    const all = await world.mount('/all')
    expect(await world.mount('/all/')).toEqual(all)
    expect(await world.mount('/all/a/b')).toEqual(await world.find(await world.find(all, 'a'), 'b'))
    // The same directory through another export is another handle: what it lets through differs.
    expect(await world.mount('/a')).not.toEqual(await world.mount('/all/a'))
    await world.file(all, 'f')
    expect(await mount(world, '/all/f')).toBe('MNT3ERR_NOTDIR')
    expect(await mount(world, '/all/none')).toBe('MNT3ERR_NOENT')
    for (const path of ['', '/', '/allx', 'all', '/all/a/..', '/a/../c', '/all/../all'])
      expect(await mount(world, path), path).toBe('MNT3ERR_NOENT')
    expect(await mount(world, `/all/${'x'.repeat(256)}`)).toBe('MNT3ERR_NAMETOOLONG')
    expect(await mount(world, '/all/a\0b')).toBe('MNT3ERR_INVAL')
    const args = Buffer.from([0, 0, 0, 2, 0xc3, 0x28, 0, 0])
    const reply = await world.raw(callBytes({ program: 100005, version: 3, procedure: 1, args }))
    expect(reply?.subarray(20).toString('hex')).toBe('0000000000000002')
  })

  it('takes the innermost export, and the root as one', async () => {
    const world = await World.open(
      [
        { ...ALL, path: '/' },
        { ...C, clients: ['10.0.0.1'] },
      ],
      tree,
    )
    expect(await mount(world, '/')).toBe('MNT3_OK')
    expect(await mount(world, '/a')).toBe('MNT3_OK')
    expect(await mount(world, '/c')).toBe('MNT3ERR_ACCES')
    expect(await mount(world, '/c', { address: '::ffff:10.0.0.1' })).toBe('MNT3_OK')
  })

  it('lists the exports, and keeps no list of mounts', async () => {
    const world = await World.open([ALL, { ...C, clients: ['10.0.0.0/8', '::1'] }], tree)
    expect(await world.call(MOUNT3.procedures.EXPORT, undefined)).toEqual([
      { directory: '/all', groups: [{ name: '127.0.0.0/8' }, { name: '::1' }] },
      { directory: '/c', groups: [{ name: '10.0.0.0/8' }, { name: '::1' }] },
    ])
    expect(await world.call(MOUNT3.procedures.DUMP, undefined)).toEqual([])
    expect(await world.call(MOUNT3.procedures.UMNT, '/all')).toBeUndefined()
    expect(await world.call(MOUNT3.procedures.UMNTALL, undefined)).toBeUndefined()
    expect(await world.call(MOUNT3.procedures.NULL, undefined)).toBeUndefined()
  })
})

describe('an export', () => {
  it('is refused if it makes no sense', async () => {
    const { volume } = await World.open([ALL], tree)
    const parts = (...exports: ExportOptions[]) => serverParts(volume, KEY, exports)
    expect(() => parts({ path: '/x', directory: '/none' })).toThrow('the volume has no directory /none (ENOENT)')
    expect(() => parts({ path: '/x', directory: '/a/../c' })).toThrow('ENOENT')
    expect(() => parts(ALL, { ...A, path: '/all' })).toThrow('two exports have the path /all')
    expect(() => parts({ ...A, path: 'a' })).toThrow('is no path of an export')
    expect(() => parts({ ...A, clients: ['everybody'] })).toThrow('"everybody"')
  })

  it('is not for addresses that are not in its list, whatever they know', async () => {
    const world = await World.open([{ ...ALL, clients: ['10.0.0.0/8'] }])
    const inside = { address: '10.1.2.3' }
    const top = await world.mount('/all', inside)
    await world.file(top, 'f', inside)
    for (const address of ['127.0.0.1', '11.0.0.1', '::1', '']) {
      expect((await world.call(MOUNT3.procedures.MNT, '/all', { address })).status).toBe('MNT3ERR_ACCES')
      expect(await world.status('GETATTR', { object: top }, { address })).toBe('NFS3ERR_ACCES')
      const removed = await world.nfs('REMOVE', { object: { dir: top, name: 'f' } }, { address })
      expect(removed).toEqual({ status: 'NFS3ERR_ACCES', directory: NO_WCC })
    }
    expect(await world.status('LOOKUP', { what: { dir: top, name: 'f' } }, inside)).toBe('NFS3_OK')
  })

  it('that is read-only lets nothing change, to root neither', async () => {
    const world = await World.open([
      { ...ALL, path: '/rw' },
      { ...ALL, readOnly: true, path: '/ro' },
    ])
    const writable = await world.mount('/rw')
    await world.write(await world.file(writable, 'f', {}, 0o666), 'hello')
    const top = await world.mount('/ro')
    const file = await world.find(top, 'f')
    const before = [await world.attributes(top), await world.attributes(file)]
    const where = { dir: top, name: 'x' }
    const how = { mode: 'UNCHECKED', attributes: NOTHING } as const
    const data = Buffer.from('x')
    const write = { file, offset: 0, count: 1, stable: 'UNSTABLE', data } as const
    const statuses = [
      await world.status('SETATTR', { object: file, changes: NOTHING, guard: undefined }),
      await world.status('WRITE', write),
      await world.status('CREATE', { where, how }),
      await world.status('CREATE', { where: { dir: top, name: 'f' }, how }),
      await world.status('MKDIR', { where, attributes: NOTHING }),
      await world.status('SYMLINK', { where, attributes: NOTHING, target: 't' }),
      await world.status('MKNOD', { where, what: { type: 'NF3FIFO', attributes: NOTHING } }),
      await world.status('REMOVE', { object: { dir: top, name: 'f' } }),
      await world.status('RMDIR', { object: where }),
      await world.status('RENAME', { from: { dir: top, name: 'f' }, to: where }),
      await world.status('LINK', { file, link: where }),
      await world.status('RENAME', { from: { dir: writable, name: 'f' }, to: where }),
    ]
    expect(new Set(statuses)).toEqual(new Set(['NFS3ERR_ROFS']))
    expect([await world.attributes(top), await world.attributes(file)]).toEqual(before)
    expect(ok(await world.nfs('ACCESS', { object: file, access: 0x3f })).access).toBe(1)
    expect(ok(await world.nfs('READ', { file, offset: 0, count: 5 })).data.toString()).toBe('hello')
  })

  it('squashes root, or all, and who says nothing', async () => {
    const world = await World.open([
      ALL,
      { path: '/root', directory: '/' },
      { path: '/everybody', directory: '/', squash: 'all', anonymousUid: 77, anonymousGid: 78 },
    ])
    const all = await world.mount('/all')
    await world.folder(all, 'open', {}, 0o777)
    const owner = async (path: string, name: string, from: object) => {
      const dir = await world.find(await world.mount(path), 'open')
      const { uid, gid } = await world.attributes(await world.file(dir, name, from))
      return [uid, gid]
    }
    expect(await owner('/all', '1', { who: root })).toEqual([0, 0])
    expect(await owner('/all', '2', { who: undefined })).toEqual([65_534, 65_534])
    expect(await owner('/root', '3', { who: root })).toEqual([65_534, 65_534])
    expect(await owner('/root', '4', { who: alice })).toEqual([1000, 1000])
    expect(await owner('/everybody', '5', { who: alice })).toEqual([77, 78])
    const squashed = await world.find(await world.mount('/root'), 'open')
    await world.file(squashed, 'secret', { who: alice }, 0o600)
    const file = await world.find(squashed, 'secret')
    expect(await world.status('READ', { file, offset: 0, count: 1 })).toBe('NFS3ERR_ACCES')
    expect(
      await world.status('SETATTR', { object: file, changes: { ...NOTHING, mode: 0o777 }, guard: undefined }),
    ).toBe('NFS3ERR_PERM')
  })

  it('of a subdirectory is left by no `..`', async () => {
    const world = await World.open([ALL, A], tree)
    const top = await world.mount('/a')
    expect(await world.find(top, '..')).toEqual(top)
    expect(await world.find(await world.find(top, 'b'), '..')).toEqual(top)
    const { fileid } = await world.attributes(top)
    const args = { dir: top, cookie: 0n, verifier: ZERO8 }
    const listed = ok(await world.nfs('READDIR', { ...args, count: 4096 }))
    expect(listed.entries.map(({ name, fileid }) => [name, fileid]).slice(0, 2)).toEqual([
      ['.', fileid],
      ['..', fileid],
    ])
    const plus = ok(await world.nfs('READDIRPLUS', { ...args, dircount: 4096, maxcount: 8192 }))
    expect(plus.entries[1]?.handle).toEqual(top)
  })

  it('of a subdirectory is left neither by a directory that somebody moved out of it', async () => {
    const world = await World.open([ALL, A], tree)
    const inner = await world.find(await world.mount('/a'), 'b')
    const all = await world.mount('/all')
    const to = { dir: await world.find(all, 'c'), name: 'b' }
    ok(await world.nfs('RENAME', { from: { dir: await world.find(all, 'a'), name: 'b' }, to }))
    expect(await world.find(inner, '..')).toEqual(inner)
    const args = { dir: inner, cookie: 0n, verifier: ZERO8, dircount: 4096, maxcount: 8192 }
    const listed = ok(await world.nfs('READDIRPLUS', args))
    expect(listed.entries[1]?.handle).toEqual(inner)
    expect(listed.entries[1]?.fileid).toBe((await world.attributes(inner)).fileid)
  })

  it('is not left by RENAME and LINK', async () => {
    const world = await World.open([ALL, A, C], tree)
    const [a, c] = [await world.mount('/a'), await world.mount('/c')]
    const file = await world.file(a, 'f')
    const renamed = await world.nfs('RENAME', { from: { dir: a, name: 'f' }, to: { dir: c, name: 'f' } })
    expect(renamed.status).toBe('NFS3ERR_XDEV')
    expect(renamed.fromDirectory.after).toEqual(await world.attributes(a))
    expect(renamed.toDirectory.after).toEqual(await world.attributes(c))
    expect(await world.status('LINK', { file, link: { dir: c, name: 'f' } })).toBe('NFS3ERR_XDEV')
    expect(await world.find(a, 'f')).toEqual(file)
  })

  it('has a root that neither goes nor moves nor is replaced', async () => {
    const world = await World.open([ALL, C], tree)
    const all = await world.mount('/all')
    const at = (name: string) => ({ dir: all, name })
    expect(await world.status('RMDIR', { object: at('c') })).toBe('NFS3ERR_ACCES')
    expect(await world.status('RENAME', { from: at('c'), to: at('d') })).toBe('NFS3ERR_ACCES')
    await world.folder(all, 'e')
    expect(await world.status('RENAME', { from: at('e'), to: at('c') })).toBe('NFS3ERR_ACCES')
    ok(await world.nfs('RENAME', { from: at('e'), to: at('d') }))
    expect((await world.attributes(await world.mount('/c'))).nlink).toBe(2)
  })

  it('keeps its handles when others come and go, and takes no other’s', async () => {
    const world = await World.open([A, C], tree)
    const [a, c] = [await world.mount('/a'), await world.mount('/c')]
    await world.restart([C])
    expect(await world.status('GETATTR', { object: c })).toBe('NFS3_OK')
    expect(await world.status('GETATTR', { object: a })).toBe('NFS3ERR_STALE')
    await world.restart([ALL, { ...A, readOnly: true }, C])
    expect(await world.status('GETATTR', { object: a })).toBe('NFS3_OK')
    expect(await world.status('RMDIR', { object: { dir: a, name: 'b' } })).toBe('NFS3ERR_ROFS')
  })

  it('does not know handles of inodes that never were, and of another generation', async () => {
    const world = await World.open([ALL])
    const handles = new FileHandles(KEY)
    const known = handles.decode(await world.mount('/all'))
    if (known === undefined) throw new Error('no handle')
    for (const other of [{ ino: 2 ** 40 }, { ino: 0 }, { generation: known.generation + 1 }, { exportId: 0 }]) {
      const object = handles.encode({ ...known, ...other })
      expect(await world.status('GETATTR', { object })).toBe('NFS3ERR_STALE')
    }
  })
})

describe('the RPC layer', () => {
  const words = (reply: Buffer | undefined) => reply?.subarray(8).toString('hex').replace(/.{8}/g, '$& ').trim()
  const ACCEPTED = '00000000 00000000 00000000'

  it('refuses what is not served', async () => {
    const world = await World.open()
    const ask = async (call: object) =>
      words(await world.raw(callBytes({ program: 100003, version: 3, procedure: 0, ...call })))
    expect(await ask({})).toBe(`${ACCEPTED} 00000000`)
    for (const program of [0, 100000, 100020, 0xffff_ffff]) expect(await ask({ program })).toBe(`${ACCEPTED} 00000001`)
    for (const version of [0, 2, 4]) expect(await ask({ version })).toBe(`${ACCEPTED} 00000002 00000003 00000003`)
    expect(await ask({ program: 100005, version: 1 })).toBe(`${ACCEPTED} 00000002 00000003 00000003`)
    for (const procedure of [22, 0xffff_ffff]) expect(await ask({ procedure })).toBe(`${ACCEPTED} 00000003`)
    expect(await ask({ program: 100005, procedure: 6 })).toBe(`${ACCEPTED} 00000003`)
    // RPCSEC_GSS, and AUTH_SYS of seventeen groups.
    expect(await ask({ procedure: 1, credential: { flavor: 6, body: Buffer.alloc(0) } })).toBe(
      '00000001 00000001 00000001',
    )
    const groups = Buffer.alloc(20 + 4 * 17)
    groups[19] = 17
    expect(await ask({ procedure: 1, credential: { flavor: 1, body: groups } })).toBe('00000001 00000001 00000001')
  })

  it('says GARBAGE_ARGS to arguments of every procedure that are too short or too long', async () => {
    const world = await World.open()
    const tops = await world.mount()
    const before = await world.attributes(tops)
    for (const { number, program, version } of [
      ...Object.values(NFS3.procedures),
      ...Object.values(MOUNT3.procedures),
    ]) {
      const ask = async (args: Buffer) =>
        words(await world.raw(callBytes({ program, version, procedure: number, args })))
      const ends = Buffer.alloc(4, 0xff)
      expect(await ask(ends), `${program} ${number}`).toBe(`${ACCEPTED} 00000004`)
      expect(await ask(Buffer.alloc(2048)), `${program} ${number}`).toBe(`${ACCEPTED} 00000004`)
    }
    expect(await world.attributes(tops)).toEqual(before)
  })

  it.each(['udp', 'tcp'] as const)(
    'executes over %s once what is sent again, and answers the same',
    async (transport) => {
      const world = await World.open()
      const top = await world.mount()
      const dir = { dir: top, name: 'f' }
      const how = { mode: 'GUARDED', attributes: NOTHING } as const
      const twice = async (bytes: Buffer) => {
        const first = await world.raw(bytes, { transport })
        expect(first?.readUInt32BE(24)).toBe(0)
        expect(await world.raw(bytes, { transport })).toEqual(first)
        expect(await world.raw(bytes, { transport })).toEqual(first)
        // Of another client, it is another call.
        const other = await world.raw(bytes, { transport, port: 800 })
        return other?.readUInt32BE(24)
      }
      const { CREATE, MKDIR, RENAME, REMOVE, RMDIR, LINK, SYMLINK, MKNOD, SETATTR } = NFS3.procedures
      const from = { who: root }
      expect(await twice(world.bytesOf(CREATE, { where: dir, how }, from))).toBe(17)
      const file = await world.find(top, 'f')
      const to = { dir: top, name: 'g' }
      expect(await twice(world.bytesOf(LINK, { file, link: to }, from))).toBe(17)
      expect(await twice(world.bytesOf(REMOVE, { object: to }, from))).toBe(2)
      expect(await twice(world.bytesOf(RENAME, { from: dir, to }, from))).toBe(2)
      const made = { dir: top, name: 'd' }
      expect(await twice(world.bytesOf(MKDIR, { where: made, attributes: NOTHING }, from))).toBe(17)
      expect(await twice(world.bytesOf(RMDIR, { object: made }, from))).toBe(2)
      expect(await twice(world.bytesOf(SYMLINK, { where: made, attributes: NOTHING, target: 't' }, from))).toBe(17)
      const what = { type: 'NF3FIFO', attributes: NOTHING } as const
      expect(await twice(world.bytesOf(MKNOD, { where: { dir: top, name: 'p' }, what }, from))).toBe(17)
      const guard = (await world.attributes(file)).ctime
      const changes = { ...NOTHING, mode: 0o600 }
      expect(await twice(world.bytesOf(SETATTR, { object: file, changes, guard }, from))).toBe(10002)
    },
  )

  it('says SYSTEM_ERR to a defect of the server, and reports it', async () => {
    const world = await World.open()
    const top = await world.mount()
    const { attributes } = world.volume
    world.volume.attributes = () => {
      throw new TypeError('as it should')
    }
    await expect(world.attributes(top)).rejects.toThrow('SYSTEM_ERR')
    world.volume.attributes = attributes
    expect(world.errors.splice(0).map(({ message, cause }) => [message, (cause as Error).message])).toEqual([
      ['NFS3.GETATTR failed', 'as it should'],
    ])
    expect((await world.attributes(top)).type).toBe('NF3DIR')
  })

  it('takes the same transaction id with other arguments for another call', async () => {
    const world = await World.open()
    const top = await world.mount()
    await world.file(top, 'f')
    await world.file(top, 'g')
    const from = { who: root, xid: 9 }
    for (const name of ['f', 'g']) ok(await world.nfs('REMOVE', { object: { dir: top, name } }, from))
  })
})
