// Peers that do what they must not: none of it ends the server, or costs it memory.
import { once } from 'node:events'
import { connect } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { addressName } from '../../../../src/rpc/transport.ts'
import {
  encodeAnswer,
  encodeCall,
  encodeCancel,
  encodeCredit,
  pack,
  pieceHeader,
  unpack,
} from '../../../../src/rpc/ws/frames.ts'
import { ClientHandshake } from '../../../../src/rpc/ws/handshake.ts'
import type { ListenWsOptions } from '../../../../src/rpc/ws/index.ts'
import { random, seed } from '../../../support/random.ts'
import { add, echo, fetch, type Lab, lab, note, sip, store, until, wait } from './depot.ts'

let open: { close(): unknown }[] = []
afterEach(async () => {
  for (const one of open.reverse()) await one.close()
  open = []
})

async function setup(server: Partial<ListenWsOptions> = {}): Promise<Lab> {
  const made = await lab({}, server)
  open.push(made)
  return made
}

/** A WebSocket that knows the protocol, and may break it. */
class Raw {
  readonly socket: WebSocket
  readonly received: Buffer[] = []
  closed: number | undefined

  constructor(url: string) {
    this.socket = new WebSocket(url, 'proteus.1', { perMessageDeflate: false })
    this.socket.on('message', (data: Buffer) => this.received.push(data))
    this.socket.on('close', (code) => {
      this.closed = code
    })
    this.socket.on('error', () => {})
    open.push({ close: () => this.socket.terminate() })
  }

  /** The next message. */
  async next(): Promise<Buffer> {
    await until(() => this.received.length > 0 || this.closed !== undefined)
    const message = this.received.shift()
    if (message === undefined) throw new Error(`closed: ${this.closed}`)
    return message
  }

  async shake(client = 'raw'): Promise<this> {
    await once(this.socket, 'open')
    const handshake = new ClientHandshake(
      { client, session: 'now' },
      { limits: { calls: 4, messageBytes: 65_536 }, randomBytes: (length) => Buffer.alloc(length, 7) },
    )
    this.socket.send(handshake.hello)
    for (let step = handshake.next(await this.next()); 'send' in step; step = handshake.next(await this.next())) {
      this.socket.send(step.send)
    }
    return this
  }
}

const raw = ({ listener }: Lab): Raw => new Raw(`ws://${addressName(listener.address)}/`)

/** The server is there for others, and keeps nothing of the one that was dropped. */
async function isWell({ client, listener }: Lab): Promise<void> {
  expect(await client.call(add, { id: 1 })).toEqual({ id: 1 })
  await until(() => listener.connections === 1 && listener.server.calls === 0)
}

const piece = (id: number, bytes: number, last = false) =>
  Buffer.concat([pieceHeader({ id, direction: 'in', last }), Buffer.alloc(bytes)])

