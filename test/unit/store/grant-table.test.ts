// The grant table: its rules one by one, and simulated clients that are slow, deaf or die.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Deadlines } from '../../../src/store/deadlines.ts'
import { GrantTable } from '../../../src/store/grant-table.ts'
import {
  ALL_RIGHTS,
  CACHE_HANDLE,
  CACHE_READ,
  CACHE_WRITE,
  type GrantEffect,
  type Operation,
  type OperationId,
  type OperationKind,
  type Recall,
  type Rights,
  rightsName,
} from '../../../src/store/grant-types.ts'

const FILE = 7
const R = CACHE_READ
const RW = CACHE_READ | CACHE_WRITE
const RH = CACHE_READ | CACHE_HANDLE

const op = (client: string, kind: OperationKind, rest: Partial<Operation> = {}): Operation => ({
  file: FILE,
  client,
  kind,
  ...rest,
})

/** A table where `client` has `rights` on FILE since time 0. */
function granted(...holders: [client: string, rights: Rights][]) {
  const table = new GrantTable()
  const ids = holders.map(([client, rights]) => {
    const acquired = table.acquire({ file: FILE, client, rights }, 0)
    expect(acquired).toMatchObject({ rights, effects: [] })
    return acquired.grant?.id ?? 0
  })
  return { table, ids }
}

const brief = (effect: GrantEffect): string => {
  if (effect.type === 'recall') {
    const { client, from, to } = effect.recall
    return `recall ${client} ${rightsName(from)}→${rightsName(to)}`
  }
  if (effect.type === 'revoked') return `revoked ${effect.grant.client} ${effect.reason}`
  if (effect.type === 'expired') return `expired ${effect.grant.client}`
  return `${effect.type} ${effect.operation}`
}
const briefs = (effects: readonly GrantEffect[] | undefined) => effects?.map(brief)

describe('acquire', () => {
  test('any number may read; writing is for one; a handle may be kept beside anybody', () => {
    const { table } = granted(['a', R], ['b', RH])
    expect(table.acquire({ file: FILE, client: 'd', rights: ALL_RIGHTS }, 0).rights).toBe(RH)
    expect(granted(['a', ALL_RIGHTS]).table.acquire({ file: FILE, client: 'b', rights: RH }, 0)).toEqual({
      rights: 0,
      effects: [],
    })
  })

  test('adds to what the holder has, and each change raises the epoch', () => {
    const table = new GrantTable()
    expect(table.acquire({ file: FILE, client: 'a', key: 'k', rights: R, epoch: 4 }, 0).grant?.epoch).toBe(5)
    expect(table.acquire({ file: FILE, client: 'a', key: 'k', rights: R }, 0).grant?.epoch).toBe(5)
    expect(table.acquire({ file: FILE, client: 'a', key: 'k', rights: RW }, 0).grant).toMatchObject({
      epoch: 6,
      rights: RW,
    })
    const [recall] = table.conflict(op('b', 'read'), 1)?.effects ?? []
    expect(recall).toMatchObject({ type: 'recall', recall: { key: 'k', from: RW, to: R, epoch: 7, deadline: 35_001 } })
  })

  test('another key of the same client is another holder', () => {
    const table = new GrantTable()
    table.acquire({ file: FILE, client: 'a', key: '1', rights: RW }, 0)
    expect(table.acquire({ file: FILE, client: 'a', key: '2', rights: R }, 0).rights).toBe(0)
    expect(table.conflict(op('a', 'write', { key: '1' }), 0)).toBeUndefined()
    expect(table.conflict(op('a', 'write', { key: '2' }), 0)).toMatchObject({ waiting: true })
  })

  test('during a recall neither others nor the holder get what is being recalled', () => {
    const { table } = granted(['a', ALL_RIGHTS])
    table.conflict(op('b', 'write'), 0)
    expect(table.acquire({ file: FILE, client: 'a', rights: ALL_RIGHTS }, 0).rights).toBe(CACHE_HANDLE)
    expect(table.acquire({ file: FILE, client: 'd', rights: RH }, 0).rights).toBe(0)
    // The one whose operation it is may: its own operation is not in its way, but the other's right still is.
    expect(table.acquire({ file: FILE, client: 'b', rights: CACHE_HANDLE }, 0).rights).toBe(CACHE_HANDLE)
  })
})

