// Names of directory entries: which are valid, and where in its directory an entry lies.
import { FsError } from '../posix/errors.ts'
import { NAME_MAX } from '../posix/mode.ts'

const SLASH = 0x2f

/**
 * Throws unless `name` may name an entry: EINVAL for an empty name or one with a slash or a NUL, EILSEQ for a name
 * that has no UTF-8 form (a lone surrogate), ENAMETOOLONG for more than 255 bytes of UTF-8.
 * `.` and `..` are valid here; whether they make sense is the operation's business.
 */
export function checkName(name: string): void {
  const { length } = name
  if (length === 0) throw new FsError('EINVAL', 'empty name')
  let bytes = 0
  for (let at = 0; at < length; at++) {
    const unit = name.charCodeAt(at)
    if (unit < 0x80) {
      if (unit === SLASH || unit === 0) throw new FsError('EINVAL', 'a name holds neither a slash nor a NUL')
      bytes += 1
    } else if (unit < 0x800) {
      bytes += 2
    } else if (unit < 0xd800 || unit > 0xdfff) {
      bytes += 3
    } else {
      const low = name.charCodeAt(at + 1) // NaN at the end
      if (unit > 0xdbff || !(low >= 0xdc00 && low <= 0xdfff)) throw new FsError('EILSEQ', 'a lone surrogate in a name')
      bytes += 4
      at++
    }
  }
  if (bytes > NAME_MAX) throw new FsError('ENAMETOOLONG')
}

export const isDot = (name: string): boolean => name === '.' || name === '..'

/** Cookies of the two entries that every directory has; all others are larger than `SLOTS`. */
export const DOT_COOKIE = 1
export const DOT_DOT_COOKIE = 2

/**
 * Entries of one directory that may share a hash. With 46 bits even a million names rarely have two that do; a
 * directory in which this many do was made by an adversary who knows the volume's seed, and is told ENOSPC.
 */
export const SLOTS = 64

const HASH_HIGH_BITS = 14

/** Where in a directory a name belongs: the first of `SLOTS` cookies of which its entry has one. */
export type NameHash = (name: string, seed: number) => number

/** A 46-bit hash (cyrb53's mixing) of the UTF-16 units, as a cookie: a multiple of `SLOTS`, below 2^53. */
export const nameHash: NameHash = (name, seed) => {
  let a = 0xdeadbeef ^ seed
  let b = 0x41c6ce57 ^ seed
  for (let at = 0; at < name.length; at++) {
    const unit = name.charCodeAt(at)
    a = Math.imul(a ^ unit, 2654435761)
    b = Math.imul(b ^ unit, 1597334677)
  }
  a = Math.imul(a ^ (a >>> 16), 2246822507) ^ Math.imul(b ^ (b >>> 13), 3266489909)
  b = Math.imul(b ^ (b >>> 16), 2246822507) ^ Math.imul(a ^ (a >>> 13), 3266489909)
  const hash = (b >>> (32 - HASH_HIGH_BITS)) * 2 ** 32 + (a >>> 0)
  return (hash + 1) * SLOTS
}

/** The lowest of a hash's cookies that is not among `taken`; undefined if all are. */
export function freeSlot(first: number, taken: readonly number[]): number | undefined {
  for (let cookie = first; cookie < first + SLOTS; cookie++) if (!taken.includes(cookie)) return cookie
  return undefined
}
