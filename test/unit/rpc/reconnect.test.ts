// Client and server on loopback sockets: servers that die, networks that are cut.
import { afterEach, describe, expect, it } from 'vitest'
import { Link } from '../../../src/rpc/link.ts'
import { tcpChannel, udpChannel } from '../../../src/rpc/onc/channel.ts'
import { OncClient, type OncClientOptions } from '../../../src/rpc/onc/client.ts'
import { OncServer } from '../../../src/rpc/onc/server.ts'
import { listenTcp } from '../../../src/rpc/onc/tcp-server.ts'
import { listenUdp } from '../../../src/rpc/onc/udp-server.ts'
import { openTcp, openUdp } from '../../../src/rpc/transport.ts'
import { random, seed } from '../../support/random.ts'
import { LOOKUP, NULL, READ, REMOVE, Shelf, WAIT, WRITE } from './shelf.ts'

const open: (() => unknown)[] = []
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close()
})

const turn = () => new Promise<void>((resolve) => setTimeout(resolve, 1))
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await turn()
}

async function setup(options: OncClientOptions = {}, localPort?: number) {
  const shelf = new Shelf()
  const server = new OncServer([shelf.service])
  // Below those that the kernel gives away: no other process can take it while the server is dead.
  let listener = await listenTcp(server, { port: 10_000 + (process.pid % 10_000) })
  open.push(() => listener.close())
  const link = new Link({ random: random(seed()) })
  const events: string[] = []
  const client = new OncClient(
    tcpChannel(listener.address, link.stream(openTcp(listener.address, localPort === undefined ? {} : { localPort }))),
    {
      onEvent: ({ type }) => events.push(type),
      ...options,
    },
  )
  open.push(() => client.close())
  const restart = async (core = server) => {
    const { port } = listener.address
    await listener.close()
    listener = await listenTcp(core, { port })
  }
  return { shelf, server, link, client, events, restart, listener: () => listener }
}