describe('what an operation recalls from others', () => {
  const cases: [OperationKind, Rights, string, boolean][] = [
    ['read', ALL_RIGHTS, 'RWH→RH', true],
    ['open', RW, 'RW→R', true],
    ['write', ALL_RIGHTS, 'RWH→H', true],
    ['write', RH, 'RH→H', false],
    ['truncate', R, 'R→', false],
    ['lock', R, 'R→', false],
    ['attributes', R, 'R→', false],
    ['names', R, 'R→', false],
    ['shareConflict', ALL_RIGHTS, 'RWH→RW', true],
    ['remove', RH, 'RH→R', true],
    ['rename', RH, 'RH→R', true],
  ]
  test.each(cases)('%s from a holder of %d: %s', (kind, rights, recall, waits) => {
    const { table } = granted(['a', rights])
    expect(table.conflict(op('a', kind), 0)).toBeUndefined()
    const conflict = table.conflict(op('b', kind), 0)
    expect(briefs(conflict?.effects)).toEqual([`recall a ${recall}`])
    expect(conflict?.waiting).toBe(waits)
  })

  test.each<[OperationKind, Rights]>([
    ['read', RH],
    ['open', RH],
    ['write', CACHE_HANDLE],
    ['remove', RW],
    ['shareConflict', RW],
  ])('%s leaves a holder of %d alone', (kind, rights) => {
    expect(granted(['a', rights]).table.conflict(op('b', kind), 0)).toBeUndefined()
  })

  test('the operation says whether to wait', () => {
    expect(granted(['a', R]).table.conflict(op('b', 'write', { wait: true }), 0)?.waiting).toBe(true)
    expect(granted(['a', RW]).table.conflict(op('b', 'write', { wait: false }), 0)?.waiting).toBe(false)
  })
})

