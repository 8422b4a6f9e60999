import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { DuplicateCache, RepeatableCall } from '../../../src/rpc/onc/duplicate-cache.ts'

const peer = { address: '127.0.0.1', port: 700 }
const procedure = { program: 1, version: 2, procedure: 3 }
/** A call as it comes, each time anew. */
const call = (xid: number, args = 'args') => new RepeatableCall(peer, xid, procedure, Buffer.from(args))
const answer = (text: string) => [Buffer.from(text)]

/** Executes and answers a call. */
function execute(cache: DuplicateCache, xid: number, answers: readonly Buffer[]): void {
  const one = call(xid)
  expect(cache.begin(one)).toBeUndefined()
  cache.done(one, answers)
}

describe('the duplicate request cache', () => {
  it('lets a call through once, drops it while it is in progress, and answers it when it is done', () => {
    const cache = new DuplicateCache()
    const first = call(1)
    expect(cache.begin(first)).toBeUndefined()
    expect(cache.begin(call(1))).toBe(first)
    expect(first.answer).toBeUndefined()
    expect(cache.begin(call(2))).toBeUndefined()
    cache.done(first, answer('removed'))
    expect(String(cache.begin(call(1))?.answer)).toBe('removed')
    expect(cache.begin(call(2))?.answer).toBeUndefined()
  })

  it('lets a call through again that was not executed', () => {
    const cache = new DuplicateCache()
    const first = call(1)
    cache.begin(first)
    cache.forget(first)
    expect(cache.begin(call(1))).toBeUndefined()
  })

  it('forgets the oldest answers beyond its limits', () => {
    const cache = new DuplicateCache({ entries: 2 })
    for (const xid of [1, 2, 3]) execute(cache, xid, answer(`${xid}`))
    expect(cache.begin(call(1))).toBeUndefined()
    expect(String(cache.begin(call(3))?.answer)).toBe('3')
  })

  it('keeps calls apart that have one hash, whichever of them is forgotten first', () => {
    for (const order of [
      [0, 1, 2],
      [1, 2, 0],
      [2, 1, 0],
    ]) {
      const cache = new DuplicateCache()
      const calls = [700, 701, 702].map(
        (port) => new RepeatableCall({ ...peer, port }, 1, procedure, Buffer.from('args')),
      )
      expect(new Set(calls.map(({ hash }) => hash)).size).toBe(1)
      for (const one of calls) expect(cache.begin(one)).toBeUndefined()
      const left = new Set(calls)
      for (const at of order) {
        const gone = calls[at] as RepeatableCall
        cache.forget(gone)
        left.delete(gone)
        for (const one of left) expect(cache.begin(one)).toBe(one)
      }
      expect(cache.begin(calls[0] as RepeatableCall)).toBeUndefined()
    }
  })

  it('never exceeds its limits', () => {
    const calls = fc.array(fc.record({ xid: fc.nat(20), bytes: fc.nat(2000) }))
    fc.assert(
      fc.property(calls, (list) => {
        const cache = new DuplicateCache({ entries: 5, bytes: 4000 })
        for (const { xid, bytes } of list) {
          const one = call(xid)
          if (cache.begin(one) === undefined) cache.done(one, [Buffer.alloc(bytes)])
          expect(cache.entries).toBeLessThanOrEqual(5)
          expect(cache.bytes).toBeLessThanOrEqual(4000)
        }
      }),
    )
  })

  it('tells calls apart by sender, transaction, program, procedure and arguments', () => {
    const of = (from: typeof peer, xid: number, what: typeof procedure, args: string) =>
      new RepeatableCall(from, xid, what, Buffer.from(args))
    const calls = [
      of(peer, 9, procedure, 'args'),
      of({ ...peer, port: 701 }, 9, procedure, 'args'),
      of({ ...peer, address: '::1' }, 9, procedure, 'args'),
      of(peer, 10, procedure, 'args'),
      of(peer, 9, { ...procedure, procedure: 4 }, 'args'),
      of(peer, 9, { ...procedure, version: 3 }, 'args'),
      of(peer, 9, { ...procedure, program: 2 }, 'args'),
      of(peer, 9, procedure, 'argz'),
      of(peer, 9, procedure, ''),
    ]
    for (const one of calls) for (const other of calls) expect(one.equals(other)).toBe(one === other)
    expect(of({ ...peer }, 9, { ...procedure }, 'args').equals(calls[0] as RepeatableCall)).toBe(true)
  })
})
