import { describe, expect, test } from 'vitest'
import { NfsNode } from '../../../../src/modes/nfs/nodes.ts'
import { OpenFiles } from '../../../../src/modes/nfs/open-files.ts'
import type { OpaqueAuth } from '../../../../src/rpc/onc/message.ts'
import { settle, TestClock } from '../../rpc/test-clock.ts'

const credential = (flavor: number): OpaqueAuth => ({ flavor, body: Buffer.alloc(0) })

/** Attributes are believed for `timeoutMs` after each answer. */
function stage({ timeoutMs = 3000, answers = true } = {}) {
  const clock = new TestClock()
  const start = clock.now()
  const nodes = new Map<number, NfsNode>()
  const until = new Map<number, number>()
  const waiting: { readonly id: number; answer(): void; fail(): void }[] = []
  const asked: { readonly id: number; readonly at: number; readonly by: number }[] = []
  const world = { timeoutMs, answers, limit: Number.POSITIVE_INFINITY, most: 0 }
  const learn = (id: number) => until.set(id, clock.now() + world.timeoutMs)
  const files = new OpenFiles({
    clock,
    remainingMs: ({ id }) => Math.max(0, (until.get(id) ?? 0) - clock.now()),
    limit: () => world.limit,
    failedMs: 60_000,
    ask: (node, { flavor }) =>
      new Promise((resolve, reject) => {
        asked.push({ id: node.id, at: clock.now() - start, by: flavor })
        const answer = () => {
          learn(node.id)
          resolve()
        }
        if (world.answers) return answer()
        waiting.push({ id: node.id, answer, fail: () => reject(new Error('no answer')) })
        world.most = Math.max(world.most, waiting.length)
      }),
  })
  const node = (id: number) => {
    const known = nodes.get(id) ?? new NfsNode(id, Buffer.from([id]), String(id))
    nodes.set(id, known)
    return known
  }
  /** Opens a file, under a handle that is its id by default, and reads it. */
  const read = (id: number, handle = id, by = 1) => {
    if (!until.has(id)) learn(id)
    files.opened(node(id), handle, credential(by))
    files.cached(node(id))
  }
  return { clock, files, world, asked, waiting, node, read, learn, pass: (ms: number) => clock.pass(ms, 50) }
}

const times = (asked: readonly { readonly at: number }[]) => asked.map(({ at }) => at)

describe('open files', () => {
  test('a file that was read is asked for whenever its attributes run out, in the name of who opened it', async () => {
    const { read, pass, asked, world } = stage()
    read(1, 1, 7)
    await pass(2900)
    expect(asked).toEqual([])
    await pass(200)
    expect(asked).toEqual([{ id: 1, at: 3000, by: 7 }])
    world.timeoutMs = 60_000
    await pass(3000)
    expect(times(asked)).toEqual([3000, 6000])
    await pass(120_000)
    expect(times(asked)).toEqual([3000, 6000, 66_000, 126_000])
  })

  test('what was learnt meanwhile is not asked for', async () => {
    const { read, pass, learn, asked } = stage()
    read(1)
    for (let i = 0; i < 10; i++) {
      await pass(2000)
      learn(1)
    }
    expect(asked).toEqual([])
    await pass(3100)
    expect(times(asked)).toEqual([23_000])
  })

  test('nothing is done while nothing is open, or nothing was read', async () => {
    const { clock, files, node, read, pass, asked } = stage()
    files.cached(node(1))
    files.opened(node(2), 2, credential(1))
    expect(clock.timers).toBe(0)
    read(3)
    read(3, 33)
    expect(clock.timers).toBe(1)
    files.released(node(3), 3)
    expect(clock.timers).toBe(1)
    files.released(node(3), 33)
    expect(clock.timers).toBe(0)
    await pass(100_000)
    expect(asked).toEqual([])
  })

  test('pages that earlier opens left count, and those that were dropped do not', async () => {
    const { clock, files, node, read, learn, pass, asked } = stage()
    node(1).cached = true
    learn(1)
    files.opened(node(1), 1, credential(1))
    await pass(3100)
    expect(times(asked)).toEqual([3000])
    node(1).cached = false
    await pass(30_000)
    expect(times(asked)).toEqual([3000])
    expect(clock.timers).toBe(0)
    learn(1)
    read(1)
    await pass(3200)
    expect(asked.length).toBe(2)
  })

  test('a change that somebody else finds makes the time short again', async () => {
    const { files, node, read, learn, pass, asked, world } = stage({ timeoutMs: 60_000 })
    read(1)
    await pass(1000)
    world.timeoutMs = 3000
    learn(1)
    node(1).cached = false
    files.cached(node(1))
    await pass(3100)
    expect(times(asked)).toEqual([4000])
  })

  test('one timer for all, and no more than eight calls at once', async () => {
    const { clock, files, node, read, pass, asked, waiting, world } = stage({ answers: false })
    for (let id = 1; id <= 100; id++) read(id)
    expect(clock.timers).toBe(1)
    await pass(3100)
    expect(waiting.length).toBe(8)
    await pass(60_000)
    expect(waiting.length).toBe(8)
    files.released(node(100), 100)
    world.timeoutMs = 60_000
    while (waiting.length > 0) {
      waiting.shift()?.answer()
      await settle()
    }
    expect(world.most).toBe(8)
    expect(asked.map(({ id }) => id)).toEqual(Array.from({ length: 99 }, (_, i) => i + 1))
    expect(clock.timers).toBe(1)
  })

  test('a server that takes no calls gets none, and is looked at again', async () => {
    const { clock, read, pass, asked, world } = stage()
    world.limit = 0
    for (let id = 1; id <= 20; id++) read(id)
    await pass(60_000)
    expect(asked).toEqual([])
    expect(clock.timers).toBe(1)
    world.limit = Number.POSITIVE_INFINITY
    await pass(1000)
    expect(asked.length).toBe(20)
  })

  test('where asking failed, it is not tried again soon', async () => {
    const { read, pass, asked, waiting, world } = stage({ answers: false })
    read(1)
    await pass(3000)
    waiting.shift()?.fail()
    await settle()
    world.answers = true
    await pass(59_000)
    expect(times(asked)).toEqual([3000])
    await pass(1100)
    expect(times(asked)).toEqual([3000, 63_000])
  })

  test('an answer that is out of date when it comes does not lead to the next call at once', async () => {
    const { read, pass, asked, world } = stage()
    read(1)
    world.timeoutMs = 0
    await pass(5000)
    expect(times(asked)).toEqual([3000, 3500, 4000, 4500, 5000])
  })

  test('a file that is closed while it is asked for, and opened again, is asked for again', async () => {
    const { clock, files, node, read, pass, asked, waiting } = stage({ answers: false })
    read(1)
    await pass(3000)
    files.released(node(1), 1)
    expect(clock.timers).toBe(0)
    read(1, 2)
    waiting.shift()?.answer()
    await settle()
    await pass(3100)
    expect(times(asked)).toEqual([3000, 6000])
    files.released(node(1), 2)
    waiting.shift()?.answer()
    await pass(60_000)
    expect(asked.length).toBe(2)
    expect(clock.timers).toBe(0)
  })
})
