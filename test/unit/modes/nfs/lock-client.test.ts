import assert from 'node:assert/strict'
import { inspect } from 'node:util'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { LockClient } from '../../../../src/modes/nfs/lock-client.ts'
import { errnoOfNlm, type LockEffect, NLM4_STATS, type NlmCall } from '../../../../src/modes/nfs/nlm-types.ts'
import { random, seed } from '../../../support/random.ts'
import { World } from './lock-client-world.ts'

const { NLM4_GRANTED, NLM4_DENIED, NLM4_BLOCKED, NLM4_DENIED_GRACE_PERIOD, NLM4_DEADLCK, NLM4_DENIED_NOLOCKS } =
  NLM4_STATS
const FILE = 4
const RANGE = { start: 0, end: 9 }
const EOF_ = Number.POSITIVE_INFINITY

function stage() {
  const clock = { ms: 1000 }
  const client = new LockClient({ now: () => clock.ms })
  client.serverStateIs(1)
  const lock = (more: { owner?: bigint; exclusive?: boolean; wait?: boolean; range?: typeof RANGE } = {}) =>
    client.lock({ file: FILE, owner: 1n, range: RANGE, exclusive: true, wait: false, ...more })
  /** Asks and is granted. */
  const hold = (more: Parameters<typeof lock>[0] = {}) => client.answered(call(lock(more).effects).cookie, NLM4_GRANTED)
  return { clock, client, lock, hold }
}

function call(effects: readonly LockEffect[]): NlmCall {
  const calls = effects.flatMap((effect) => (effect.type === 'call' ? [effect.call] : []))
  assert.equal(calls.length, 1, `one call in ${inspect(effects)}`)
  return calls[0] as NlmCall
}

const brief = ({ procedure, lock, block, reclaim }: NlmCall) =>
  [
    procedure,
    `${lock.exclusive ? 'X' : 'S'}${lock.range.start}-${lock.range.end}`,
    ...(block ? ['block'] : []),
    ...(reclaim ? ['reclaim'] : []),
  ].join(' ')
const heldBy = (client: LockClient) =>
  client.held().map(({ owner, exclusive, start, end }) => `${owner}${exclusive ? 'X' : 'S'}${start}-${end}`)

describe('a lock', () => {
  test('is asked for, granted, and given back', () => {
    const { client, lock } = stage()
    const { id, effects } = lock()
    expect(brief(call(effects))).toBe('LOCK X0-9')
    expect(client.waiting()).toMatchObject([{ id, state: 'asking', file: FILE }])
    expect(client.answered(call(effects).cookie, NLM4_GRANTED)).toEqual([{ type: 'done', id }])
    expect(heldBy(client)).toEqual(['1X0-9'])
    const back = client.unlock(FILE, 1n, { start: 0, end: 4 })
    expect(brief(call(back.effects))).toBe('UNLOCK S0-4')
    expect(client.answered(call(back.effects).cookie, NLM4_GRANTED)).toEqual([{ type: 'done', id: back.id }])
    expect(heldBy(client)).toEqual(['1X5-9'])
    const close = client.release(FILE, 1n)
    expect(brief(call(close.effects))).toBe(`UNLOCK S0-${EOF_}`)
    client.answered(call(close.effects).cookie, NLM4_GRANTED)
    expect([client.held(), client.waiting()]).toEqual([[], []])
  })

  test('keeps its file and its owner known until the last answer', () => {
    const { client, lock } = stage()
    expect([client.idle, client.isBusy(FILE), client.svidOf(1n)]).toEqual([true, false, undefined])
    const { effects } = lock()
    const { cookie, lock: asked } = call(effects)
    expect([client.idle, client.isBusy(FILE), client.svidOf(1n)]).toEqual([false, true, asked.svid])
    client.answered(cookie, NLM4_GRANTED)
    const { effects: unlocking } = client.release(FILE, 1n)
    expect([client.idle, client.isBusy(FILE), client.isBusy(FILE + 1)]).toEqual([false, true, false])
    client.answered(call(unlocking).cookie, NLM4_GRANTED)
    expect([client.idle, client.isBusy(FILE), client.svidOf(1n)]).toEqual([true, false, undefined])
  })

  test('that is not held is given back without asking', () => {
    const { client, hold } = stage()
    expect(client.release(FILE, 1n)).toEqual({ id: 1, effects: [{ type: 'done', id: 1 }] })
    hold()
    const other = client.unlock(FILE, 1n, { start: 20, end: 29 })
    expect(other.effects).toEqual([{ type: 'done', id: other.id }])
  })

  test.each([
    [NLM4_DENIED, 'EAGAIN'],
    [NLM4_DEADLCK, 'EDEADLK'],
    [NLM4_DENIED_NOLOCKS, 'ENOLCK'],
    [NLM4_STATS.NLM4_ROFS, 'EROFS'],
    [NLM4_STATS.NLM4_STALE_FH, 'ESTALE'],
    [NLM4_STATS.NLM4_FBIG, 'EOVERFLOW'],
    [NLM4_STATS.NLM4_FAILED, 'ENOLCK'],
    [4711, 'ENOLCK'],
  ] as const)('that is answered %d fails with %s', (status, error) => {
    const { client, lock } = stage()
    const { id, effects } = lock()
    expect(client.answered(call(effects).cookie, status)).toEqual([{ type: 'done', id, error }])
    expect(errnoOfNlm(status)).toBe(error)
    expect(client.held()).toEqual([])
  })

  test('of one owner and file waits for the answer to the one before; others do not', () => {
    const { client, lock } = stage()
    const first = lock()
    const second = lock({ range: { start: 20, end: 29 } })
    expect(second.effects).toEqual([])
    const other = lock({ owner: 2n })
    expect(call(other.effects).lock.svid).not.toBe(call(first.effects).lock.svid)
    expect(brief(call(client.answered(call(first.effects).cookie, NLM4_GRANTED)))).toBe('LOCK X20-29')
  })

  test('whose call failed is given back, in case the server has granted it', () => {
    const { client, lock } = stage()
    const { id, effects } = lock()
    const after = client.failed(call(effects).cookie, 'ETIMEDOUT')
    expect(after).toContainEqual({ type: 'done', id, error: 'ETIMEDOUT' })
    expect(brief(call(after))).toBe('UNLOCK S0-9')
    expect(client.failed(call(after).cookie, 'ETIMEDOUT')).toEqual([])
  })
})

