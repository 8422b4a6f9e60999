import fc from 'fast-check'
import { describe, expect, expectTypeOf, it } from 'vitest'
import { Link } from '../../../src/rpc/link.ts'
import type { ByteStream } from '../../../src/rpc/transport.ts'
import type { NetworkControl } from '../../../src/vfs/control-builtin.ts'
import { random, seed } from '../../support/random.ts'
import { FakeDatagrams, FakeNetwork } from './fake-streams.ts'
import { TestClock } from './test-clock.ts'

function linkedStream(setting?: string, from = seed()) {
  const clock = new TestClock()
  const link = new Link({ clock, random: random(from) })
  if (setting !== undefined) link.set(setting)
  const network = new FakeNetwork()
  const seen: string[] = []
  const stream: ByteStream = link.stream(network.open)({
    opened: () => seen.push('opened'),
    received: (chunk) => seen.push(String(chunk)),
    drained: () => seen.push('drained'),
    closed: (error) => seen.push(error === undefined ? 'closed' : `closed: ${error.message}`),
  })
  return { clock, link, network, seen, stream }
}

const write = (stream: ByteStream, text: string) => stream.write([Buffer.from(text)])

it('a link is what .proteus/network shows and sets', () => {
  expectTypeOf<Link>().toExtend<NetworkControl>()
  const link = new Link()
  link.set('latency=50ms')
  link.set('down')
  expect(link.show()).toBe('down,latency=50ms')
  link.set('up')
  expect(link.show()).toBe('up,latency=50ms')
})

describe('a stream through a link', () => {
  it('passes straight through, without a copy, while the link is up and undelayed', () => {
    const { clock, network, seen, stream } = linkedStream()
    network.last.events.opened()
    const chunk = Buffer.from('question')
    stream.write([chunk])
    expect(network.last.written[0]).toBe(chunk)
    network.last.events.received(Buffer.from('answer'))
    expect(seen).toEqual(['opened', 'answer'])
    expect(clock.timers).toBe(0)
  })

  it('is delayed in both directions, from the first packet on', () => {
    const { clock, network, seen, stream } = linkedStream('latency=50ms')
    clock.advance(49)
    expect(network.streams).toHaveLength(0)
    clock.advance(1)
    network.last.events.opened()
    clock.advance(49)
    expect(seen).toEqual([])
    clock.advance(1)
    expect(seen).toEqual(['opened'])
    write(stream, 'question')
    expect(stream.bufferedBytes).toBe(8)
    clock.advance(49)
    expect(network.last.text).toBe('')
    clock.advance(1)
    expect(network.last.text).toBe('question')
    network.last.events.received(Buffer.from('answer'))
    clock.advance(50)
    expect(seen).toEqual(['opened', 'drained', 'answer'])
  })

  it('takes as long as the bandwidth says', () => {
    const { clock, network, stream } = linkedStream('bandwidth=1kB/s')
    clock.advance(1)
    network.last.events.opened()
    clock.advance(1)
    write(stream, 'a'.repeat(500))
    write(stream, 'b'.repeat(500))
    clock.advance(499)
    expect(network.last.text).toBe('')
    clock.advance(2)
    expect(network.last.text).toBe('a'.repeat(500))
    clock.advance(500)
    expect(network.last.text).toHaveLength(1000)
  })

  it('is silent while the link is down: nothing passes, nothing is reset, and all of it comes later', () => {
    const { clock, link, network, seen, stream } = linkedStream()
    network.last.events.opened()
    link.set('down')
    expect(network.last.paused).toBe(true)
    write(stream, 'question')
    network.last.events.received(Buffer.from('answer'))
    network.last.events.closed(new Error('reset'))
    clock.advance(1e6)
    expect(seen).toEqual(['opened'])
    expect(network.last.text).toBe('')
    link.set('up')
    expect(network.last.paused).toBe(false)
    clock.advance(1)
    expect(network.last.text).toBe('question')
    expect(seen).toEqual(['opened', 'drained', 'answer', 'closed: reset'])
  })

  it('does not begin while the link is down', () => {
    const { clock, link, network, seen, stream } = linkedStream('down')
    clock.advance(1e6)
    expect(network.streams).toHaveLength(0)
    link.set('up')
    clock.advance(1)
    network.last.events.opened()
    expect(seen).toEqual(['opened'])
    stream.destroy()
    expect(network.last.destroyed).toBe(true)
  })

  it('that is given up while the link is down lives on for the server until it is up, and for so many', () => {
    const { clock, link, network, stream } = linkedStream()
    link.set('down')
    stream.destroy()
    expect(network.last.destroyed).toBe(false)
    link.set('up')
    expect(network.last.destroyed).toBe(true)
    const others = Array.from({ length: 100 }, () => {
      const other = new FakeNetwork()
      const opened = link.stream(other.open)({ opened() {}, received() {}, drained() {}, closed() {} })
      return { other, opened }
    })
    link.set('down')
    for (const { opened } of others) opened.destroy()
    expect(others.filter(({ other }) => !other.last.destroyed)).toHaveLength(64)
    expect(clock.timers).toBe(0)
  })

  it('that is destroyed delivers nothing more', () => {
    const { clock, network, seen, stream } = linkedStream('latency=1ms')
    clock.advance(1)
    network.last.events.opened()
    network.last.events.received(Buffer.from('late'))
    stream.destroy()
    clock.advance(10)
    expect(seen).toEqual([])
  })

  it('is read to where the receiver wants it, unless something is under way', () => {
    const { clock, link } = linkedStream()
    const network = new FakeNetwork()
    const room = Buffer.alloc(10)
    link.stream(network.open)({ opened() {}, received() {}, drained() {}, closed() {}, room: () => room })
    const { events } = network.last
    expect(events.room?.()).toBe(room)
    link.set('latency=1ms')
    expect(events.room?.()).toBeUndefined()
    events.received(Buffer.from('late'))
    link.set('reset')
    expect(events.room?.()).toBeUndefined()
    clock.advance(1)
    expect(events.room?.()).toBe(room)
  })

  it('that has much under way is not read further', () => {
    const { clock, network } = linkedStream('latency=100ms')
    clock.advance(100)
    network.last.events.opened()
    for (let i = 0; i < 64; i++) network.last.events.received(Buffer.alloc(65536))
    expect(network.last.paused).toBe(true)
    clock.advance(100)
    expect(network.last.paused).toBe(false)
  })

  it(`keeps order and loses nothing, whatever is set meanwhile (seed ${seed()})`, () => {
    const settings = ['up', 'down', 'latency=20ms,jitter=30ms', 'bandwidth=10kB/s', 'loss=50%', 'reset']
    const step = fc.oneof(
      fc.constantFrom(...settings).map((setting) => ({ setting })),
      fc.nat(100).map((ms) => ({ ms })),
      fc.constantFrom('send', 'receive').map((direction) => ({ direction })),
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), fc.nat(), (steps, from) => {
        const { clock, link, network, seen, stream } = linkedStream(undefined, from)
        network.last.events.opened()
        let [sent, received] = [0, 0]
        for (const act of steps) {
          if ('setting' in act) link.set(act.setting)
          else if ('ms' in act) clock.advance(act.ms)
          else if (act.direction === 'send') write(stream, `${sent++} `)
          else network.last.events.received(Buffer.from(`${received++}`))
        }
        link.set('up')
        clock.advance(1e5)
        expect(network.last.text).toBe(Array.from({ length: sent }, (_, i) => `${i} `).join(''))
        const words = seen.filter((word) => /^\d/.test(word))
        expect(words).toEqual(Array.from({ length: received }, (_, i) => `${i}`))
      }),
      { seed: seed() },
    )
  })
})