describe('the answer to a recall', () => {
  test('lets the operations proceed, in order', () => {
    const { table, ids } = granted(['a', R], ['b', R])
    const first = table.conflict(op('x', 'write', { wait: true }), 0)
    const second = table.conflict(op('y', 'truncate', { wait: true }), 1)
    expect(briefs(first?.effects)).toEqual(['recall a R→', 'recall b R→'])
    expect(second).toMatchObject({ waiting: true, effects: [] })
    expect(
      table.waitingOperations().map(({ operation, since, waitsFor }) => [operation.client, since, waitsFor.length]),
    ).toEqual([
      ['x', 0, 2],
      ['y', 1, 2],
    ])
    expect(table.acknowledge({ grant: ids[0] ?? 0, remaining: 0 }, 2)).toEqual({ accepted: true, effects: [] })
    expect(briefs(table.acknowledge({ grant: ids[1] ?? 0, remaining: 0 }, 3).effects)).toEqual([
      `proceed ${first?.operation}`,
      `proceed ${second?.operation}`,
    ])
    expect(table.size).toBe(0)
  })

  test('may keep less than was left, not more', () => {
    const { table, ids } = granted(['a', ALL_RIGHTS])
    const grant = ids[0] ?? 0
    expect(table.acknowledge({ grant, remaining: R }, 0).accepted).toBe(false)
    table.conflict(op('b', 'read'), 0)
    expect(table.acknowledge({ grant, remaining: RW }, 0).accepted).toBe(false)
    expect(table.acknowledge({ grant, remaining: R, epoch: 1 }, 0).accepted).toBe(false)
    expect(table.acknowledge({ grant, remaining: R, epoch: 2 }, 0).accepted).toBe(true)
    expect(table.grantsOf(FILE)).toMatchObject([{ rights: R }])
  })

  test('what was recalled meanwhile is recalled next', () => {
    const { table, ids } = granted(['a', ALL_RIGHTS])
    const grant = ids[0] ?? 0
    const read = table.conflict(op('b', 'read'), 0)
    const write = table.conflict(op('b', 'write', { wait: true, timeoutMs: 5 }), 1)
    expect(write?.effects).toEqual([])
    const { effects } = table.acknowledge({ grant, remaining: RH }, 2)
    expect(briefs(effects)).toEqual(['recall a RH→H', `proceed ${read?.operation}`])
    expect(table.nextDeadline()).toBe(7)
    expect(briefs(table.acknowledge({ grant, remaining: CACHE_HANDLE }, 3).effects)).toEqual([
      `proceed ${write?.operation}`,
    ])
    expect(table.nextDeadline()).toBeUndefined()
  })

  test('does not come: the right is gone, and a late one is refused', () => {
    const { table, ids } = granted(['a', RW])
    const read = table.conflict(op('b', 'read', { timeoutMs: 100 }), 0)
    expect(table.nextDeadline()).toBe(100)
    expect(table.advance(99)).toEqual([])
    expect(briefs(table.advance(100))).toEqual(['revoked a timeout', `proceed ${read?.operation}`])
    expect(table.acknowledge({ grant: ids[0] ?? 0, remaining: R }, 101)).toEqual({ accepted: false, effects: [] })
    expect(table.undeliveredRecalls()).toEqual([{ client: 'a', count: 1, since: 100, until: 100, unreachable: false }])
  })

  test('that is late is refused also when no timer fired yet', () => {
    const { table, ids } = granted(['a', RW])
    table.conflict(op('b', 'read', { timeoutMs: 100 }), 0)
    const { accepted, effects } = table.acknowledge({ grant: ids[0] ?? 0, remaining: R }, 100)
    expect(accepted).toBe(false)
    expect(briefs(effects)?.[0]).toBe('revoked a timeout')
  })
})

describe('clients that cannot be reached', () => {
  test('are granted nothing and waited for no more, until they are back and told to discard', () => {
    const table = new GrantTable()
    for (const file of [1, 2, 3]) table.acquire({ file, client: 'a', rights: RW }, 0)
    const first = table.conflict(op('b', 'read', { file: 1 }), 5)
    const [effect] = first?.effects ?? []
    if (effect?.type !== 'recall') throw new Error('no recall')
    expect(briefs(table.undelivered(effect.recall, 6))).toEqual([
      'revoked a undelivered',
      `proceed ${first?.operation}`,
    ])
    expect(table.undelivered(effect.recall, 6)).toEqual([])
    expect(table.conflict(op('b', 'read', { file: 2 }), 7)).toMatchObject({
      waiting: false,
      effects: [{ type: 'revoked', reason: 'undelivered' }],
    })
    expect(table.acquire({ file: 9, client: 'a', rights: R }, 8).rights).toBe(0)
    expect(table.undeliveredRecalls()).toEqual([{ client: 'a', count: 2, since: 6, until: 7, unreachable: true }])
    expect(table.clientReturned('a')).toEqual({ discard: true, effects: [] })
    expect(table.size).toBe(0)
    expect(table.clientReturned('a').discard).toBe(false)
    expect(table.acquire({ file: 9, client: 'a', rights: R }, 9).rights).toBe(R)
  })

  test('that die let operations proceed, and their own are cancelled', () => {
    const { table } = granted(['a', RW])
    table.acquire({ file: 2, client: 'b', rights: RW }, 0)
    const ofB = table.conflict(op('b', 'read'), 0)
    const ofA = table.conflict(op('a', 'read', { file: 2 }), 0)
    expect(briefs(table.releaseClient('a'))).toEqual([`cancelled ${ofA?.operation}`, `proceed ${ofB?.operation}`])
    expect(table.waitingOperations()).toEqual([])
  })
})