describe('client and server over TCP', () => {
  it('carry calls, and a megabyte either way', async () => {
    const { client } = await setup()
    expect(await client.call(LOOKUP, { name: 'notes' })).toEqual({ status: 'OK', object: Buffer.from('notes') })
    const { data } = await client.call(READ, { count: 1024 * 1024 })
    expect(data.equals(Buffer.alloc(1024 * 1024, 'd'))).toBe(true)
    expect(await client.call(WRITE, { data })).toEqual({ count: 1024 * 1024 })
  })

  it('survive a server that dies with calls in progress', async () => {
    const { client, shelf, restart, events } = await setup()
    await client.call(NULL, undefined)
    const waits = [1, 2, 3].map((id) => client.call(WAIT, { id }))
    await until(() => shelf.waiting.length === 3)
    const later = new Shelf()
    await restart(new OncServer([later.service]))
    await until(() => later.waiting.length === 3)
    for (const id of [3, 1, 2]) later.release(id)
    expect(await Promise.all(waits)).toEqual([{ id: 1 }, { id: 2 }, { id: 3 }])
    expect(events.slice(0, 2)).toEqual(['connected', 'disconnected'])
    expect(client.statistics.of('SHELF.WAIT').retransmissions).toBe(3)
  })

  it('come back from the same port, so that what was executed already is only answered', async () => {
    // A port that the kernel gives to nobody who does not ask for it.
    const { client, shelf, restart, server } = await setup({}, 20_000 + (process.pid % 10_000))
    await client.call(LOOKUP, { name: 'notes' })
    const port = shelf.contexts[0]?.peer.port
    shelf.slow = true
    const removing = client.call(REMOVE, { name: 'notes' })
    await until(() => shelf.removals === 1)
    // The connections die while the handler works; the duplicate request cache does not.
    await restart()
    await until(() => server.statistics.of('SHELF.REMOVE').retransmissions === 1)
    shelf.release(0)
    expect(await removing).toEqual({ status: 'OK' })
    expect(shelf.removals).toBe(1)
    await client.call(LOOKUP, { name: 'notes' })
    expect(shelf.contexts.at(-1)?.peer.port).toBe(port)
  })

  it('wait for a network that is cut, and lose nothing', async () => {
    const { client, link, shelf, listener } = await setup({ timeoMs: 20, retrans: 1, maxTimeoMs: 40, connectMs: 50 })
    await client.call(NULL, undefined)
    link.set('down')
    const removing = client.call(REMOVE, { name: 'notes' })
    await until(() => client.status().notRespondingSince !== undefined)
    expect(client.status().waiting).toMatchObject([{ op: 'SHELF.REMOVE' }])
    expect(shelf.removals).toBe(0)
    // The server does not hear that the client gave the connection up.
    expect(listener().connections).toBe(1)
    link.set('up')
    expect(await removing).toEqual({ status: 'OK' })
    expect(shelf.removals).toBe(1)
    await until(() => client.status().notRespondingSince === undefined)
  })

  it('work through a slow network', async () => {
    const { client, link } = await setup()
    link.set('latency=2ms,jitter=2ms,bandwidth=50MiB/s')
    const results = Array.from({ length: 50 }, (_, i) => client.call(LOOKUP, { name: i % 2 === 0 ? 'notes' : 'x' }))
    expect((await Promise.all(results)).map(({ status }) => status === 'OK')).toEqual(
      results.map((_, i) => i % 2 === 0),
    )
    expect((await client.call(READ, { count: 200_000 })).data).toHaveLength(200_000)
  })

  it('lose and mix up nothing while the network changes under large data', async () => {
    const { client, link } = await setup()
    const expected = Buffer.alloc(1024 * 1024, 'd')
    const reads = Array.from({ length: 30 }, () => client.call(READ, { count: expected.length }))
    let done = false
    const changes = (async () => {
      for (const setting of ['latency=1ms', 'down', 'up', 'reset', 'down', 'reset', 'jitter=3ms']) {
        for (let turns = 0; turns < 3 && !done; turns++) await turn()
        link.set(setting)
      }
    })()
    for (const read of reads) expect((await read).data.equals(expected)).toBe(true)
    done = true
    await changes
  })

  it('a soft call fails while nobody listens', async () => {
    const { client, listener } = await setup({ hard: false, timeoMs: 20, retrans: 1 })
    await listener().close()
    await expect(client.call(NULL, undefined)).rejects.toMatchObject({ code: 'ETIMEDOUT' })
  })

  it('touch whoever keeps the event loop awake', async () => {
    let touches = 0
    const awake = { touch: () => touches++ }
    const listener = await listenTcp(new OncServer([new Shelf().service]), { awake })
    open.push(() => listener.close())
    const client = new OncClient(tcpChannel(listener.address, openTcp(listener.address)), { awake })
    open.push(() => client.close())
    await client.call(NULL, undefined)
    expect(touches).toBe(2)
  })
})

describe(`client and server over UDP, through a bad network (seed ${seed()})`, () => {
  it('execute each call once, and answer all of them', async () => {
    const shelf = new Shelf()
    const server = new OncServer([shelf.service])
    const listener = await listenUdp(server)
    open.push(() => listener.close())
    const link = new Link({ random: random(seed()) })
    link.set('loss=20%,duplicate=20%,reorder=20%,jitter=2ms')
    const client = new OncClient(udpChannel(listener.address, link.datagrams(openUdp(listener.address))), {
      timeoMs: 15,
      maxTimeoMs: 30,
    })
    open.push(() => client.close())
    const names = Array.from({ length: 100 }, (_, i) => `name ${i}`)
    for (const name of names) shelf.names.add(name)
    const results = await Promise.all(names.map((name) => client.call(REMOVE, { name })))
    expect(results.every(({ status }) => status === 'OK')).toBe(true)
    expect(shelf.removals).toBe(100)
    expect(server.statistics.of('SHELF.REMOVE').retransmissions).toBeGreaterThan(0)
  })
})
