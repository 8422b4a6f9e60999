// The lock table against brute-force models: bytes in an array for ranges, a search through all edges for deadlocks.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  type LockOutcome,
  LockTable,
  type LockTableRequest,
  type LockTicket,
  type LockView,
} from '../../../src/store/lock-table.ts'
import { SHARE_DELETE, SHARE_READ, SHARE_WRITE } from '../../../src/store/share-modes.ts'

const FILE = 7
const EOF_ = Number.POSITIVE_INFINITY

type Brief = Partial<LockTableRequest> & { owner: string }

function ask({ owner, ...rest }: Brief): LockTableRequest {
  return {
    file: FILE,
    client: 'c',
    owner,
    range: { start: 0, end: 9 },
    kind: 'exclusive',
    class: 'range',
    pid: 1,
    wait: false,
    ...rest,
  }
}

const brief = ({ owner, start, end, exclusive }: LockView) => `${owner}${exclusive ? 'X' : 'S'}${start}-${end}`
const held = (table: LockTable, file = FILE) => table.locksOf(file).map(brief).join(' ')

function ticketOf(outcome: LockOutcome): LockTicket {
  if (outcome.type !== 'waiting') throw new Error(`expected to wait, not ${outcome.type}`)
  return outcome.ticket
}

describe('ranges of one owner', () => {
  const cases: [string, Brief[], string][] = [
    ['adjacent locks of one kind merge', [at('S', 0, 4), at('S', 5, 9)], 'aS0-9'],
    ['locks of different kinds stay apart', [at('S', 0, 4), at('X', 5, 9)], 'aS0-4 aX5-9'],
    ['an upgrade inside splits', [at('S', 0, 9), at('X', 3, 5)], 'aS0-2 aX3-5 aS6-9'],
    ['a downgrade inside splits', [at('X', 0, EOF_), at('S', 3, 5)], 'aX0-2 aS3-5 aX6-Infinity'],
    ['unlocking in the middle splits', [at('X', 0, 9), at('U', 3, 5)], 'aX0-2 aX6-9'],
    ['unlocking to the end of the file', [at('X', 2, EOF_), at('U', 5, EOF_)], 'aX2-4'],
    ['filling a gap merges three', [at('X', 0, 2), at('X', 6, 9), at('X', 3, 5)], 'aX0-9'],
    ['a larger lock swallows all', [at('S', 1, 2), at('X', 4, 5), at('X', 0, EOF_)], 'aX0-Infinity'],
  ]
  test.each(cases)('%s', (_name, requests, expected) => {
    const table = new LockTable()
    for (const request of requests) expect(table.request(ask(request)).type).toBe('granted')
    expect(held(table)).toBe(expected)
    table.releaseOwner(FILE, { client: 'c', owner: 'a' })
    expect(table.lockedFiles()).toEqual([])
  })

  function at(kind: 'S' | 'X' | 'U', start: number, end: number): Brief {
    const kinds = { S: 'shared', X: 'exclusive', U: 'unlock' } as const
    return { owner: 'a', kind: kinds[kind], range: { start, end } }
  }

  test.each([
    [-1, 5],
    [5, 4],
    [0.5, 3],
    [0, Number.NaN],
    [2 ** 53, EOF_],
  ])('%d…%d is no range', (start, end) => {
    const table = new LockTable()
    expect(() => table.request(ask({ owner: 'a', range: { start, end } }))).toThrow(
      expect.objectContaining({ code: 'EINVAL' }),
    )
    expect(table.lockedFiles()).toEqual([])
  })

  test('equal names of different clients, and a number and its digits, are different owners', () => {
    const table = new LockTable()
    expect(table.request({ ...ask({ owner: '1' }), owner: 1n }).type).toBe('granted')
    expect(table.request(ask({ owner: '1' })).type).toBe('conflict')
    expect(table.request({ ...ask({ owner: '1' }), owner: 1n, client: 'd' }).type).toBe('conflict')
  })
})