describe('the server', () => {
  const MISDEEDS: [string, (socket: WebSocket) => unknown][] = [
    ['text', (socket) => socket.send('hello')],
    ['no MessagePack', (socket) => socket.send(Buffer.from([0xc1]))],
    ['no frame', (socket) => socket.send(pack({ a: 1 }))],
    ['a frame of no known kind', (socket) => socket.send(pack([99, 1]))],
    ['a list that announces more than there is', (socket) => socket.send(Buffer.from('ddffffffff', 'hex'))],
    ['a message beyond the limit', (socket) => socket.send(Buffer.alloc(3 * 1024 * 1024))],
    ['an answer to no call', (socket) => socket.send(encodeAnswer(1, null))],
    ['a number twice', (socket) => [5, 5].map((id) => socket.send(encodeCall(id, add, 0, { id })))],
    ['a number that went back', (socket) => [5, 4].map((id) => socket.send(encodeCall(id, echo, 0, {})))],
    [
      'more calls than agreed upon',
      (socket) => [1, 2, 3, 4, 5].map((id) => socket.send(encodeCall(id, wait, 0, { id }))),
    ],
    ['bytes where none belong', (socket) => socket.send(encodeCall(1, add, 0, { id: 1 }, 5))],
    ['a piece without a header', (socket) => socket.send(Buffer.from([0x10]))],
    [
      'more bytes than granted',
      (socket) => {
        socket.send(encodeCall(1, store, 0, { name: 'a' }))
        for (let i = 0; i < 100; i++) socket.send(piece(1, 1024 * 1024))
      },
    ],
    [
      'other bytes than announced',
      (socket) => {
        socket.send(encodeCall(1, store, 0, { name: 'a' }, 10))
        socket.send(piece(1, 11))
      },
    ],
    [
      'a stream that ends too early',
      (socket) => {
        socket.send(encodeCall(1, store, 0, { name: 'a' }, 10))
        socket.send(piece(1, 5, true))
      },
    ],
    [
      'credit beyond all limits',
      (socket) => {
        socket.send(encodeCall(1, fetch, 0, { bytes: 1e9 }))
        for (let i = 0; i < 5; i++) socket.send(encodeCredit(1, 'out', 2 ** 40))
      },
    ],
    ['the handshake again', (socket) => socket.send(pack(['hello', {}]))],
  ]

  it.each(MISDEEDS)('ends the connection of who sends %s', async (_name, misdeed) => {
    const it = await setup({ limits: { calls: 4 } })
    const peer = await raw(it).shake()
    misdeed(peer.socket)
    await until(() => peer.closed !== undefined)
    await isWell(it)
    expect(it.dropped).toHaveLength(1)
    expect(it.depot.stored).toEqual([])
  })

  it('bears what means nothing any more', async () => {
    const it = await setup()
    const peer = await raw(it).shake()
    for (const message of [encodeCancel(9), encodeCredit(9, 'in', 5), encodeCredit(9, 'out', 5), piece(9, 100)]) {
      peer.socket.send(message)
    }
    peer.socket.send(encodeCall(10, add, 0, { id: 2 }))
    const [answer] = unpack(await peer.next())
    expect(answer).toEqual([1, 10, { id: 2 }, null])
    expect(it.dropped).toEqual([])
  })

  it('has nothing to say before it knows who asks', async () => {
    const it = await setup()
    for (const message of [
      encodeCall(1, add, 0, { id: 7 }),
      Buffer.alloc(0),
      piece(1, 10),
      Buffer.alloc(100_000, 0x93),
    ]) {
      const peer = raw(it)
      await once(peer.socket, 'open')
      peer.socket.send(message)
      await until(() => peer.closed !== undefined)
      expect(peer.received).toEqual([])
    }
    expect(it.depot.added.size).toBe(0)
    await isWell(it)
  })

  it('takes little of who has not said who it is', async () => {
    const it = await setup({ limits: { handshakeMs: 1e6 } })
    const socket = connect(it.listener.address.port, '127.0.0.1')
    socket.on('error', () => {})
    const lines = [
      'GET / HTTP/1.1',
      'host: a',
      'connection: upgrade',
      'upgrade: websocket',
      'sec-websocket-version: 13',
    ]
    lines.push('sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==', 'sec-websocket-protocol: proteus.1')
    socket.write(`${lines.join('\r\n')}\r\n\r\n`)
    await once(socket, 'data')
    // A message of a megabyte, allowed for others, of which a part comes.
    socket.write(Buffer.concat([Buffer.from('82ff000000000010000000000000', 'hex'), Buffer.alloc(100_000)]))
    await until(() => socket.closed)
    await isWell(it)
  })

  it('waits only so long for the handshake, and for so many', async () => {
    const it = await setup({ limits: { handshakeMs: 300, handshakes: 2 } })
    const peers = [raw(it), raw(it)]
    for (const { socket } of peers) await once(socket, 'open')
    const third = raw(it)
    await until(() => third.closed !== undefined)
    await until(() => peers.every(({ closed }) => closed !== undefined))
    await isWell(it)
  })

  it('lets in as many as it may', async () => {
    const it = await setup({ limits: { connections: 2 } })
    await it.client.call(add, { id: 1 })
    await raw(it).shake('one')
    const third = raw(it)
    await until(() => third.closed !== undefined)
    expect(it.dropped).toEqual(['Error: too many connections'])
  })

  it('does not read from who does not read', async () => {
    const it = await setup({ limits: { queueBytes: 256 * 1024 } })
    const peer = await raw(it).shake()
    peer.socket.pause()
    const data = Buffer.alloc(60_000)
    let sent = 0
    const statistics = it.listener.server.statistics.of('DEPOT.echo')
    // Until the server takes no more, and then as much again.
    for (let before = -1; before !== statistics.calls; ) {
      before = statistics.calls
      for (let i = 0; i < 200; i++) peer.socket.send(encodeCall(++sent, echo, 0, { data }))
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
    expect(statistics.calls).toBeLessThan(sent)
    expect(await it.client.call(add, { id: 1 })).toEqual({ id: 1 })
    peer.socket.resume()
    await until(() => statistics.calls === sent)
  })

  it('gives no signs of life to who does not take them', async () => {
    const it = await setup()
    const peer = await raw(it).shake()
    let answered = 0
    peer.socket.on('pong', () => answered++)
    peer.socket.pause()
    for (let i = 0; i < 400_000; i++) peer.socket.ping(Buffer.alloc(125))
    expect(await it.client.call(add, { id: 1 })).toEqual({ id: 1 })
    await until(() => peer.socket.bufferedAmount === 0)
    peer.socket.resume()
    peer.socket.send(encodeCall(1, add, 0, { id: 2 }))
    await peer.next()
    // What systems hold for a connection, and no more.
    expect(answered).toBeLessThan(200_000)
  })

  it('asks a source for no more than a client takes', async () => {
    const it = await setup()
    const peer = await raw(it).shake()
    peer.socket.send(encodeCall(1, fetch, 0, { bytes: 1e9 }))
    await until(() => peer.received.length > 1)
    await new Promise((resolve) => setTimeout(resolve, 50))
    const bytes = peer.received.reduce((sum, { length }) => sum + length, 0)
    expect(bytes).toBeLessThan(300_000)
    peer.socket.terminate()
    await until(() => it.depot.ended.length === 1)
    await isWell(it)
  })

  it('is done with an endless stream when its handler is', async () => {
    const it = await setup()
    const peer = await raw(it).shake()
    peer.socket.send(encodeCall(1, sip, 0, { bytes: 100 }))
    peer.socket.send(piece(1, 100))
    // A grant comes, too.
    const told = unpack(await peer.next())
    while (told.length < 2) told.push(...unpack(await peer.next()))
    expect(told).toContainEqual([1, 1, { bytes: 100, crc: 0 }, null])
    for (let i = 0; i < 100; i++) peer.socket.send(piece(1, 500_000))
    peer.socket.send(encodeCall(2, add, 0, { id: 2 }))
    expect(unpack(await peer.next())).toEqual([[1, 2, { id: 2 }, null]])
  })

  it('bears many messages at once, and those that mean nothing', async () => {
    const it = await setup()
    const peer = await raw(it).shake()
    const notes = Array.from({ length: 2000 }, (_, id) => pack([4, note.program, 1, note.number, { id }]))
    peer.socket.send(Buffer.concat(notes))
    peer.socket.send(pack([4, 99, 1, 1, null]))
    peer.socket.send(pack([4, note.program, 1, note.number, { id: 'a' }]))
    peer.socket.send(encodeCall(1, add, 0, { id: 2 }))
    expect(unpack(await peer.next())).toEqual([[1, 1, { id: 2 }, null]])
    expect(it.depot.notes).toHaveLength(2000)
  })

  it(`bears random messages (seed ${seed()})`, async () => {
    const it = await setup()
    const chance = random(seed())
    const byte = () => Math.floor(chance() * 256)
    const frames = () => [
      encodeCall(Math.floor(chance() * 10), [add, echo, wait, store, fetch][Math.floor(chance() * 5)] ?? add, 0, {
        id: byte(),
      }),
      encodeCancel(byte()),
      encodeCredit(byte(), 'out', byte()),
      piece(byte(), byte(), chance() < 0.5),
      Buffer.from(Array.from({ length: byte() }, byte)),
    ]
    for (let round = 0; round < 60; round++) {
      const peer = raw(it)
      if (chance() < 0.9) await peer.shake(`raw ${round}`)
      else await once(peer.socket, 'open')
      for (let i = 0; i < 20 && peer.closed === undefined; i++) {
        const message = frames()[Math.floor(chance() * 5)] as Buffer
        if (chance() < 0.2 && message.length > 0) message[Math.floor(chance() * message.length)] = byte()
        peer.socket.send(message)
      }
      await new Promise((resolve) => setTimeout(resolve, 2))
      peer.socket.terminate()
    }
    await isWell(it)
    expect(it.errors).toEqual([])
  })

  it('answers a short error of HTTP to everything else', async () => {
    const it = await setup()
    const { port } = it.listener.address
    const base = ['GET / HTTP/1.1', 'host: a']
    const upgrade = [
      'connection: upgrade',
      'upgrade: websocket',
      'sec-websocket-version: 13',
      'sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==',
    ]
    const protocol = 'sec-websocket-protocol: proteus.1'
    const ask = async (lines: string[]): Promise<string> => {
      const socket = connect(port, '127.0.0.1')
      let answer = ''
      socket.on('data', (data) => {
        answer += data
      })
      socket.on('error', () => {})
      socket.write(`${lines.join('\r\n')}\r\n\r\n`)
      await once(socket, 'close')
      return answer.slice(9, 12)
    }
    expect(await ask(base)).toBe('426')
    expect(await ask([...base, ...upgrade])).toBe('400')
    expect(await ask([...base, ...upgrade, 'sec-websocket-protocol: chat'])).toBe('400')
    expect(await ask([...base, ...upgrade, protocol, 'origin: http://a.example'])).toBe('403')
    expect(await ask(['GET /other HTTP/1.1', 'host: a', ...upgrade, protocol])).toBe('404')
    expect(await ask([...base, ...upgrade.slice(0, 3), protocol])).toBe('400')
    expect(await ask(['POST / HTTP/1.1', 'host: a', 'content-length: 100000000'])).toBe('426')
    expect(await ask([...base, `x: ${'y'.repeat(20_000)}`])).toBe('431')
    expect(await ask(['nonsense'])).toBe('400')
    expect(await ask([...base, 'connection: upgrade', 'upgrade: h2c'])).toBe('426')
    await isWell(it)
  })
})