describe('waiting', () => {
  test('ends with the callback, which may overtake the answer', () => {
    for (const early of [false, true]) {
      const { client, lock } = stage()
      const { id, effects } = lock({ wait: true })
      const asked = call(effects)
      expect(brief(asked)).toBe('LOCK X0-9 block')
      if (!early) {
        expect(client.answered(asked.cookie, NLM4_BLOCKED)).toEqual([])
        expect(client.waiting()).toMatchObject([{ id, state: 'blocked' }])
      }
      expect(client.granted(asked.lock)).toEqual({ accepted: true, effects: [{ type: 'done', id }] })
      if (early) expect(client.answered(asked.cookie, NLM4_BLOCKED)).toEqual([])
      expect(heldBy(client)).toEqual(['1X0-9'])
      // Our answer got lost, and the server calls again.
      expect(client.granted(asked.lock)).toEqual({ accepted: true, effects: [] })
      expect(client.deadlineMs()).toBeUndefined()
    }
  })

  test('a callback that nobody waits for is undone, in order; of an owner that is gone it is refused', () => {
    const { client, lock } = stage()
    const { effects } = lock()
    const asked = call(effects)
    expect(client.granted({ ...asked.lock, exclusive: false })).toEqual({ accepted: true, effects: [] })
    expect(brief(call(client.answered(asked.cookie, NLM4_GRANTED)))).toBe('LOCK X0-9')
    expect(client.granted({ ...asked.lock, svid: 99 })).toEqual({ accepted: false, effects: [] })
  })

  test('is asked again now and then: callbacks get lost', () => {
    const { clock, client, lock } = stage()
    const { id, effects } = lock({ wait: true })
    client.answered(call(effects).cookie, NLM4_BLOCKED)
    expect(client.deadlineMs()).toBe(clock.ms + 30_000)
    expect(client.tick()).toEqual([])
    clock.ms += 30_000
    const again = call(client.tick())
    expect(brief(again)).toBe('LOCK X0-9 block')
    expect(client.answered(again.cookie, NLM4_GRANTED)).toEqual([{ type: 'done', id }])
  })

  test('works with a server that lets nobody wait', () => {
    const { clock, client, lock } = stage()
    const { id, effects } = lock({ wait: true })
    expect(client.answered(call(effects).cookie, NLM4_DENIED)).toEqual([])
    // There is nothing to cancel.
    expect(client.interrupt(id)).toEqual([{ type: 'done', id, error: 'EINTR' }])
    expect(clock.ms).toBe(1000)
    expect(client.deadlineMs()).toBeUndefined()
  })

  test('does not keep the same owner from unlocking', () => {
    const { client, lock, hold } = stage()
    hold({ range: { start: 20, end: 29 } })
    client.answered(call(lock({ wait: true }).effects).cookie, NLM4_BLOCKED)
    expect(brief(call(client.unlock(FILE, 1n, { start: 20, end: 29 }).effects))).toBe('UNLOCK S20-29')
  })
})