test('ranges of several owners behave as an array of bytes does', () => {
  const SIZE = 12
  const event = fc.record({
    owner: fc.constantFrom('a', 'b', 'c'),
    kind: fc.constantFrom('shared' as const, 'exclusive' as const, 'unlock' as const),
    start: fc.nat(SIZE - 1),
    length: fc.oneof(fc.integer({ min: 1, max: SIZE }), fc.constant(EOF_)),
  })
  fc.assert(
    fc.property(fc.array(event, { maxLength: 60, size: 'max' }), (events) => {
      const table = new LockTable()
      // Byte SIZE stands for all bytes from there on.
      const bytes = Array.from({ length: SIZE + 1 }, () => new Map<string, 'shared' | 'exclusive'>())
      for (const { owner, kind, start, length } of events) {
        const range = { start, end: start + length - 1 }
        const touched = bytes.slice(start, range.end >= SIZE ? SIZE + 1 : range.end + 1)
        const free = touched.every((byte) =>
          [...byte].every(([other, mode]) => other === owner || (mode === 'shared' && kind === 'shared')),
        )
        const end = range.end >= SIZE ? EOF_ : range.end
        const request = ask({ owner, kind, range: { start, end } })
        expect(table.test(request) === undefined).toBe(free || kind === 'unlock')
        const { type } = table.request(request)
        expect(type).toBe(free || kind === 'unlock' ? 'granted' : 'conflict')
        if (type === 'granted') {
          for (const byte of touched) {
            if (kind === 'unlock') byte.delete(owner)
            else byte.set(owner, kind)
          }
        }
        expect(asBytes(table.locksOf(FILE), SIZE)).toEqual(bytes)
        expectMerged(table.locksOf(FILE))
      }
    }),
    { numRuns: 300 },
  )
})

function asBytes(locks: readonly LockView[], size: number): Map<string, 'shared' | 'exclusive'>[] {
  const bytes = Array.from({ length: size + 1 }, () => new Map<string, 'shared' | 'exclusive'>())
  for (const { start, end, owner, exclusive } of locks) {
    for (let at = start; at <= Math.min(end, size); at++) {
      expect(bytes[at]?.has(String(owner))).toBe(false)
      bytes[at]?.set(String(owner), exclusive ? 'exclusive' : 'shared')
    }
  }
  return bytes
}

/** No two locks of one owner and kind touch; all are sorted by start. */
function expectMerged(locks: readonly LockView[]): void {
  for (const [index, lock] of locks.entries()) {
    expect(lock.start).toBeGreaterThanOrEqual(locks[index - 1]?.start ?? 0)
    const touching = locks.filter(
      (o) => o.owner === lock.owner && o.exclusive === lock.exclusive && o.start === lock.end + 1,
    )
    expect(touching).toEqual([])
  }
}

