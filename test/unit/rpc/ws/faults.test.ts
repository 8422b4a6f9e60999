// Networks that are cut, servers that die, clients that come back: what is executed, and what callers hear of it.
import { describe, expect, it } from 'vitest'
import { service, type WsClientOptions } from '../../../../src/rpc/ws/index.ts'
import { random, seed } from '../../../support/random.ts'
import {
  add,
  broken,
  content,
  echo,
  failure,
  fetch,
  hold,
  type Lab,
  setup,
  store,
  summarize,
  summaryOf,
  until,
  WATCHER,
  wait,
} from './depot.ts'

const SIZE = 8 * 1024 * 1024
/** Gives up a connection that is silent for so long. */
const IMPATIENT: WsClientOptions = { heartbeatMs: 20, connectMs: 100 }

/** Cuts the network until the client has noticed, and mends it. */
async function interrupt({ link, events }: Lab): Promise<void> {
  const before = events.filter((type) => type === 'disconnected').length
  link.set('down')
  await until(() => events.filter((type) => type === 'disconnected').length > before)
  link.set('up')
}

describe('a client whose connection is lost', () => {
  it('makes calls again that may be repeated', async () => {
    const it = await setup(IMPATIENT)
    const waiting = it.client.call(wait, { id: 1 })
    await until(() => it.depot.waiting.length === 1)
    await interrupt(it)
    await until(() => it.depot.aborted.length === 1 && it.depot.waiting.length === 1)
    it.depot.release(1)
    expect(await waiting).toEqual({ id: 1 })
    expect(it.client.statistics.of('DEPOT.wait').retransmissions).toBeGreaterThan(0)
    expect(it.events).toContain('not responding')
    expect(it.events).toContain('responding')
  })

  it('hears the answer of a call that was executed meanwhile, once', async () => {
    const it = await setup(IMPATIENT)
    const holding = it.client.call(hold, { id: 1 })
    await until(() => it.depot.waiting.length === 1)
    it.link.set('down')
    it.depot.release(1)
    await until(() => it.events.includes('disconnected'))
    it.link.set('up')
    expect(await holding).toEqual({ id: 1 })
    expect(it.depot.added.get(1)).toBe(1)
    expect(it.depot.aborted).toEqual([])
  })

  it('hears the answer of a call that is still executed when it is back', async () => {
    const it = await setup(IMPATIENT)
    const holding = it.client.call(hold, { id: 1 })
    await until(() => it.depot.waiting.length === 1)
    await interrupt(it)
    const statistics = it.listener.server.statistics.of('DEPOT.hold')
    await until(() => statistics.retransmissions === 1)
    it.depot.release(1)
    expect(await holding).toEqual({ id: 1 })
    expect(it.depot.added.get(1)).toBe(1)
  })

  it('is told that nobody knows when the server has begun anew, and only of calls that must not be repeated', async () => {
    const it = await setup()
    const [held, waiting] = [failure(it.client.call(hold, { id: 1 })), it.client.call(wait, { id: 2 })]
    await until(() => it.depot.waiting.length === 2)
    await it.restart()
    expect(await held).toMatchObject({ reason: 'OUTCOME_UNKNOWN', code: 'EIO' })
    await until(() => it.depot.waiting.includes(2))
    it.depot.release(2)
    expect(await waiting).toEqual({ id: 2 })
    expect(await it.client.call(add, { id: 3 })).toEqual({ id: 3 })
  })

  it('is told that nobody knows when the server has forgotten the client', async () => {
    const it = await setup(IMPATIENT, { limits: { rememberMs: 10 } })
    const held = failure(it.client.call(hold, { id: 1 }))
    await until(() => it.depot.waiting.length === 1)
    it.link.set('down')
    await until(() => it.events.includes('disconnected'))
    // The server does not hear of it before the link is up.
    const [peer] = it.listener.server.clients
    ;(peer as unknown as { drop(reason: string): void }).drop('silent')
    await until(() => it.depot.aborted.length === 1)
    it.link.set('up')
    expect(await held).toMatchObject({ reason: 'OUTCOME_UNKNOWN' })
  })

  it('sends bytes again from their beginning, if it can have them again', async () => {
    const it = await setup(IMPATIENT)
    let sources = 0
    const source = async function* () {
      sources++
      let given = 0
      for (const part of content(SIZE)) {
        given += part.length
        if (sources === 1 && given > SIZE / 2) await new Promise(() => {})
        yield part
      }
    }
    const storing = it.client.call(store, { name: 'a' }, { bytes: source })
    await until(() => sources === 1 && it.client.status().waiting.length === 1)
    await new Promise((resolve) => setTimeout(resolve, 30))
    await interrupt(it)
    expect(await storing).toEqual(summaryOf(SIZE))
    expect(sources).toBeGreaterThan(1)
    expect(it.depot.stored).toEqual(['a'])
  })

  it('fails calls whose bytes are gone, or whose bytes had begun to come', async () => {
    const it = await setup(IMPATIENT)
    const endless = async function* () {
      for (;;) {
        yield Buffer.alloc(1000)
        await new Promise((resolve) => setTimeout(resolve, 1))
      }
    }
    const storing = failure(it.client.call(store, { name: 'a' }, { bytes: endless() }))
    const { bytes } = await it.client.call(fetch, { bytes: SIZE })
    await interrupt(it)
    expect(await storing).toMatchObject({ reason: 'DISCONNECTED', code: 'ECONNRESET' })
    expect(await failure(summarize(bytes))).toMatchObject({ reason: 'DISCONNECTED' })
    await until(() => it.depot.ended.length === 1)
    expect(it.depot.stored).toEqual([])
    expect(it.errors).toEqual([])
  })

  it('is another one to the server when it begins anew under its name', async () => {
    const it = await setup({ id: 'me' })
    await it.client.call(add, { id: 1 })
    const again = it.newClient({ id: 'me' })
    expect(await again.call(add, { id: 2 })).toEqual({ id: 2 })
    expect(it.depot.added.get(2)).toBe(1)
    expect([...it.listener.server.clients]).toHaveLength(1)
  })

  it('does not fight for its name with another one of that name', async () => {
    let connections = 0
    const it = await setup({ id: 'me', keep: true }, { onConnected: () => connections++ })
    await until(() => connections === 1)
    const other = it.newClient({ id: 'me', keep: true })
    await until(() => connections === 2)
    const data = Buffer.from('a')
    for (let i = 0; i < 20; i++) await other.call(echo, { data })
    expect(connections).toBeLessThan(4)
    expect(await it.client.call(echo, { data })).toEqual({ data })
  })

  it('comes back by itself if it is kept, and can be called then', async () => {
    const watcher = service(WATCHER, { broken: ({ id }) => ({ id }) })
    const seen: string[] = []
    const it = await setup(
      { ...IMPATIENT, id: 'me', keep: true, services: [watcher] },
      {
        onConnected: ({ id }, remembered) => seen.push(`${id} came${remembered ? ' back' : ''}`),
        onDisconnected: ({ id }) => seen.push(`${id} went`),
      },
    )
    await until(() => seen.length === 1)
    const peer = it.listener.server.client('me')
    const lost = failure(peer?.call(broken, { id: 1 }) ?? Promise.resolve())
    await lost
    await interrupt(it)
    await until(() => seen.at(-1) === 'me came back')
    expect(await peer?.call(broken, { id: 2 })).toEqual({ id: 2 })
    expect(seen).toEqual(['me came', 'me went', 'me came back'])
  })

  it('is dropped by a server that hears nothing of it', async () => {
    const gone: string[] = []
    const it = await setup({ id: 'me', keep: true }, { heartbeatMs: 20, onDisconnected: ({ id }) => gone.push(id) })
    await until(() => it.events.includes('connected'))
    it.link.set('down')
    await until(() => gone.length === 1)
    expect(it.listener.connections).toBe(0)
  })

  it('bears a slow network: silence is not what is merely late', async () => {
    const it = await setup({ heartbeatMs: 200 })
    await it.client.call(add, { id: 1 })
    it.link.set('latency=5ms,bandwidth=4MiB/s')
    const { result, bytes } = await it.client.call(fetch, { bytes: 1024 * 1024 })
    expect(await summarize(bytes)).toEqual(result)
    expect(await it.client.call(store, { name: 'a' }, { bytes: content(1024 * 1024) })).toEqual(summaryOf(1024 * 1024))
    expect(it.events).toEqual(['connected'])
  })
})

