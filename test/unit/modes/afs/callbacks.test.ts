// Callback promises over real sockets: who is told, when a change is answered, and what becomes of clients out of reach.
import { afterEach, expect, test, vi } from 'vitest'
import type { Fid } from '../../../../src/modes/afs/records.ts'
import { TestClock } from '../../rpc/test-clock.ts'
import { root } from '../../store/volume-fixture.ts'
import {
  BulkStatus,
  type Client,
  ExtendLock,
  GetHolders,
  GiveUpAllCallBacks,
  GiveUpCallBacks,
  MakeDir,
  RemoveFile,
  Rename,
  ROOT,
  SetLock,
  superuser,
  type World,
  world,
} from './afs-world.ts'

const who = superuser
let lab: World

afterEach(async () => {
  await lab.close()
  expect(lab.errors).toEqual([])
})

async function two(options: Parameters<typeof world>[0] = {}): Promise<{ a: Client; b: Client; fid: Fid }> {
  lab = await world(options)
  const [a, b] = [lab.client('a'), lab.client('b')]
  const fid = await a.create('f')
  await a.store(fid, 'one')
  await b.fetch(fid)
  return { a, b, fid }
}

test('a client is told first that nothing stands, then what breaks; a change waits until it was heard', async () => {
  const { a, b, fid } = await two()
  expect(b.told).toEqual(['init'])
  const events: string[] = []
  b.onBreak = async () => {
    await new Promise((resolve) => setTimeout(resolve, 50))
    events.push('heard')
  }
  await a.store(fid, 'two').then(() => events.push('answered'))
  expect(events).toEqual(['heard', 'answered'])
  expect(b.breaks).toEqual([[fid.vnode]])
  // Whoever changes keeps its promise, and nobody is told who has none.
  await a.store(fid, 'three')
  expect(b.breaks.length).toBe(1)
  expect(a.breaks).toEqual([])
  await b.fetch(fid)
  await b.store(fid, 'four')
  expect(a.breaks).toEqual([[fid.vnode]])
})

test('the breaks of one change come in one call, also of what is replaced', async () => {
  const { a, b, fid } = await two()
  const other = await a.create('g')
  const { made: dir } = await a.call(MakeDir, { who, parent: ROOT, name: 'd', mode: 0o755 })
  await b.call(BulkStatus, { who, fids: [ROOT, fid, other, dir.fid] })
  await a.call(Rename, {
    ...{ who, how: 'replace' },
    ...{ from: { parent: ROOT, name: 'f' }, to: { parent: ROOT, name: 'g' } },
  })
  expect(b.breaks.map((vnodes) => [...vnodes].sort())).toEqual([[ROOT.vnode, fid.vnode, other.vnode].sort()])
  await b.call(BulkStatus, { who, fids: [ROOT, fid, dir.fid] })
  await a.create('x', dir.fid)
  expect(b.breaks.at(-1)).toEqual([dir.fid.vnode])
  await a.call(RemoveFile, { who, parent: ROOT, name: 'g' })
  expect([...(b.breaks.at(-1) ?? [])].sort()).toEqual([ROOT.vnode, fid.vnode].sort())
})

test('while a break is under way nothing is promised; the answer to the fetch says so', async () => {
  const { a, b, fid } = await two()
  const c = lab.client('c')
  await c.status(ROOT)
  let during: Promise<unknown> | undefined
  b.onBreak = async () => {
    during = Promise.all([c.status(fid), b.status(fid)])
    await during
  }
  await a.store(fid, 'two')
  expect(await during).toMatchObject([{ callback: null }, { callback: null }])
  expect((await c.status(fid)).callback).not.toBeNull()
})

test('changes by others than AFS break promises, and nobody waits', async () => {
  const { b, fid } = await two()
  await b.status(ROOT)
  const { volume } = lab.server
  volume.writeUnopened(fid.vnode, Buffer.from('nfs'), 0, root)
  await vi.waitFor(() => expect(b.breaks).toEqual([[fid.vnode]]))
  expect((await b.fetch(fid)).content).toBe('nfs')
  volume.unlink(1, 'f', root)
  await vi.waitFor(() => expect([...b.breaks.slice(1).flat()].sort()).toEqual([ROOT.vnode, fid.vnode].sort()))
})