describe('waiting', () => {
  test('is granted in order, shared ones together, and a later reader does not pass a waiting writer', () => {
    const table = new LockTable()
    table.request(ask({ owner: 'r1', kind: 'shared' }))
    const writer = ticketOf(table.request(ask({ owner: 'w', wait: true })))
    const reader2 = ticketOf(table.request(ask({ owner: 'r2', kind: 'shared', wait: true })))
    const reader3 = ticketOf(table.request(ask({ owner: 'r3', kind: 'shared', wait: true })))
    expect(table.waitersOf(FILE).map((w) => [w.owner, w.blockedBy.map(brief), w.queuedBehind])).toEqual([
      ['w', ['r1S0-9'], []],
      ['r2', [], [writer]],
      ['r3', [], [writer]],
    ])
    expect(table.releaseOwner(FILE, { client: 'c', owner: 'r1' }).granted).toEqual([writer])
    expect(table.releaseOwner(FILE, { client: 'c', owner: 'w' }).granted).toEqual([reader2, reader3])
  })

  test('a holder of a shared lock can lock more although a writer waits for it', () => {
    const table = new LockTable()
    table.request(ask({ owner: 'r', kind: 'shared', range: { start: 0, end: 0 } }))
    ticketOf(table.request(ask({ owner: 'w', wait: true })))
    expect(table.request(ask({ owner: 'r', kind: 'shared', wait: true })).type).toBe('granted')
  })

  test('a request that does not wait looks at held locks only', () => {
    const table = new LockTable()
    table.request(ask({ owner: 'r1', kind: 'shared' }))
    ticketOf(table.request(ask({ owner: 'w', wait: true })))
    expect(table.request(ask({ owner: 'r2', kind: 'shared' })).type).toBe('granted')
  })

  test('disjoint ranges do not wait for each other', () => {
    const table = new LockTable()
    table.request(ask({ owner: 'a' }))
    ticketOf(table.request(ask({ owner: 'b', wait: true })))
    expect(table.request(ask({ owner: 'd', wait: true, range: { start: 10, end: EOF_ } })).type).toBe('granted')
  })

  test('a downgrade, an unlock in the middle and a cancelled wait wake those who can go on', () => {
    const table = new LockTable()
    table.request(ask({ owner: 'a' }))
    const reader = ticketOf(table.request(ask({ owner: 'r', kind: 'shared', wait: true, range: { start: 0, end: 3 } })))
    expect(table.request(ask({ owner: 'a', kind: 'shared', range: { start: 0, end: 3 } })).effects.granted).toEqual([
      reader,
    ])
    const middle = ticketOf(table.request(ask({ owner: 'm', wait: true, range: { start: 5, end: 6 } })))
    const behind = ticketOf(table.request(ask({ owner: 'n', kind: 'shared', wait: true, range: { start: 0, end: 6 } })))
    expect(table.request(ask({ owner: 'a', kind: 'shared' })).effects.granted).toEqual([])
    expect(table.cancel(middle)).toEqual({ granted: [behind], cancelled: [middle] })
    expect(table.cancel(middle)).toEqual({ granted: [], cancelled: [] })
  })

  test('a grant that downgrades a part wakes one who came earlier', () => {
    const table = new LockTable()
    table.request(ask({ owner: 'x', range: { start: 0, end: 9 } }))
    table.request(ask({ owner: 'y', range: { start: 15, end: 20 } }))
    const early = ticketOf(table.request(ask({ owner: 'z', kind: 'shared', wait: true, range: { start: 0, end: 5 } })))
    const wide = ticketOf(table.request(ask({ owner: 'x', kind: 'shared', wait: true, range: { start: 0, end: 20 } })))
    expect(table.releaseOwner(FILE, { client: 'c', owner: 'y' }).granted).toEqual([wide, early])
  })

  test('the end of a client ends its waits first, then its locks and opens', () => {
    const table = new LockTable()
    table.request(ask({ owner: 'a', client: 'dead' }))
    const own = ticketOf(table.request(ask({ owner: 'b', client: 'dead', wait: true })))
    const other = ticketOf(table.request(ask({ owner: 'a', client: 'alive', wait: true })))
    table.shares.open({ file: FILE, client: 'dead', key: 1n, access: SHARE_READ, allows: 0 })
    expect(table.releaseClient('dead')).toEqual({ granted: [other], cancelled: [own] })
    expect(table.shares.opensOf(FILE)).toEqual([])
    table.releaseClient('alive')
    expect(table.lockedFiles()).toEqual([])
  })
})

