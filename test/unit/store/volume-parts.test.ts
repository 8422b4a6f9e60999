// The small pieces that a volume is made of.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { hostClock } from '../../../src/host/clock.ts'
import { GroupedCall } from '../../../src/store/grouped-call.ts'
import { type Inode, newInode } from '../../../src/store/inode.ts'
import { InodeCache } from '../../../src/store/inode-cache.ts'
import { checkName, freeSlot, nameHash, SLOTS } from '../../../src/store/names.ts'
import { codeOf } from './volume-fixture.ts'

const inode = (ino: number): Inode =>
  newInode({
    ino,
    generation: 1,
    mode: 0o100644,
    uid: 0,
    gid: 0,
    nlink: 1,
    rdev: 0,
    parent: 1,
    target: null,
    now: { sec: 0, nsec: 0 },
  })

describe('names', () => {
  it('are valid exactly if they have a UTF-8 form of 1 to 255 bytes without slash and NUL', () => {
    const any = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 300 }),
      fc.array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 130 }).map((units) => String.fromCharCode(...units)),
    )
    fc.assert(
      fc.property(any, (name) => {
        const bytes = Buffer.from(name)
        const valid =
          name !== '' && bytes.length <= 255 && bytes.toString() === name && !name.includes('/') && !name.includes('\0')
        expect(codeOf(() => checkName(name)) === undefined).toBe(valid)
      }),
      { numRuns: 2000 },
    )
  })

  it('have cookies that are multiples of the group size, positive, and exact as numbers', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.integer({ min: 0, max: 2 ** 31 - 1 }), (name, seed) => {
        const cookie = nameHash(name, seed)
        expect(cookie % SLOTS).toBe(0)
        expect(cookie).toBeGreaterThanOrEqual(SLOTS)
        expect(cookie + SLOTS).toBeLessThan(Number.MAX_SAFE_INTEGER)
        expect(nameHash(name, seed)).toBe(cookie)
      }),
    )
  })

  it('spread', () => {
    const seen = new Set<number>()
    for (let n = 0; n < 200_000; n++) seen.add(nameHash(`file${n}`, 42))
    expect(seen.size).toBe(200_000)
    expect(nameHash('x', 1)).not.toBe(nameHash('x', 2))
  })

  it('take the lowest free slot', () => {
    expect(freeSlot(64, [])).toBe(64)
    expect(freeSlot(64, [64, 66])).toBe(65)
    expect(
      freeSlot(
        0,
        Array.from({ length: SLOTS }, (_, n) => n),
      ),
    ).toBe(undefined)
  })
})

describe('the inode cache', () => {
  it('forgets what was used least, but never what is open or has no name', () => {
    const cache = new InodeCache(10)
    const open = inode(1)
    open.file = {} as NonNullable<Inode['file']>
    const unnamed = inode(2)
    unnamed.unnamed = { xattrs: new Map(), linkable: false }
    const used = inode(3)
    for (const each of [open, unnamed, used]) cache.add(each)
    for (let ino = 10; ino < 60; ino++) {
      cache.add(inode(ino))
      expect(cache.get(3)).toBe(used)
      expect(cache.get(ino)?.ino).toBe(ino)
    }
    expect(cache.get(1)).toBe(open)
    expect(cache.get(2)).toBe(unnamed)
    expect(cache.get(10)).toBe(undefined)
    cache.delete(1)
    expect(cache.get(1)).toBe(undefined)
  })
})

describe('a grouped call', () => {
  it('runs again for who came while it ran, once, also after a failure', async () => {
    let runs = 0
    const settle: ((error?: Error) => void)[] = []
    const call = new GroupedCall(() => {
      runs++
      return new Promise((resolve, reject) => settle.push((error) => (error ? reject(error) : resolve())))
    })
    const first = call.call()
    const later = [call.call(), call.call()]
    expect([runs, call.busy]).toEqual([1, true])
    settle[0]?.(new Error('lost'))
    await expect(first).rejects.toThrow('lost')
    await new Promise((resolve) => setImmediate(resolve))
    expect(runs).toBe(2)
    settle[1]?.()
    await Promise.all(later)
    expect([runs, call.busy]).toEqual([2, false])
    const alone = call.call()
    expect(runs).toBe(3)
    settle[2]?.()
    await alone
  })
})

describe('the host’s clock', () => {
  it('never goes back and stays near the host’s', () => {
    const clock = hostClock()
    let last = 0
    for (let n = 0; n < 10_000; n++) {
      const now = clock.now()
      expect(now).toBeGreaterThanOrEqual(last)
      expect(Math.abs(now - Date.now())).toBeLessThan(1000)
      last = now
    }
  })
})
