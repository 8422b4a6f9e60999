import assert from 'node:assert/strict'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ABSENT, NameCache } from '../../../../src/modes/nfs/name-cache.ts'
import type { LookupCaching } from '../../../../src/modes/nfs/options.ts'
import { type Attributes, EPOCH } from '../../../../src/posix/attributes.ts'
import { S_IFDIR } from '../../../../src/posix/mode.ts'
import { AttributeCache } from '../../../../src/vfs/attribute-cache.ts'
import { random, seed } from '../../../support/random.ts'

const DIR = 3
const TIMEOUTS = { file: { minMs: 3000, maxMs: 60_000 }, directory: { minMs: 30_000, maxMs: 60_000 } }

function version(n: number): Attributes {
  const time = { sec: n, nsec: 0 }
  const fixed = { ino: DIR, nlink: 2, uid: 0, gid: 0, rdev: 0, blocks: 8, blockSize: 4096, atime: EPOCH, btime: EPOCH }
  return { ...fixed, mode: S_IFDIR | 0o755, size: 4096, mtime: time, ctime: time }
}

function stage(caching: LookupCaching = 'all', maxNames = 1000) {
  const clock = { ms: 0 }
  const attributes = new AttributeCache({ timeouts: TIMEOUTS, now: () => clock.ms, maxNodes: 16 })
  const names = new NameCache({ caching, maxNames })
  /** The directory was asked for. */
  const see = (n: number, directory = DIR) =>
    names.update(attributes.update(directory, version(n), attributes.request()))
  /** A LOOKUP was answered. */
  const found = (name: string, node: number, n: number, request = attributes.request(), directory = DIR) => {
    names.update(attributes.update(directory, version(n), request))
    names.learn(directory, name, { node, directory: version(n), request })
  }
  const lookup = (name: string, directory = DIR) => names.lookup(directory, name, attributes.get(directory))
  /** A CREATE or REMOVE of our own was answered. */
  const change = (name: string, node: number, before: number, after: number) => {
    const own = attributes.beginChange(DIR)
    const dropped = names.update(attributes.endChange(own, { before: version(before), after: version(after) }))
    names.changed(DIR, name, { node, after: version(after), order: attributes.lastOrder })
    return dropped
  }
  return { clock, attributes, names, see, found, lookup, change }
}

describe('names', () => {
  test('are believed while the directory is', () => {
    const { clock, see, found, lookup } = stage()
    expect(lookup('a')).toEqual({ type: 'unknown' })
    found('a', 11, 1)
    found('b', ABSENT, 1)
    expect([lookup('a'), lookup('b'), lookup('c')]).toEqual([
      { type: 'node', node: 11 },
      { type: 'absent' },
      { type: 'unknown' },
    ])
    clock.ms += 30_000
    expect(lookup('a').type).toBe('unknown')
    // One GETATTR of the directory, and all its names are good again.
    expect(see(1)).toEqual([])
    expect([lookup('a').type, lookup('b').type]).toEqual(['node', 'absent'])
  })

  test('go when somebody else changed the directory, and the kernel is to be told which', () => {
    const { see, found, lookup } = stage()
    found('a', 11, 1)
    found('b', ABSENT, 1)
    expect(see(2)).toEqual(['a', 'b'])
    expect([lookup('a').type, lookup('b').type]).toEqual(['unknown', 'unknown'])
  })

  test('stay right through changes of our own', () => {
    const { found, lookup, change } = stage()
    found('a', 11, 1)
    found('b', ABSENT, 1)
    expect(change('b', 12, 1, 2)).toEqual([])
    expect(change('a', ABSENT, 2, 3)).toEqual([])
    expect([lookup('a'), lookup('b')]).toEqual([{ type: 'absent' }, { type: 'node', node: 12 }])
  })

  test('go when somebody else changed the directory before we did', () => {
    const { found, lookup, change } = stage()
    found('a', 11, 1)
    expect(change('b', 12, 5, 6)).toEqual(['a'])
    expect([lookup('a').type, lookup('b').type]).toEqual(['unknown', 'node'])
  })

  test('an answer that is older than what we did ourselves is not learnt, even within one tick of the clock', () => {
    const { attributes, names, found, lookup, change } = stage()
    found('a', ABSENT, 1)
    const slow = attributes.request()
    change('a', 11, 1, 1)
    names.learn(DIR, 'a', { node: ABSENT, directory: version(1), request: slow })
    expect(lookup('a')).toEqual({ type: 'node', node: 11 })
    found('a', ABSENT, 1)
    expect(lookup('a')).toEqual({ type: 'absent' })
  })

  test('an answer without the directory’s attributes, or with older ones, is not learnt', () => {
    const { attributes, names, see, lookup } = stage()
    const request = attributes.request()
    see(2)
    names.learn(DIR, 'a', { node: 11, directory: undefined, request })
    names.learn(DIR, 'a', { node: 11, directory: version(1), request })
    expect(lookup('a').type).toBe('unknown')
  })

  test('one that turned out to be stale can be dropped by itself, a directory as a whole', () => {
    const { names, found, lookup } = stage()
    found('a', 11, 1)
    found('b', 12, 1)
    names.drop(DIR, 'a')
    expect([lookup('a').type, lookup('b').type]).toEqual(['unknown', 'node'])
    names.forget(DIR)
    expect(lookup('b').type).toBe('unknown')
    expect(names.size).toBe(0)
  })
})

