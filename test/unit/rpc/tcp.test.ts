import { connect, type Socket } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { encode, opaque, text, u32 } from '../../../src/codec/xdr.ts'
import { OncServer } from '../../../src/rpc/onc/server.ts'
import { listenTcp, type TcpListener, type TcpOptions } from '../../../src/rpc/onc/tcp-server.ts'
import { SHELF, Shelf } from './shelf.ts'
import { settle, TestClock } from './test-clock.ts'

const LAST = 0x8000_0000
const words = (...values: number[]): Buffer => Buffer.concat(values.map((value) => encode(u32, value)))
const fragment = (bytes: Buffer, last = true): Buffer => Buffer.concat([words(bytes.length + (last ? LAST : 0)), bytes])
const call = (xid: number, procedure: number, args: Buffer = Buffer.alloc(0)): Buffer =>
  Buffer.concat([words(xid, 0, 2, SHELF.number, SHELF.version, procedure, 0, 0, 0, 0), args])

const open: (() => unknown)[] = []
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close()
})

async function setup(options: TcpOptions = {}) {
  const shelf = new Shelf()
  const server = new OncServer([shelf.service])
  const dropped: string[] = []
  const onDropped: TcpOptions['onDropped'] = (_, error) => dropped.push((error as Error).message)
  const listener = await listenTcp(server, { onDropped, ...options })
  open.push(() => listener.close())
  return { shelf, server, listener, dropped }
}

/** A client of bytes. */
class Raw {
  readonly socket: Socket
  readonly closed: Promise<void>
  #bytes = Buffer.alloc(0)
  #wake: () => void = () => {}

  constructor({ address }: TcpListener) {
    this.socket = connect({ ...address, noDelay: true })
    this.closed = new Promise((resolve) => this.socket.on('close', () => resolve()))
    this.socket.on('error', () => {})
    this.socket.on('data', (chunk: Buffer) => {
      this.#bytes = Buffer.concat([this.#bytes, chunk])
      this.#wake()
    })
    open.push(() => this.socket.destroy())
  }

