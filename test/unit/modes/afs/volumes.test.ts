// Volumes of a cell: made, deleted, limited; snapshots and replicas; who knows where they are.
import { writeFileSync } from 'node:fs'
import { afterEach, expect, test } from 'vitest'
import { connecting } from '../../../../src/modes/afs/other-servers.ts'
import type { Fid } from '../../../../src/modes/afs/records.ts'
import { AfsServer } from '../../../../src/modes/afs/server.ts'
import { scratch } from '../../store/volume-fixture.ts'
import { FetchData, GetVolumeStatus, MakeMountPoint, ROOT, superuser } from './afs-world.ts'
import {
  AddSite,
  Backup,
  BeginArrival,
  Cell,
  CommitArrival,
  Create,
  cellOf,
  Delete,
  GetCell,
  GetEntryById,
  GetEntryByName,
  GetReplica,
  List,
  ListEntries,
  ListServers,
  Move,
  noQuota,
  Receive,
  ReceiveReplica,
  Release,
  RemoveSite,
  rootOf,
  SetEntry,
  SetQuota,
  Transactions,
  Undelivered,
  until,
} from './cell-world.ts'

const who = superuser
let cell: Cell

afterEach(async () => {
  await cell.close()
  for (const { errors } of cell.members) expect(errors).toEqual([])
})

const create = (client: ReturnType<Cell['first']['client']>, name: string, quota = noQuota) =>
  client.call(Create, { name, ...quota })

test('a volume is made, used, found by name and number, and there after a restart on another port', async () => {
  cell = await cellOf(1)
  const { first } = cell
  let a = first.client()
  const made = await create(a, 'home.alice')
  expect(made).toMatchObject({ id: 536_870_915, name: 'home.alice', type: 'RW', state: 'online', usedInodes: 1 })
  const root = await rootOf(a, 'home.alice')
  expect(root).toEqual({ volume: made.id, vnode: 1, unique: 1 })
  const fid = await a.create('f', root)
  await a.store(fid, 'hers')
  await a.call(MakeMountPoint, { who, parent: ROOT, name: 'alice', volume: 'home.alice', readWrite: false })
  await first.stop()
  await first.start({ port: 0 })
  a = first.client()
  expect((await a.fetch(fid)).content).toBe('hers')
  expect(await a.call(GetCell, undefined)).toEqual({ cell: 'localcell', servers: [first.address] })
  const entry = await a.call(GetEntryByName, { name: 'home.alice.readonly' })
  const rw = { id: made.id, server: first.address }
  expect(entry).toMatchObject({ name: 'home.alice', rw, ro: null, backup: null, sites: [] })
  for (const id of [made.id, made.id + 1, made.id + 2]) expect(await a.call(GetEntryById, { id })).toEqual(entry)
  const { entries, next } = await a.call(ListEntries, { after: '', limit: 1 })
  expect([entries.map(({ name }) => name), next]).toEqual([['home.alice'], 'home.alice'])
  const rest = await a.call(ListEntries, { after: 'home.alice', limit: 10 })
  expect([rest.entries.map(({ name }) => name), rest.next]).toEqual([['root.cell'], null])
  expect((await create(a, 'second')).id).toBe(made.id + 3)
})

test('what may not be made or deleted', async () => {
  cell = await cellOf(1)
  const a = cell.first.client()
  await create(a, 'v')
  await expect(create(a, 'v')).rejects.toThrow('EEXIST')
  for (const name of ['', 'a/b', 'v.readonly', 'v.backup', '123', 'x'.repeat(60)]) {
    await expect(create(a, name)).rejects.toThrow('EINVAL')
  }
  await expect(a.call(Delete, { name: 'v.readonly' })).rejects.toMatchObject({ code: 'VNOVOL' })
  await expect(a.call(Delete, { name: 'root.cell' })).rejects.toThrow('EPERM')
  await expect(a.call(Delete, { name: 'nothing' })).rejects.toMatchObject({ code: 'VL_NOENT' })
  await expect(a.call(GetEntryById, { id: 5 })).rejects.toMatchObject({ code: 'VL_NOENT', detail: { volume: 5 } })
  expect(await cell.first.names()).toEqual(['root.cell', 'v'])
})

