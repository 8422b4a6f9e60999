import assert from 'node:assert/strict'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Attributes } from '../../../src/posix/attributes.ts'
import { EPOCH } from '../../../src/posix/attributes.ts'
import { S_IFDIR, S_IFREG } from '../../../src/posix/mode.ts'
import { AttributeCache, type AttributeUpdate, type OwnChange } from '../../../src/vfs/attribute-cache.ts'
import { changeAttributes } from '../../../src/vfs/change-attributes.ts'
import { random, seed } from '../../support/random.ts'

const NODE = 7
const TIMEOUTS = { file: { minMs: 3000, maxMs: 60_000 }, directory: { minMs: 30_000, maxMs: 60_000 } }
const NEVER = { file: { minMs: 0, maxMs: 0 }, directory: { minMs: 0, maxMs: 0 } }

/** Version `n` of a file: everything that changes is `n`. */
function version(n: number, mode = S_IFREG | 0o644): Attributes {
  const time = { sec: 1000 + n, nsec: 0 }
  const fixed = { ino: 42, nlink: 1, uid: 0, gid: 0, rdev: 0, blocks: 8, blockSize: 4096, atime: EPOCH, btime: EPOCH }
  return { ...fixed, mode, size: n, mtime: time, ctime: time }
}

function stage(timeouts = TIMEOUTS, maxNodes = 16) {
  const clock = { ms: 1_000_000 }
  const cache = new AttributeCache({ timeouts, now: () => clock.ms, maxNodes })
  /** Asks and is answered at once. */
  const ask = (attributes: Attributes, node = NODE) => cache.update(node, attributes, cache.request())
  const change = (before: number, after: number) =>
    cache.endChange(cache.beginChange(NODE), { before: version(before), after: version(after) })
  return { clock, cache, ask, change }
}

describe('a node that this client renamed', () => {
  const moved = (n: number, ctime: number) => ({ ...version(n), ctime: version(ctime).ctime })

  test('is asked for; if only its ctime has moved, caches of its content are right', () => {
    const { cache, ask } = stage()
    ask(version(1))
    cache.renamed(NODE, 'it was renamed')
    expect(cache.get(NODE)).toBeUndefined()
    const [from, to] = [changeAttributes(version(1)), changeAttributes(moved(1, 2))]
    expect(ask(moved(1, 2))).toMatchObject({ change: 'own', from, to })
    expect(cache.get(NODE)).toEqual(moved(1, 2))
    // Once: another move of the ctime is somebody else's.
    expect(ask(moved(1, 3)).change).toBe('foreign')
  })

  test('may have been changed by somebody else as well', () => {
    const { cache, ask } = stage()
    ask(version(1))
    cache.renamed(NODE, 'it was renamed')
    expect(ask(version(3)).change).toBe('foreign')
  })

  test('is not told by an answer to what was asked before', () => {
    const { cache, ask } = stage()
    ask(version(1))
    const before = cache.request()
    cache.renamed(NODE, 'it was renamed')
    expect(cache.update(NODE, version(1), before).change).toBe('none')
    expect(cache.get(NODE)).toBeUndefined()
    expect(ask(moved(1, 2)).change).toBe('own')
  })
})

describe('how long attributes are believed', () => {
  test('starts at the minimum, doubles when nothing changed, and falls back on a change', () => {
    const { clock, cache, ask } = stage()
    ask(version(1))
    for (const timeoutMs of [3000, 6000, 12_000, 24_000, 48_000, 60_000, 60_000]) {
      expect(cache.ttlMs(NODE)).toBe(timeoutMs)
      clock.ms += timeoutMs - 1
      expect(cache.get(NODE)).toEqual(version(1))
      clock.ms += 1
      expect(cache.get(NODE)).toBeUndefined()
      expect(ask(version(1)).change).toBe('none')
    }
    expect(ask(version(2)).change).toBe('foreign')
    expect(cache.ttlMs(NODE)).toBe(3000)
  })

  test('does not grow by asking often', () => {
    const { clock, cache, ask } = stage()
    ask(version(1))
    for (let n = 0; n < 10; n++) {
      clock.ms += 1000
      ask(version(1))
    }
    expect(cache.ttlMs(NODE)).toBe(3000)
  })

  test('is longer for directories', () => {
    const { cache, ask } = stage()
    ask(version(1, S_IFDIR | 0o755))
    expect(cache.ttlMs(NODE)).toBe(30_000)
  })

  test('counts from when the request was sent', () => {
    const { clock, cache } = stage()
    const request = cache.request()
    clock.ms += 2000
    cache.update(NODE, version(1), request)
    expect(cache.ttlMs(NODE)).toBe(1000)
  })

  test('is nothing with noac, but what was seen is known', () => {
    const { cache, ask } = stage(NEVER)
    ask(version(1))
    ask(version(1))
    expect(cache.get(NODE)).toBeUndefined()
    expect(cache.known(NODE)?.attributes).toEqual(version(1))
  })
})

