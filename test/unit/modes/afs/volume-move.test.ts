// Volumes move between servers while they are used, and whatever fails on the way they are whole, on one server.
import { afterEach, expect, test } from 'vitest'
import type { Fid } from '../../../../src/modes/afs/records.ts'
import { FsError } from '../../../../src/posix/errors.ts'
import { type Client, ExtendLock, FetchData, FetchDirectory, SetLock, StoreData, superuser } from './afs-world.ts'
import {
  AddSite,
  Backup,
  BeginArrival,
  type Cell,
  Create,
  cellOf,
  codeOf,
  GetEntryById,
  type Member,
  Move,
  noQuota,
  Release,
  rootOf,
  Transactions,
  until,
} from './cell-world.ts'

const who = superuser
let cell: Cell

afterEach(async () => {
  await cell.close()
  for (const { errors } of cell.members) expect(errors).toEqual([])
})

interface Places {
  readonly first: Member
  readonly second: Member
  readonly a: Client
  readonly b: Client
  readonly id: number
  readonly root: Fid
}

async function places(): Promise<Places> {
  cell = await cellOf(2)
  const [first, second] = cell.members as [Member, Member]
  const [a, b] = [first.client(), second.client()]
  const { id } = await a.call(Create, { name: 'v', ...noQuota })
  return { first, second, a, b, id, root: await rootOf(a, 'v') }
}

/** A client that goes where the volume is: asks again while it is busy, and the location server when it has moved. */
class Roaming {
  readonly #ways = new Map<string, Client>()
  #here: Client

  constructor() {
    for (const member of cell.members) this.#ways.set(member.address, member.client())
    this.#here = this.#ways.get(cell.first.address) as Client
  }

  async ask<T>(volume: number, body: (client: Client) => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await body(this.#here)
      } catch (error) {
        if (codeOf(error) === 'VMOVED') {
          const location = this.#ways.get(cell.first.address) as Client
          const entry = await location.call(GetEntryById, { id: volume })
          this.#here = this.#ways.get(entry.rw?.server ?? '') as Client
        } else if (codeOf(error) !== 'VBUSY') throw error
        await new Promise((resolve) => setTimeout(resolve, 2))
      }
    }
  }
}

/** Where the volume is served, and nowhere else. */
async function whereIs({ id, first, second }: Pick<Places, 'id' | 'first' | 'second'>, fid: Fid): Promise<Member> {
  const entry = await first.client().call(GetEntryById, { id })
  const [here, there] = entry.rw?.server === first.address ? [first, second] : [second, first]
  expect(entry.rw?.server).toBe(here.address)
  await here.client().status(fid)
  await expect(there.client().status(fid)).rejects.toSatisfy((error) => /VMOVED|VNOVOL/.test(codeOf(error) ?? ''))
  await until(() => {
    expect(here.files().filter((name) => name.startsWith(`${id}`) && !name.startsWith(`${id + 1}`))).toEqual([`${id}`])
    expect(there.files().filter((name) => name.startsWith(`${id}`) && !name.startsWith(`${id + 1}`))).toEqual([])
  })
  return here
}

test('numbers, versions and content stay; the old server says where it is; locks and promises end', async () => {
  const { first, second, a, b, id, root } = await places()
  const fid = await a.create('f', root)
  await a.store(fid, 'one')
  await a.call(Backup, { name: 'v' })
  await a.call(AddSite, { name: 'v', server: first.address })
  await a.call(Release, { name: 'v' })
  const c = first.client()
  const before = await c.status(fid)
  await c.call(SetLock, { fid, owner: '1', exclusive: true })
  await a.call(Move, { name: 'v', to: second.address })
  expect(c.breaks).toEqual([[fid.vnode]])
  await expect(c.status(fid)).rejects.toMatchObject({ code: 'VMOVED', detail: { volume: id, server: second.address } })
  const d = second.client(c.id)
  const { known, content } = await d.fetch(fid)
  expect([content, known.status]).toEqual(['one', before.status])
  await expect(d.call(ExtendLock, { fid, owner: '1' })).rejects.toThrow('ENOLCK')
  const entry = await a.call(GetEntryById, { id })
  const places_ = { rw: { id, server: second.address }, ro: { id: id + 1, servers: [first.address] }, backup: null }
  expect(entry).toMatchObject(places_)
  await expect(c.status({ ...fid, volume: id + 2 })).rejects.toMatchObject({ code: 'VNOVOL' })
  expect((await c.fetch({ ...fid, volume: id + 1 })).content).toBe('one')
  const stored = await b.store(fid, 'two')
  expect(stored.file.status.dataVersion).toBe(before.status.dataVersion + 1)
  // Its replica is on the first server, and made by the second now.
  await b.call(Release, { name: 'v' })
  expect((await c.fetch({ ...fid, volume: id + 1 })).content).toBe('two')
  await b.call(Move, { name: 'v', to: first.address })
  expect((await c.fetch(fid)).content).toBe('two')
  await expect(c.call(ExtendLock, { fid, owner: '1' })).rejects.toThrow('ENOLCK')
  await first.stop()
  await first.start()
  expect(await whereIs({ id, first, second }, fid)).toBe(first)
}, 60_000)

