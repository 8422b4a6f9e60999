// The file server over real sockets: names, content, attributes, locks; and what hostile callers get.
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { S_IFREG } from '../../../../src/posix/mode.ts'
import { root } from '../../store/volume-fixture.ts'
import {
  alice,
  BulkStatus,
  type Client,
  ExtendLock,
  FetchData,
  FetchDirectory,
  GetTime,
  GetVolumeStatus,
  Lookup,
  MakeDir,
  MakeLink,
  MakeMountPoint,
  MakeNode,
  Probe,
  Readlink,
  ReleaseLock,
  RemoveDir,
  RemoveFile,
  Rename,
  ROOT,
  SetLock,
  StoreData,
  StoreStatus,
  Symlink,
  superuser,
  type World,
  world,
} from './afs-world.ts'

const who = superuser
let lab: World
let a: Client
let b: Client

beforeEach(async () => {
  lab = await world()
  a = lab.client('a')
  b = lab.client('b')
})

afterEach(async () => {
  await lab.close()
  expect(lab.errors).toEqual([])
})

describe('files', () => {
  test('are made, stored, fetched; the data version grows by one with each store', async () => {
    const fid = await a.create('f')
    const before = (await a.status(fid)).status.dataVersion
    const stored = await a.store(fid, 'hello')
    expect(stored.previousVersion).toBe(before)
    expect(stored.file.status).toMatchObject({
      type: 'file',
      length: 5,
      dataVersion: before + 1,
      mode: 0o644,
      nlink: 1,
    })
    const { known, content } = await b.fetch(fid)
    expect(content).toBe('hello')
    expect(known.status).toEqual(stored.file.status)
    expect(known.callback?.expiresInMs).toBeGreaterThan(0)
  })

  test('large ones travel in pieces, from any offset', async () => {
    const fid = await a.create('large')
    const content = Buffer.alloc(9 * 2 ** 20 + 5, 'abcdefg')
    await a.store(fid, content)
    const { result, bytes } = await b.call(FetchData, { who, fid, offset: 5_000_000 })
    expect(result.status.length).toBe(content.length)
    expect((await bytes.collect(2 ** 26)).equals(content.subarray(5_000_000))).toBe(true)
    const beyond = await b.call(FetchData, { who, fid, offset: 10_000_000 })
    expect((await beyond.bytes.collect(10)).length).toBe(0)
  })

  test('many at once, each gets its own bytes', async () => {
    const wanted = await Promise.all(
      Array.from({ length: 6 }, async (_, i) => {
        const fid = await a.create(`m${i}`)
        const content = Buffer.alloc(2 ** 20 + i * 70_000, String(i))
        await a.store(fid, content)
        return { fid, content }
      }),
    )
    for (let round = 0; round < 3; round++) {
      const found = await Promise.all(wanted.map(({ fid }) => b.fetch(fid)))
      for (const [i, { content }] of wanted.entries()) expect(found[i]?.content === content.toString()).toBe(true)
    }
  })

  test('a fetch gets the version that it began with, whatever is stored meanwhile', async () => {
    const fid = await a.create('f')
    await a.store(fid, Buffer.alloc(8 * 2 ** 20, 'o'))
    const { bytes } = await b.call(FetchData, { who, fid, offset: 0 })
    await a.store(fid, 'new')
    const content = await bytes.collect(2 ** 26)
    expect(content.equals(Buffer.alloc(8 * 2 ** 20, 'o'))).toBe(true)
    expect((await b.fetch(fid)).content).toBe('new')
    // It was told that what it fetches is old.
    expect(b.breaks).toEqual([[fid.vnode]])
  })

  test('attributes: with a store and alone; truncation is a store', async () => {
    const fid = await a.create('f')
    const { status } = await a.status(fid)
    const args = { who, fid, length: 3, durable: true, changes: { mode: 0o600, mtime: [7, 8] as [number, number] } }
    const stored = await a.call(StoreData, args, { bytes: [Buffer.from('abc')], length: 3 })
    expect(stored.file.status).toMatchObject({ mode: 0o600, mtime: [7, 8], length: 3 })
    const { file } = await a.call(StoreStatus, { who, fid, changes: { uid: 1000, gid: 1000 }, length: 2 })
    expect(file.status).toMatchObject({ uid: 1000, gid: 1000, length: 2, dataVersion: status.dataVersion + 2 })
    await expect(b.call(StoreStatus, { who: { ...alice, uid: 7 }, fid, changes: { mode: 0o777 } })).rejects.toThrow(
      'EPERM',
    )
  })

  test('permissions are checked: the owner may store whatever the mode says', async () => {
    const fid = await a.create('f')
    await expect(a.store(fid, 'x', alice)).rejects.toThrow('EACCES')
    await a.call(StoreStatus, { who, fid, changes: { mode: 0o400, uid: 1000 } })
    await a.store(fid, 'x', alice)
    await expect(a.fetch(fid, { ...alice, uid: 7 })).rejects.toThrow('EACCES')
  })

  test('more than the quota: EDQUOT, and the file is the old one', async () => {
    const fid = await a.create('f')
    await a.store(fid, 'old')
    lab.server.volume.setQuota({ bytes: 1000, inodes: undefined })
    await expect(a.store(fid, Buffer.alloc(4 * 2 ** 20))).rejects.toThrow('EDQUOT')
    expect((await a.fetch(fid)).content).toBe('old')
    const status = await a.call(GetVolumeStatus, { volume: 'root.cell' })
    expect(status).toMatchObject({ root: ROOT, quotaBytes: 1000, usedBytes: 3, name: 'root.cell', type: 'RW' })
  })
})