describe('answers out of order', () => {
  test('an older answer to an earlier request is not adopted', () => {
    const { cache } = stage()
    const early = cache.request()
    cache.update(NODE, version(2), cache.request())
    expect(cache.update(NODE, version(1), early)).toEqual({ node: NODE, adopted: false, change: 'none' })
    expect(cache.get(NODE)).toEqual(version(2))
  })

  test('a newer answer to an earlier request is', () => {
    const { cache } = stage()
    const early = cache.request()
    cache.update(NODE, version(1), cache.request())
    expect(cache.update(NODE, version(2), early)).toMatchObject({ adopted: true, change: 'foreign' })
  })

  test('a clock that was set back is believed of requests that were sent later', () => {
    const { ask } = stage()
    ask(version(2))
    expect(ask(version(1))).toMatchObject({ adopted: true, change: 'foreign' })
  })

  test('what contradicts itself within one tick is asked again', () => {
    const { cache } = stage()
    const early = cache.request()
    cache.update(NODE, version(2), cache.request())
    expect(cache.update(NODE, { ...version(2), size: 1 }, early).adopted).toBe(false)
    expect(cache.get(NODE)).toBeUndefined()
    expect(cache.facts(NODE)?.why).toMatch(/contradict/)
  })

  test('an answer that was under way does not undo an expiry', () => {
    const { cache, ask } = stage()
    ask(version(1))
    const early = cache.request()
    cache.expire(NODE, 'a test says so')
    cache.update(NODE, version(1), early)
    expect(cache.get(NODE)).toBeUndefined()
    ask(version(1))
    expect(cache.get(NODE)).toEqual(version(1))
  })
})

describe('weak cache consistency', () => {
  test('a change of our own carries on what we have', () => {
    const { cache, ask, change } = stage()
    ask(version(1))
    const [from, to] = [changeAttributes(version(1)), changeAttributes(version(2))]
    expect(change(1, 2)).toEqual({ node: NODE, adopted: true, change: 'own', from, to })
    expect(cache.known(NODE)).toMatchObject({ explained: to, pending: false })
    expect(ask(version(2)).change).toBe('none')
  })

  test('if somebody else was there before it, it does not', () => {
    const { clock, cache, ask, change } = stage()
    ask(version(1))
    clock.ms += 3000
    ask(version(1))
    expect(cache.ttlMs(NODE)).toBe(6000)
    expect(change(2, 3)).toMatchObject({ adopted: true, change: 'foreign' })
    expect(cache.ttlMs(NODE)).toBe(3000)
  })

  test('answers to several changes may come in any order', () => {
    const { cache, ask } = stage()
    ask(version(1))
    const changes = [0, 1, 2].map(() => cache.beginChange(NODE))
    const end = (index: number) =>
      cache.endChange(changes[index] as OwnChange, { before: version(index + 1), after: version(index + 2) })
    expect(end(2)).toMatchObject({ adopted: true, change: 'pending' })
    expect(cache.known(NODE)).toMatchObject({ attributes: version(4), explained: changeAttributes(version(1)) })
    expect(end(0)).toMatchObject({ adopted: false, change: 'pending' })
    expect(end(1)).toMatchObject({ change: 'own', from: changeAttributes(version(2)) })
    expect(cache.known(NODE)).toMatchObject({ explained: changeAttributes(version(4)), pending: false })
  })

  test('a look in the middle of our own changes is explained by them', () => {
    const { cache, ask } = stage()
    ask(version(1))
    const own = cache.beginChange(NODE)
    expect(ask(version(2)).change).toBe('pending')
    expect(cache.endChange(own, { before: version(1), after: version(2) }).change).toBe('own')
  })

  test('a look that they do not explain tells of somebody else, at the latest when they are answered', () => {
    const { cache, ask } = stage()
    ask(version(1))
    const own = cache.beginChange(NODE)
    expect(ask(version(5)).change).toBe('pending')
    expect(cache.endChange(own, { before: version(1), after: version(2) })).toMatchObject({ change: 'foreign' })
    expect(cache.known(NODE)?.explained).toEqual(changeAttributes(version(5)))
  })

  test('what came later is not waited for', () => {
    const { cache, ask } = stage()
    ask(version(1))
    const first = cache.beginChange(NODE)
    ask(version(5))
    cache.beginChange(NODE)
    expect(cache.endChange(first, {}).change).toBe('foreign')
  })

  test('an answer without attributes, or none, makes them unbelieved', () => {
    const { cache, ask } = stage()
    ask(version(1))
    expect(cache.endChange(cache.beginChange(NODE), {})).toMatchObject({ adopted: false, change: 'none' })
    expect(cache.get(NODE)).toBeUndefined()
    expect(cache.facts(NODE)).toMatchObject({ believed: false, why: expect.stringMatching(/without attributes/) })
    // The change may have happened: what the server says now cannot be told from a change by somebody else.
    expect(ask(version(2)).change).toBe('foreign')
  })

  test('a server that does not say what was before leaves it open', () => {
    const { cache, ask } = stage()
    ask(version(1))
    expect(cache.endChange(cache.beginChange(NODE), { after: version(2) }).change).toBe('foreign')
    expect(cache.endChange(cache.beginChange(NODE), { after: version(2) }).change).toBe('none')
  })

  test('a change of a node that was not known makes it known', () => {
    const { cache, change } = stage()
    expect(change(1, 2)).toMatchObject({ change: 'first', adopted: true })
    const own = cache.beginChange(NODE)
    cache.forget(NODE)
    expect(cache.endChange(own, { before: version(2), after: version(3) }).change).toBe('first')
  })
})

