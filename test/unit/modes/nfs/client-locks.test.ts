import { beforeEach, expect, test } from 'vitest'
import { ClientLocks } from '../../../../src/modes/nfs/client-locks.ts'
import {
  type LockHolder,
  type LockManager,
  type LockManagerEvents,
  NLM4_STATS,
  type NlmCall,
  type NlmTested,
} from '../../../../src/modes/nfs/nlm-types.ts'
import { NfsNode } from '../../../../src/modes/nfs/nodes.ts'
import { FsError } from '../../../../src/posix/errors.ts'
import { authNone } from '../../../../src/rpc/onc/auth.ts'
import type { CallContext, LockRequest } from '../../../../src/vfs/filesystem.ts'
import { settle, TestClock } from '../../rpc/test-clock.ts'

const { NLM4_GRANTED, NLM4_DENIED, NLM4_BLOCKED, NLM4_DENIED_GRACE_PERIOD } = NLM4_STATS
const WHOLE = { start: 0, end: Number.POSITIVE_INFINITY }

/** Calls wait until the test answers them. */
class FakeManager implements LockManager {
  readonly events: LockManagerEvents
  readonly calls: { call: NlmCall; holder: LockHolder; answer(status: number): void; fail(): void }[] = []
  readonly tests: ((tested: NlmTested) => void)[] = []
  closed = false

  constructor(events: LockManagerEvents) {
    this.events = events
  }

  send(call: NlmCall, _handle: Buffer, holder: LockHolder): Promise<number> {
    return new Promise((answer, reject) =>
      this.calls.push({ call, holder, answer, fail: () => reject(new FsError('ETIMEDOUT')) }),
    )
  }

  test(): Promise<NlmTested> {
    return new Promise((answer) => this.tests.push(answer))
  }

  pollMs(times: number): number {
    return 1000 * times
  }

  status() {
    return { connection: 'open', callsBack: true, calls: {} }
  }

  close(): void {
    this.closed = true
  }

  /** The calls that came since the last time. */
  async take() {
    await settle()
    return this.calls.splice(0)
  }

  async only() {
    const [one, ...more] = await this.take()
    expect(more).toEqual([])
    if (one === undefined) throw new Error('there was no call')
    return one
  }
}

let clock: TestClock
let manager: FakeManager
let locks: ClientLocks
let node: NfsNode
/** What was done to files, in order. */
let log: string[]
let flushError: FsError | undefined

beforeEach(() => {
  clock = new TestClock()
  node = new NfsNode(7, Buffer.from('handle'), 'handle')
  log = []
  flushError = undefined
  locks = new ClientLocks({
    clock,
    files: {
      node: () => node,
      known: (handle) => (handle.equals(node.handle) ? node : undefined),
      credential: () => authNone,
      async flush() {
        log.push('flush')
        if (flushError !== undefined) throw flushError
      },
      async refresh() {
        log.push('refresh')
      },
      unlocked: () => log.push('unlocked'),
    },
    manager: (events) => {
      manager = new FakeManager(events)
      return manager
    },
  })
})

function caller(controller = new AbortController()): CallContext {
  return { uid: 1, gid: 1, pid: 0, signal: controller.signal }
}

const request = (asked: Partial<LockRequest> = {}): LockRequest => ({
  node: 7,
  handle: 1,
  owner: 5n,
  range: WHOLE,
  kind: 'exclusive',
  pid: 100,
  flock: false,
  wait: false,
  ...asked,
})

async function hold(asked: Partial<LockRequest> = {}): Promise<void> {
  const locked = locks.setLock(caller(), request(asked))
  const one = await manager.only()
  one.answer(NLM4_GRANTED)
  await locked
}

const failing = (call: unknown): Promise<string> =>
  Promise.resolve(call).then(
    () => 'it did not fail',
    (error) => error.code,
  )

test('a lock is asked for after what was written is on the server, and comes with fresh caches', async () => {
  const locked = locks.setLock(caller(), request())
  const { call, holder, answer } = await manager.only()
  expect(call).toMatchObject({ procedure: 'LOCK', block: false, reclaim: false, lock: { file: 7, range: WHOLE } })
  expect(holder.pid).toBe(100)
  expect(log).toEqual(['flush'])
  expect(node.locked).toBe(true)
  answer(NLM4_GRANTED)
  await locked
  expect(log).toEqual(['flush', 'refresh'])
  expect(locks.runner.machine.held()).toMatchObject([{ file: 7, owner: 5n, exclusive: true }])
})

