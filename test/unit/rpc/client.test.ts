import { describe, expect, it } from 'vitest'
import { FsError } from '../../../src/posix/errors.ts'
import { authSys, CredentialReader } from '../../../src/rpc/onc/auth.ts'
import { tcpChannel, udpChannel } from '../../../src/rpc/onc/channel.ts'
import { OncClient, type OncClientOptions } from '../../../src/rpc/onc/client.ts'
import { OncError } from '../../../src/rpc/onc/errors.ts'
import type { Peer } from '../../../src/rpc/onc/peer.ts'
import { RecordAssembler } from '../../../src/rpc/onc/record-assembler.ts'
import { OncServer } from '../../../src/rpc/onc/server.ts'
import { type RpcEvent, rpcChannel } from '../../../src/trace/trace.ts'
import { random, seed } from '../../support/random.ts'
import { FakeDatagrams, FakeNetwork, type FakeStream } from './fake-streams.ts'
import { FAIL, HIDDEN, LOOKUP, NULL, READ, REMOVE, Shelf, WAIT, WRITE } from './shelf.ts'
import { settle, TestClock } from './test-clock.ts'

const address = { host: 'server', port: 2049 }
const LAST = 0x8000_0000

function record(message: Buffer): Buffer {
  const mark = Buffer.alloc(4)
  mark.writeUInt32BE(LAST + message.length)
  return Buffer.concat([mark, message])
}

/** A server behind fake streams, which answers when the test says so. */
class FakeServer {
  readonly network = new FakeNetwork()
  readonly shelf = new Shelf()
  readonly server = new OncServer([this.shelf.service])
  readonly #assemblers = new Map<FakeStream, RecordAssembler>()
  readonly peer: Peer = {
    address: '127.0.0.1',
    port: 700,
    transport: 'tcp',
    signal: new AbortController().signal,
    credentials: new CredentialReader(),
    maxReplyBytes: 2 ** 21,
  }

  /** The calls that arrived on the latest connection and were not taken yet. */
  calls(): Buffer[] {
    const stream = this.network.last
    const assembler = this.#assemblers.get(stream) ?? new RecordAssembler(2 ** 21)
    this.#assemblers.set(stream, assembler)
    for (const chunk of stream.written.splice(0)) assembler.push(chunk)
    const calls: Buffer[] = []
    for (let call = assembler.next(); call !== undefined; call = assembler.next()) calls.push(call)
    return calls
  }

  async reply(call: Buffer): Promise<void> {
    const reply = await this.server.answer(call, this.peer)
    if (reply !== undefined) this.network.last.events.received(record(Buffer.concat(reply)))
    await settle()
  }

  async replyAll(): Promise<void> {
    for (const call of this.calls()) await this.reply(call)
  }

  async accept(): Promise<void> {
    this.network.last.events.opened()
    await settle()
  }
}

function setup(options: OncClientOptions = {}) {
  const clock = new TestClock()
  const server = new FakeServer()
  const events: string[] = []
  const client = new OncClient(tcpChannel(address, server.network.open), {
    clock,
    random: random(seed()),
    onEvent: (event) => {
      const more = event.type === 'not responding' ? ` after ${event.retransmissions}` : ''
      events.push(`${event.type}${more}`)
    },
    ...options,
  })
  return { clock, server, events, client }
}

const xidOf = (call: Buffer) => call.readUInt32BE()
/** What becomes of a call: its result, or why it has none. */
const outcome = <T>(call: Promise<T>): Promise<T | string> => call.catch((error: OncError) => error.reason)

