// The records that fuse-native takes instead of struct stat and struct statvfs: arrays of 32-bit numbers.
import type { Attributes, FileSystemStats, Timespec } from '../posix/attributes.ts'

const WORD = 2 ** 32
const WORD_MAX = WORD - 1

/** Length of a stat record; one of zeros accompanies an error. */
export const STAT_WORDS = 18
export const STATFS_WORDS = 11

/** A 64-bit number as fuse-native passes it: two halves, the low one first. */
export function fromWords(low: number, high: number): number {
  return (high | 0) * WORD + low
}

/** Inode numbers above 32 bits are folded: two files may then show the same one. */
export function foldedIno(ino: number): number {
  return ino <= WORD_MAX ? ino : (ino ^ Math.floor(ino / WORD)) >>> 0
}

/** stat(2) without nanoseconds: fuse-native takes whole milliseconds from 1970 on. */
export function statRecord(from: Attributes): Uint32Array {
  const words = new Uint32Array(STAT_WORDS)
  words[0] = from.mode
  words[1] = from.uid
  words[2] = from.gid
  putWords(words, 3, from.size)
  words[6] = from.nlink
  words[7] = foldedIno(from.ino)
  words[8] = from.rdev
  words[9] = from.blockSize
  putWords(words, 10, from.blocks)
  putWords(words, 12, milliseconds(from.atime))
  putWords(words, 14, milliseconds(from.mtime))
  putWords(words, 16, milliseconds(from.ctime))
  return words
}

/** The part of a stat record that readdir(3) shows: type and inode number. */
export function direntRecord(type: number, ino: number): Uint32Array {
  const words = new Uint32Array(STAT_WORDS)
  words[0] = type << 12
  words[7] = foldedIno(ino)
  return words
}

/** statvfs(3). Block counts have 32 bits: a larger file system is told in larger blocks. */
export function statfsRecord(from: FileSystemStats): Uint32Array {
  let scale = 1
  while (from.blocks / scale > WORD_MAX) scale *= 2
  const words = new Uint32Array(STATFS_WORDS)
  words[0] = from.blockSize
  words[1] = from.blockSize * scale
  words[2] = from.blocks / scale
  words[3] = from.freeBlocks / scale
  words[4] = from.availableBlocks / scale
  words[5] = Math.min(from.files, WORD_MAX)
  words[6] = Math.min(from.freeFiles, WORD_MAX)
  words[7] = Math.min(from.freeFiles, WORD_MAX)
  words[10] = from.nameMax
  return words
}

function putWords(words: Uint32Array, at: number, value: number): void {
  words[at] = value % WORD
  words[at + 1] = value / WORD
}

function milliseconds({ sec, nsec }: Timespec): number {
  return Math.max(0, sec * 1000 + Math.floor(nsec / 1e6))
}