test('what is refused is EAGAIN, and the node may go', async () => {
  const refused = failing(locks.setLock(caller(), request()))
  const { answer } = await manager.only()
  answer(NLM4_DENIED)
  expect(await refused).toBe('EAGAIN')
  expect(node.locked).toBe(false)
  expect(log).toEqual(['flush', 'unlocked'])
})

test('a lock is not asked for if what was written cannot be sent; it is given back all the same', async () => {
  await hold()
  flushError = new FsError('ENOSPC')
  expect(await failing(locks.setLock(caller(), request({ range: { start: 0, end: 1 } })))).toBe('ENOSPC')
  expect(await manager.take()).toEqual([])
  const unlocked = failing(locks.setLock(caller(), request({ kind: 'unlock' })))
  const { call, answer } = await manager.only()
  expect(call.procedure).toBe('UNLOCK')
  answer(NLM4_GRANTED)
  expect(await unlocked).toBe('ENOSPC')
  expect(locks.runner.machine.held()).toEqual([])
})

test('who is interrupted while bytes are sent has not unlocked', async () => {
  await hold()
  flushError = new FsError('EINTR')
  expect(await failing(locks.setLock(caller(), request({ kind: 'unlock' })))).toBe('EINTR')
  expect(await manager.take()).toEqual([])
  expect(locks.runner.machine.held()).toHaveLength(1)
})

test('a lock that was waited for comes by a callback', async () => {
  const locked = locks.setLock(caller(), request({ wait: true }))
  const { call, answer } = await manager.only()
  expect(call.block).toBe(true)
  answer(NLM4_BLOCKED)
  await settle()
  expect(locks.runner.machine.waiting()).toMatchObject([{ state: 'blocked' }])
  const { svid, range, exclusive } = call.lock
  expect(manager.events.granted(Buffer.from('another'), { svid, range, exclusive })).toBe(false)
  expect(manager.events.granted(node.handle, { svid: svid + 1, range, exclusive })).toBe(false)
  expect(manager.events.granted(node.handle, { svid, range, exclusive })).toBe(true)
  await locked
  expect(locks.runner.machine.held()).toHaveLength(1)
})

test('without a callback it is asked for again, less and less often', async () => {
  const locked = locks.setLock(caller(), request({ wait: true }))
  const first = await manager.only()
  first.answer(NLM4_BLOCKED)
  await settle()
  await clock.pass(999)
  expect(await manager.take()).toEqual([])
  await clock.pass(1)
  const second = await manager.only()
  second.answer(NLM4_BLOCKED)
  await settle()
  await clock.pass(1999)
  expect(await manager.take()).toEqual([])
  await clock.pass(1)
  const third = await manager.only()
  third.answer(NLM4_GRANTED)
  await locked
  expect(clock.timers).toBe(0)
})

test('any signal ends the wait for somebody else: EINTR, and CANCEL', async () => {
  const controller = new AbortController()
  const locked = failing(locks.setLock(caller(controller), request({ wait: true })))
  const { answer } = await manager.only()
  answer(NLM4_BLOCKED)
  await settle()
  controller.abort()
  const cancel = await manager.only()
  expect(cancel.call).toMatchObject({ procedure: 'CANCEL', block: true })
  // Until the server has heard of it, the lock may still be given to nobody.
  expect(await Promise.race([locked, settle().then(() => 'waits')])).toBe('waits')
  cancel.answer(NLM4_GRANTED)
  expect(await locked).toBe('EINTR')
  await settle()
  expect(node.locked).toBe(false)
  expect(locks.runner.machine.waiting()).toEqual([])
})

test('a server that does not hear of it holds up nobody for long', async () => {
  const controller = new AbortController()
  const locked = failing(locks.setLock(caller(controller), request({ wait: true })))
  await manager.only()
  controller.abort()
  await settle()
  await clock.pass(1000)
  expect(await locked).toBe('EINTR')
})

test('who does not wait for an unlock is told EINTR, and the lock goes all the same', async () => {
  await hold()
  const controller = new AbortController()
  const unlocked = failing(locks.setLock(caller(controller), request({ kind: 'unlock' })))
  const { answer } = await manager.only()
  controller.abort()
  expect(await unlocked).toBe('EINTR')
  answer(NLM4_GRANTED)
  await settle()
  expect(node.locked).toBe(false)
})

