// The typed face of the C++ addon in native/: the FUSE device, mounting, and the few system calls that Node lacks.
// Mechanism only. Every function throws an Error with `code` (e.g. 'EBUSY') and `errno` (positive) on failure.
import { createRequire } from 'node:module'

export interface MountOptions {
  /** st_dev name shown in /proc/mounts, e.g. `proteus:local`. */
  readonly source: string
  /** Shown as `fuse.<subtype>`. */
  readonly subtype: string
  /** MS_* flags of mount(2): MS_RDONLY 1, MS_NOSUID 2, MS_NODEV 4, MS_SYNCHRONOUS 16, MS_NOEXEC 8, MS_NOATIME 1024, MS_DIRSYNC 128. */
  readonly flags: number
  /** Further FUSE mount data, e.g. `default_permissions,allow_other,max_read=1048576`; the addon adds fd, rootmode, user_id, group_id. */
  readonly data: string
}

/** What a device calls back, on the event loop's thread. `onRequest` is looked up once, by `openDevice`. */
export interface DeviceHandler {
  /**
   * One request of `length` bytes lies in the current request buffer. Returns the length of the reply in the reply
   * buffer, which is then written at once; 0: no reply now (it comes later through `reply…`, or never).
   * If it throws, the addon answers EIO and calls `onError`.
   */
  onRequest(length: number): number
  /** A request handler threw, or a reply could not be written (other than ENOENT: the request was interrupted). */
  onError(error: Error): void
  /** The mount is gone (ENODEV), or the device failed. No further calls follow. */
  onClose(): void
}

/** One /dev/fuse connection. */
export interface FuseDevice {
  /**
   * Where the next request is received; `onRequest` may replace it to keep the bytes of this one. At least 8 KiB, and 80
   * bytes more than the negotiated max_write: the kernel fills no smaller one (EINVAL, which ends the device).
   */
  setRequestBuffer(buffer: Uint8Array): void
  /** Starts to receive. */
  start(): void
  /** Writes a whole message of `header` followed by `data`, at once. Errors go to `onError`; ENOENT is ignored. */
  reply(header: Uint8Array, data?: Uint8Array): void
  /** The same with the first `length` bytes of the reply buffer, which are a whole message. */
  answer(length: number): void
  /**
   * Answers request `unique` with up to `length` (at most 16 MiB) bytes of file `fd` from `offset`: at once if they are
   * in the page cache, else from the thread pool. `done` is called when `fd` is no longer needed, perhaps before this
   * returns.
   */
  replyFromFile(unique: bigint, fd: number, offset: number, length: number, done: () => void): void
  /** Writes a notification at once; for those that cannot wait for a lock. False: the kernel does not know the object (ENOENT). */
  notify(message: Uint8Array): boolean
  /**
   * Writes a copy of a notification from a thread of its own, in order. False: ENOENT, or the device was closed. Rejects
   * with ENOBUFS, and has not written it, when those that wait take 32 MiB already.
   */
  notifyLater(message: Uint8Array): Promise<boolean>
  /** Registers `fd` as a backing file (FUSE_DEV_IOC_BACKING_OPEN); returns its id. The descriptor may be closed after. */
  openBacking(fd: number): number
  closeBacking(id: number): void
  /**
   * Stops receiving and closes the descriptor: ends the connection if the mount is still there. While a notification
   * is stuck behind requests, those get ECONNABORTED first. A closed device ignores replies; closing twice is harmless.
   * Call it in a listener of process 'exit' too: a notification that is stuck would keep the dead mount in being.
   */
  close(): void
}

/** A time for `utimens`: nanosecond field UTIME_NOW 0x3fffffff, UTIME_OMIT 0x3ffffffe. */
export interface Addon {
  /** Opens /dev/fuse and mounts it on `target` with mount(2); needs CAP_SYS_ADMIN. Returns the descriptor. */
  mount(target: string, options: MountOptions): number
  /** The same through `fusermount3 -o options`, which passes the descriptor back. Blocks while it runs. */
  mountWithHelper(target: string, options: string): number
  /** umount2(2), off this thread, which may have to serve the last writes; `lazy`: MNT_DETACH. */
  unmount(target: string, lazy: boolean): Promise<void>
  /**
   * Takes over `fd`. The device calls `handler` from `start()` until `close()` or `onClose`, and keeps the event loop
   * alive meanwhile. Neither `replyBuffer` nor a request buffer may be detached (transferred).
   */
  openDevice(fd: number, handler: DeviceHandler, replyBuffer: Uint8Array): FuseDevice

  /** futimens(2). */
  utimens(fd: number, atimeSec: number, atimeNsec: number, mtimeSec: number, mtimeNsec: number): void
  /**
   * fstat(2) without allocation, into `into`: [size, blocks, atime s, ns, mtime s, ns, ctime s, ns, nlink, mode].
   */
  fstat(fd: number, into: Float64Array): void
  fallocate(fd: number, mode: number, offset: number, length: number): void
  /** lseek(2) with SEEK_DATA 3 or SEEK_HOLE 4: the offset. Throws ENXIO past the end. */
  seek(fd: number, offset: number, whence: number): number
  copyFileRange(fromFd: number, fromOffset: number, toFd: number, toOffset: number, length: number): number
  /**
   * Reads from the page cache as much as is there, without waiting (preadv2(2), RWF_NOWAIT): the number of bytes. Where it
   * stops, the file ends, or the rest takes an ordinary read, which hears of errors, too.
   */
  readCached(fd: number, into: Uint8Array, offset: number): number
  /** ioctl FICLONE: shares all of `fromFd`'s extents with `toFd`. Throws EOPNOTSUPP where the host file system cannot. */
  clone(fromFd: number, toFd: number): void
  /**
   * Whether somebody else, any process and any mapping, has the file open for writing: a lease is refused. With a
   * writable descriptor other readers count as well. Needs the file owner's uid or CAP_LEASE.
   */
  hasWriters(fd: number): boolean
  /** syncfs(2), off this thread. `fd` must stay open until it resolves. */
  syncfs(fd: number): Promise<void>
  /** send(2) on a connected socket, without waiting: how many bytes it took. 0 is also the answer to an error. */
  trySend(fd: number, bytes: Uint8Array): number
  /** getxattr(2): the value, at most 64 KiB. Throws ENODATA if the file has no such attribute. */
  getXattr(path: string, name: string): Uint8Array
}

let loaded: Addon | undefined

/** The addon; throws a one-line error that says how to build it. */
export function addon(): Addon {
  if (loaded) return loaded
  const require = createRequire(import.meta.url)
  try {
    loaded = require('../../native/build/Release/proteus.node') as Addon
  } catch (cause) {
    throw new Error('the native addon is not built: run `npm run build:native`', { cause })
  }
  return loaded
}