test('what may not be moved', async () => {
  const { first, a, b, id } = await places()
  await expect(a.call(Move, { name: 'root.cell', to: cell.members[1]?.address ?? '' })).rejects.toThrow('EPERM')
  await expect(a.call(Move, { name: 'v', to: first.address })).rejects.toThrow('EINVAL')
  await expect(a.call(Move, { name: 'v', to: '127.0.0.1:1' })).rejects.toMatchObject({ code: 'VL_NOSERVER' })
  await expect(b.call(BeginArrival, { id: 999, name: 'w' })).rejects.toMatchObject({ code: 'VL_NOENT' })
  await expect(a.call(BeginArrival, { id, name: 'v' })).rejects.toThrow('EEXIST')
})

test('under load: every store that was answered is there, versions grow by one, nobody sees an error', async () => {
  const { first, second, a, id, root } = await places()
  const fids = await Promise.all([0, 1, 2, 3].map((i) => a.create(`f${i}`, root)))
  const bulk = await a.create('bulk', root)
  await a.store(bulk, Buffer.alloc(12 * 2 ** 20, 'b'))
  const { bytes } = await a.call(FetchData, { who, fid: bulk, offset: 0 })
  let moving = true
  const writers = fids.map(async (fid, i) => {
    const roaming = new Roaming()
    let [count, version] = [0, (await a.status(fid)).status.dataVersion]
    while (moving || count < 20) {
      const content = Buffer.alloc(1 + ((count * 7919) % 60_000), `${i}${count} `)
      const stored = await roaming.ask(id, (client) => client.store(fid, content))
      expect(stored.previousVersion).toBe(version)
      version = stored.file.status.dataVersion
      const found = await roaming.ask(id, (client) => client.fetch(fid))
      expect(found.content === content.toString()).toBe(true)
      expect(found.known.status.dataVersion).toBe(version)
      count++
    }
    return { fid, count, version }
  })
  const makers = (async () => {
    const roaming = new Roaming()
    const made: string[] = []
    while (moving) {
      const name = `n${made.length}`
      await roaming.ask(id, (client) => client.create(name, root))
      made.push(name)
    }
    return { made, roaming }
  })()
  const administrators = new Map([first, second].map((member) => [member.address, member.client()]))
  const ways = [second.address, first.address, second.address]
  let at = first.address
  for (const to of ways) {
    // Begun before all this. As long as it is read, the volume cannot come back here.
    if (to === first.address) expect((await bytes.collect(2 ** 26)).equals(Buffer.alloc(12 * 2 ** 20, 'b'))).toBe(true)
    await administrators.get(at)?.call(Move, { name: 'v', to })
    at = to
  }
  moving = false
  const done = await Promise.all(writers)
  const { made, roaming } = await makers
  for (const { fid, version, count } of done) {
    const found = await roaming.ask(id, (client) => client.status(fid))
    expect(found.status.dataVersion).toBe(version)
    expect(count).toBeGreaterThan(0)
  }
  const names = await roaming.ask(id, async (client) =>
    client.call(FetchDirectory, {
      who,
      fid: root,
      after: 0,
      limit: 4096,
      statuses: false,
    }),
  )
  expect(
    names.entries
      .map(([name]) => name)
      .filter((name) => name.startsWith('n'))
      .sort(),
  ).toEqual(made.sort())
  expect(await whereIs({ id, first, second }, bulk)).toBe(second)
}, 120_000)