test('a deleted volume is gone for all who had something of it; its number is never used again', async () => {
  cell = await cellOf(1)
  const { first } = cell
  const [a, b] = [first.client(), first.client()]
  const { id } = await create(a, 'v')
  const fid = await a.create('f', await rootOf(a, 'v'))
  await b.status(fid)
  await a.call(Backup, { name: 'v' })
  await a.call(Release, { name: 'v' })
  await a.call(Delete, { name: 'v' })
  expect(b.breaks).toEqual([[fid.vnode]])
  await expect(b.status(fid)).rejects.toMatchObject({ code: 'VNOVOL' })
  await expect(a.call(GetEntryByName, { name: 'v' })).rejects.toMatchObject({ code: 'VL_NOENT' })
  await until(() => expect(first.files()).toEqual([]))
  expect((await create(a, 'v')).id).toBe(id + 3)
})

test('quota: at once, at the store, and after a restart', async () => {
  cell = await cellOf(1)
  const { first } = cell
  let a = first.client()
  await create(a, 'v', { quotaBytes: 1000, quotaInodes: 3 } as never)
  const root = await rootOf(a, 'v')
  const fid = await a.create('f', root)
  await expect(a.store(fid, Buffer.alloc(1001))).rejects.toThrow('EDQUOT')
  await a.create('g', root)
  await expect(a.create('h', root)).rejects.toThrow('EDQUOT')
  expect(await a.call(SetQuota, { name: 'v', quotaBytes: 2000, quotaInodes: null })).toMatchObject({ quotaBytes: 2000 })
  await a.store(fid, Buffer.alloc(1001))
  await first.stop()
  await first.start()
  a = first.client()
  expect(await a.call(GetVolumeStatus, { volume: 'v' })).toMatchObject({ quotaBytes: 2000, usedBytes: 1001 })
  await expect(a.store(fid, Buffer.alloc(2001))).rejects.toThrow('EDQUOT')
  await expect(a.call(SetQuota, { name: 'v.readonly', ...noQuota })).rejects.toThrow('EROFS')
})

test('backup: a snapshot of one moment, made anew in its place; nobody changes it', async () => {
  cell = await cellOf(1)
  const { first } = cell
  const [a, b] = [first.client(), first.client()]
  const { id } = await create(a, 'v')
  const fid = await a.create('f', await rootOf(a, 'v'))
  await a.store(fid, 'old')
  expect(await a.call(Backup, { name: 'v' })).toMatchObject({ id: id + 2, name: 'v.backup', type: 'BK', usedBytes: 3 })
  await a.store(fid, 'new')
  const old = { ...fid, volume: id + 2 }
  expect((await b.fetch(old)).content).toBe('old')
  await expect(a.store(old, 'x')).rejects.toThrow('EROFS')
  await a.call(Backup, { name: 'v' })
  expect(b.breaks).toEqual([[fid.vnode]])
  expect((await b.fetch(old)).content).toBe('new')
  expect((await a.call(GetEntryByName, { name: 'v' })).backup).toEqual({ id: id + 2, server: first.address })
  await a.call(Delete, { name: 'v.backup' })
  await expect(b.fetch(old)).rejects.toMatchObject({ code: 'VNOVOL' })
  expect((await a.call(GetEntryByName, { name: 'v' })).backup).toBeNull()
  await until(() => expect(first.files()).toEqual([String(id)]))
})