describe('names', () => {
  test('directories, links, renames: answers have what changed', async () => {
    const dir = await a.call(MakeDir, { who, parent: ROOT, name: 'd', mode: 0o755 })
    expect(dir.parent.status.nlink).toBe(3)
    expect(dir.made.status.parent).toEqual(ROOT)
    const fid = await a.create('f')
    const linked = await a.call(MakeLink, { who, parent: dir.made.fid, name: 'g', fid })
    expect(linked.made.status.nlink).toBe(2)
    const link = await a.call(Symlink, { who, parent: ROOT, name: 'l', target: 'd/g' })
    expect(link.made.status).toMatchObject({ type: 'symlink', target: 'd/g' })
    expect(await a.call(Readlink, { who, fid: link.made.fid })).toEqual({ target: 'd/g' })
    const from = { parent: dir.made.fid, name: 'g' }
    const moved = await a.call(Rename, { who, from, to: { parent: ROOT, name: 'l' }, how: 'replace' })
    expect(moved.moved.fid).toEqual(fid)
    expect(moved.replaced).toEqual({ fid: link.made.fid, removed: null })
    const taken = { who, from: { parent: ROOT, name: 'l' }, to: { parent: ROOT, name: 'd' } }
    await expect(a.call(Rename, { ...taken, how: 'noReplace' })).rejects.toThrow('EEXIST')
    const exchanged = await a.call(Rename, { ...taken, how: 'exchange' })
    expect(exchanged.replaced?.removed?.fid).toEqual(dir.made.fid)
    const removed = await a.call(RemoveFile, { who, parent: ROOT, name: 'd' })
    expect(removed.removed?.status.nlink).toBe(1)
    expect((await a.call(RemoveFile, { who, parent: ROOT, name: 'f' })).removed).toBeNull()
    await a.call(RemoveDir, { who, parent: ROOT, name: 'l' })
    await expect(a.status(fid)).rejects.toThrow('ESTALE')
    expect((await a.call(Lookup, { who, parent: ROOT, name: 'f' })).found).toBeNull()
  })

  test('mount points are links of a kind, and nobody makes them by symlink', async () => {
    const args = { who, parent: ROOT, name: 'm', volume: 'home.alice', readWrite: false }
    const { made } = await a.call(MakeMountPoint, args)
    expect(made.status).toMatchObject({ type: 'mountpoint', target: '#home.alice' })
    const link = await a.call(Symlink, { who, parent: ROOT, name: 'n', target: '#home.alice' })
    expect(link.made.status.type).toBe('symlink')
    await expect(a.call(MakeMountPoint, { ...args, name: 'o', volume: 'a/b' })).rejects.toThrow('EINVAL')
    const { made: fifo } = await a.call(MakeNode, { who, parent: ROOT, name: 'p', mode: 0o600, type: 'fifo', rdev: 0 })
    expect(fifo.status.type).toBe('fifo')
  })

  test('a directory comes in pages, with statuses if wanted', async () => {
    const wanted = new Map<string, number>()
    for (let i = 0; i < 25; i++) wanted.set(`f${i}`, (await a.create(`f${i}`)).vnode)
    const found = new Map<string, number>()
    let after: number | null = 0
    for (let pages = 0; after !== null; pages++) {
      expect(pages).toBeLessThan(4)
      const page: { entries: [string, number, number, string][]; next: number | null } = await b.call(FetchDirectory, {
        ...{ who, fid: ROOT, after, limit: 10, statuses: false },
      })
      for (const [name, vnode] of page.entries) found.set(name, vnode)
      after = page.next
    }
    expect(found).toEqual(wanted)
    const all = await b.call(FetchDirectory, { who, fid: ROOT, after: 0, limit: 4096, statuses: true })
    expect(all.statuses.length).toBe(25)
    expect(all.statuses.every((one) => one?.callback !== null)).toBe(true)
    const fids = all.entries.map(([, vnode, unique]) => ({ ...ROOT, vnode, unique }))
    const bulk = await b.call(BulkStatus, { who, fids: [...fids, { ...ROOT, unique: 9 }] })
    expect(bulk.known.slice(0, 25).map((one) => one?.status)).toEqual(all.statuses.map((one) => one?.status))
    expect(bulk.known[25]).toBeNull()
  })
})

