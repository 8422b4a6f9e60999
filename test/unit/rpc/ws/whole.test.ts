// Few bytes in one buffer go along in the frame that they belong to; more of them are a stream, as others are. And what
// clients send within a machine is not masked.
import { crc32 } from 'node:zlib'
import * as v from 'valibot'
import { afterEach, expect, test } from 'vitest'
import { openTcp } from '../../../../src/rpc/transport.ts'
import { encodeAnswer, encodeCall, readFrame, unpack, WHOLE_BYTES } from '../../../../src/rpc/ws/frames.ts'
import {
  bytes,
  listenWs,
  procedure,
  program,
  service,
  unsigned,
  WsClient,
  wsChannel,
} from '../../../../src/rpc/ws/index.ts'

const SHELF = program('SHELF', 11, 1, {
  put: procedure(1, unsigned(), v.object({ crc: unsigned(), bytes: unsigned() }), { bytesIn: true, idempotent: false }),
  get: procedure(2, unsigned(), v.object({ crc: unsigned() }), { bytesOut: true }),
  echo: procedure(3, v.object({ data: bytes(100) }), v.object({ data: bytes(100) })),
})
const { put, get } = SHELF.procedures
const SIZES = [0, 1, 4096, WHOLE_BYTES, WHOLE_BYTES + 1, 300_000]

const content = (size: number): Buffer => Buffer.from(Array.from({ length: size }, (_, i) => (i * 31 + size) % 251))
const ends: (() => unknown)[] = []
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end()
})

async function shelf(host = '127.0.0.1') {
  const left: number[] = []
  const handlers = service(SHELF, {
    put: async (_size, { bytes: incoming }) => {
      const all = await incoming.collect(1e6)
      return { crc: crc32(all), bytes: all.length }
    },
    get: (size) => ({
      result: { crc: crc32(content(size)) },
      bytes: content(size),
      left: ({ length }) => left.push(length),
    }),
  })
  const listener = await listenWs({ services: [handlers] })
  const sent: Buffer[] = []
  const address = { ...listener.address, host }
  const open = openTcp(address)
  const client = new WsClient(
    wsChannel(address, (events) => {
      const stream = open(events)
      const write = stream.write.bind(stream)
      stream.write = (chunks, ...rest) => {
        sent.push(...chunks.map((chunk) => Buffer.from(chunk)))
        write(chunks, ...rest)
      }
      return stream
    }),
  )
  ends.push(
    () => listener.close(),
    () => client.close(),
  )
  return { client, left, sent }
}

test.each(SIZES)('%i bytes come as they were sent, in both directions', async (size) => {
  const { client, left } = await shelf()
  expect(await client.call(put, size, { bytes: content(size) })).toEqual({ crc: crc32(content(size)), bytes: size })
  const { result, bytes: incoming } = await client.call(get, size)
  const all = await incoming.collect(1e6)
  expect({ size: all.length, crc: crc32(all) }).toEqual({ size, crc: result.crc })
  expect(left.reduce((sum, length) => sum + length, 0)).toBe(size)
})

test('frames have them, up to a limit', () => {
  const few = content(WHOLE_BYTES)
  const frame = (message: Buffer) => readFrame(unpack(message)[0])
  expect(frame(encodeCall(1, put, 0, 7, few))).toMatchObject({ args: 7, length: few.length, whole: few })
  expect(frame(encodeAnswer(1, 7, few))).toMatchObject({ result: 7, length: few.length, whole: few })
  expect(() => frame(encodeAnswer(1, 7, content(WHOLE_BYTES + 1)))).toThrow('belong in pieces')
})

test('what a client sends is masked where somebody could be on the way', async () => {
  const text = Buffer.from('GET / HTTP/1.1, as somebody might store it')
  const shows = async (host: string) => {
    const { client, sent } = await shelf(host)
    await client.call(put, 0, { bytes: text })
    return Buffer.concat(sent).includes(text)
  }
  expect(await shows('127.0.0.1')).toBe(true)
  // A name, of which only the resolver knows where it leads.
  expect(await shows('localhost')).toBe(false)
})