describe('time and room', () => {
  test('a promise expires by itself, is renewed by asking again, and ends a recall that waits for it', () => {
    const table = new GrantTable()
    table.acquire({ file: FILE, client: 'a', rights: R, expiresAt: 100 }, 0)
    table.acquire({ file: FILE, client: 'a', rights: R, expiresAt: 200 }, 50)
    table.acquire({ file: FILE, client: 'b', rights: R, expiresAt: 150 }, 50)
    expect(table.nextDeadline()).toBe(150)
    const write = table.conflict(op('x', 'write', { wait: true }), 60)
    expect(briefs(table.advance(150))).toEqual(['expired b'])
    expect(briefs(table.advance(200))).toEqual(['expired a', `proceed ${write?.operation}`])
    expect(table.undeliveredRecalls()).toEqual([])
  })

  test('over the limit the oldest promise that needs no flush is recalled', () => {
    const table = new GrantTable({ limit: 3 })
    table.acquire({ file: 1, client: 'w', rights: RW }, 0)
    table.acquire({ file: 2, client: 'a', rights: R }, 1)
    table.acquire({ file: 3, client: 'a', rights: R }, 2)
    table.acquire({ file: 2, client: 'a', rights: R }, 3)
    const acquired = table.acquire({ file: 4, client: 'a', rights: R }, 4)
    expect(acquired.rights).toBe(R)
    expect(acquired.effects).toMatchObject([{ type: 'recall', recall: { file: 3, to: 0 } }])
    // Until the answer the promise stands: whoever changes that file waits for it.
    expect(table.conflict(op('b', 'write', { file: 3, wait: true }), 5)).toMatchObject({ waiting: true, effects: [] })
  })

  test('an answered eviction leaves as much room as before', () => {
    const table = new GrantTable({ limit: 2 })
    for (const file of [1, 2]) table.acquire({ file, client: 'a', rights: R }, 0)
    for (const file of [3, 4, 5]) {
      const [effect] = table.acquire({ file, client: 'a', rights: R }, 0).effects
      expect(effect).toMatchObject({ type: 'recall', recall: { file: file - 2 } })
      if (effect?.type === 'recall') table.acknowledge({ grant: effect.recall.grant, remaining: 0 }, 0)
      expect(table.size).toBe(2)
    }
  })

  test('with no room at all nothing is granted', () => {
    const table = new GrantTable({ limit: 2 })
    for (const file of [1, 2]) table.acquire({ file, client: 'w', rights: RW }, 0)
    expect(table.acquire({ file: 3, client: 'a', rights: R }, 0)).toEqual({ rights: 0, effects: [] })
    expect(table.size).toBe(2)
  })
})

describe('operations', () => {
  test('that last keep others from what they recall, until they finish', () => {
    const table = new GrantTable()
    const write = table.conflict(op('a', 'write', { hold: true }), 0)
    expect(write).toMatchObject({ waiting: false, effects: [] })
    expect(table.acquire({ file: FILE, client: 'b', rights: R }, 0).rights).toBe(0)
    expect(table.acquire({ file: FILE, client: 'a', rights: R }, 0).rights).toBe(R)
    table.releaseClient('a')
    expect(table.acquire({ file: FILE, client: 'b', rights: R }, 0).rights).toBe(0)
    table.finish(write?.operation ?? 0)
    expect(table.acquire({ file: FILE, client: 'b', rights: R }, 0).rights).toBe(R)
  })

  test('that last keep them out also where the only holder vanished on the way', () => {
    const { table } = granted(['a', RW])
    const recall = table.conflict(op('x', 'read'), 0)?.effects[0]
    if (recall?.type !== 'recall') throw new Error('no recall')
    table.acquire({ file: 2, client: 'a', rights: R }, 0)
    table.undelivered(recall.recall, 0)
    expect(table.conflict(op('x', 'write', { file: 2, hold: true, wait: true }), 0)?.waiting).toBe(false)
    expect(table.acquire({ file: 2, client: 'b', rights: R }, 0).rights).toBe(0)
  })

  test('that nobody wants any more do not proceed', () => {
    const { table, ids } = granted(['a', RW])
    table.finish(table.conflict(op('b', 'read'), 0)?.operation ?? 0)
    expect(table.acknowledge({ grant: ids[0] ?? 0, remaining: R }, 0)).toEqual({ accepted: true, effects: [] })
  })

  test('an administrator can force a recall', () => {
    const { table, ids } = granted(['a', ALL_RIGHTS])
    expect(briefs(table.recall(ids[0] ?? 0, 0, 0, 10))).toEqual(['recall a RWH→'])
    expect(table.recalls()).toMatchObject([{ client: 'a', since: 0, deadline: 10 }])
    expect(briefs(table.advance(10))).toEqual(['revoked a timeout'])
  })
})