  /** The next reply. */
  async reply(): Promise<Buffer> {
    for (;;) {
      const length = this.#bytes.length < 4 ? Number.POSITIVE_INFINITY : this.#bytes.readUInt32BE() - LAST
      if (this.#bytes.length >= 4 + length) {
        const reply = this.#bytes.subarray(4, 4 + length)
        this.#bytes = this.#bytes.subarray(4 + length)
        return reply
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }

  async xid(): Promise<number> {
    return (await this.reply()).readUInt32BE()
  }
}

/** Waits until something that others do is done. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 1))
}

describe('ONC RPC over TCP', () => {
  it('listens on loopback and answers calls in fragments, byte by byte', async () => {
    const { listener } = await setup()
    expect(listener.address.host).toBe('127.0.0.1')
    const raw = new Raw(listener)
    const message = call(5, 1, encode(text(255), 'notes'))
    const stream = Buffer.concat([
      fragment(message.subarray(0, 3), false),
      fragment(Buffer.alloc(0), false),
      fragment(message.subarray(3)),
    ])
    for (const byte of stream) raw.socket.write(Buffer.from([byte]))
    expect((await raw.reply()).toString('hex')).toMatch(/^00000005.*6e6f746573000000$/)
  })

  it('answers pipelined calls as soon as each is ready', async () => {
    const { shelf, listener } = await setup()
    const raw = new Raw(listener)
    raw.socket.write(
      Buffer.concat([call(1, 5, words(1)), call(2, 5, words(2)), call(3, 0)].map((message) => fragment(message))),
    )
    expect(await raw.xid()).toBe(3)
    shelf.release(2)
    expect(await raw.xid()).toBe(2)
    shelf.release(1)
    expect(await raw.xid()).toBe(1)
  })

  it('sends large data whole', async () => {
    const { listener } = await setup()
    const raw = new Raw(listener)
    raw.socket.write(fragment(call(1, 2, words(1024 * 1024))))
    expect((await raw.reply()).length).toBe(28 + 1024 * 1024)
    raw.socket.write(fragment(call(2, 3, encode(opaque(1024 * 1024), Buffer.alloc(1024 * 1024), 2 ** 21))))
    expect((await raw.reply()).subarray(-4)).toEqual(words(1024 * 1024))
  })

  it('does not overwrite a large call before it is answered', async () => {
    const { shelf, listener } = await setup()
    shelf.slow = true
    const raw = new Raw(listener)
    const write = (id: number) => fragment(call(id, 3, encode(opaque(1024 * 1024), Buffer.alloc(600_000, id), 2 ** 21)))
    for (let id = 1; id <= 4; id++) raw.socket.write(write(id))
    await until(() => shelf.waiting.length === 4)
    // Those that are answered make room for others, which overwrite them and nothing else.
    for (let id = 5; id <= 12; id++) {
      shelf.release(id - 4)
      expect((await raw.reply()).subarray(-4)).toEqual(words(id - 4))
      raw.socket.write(write(id))
      await until(() => shelf.waiting.includes(id))
    }
    expect(shelf.waiting).toEqual([9, 10, 11, 12])
    for (const id of [12, 9, 11, 10]) {
      shelf.release(id)
      expect((await raw.reply()).subarray(-4)).toEqual(words(id))
    }
  })

  it('says when a reply has left, and of one that never does, nothing', async () => {
    const left: Buffer[] = []
    const { server, listener } = await setup({ onLeft: (chunks) => left.push(...chunks) })
    const large = () => left.filter(({ length }) => length === 1024 * 1024).length
    const raw = new Raw(listener)
    raw.socket.write(fragment(call(1, 2, words(1024 * 1024))))
    expect((await raw.reply()).length).toBe(28 + 1024 * 1024)
    await until(() => large() === 1)
    raw.socket.pause()
    for (let xid = 2; xid <= 100; xid++) raw.socket.write(fragment(call(xid, 2, words(1024 * 1024))))
    await until(() => server.statistics.of('SHELF.READ').calls > 4)
    raw.socket.destroy()
    await until(() => listener.connections === 0)
    await settle()
    expect(large()).toBeLessThan(server.statistics.of('SHELF.READ').calls)
  })

  it.each([
    ['a record above the limit', fragment(Buffer.alloc(10)).fill(0xff, 0, 4)],
    ['a reply', fragment(Buffer.concat([words(1, 1, 0, 0, 0, 0)]))],
    ['an empty record', fragment(Buffer.alloc(0))],
    ['something else', Buffer.from('GET / HTTP/1.1\r\n\r\n')],
  ])('drops a connection that sends %s, and no other', async (_, bytes) => {
    const { listener, dropped } = await setup()
    const good = new Raw(listener)
    const bad = new Raw(listener)
    bad.socket.write(bytes)
    await bad.closed
    expect(dropped).toHaveLength(1)
    good.socket.write(fragment(call(1, 0)))
    expect(await good.xid()).toBe(1)
    expect(listener.connections).toBe(1)
  })

  it('stops reading a connection with many calls in progress, and goes on when they are done', async () => {
    const { shelf, listener } = await setup({ limits: { calls: 3 } })
    const raw = new Raw(listener)
    for (let id = 1; id <= 10; id++) raw.socket.write(fragment(call(id, 5, words(id))))
    for (let id = 1; id <= 10; id++) {
      await until(() => shelf.waiting.length === Math.min(3, 11 - id))
      expect(shelf.waiting[0]).toBe(id)
      shelf.release(id)
      expect(await raw.xid()).toBe(id)
    }
  })

  it('stops reading who does not take the answers, and goes on when they are taken', async () => {
    const { server, listener } = await setup({ limits: { replyBytes: 1024 * 1024 } })
    const raw = new Raw(listener)
    raw.socket.pause()
    const count = 200
    for (let xid = 1; xid <= count; xid++) raw.socket.write(fragment(call(xid, 2, words(1024 * 1024))))
    let calls = 0
    const stalled = async () => {
      // No answer went out while others had time to: it stands still.
      for (let turns = 0; turns < 50; turns++) await new Promise((resolve) => setTimeout(resolve, 1))
      const before = calls
      calls = server.statistics.of('SHELF.READ').calls
      return calls > 0 && calls === before
    }
    while (!(await stalled()));
    // What the sockets of both sides hold, and one reply beyond the limit.
    expect(calls).toBeLessThan(count)
    raw.socket.resume()
    for (let xid = 1; xid <= count; xid++) expect(await raw.xid()).toBe(xid)
  })

  it('holds back all connections when they have too much in progress together', async () => {
    const { shelf, listener } = await setup({ limits: { allCallBytes: 100 } })
    const [first, second] = [new Raw(listener), new Raw(listener)]
    for (const raw of [first, second]) {
      const base = raw === first ? 0 : 10
      for (let id = base + 1; id <= base + 3; id++) raw.socket.write(fragment(call(id, 5, words(id))))
    }
    await until(() => shelf.waiting.length >= 3)
    await settle()
    expect(shelf.waiting.length).toBeLessThanOrEqual(4)
    const seen: number[] = []
    for (const raw of [first, second]) {
      const take = async () => {
        for (let n = 0; n < 3; n++) seen.push(await raw.xid())
      }
      void take()
    }
    while (seen.length < 6) {
      const [id] = shelf.waiting
      if (id !== undefined) shelf.release(id)
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
    expect(seen.sort((a, b) => a - b)).toEqual([1, 2, 3, 11, 12, 13])
    expect(listener.heldBytes).toBe(0)
  })

  it('drops who makes it hold too much of incomplete calls', async () => {
    const { listener, dropped } = await setup({ limits: { allPartBytes: 100_000 } })
    const good = new Raw(listener)
    const bad = new Raw(listener)
    bad.socket.write(Buffer.concat([words(LAST + 1024 * 1024), Buffer.alloc(200_000)]))
    await bad.closed
    expect(dropped).toEqual(['too many incomplete calls'])
    expect(listener.heldBytes).toBe(0)
    good.socket.write(fragment(call(1, 0)))
    expect(await good.xid()).toBe(1)
  })

  it('closes connections that complete no call for long, and none with one in progress', async () => {
    const clock = new TestClock()
    const { shelf, listener } = await setup({ clock, limits: { idleMs: 60_000 } })
    const [idle, slow, busy] = [new Raw(listener), new Raw(listener), new Raw(listener)]
    slow.socket.write(words(LAST + 100))
    busy.socket.write(fragment(call(1, 5, words(1))))
    await until(() => listener.connections === 3 && shelf.waiting.length === 1)
    clock.advance(100_000)
    await Promise.all([idle.closed, slow.closed])
    expect(listener.connections).toBe(1)
    shelf.release(1)
    expect(await busy.xid()).toBe(1)
  })

  it('refuses connections beyond the limit', async () => {
    const { listener, dropped } = await setup({ limits: { connections: 2 } })
    const [first] = [new Raw(listener), new Raw(listener)]
    await until(() => listener.connections === 2)
    await new Raw(listener).closed
    expect(dropped).toEqual(['too many connections'])
    first?.socket.destroy()
    await until(() => listener.connections === 1)
    const next = new Raw(listener)
    next.socket.write(fragment(call(1, 0)))
    expect(await next.xid()).toBe(1)
  })

  it('aborts the calls of a connection that goes away', async () => {
    const { shelf, listener } = await setup()
    const raw = new Raw(listener)
    raw.socket.write(fragment(call(1, 5, words(1))))
    await until(() => shelf.waiting.length === 1)
    const signal = shelf.contexts[0]?.signal
    expect(signal?.aborted).toBe(false)
    raw.socket.destroy()
    await until(() => signal?.aborted === true)
    shelf.release(1)
    await settle()
    expect(listener.heldBytes).toBe(0)
  })

  it('ends everything with close()', async () => {
    const { shelf, listener } = await setup()
    const raw = new Raw(listener)
    raw.socket.write(fragment(call(1, 5, words(1))))
    await until(() => shelf.waiting.length === 1)
    await listener.close()
    await raw.closed
    expect(shelf.contexts[0]?.signal.aborted).toBe(true)
    expect(listener.connections).toBe(0)
    shelf.release(1)
    await settle()
  })

  it('holds 1,000 connections in bounded memory, each with a call that is not complete', async () => {
    const { listener, server } = await setup()
    const raws = Array.from({ length: 1000 }, () => new Raw(listener))
    const message = fragment(call(1, 1, encode(text(255), 'notes')))
    for (const raw of raws) raw.socket.write(Buffer.concat([message, words(LAST + 1024 * 1024), Buffer.alloc(100)]))
    for (const raw of raws) expect(await raw.xid()).toBe(1)
    expect(listener.connections).toBe(1000)
    await until(() => server.statistics.of('SHELF.LOOKUP').calls === 1000)
    expect(listener.heldBytes).toBeLessThanOrEqual(1000 * 2048)
  })
})