test('a store that is under way when the volume goes is told where it went, and made again', async () => {
  const { second, a, b, root } = await places()
  const fid = await a.create('f', root)
  let go = () => {}
  async function* slow() {
    yield Buffer.from('ab')
    await new Promise<void>((resolve) => {
      go = resolve
    })
    yield Buffer.from('cd')
  }
  const args = { who, fid, length: 4, durable: false, changes: {} }
  const storing = a.call(StoreData, args, { bytes: slow(), length: 4 })
  const told = expect(storing).rejects.toMatchObject({ code: 'VMOVED' })
  await until(() => expect(cell.first.server.listener.server.calls).toBe(1))
  await cell.first.client().call(Move, { name: 'v', to: second.address })
  go()
  await told
  expect((await b.fetch(fid)).content).toBe('')
})

const SOURCE = ['begin', 'clone', 'dump', 'busy', 'changes', 'commit', 'committed', 'done']
const TARGET = ['receive', 'changes', 'commit', 'enter', 'serve']
const FAILURES = [...SOURCE.map((step) => ['source', step]), ...TARGET.map((step) => ['target', step])]

test.each(FAILURES)('it fails at the %s, %s: the volume is whole and goes on, on one server', async (side, step) => {
  const { first, second, a, id, root } = await places()
  const fid = await a.create('f', root)
  await a.store(fid, 'content')
  const { status } = await a.status(fid)
  const member = side === 'source' ? first : second
  member.onStep = (operation, at) => {
    if (at === step && (operation === 'move' || operation === 'receive')) throw new FsError('EIO', 'injected')
  }
  const moved = await a.call(Move, { name: 'v', to: second.address }).then(
    () => true,
    (error) => {
      expect(codeOf(error)).toBe('VOLFAILED')
      return false
    },
  )
  member.onStep = () => {}
  const here = await whereIs({ id, first, second }, fid)
  expect(here).toBe(moved ? second : first)
  const found = await here.client().fetch(fid)
  expect([found.content, found.known.status]).toEqual(['content', status])
  await here.client().store(fid, 'more')
  // And it can be moved after that.
  const there = here === first ? second : first
  await here.client().call(Move, { name: 'v', to: there.address })
  expect((await there.client().fetch(fid)).content).toBe('more')
  expect((await here.client().call(Transactions, undefined)).transactions).toEqual([])
})

test.each(['dump', 'busy', 'changes'])('called off at %s it stays, and nothing is left of it', async (step) => {
  const { first, second, a, id, root } = await places()
  const fid = await a.create('f', root)
  await a.store(fid, Buffer.alloc(3 * 2 ** 20, 'x'))
  const aborting = new AbortController()
  first.onStep = async (_operation, at) => {
    if (at !== step) return
    const { transactions } = await cell.first.client().call(Transactions, undefined)
    expect(transactions).toMatchObject([{ operation: 'move', volume: 'v', step, server: second.address }])
    aborting.abort()
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  await expect(a.call(Move, { name: 'v', to: second.address }, { signal: aborting.signal })).rejects.toThrow()
  await until(async () => {
    expect((await a.call(Transactions, undefined)).transactions).toEqual([])
    expect((await second.client().call(Transactions, undefined)).transactions).toEqual([])
  })
  expect(await whereIs({ id, first, second }, fid)).toBe(first)
})

test('one that does not answer is not waited for: what it commits later does not count', async () => {
  const { first, second, a, id, root } = await places()
  const fid = await a.create('f', root)
  let goOn = () => {}
  second.onStep = (_operation, step) => {
    if (step !== 'enter') return
    // The connection breaks while it commits; it goes on when the first server has decided.
    for (const peer of second.server.listener.server.clients)
      (peer as unknown as { drop(reason: string): void }).drop('silent')
    return new Promise((resolve) => {
      goOn = resolve
    })
  }
  const moving = a.call(Move, { name: 'v', to: second.address })
  await until(async () => {
    const { transactions } = await cell.first.client().call(Transactions, undefined)
    expect(transactions[0]?.step).toBe('commit')
  })
  await new Promise((resolve) => setTimeout(resolve, 300))
  goOn()
  const moved = await moving.then(
    () => true,
    () => false,
  )
  expect(await whereIs({ id, first, second }, fid)).toBe(moved ? second : first)
}, 120_000)