test('deadlines come in order, whatever moved or went away', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(20), fc.option(fc.nat(1000), { nil: Number.POSITIVE_INFINITY })), {
        maxLength: 400,
        size: 'max',
      }),
      (updates) => {
        const due = new Map<number, number>()
        const deadlines = new Deadlines<number>((item) => due.get(item) ?? Number.POSITIVE_INFINITY)
        for (const [item, at] of updates) {
          due.set(item, at)
          deadlines.update(item)
          const earliest = Math.min(...due.values())
          expect(deadlines.next()).toBe(earliest === Number.POSITIVE_INFINITY ? undefined : earliest)
        }
        const expected = [...due.values()].filter((at) => at <= 500).sort((a, b) => a - b)
        const taken: number[] = []
        for (let item = deadlines.take(500); item !== undefined; item = deadlines.take(500)) {
          taken.push(due.get(item) ?? -1)
          due.delete(item)
        }
        expect(taken).toEqual(expected)
      },
    ),
  )
})

// Clients that ask, write, answer late or never, cannot be reached, die and come back.

const CLIENTS = ['a', 'b', 'd']
const KINDS: OperationKind[] = ['read', 'write', 'truncate', 'shareConflict', 'remove', 'names']
const step = fc.record({
  type: fc.constantFrom(
    'acquire',
    'acquire',
    'operate',
    'operate',
    'answer',
    'answer',
    'lose',
    'release',
    'die',
    'return',
    'wait',
    'finish',
  ),
  client: fc.constantFrom(...CLIENTS),
  key: fc.constantFrom('', 'k'),
  file: fc.constantFrom(1, 2),
  rights: fc.integer({ min: 1, max: 7 }),
  kind: fc.constantFrom(...KINDS),
  wait: fc.option(fc.boolean(), { nil: undefined }),
  hold: fc.boolean(),
  ms: fc.integer({ min: 1, max: 30 }),
})

