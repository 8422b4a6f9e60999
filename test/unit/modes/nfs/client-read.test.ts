// What a read is made of: the server's answers, whose memory goes back, and what is kept of writes.
import { expect, test } from 'vitest'
import { read } from '../../../../src/modes/nfs/client-files.ts'
import type { ClientState } from '../../../../src/modes/nfs/client-state.ts'
import type { KeptBytes } from '../../../../src/modes/nfs/kept-ranges.ts'
import { settle } from '../../rpc/test-clock.ts'

interface Asked {
  readonly offset: number
  readonly count: number
  answer(text: string, eof?: boolean): Promise<void>
}

/** A file of which `kept` is not on the server yet, and whose server answers when the test says so. */
function stage(kept: KeptBytes[] = [], readBytes = 1024) {
  const calls: Asked[] = []
  const released: string[] = []
  const writes = {
    idle: kept.length === 0,
    kept: () => kept,
    get end() {
      return Math.max(0, ...kept.map(({ offset, bytes }) => offset + bytes.length))
    },
  }
  const state = {
    mounted: { readBytes },
    openFile: () => ({ node: { writes }, direct: false }),
    caches: { unfinishedBytes: () => undefined, request: () => ({}), learn() {} },
    openFiles: { cached() {} },
    connection: {
      client: {
        release: (part: Buffer) => {
          released.push(part.toString())
          part.fill('-')
        },
      },
    },
    call: (_node: unknown, _procedure: unknown, { offset, count }: Asked) =>
      new Promise((resolve) => {
        const answer = (text: string, eof = false) => {
          resolve({ status: 'NFS3_OK', data: Buffer.from(text), eof })
          return settle()
        }
        calls.push({ offset, count, answer })
      }),
  } as unknown as ClientState
  const context = { uid: 0, gid: 0, pid: 0, signal: new AbortController().signal }
  const reading = async (offset: number, length: number) => {
    const result = await read(state, context, 1, { offset, length })
    const lent = 'bytes' in result ? result : undefined
    return { text: Buffer.from(lent?.bytes ?? (result as Uint8Array)).toString(), lent }
  }
  return { calls, released, kept, reading }
}

test('the answer of one READ is lent, and goes back when whoever reads is done', async () => {
  const { calls, released, reading } = stage()
  const result = reading(0, 6)
  await calls[0]?.answer('abcdef', true)
  const { text, lent } = await result
  expect([text, released]).toEqual(['abcdef', []])
  lent?.release()
  expect(released).toEqual(['abcdef'])
})

test('of several READs, in whatever order they are answered, all memory goes back', async () => {
  const { calls, released, reading } = stage([], 4)
  const result = reading(0, 12)
  expect(calls.map(({ offset, count }) => [offset, count])).toEqual([
    [0, 4],
    [4, 4],
    [8, 4],
  ])
  await calls[2]?.answer('ijkl', true)
  await calls[0]?.answer('ab')
  await calls[1]?.answer('efgh')
  // A short answer that is not the end: the rest is asked for.
  await calls[3]?.answer('cd')
  expect((await result).text).toBe('abcdefghijkl')
  expect(released.sort()).toEqual(['ab', 'cd', 'efgh', 'ijkl'])
})

test('what was kept when the server was asked is seen, though its memory is used again before it answers', async () => {
  const bytes = Buffer.from('XY')
  const { calls, released, kept, reading } = stage([{ offset: 2, bytes }])
  const result = reading(0, 6)
  // Its WRITE and COMMIT are answered meanwhile.
  kept.length = 0
  bytes.fill('!')
  await calls[0]?.answer('abcdef', true)
  expect((await result).text).toBe('abXYef')
  expect(released).toEqual(['abcdef'])
})

test('between the server’s end of the file and what is kept are zeros', async () => {
  const { calls, released, reading } = stage([{ offset: 6, bytes: Buffer.from('Z') }])
  const result = reading(0, 100)
  await calls[0]?.answer('ab', true)
  expect((await result).text).toBe('ab\0\0\0\0Z')
  expect(released).toEqual(['ab'])
})