describe('deadlock', () => {
  test('goes to the request that closes a cycle, over files and clients, and names the cycle', () => {
    const table = new LockTable()
    const owners = ['a', 'b', 'd']
    for (const [file, owner] of owners.entries()) table.request(ask({ owner, file, client: owner }))
    ticketOf(table.request(ask({ owner: 'a', client: 'a', file: 1, wait: true })))
    ticketOf(table.request(ask({ owner: 'b', client: 'b', file: 2, wait: true })))
    const outcome = table.request(ask({ owner: 'd', client: 'd', file: 0, wait: true }))
    expect(outcome).toMatchObject({
      type: 'deadlock',
      cycle: [{ owner: 'd' }, { owner: 'a' }, { owner: 'b' }],
    })
    expect(table.waitersOf(0)).toEqual([])
  })

  test('two readers that both upgrade: the second is refused', () => {
    const table = new LockTable()
    for (const owner of ['a', 'b']) table.request(ask({ owner, kind: 'shared' }))
    const first = ticketOf(table.request(ask({ owner: 'a', wait: true })))
    expect(table.request(ask({ owner: 'b', wait: true })).type).toBe('deadlock')
    expect(table.releaseOwner(FILE, { client: 'c', owner: 'b' }).granted).toEqual([first])
  })

  test('a cycle that only the order of the queue makes is undone by letting a reader pass', () => {
    const table = new LockTable()
    table.request(ask({ owner: 'a', kind: 'shared', file: 1 }))
    table.request(ask({ owner: 'r', file: 2 }))
    ticketOf(table.request(ask({ owner: 'w', file: 1, wait: true })))
    const reader = ticketOf(table.request(ask({ owner: 'r', kind: 'shared', file: 1, wait: true })))
    // a → r (held) → w (queue) → a (held): nobody would be refused by the rules of fcntl.
    const outcome = table.request(ask({ owner: 'a', file: 2, wait: true }))
    expect(outcome.type).toBe('waiting')
    expect(outcome.effects.granted).toEqual([reader])
  })

  test('a request whose coming untangles the queue may be granted although a lock was in its way', () => {
    const table = new LockTable()
    table.request(ask({ owner: 'x', range: { start: 0, end: 9 } }))
    table.request(ask({ owner: 'r', range: { start: 12, end: 15 } }))
    ticketOf(table.request(ask({ owner: 'v', wait: true, range: { start: 10, end: 15 } })))
    const wide = ticketOf(table.request(ask({ owner: 'x', kind: 'shared', wait: true, range: { start: 0, end: 11 } })))
    // r → x (held) → v (queue) → r (held): x passes v, and holds only a shared lock from then on.
    const outcome = table.request(ask({ owner: 'r', kind: 'shared', wait: true, range: { start: 0, end: 5 } }))
    expect(outcome).toMatchObject({ type: 'granted', effects: { granted: [wide] } })
  })

  test('flock takes no part in it, unless asked', () => {
    for (const detectDeadlock of [undefined, true]) {
      const table = new LockTable()
      const flock = (owner: string, file: number) =>
        ask({ owner, file, class: 'flock', wait: true, ...(detectDeadlock && { detectDeadlock }) })
      table.request(flock('a', 1))
      table.request(flock('b', 2))
      ticketOf(table.request(flock('a', 2)))
      expect(table.request(flock('b', 1)).type).toBe(detectDeadlock ? 'deadlock' : 'waiting')
    }
  })
})

describe('flock', () => {
  test('covers the whole file and knows nothing of byte ranges', () => {
    const table = new LockTable()
    table.request(ask({ owner: 'a', class: 'flock', range: { start: 5, end: 5 } }))
    expect(held(table)).toBe('aX0-Infinity')
    expect(table.request(ask({ owner: 'b' })).type).toBe('granted')
    expect(table.request(ask({ owner: 'b', class: 'flock', kind: 'shared' })).type).toBe('conflict')
  })

  test('a conversion that is refused has lost the old lock, and lets waiters go first', () => {
    const table = new LockTable()
    for (const owner of ['a', 'b']) table.request(ask({ owner, class: 'flock', kind: 'shared' }))
    expect(table.request(ask({ owner: 'a', class: 'flock' })).type).toBe('conflict')
    expect(held(table)).toBe('bS0-Infinity')
    const waiting = ticketOf(table.request(ask({ owner: 'a', class: 'flock', wait: true })))
    const outcome = table.request(ask({ owner: 'b', class: 'flock', wait: true }))
    expect(outcome.type).toBe('waiting')
    expect(outcome.effects.granted).toEqual([waiting])
  })
})

describe('mandatory locks', () => {
  const none = () => false
  test('an exclusive one forbids reading and writing, a shared one writing; advisory ones nothing', () => {
    const table = new LockTable()
    table.request(ask({ owner: 'x', mandatory: true, range: { start: 0, end: 9 } }))
    table.request(ask({ owner: 's', mandatory: true, kind: 'shared', range: { start: 10, end: 19 } }))
    table.request(ask({ owner: 'adv', range: { start: 20, end: 29 } }))
    expect(table.blockedIo(FILE, { start: 9, end: 9 }, 'read', none)).toMatchObject({ owner: 'x' })
    expect(table.blockedIo(FILE, { start: 10, end: 30 }, 'read', none)).toBeUndefined()
    expect(table.blockedIo(FILE, { start: 19, end: 30 }, 'write', none)).toMatchObject({ owner: 's' })
    expect(table.blockedIo(FILE, { start: 20, end: 30 }, 'write', none)).toBeUndefined()
    expect(table.blockedIo(FILE, { start: 0, end: 9 }, 'write', (lock) => lock.owner === 'x')).toBeUndefined()
    expect(table.blockedIo(FILE + 1, { start: 0, end: 9 }, 'write', none)).toBeUndefined()
  })
})