test('release: seen at once and whole; who reads the older replica reads it to its end', async () => {
  cell = await cellOf(1)
  const { first } = cell
  const [a, b] = [first.client(), first.client()]
  const { id } = await create(a, 'v')
  const root = await rootOf(a, 'v')
  const names = ['f', 'g', 'h']
  const fids = await Promise.all(names.map((name) => a.create(name, root)))
  const large = await a.create('large', root)
  const ro = (fid: Fid): Fid => ({ ...fid, volume: id + 1 })
  const fill = async (letter: string) => {
    for (const fid of fids) await a.store(fid, letter)
    await a.store(large, Buffer.alloc(9 * 2 ** 20, letter))
  }
  await fill('1')
  expect(await a.call(Release, { name: 'v' })).toEqual({ released: [first.address], failed: [] })
  expect((await a.call(GetEntryByName, { name: 'v' })).ro).toEqual({ id: id + 1, servers: [first.address] })
  const { bytes } = await b.call(FetchData, { who, fid: ro(large), offset: 0 })
  await fill('2')
  expect((await b.fetch(ro(large))).content[0]).toBe('1')
  let isReleased = false
  const seen = (async () => {
    const rounds: string[] = []
    while (!isReleased) {
      const round = await Promise.all(fids.map((fid) => b.fetch(ro(fid))))
      rounds.push(round.map(({ content }) => content).join(''))
    }
    return rounds
  })()
  await a.call(Release, { name: 'v' })
  isReleased = true
  // Within a round some may be older and some newer, but never back again.
  expect((await seen).join('')).toMatch(/^1*[12]{0,6}2*$/)
  expect(b.breaks.flat()).toContain(large.vnode)
  expect((await bytes.collect(2 ** 26)).equals(Buffer.alloc(9 * 2 ** 20, '1'))).toBe(true)
  const { known, content } = await b.fetch(ro(large))
  expect([content[0], known.callback?.expiresInMs]).toEqual(['2', 2 * 3600_000])
  await first.stop()
  await first.start()
  expect((await first.client('c').fetch(ro(large))).content[0]).toBe('2')
  // The older one has gone by now, or with the next release.
  expect(first.files().filter((name) => name.startsWith(`${id + 1}.`)).length).toBe(1)
})

test('a server joins: its own volumes, replicas of others by whole dumps and by what changed', async () => {
  cell = await cellOf(2)
  const [first, second] = cell.members as [Cell['first'], Cell['first']]
  const [a, b] = [first.client(), second.client()]
  expect(await b.call(GetCell, undefined)).toEqual({ cell: 'localcell', servers: [first.address] })
  await expect(b.call(ListServers, undefined)).rejects.toThrow('PROC_UNAVAIL')
  const { servers } = await a.call(ListServers, undefined)
  expect(servers.map(({ address, connected }) => [address, connected]).sort()).toEqual(
    [first, second].map(({ address }) => [address, true]).sort(),
  )
  await create(b, 'theirs')
  expect(await second.names()).toEqual(['theirs'])
  expect((await a.call(GetEntryByName, { name: 'theirs' })).rw?.server).toBe(second.address)
  await expect(a.call(Backup, { name: 'theirs' })).rejects.toMatchObject({
    ...{ code: 'VMOVED', detail: { server: second.address } },
  })

  const { id } = await create(a, 'v')
  const root = await rootOf(a, 'v')
  const fid = await a.create('f', root)
  await a.store(fid, 'one')
  await a.call(AddSite, { name: 'v', server: first.address })
  await a.call(AddSite, { name: 'v', server: second.address })
  await expect(a.call(AddSite, { name: 'v', server: second.address })).rejects.toThrow('EEXIST')
  await expect(a.call(AddSite, { name: 'v', server: '127.0.0.1:1' })).rejects.toMatchObject({ code: 'VL_NOSERVER' })
  expect((await a.call(GetEntryByName, { name: 'v' })).ro).toBeNull()
  const released = await a.call(Release, { name: 'v' })
  expect(released.failed).toEqual([])
  expect(released.released.sort()).toEqual([first.address, second.address].sort())
  const ro = { ...fid, volume: id + 1 }
  expect((await b.fetch(ro)).content).toBe('one')
  const { snapshot } = await b.call(GetReplica, { id: id + 1 })
  await a.store(fid, 'two')
  const { status } = await a.status(fid)
  await a.call(Release, { name: 'v' })
  const { content, known } = await b.fetch(ro)
  expect([content, known.status]).toEqual(['two', status])
  expect(b.breaks).toEqual([[fid.vnode]])
  expect((await b.call(GetReplica, { id: id + 1 })).snapshot).not.toBe(snapshot)
  await expect(b.store(ro, 'x')).rejects.toThrow('EROFS')
  await second.stop()
  await a.store(fid, 'three')
  const partly = await a.call(Release, { name: 'v' })
  expect([partly.released, partly.failed.map(({ server }) => server)]).toEqual([
    [first.address],
    [servers[1]?.address === first.address ? servers[0]?.address : servers[1]?.address],
  ])
  await second.start()
  const c = second.client()
  expect((await c.fetch(ro)).content).toBe('two')
  await a.call(Release, { name: 'v' })
  expect((await c.fetch(ro)).content).toBe('three')
  await a.call(RemoveSite, { name: 'v', server: second.address })
  await expect(c.fetch(ro)).rejects.toMatchObject({ code: 'VNOVOL' })
  expect((await a.call(GetEntryByName, { name: 'v' })).ro).toEqual({ id: id + 1, servers: [first.address] })
  await a.call(Delete, { name: 'v' })
}, 60_000)