test('locks: of whole files, beside those of other protocols', async () => {
  const fid = await a.create('f')
  const lock = { fid, owner: '1', exclusive: true }
  expect(await a.call(SetLock, lock)).toEqual({ expiresInMs: 300_000 })
  await expect(b.call(SetLock, { ...lock, exclusive: false })).rejects.toThrow('EAGAIN')
  await a.call(ExtendLock, { fid, owner: '1' })
  await expect(b.call(ExtendLock, { fid, owner: '1' })).rejects.toThrow('ENOLCK')
  await b.call(ReleaseLock, { fid, owner: '1' })
  expect(lab.server.volume.locks.table.locksOf(fid.vnode).length).toBe(1)
  await a.call(SetLock, { ...lock, exclusive: false })
  await b.call(SetLock, { ...lock, exclusive: false })
  await a.call(ReleaseLock, { fid, owner: '1' })
  await b.call(ReleaseLock, { fid, owner: '1' })
  expect(lab.server.volume.locks.table.locksOf(fid.vnode)).toEqual([])
})

describe('hostile callers', () => {
  test('forged fids lead nowhere, and unknown volumes are told so', async () => {
    const fid = await a.create('f')
    for (const forged of [
      { ...fid, unique: fid.unique + 1 },
      { ...fid, vnode: 999_999 },
      { ...fid, vnode: 0 },
    ]) {
      await expect(a.status(forged)).rejects.toThrow('ESTALE')
      await expect(a.store(forged, 'x')).rejects.toThrow('ESTALE')
    }
    await expect(a.status({ ...fid, volume: 5 })).rejects.toMatchObject({ code: 'VNOVOL', detail: { volume: 5 } })
    lab.server.registry.setBusy(ROOT.volume, true)
    await expect(a.status(fid)).rejects.toMatchObject({ code: 'VBUSY' })
    lab.server.registry.setBusy(ROOT.volume, false)
    await expect(a.store(ROOT, 'x')).rejects.toThrow('EISDIR')
    await expect(a.create('g', fid)).rejects.toThrow('ENOTDIR')
  })

  test('a volume that has moved tells where', async () => {
    const [served] = [...lab.server.registry]
    lab.server.registry.remove(ROOT.volume, 'other:7003')
    await expect(a.status(ROOT)).rejects.toMatchObject({ code: 'VMOVED', detail: { server: 'other:7003' } })
    if (served) lab.server.registry.add(served)
    expect((await a.status(ROOT)).fid).toEqual(ROOT)
  })

  test('names that are none, and more than a call may have: refused, nothing changed', async () => {
    const before = (await a.status(ROOT)).status.change
    for (const name of ['a/b', 'a\0b', '']) await expect(a.create(name)).rejects.toThrow(/EINVAL/)
    for (const name of ['.', '..']) await expect(a.create(name)).rejects.toThrow('EEXIST')
    await expect(a.create('x'.repeat(256))).rejects.toThrow('GARBAGE_ARGS')
    const fids = Array.from({ length: 600 }, () => ROOT)
    await expect(a.call(BulkStatus, { who, fids })).rejects.toThrow('GARBAGE_ARGS')
    const huge = { who, fid: ROOT, after: 0, limit: 2 ** 40, statuses: true }
    await expect(a.call(FetchDirectory, huge)).rejects.toThrow('GARBAGE_ARGS')
    expect((await a.status(ROOT)).status.change).toBe(before)
  })

  test('stores that are longer or shorter than was said leave the old file', async () => {
    const fid = await a.create('f')
    await a.store(fid, 'old')
    const args = { who, fid, durable: false, changes: {} }
    const bytes = [Buffer.from('12345')]
    await expect(a.call(StoreData, { ...args, length: 4 }, { bytes })).rejects.toThrow('EINVAL')
    await expect(a.call(StoreData, { ...args, length: 6 }, { bytes })).rejects.toThrow('EINVAL')
    await expect(a.call(StoreData, { ...args, length: 2 ** 44 }, { bytes })).rejects.toThrow('EFBIG')
    expect((await a.fetch(fid)).content).toBe('old')
  })
})

test('what is written by others than AFS can be fetched, and the clock asked for', async () => {
  await a.call(Probe, undefined)
  expect((await a.call(GetTime, undefined)).nowMs).toBeGreaterThan(1e12)
  const ino = lab.server.volume.create(1, 'n', { mode: S_IFREG | 0o644 }, root)
  lab.server.volume.writeUnopened(ino, Buffer.from('by nfs'), 0, root)
  const { found } = await a.call(Lookup, { who, parent: ROOT, name: 'n' })
  expect(found && (await a.fetch(found.fid)).content).toBe('by nfs')
})