function linkedDatagrams(setting: string, from = seed()) {
  const clock = new TestClock()
  const link = new Link({ clock, random: random(from) })
  link.set(setting)
  const socket = new FakeDatagrams()
  const seen: string[] = []
  const datagrams = link.datagrams(socket.open)({
    opened: () => {},
    received: (message) => seen.push(String(message)),
    closed: () => {},
  })
  return { clock, link, socket, seen, datagrams }
}

const send = (datagrams: { send(chunks: readonly Buffer[]): void }, count: number) => {
  for (let i = 0; i < count; i++) datagrams.send([Buffer.from(String(i))])
}

describe(`datagrams through a link (seed ${seed()})`, () => {
  it('pass straight through a link that is up and undelayed', () => {
    const { clock, socket, seen, datagrams } = linkedDatagrams('up')
    send(datagrams, 2)
    socket.events?.received(Buffer.from('answer'))
    expect(socket.sent.map(String)).toEqual(['0', '1'])
    expect(seen).toEqual(['answer'])
    expect(clock.timers).toBe(0)
  })

  it.each([
    ['loss=10%', 800, 1000],
    ['duplicate=10%', 1000, 1200],
    ['reorder=10%', 1000, 1000],
    ['down', 0, 0],
  ])('%s', (setting, least, most) => {
    const { clock, socket, datagrams } = linkedDatagrams(setting)
    send(datagrams, 1000)
    clock.advance(1000)
    const order = socket.sent.map(Number)
    if (setting === 'down') expect(order).toEqual([])
    else {
      expect(order.length).toBeGreaterThanOrEqual(least)
      expect(order.length).toBeLessThanOrEqual(most)
      expect(order.length === 1000).toBe(setting === 'reorder=10%')
      const sorted = [...order].sort((a, b) => a - b)
      expect(JSON.stringify(order) === JSON.stringify(sorted)).toBe(setting !== 'reorder=10%')
    }
    // The same seed makes the same faults.
    const again = linkedDatagrams(setting)
    send(again.datagrams, 1000)
    again.clock.advance(1000)
    expect(again.socket.sent.map(Number)).toEqual(order)
  })

  it('under way vanish when the link goes down, and a full link drops them', () => {
    const { clock, link, socket, seen, datagrams } = linkedDatagrams('latency=10ms')
    send(datagrams, 3)
    socket.events?.received(Buffer.from('answer'))
    link.set('down')
    link.set('up')
    clock.advance(100)
    expect(socket.sent).toEqual([])
    expect(seen).toEqual([])
    for (let i = 0; i < 100; i++) datagrams.send([Buffer.alloc(60_000)])
    clock.advance(100)
    expect(socket.sent).toHaveLength(17)
    datagrams.close()
    expect(socket.closed).toBe(true)
  })
})