test('what is given up is not told', async () => {
  const { a, b, fid } = await two()
  await b.status(ROOT)
  await b.call(GiveUpCallBacks, { fids: [fid] })
  await a.store(fid, 'two')
  await b.call(GiveUpAllCallBacks, undefined)
  await a.create('g')
  expect(b.breaks).toEqual([])
})

test('a client out of reach holds a change up once; it is noted, and told when it is back', async () => {
  const { a, b, fid } = await two()
  const other = await a.create('g')
  await b.status(other)
  b.link.set('down')
  await a.store(fid, 'two')
  const view = await a.call(GetHolders, { fid })
  expect(view.missed).toMatchObject([{ client: 'afs:b', breaks: 1, unreachable: true }])
  expect(view.holders.map(({ client }) => client)).toEqual(['afs:a'])
  // Nobody tries to tell it of the next one.
  await a.store(other, 'two')
  expect((await a.call(GetHolders, { fid })).missed).toMatchObject([{ client: 'afs:b', breaks: 2 }])
  b.link.set('up')
  // Whatever it asks first, it hears before the answer that it has to discard everything.
  const answer = await b.status(fid)
  expect(b.told.lastIndexOf('init')).toBeGreaterThan(0)
  expect(answer.callback).not.toBeNull()
  expect((await a.call(GetHolders, { fid })).missed).toEqual([])
  await a.store(fid, 'three')
  expect(b.told.at(-1)).toEqual([fid.vnode])
})

test('a client that has gone is noted at once', async () => {
  const { a, b, fid } = await two({ breakTimeoutMs: 60_000 })
  b.rpc.close()
  await vi.waitFor(() => expect(lab.server.listener.connections).toBe(1))
  await a.store(fid, 'two')
  expect((await a.call(GetHolders, { fid })).missed).toMatchObject([{ client: 'afs:b', unreachable: true }])
})

test('promises expire by the clock: then nobody is told', async () => {
  const clock = new TestClock()
  const { a, b, fid } = await two({ clock, life: () => 1000 })
  clock.advance(999)
  await a.store(fid, 'two')
  expect(b.breaks.length).toBe(1)
  await b.fetch(fid)
  clock.advance(1001)
  await a.store(fid, 'three')
  expect(b.breaks.length).toBe(1)
  expect((await a.call(GetHolders, { fid })).holders.map(({ client }) => client)).toEqual(['afs:a'])
})

test('the table is bounded: the oldest promise is broken for a new one', async () => {
  const { a, b, fid } = await two({ volume: { limits: { grants: 6 } } })
  for (let i = 0; i < 8; i++) await b.status(await a.create(`f${i}`))
  await vi.waitFor(() => expect(b.breaks.flat()).toContain(fid.vnode))
  // One that is being broken counts until it was heard.
  await vi.waitFor(() => expect(lab.server.volume.grants.table.size).toBeLessThanOrEqual(6))
})

test('a server that begins anew says so before it answers; locks are gone with their promises', async () => {
  const { a, b, fid } = await two()
  await b.call(SetLock, { fid, owner: '1', exclusive: true })
  await lab.restart()
  const heard: number[] = []
  b.onInit = () => heard.push(b.told.length)
  expect((await b.status(fid)).callback).not.toBeNull()
  expect(heard.length).toBe(1)
  await expect(b.call(ExtendLock, { fid, owner: '1' })).rejects.toThrow('ENOLCK')
  await a.call(SetLock, { fid, owner: '1', exclusive: true })
  await a.store(fid, 'two')
  expect(b.told.at(-1)).toEqual([fid.vnode])
})

test('locks end with their lease', async () => {
  const clock = new TestClock()
  const { a, b, fid } = await two({ clock })
  await a.call(SetLock, { fid, owner: '1', exclusive: true })
  clock.advance(299_000)
  await a.call(ExtendLock, { fid, owner: '1' })
  clock.advance(299_000)
  await expect(b.call(SetLock, { fid, owner: '2', exclusive: true })).rejects.toThrow('EAGAIN')
  clock.advance(1001)
  await b.call(SetLock, { fid, owner: '2', exclusive: true })
  await expect(a.call(ExtendLock, { fid, owner: '1' })).rejects.toThrow('ENOLCK')
})