test.each([
  ['all', 'node', 'absent', { present: 500, absent: 500 }],
  ['positive', 'node', 'unknown', { present: 500, absent: 0 }],
  ['none', 'unknown', 'unknown', { present: 0, absent: 0 }],
] as const)('lookupcache=%s', (caching, present, absent, ttl) => {
  const { names, found, lookup } = stage(caching)
  found('a', 11, 1)
  found('b', ABSENT, 1)
  expect([lookup('a').type, lookup('b').type]).toEqual([present, absent])
  expect(names.ttlMs(500)).toEqual(ttl)
})

test('remembers so many names and no more: directories not used for long go first', () => {
  const { names, found, lookup } = stage('all', 10)
  for (let n = 0; n < 3; n++) found(`x${n}`, 10 + n, 1, undefined, 1)
  for (let n = 0; n < 3; n++) found(`y${n}`, 20 + n, 1, undefined, 2)
  expect(names.size).toBe(8)
  lookup('x0', 1)
  for (let n = 0; n < 3; n++) found(`z${n}`, 30 + n, 1, undefined, 4)
  expect(names.size).toBeLessThanOrEqual(10)
  expect([lookup('x0', 1).type, lookup('y0', 2).type, lookup('z0', 4).type]).toEqual(['node', 'unknown', 'node'])
  for (let n = 0; n < 50; n++) found(`w${n}`, 40 + n, 1, undefined, 5)
  expect(names.size).toBeLessThanOrEqual(10)
  expect(lookup('w0', 5).type).toBe('node')
})

// Two clients change one directory; ours has several requests under way, answered in any order. Whenever the cache
// answers from names, the answer must be what the server had at the version that the cache shows.
test(`never contradicts the directory that it knows (seed ${seed()})`, () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 2 ** 31 }), (from) => {
      const next = random(from)
      const { attributes, names } = stage()
      const NAMES = ['a', 'b', 'c']
      /** The directory at each version. */
      const versions = [new Map<string, number>()]
      const present = () => versions.length - 1
      let lastNode = 100
      const mutate = (): { name: string; node: number } => {
        const name = NAMES[Math.floor(next() * NAMES.length)] as string
        const after = new Map(versions.at(-1))
        const node = after.has(name) ? ABSENT : ++lastNode
        if (node === ABSENT) after.delete(name)
        else after.set(name, node)
        versions.push(after)
        return { name, node }
      }
      const sent: (() => () => void)[] = []
      const answers: (() => void)[] = []
      names.update(attributes.update(DIR, version(0), attributes.request()))
      for (let step = 0; step < 120; step++) {
        const draw = next()
        if (draw < 0.1) mutate()
        else if (draw < 0.25) {
          const own = attributes.beginChange(DIR)
          sent.push(() => {
            const before = version(present())
            const { name, node } = mutate()
            const after = version(present())
            return () => {
              names.update(attributes.endChange(own, { before, after }))
              names.changed(DIR, name, { node, after, order: attributes.lastOrder })
            }
          })
        } else if (draw < 0.45) {
          const request = attributes.request()
          const name = NAMES[Math.floor(next() * NAMES.length)] as string
          sent.push(() => {
            const node = versions.at(-1)?.get(name) ?? ABSENT
            const directory = version(present())
            return () => {
              names.update(attributes.update(DIR, directory, request))
              names.learn(DIR, name, { node, directory, request })
            }
          })
        } else if (draw < 0.7) {
          const [execute] = sent.splice(Math.floor(next() * sent.length), 1)
          if (execute !== undefined) answers.push(execute())
        } else {
          const [answer] = answers.splice(Math.floor(next() * answers.length), 1)
          answer?.()
        }
        const known = attributes.get(DIR)
        for (const name of NAMES) {
          const answer = names.lookup(DIR, name, known)
          const truth = versions[known?.ctime.sec ?? 0]?.get(name) ?? ABSENT
          if (answer.type === 'node') assert.equal(answer.node, truth)
          if (answer.type === 'absent') assert.equal(truth, ABSENT)
        }
      }
    }),
    { seed: seed(), numRuns: 500 },
  )
})