describe('an interrupt', () => {
  const blocked = () => {
    const { client, lock, hold } = stage()
    hold({ exclusive: false, range: { start: 5, end: 9 } })
    const { id, effects } = lock({ wait: true })
    client.answered(call(effects).cookie, NLM4_BLOCKED)
    const after = client.interrupt(id)
    expect(after[0]).toEqual({ type: 'done', id, error: 'EINTR' })
    expect(brief(call(after))).toBe('CANCEL X0-9 block')
    return { client, cancel: call(after) }
  }

  test('takes a waiting request back', () => {
    const { client, cancel } = blocked()
    expect(client.answered(cancel.cookie, NLM4_GRANTED)).toEqual([])
    expect(heldBy(client)).toEqual(['1S5-9'])
  })

  test('that comes too late leaves what was held before', () => {
    for (const how of ['denied', 'callback'] as const) {
      const { client, cancel } = blocked()
      if (how === 'callback') expect(client.granted(cancel.lock)).toEqual({ accepted: true, effects: [] })
      const unlock = client.answered(cancel.cookie, how === 'denied' ? NLM4_DENIED : NLM4_GRANTED)
      expect(brief(call(unlock))).toBe('UNLOCK S0-4')
      const downgrade = client.answered(call(unlock).cookie, NLM4_GRANTED)
      expect(brief(call(downgrade))).toBe('LOCK S5-9')
      expect(client.answered(call(downgrade).cookie, NLM4_GRANTED)).toEqual([])
      expect(heldBy(client)).toEqual(['1S5-9'])
    }
  })

  test('while the server does not answer is done at once; the answer is undone', () => {
    for (const [status, undo] of [
      [NLM4_GRANTED, 'UNLOCK S0-9'],
      [NLM4_BLOCKED, 'CANCEL X0-9 block'],
    ] as const) {
      const { client, lock } = stage()
      const { id, effects } = lock({ wait: true })
      expect(client.interrupt(id)).toEqual([{ type: 'done', id, error: 'EINTR' }])
      expect(client.interrupt(id)).toEqual([])
      expect(client.waiting()).toEqual([])
      expect(brief(call(client.answered(call(effects).cookie, status)))).toBe(undo)
    }
  })

  test('of what has not been sent leaves no trace', () => {
    const { client, lock } = stage()
    const first = lock()
    const second = lock({ range: { start: 20, end: 29 } })
    expect(client.interrupt(second.id)).toEqual([{ type: 'done', id: second.id, error: 'EINTR' }])
    expect(client.answered(call(first.effects).cookie, NLM4_DENIED)).toHaveLength(1)
  })
})

describe('a server that restarts', () => {
  test('is asked again when its grace period is over', () => {
    const { clock, client, lock } = stage()
    const { id, effects } = lock()
    expect(client.answered(call(effects).cookie, NLM4_DENIED_GRACE_PERIOD)).toEqual([])
    expect(client.waiting()).toMatchObject([{ id, state: 'grace' }])
    expect(client.deadlineMs()).toBe(clock.ms + 5000)
    clock.ms += 5000
    const again = call(client.tick())
    expect(client.answered(again.cookie, NLM4_GRANTED)).toEqual([{ type: 'done', id }])
  })

  test('gets back what was held, then what waits', () => {
    const { client, lock, hold } = stage()
    hold({ range: { start: 20, end: 29 } })
    hold({ range: { start: 40, end: 49 }, exclusive: false })
    client.answered(call(lock({ wait: true }).effects).cookie, NLM4_BLOCKED)
    const reclaims = client.serverRestarted(3).flatMap((effect) => (effect.type === 'call' ? [effect.call] : []))
    expect(reclaims.map(brief)).toEqual(['LOCK X20-29 reclaim', 'LOCK S40-49 reclaim'])
    expect(client.serverRestarted(3)).toEqual([])
    const [first, second] = reclaims.map(({ cookie }) => cookie)
    expect(client.answered(first ?? 0, NLM4_GRANTED)).toEqual([])
    const after = client.answered(second ?? 0, NLM4_DENIED)
    const lost = { file: FILE, owner: 1n, start: 40, end: 49, exclusive: false }
    expect(after).toContainEqual({ type: 'lost', lock: lost })
    expect(brief(call(after))).toBe('LOCK X0-9 block')
    expect(heldBy(client)).toEqual(['1X20-29'])
  })

  test('is not believed what it said before', () => {
    const { client, lock } = stage()
    const { id, effects } = lock()
    expect(client.serverRestarted(3)).toEqual([])
    const again = client.answered(call(effects).cookie, NLM4_GRANTED)
    expect(brief(call(again))).toBe('LOCK X0-9')
    expect(client.answered(call(again).cookie, NLM4_GRANTED)).toEqual([{ type: 'done', id }])
  })

  test('need not be told of locks that were being given back', () => {
    const { client, hold } = stage()
    hold()
    const { id, effects } = client.release(FILE, 1n)
    expect(client.serverRestarted(3)).toEqual([])
    expect(client.answered(call(effects).cookie, NLM4_DENIED_GRACE_PERIOD)).toEqual([{ type: 'done', id }])
    expect(client.held()).toEqual([])
  })
})

test(`owners exclude each other whatever happens, and nobody waits for ever (seed ${seed()})`, () => {
  const total = { granted: 0, denied: 0, deadlocks: 0, interrupted: 0, restarts: 0 }
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 2 ** 31 }), (from) => {
      const world = new World(random(from))
      for (let step = 0; step < 400; step++) world.step()
      world.settle()
      for (const key of Object.keys(total) as (keyof typeof total)[]) total[key] += world.counts[key]
    }),
    { seed: seed(), numRuns: 300 },
  )
  expect(Math.min(...Object.values(total))).toBeGreaterThan(30)
})
