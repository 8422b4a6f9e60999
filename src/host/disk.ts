// The host's file system as those use it who keep content in plain files: the store and the whole-file cache.
// A test passes its own `Disk` to inject ENOSPC, EIO and torn writes.
import fs from 'node:fs'
import { addon } from './addon.ts'

/** What `Disk.stat` fills in, by index. */
export const STAT = {
  size: 0,
  blocks: 1,
  atimeSec: 2,
  atimeNsec: 3,
  mtimeSec: 4,
  mtimeNsec: 5,
  ctimeSec: 6,
  ctimeNsec: 7,
  nlink: 8,
  mode: 9,
  length: 10,
} as const

/** What utimensat(2) takes instead of nanoseconds: the host's clock, and that a time stays. */
export const UTIME_NOW = 0x3fffffff
export const UTIME_OMIT = 0x3ffffffe

/** Space of the host file system, in bytes and inodes. */
export interface HostSpace {
  readonly bytes: number
  readonly freeBytes: number
  readonly availableBytes: number
  readonly files: number
  readonly freeFiles: number
}

/**
 * System calls. They throw errors with `code` as Node's do. Only what returns a promise may wait for the device:
 * everything else is answered from the page cache.
 */
export interface Disk {
  open(path: string, flags: number, mode?: number): number
  close(fd: number): void
  read(fd: number, into: Uint8Array, position: number): number
  /** Only what is in memory; where that ends the file need not. */
  readCached(fd: number, into: Uint8Array, position: number): number
  /** Like pwrite(2), it may write less than asked. */
  write(fd: number, data: Uint8Array, position: number): number
  /** Writes at the end of the file of a descriptor opened with O_APPEND. */
  append(fd: number, data: Uint8Array): number
  truncate(fd: number, size: number): void
  /** fstat(2) into an array indexed by `STAT`. */
  stat(fd: number, into: Float64Array): void
  statPath(path: string, into: Float64Array): void
  /** futimens(2), with UTIME_NOW and UTIME_OMIT. */
  utimens(fd: number, atimeSec: number, atimeNsec: number, mtimeSec: number, mtimeNsec: number): void
  allocate(fd: number, mode: number, offset: number, length: number): void
  seek(fd: number, offset: number, whence: number): number
  copyRange(fromFd: number, fromOffset: number, toFd: number, toOffset: number, length: number): number
  /**
   * Whether anybody has the file of this read-only descriptor open or mapped for writing; of a descriptor that may
   * write: whether anybody else has it open or mapped at all.
   */
  hasWriters(fd: number): boolean
  /** Names in a directory; none if it does not exist. */
  list(directory: string): string[]
  makeDirectory(path: string): void
  unlink(path: string): void
  link(path: string, newPath: string): void
  rename(path: string, newPath: string): void
  /** Shares all bytes of a file with an empty one (FICLONE). Throws where the host file system cannot. */
  clone(fromFd: number, toFd: number): void
  /** Another one each time the host was started: what was not synced before is lost, perhaps. */
  bootId(): string
  space(path: string): HostSpace
  /** `read` away from the event loop, for what may have to come from the device. */
  readLater(fd: number, into: Uint8Array, position: number): Promise<number>
  /** `write` of many pieces away from the event loop: the kernel makes whoever writes much wait for the device. */
  writeLater(fd: number, pieces: readonly Uint8Array[], position: number): Promise<number>
  /** fsync(2), or fdatasync(2) with `dataOnly`. */
  sync(fd: number, dataOnly: boolean): Promise<void>
  /** Resolves when everything written to the file system of `path` is on stable storage: syncfs(2). */
  syncFileSystem(path: string): Promise<void>
  /** unlink(2) away from the event loop: freeing a long file takes long. */
  unlinkLater(path: string): Promise<void>
}

export const hostDisk: Disk = {
  open: (path, flags, mode = 0o600) => fs.openSync(path, flags, mode),
  close: (fd) => fs.closeSync(fd),
  read: (fd, into, position) => fs.readSync(fd, into, 0, into.length, position),
  readCached: (fd, into, position) => addon().readCached(fd, into, position),
  write: (fd, data, position) => fs.writeSync(fd, data, 0, data.length, position),
  append: (fd, data) => fs.writeSync(fd, data, 0, data.length, null),
  truncate: (fd, size) => fs.ftruncateSync(fd, size),
  stat: (fd, into) => addon().fstat(fd, into),
  statPath: (path, into) => {
    const fd = fs.openSync(path, fs.constants.O_RDONLY)
    try {
      addon().fstat(fd, into)
    } finally {
      fs.closeSync(fd)
    }
  },
  utimens: (fd, atimeSec, atimeNsec, mtimeSec, mtimeNsec) =>
    addon().utimens(fd, atimeSec, atimeNsec, mtimeSec, mtimeNsec),
  allocate: (fd, mode, offset, length) => addon().fallocate(fd, mode, offset, length),
  seek: (fd, offset, whence) => addon().seek(fd, offset, whence),
  copyRange: (fromFd, fromOffset, toFd, toOffset, length) =>
    addon().copyFileRange(fromFd, fromOffset, toFd, toOffset, length),
  hasWriters: (fd) => addon().hasWriters(fd),
  list: (directory) => (fs.existsSync(directory) ? fs.readdirSync(directory) : []),
  makeDirectory: (path) => {
    fs.mkdirSync(path, { recursive: true, mode: 0o700 })
  },
  unlink: (path) => fs.unlinkSync(path),
  link: (path, newPath) => fs.linkSync(path, newPath),
  rename: (path, newPath) => fs.renameSync(path, newPath),
  clone: (fromFd, toFd) => addon().clone(fromFd, toFd),
  bootId: () => fs.readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim(),
  space: (path) => {
    const { bsize, blocks, bfree, bavail, files, ffree } = fs.statfsSync(path)
    return {
      bytes: blocks * bsize,
      freeBytes: bfree * bsize,
      availableBytes: bavail * bsize,
      files,
      freeFiles: ffree,
    }
  },
  readLater: (fd, into, position) =>
    new Promise((resolve, reject) => {
      fs.read(fd, into, 0, into.length, position, (error, count) => (error ? reject(error) : resolve(count)))
    }),
  writeLater: (fd, pieces, position) =>
    new Promise((resolve, reject) => {
      fs.writev(fd, pieces, position, (error, count) => (error ? reject(error) : resolve(count)))
    }),
  sync: (fd, dataOnly) =>
    new Promise((resolve, reject) => {
      const done = (error: Error | null) => (error ? reject(error) : resolve())
      if (dataOnly) fs.fdatasync(fd, done)
      else fs.fsync(fd, done)
    }),
  syncFileSystem: async (path) => {
    const fd = fs.openSync(path, fs.constants.O_RDONLY)
    try {
      await addon().syncfs(fd)
    } finally {
      fs.closeSync(fd)
    }
  },
  unlinkLater: (path) =>
    new Promise((resolve, reject) => {
      fs.unlink(path, (error) => (error && error.code !== 'ENOENT' ? reject(error) : resolve()))
    }),
}

/** Resolves when the names in a directory are on stable storage. */
export async function syncDirectory(disk: Disk, path: string): Promise<void> {
  const fd = disk.open(path, fs.constants.O_RDONLY)
  try {
    await disk.sync(fd, false)
  } finally {
    disk.close(fd)
  }
}
