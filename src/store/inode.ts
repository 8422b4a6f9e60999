// An inode in memory, and its row in the database.
import type { Attributes, Timespec } from '../posix/attributes.ts'
import { isDirectory, S_IFMT } from '../posix/mode.ts'
import type { ContentFile } from './content-files.ts'
import type { Parameter } from './journal.ts'

/** Preferred I/O size of every inode, in bytes, and what a directory is said to take. */
export const BLOCK_SIZE = 4096
const BLOCKS_PER_DIRECTORY = BLOCK_SIZE / 512

/** What an inode without a name has, of what is else in the database. */
export interface Unnamed {
  readonly xattrs: Map<string, Uint8Array>
  /** Made by O_TMPFILE: it may still get a name. */
  readonly linkable: boolean
}

/**
 * Mutable, but `attributes` is replaced and never changed: who has it may keep it. An operation changes an inode only
 * when its record is in the journal, so an operation that fails leaves memory as it was.
 */
export interface Inode {
  readonly ino: number
  readonly generation: number
  attributes: Attributes
  /** Of a directory: the inode of `..`. Otherwise 0. */
  parent: number
  /** Grows with every change of the inode, for clients that keep copies. */
  change: number
  /** Grows with every change of the content. */
  dataVersion: number
  /** How many extended attributes there are. */
  xattrs: number
  /** Names the content file. */
  content: number
  /** Of a symbolic link. */
  readonly target: string | null
  /** The content file, while the store has it open: then size, blocks and times are asked of it. */
  file: ContentFile | undefined
  /** Content was written by this process and not yet seen in the file's times. */
  written: boolean
  /** Size, times or counters differ from the row. */
  unsaved: boolean
  unnamed: Unnamed | undefined
}

export interface InodeRow {
  readonly ino: number
  readonly generation: number
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly nlink: number
  readonly rdev: number
  readonly size: number
  readonly blocks: number
  readonly atime_s: number
  readonly atime_ns: number
  readonly mtime_s: number
  readonly mtime_ns: number
  readonly ctime_s: number
  readonly ctime_ns: number
  readonly btime_s: number
  readonly btime_ns: number
  readonly parent: number
  readonly change: number
  readonly data_version: number
  readonly xattrs: number
  readonly content: number
  readonly target: string | null
}

export function inodeFromRow(row: InodeRow): Inode {
  return {
    ino: row.ino,
    generation: row.generation,
    attributes: {
      ino: row.ino,
      mode: row.mode,
      nlink: row.nlink,
      uid: row.uid,
      gid: row.gid,
      rdev: row.rdev,
      size: row.size,
      blocks: row.blocks,
      blockSize: BLOCK_SIZE,
      atime: { sec: row.atime_s, nsec: row.atime_ns },
      mtime: { sec: row.mtime_s, nsec: row.mtime_ns },
      ctime: { sec: row.ctime_s, nsec: row.ctime_ns },
      btime: { sec: row.btime_s, nsec: row.btime_ns },
    },
    parent: row.parent,
    change: row.change,
    dataVersion: row.data_version,
    xattrs: row.xattrs,
    content: row.content,
    target: row.target,
    file: undefined,
    written: false,
    unsaved: false,
    unnamed: undefined,
  }
}

export interface NewInode {
  readonly ino: number
  readonly generation: number
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly nlink: number
  readonly rdev: number
  /** Of a directory: the inode of `..`. */
  readonly parent: number
  readonly target: string | null
  readonly now: Timespec
}

export function newInode(options: NewInode): Inode {
  const { ino, generation, mode, uid, gid, nlink, rdev, parent, target, now } = options
  const directory = isDirectory(mode)
  const size = directory ? BLOCK_SIZE : target === null ? 0 : Buffer.byteLength(target)
  const blocks = directory ? BLOCKS_PER_DIRECTORY : 0
  return {
    ino,
    generation,
    attributes: {
      ino,
      mode,
      nlink,
      uid,
      gid,
      rdev,
      size,
      blocks,
      blockSize: BLOCK_SIZE,
      atime: now,
      mtime: now,
      ctime: now,
      btime: now,
    },
    parent: directory ? parent : 0,
    change: 1,
    dataVersion: 1,
    xattrs: 0,
    content: ino,
    target,
    file: undefined,
    written: false,
    unsaved: false,
    unnamed: undefined,
  }
}

/** The type bits, which never change, with new permission bits. */
export const withPermissions = (mode: number, permissions: number): number => (mode & S_IFMT) | (permissions & ~S_IFMT)

/** Parameters of INSERT_INODE. */
export function insertParameters(inode: Inode, a: Attributes = inode.attributes): Parameter[] {
  return [
    inode.ino,
    inode.generation,
    a.mode,
    a.uid,
    a.gid,
    a.nlink,
    a.rdev,
    a.size,
    a.blocks,
    a.atime.sec,
    a.atime.nsec,
    a.mtime.sec,
    a.mtime.nsec,
    a.ctime.sec,
    a.ctime.nsec,
    a.btime.sec,
    a.btime.nsec,
    inode.parent,
    inode.change,
    inode.dataVersion,
    inode.xattrs,
    inode.content,
    inode.target,
  ]
}

/** Parameters of UPDATE_INODE, for `inode` with new attributes and counters. */
export function updateParameters(
  inode: Inode,
  a: Attributes,
  counters: { readonly change: number; readonly dataVersion: number; readonly xattrs: number },
): Parameter[] {
  return [
    a.mode,
    a.uid,
    a.gid,
    a.nlink,
    a.size,
    a.blocks,
    a.atime.sec,
    a.atime.nsec,
    a.mtime.sec,
    a.mtime.nsec,
    a.ctime.sec,
    a.ctime.nsec,
    counters.change,
    counters.dataVersion,
    counters.xattrs,
    inode.content,
    inode.ino,
  ]
}