test('tells why attributes may be stale, and until when', () => {
  const { clock, cache, ask } = stage()
  expect(cache.facts(NODE)).toBeUndefined()
  ask(version(1))
  expect(cache.facts(NODE)).toEqual({
    validatedAtMs: clock.ms,
    validUntilMs: clock.ms + 3000,
    timeoutMs: 3000,
    seen: changeAttributes(version(1)),
    believed: true,
    why: 'believed for 3 s since the server was asked: what others change is not seen before',
  })
  clock.ms += 3000
  expect(cache.facts(NODE)).toMatchObject({ believed: false, why: expect.stringMatching(/timeout of 3 s is over/) })
})

test('remembers so many nodes and no more', () => {
  const { cache, ask } = stage(TIMEOUTS, 10)
  for (let node = 1; node <= 100; node++) ask(version(1), node)
  expect(cache.size).toBe(10)
  expect(cache.get(100)).toBeDefined()
  expect(cache.get(1)).toBeUndefined()
})

// A server that executes requests in any order and answers in any order; every change makes a new version. Two things
// must hold: the known version never goes back, and a cache that follows the verdicts is right whenever it says so.
test(`follows a server through any order of answers (seed ${seed()})`, () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 2 ** 31 }), (from) => {
      const next = random(from)
      const { cache } = stage()
      let present = 1
      const foreign = new Set<number>()
      const sent: { own: OwnChange | undefined; request: ReturnType<AttributeCache['request']> }[] = []
      const answers: (() => AttributeUpdate)[] = []
      /** The version up to which what the caches hold is right. */
      let filled = 0
      let known = 0
      const check = (update: AttributeUpdate) => {
        const now = cache.known(NODE)?.attributes.size ?? 0
        assert(now >= known, `version ${now} after ${known}`)
        known = now
        const foreignSince = [...foreign].some((n) => n > filled && n <= known)
        if (update.change === 'foreign') assert(foreignSince, 'nobody else was there')
        if (update.change === 'first' || update.change === 'foreign') filled = update.to?.size ?? 0
        else if (update.change !== 'pending') assert(!foreignSince, 'somebody else was not noticed')
        assert(cache.known(NODE)?.pending === (update.change === 'pending'))
      }
      check(cache.update(NODE, version(present), cache.request()))
      for (let step = 0; step < 80; step++) {
        const draw = next()
        if (draw < 0.25) sent.push({ own: cache.beginChange(NODE), request: cache.request() })
        else if (draw < 0.35) sent.push({ own: undefined, request: cache.request() })
        else if (draw < 0.4) foreign.add(++present)
        else if (draw < 0.7) {
          const [execute] = sent.splice(Math.floor(next() * sent.length), 1)
          if (execute === undefined) continue
          const { own, request } = execute
          const before = version(present)
          const after = own === undefined ? before : version(++present)
          answers.push(() =>
            own === undefined ? cache.update(NODE, after, request) : cache.endChange(own, { before, after }),
          )
        } else {
          const [answer] = answers.splice(Math.floor(next() * answers.length), 1)
          if (answer !== undefined) check(answer())
        }
      }
    }),
    { seed: seed(), numRuns: 1000 },
  )
})