test('simulation: nobody has a right that an operation which proceeded had recalled; every operation proceeds', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80, size: 'max' }), (steps) => {
      const table = new GrantTable({ limit: 6, recallTimeoutMs: 20 })
      let now = 0
      const waiting = new Map<OperationId, Operation>()
      const lasting = new Map<OperationId, Operation>()
      const inFlight = new Map<number, Recall>()

      const take = (effects: readonly GrantEffect[]) => {
        for (const effect of effects) {
          if (effect.type === 'recall') {
            expect(inFlight.has(effect.recall.grant)).toBe(false)
            inFlight.set(effect.recall.grant, effect.recall)
          } else if (effect.type === 'revoked' || effect.type === 'expired') inFlight.delete(effect.grant.id)
          else {
            const operation = waiting.get(effect.operation)
            if (operation === undefined) throw new Error(`${effect.type} of an operation that does not wait`)
            waiting.delete(effect.operation)
            if (effect.type === 'proceed') proceeded(effect.operation, operation)
          }
        }
        for (const id of [...inFlight.keys()])
          if (!table.recalls().some(({ grant }) => grant === id)) inFlight.delete(id)
      }
      // The rule of each kind, stated again: what must be gone when the operation is carried out.
      const forbidden = ({ kind, wait }: Operation): Rights => {
        if (wait === false) return 0
        if (kind === 'read') return CACHE_WRITE
        if (kind === 'write' || kind === 'truncate' || kind === 'names') return wait ? RW : CACHE_WRITE
        return CACHE_HANDLE
      }
      const expectClear = (operation: Operation, rights: Rights) => {
        for (const grant of table.grantsOf(operation.file)) {
          if (grant.client === operation.client && grant.key === operation.key) continue
          expect(grant.rights & rights).toBe(0)
        }
      }
      const proceeded = (id: OperationId, operation: Operation) => {
        if (operation.hold) lasting.set(id, operation)
        // Another operation of the same batch of effects cannot have granted anything in between.
        expectClear(operation, forbidden(operation))
      }

      const run = ({ type, client, key, file, rights, kind, wait, hold, ms }: (typeof steps)[number]) => {
        const [recall] = [...inFlight.values()].filter((recall) => recall.client === client)
        if (type === 'acquire') {
          const expiry = ms > 20 ? { expiresAt: now + ms } : {}
          const acquired = table.acquire({ file, client, key, rights, ...expiry }, now)
          take(acquired.effects)
        } else if (type === 'operate') {
          const operation: Operation = { file, client, key, kind, hold, ...(wait !== undefined && { wait }) }
          const conflict = table.conflict(operation, now)
          if (conflict?.waiting) waiting.set(conflict.operation, operation)
          take(conflict?.effects ?? [])
          if (!conflict?.waiting) proceeded(conflict?.operation ?? 0, operation)
        } else if (type === 'answer' && recall) {
          const answer = table.acknowledge(
            { grant: recall.grant, remaining: recall.to & rights, epoch: recall.epoch },
            now,
          )
          expect(answer.accepted).toBe(true)
          inFlight.delete(recall.grant)
          take(answer.effects)
        } else if (type === 'lose' && recall) {
          take(table.undelivered(recall, now))
        } else if (type === 'release') take(table.release(file, { client, key }))
        else if (type === 'die') take(table.releaseClient(client))
        else if (type === 'return') take(table.clientReturned(client).effects)
        else if (type === 'wait') {
          now += ms
          take(table.advance(now))
        } else if (type === 'finish') {
          const [id] = lasting.keys()
          if (id !== undefined) {
            table.finish(id)
            lasting.delete(id)
          }
        }
      }

      for (const event of steps) {
        run(event)
        // No two holders of one file have rights that conflict.
        for (const file of [1, 2]) {
          const grants = table.grantsOf(file)
          if (grants.some(({ rights }) => rights & CACHE_WRITE)) {
            expect(grants.filter(({ rights }) => rights & RW)).toHaveLength(1)
          }
          for (const grant of grants) expect(grant.rights).not.toBe(0)
        }
        // What an operation waited for stays away while it lasts.
        for (const operation of lasting.values()) expectClear(operation, forbidden(operation))
        expect(table.waitingOperations().map(({ id }) => id)).toEqual([...waiting.keys()])
        expect(
          table
            .recalls()
            .map(({ grant }) => grant)
            .sort(),
        ).toEqual([...inFlight.keys()].sort())
        expect(table.size).toBeLessThanOrEqual(12)
      }
      // Nobody answers any more: time alone lets everything proceed.
      for (let rounds = 0; waiting.size > 0; rounds++) {
        expect(rounds).toBeLessThan(100)
        const next = table.nextDeadline()
        if (next === undefined) throw new Error('operations wait, and nothing is due')
        expect(next).toBeGreaterThan(now)
        now = next
        take(table.advance(now))
      }
    }),
    { numRuns: 500 },
  )
})