test('a server that cannot be asked: ENOLCK, and nothing is left there', async () => {
  const locked = failing(locks.setLock(caller(), request()))
  const { fail } = await manager.only()
  fail()
  expect(await locked).toBe('ENOLCK')
  const undo = await manager.only()
  expect(undo.call.procedure).toBe('UNLOCK')
  undo.fail()
  expect(await manager.take()).toEqual([])
  expect(node.locked).toBe(false)
})

test('a close ends the locks of a process, the last one those of the open file', async () => {
  await hold()
  await hold({ owner: 9n, flock: true, handle: 2, kind: 'shared' })
  await hold({ owner: 9n, handle: 2, kind: 'shared' })
  expect(locks.closed(caller(), 7, 6n)).toBeUndefined()
  const closed = locks.closed(caller(), 7, 5n)
  const { call, answer } = await manager.only()
  expect(call).toMatchObject({ procedure: 'UNLOCK', owner: 5n })
  answer(NLM4_GRANTED)
  await closed
  locks.released(7, 2)
  const calls = await manager.take()
  expect(calls.map(({ call }) => [call.procedure, call.owner])).toEqual([
    ['UNLOCK', 9n],
    ['UNLOCK', 'flock 9'],
  ])
  for (const one of calls) one.answer(NLM4_GRANTED)
  await settle()
  expect(log.at(-1)).toBe('unlocked')
  expect(manager.events.atStake()).toBe(false)
})

test('after a restart of the server locks are reclaimed, and what is lost is remembered', async () => {
  manager.events.serverLife(1)
  await hold()
  await hold({ owner: 6n, range: { start: 0, end: 9 }, pid: 101 })
  expect(manager.events.atStake()).toBe(true)
  manager.events.serverLife(2)
  const [first, second, ...more] = await manager.take()
  expect(more).toEqual([])
  expect([first?.call, second?.call]).toMatchObject([{ reclaim: true }, { reclaim: true }])
  first?.answer(NLM4_GRANTED)
  second?.answer(NLM4_DENIED)
  await settle()
  expect(locks.runner.machine.held()).toMatchObject([{ owner: 5n }])
  expect(locks.runner.lost).toMatchObject([{ owner: 6n, start: 0, end: 9, pid: 101, atMs: clock.now() }])
})

test('a restart of the server while a wait is cancelled leaves nothing', async () => {
  manager.events.serverLife(1)
  const controller = new AbortController()
  const other = locks.setLock(caller(), request())
  const asked = await manager.only()
  const waiting = failing(locks.setLock(caller(controller), request({ wait: true })))
  await settle()
  controller.abort()
  expect(await waiting).toBe('EINTR')
  manager.events.serverLife(2)
  asked.answer(NLM4_GRANTED)
  const again = await manager.only()
  again.answer(NLM4_DENIED)
  await expect(other).rejects.toMatchObject({ code: 'EAGAIN' })
  await settle()
  expect(node.locked).toBe(false)
  await locks.releaseAll()
})

test('GETLK: a process of this mount, else what the server says, when its grace period is over', async () => {
  await hold()
  expect(await locks.getLock(caller(), request({ owner: 6n, range: { start: 3, end: 4 } }))).toEqual({
    ...WHOLE,
    exclusive: true,
    pid: 100,
  })
  const asked = locks.getLock(caller(), request())
  await settle()
  manager.tests.shift()?.({ status: NLM4_DENIED_GRACE_PERIOD })
  await settle()
  expect(manager.tests).toHaveLength(0)
  await clock.pass(1000)
  const lock = { start: 1, end: 2, exclusive: false, pid: 0 }
  manager.tests.shift()?.({ status: NLM4_DENIED, lock })
  expect(await asked).toEqual(lock)
})

test('the end of the mount gives back what is held, and wakes who waits', async () => {
  await hold()
  const waiting = failing(locks.setLock(caller(), request({ owner: 6n, wait: true })))
  const { answer } = await manager.only()
  answer(NLM4_BLOCKED)
  await settle()
  const released = locks.releaseAll()
  expect(await waiting).toBe('EINTR')
  const calls = await manager.take()
  expect(calls.map(({ call }) => call.procedure).sort()).toEqual(['CANCEL', 'UNLOCK'])
  for (const one of calls) one.answer(NLM4_GRANTED)
  await released
  expect(node.locked).toBe(false)
  locks.close()
  expect(manager.closed).toBe(true)
})