describe('share modes', () => {
  const { shares } = new LockTable()
  const open = (key: string, access: number, allows: number) => ({ file: FILE, client: 'c', key, access, allows })
  test('each must allow what the other wants', () => {
    expect(shares.open(open('1', SHARE_READ, SHARE_READ | SHARE_DELETE))).toBeUndefined()
    expect(shares.open(open('2', SHARE_READ, SHARE_WRITE))).toMatchObject({ key: '1' })
    expect(shares.open(open('3', SHARE_WRITE, SHARE_READ))).toMatchObject({ key: '1' })
    expect(shares.open(open('4', SHARE_DELETE, SHARE_READ))).toBeUndefined()
    expect(shares.open(open('5', 0, 0))).toBeUndefined()
    shares.close({ file: FILE, client: 'c', key: '1' })
    shares.close({ file: FILE, client: 'c', key: '4' })
    expect(shares.open(open('6', SHARE_WRITE, 0))).toBeUndefined()
  })
})

describe('limits', () => {
  test('of one owner: a split too many is refused and changes nothing; unlocking more is not', () => {
    const table = new LockTable({ perOwner: 3 })
    table.request(ask({ owner: 'a', kind: 'shared', range: { start: 0, end: 99 } }))
    table.request(ask({ owner: 'a', range: { start: 10, end: 19 } }))
    const before = held(table)
    expect(table.request(ask({ owner: 'a', range: { start: 30, end: 39 } })).type).toBe('limit')
    expect(table.request(ask({ owner: 'a', kind: 'unlock', range: { start: 30, end: 39 } })).type).toBe('limit')
    expect(held(table)).toBe(before)
    expect(table.request(ask({ owner: 'b', kind: 'shared', range: { start: 30, end: 39 } })).type).toBe('granted')
    expect(table.request(ask({ owner: 'a', kind: 'unlock', range: { start: 0, end: EOF_ } })).type).toBe('granted')
  })

  test('of one file: waits count too', () => {
    const table = new LockTable({ perFile: 2 })
    table.request(ask({ owner: 'a' }))
    ticketOf(table.request(ask({ owner: 'b', wait: true })))
    expect(table.request(ask({ owner: 'd', wait: true })).type).toBe('limit')
    expect(table.waitersOf(FILE)).toHaveLength(1)
  })
})

// A simulation of owners that lock, unlock, wait, give up and die, against rules stated by brute force.

const FILES = [1, 2]
const OWNERS = ['a', 'b', 'd', 'e']

const simulationEvent = fc.record({
  type: fc.constantFrom(
    'lock' as const,
    'lock' as const,
    'lock' as const,
    'unlock' as const,
    'cancel' as const,
    'close' as const,
    'die' as const,
  ),
  owner: fc.constantFrom(...OWNERS),
  file: fc.constantFrom(...FILES),
  exclusive: fc.boolean(),
  wait: fc.boolean(),
  start: fc.nat(5),
  length: fc.oneof(fc.integer({ min: 1, max: 4 }), fc.constant(EOF_)),
})

interface Simulated {
  readonly table: LockTable
  readonly waiting: Map<LockTicket, LockTableRequest>
}

/** Runs events; `oneWaitEach`: an owner that waits does nothing else until it is granted, as a process of one thread. */
function simulate(
  events: readonly (typeof simulationEvent extends fc.Arbitrary<infer E> ? E : never)[],
  oneWaitEach: boolean,
  check: (simulated: Simulated) => void,
): void {
  const table = new LockTable()
  const waiting = new Map<LockTicket, LockTableRequest>()
  for (const { type, owner, file, exclusive, wait, start, length } of events) {
    const busy = [...waiting].find(([, request]) => request.owner === owner)
    const who = { client: owner, owner }
    let effects = { granted: [] as readonly number[], cancelled: [] as readonly number[] }
    if (type === 'cancel') effects = busy ? table.cancel(busy[0]) : effects
    else if (type === 'die') effects = table.releaseClient(owner)
    else if (oneWaitEach && busy) continue
    else if (type === 'close') effects = table.releaseOwner(file, who)
    else {
      const kind = type === 'unlock' ? 'unlock' : exclusive ? 'exclusive' : 'shared'
      const request: LockTableRequest = {
        ...ask({ owner }),
        ...who,
        file,
        kind,
        wait,
        range: { start, end: start + length - 1 },
      }
      const held = table.test(request)
      const deadlock = wait && kind !== 'unlock' && bruteForceDeadlock(table, request)
      const outcome = table.request(request)
      effects = outcome.effects
      if (kind === 'unlock') expect(outcome.type).toBe('granted')
      else if (!wait) expect(outcome.type).toBe(held ? 'conflict' : 'granted')
      else if (deadlock) expect(outcome.type).toBe('deadlock')
      // It may wait behind others though no lock is in its way, and be let through although one was.
      else expect(['granted', 'waiting']).toContain(outcome.type)
      if (outcome.type === 'waiting') waiting.set(outcome.ticket, request)
    }
    for (const ticket of [...effects.granted, ...effects.cancelled]) expect(waiting.delete(ticket)).toBe(true)
    check({ table, waiting })
  }
}