describe('an ONC RPC client over TCP', () => {
  it('connects at the first call, pipelines, and finds the call of each answer', async () => {
    const { server, client, events } = setup()
    expect(server.network.streams).toHaveLength(0)
    const results = [LOOKUP, LOOKUP, LOOKUP].map((procedure, i) =>
      client.call(procedure, { name: ['notes', 'x', 'notes'][i] ?? '' }),
    )
    await server.accept()
    const calls = server.calls()
    expect(calls).toHaveLength(3)
    expect(new Set(calls.map(xidOf)).size).toBe(3)
    for (const call of calls.reverse()) await server.reply(call)
    const found = { status: 'OK', object: Buffer.from('notes') }
    expect(await Promise.all(results)).toEqual([found, { status: 'NOENT' }, found])
    expect(server.network.streams).toHaveLength(1)
    expect(events).toEqual(['connected'])
  })

  it('sends what was called in one turn in one write, and large data without a copy', async () => {
    const { server, client } = setup()
    void outcome(client.call(NULL, undefined))
    await server.accept()
    server.network.last.written.length = 0
    const data = Buffer.alloc(100_000)
    for (let i = 0; i < 10; i++) void outcome(client.call(LOOKUP, { name: 'notes' }))
    void outcome(client.call(WRITE, { data }))
    await settle()
    expect(server.network.last.written).toHaveLength(2)
    expect(server.network.last.written[1]?.buffer).toBe(data.buffer)
  })

  it('uses the memory of a large answer again when it was given back, and not before', async () => {
    const { server, client } = setup()
    const read = () => client.call(READ, { count: 1024 * 1024 })
    const results = [read(), read(), read()]
    await server.accept()
    const [one, two, three] = server.calls() as [Buffer, Buffer, Buffer]
    /** The answer, full of one letter, as it comes through a socket. */
    const answer = async (call: Buffer, letter: string) => {
      const reply = (await server.server.answer(call, server.peer)) as Buffer[]
      const bytes = record(Buffer.concat(reply))
      bytes.fill(letter, bytes.length - 1024 * 1024)
      for (let at = 0; at < bytes.length; ) {
        const room = server.network.last.events.room?.()
        const length = Math.min(room?.length ?? 65_536, bytes.length - at)
        const into = room ?? Buffer.alloc(length)
        bytes.copy(into, 0, at, at + length)
        server.network.last.events.received(into.subarray(0, length))
        at += length
      }
      await settle()
    }
    // In another order than asked, and the second is kept.
    await answer(two, 'b')
    await answer(one, 'a')
    const [a, b] = (await Promise.all(results.slice(0, 2))).map(({ data }) => data) as [Buffer, Buffer]
    expect([a, b].map((data) => [data.length, String.fromCharCode(data[0] ?? 0)])).toEqual([
      [1024 * 1024, 'a'],
      [1024 * 1024, 'b'],
    ])
    client.release(a)
    await answer(three, 'c')
    const c = (await results[2])?.data as Buffer
    expect(c.buffer).toBe(a.buffer)
    expect(c.equals(Buffer.alloc(1024 * 1024, 'c'))).toBe(true)
    expect(b.equals(Buffer.alloc(1024 * 1024, 'b'))).toBe(true)
  })

  it('sends credentials, of the client or of the call', async () => {
    const sys = (uid: number) => authSys({ stamp: 0, machineName: 'a', uid, gid: 0, gids: [] })
    const { server, client } = setup({ credential: sys(1) })
    void client.call(LOOKUP, { name: 'a' })
    void client.call(LOOKUP, { name: 'b' }, { credential: sys(2) })
    await server.accept()
    await server.replyAll()
    expect(server.shelf.contexts.map(({ caller }) => caller.flavor === 'AUTH_SYS' && caller.uid)).toEqual([1, 2])
  })

  it('tells refusals apart, with an errno for the file system', async () => {
    const { server, client } = setup()
    const failures = [
      outcome(client.call(FAIL, undefined)),
      outcome(client.call(HIDDEN, undefined)),
      outcome(client.call({ ...NULL, version: 9 }, undefined)),
      outcome(client.call({ ...NULL, program: 9 }, undefined)),
      outcome(client.call({ ...LOOKUP, number: 0 } as typeof LOOKUP, { name: 'superfluous' })),
      outcome(client.call({ ...NULL, number: 1 }, undefined)),
      outcome(client.call({ ...READ, result: LOOKUP.result } as unknown as typeof LOOKUP, { count: 1 } as never)),
    ]
    await server.accept()
    await server.replyAll()
    expect(await Promise.all(failures.slice(0, 6))).toEqual([
      'SYSTEM_ERR',
      'PROC_UNAVAIL',
      'PROG_MISMATCH',
      'PROG_UNAVAIL',
      'GARBAGE_ARGS',
      'GARBAGE_ARGS',
    ])
    expect(FsError.from(new OncError('TIMED_OUT', 'x')).code).toBe('ETIMEDOUT')
    expect(FsError.from(new OncError('INTERRUPTED', 'x')).code).toBe('EINTR')
    expect(client.statistics.of('SHELF.FAIL').failures).toBe(1)
  })

  it('fails the call whose answer makes no sense, and drops the connection that carries none', async () => {
    const { server, client, clock, events } = setup()
    const bad = outcome(
      client.call({ ...LOOKUP, number: 0 } as typeof LOOKUP, undefined as never).catch(() => 'BAD_ARGS'),
    )
    expect(await bad).toBe('BAD_ARGS')
    const wrong = outcome(client.call({ ...NULL, result: LOOKUP.result } as unknown as typeof NULL, undefined))
    const good = client.call(NULL, undefined)
    await server.accept()
    const [first, second] = server.calls()
    await server.reply(first as Buffer)
    expect(await wrong).toBe('BAD_REPLY')
    server.network.last.events.received(record(Buffer.from('no reply at all.')))
    await settle()
    expect(events).toEqual(['connected', 'disconnected'])
    expect(server.network.streams[0]?.destroyed).toBe(true)
    await clock.pass(100)
    expect(server.network.streams).toHaveLength(2)
    await server.accept()
    expect(server.calls()).toEqual([second])
    await server.reply(second as Buffer)
    await good
  })

  it('ignores answers that nobody waits for', async () => {
    const { server, client } = setup()
    const result = client.call(NULL, undefined)
    await server.accept()
    const [call] = server.calls()
    await server.reply(call as Buffer)
    await server.reply(call as Buffer)
    await result
    expect(client.status()).toMatchObject({ state: 'open', waiting: [] })
  })

  it('comes back when the server does, and sends again what was not answered, unchanged and in order', async () => {
    const { server, client, clock, events } = setup()
    const results = ['a', 'notes', 'b'].map((name) => client.call(REMOVE, { name }))
    await server.accept()
    const calls = server.calls()
    await server.reply(calls[0] as Buffer)
    expect(await results[0]).toEqual({ status: 'NOENT' })
    // The second was executed, but its answer got lost with the connection.
    server.network.last.events.closed(new Error('ECONNRESET'))
    void server.server.answer(calls[1] as Buffer, server.peer)
    await settle()
    expect(server.network.streams).toHaveLength(2)
    server.network.last.events.closed(new Error('ECONNREFUSED'))
    await clock.pass(10_000, 100)
    expect(client.status()).toMatchObject({ state: 'connecting', lastError: 'Error: ECONNREFUSED' })
    await server.accept()
    const again = server.calls()
    expect(again).toEqual(calls.slice(1))
    for (const call of again) await server.reply(call)
    expect(await Promise.all(results)).toEqual([{ status: 'NOENT' }, { status: 'OK' }, { status: 'NOENT' }])
    expect(server.shelf.removals).toBe(3)
    expect(client.statistics.of('SHELF.REMOVE').retransmissions).toBe(2)
    expect(events).toEqual(['connected', 'disconnected', 'disconnected', 'connected'])
  })

  it('tries again at growing intervals, but not when nobody waits', async () => {
    const { server, client, clock } = setup()
    const abort = new AbortController()
    const result = outcome(client.call(NULL, undefined, { signal: abort.signal }))
    const times: number[] = []
    const start = clock.now()
    for (let attempt = 0; attempt < 12; attempt++) {
      times.push(clock.now() - start)
      const before = server.network.streams.length
      server.network.last.events.closed(new Error('ECONNREFUSED'))
      while (server.network.streams.length === before) await clock.pass(10)
    }
    const waits = times.slice(1).map((time, i) => time - (times[i] ?? 0))
    for (const [i, wait] of waits.entries()) {
      const nominal = Math.min(50 * 2 ** i, 5000)
      expect(wait).toBeGreaterThanOrEqual(nominal / 2)
      expect(wait).toBeLessThanOrEqual(nominal + 10)
    }
    abort.abort()
    expect(await result).toBe('INTERRUPTED')
    server.network.last.events.closed(new Error('ECONNREFUSED'))
    const before = server.network.streams.length
    await clock.pass(60_000, 1000)
    expect(server.network.streams).toHaveLength(before)
    expect(client.status().state).toBe('idle')
  })

  it('gives up a connection attempt that hangs', async () => {
    const { server, client, clock } = setup({ connectMs: 1000 })
    void outcome(client.call(NULL, undefined))
    await clock.pass(1000)
    expect(server.network.streams[0]?.destroyed).toBe(true)
    await clock.pass(100)
    expect(server.network.streams).toHaveLength(2)
  })

  it('a hard mount waits as long as it takes, and says since when', async () => {
    const { server, client, clock, events } = setup({ timeoMs: 1000, retrans: 2 })
    const start = clock.now()
    const result = client.call(REMOVE, { name: 'notes' })
    await server.accept()
    const [call] = server.calls()
    // 1 s, 2 s and 3 s without an answer: a major timeout.
    await clock.pass(5999, 500)
    expect(server.calls()).toEqual([call, call])
    expect(events).toEqual(['connected'])
    await clock.pass(1)
    expect(events).toEqual(['connected', 'not responding after 2', 'disconnected'])
    await clock.pass(100)
    expect(server.network.streams).toHaveLength(2)
    expect(client.status()).toMatchObject({
      state: 'connecting',
      peer: 'server:2049',
      notRespondingSince: start,
      waiting: [{ op: 'SHELF.REMOVE', since: start, retransmissions: 2 }],
    })
    await clock.pass(100_000, 500)
    while (client.status().state !== 'connecting') await clock.pass(500)
    await server.accept()
    expect(server.calls()).toEqual([call])
    await server.reply(call as Buffer)
    expect(await result).toEqual({ status: 'OK' })
    expect(events.at(-1)).toBe('responding')
    expect(client.status().notRespondingSince).toBeUndefined()
    expect(server.shelf.removals).toBe(1)
  })

  it('a soft mount fails after its retransmissions', async () => {
    const { client, clock, events } = setup({ timeoMs: 1000, retrans: 2, hard: false })
    const failed = outcome(client.call(NULL, undefined))
    await clock.pass(6000, 500)
    expect(await failed).toBe('TIMED_OUT')
    expect(events).toContain('not responding after 0')
  })

  it('does not say again what still waits to leave', async () => {
    const { server, client, clock } = setup({ timeoMs: 1000 })
    void outcome(client.call(NULL, undefined))
    await server.accept()
    server.calls()
    server.network.last.bufferedBytes = 10
    await clock.pass(1000)
    expect(server.calls()).toEqual([])
    expect(client.statistics.of('SHELF.NULL').retransmissions).toBe(0)
  })

  it('lets a call go when its signal is aborted, before, meanwhile, or while it waits for others', async () => {
    const { server, client } = setup({ maxCalls: 1 })
    expect(await outcome(client.call(NULL, undefined, { signal: AbortSignal.abort() }))).toBe('INTERRUPTED')
    const [first, second] = [new AbortController(), new AbortController()]
    const calls = [
      outcome(client.call(WAIT, { id: 1 }, { signal: first.signal })),
      outcome(client.call(WAIT, { id: 2 }, { signal: second.signal })),
      outcome(client.call(LOOKUP, { name: 'x' })),
    ]
    await server.accept()
    expect(server.calls()).toHaveLength(1)
    second.abort()
    first.abort()
    await settle()
    await server.replyAll()
    expect(await Promise.all(calls)).toEqual(['INTERRUPTED', 'INTERRUPTED', { status: 'NOENT' }])
  })

  it('has so many calls in progress, and the others in their order', async () => {
    const { server, client } = setup({ maxCalls: 2 })
    const results = Array.from({ length: 7 }, () => client.call(LOOKUP, { name: 'notes' }))
    await server.accept()
    for (const count of [2, 2, 2, 1, 0]) {
      const calls = server.calls()
      expect(calls).toHaveLength(count)
      for (const call of calls) await server.reply(call)
    }
    expect((await Promise.all(results)).every(({ status }) => status === 'OK')).toBe(true)
  })

  it('fails what waits when it is closed, and leaves no timer', async () => {
    const { server, client, clock } = setup({ maxCalls: 1 })
    const calls = [outcome(client.call(NULL, undefined)), outcome(client.call(NULL, undefined))]
    await server.accept()
    client.close()
    expect(await Promise.all(calls)).toEqual(['CLOSED', 'CLOSED'])
    expect(await outcome(client.call(NULL, undefined))).toBe('CLOSED')
    expect(server.network.last.destroyed).toBe(true)
    expect(clock.timers).toBe(0)
  })

  it('tells observers of each call', async () => {
    const { server, client, clock } = setup({ mount: '/mnt/a' })
    const events: RpcEvent[] = []
    const listener = (event: RpcEvent) => events.push(event)
    rpcChannel.subscribe(listener)
    const result = client.call(LOOKUP, { name: 'x' })
    await server.accept()
    clock.advance(3)
    await server.replyAll()
    await result
    client.close()
    rpcChannel.unsubscribe(listener)
    const event = {
      op: 'SHELF.LOOKUP',
      side: 'client',
      peer: 'server:2049',
      us: 3000,
      error: 'ENOENT',
      mount: '/mnt/a',
    }
    expect(events.find(({ side }) => side === 'client')).toMatchObject(event)
  })
})