describe('anything at all', () => {
  it(`happens: each call is executed at most once, answered rightly, and none is forgotten (seed ${seed()})`, async () => {
    const chance = random(seed())
    const it = await setup({ heartbeatMs: 60, connectMs: 200, maxCalls: 20 })
    const calls: Promise<void>[] = []
    let [answered, failed] = [0, 0]
    const right = (done: Promise<boolean>) =>
      done.then(
        (ok) => {
          expect(ok).toBe(true)
          answered++
        },
        (error: { reason?: string }) => {
          expect(['INTERRUPTED', 'DISCONNECTED']).toContain(error.reason)
          failed++
        },
      )
    for (let id = 1; id <= 300; id++) {
      const controller = new AbortController()
      const signal = chance() < 0.1 ? { signal: controller.signal } : {}
      const size = Math.floor(chance() * 300_000)
      const kind = Math.floor(chance() * 5)
      const { client } = it
      if (id % 10 === 0) await until(() => client.connected)
      const making = async (): Promise<boolean> => {
        if (kind === 0) return (await client.call(add, { id }, signal)).id === id
        if (kind === 1) {
          const data = Buffer.alloc(size % 5000, id)
          return (await client.call(echo, { data }, signal)).data.equals(data)
        }
        if (kind === 2) {
          const { result, bytes } = await client.call(fetch, { bytes: size }, signal)
          return (await summarize(bytes)).crc === result.crc
        }
        if (kind === 3) {
          const summary = await client.call(store, { name: `${id}` }, { bytes: () => content(size), ...signal })
          return summary.crc === summaryOf(size).crc
        }
        const held = client.call(hold, { id }, signal)
        return (await held).id === id
      }
      calls.push(right(making()))
      const dice = chance()
      if (dice < 0.03 && client.connected) await interrupt(it)
      else if (dice < 0.1) it.link.set(`latency=${Math.floor(chance() * 3)}ms,jitter=2ms`)
      else if (dice < 0.15) it.link.set('reset')
      else if (dice < 0.5) await new Promise((resolve) => setTimeout(resolve, 1))
      if (chance() < 0.5) controller.abort()
      const [some] = it.depot.waiting.slice(Math.floor(chance() * it.depot.waiting.length))
      if (some !== undefined) it.depot.release(some)
    }
    it.link.set('reset')
    let over = false
    const all = Promise.all(calls).then(() => {
      over = true
    })
    while (!over) {
      for (const id of it.depot.waiting) it.depot.release(id)
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
    await all
    expect(answered + failed).toBe(300)
    expect(answered).toBeGreaterThan(150)
    for (const [id, times] of it.depot.added) expect(times, `call ${id}`).toBe(1)
    expect(new Set(it.depot.stored).size).toBe(it.depot.stored.length)
    expect(it.errors).toEqual([])
    await until(() => it.listener.server.calls === 0)
  }, 60_000)
})
