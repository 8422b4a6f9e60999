import assert from 'node:assert/strict'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { CloseToOpen } from '../../../../src/modes/nfs/close-to-open.ts'
import { type Attributes, EPOCH } from '../../../../src/posix/attributes.ts'
import { S_IFREG } from '../../../../src/posix/mode.ts'
import { AttributeCache, type AttributeUpdate, type OwnChange } from '../../../../src/vfs/attribute-cache.ts'
import { changeAttributes } from '../../../../src/vfs/change-attributes.ts'
import { random, seed } from '../../../support/random.ts'

const FILE = 5
const TIMEOUTS = { file: { minMs: 3000, maxMs: 60_000 }, directory: { minMs: 30_000, maxMs: 60_000 } }

function version(n: number): Attributes {
  const time = { sec: n, nsec: 0 }
  const fixed = { ino: FILE, nlink: 1, uid: 0, gid: 0, rdev: 0, blocks: 8, blockSize: 4096, atime: EPOCH, btime: EPOCH }
  return { ...fixed, mode: S_IFREG | 0o644, size: n, mtime: time, ctime: time }
}

function stage() {
  const attributes = new AttributeCache({ timeouts: TIMEOUTS, now: () => 0, maxNodes: 16 })
  const pages = new CloseToOpen({ closeToOpen: true })
  const see = (n: number) => pages.update(attributes.update(FILE, version(n), attributes.request()))
  const known = () => attributes.known(FILE) ?? assert.fail('the file is not known')
  const open = (n: number) => {
    see(n)
    return pages.open(FILE, known()).keepCache
  }
  const write = (before: number, after: number) =>
    pages.update(attributes.endChange(attributes.beginChange(FILE), { before: version(before), after: version(after) }))
  return { attributes, pages, see, known, open, write }
}

describe('at open', () => {
  test('the server is asked, unless nocto is set and the attributes are believed', () => {
    const asks = (closeToOpen: boolean) =>
      [true, false].map((believed) => new CloseToOpen({ closeToOpen }).mustAsk(believed))
    expect(asks(true)).toEqual([true, true])
    expect(asks(false)).toEqual([false, true])
  })

  test('pages are kept if the file is the one that they were read from', () => {
    const { pages, open } = stage()
    expect(open(1)).toBe(false)
    pages.close(FILE)
    expect(open(1)).toBe(true)
    pages.close(FILE)
    expect(open(2)).toBe(false)
    expect(open(2)).toBe(true)
  })

  test('pages are kept through writes of our own', () => {
    const { pages, open, write } = stage()
    open(1)
    expect(write(1, 2)).toBe('nothing')
    expect(write(2, 3)).toBe('nothing')
    pages.close(FILE)
    expect(open(3)).toBe(true)
  })

  test('pages are dropped if somebody else wrote before we did', () => {
    const { open, write } = stage()
    open(1)
    expect(write(2, 3)).toBe('invalidate')
    expect(open(3)).toBe(false)
  })

  test('pages are dropped while nobody knows whose a change was', () => {
    const { attributes, pages, open } = stage()
    open(1)
    const own = attributes.beginChange(FILE)
    expect(open(2)).toBe(false)
    expect(pages.update(attributes.endChange(own, { before: version(1), after: version(2) }))).toBe('nothing')
    expect(open(2)).toBe(true)
  })

  test('pages outlive what the attribute cache forgot', () => {
    const { attributes, open } = stage()
    open(1)
    attributes.forget(FILE)
    expect(open(1)).toBe(true)
    attributes.forget(FILE)
    expect(open(2)).toBe(false)
  })

  test('a node that the kernel has forgotten begins anew', () => {
    const { pages, open } = stage()
    open(1)
    pages.close(FILE)
    pages.forget(FILE)
    expect(open(1)).toBe(false)
  })
})

describe('while a file is open', () => {
  test('a change by somebody else takes the pages back', () => {
    const { pages, see, open } = stage()
    open(1)
    expect(see(2)).toBe('invalidate')
    expect(pages.facts(FILE)).toEqual({ opens: 1, cachedUnder: changeAttributes(version(2)), invalidating: true })
    expect(see(2)).toBe('nothing')
    // Until the kernel is done an open does not trust the pages.
    expect(open(2)).toBe(false)
    pages.invalidated(FILE, true)
    expect(open(2)).toBe(true)
  })

  test('a file that nobody has open waits for the next open', () => {
    const { pages, see, open } = stage()
    open(1)
    pages.close(FILE)
    expect(see(2)).toBe('nothing')
    expect(pages.facts(FILE)).toEqual({ opens: 0, invalidating: false })
    // Even if the attributes come back to what they were.
    expect(open(1)).toBe(false)
  })

  test('what the kernel had no room for is tried again', () => {
    const { pages, see, open, known } = stage()
    open(1)
    see(2)
    pages.invalidated(FILE, false)
    expect(pages.facts(FILE)).toEqual({ opens: 1, invalidating: false })
    expect(see(2)).toBe('invalidate')
    pages.invalidated(FILE, false)
    // An open drops them by itself.
    expect(pages.open(FILE, known()).keepCache).toBe(false)
    expect(open(2)).toBe(true)
    expect(see(2)).toBe('nothing')
  })
})

// Pages are read at some version of the file and stay until they are dropped. A program that opens the file after
// somebody else has closed it must not see pages that are older.
test(`an open never keeps pages that somebody else has changed (seed ${seed()})`, () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 2 ** 31 }), (from) => {
      const next = random(from)
      const { attributes, pages, known } = stage()
      let present = 1
      /** The last version that somebody else made. */
      let foreign = 0
      /** The pages have what others wrote up to this version: what we write goes into them at once. */
      let cached = -1
      const open: number[] = []
      const sent: OwnChange[] = []
      const answers: (() => AttributeUpdate)[] = []
      const apply = (update: AttributeUpdate) => {
        if (pages.update(update) === 'nothing') return
        cached = present
        pages.invalidated(FILE, true)
      }
      for (let step = 0; step < 100; step++) {
        const draw = next()
        if (draw < 0.1) foreign = ++present
        else if (draw < 0.3 && open.length > 0) sent.push(attributes.beginChange(FILE))
        else if (draw < 0.5) {
          const [own] = sent.splice(Math.floor(next() * sent.length), 1)
          if (own === undefined) continue
          const before = version(present)
          const after = version(++present)
          answers.push(() => attributes.endChange(own, { before, after }))
        } else if (draw < 0.7) {
          const [answer] = answers.splice(Math.floor(next() * answers.length), 1)
          if (answer !== undefined) apply(answer())
        } else if (draw < 0.9) {
          apply(attributes.update(FILE, version(present), attributes.request()))
          const { keepCache } = pages.open(FILE, known())
          open.push(step)
          if (keepCache) assert(cached >= foreign, `pages of version ${cached} were kept after ${foreign}`)
          else cached = present
        } else if (open.pop() !== undefined) pages.close(FILE)
      }
    }),
    { seed: seed(), numRuns: 500 },
  )
})
