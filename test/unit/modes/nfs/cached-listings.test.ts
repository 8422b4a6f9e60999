import assert from 'node:assert/strict'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { CachedListings } from '../../../../src/modes/nfs/cached-listings.ts'
import { type Attributes, EPOCH } from '../../../../src/posix/attributes.ts'
import { S_IFDIR } from '../../../../src/posix/mode.ts'
import { AttributeCache, type AttributeUpdate, type OwnChange } from '../../../../src/vfs/attribute-cache.ts'
import { random, seed } from '../../../support/random.ts'

const DIRECTORY = 3
const TIMEOUTS = { file: { minMs: 3000, maxMs: 60_000 }, directory: { minMs: 30_000, maxMs: 60_000 } }

function version(n: number): Attributes {
  const time = { sec: n, nsec: 0 }
  const fixed = { ino: 1, nlink: 2, uid: 0, gid: 0, rdev: 0, blocks: 8, blockSize: 4096, atime: EPOCH, btime: EPOCH }
  return { ...fixed, mode: S_IFDIR | 0o755, size: 4096, mtime: time, ctime: time }
}

function stage({ closeToOpen = true, enabled = true } = {}) {
  const clock = { now: 0 }
  const now = () => clock.now
  const attributes = new AttributeCache({ timeouts: TIMEOUTS, now })
  const listings = new CachedListings({ closeToOpen, enabled, now })
  const see = (n: number) => listings.update(attributes.update(DIRECTORY, version(n), attributes.request()))
  const open = (n: number) => {
    see(n)
    return listings.open(DIRECTORY, attributes.known(DIRECTORY)).keepCache
  }
  const answer = (n: number) => {
    const effect = see(n)
    listings.answered(DIRECTORY, version(n))
    return effect
  }
  /** A program lists the directory. */
  const list = (n: number) => {
    const kept = open(n)
    if (!kept) answer(n)
    listings.close(DIRECTORY)
    return kept
  }
  return { clock, attributes, listings, see, open, answer, list }
}

describe('at open', () => {
  test('names are kept if the directory is the one that was listed', () => {
    const { list } = stage()
    expect([list(1), list(1), list(1), list(2), list(2)]).toEqual([false, true, true, false, true])
  })

  test('the server is asked only if there is something to keep', () => {
    const asks = (closeToOpen: boolean) => {
      const { listings, list } = stage({ closeToOpen })
      const nothing = listings.mustAsk(DIRECTORY, false)
      list(1)
      list(1)
      return [nothing, listings.mustAsk(DIRECTORY, true), listings.mustAsk(DIRECTORY, false)]
    }
    expect(asks(true)).toEqual([false, true, true])
    expect(asks(false)).toEqual([false, false, true])
  })

  test('nothing is cached where attributes are never believed', () => {
    const { listings } = stage({ enabled: false })
    expect(listings.open(DIRECTORY, undefined)).toEqual({ cache: false, keepCache: false })
  })

  test('names are not kept if the directory changed while it was listed', () => {
    const { listings, open, answer, list } = stage()
    open(1)
    answer(1)
    expect(answer(2)).toBe('invalidate')
    listings.close(DIRECTORY)
    expect(list(2)).toBe(false)
    expect(list(2)).toBe(true)
  })

  test('nothing is kept of what was filled while an older reader was there', () => {
    const { listings, open, list } = stage()
    list(1)
    expect(open(1)).toBe(true)
    expect(list(2)).toBe(false)
    expect(list(2)).toBe(false)
    listings.close(DIRECTORY)
    expect(list(2)).toBe(false)
    expect(list(2)).toBe(true)
  })

  test('names whose attributes are asked for are kept no longer than those', () => {
    const { clock, listings, list } = stage()
    list(1)
    listings.told(DIRECTORY, 3000)
    clock.now = 5000
    expect(list(1)).toBe(true)
    expect(Array.from({ length: 17 }, () => listings.missed(DIRECTORY)).filter(Boolean)).toEqual([true])
    expect(listings.mustAsk(DIRECTORY, true)).toBe(false)
    expect(list(1)).toBe(false)
    listings.told(DIRECTORY, 3000)
    clock.now = 7000
    expect(list(1)).toBe(true)
    clock.now = 8000
    expect(list(1)).toBe(false)
  })
})

