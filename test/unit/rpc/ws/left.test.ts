// Chunks of an answer whose memory is used again: the handler is told of each once it has left, and the reader gets what was
// in it.
import { expect, test, vi } from 'vitest'
import { openTcp } from '../../../../src/rpc/transport.ts'
import {
  listenWs,
  nothing,
  procedure,
  program,
  service,
  unsigned,
  WsClient,
  wsChannel,
} from '../../../../src/rpc/ws/index.ts'

const POOL = program('POOL', 9, 1, { fetch: procedure(1, unsigned(), nothing, { bytesOut: true }) })
const CHUNK_BYTES = 300_000
const CHUNKS = 40

test('chunks that have left may be written again', async () => {
  const free: Buffer[] = []
  let made = 0
  let left = 0
  function* chunks(mark: number) {
    for (let i = 0; i < CHUNKS; i++) {
      const chunk = free.pop() ?? Buffer.alloc(CHUNK_BYTES)
      made++
      yield chunk.fill((mark + i) % 256)
    }
  }
  const handlers = {
    fetch: (mark: number) => ({
      ...{ result: undefined, bytes: chunks(mark), length: CHUNKS * CHUNK_BYTES },
      left: (chunk: Buffer) => {
        left++
        free.push(chunk.fill(255))
      },
    }),
  }
  const listener = await listenWs({ services: [service(POOL, handlers)] })
  const client = new WsClient(wsChannel(listener.address, openTcp(listener.address)))
  const fetch = async (mark: number) => {
    const { bytes } = await client.call(POOL.procedures.fetch, mark)
    let at = 0
    for await (const piece of bytes) {
      for (let i = 0; i < piece.length; i += 1009) {
        const wanted = (mark + Math.floor((at + i) / CHUNK_BYTES)) % 256
        if (piece[i] !== wanted) throw new Error(`${piece[i]} at ${at + i}, not ${wanted}`)
      }
      at += piece.length
    }
    return at
  }
  expect(await Promise.all([0, 50, 100].map(fetch))).toEqual([0, 1, 2].map(() => CHUNKS * CHUNK_BYTES))
  await vi.waitFor(() => expect(left).toBe(made))
  expect(new Set(free).size).toBe(free.length)
  expect(free.length).toBeLessThan(made)
  client.close()
  await listener.close()
})
