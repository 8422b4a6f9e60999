import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Pending, PendingCalls } from '../../../../src/rpc/ws/pending-calls.ts'

const call = (id: number, idempotent = true, repeatable = true): Pending => ({
  ...{ id, idempotent, repeatable, transmissions: 0, answered: false, abandoned: false },
})
const ids = (calls: Iterable<Pending>) => [...calls].map(({ id }) => id)

describe('pending calls', () => {
  it('are sent in their order, as many as the other side takes', () => {
    const pending = new PendingCalls(2)
    for (const id of [1, 2, 3]) pending.add(call(id))
    expect([pending.next()?.id, pending.next()?.id, pending.next()]).toEqual([1, 2, undefined])
    pending.finish(1)
    expect(pending.next()?.id).toBe(3)
    expect(pending.floor(4)).toBe(2)
  })

  it('count until the other side is done with them, also when nobody waits any more', () => {
    const pending = new PendingCalls(1)
    const [first, second] = [call(1), call(2)]
    pending.add(first)
    pending.add(second)
    pending.next()
    expect(pending.abandon(second)).toBe(false)
    expect(pending.abandon(first)).toBe(true)
    expect(ids(pending)).toEqual([])
    pending.add(call(3))
    expect(pending.next()).toBeUndefined()
    pending.finish(1)
    expect(pending.next()?.id).toBe(3)
  })

  it('are sent again, before all others, if that does no harm', () => {
    const pending = new PendingCalls(10)
    const [answered, once, stream, unsent] = [call(1), call(2, false), call(3, true, false), call(4, false)]
    for (const each of [answered, once, stream]) pending.add(each)
    while (pending.next() !== undefined);
    answered.answered = true
    pending.add(unsent)
    expect(ids(pending.lost(true))).toEqual([1, 3])
    expect(ids(pending.resumed(true))).toEqual([])
    expect(ids(pending)).toEqual([2, 4])
    expect(ids(pending.resumed(false))).toEqual([2])
    expect(pending.next()?.id).toBe(4)
    expect(pending.next()).toBeUndefined()
  })

  it('are over one way or the other, none twice and none forgotten', () => {
    const steps = fc.array(
      fc.record({
        what: fc.constantFrom('add', 'send', 'send', 'finish', 'abandon', 'lose'),
        which: fc.nat(50),
        idempotent: fc.boolean(),
        remembered: fc.boolean(),
      }),
      { maxLength: 100 },
    )
    fc.assert(
      fc.property(steps, fc.integer({ min: 1, max: 5 }), (list, limit) => {
        const pending = new PendingCalls(limit)
        const open = new Map<number, Pending>()
        let next = 1
        let last = 0
        for (const { what, which, idempotent, remembered } of list) {
          const chosen = [...open.values()][which % Math.max(1, open.size)]
          if (what === 'add') {
            const added = call(next++, idempotent)
            open.set(added.id, added)
            pending.add(added)
          } else if (what === 'send') {
            const sent = pending.next()
            if (sent === undefined) continue
            // In the order of their ids, so that the other side knows new ones by it.
            expect(sent.id).toBeGreaterThan(last)
            last = sent.id
          } else if (what === 'lose') {
            for (const { id } of [...pending.lost(true), ...pending.resumed(remembered)])
              expect(open.delete(id)).toBe(true)
            last = 0
          } else if (chosen === undefined) continue
          else if (what === 'abandon') {
            pending.abandon(chosen)
            open.delete(chosen.id)
          } else if (pending.get(chosen.id) !== undefined) {
            pending.finish(chosen.id)
            open.delete(chosen.id)
          }
          expect(ids(pending).sort()).toEqual([...open.keys()].sort())
          expect(pending.inFlight).toBeLessThanOrEqual(limit)
          expect(pending.floor(next)).toBeLessThanOrEqual(Math.min(next, ...open.keys()))
        }
      }),
    )
  })
})