describe('a change', () => {
  test('takes back what a reader may list again', () => {
    const { listings, see, open, answer } = stage()
    open(1)
    answer(1)
    expect(see(1)).toBe('nothing')
    expect(see(2)).toBe('invalidate')
    expect(see(3)).toBe('nothing')
    answer(3)
    expect(listings.changed(DIRECTORY)).toBe('invalidate')
    expect(listings.changed(DIRECTORY)).toBe('nothing')
    listings.notInvalidated(DIRECTORY)
    expect(listings.changed(DIRECTORY)).toBe('invalidate')
  })

  test('of a directory that nobody has open waits for the next open', () => {
    const { listings, list } = stage()
    list(1)
    expect(listings.changed(DIRECTORY)).toBe('nothing')
    expect(list(1)).toBe(false)
  })
})

// The kernel fills its cache with what readers are told, as long as it has nothing else there, and drops it when it is
// told to, which may come late. Whoever opens the directory must not be given names that are older than that.
test(`an open never keeps names from before a change (seed ${seed()})`, () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 2 ** 31 }), (from) => {
      const next = random(from)
      const { attributes, listings } = stage()
      let present = 1
      /** The oldest version that the kernel has names of; undefined: none. */
      let cached: number | undefined
      const readers: { told?: number }[] = []
      const sent: OwnChange[] = []
      const answers: (() => AttributeUpdate)[] = []
      const notified: (() => void)[] = []
      const drop = () => {
        cached = undefined
      }
      const apply = (effect: 'nothing' | 'invalidate') => {
        if (effect === 'invalidate') notified.push(drop)
      }
      const see = () => apply(listings.update(attributes.update(DIRECTORY, version(present), attributes.request())))
      const parse = (reader: { told?: number }) => {
        if (reader.told !== undefined) cached = Math.min(cached ?? reader.told, reader.told)
        delete reader.told
      }
      for (let step = 0; step < 150; step++) {
        const draw = next()
        const reader = readers[Math.floor(next() * readers.length)]
        if (draw < 0.08) present++
        else if (draw < 0.14) {
          apply(listings.changed(DIRECTORY))
          sent.push(attributes.beginChange(DIRECTORY))
        } else if (draw < 0.2) {
          const own = sent.pop()
          if (own === undefined) continue
          const before = version(present)
          const after = version(++present)
          answers.push(() => attributes.endChange(own, { before, after }))
        } else if (draw < 0.26) {
          const [ended] = answers.splice(Math.floor(next() * answers.length), 1)
          if (ended === undefined) continue
          apply(listings.update(ended()))
          apply(listings.changed(DIRECTORY))
        } else if (draw < 0.5) {
          if (listings.mustAsk(DIRECTORY, true)) see()
          const { keepCache } = listings.open(DIRECTORY, attributes.known(DIRECTORY))
          if (!keepCache) drop()
          else assert((cached ?? present) === present, `names of version ${cached} were kept, but it is ${present}`)
          readers.push({})
        } else if (draw < 0.7 && reader !== undefined) {
          parse(reader)
          see()
          listings.answered(DIRECTORY, version(present))
          reader.told = present
        } else if (draw < 0.8 && reader !== undefined) parse(reader)
        else if (draw < 0.9) notified.shift()?.()
        else if (reader !== undefined) {
          parse(reader)
          readers.splice(readers.indexOf(reader), 1)
          listings.close(DIRECTORY)
        }
      }
    }),
    { seed: seed(), numRuns: 200 },
  )
})