describe('an ONC RPC client over UDP', () => {
  function setupUdp(options: OncClientOptions = {}) {
    const clock = new TestClock()
    const socket = new FakeDatagrams()
    const client = new OncClient(udpChannel(address, socket.open), { clock, random: random(seed()), ...options })
    return { clock, socket, client }
  }

  it('repeats a call with the same transaction id until it is answered', async () => {
    const { clock, socket, client } = setupUdp()
    const result = client.call(NULL, undefined)
    socket.events?.opened()
    const start = clock.now()
    const times: number[] = []
    for (let seen = 0; clock.now() - start < 20_000; await clock.pass(100)) {
      for (; seen < socket.sent.length; seen++) times.push(clock.now() - start)
    }
    expect(times).toEqual([0, 1100, 3300, 7700, 16_500, 17_600, 19_800])
    expect(new Set(socket.sent.map((message) => message.toString('hex'))).size).toBe(1)
    socket.events?.received(Buffer.from('no reply'))
    const xid = socket.sent[0]?.subarray(0, 4) ?? Buffer.alloc(0)
    socket.events?.received(Buffer.concat([xid, Buffer.from('0000000100000000000000000000000000000000', 'hex')]))
    expect(await result).toBeUndefined()
  })

  it('opens another socket when one fails', async () => {
    const { clock, socket, client } = setupUdp()
    void outcome(client.call(NULL, undefined))
    socket.events?.closed(new Error('ENETUNREACH'))
    await clock.pass(1000, 10)
    socket.events?.opened()
    expect(socket.sent.length).toBeGreaterThan(0)
    client.close()
    expect(socket.closed).toBe(true)
  })
})