test('a replica whose site went while its server was away goes when it is back', async () => {
  cell = await cellOf(2)
  const [first, second] = cell.members as [Cell['first'], Cell['first']]
  const a = first.client()
  await create(a, 'v')
  const { address } = second
  await a.call(AddSite, { name: 'v', server: address })
  await a.call(Release, { name: 'v' })
  expect(await second.names()).toEqual(['v.readonly'])
  await second.stop()
  await a.call(Delete, { name: 'v' })
  await second.start()
  await until(async () => expect(await second.names()).toEqual([]))
  await until(() => expect(second.files()).toEqual([]))
}, 60_000)

test('a replica of a deleted volume makes room for one of the same name', async () => {
  cell = await cellOf(2)
  const [first, second] = cell.members as [Cell['first'], Cell['first']]
  const [a, b] = [first.client(), second.client()]
  const { id: old } = await create(a, 'v')
  await a.call(AddSite, { name: 'v', server: second.address })
  await a.call(Release, { name: 'v' })
  // As if its server could not be reached: the replica is not told to go.
  const entry = await a.call(GetEntryByName, { name: 'v' })
  await a.call(SetEntry, { ...entry, ro: null, sites: [] })
  await a.call(Delete, { name: 'v' })
  const { id } = await create(a, 'v')
  await a.create('f', await rootOf(a, 'v'))
  await a.call(AddSite, { name: 'v', server: second.address })
  expect(await a.call(Release, { name: 'v' })).toEqual({ released: [second.address], failed: [] })
  expect(await b.call(GetVolumeStatus, { volume: 'v.readonly' })).toMatchObject({ volume: id + 1, usedInodes: 2 })
  await expect(b.call(GetVolumeStatus, { volume: old + 1 })).rejects.toMatchObject({ code: 'VNOVOL' })
}, 60_000)

test('a server that joined serves what it has while the first one is away', async () => {
  cell = await cellOf(2)
  const [first, second] = cell.members as [Cell['first'], Cell['first']]
  const b = second.client()
  await create(b, 'v')
  const fid = await b.create('f', await rootOf(b, 'v'))
  await first.stop()
  await second.stop()
  await second.start()
  const c = second.client()
  await c.store(fid, 'alone')
  await first.start()
  expect((await c.call(List, { after: 0, limit: 10 })).volumes.map(({ name }) => name)).toEqual(['v'])
}, 60_000)

test('entries: only the newest revision is changed, by servers that are known', async () => {
  cell = await cellOf(1)
  const a = cell.first.client()
  await create(a, 'v')
  const entry = await a.call(GetEntryByName, { name: 'v' })
  const { revision } = await a.call(SetEntry, entry)
  expect(revision).toBe(entry.revision + 1)
  await expect(a.call(SetEntry, entry)).rejects.toMatchObject({ code: 'VL_CONFLICT' })
  const now = { ...entry, revision }
  const elsewhere = { ...now, rw: { id: entry.rw?.id ?? 0, server: '127.0.0.1:1' } }
  await expect(a.call(SetEntry, elsewhere)).rejects.toMatchObject({ code: 'VL_NOSERVER' })
  await expect(a.call(SetEntry, { ...now, ro: { id: 7, servers: [] } })).rejects.toThrow('EINVAL')
  await expect(a.call(SetEntry, { ...now, name: 'w' })).rejects.toMatchObject({ code: 'VL_CONFLICT' })
  await expect(a.call(SetEntry, { ...now, name: 'w', revision: 0 })).rejects.toMatchObject({ code: 'VL_CONFLICT' })
})

