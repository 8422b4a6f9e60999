import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { ListedEntry } from '../../../src/store/entries.ts'
import { newInode } from '../../../src/store/inode.ts'
import { KnownNames } from '../../../src/store/known-names.ts'
import { DELETE_ENTRY, DELETE_INODE, INSERT_ENTRY, INSERT_INODE, UPDATE_ENTRY } from '../../../src/store/schema.ts'
import { seed } from '../../support/random.ts'

const now = { sec: 1, nsec: 0 }
const directory = (ino: number) =>
  newInode({ ino, generation: 1, mode: 0o040755, uid: 0, gid: 0, nlink: 2, rdev: 0, parent: 1, target: null, now })
const entry = (cookie: number, name = `n${cookie}`): ListedEntry => ({ name, ino: cookie, type: 8, cookie })
const insert = (names: KnownNames, parent: number, { cookie, name, ino, type }: ListedEntry) =>
  names.take(INSERT_ENTRY, [parent, cookie, name, ino, type], undefined)

describe(`known names (seed ${seed()})`, () => {
  it('of a directory that was made here are all there is; of another what was found out', () => {
    const names = new KnownNames(100)
    names.take(INSERT_INODE, [5], directory(5))
    expect(names.isEmpty(5)).toBe(true)
    expect(names.group(5, 128)).toEqual([])
    insert(names, 5, entry(128))
    expect(names.isEmpty(5)).toBe(false)
    expect(names.list(5)).toEqual([entry(128)])

    expect(names.group(6, 128)).toBeUndefined()
    insert(names, 6, entry(130))
    expect(names.group(6, 128)).toBeUndefined()
    names.learn(6, 128, [entry(130)])
    names.learn(6, 192, [])
    insert(names, 6, entry(131))
    insert(names, 6, entry(192))
    expect(names.group(6, 128)).toEqual([entry(130), entry(131)])
    expect(names.group(6, 192)).toEqual([entry(192)])
    expect([names.isEmpty(6), names.list(6)]).toEqual([undefined, undefined])
    names.take(DELETE_INODE, [5], undefined)
    expect(names.group(5, 128)).toBeUndefined()
  })

  it('go when there are too many, also within one directory', () => {
    const names = new KnownNames(20)
    names.take(INSERT_INODE, [5], directory(5))
    for (let n = 1; n <= 10; n++) insert(names, 5, entry(n * 64))
    expect(names.list(5)).toHaveLength(10)
    insert(names, 5, entry(11 * 64))
    expect(names.group(5, 64)).toBeUndefined()
    insert(names, 5, entry(12 * 64))
    expect(names.group(5, 12 * 64)).toBeUndefined()
    for (let ino = 100; ino < 130; ino++) names.learn(ino, 64, [])
    const left = Array.from({ length: 30 }, (_, n) => names.group(100 + n, 64)).filter((group) => group !== undefined)
    expect(left.length).toBeLessThanOrEqual(20)
    expect(names.group(129, 64)).toEqual([])
  })

  it('never say anything else than the directory has', () => {
    const parent = fc.integer({ min: 1, max: 4 })
    const cookie = fc.integer({ min: 64, max: 300 })
    const step = fc.record({ kind: fc.constantFrom('put', 'put', 'delete', 'ask', 'askAll', 'make'), parent, cookie })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 100 }), fc.integer({ min: 1, max: 12 }), (steps, limit) => {
        const names = new KnownNames(limit)
        const model = new Map<number, Map<number, ListedEntry>>()
        const of = (parent: number) => model.get(parent) ?? new Map<number, ListedEntry>()
        const groupOf = (parent: number, first: number) =>
          [...of(parent).values()].filter((one) => one.cookie - (one.cookie % 64) === first)
        const sorted = (entries: Iterable<ListedEntry>) => [...entries].sort((a, b) => a.cookie - b.cookie)
        steps.forEach(({ kind, parent, cookie }, at) => {
          const entries = of(parent)
          model.set(parent, entries)
          const first = cookie - (cookie % 64)
          if (kind === 'ask') names.learn(parent, first, groupOf(parent, first))
          else if (kind === 'askAll') names.learnAll(parent, sorted(entries.values()))
          else if (kind === 'make' && entries.size === 0) names.take(INSERT_INODE, [parent], directory(parent))
          else if (kind === 'delete' && entries.delete(cookie)) names.take(DELETE_ENTRY, [parent, cookie], undefined)
          else if (kind === 'put') {
            const one = entry(cookie, `n${at}`)
            if (entries.has(cookie)) names.take(UPDATE_ENTRY, [one.ino, one.type, parent, cookie], one.name)
            else insert(names, parent, one)
            entries.set(cookie, one)
          }
          for (const ino of [1, 2, 3, 4]) {
            for (const hash of [64, 128, 192, 256]) {
              const group = names.group(ino, hash)
              if (group !== undefined) expect(sorted(group)).toEqual(sorted(groupOf(ino, hash)))
            }
            const list = names.list(ino)
            if (list !== undefined) expect(list).toEqual(sorted(of(ino).values()))
            const isEmpty = names.isEmpty(ino)
            if (isEmpty !== undefined) expect(isEmpty).toBe(of(ino).size === 0)
          }
        })
      }),
      { seed: seed() },
    )
  })
})
