import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  formatTrace,
  fuseChannel,
  grantChannel,
  rpcChannel,
  subscribeToTrace,
  type TraceRecord,
} from '../../../src/trace/trace.ts'
import { TraceStream } from '../../../src/vfs/trace-stream.ts'

const time = new Date(2024, 0, 2, 3, 4, 5, 678).getTime() + 0.9125
const lookup = {
  channel: 'fuse',
  time,
  mount: '/mnt/a',
  op: 'LOOKUP',
  node: 1,
  name: 'notes.txt',
  pid: 42,
  us: 20.6,
} as const
const everything = { accepts: () => true }

describe('channels', () => {
  test('cost nothing while nobody listens, and pass on typed events while somebody does', () => {
    expect(fuseChannel.hasSubscribers).toBe(false)
    const seen: TraceRecord[] = []
    const unsubscribe = subscribeToTrace((record) => seen.push(record))
    expect(fuseChannel.hasSubscribers && rpcChannel.hasSubscribers && grantChannel.hasSubscribers).toBe(true)
    const { channel, ...event } = lookup
    fuseChannel.publish(event)
    unsubscribe()
    fuseChannel.publish(event)
    expect(seen).toEqual([{ channel, ...event }])
    expect(fuseChannel.hasSubscribers).toBe(false)
  })
})

describe('formatTrace', () => {
  test('aligns operation, duration and outcome', () => {
    expect(formatTrace(lookup)).toBe(
      '03:04:05.678912 fuse  LOOKUP               21 µs ok           node 1 "notes.txt" pid 42',
    )
    expect(
      formatTrace({ ...lookup, op: 'COPY_FILE_RANGE', us: 1_234_567, error: 'EOPNOTSUPP', bytes: 10, pid: 0 }),
    ).toBe('03:04:05.678912 fuse  COPY_FILE_RANGE 1234567 µs EOPNOTSUPP   node 1 "notes.txt" 10 bytes')
  })

  test('names the other side of a call, a cache, and the rights of a grant', () => {
    const rpc = {
      channel: 'rpc',
      time,
      op: 'NFS3.READ',
      side: 'client',
      peer: '127.0.0.1:2049',
      us: 5,
      bytes: 4096,
    } as const
    expect(formatTrace(rpc)).toMatch(/ to 127\.0\.0\.1:2049 4096 bytes$/)
    const cache = { channel: 'cache', time, op: 'miss', cache: 'attributes', node: 9 } as const
    expect(formatTrace(cache)).toMatch(/ cache miss +ok +attributes node 9$/)
    const grant = {
      channel: 'grant',
      time,
      op: 'recall',
      client: 'c1',
      node: 9,
      rights: 'RW',
      detail: 'a write',
    } as const
    expect(formatTrace(grant)).toMatch(/ grant recall .* RW of c1 node 9 a write$/)
    expect(formatTrace({ channel: 'trace', time, dropped: 3 })).toMatch(/3 events dropped/)
  })

  test('is one line and passes no control characters of a name on to the terminal', () => {
    expect(formatTrace({ ...lookup, name: 'a\n\u001b[2J' })).toContain(String.raw`"a\n\u001b[2J"`)
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (name) => {
        expect(formatTrace({ ...lookup, name })).not.toMatch(/\p{Cc}/u)
      }),
    )
  })
})

describe('TraceStream', () => {
  const event = (node: number) => ({ time: 1, mount: '/mnt/a', op: 'READ', node, pid: 1, us: 1 })
  const lineBytes = `${JSON.stringify({ channel: 'fuse', ...event(1) })}\n`.length
  const parse = (bytes: Uint8Array): TraceRecord[] =>
    String(bytes)
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line))

  test('gives whole lines, or parts of one to a reader with less room', () => {
    const stream = new TraceStream(everything)
    for (const node of [1, 2, 3]) fuseChannel.publish(event(node))
    expect(parse(stream.take(lineBytes * 2 + 5))).toHaveLength(2)
    const parts: Uint8Array[] = []
    for (let part = stream.take(7); part.length > 0; part = stream.take(7)) parts.push(part)
    expect(parse(Buffer.concat(parts))).toEqual([{ channel: 'fuse', ...event(3) }])
    stream.close()
  })

  test('loses events rather than memory, and says how many at their place', () => {
    const stream = new TraceStream({ ...everything, bufferBytes: lineBytes * 2 })
    for (let node = 1; node <= 5; node++) fuseChannel.publish(event(node))
    expect(parse(stream.take(1e6))).toMatchObject([{ node: 1 }, { node: 2 }])
    fuseChannel.publish(event(6))
    expect(parse(stream.take(1e6))).toMatchObject([{ channel: 'trace', dropped: 3 }, { node: 6 }])

    for (let node = 1; node <= 3; node++) fuseChannel.publish(event(node))
    stream.take(1e6)
    expect(parse(stream.take(1e6))).toMatchObject([{ dropped: 1 }])
    stream.close()
  })

  test('any sizes of reads give the lines in order', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 400 }), { maxLength: 60 }), (sizes) => {
        const stream = new TraceStream(everything)
        const parts: Uint8Array[] = []
        for (const [i, size] of sizes.entries()) {
          fuseChannel.publish(event(i))
          const part = stream.take(size)
          expect(part.length).toBeLessThanOrEqual(size)
          parts.push(part)
        }
        parts.push(stream.take(1e9))
        stream.close()
        expect(parse(Buffer.concat(parts))).toEqual(sizes.map((_, i) => ({ channel: 'fuse', ...event(i) })))
      }),
    )
  })
})