const conflicts = (request: LockTableRequest, lock: LockView) =>
  lock.owner !== request.owner &&
  lock.file === request.file &&
  (lock.exclusive || request.kind === 'exclusive') &&
  lock.start <= request.range.end &&
  request.range.start <= lock.end

/** Follows every path from the owners in the request's way along held locks: does one lead to the requester? */
function bruteForceDeadlock(table: LockTable, request: LockTableRequest): boolean {
  const edges = new Map<unknown, unknown[]>(OWNERS.map((owner) => [owner, []]))
  for (const file of FILES) {
    for (const waiter of table.waitersOf(file)) {
      edges.get(waiter.owner)?.push(...waiter.blockedBy.map((lock) => lock.owner))
    }
  }
  const blockers = table.locksOf(request.file).filter((lock) => conflicts(request, lock))
  const reaches = (from: unknown, path: unknown[]): boolean =>
    from === request.owner ||
    (!path.includes(from) && (edges.get(from) ?? []).some((next) => reaches(next, [...path, from])))
  return blockers.some((lock) => reaches(lock.owner, []))
}

/** What holds after every event, whatever came before. */
function checkState({ table, waiting }: Simulated): void {
  const locks = FILES.flatMap((file) => table.locksOf(file))
  const waiters = FILES.flatMap((file) => table.waitersOf(file))
  expect(waiters.map(({ ticket }) => ticket).sort()).toEqual([...waiting.keys()].sort())
  for (const { ticket, blockedBy, queuedBehind } of waiters) {
    const request = waiting.get(ticket)
    if (request === undefined) throw new Error('a waiter that nobody knows')
    // No wake-up was lost, and the view tells the truth.
    expect(blockedBy).toEqual(locks.filter((lock) => conflicts(request, lock)))
    expect(blockedBy.length + queuedBehind.length).toBeGreaterThan(0)
    for (const ahead of queuedBehind) expect(ahead).toBeLessThan(ticket)
  }
  for (const [index, lock] of locks.entries()) {
    for (const other of locks.slice(index + 1)) {
      const both =
        lock.file === other.file && lock.owner !== other.owner && lock.start <= other.end && other.start <= lock.end
      if (both) expect(lock.exclusive || other.exclusive).toBe(false)
    }
  }
}

/** Whoever waits behind another in a queue is not, directly or through others, what that one waits for. */
function expectNoCycleOfOurMaking({ table }: Simulated): void {
  const waiters = FILES.flatMap((file) => table.waitersOf(file))
  const ownerOf = (ticket: LockTicket) => waiters.find((waiter) => waiter.ticket === ticket)?.owner ?? ''
  const edges = waiters.map(({ owner, blockedBy, queuedBehind }) => {
    const held = blockedBy.map((lock) => lock.owner)
    return { owner, queued: queuedBehind.map(ownerOf), all: [...held, ...queuedBehind.map(ownerOf)] }
  })
  const reachedFrom = (start: unknown): Set<unknown> => {
    const reached = new Set([start])
    for (const at of reached)
      for (const { owner, all } of edges) if (owner === at) for (const to of all) reached.add(to)
    return reached
  }
  for (const { owner, queued } of edges) for (const ahead of queued) expect(reachedFrom(ahead).has(owner)).toBe(false)
}