test('what is no dump is refused, and nothing is left of it', async () => {
  cell = await cellOf(2)
  const [first, second] = cell.members as [Cell['first'], Cell['first']]
  const [a, b] = [first.client(), second.client()]
  const { id } = await create(a, 'v')
  const bytes = [Buffer.alloc(70_000, 'no dump')]
  const replica = { id: id + 1, name: 'v.readonly', since: null }
  await expect(b.call(ReceiveReplica, replica, { bytes })).rejects.toThrow('EINVAL')
  for (const odd of [{ id }, { name: 'v' }, { since: 'x' }]) {
    await expect(b.call(ReceiveReplica, { ...replica, ...odd }, { bytes })).rejects.toThrow('EINVAL')
  }
  const { arrival } = await b.call(BeginArrival, { id, name: 'v' })
  await expect(b.call(CommitArrival, { arrival, revision: 1 })).rejects.toThrow('EINVAL')
  const again = await b.call(BeginArrival, { id, name: 'v' })
  await expect(b.call(Receive, again, { bytes })).rejects.toThrow('EINVAL')
  await expect(b.call(Receive, again, { bytes })).rejects.toThrow('ENOENT')
  // One that is begun over a connection that ends.
  const c = second.client()
  await c.call(BeginArrival, { id, name: 'v' })
  c.rpc.close()
  await until(async () => expect((await b.call(Transactions, undefined)).transactions).toEqual([]))
  expect([await second.names(), second.files()]).toEqual([[], []])
  expect(await first.names()).toEqual(['root.cell', 'v'])
})

test('with a token: servers of a cell show it to each other, and whoever has none does not join', async () => {
  const tokenFile = `${scratch()}/token`
  writeFileSync(tokenFile, 'x'.repeat(40), { mode: 0o600 })
  cell = new Cell()
  const first = await cell.add({ tokenFile })
  await expect(cell.add()).rejects.toThrow('UNAUTHORIZED')
  cell.members.pop()
  const second = await cell.add({ tokenFile })
  const { client, connected } = connecting(first.address, { tokenFile })
  await connected
  try {
    await client.call(Create, { name: 'v', ...noQuota })
    await client.call(AddSite, { name: 'v', server: second.address })
    expect(await client.call(Release, { name: 'v' })).toEqual({ released: [second.address], failed: [] })
    await client.call(Move, { name: 'v', to: second.address })
    expect((await client.call(GetEntryByName, { name: 'v' })).rw?.server).toBe(second.address)
  } finally {
    client.close()
  }
})

test('two cells know nothing of each other, and a server is of one', async () => {
  cell = await cellOf(2)
  const other = await AfsServer.start({ directory: cell.first.directory.concat('/other'), cell: 'other.org' })
  try {
    const second = cell.members[1] as Cell['first']
    await second.stop()
    await second.start({ join: other.address })
    await until(() =>
      expect(second.errors.map(({ message }) => message)).toEqual([
        expect.stringContaining('that is cell other.org, not localcell'),
      ]),
    )
    second.errors.splice(0)
    await second.stop()
    await second.start()
    const a = cell.first.client()
    await create(a, 'v')
    expect((await a.call(ListServers, undefined)).servers.length).toBe(2)
  } finally {
    await other.close()
  }
})

test('who may have missed breaks is listed with its volume', async () => {
  cell = await cellOf(1)
  const { first } = cell
  const [a, b] = [first.client('a'), first.client('b')]
  await create(a, 'v')
  const fid = await a.create('f', await rootOf(a, 'v'))
  await b.status(fid)
  b.link.set('down')
  await a.store(fid, 'x')
  const { missed } = await a.call(Undelivered, undefined)
  expect(missed).toMatchObject([{ volume: 'v', client: 'afs:b', breaks: 1, unreachable: true }])
})
