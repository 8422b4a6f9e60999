// Promises, aborts and errors around the lock table.
import { describe, expect, test } from 'vitest'
import { LockService } from '../../../src/store/lock-service.ts'
import { LockTable, type LockTableRequest } from '../../../src/store/lock-table.ts'

const ask = (owner: string, rest: Partial<LockTableRequest> = {}): LockTableRequest => ({
  file: 1,
  client: 'c',
  owner,
  range: { start: 0, end: 9 },
  kind: 'exclusive',
  class: 'range',
  pid: 1,
  wait: true,
  ...rest,
})

const failure = (code: string) => expect.objectContaining({ code })

describe('LockService', () => {
  test('a free lock is had at once; a wait ends when the holder unlocks, in order', async () => {
    const locks = new LockService()
    const order: string[] = []
    expect(locks.lock(ask('a'))).toBeUndefined()
    const b = locks.lock(ask('b'))?.then(() => order.push('b'))
    const c = locks.lock(ask('c'))?.then(() => order.push('c'))
    expect(locks.lock(ask('a', { kind: 'unlock' }))).toBeUndefined()
    await b
    locks.releaseOwner(1, { client: 'c', owner: 'b' })
    await c
    expect(order).toEqual(['b', 'c'])
    expect(locks.table.locksOf(1)).toMatchObject([{ owner: 'c' }])
  })

  test('refusals are errors', async () => {
    const locks = new LockService(new LockTable({ perFile: 2 }))
    locks.lock(ask('a'))
    await expect(locks.lock(ask('b', { wait: false }))).rejects.toEqual(failure('EAGAIN'))
    await expect(locks.lock(ask('b', { range: { start: 3, end: 2 } }))).rejects.toEqual(failure('EINVAL'))
    locks.lock(ask('b', { range: { start: 10, end: 19 } }))
    await expect(locks.lock(ask('d', { range: { start: 20, end: 29 } }))).rejects.toEqual(failure('ENOLCK'))
  })

  test('a cycle is refused', async () => {
    const locks = new LockService()
    locks.lock(ask('a'))
    locks.lock(ask('b', { file: 2 }))
    const wait = locks.lock(ask('a', { file: 2 }))
    await expect(locks.lock(ask('b'))).rejects.toEqual(failure('EDEADLK'))
    locks.releaseOwner(2, { client: 'c', owner: 'b' })
    await wait
  })

  test('an abort ends the wait with EINTR and wakes those behind it', async () => {
    const locks = new LockService()
    locks.lock(ask('a', { kind: 'shared' }))
    const controller = new AbortController()
    const writer = locks.lock(ask('w'), controller.signal)
    const reader = locks.lock(ask('r', { kind: 'shared' }))
    controller.abort()
    await expect(writer).rejects.toEqual(failure('EINTR'))
    await reader
    await expect(locks.lock(ask('w'), AbortSignal.abort())).rejects.toEqual(failure('EINTR'))
    expect(locks.table.waitersOf(1)).toEqual([])
    // A lock that is free is had even so.
    expect(locks.lock(ask('w', { file: 2 }), AbortSignal.abort())).toBeUndefined()
  })

  test('an abort after the grant changes nothing', async () => {
    const locks = new LockService()
    locks.lock(ask('a'))
    const controller = new AbortController()
    const wait = locks.lock(ask('b'), controller.signal)
    locks.releaseOwner(1, { client: 'c', owner: 'a' })
    controller.abort()
    await wait
    expect(locks.table.locksOf(1)).toMatchObject([{ owner: 'b' }])
  })

  test('the end of a client ends its waits', async () => {
    const locks = new LockService()
    locks.lock(ask('a', { client: 'dead' }))
    const own = locks.lock(ask('b', { client: 'dead' }))
    const other = locks.lock(ask('a'))
    locks.releaseClient('dead')
    await expect(own).rejects.toEqual(failure('EINTR'))
    await other
  })
})

describe('a caller who answers before it is over', () => {
  test('is told what was decided, and later what became of a request that waits', () => {
    const locks = new LockService()
    const events: string[] = []
    const waiter = (name: string) => ({
      granted: () => events.push(`${name} granted`),
      cancelled: () => events.push(`${name} cancelled`),
    })
    expect(locks.request(ask('a'), waiter('a'))).toMatchObject({ type: 'granted' })
    expect(locks.request(ask('b', { wait: false }), waiter('b'))).toMatchObject({ type: 'conflict' })
    const c = locks.request(ask('c'), waiter('c'))
    locks.request(ask('d'), waiter('d'))
    if (c.type === 'waiting') locks.cancel(c.ticket)
    locks.lock(ask('a', { kind: 'unlock' }))
    expect(events).toEqual(['c cancelled', 'd granted'])
  })
})

describe('limits', () => {
  test('of a client and of all, held ranges only as long as they are held', () => {
    const locks = new LockService(new LockTable({ perClient: 2, total: 3 }))
    const nobody = { granted: () => {}, cancelled: () => {} }
    const type = (owner: string, file: number, changes: Partial<LockTableRequest> = {}) =>
      locks.request(ask(owner, { file, ...changes }), nobody).type
    expect([type('a', 1), type('b', 2), type('b', 3)]).toEqual(['granted', 'granted', 'limit'])
    expect([type('a', 3, { client: 'd' }), type('a', 4, { client: 'd' })]).toEqual(['granted', 'limit'])
    expect(locks.table.heldBy('c')).toBe(2)
    locks.releaseOwner(1, { client: 'c', owner: 'a' })
    expect([locks.table.heldBy('c'), type('b', 5), type('b', 6)]).toEqual([1, 'granted', 'limit'])
    locks.releaseClient('d')
    expect([locks.table.heldBy('d'), type('a', 7, { client: 'd' })]).toEqual([0, 'granted'])
    locks.releaseClient('c')
    expect(locks.table.heldBy('c')).toBe(0)
  })
})
