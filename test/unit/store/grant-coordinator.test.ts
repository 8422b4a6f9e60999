// Promises, one timer and a sender around the grant table.
import { describe, expect, test } from 'vitest'
import type { Clock } from '../../../src/host/clock.ts'
import { GrantCoordinator, type RecallAnswer, type RecallSender } from '../../../src/store/grant-coordinator.ts'
import { CACHE_READ, CACHE_WRITE, type Operation, type Recall } from '../../../src/store/grant-types.ts'

const R = CACHE_READ
const RW = CACHE_READ | CACHE_WRITE
const op = (client: string, kind: Operation['kind'], rest: Partial<Operation> = {}): Operation => ({
  file: 1,
  client,
  kind,
  ...rest,
})

/** A clock that moves when told to. */
class ManualClock implements Clock {
  readonly timers = new Map<object, { at: number; action: () => void }>()
  #now = 0

  now(): number {
    return this.#now
  }

  after(ms: number, action: () => void): () => void {
    const key = {}
    this.timers.set(key, { at: this.#now + ms, action })
    return () => this.timers.delete(key)
  }

  moveTo(now: number): void {
    this.#now = now
    for (const [key, { at, action }] of this.timers) {
      if (at > now) continue
      this.timers.delete(key)
      action()
    }
  }
}

function setUp(send: RecallSender = () => 'sent') {
  const clock = new ManualClock()
  const sent: Recall[] = []
  const observed: string[] = []
  const grants = new GrantCoordinator({
    clock,
    send: (recall) => {
      sent.push(recall)
      return send(recall)
    },
    observe: ({ type }) => observed.push(type),
  })
  return { clock, sent, observed, grants }
}

const settled = async (promise: Promise<unknown> | undefined): Promise<boolean> => {
  let done = false
  promise?.then(
    () => (done = true),
    () => (done = true),
  )
  await new Promise(setImmediate)
  return done
}

describe('GrantCoordinator', () => {
  test('nothing in the way: nothing to wait for', () => {
    const { grants, clock } = setUp()
    expect(grants.before(op('a', 'write'))).toBeUndefined()
    grants.acquire({ file: 1, client: 'a', rights: RW })
    expect(grants.before(op('a', 'write'))).toBeUndefined()
    expect(clock.timers.size).toBe(0)
  })

  test('an operation waits for the answer; one timer watches, and goes', async () => {
    const { grants, sent, clock, observed } = setUp()
    const { grant } = grants.acquire({ file: 1, client: 'a', rights: RW })
    const read = grants.before(op('b', 'read'))
    const write = grants.before(op('b', 'write'))
    expect(sent).toHaveLength(1)
    expect(clock.timers.size).toBe(1)
    expect(await settled(read)).toBe(false)
    expect(grants.acknowledge({ grant: grant?.id ?? 0, remaining: R })).toBe(true)
    await read
    await write
    expect(sent.map(({ to }) => to)).toEqual([R, 0])
    expect(grants.acknowledge({ grant: grant?.id ?? 0, remaining: 0 })).toBe(true)
    expect(grants.acknowledge({ grant: grant?.id ?? 0, remaining: 0 })).toBe(false)
    expect(clock.timers.size).toBe(0)
    expect(observed).toEqual(['recall', 'recall', 'proceed', 'proceed'])
  })

  test('no answer in time', async () => {
    const { grants, clock } = setUp()
    grants.acquire({ file: 1, client: 'a', rights: RW })
    const read = grants.before(op('b', 'read', { timeoutMs: 50 }))
    clock.moveTo(49)
    expect(await settled(read)).toBe(false)
    clock.moveTo(50)
    await read
    expect(grants.table.grantsOf(1)).toEqual([])
    expect(clock.timers.size).toBe(0)
  })

  test('a sender that knows the answer, at once or later', async () => {
    for (const send of [() => 'acknowledged' as const, async () => 'acknowledged' as const]) {
      const { grants } = setUp(send)
      grants.acquire({ file: 1, client: 'a', rights: R })
      grants.acquire({ file: 1, client: 'b', rights: R })
      await grants.before(op('x', 'write', { wait: true }))
      expect(grants.table.size).toBe(0)
    }
  })

  test('a sender that answers while it sends', async () => {
    const { grants } = setUp(({ grant, to }) => {
      grants.acknowledge({ grant, remaining: to })
      return 'sent'
    })
    grants.acquire({ file: 1, client: 'a', rights: RW })
    await grants.before(op('b', 'read'))
    expect(grants.table.recalls()).toEqual([])
  })

  test('a sender that fails: the holder is remembered', async () => {
    const failures: RecallSender[] = [
      () => {
        throw new Error('no route')
      },
      () => Promise.reject(new Error('no route')),
    ]
    for (const send of failures) {
      const { grants } = setUp(send)
      grants.acquire({ file: 1, client: 'a', rights: RW })
      await grants.before(op('b', 'read'))
      expect(grants.table.undeliveredRecalls()).toMatchObject([{ client: 'a', count: 1, unreachable: true }])
      expect(grants.clientReturned('a')).toBe(true)
      expect(grants.clientReturned('a')).toBe(false)
    }
  })

  test('an answer by the sender to an earlier recall does not answer a later one', async () => {
    const answers: ((answer: RecallAnswer) => void)[] = []
    const { grants } = setUp(() => new Promise((resolve) => answers.push(resolve)))
    const { grant } = grants.acquire({ file: 1, client: 'a', rights: RW })
    grants.before(op('b', 'read', { wait: false }))
    const write = grants.before(op('b', 'write', { wait: true }))
    grants.acknowledge({ grant: grant?.id ?? 0, remaining: R })
    answers[0]?.('acknowledged')
    expect(await settled(write)).toBe(false)
    answers[1]?.('acknowledged')
    await write
  })

  test('an abort ends the wait, not the recall', async () => {
    const { grants } = setUp()
    grants.acquire({ file: 1, client: 'a', rights: RW })
    const controller = new AbortController()
    const read = grants.before(op('b', 'read'), controller.signal)
    controller.abort()
    await expect(read).rejects.toMatchObject({ code: 'EINTR' })
    await expect(grants.before(op('b', 'read'), controller.signal)).rejects.toMatchObject({ code: 'EINTR' })
    expect(grants.table.waitingOperations()).toEqual([])
    expect(grants.table.recalls()).toHaveLength(1)
  })

  test('an operation that lasts keeps new promises away', async () => {
    const { grants } = setUp(() => 'acknowledged')
    grants.acquire({ file: 1, client: 'a', rights: R })
    const during: number[] = []
    const result = await grants.during(op('b', 'write', { wait: true }), async () => {
      during.push(grants.acquire({ file: 1, client: 'a', rights: R }).rights)
      await new Promise(setImmediate)
      during.push(grants.acquire({ file: 1, client: 'a', rights: R }).rights)
      return 'written'
    })
    expect(result).toBe('written')
    expect(during).toEqual([0, 0])
    await expect(grants.during(op('b', 'write'), () => Promise.reject(new Error('disk')))).rejects.toThrow('disk')
    expect(grants.acquire({ file: 1, client: 'a', rights: R }).rights).toBe(R)
  })

  test('promises expire by the timer; closing leaves neither timer nor waiter', async () => {
    const { grants, clock, observed } = setUp()
    grants.acquire({ file: 1, client: 'a', rights: RW, expiresAt: 2 ** 33 })
    grants.acquire({ file: 2, client: 'a', rights: R, expiresAt: 10 })
    clock.moveTo(10)
    expect(observed).toEqual(['expired'])
    const [timer] = clock.timers.values()
    expect(timer?.at).toBe(10 + 2 ** 31 - 1)
    const read = grants.before(op('b', 'read'))
    grants.close()
    await expect(read).rejects.toMatchObject({ code: 'EINTR' })
    expect(clock.timers.size).toBe(0)
  })
})
