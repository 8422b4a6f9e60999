// What stat(2) tells: attributes, times with nanoseconds, file types.

/** A point in time: whole seconds since the epoch and nanoseconds 0…999,999,999. Immutable and shared. */
export interface Timespec {
  readonly sec: number
  readonly nsec: number
}

export const EPOCH: Timespec = { sec: 0, nsec: 0 }

/** Milliseconds since the epoch (may be fractional) as a Timespec. */
export function timespecFromMs(ms: number): Timespec {
  const sec = Math.floor(ms / 1000)
  return { sec, nsec: Math.min(999_999_999, Math.round((ms - sec * 1000) * 1e6)) }
}

export function compareTimespec(a: Timespec, b: Timespec): number {
  return a.sec - b.sec || a.nsec - b.nsec
}

/** The attributes of an inode, as stat(2) and statx(2) report them. */
export interface Attributes {
  readonly ino: number
  /** File type and permission bits, as st_mode. */
  readonly mode: number
  readonly nlink: number
  readonly uid: number
  readonly gid: number
  /** Device number in the kernel's encoding (see makedev(3)), for character and block devices. */
  readonly rdev: number
  /** Bytes. */
  readonly size: number
  /** Allocated space in units of 512 bytes. */
  readonly blocks: number
  /** Preferred I/O size in bytes. */
  readonly blockSize: number
  readonly atime: Timespec
  readonly mtime: Timespec
  readonly ctime: Timespec
  /** Creation ("birth") time. */
  readonly btime: Timespec
}

/** `attributes` with some of them changed. Made in one place, they are all of one shape, and cheaper than by spreading. */
export function withChanges(attributes: Attributes, to: Partial<Attributes>): Attributes {
  return {
    ino: to.ino ?? attributes.ino,
    mode: to.mode ?? attributes.mode,
    nlink: to.nlink ?? attributes.nlink,
    uid: to.uid ?? attributes.uid,
    gid: to.gid ?? attributes.gid,
    rdev: to.rdev ?? attributes.rdev,
    size: to.size ?? attributes.size,
    blocks: to.blocks ?? attributes.blocks,
    blockSize: to.blockSize ?? attributes.blockSize,
    atime: to.atime ?? attributes.atime,
    mtime: to.mtime ?? attributes.mtime,
    ctime: to.ctime ?? attributes.ctime,
    btime: to.btime ?? attributes.btime,
  }
}

/** What chmod, chown, truncate and utimensat change; absent fields stay. */
export interface AttributeChanges {
  /** Permission bits (07777); the type cannot change. */
  mode?: number
  uid?: number
  gid?: number
  /** New size in bytes. */
  size?: number
  /** `'now'` asks the file system for its own clock (UTIME_NOW). */
  atime?: Timespec | 'now'
  mtime?: Timespec | 'now'
  /** The caller changed the content and may not keep set-id bits: S_ISUID goes, and S_ISGID of a group-executable file. */
  clearSetId?: boolean
}

/** File-system totals, as statvfs(3) reports them. */
export interface FileSystemStats {
  /** Bytes per block; `blocks`, `freeBlocks` and `availableBlocks` are in this unit. */
  readonly blockSize: number
  readonly blocks: number
  readonly freeBlocks: number
  /** Free blocks for unprivileged users. */
  readonly availableBlocks: number
  readonly files: number
  readonly freeFiles: number
  /** Longest name in bytes. */
  readonly nameMax: number
}