/** Takes away owners who wait for nobody, then those who waited only for them, until nobody is left. */
function expectNoCycle(table: LockTable): void {
  const waiters = FILES.flatMap((file) => table.waitersOf(file))
  const ownerOf = (ticket: LockTicket) => waiters.find((waiter) => waiter.ticket === ticket)?.owner ?? ''
  const edges = new Map(
    waiters.map(({ owner, blockedBy, queuedBehind }) => [
      owner,
      new Set([...blockedBy.map((lock) => lock.owner), ...queuedBehind.map((ticket) => ownerOf(ticket))]),
    ]),
  )
  for (let before = -1; edges.size !== before; ) {
    before = edges.size
    for (const [owner, waitsFor] of edges) if (![...waitsFor].some((other) => edges.has(other))) edges.delete(owner)
  }
  expect([...edges.keys()]).toEqual([])
}

test('simulation: no lost wake-up, no false or missed deadlock, no conflicting locks', () => {
  fc.assert(
    fc.property(fc.array(simulationEvent, { maxLength: 80, size: 'max' }), (events) =>
      simulate(events, false, (simulated) => {
        checkState(simulated)
        expectNoCycleOfOurMaking(simulated)
      }),
    ),
    { numRuns: 400 },
  )
})

test('simulation of single-threaded owners: nobody waits in a circle, be it of locks or of queues', () => {
  fc.assert(
    fc.property(fc.array(simulationEvent, { maxLength: 80, size: 'max' }), (events) => {
      simulate(events, true, (simulated) => {
        checkState(simulated)
        expectNoCycle(simulated.table)
      })
    }),
    { numRuns: 300 },
  )
})

test('simulation of single-threaded owners: when those who run unlock, everybody gets the lock', () => {
  fc.assert(
    fc.property(fc.array(simulationEvent, { maxLength: 60, size: 'max' }), (events) => {
      let last: Simulated | undefined
      simulate(events, true, (simulated) => {
        last = simulated
      })
      if (last === undefined) return
      const { table, waiting } = last
      for (let round = 0; waiting.size > 0; round++) {
        expect(round).toBeLessThanOrEqual(OWNERS.length)
        const running = OWNERS.filter((owner) => ![...waiting.values()].some((request) => request.owner === owner))
        for (const owner of running) {
          for (const file of FILES) {
            for (const ticket of table.releaseOwner(file, { client: owner, owner }).granted) waiting.delete(ticket)
          }
        }
      }
    }),
    { numRuns: 300 },
  )
})

test('a writer among a stream of readers is served', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 6, max: 30 }), (overlapping, readers) => {
      const table = new LockTable()
      const open: string[] = []
      let writer: LockTicket | undefined
      let served = false
      for (let n = 0; n < readers; n++) {
        open.push(`r${n}`)
        table.request(ask({ owner: `r${n}`, kind: 'shared', wait: true }))
        if (n === overlapping) writer = ticketOf(table.request(ask({ owner: 'w', wait: true })))
        if (open.length <= overlapping) continue
        const { granted } = table.releaseOwner(FILE, { client: 'c', owner: open.shift() ?? '' })
        if (writer !== undefined && granted.includes(writer)) served = true
      }
      for (const owner of open) {
        if (table.releaseOwner(FILE, { client: 'c', owner }).granted.includes(writer ?? -1)) served = true
      }
      expect(served).toBe(true)
      // It came before every reader that arrived after it.
      expect(table.locksOf(FILE).map(({ owner }) => owner)).toEqual(['w'])
    }),
  )
})

test('thousands of locks in one file', () => {
  const table = new LockTable()
  const COUNT = 5000
  for (let n = 0; n < COUNT; n++) {
    const range = { start: n * 4, end: n * 4 + 1 }
    expect(table.request(ask({ owner: `o${n}`, range, kind: n % 2 ? 'shared' : 'exclusive' })).type).toBe('granted')
  }
  for (let n = 0; n < COUNT; n++) {
    const range = { start: n * 4 + 1, end: n * 4 + 3 }
    expect(table.test(ask({ owner: 'x', range }))).toMatchObject({ owner: `o${n}` })
    expect(table.test(ask({ owner: 'x', range: { start: n * 4 + 2, end: n * 4 + 3 } }))).toBeUndefined()
  }
  table.releaseClient('c')
  expect(table.lockedFiles()).toEqual([])
})
