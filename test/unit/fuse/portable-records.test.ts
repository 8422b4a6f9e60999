import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { foldedIno, fromWords, statfsRecord, statRecord } from '../../../src/fuse/portable-records.ts'
import { type Attributes, EPOCH } from '../../../src/posix/attributes.ts'

const attributes: Attributes = {
  ino: 2 ** 32 + 5,
  mode: 0o100640,
  nlink: 2,
  uid: 2 ** 32 - 2,
  gid: 7,
  rdev: 0x0801,
  size: 2 ** 40 + 3,
  blocks: 2 ** 33,
  blockSize: 4096,
  atime: { sec: 5, nsec: 6_999_999 },
  mtime: { sec: -3, nsec: 0 },
  ctime: { sec: 2 ** 33, nsec: 1_000_000 },
  btime: EPOCH,
}

describe('records for fuse-native', () => {
  it('stat: numbers in two halves, milliseconds from 1970 on', () => {
    const words = statRecord(attributes)
    const wide = (at: number) => fromWords(words[at] ?? 0, words[at + 1] ?? 0)
    expect([words[0], words[1], words[2], words[6], words[8], words[9]]).toEqual([
      0o100640,
      2 ** 32 - 2,
      7,
      2,
      0x0801,
      4096,
    ])
    expect([wide(3), wide(10)]).toEqual([2 ** 40 + 3, 2 ** 33])
    expect([wide(12), wide(14), wide(16)]).toEqual([5006, 0, 2 ** 33 * 1000 + 1])
  })

  it('numbers survive being halved', () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), (size) => {
        const words = statRecord({ ...attributes, size })
        expect(fromWords(words[3] ?? 0, words[4] ?? 0)).toBe(size)
      }),
    )
    expect(fromWords(2 ** 32 - 1000, 2 ** 32 - 1)).toBe(-1000)
  })

  it('inode numbers keep 32 bits, and small ones stay as they are', () => {
    expect(foldedIno(2 ** 32 - 1)).toBe(2 ** 32 - 1)
    expect(foldedIno(2 ** 32 + 5)).toBe(4)
    expect(foldedIno(2 ** 52 - 1)).toBe((2 ** 32 - 1 - (2 ** 20 - 1)) >>> 0)
  })

  it('statvfs: a large file system has larger blocks, not other sizes', () => {
    const stats = { blockSize: 4096, freeBlocks: 2 ** 40, availableBlocks: 2 ** 39, files: 2 ** 40, freeFiles: 9 }
    const words = statfsRecord({ ...stats, blocks: 2 ** 41, nameMax: 255 })
    expect([...words]).toEqual([4096, 2 ** 22, 2 ** 31, 2 ** 30, 2 ** 29, 2 ** 32 - 1, 9, 9, 0, 0, 255])
    const small = statfsRecord({ ...stats, blocks: 1000, freeBlocks: 500, availableBlocks: 400, nameMax: 255 })
    expect([...small.subarray(0, 5)]).toEqual([4096, 4096, 1000, 500, 400])
  })
})
