// The contract that every mode's client implements: a file system by node and handle.
//
// Methods return a value or a promise: an answer from a cache never waits for the event loop.
// They fail with FsError and nothing else. What a file system cannot do it does not implement:
// what is optional below becomes ENOSYS in one place, the FUSE session.
import type { AttributeChanges, Attributes, FileSystemStats } from '../posix/attributes.ts'

/** Names a node on this mount: assigned by the file system, 1 for the root, below 2^52, never reused with the same generation. */
export type NodeId = number
export const ROOT_NODE: NodeId = 1

/** Names an open file or directory on this mount: assigned by the file system at open. */
export type Handle = number

export type Awaitable<T> = T | Promise<T>

/** Who calls, and whether they still wait. */
export interface CallContext {
  readonly uid: number
  readonly gid: number
  /** Thread id of the caller; 0 when the kernel itself calls. */
  readonly pid: number
  /** Aborted when the caller is interrupted (FUSE_INTERRUPT) or the mount is gone: a waiting call then fails with EINTR. */
  readonly signal: AbortSignal
}

/** How long the kernel may believe something without asking, in milliseconds. 0: always ask. */
export type TtlMs = number

/** A name that exists. Each one returned to the kernel counts as one lookup, until `forget`. */
export interface Entry {
  readonly node: NodeId
  readonly generation: number
  readonly attributes: Attributes
  readonly nameTtlMs: TtlMs
  readonly attributesTtlMs: TtlMs
}

/** A name that does not exist, and how long the kernel may remember that. */
export interface AbsentEntry {
  readonly node: 0
  readonly nameTtlMs: TtlMs
}

export interface AttributesReply {
  readonly attributes: Attributes
  readonly attributesTtlMs: TtlMs
}

/** What an open decides about the kernel's data cache. */
export interface Opened {
  readonly handle: Handle
  /**
   * A local file that holds the content. The kernel reads and writes it without asking (passthrough);
   * where it cannot, the session serves the same handle from this descriptor. It is open for reading, and for
   * writing if the handle is; it stays open until `release`. The same `key` always names the same file content:
   * the kernel takes one backing file per node at a time.
   */
  readonly backing?: { readonly fd: number; readonly key: object }
  /**
   * Every read and write is asked of the file system; nothing is cached. With `backing` only mappings go to that file:
   * as long as some open of a node has one, the kernel takes no open of it without.
   */
  readonly directIo?: boolean
  /** The pages cached by earlier opens are still right. */
  readonly keepCache?: boolean
  /**
   * `flush` need not be called for this handle: there is nothing to be done at a close(2) but to give back locks, which
   * those of this handle are then with `release`. Kernels before protocol 7.35 call it all the same.
   */
  readonly noFlush?: boolean
  /** The content is a stream without positions (control files). */
  readonly nonSeekable?: boolean
}

/** What an open of a directory decides about the kernel's cache of its names. Attributes have times to live of their own. */
export interface OpenedDirectory {
  readonly handle: Handle
  /**
   * The kernel may cache what this handle lists, and list from its cache. It drops what this mount changes; for the rest,
   * and whether earlier names are still right, the file system has to care: `keepCache`, and `KernelCache.invalidateData`.
   */
  readonly cache?: boolean
  /** The names cached by earlier opens are still right, as far as they go. */
  readonly keepCache?: boolean
}

/** Bytes in memory that will be used again: whoever got them calls `release`, once, and does not look at them after that. */
export interface LentBytes {
  readonly bytes: Uint8Array
  release(): void
}

/** Bytes, or a range of a local file that holds them: sent from there without passing through JavaScript. */
export type ReadResult =
  | Uint8Array
  | LentBytes
  | { readonly fd: number; readonly offset: number; readonly length: number }

/** Keeps the data of a write as it is, until what this returns is called: once, and nobody looks at it after that. */
export type KeepData = () => () => void

export interface DirectoryEntry {
  readonly name: string
  readonly ino: number
  /** d_type (dirent.h). */
  readonly type: number
  /** Position after this entry: stable for the entry's life, positive, at most 2^53 - 1. */
  readonly cookie: number
}

/** Takes directory entries until it is full. */
export interface DirectorySink {
  /** Whether the reader wants an `Entry` with each name (READDIRPLUS). */
  readonly wantsEntries: boolean
  /** False: there was no room; the entry was not taken (and counts no lookup) and no further one will be. */
  add(entry: DirectoryEntry, full?: Entry): boolean
}

export interface NewNode {
  readonly parent: NodeId
  readonly name: string
  /** Type and permission bits before umask is applied. */
  readonly mode: number
  readonly umask: number
  /** Device number for character and block devices. */
  readonly rdev?: number
}

export interface Renaming {
  readonly parent: NodeId
  readonly name: string
  readonly newParent: NodeId
  readonly newName: string
  /** RENAME_NOREPLACE, RENAME_EXCHANGE. */
  readonly flags: number
}

/** A byte range, both ends inclusive; `end` is Infinity for "to the end of the file, however long it grows". */
export interface LockRange {
  readonly start: number
  readonly end: number
}

export interface FileLock extends LockRange {
  readonly exclusive: boolean
  /** Process that holds or asks for the lock. */
  readonly pid: number
}

export interface LockRequest {
  readonly node: NodeId
  readonly handle: Handle
  /** The kernel's name for the lock owner: a process for POSIX locks, an open file for flock and OFD locks. */
  readonly owner: bigint
  readonly range: LockRange
  readonly kind: 'shared' | 'exclusive' | 'unlock'
  readonly pid: number
  /** A whole-file flock(2) lock; these do not conflict with byte-range locks. */
  readonly flock: boolean
  /** Wait for a conflicting lock to go. Otherwise fail with EAGAIN. */
  readonly wait: boolean
}

export interface Locks {
  /** A lock that conflicts with the request, or null. */
  getLock(context: CallContext, request: LockRequest): Awaitable<FileLock | null>
  setLock(context: CallContext, request: LockRequest): Awaitable<void>
}

export interface ExtendedAttributes {
  /** The value; undefined (ENODATA) if there is none. */
  getXattr(context: CallContext, node: NodeId, name: string): Awaitable<Uint8Array | undefined>
  listXattrs(context: CallContext, node: NodeId): Awaitable<readonly string[]>
  /** `how`: 'create' fails with EEXIST if it is there, 'replace' with ENODATA if it is not. */
  setXattr(
    context: CallContext,
    node: NodeId,
    name: string,
    value: Uint8Array,
    how: 'create' | 'replace' | 'either',
  ): Awaitable<void>
  removeXattr(context: CallContext, node: NodeId, name: string): Awaitable<void>
}

export interface Allocation {
  /** fallocate(2); `mode` is its flag word (FALLOC_FL_*). */
  allocate(context: CallContext, handle: Handle, mode: number, offset: number, length: number): Awaitable<void>
  /** lseek(2) with SEEK_DATA or SEEK_HOLE: the offset found, or ENXIO. */
  seek(context: CallContext, handle: Handle, offset: number, whence: 'data' | 'hole'): Awaitable<number>
}

export interface CopyRange {
  /** copy_file_range(2): the number of bytes copied. */
  copyRange(
    context: CallContext,
    from: { readonly handle: Handle; readonly offset: number },
    to: { readonly handle: Handle; readonly offset: number },
    length: number,
  ): Awaitable<number>
}

/**
 * How a file system tells the kernel (its own mount's) that something it cached is no longer true, or what is.
 *
 * What returns a promise may have to wait in the kernel for requests in progress: never await it inside one. Such
 * notifications go out one after the other; when too many wait, the promise rejects with ENOBUFS, and the kernel has not
 * been told. The file system then tries again when earlier ones have come through, or lets what it promised run out. For
 * names ENOBUFS is rare: where there are epochs, all names are taken back instead.
 */
export interface KernelCache {
  /** Cached attributes of a node. Never waits. False: the kernel does not know the node (yet, or any more). */
  invalidateAttributes(node: NodeId): boolean
  /** Cached attributes and pages of a node, or names of a directory. Resolves when no program can read the old bytes any more. */
  invalidateData(node: NodeId, offset?: number, length?: number): Promise<void>
  /**
   * One name: it is dropped, and looked up anew when somebody asks. With a directory goes what is mounted inside, and
   * programs that work there lose their path (getcwd(2) fails); `expireName` spares them. Waits for calls in progress in
   * `parent`.
   */
  invalidateName(parent: NodeId, name: string): Promise<void>
  /**
   * One name may not be right any more: it is looked up again, and goes on being the same if it leads to the same node.
   * Kernels before protocol 7.38 drop it. Waits for calls in progress in `parent`.
   */
  expireName(parent: NodeId, name: string): Promise<void>
  /**
   * A name was removed that led to `child`: it is dropped, and `child` has no names any more (if it is a file with other
   * names, their attributes have to be invalidated, too). Where the kernel cannot believe that (a directory in which a
   * file is open) and where the name leads to another node, it is only looked up again. Waits for calls in progress in
   * `parent` and on `child`.
   */
  deleted(parent: NodeId, child: NodeId, name: string): Promise<void>
  /**
   * Puts bytes into the page cache at `offset`: opens with `keepCache` read them without asking. Of a page that is not
   * covered from its first byte to its last, or to the end of the file, nothing is kept unless it was there already. A
   * file that ends before `offset + bytes.length` grows in the kernel's eyes; none shrinks. Not for nodes that are open
   * with `backing` or `directIo`, whose reads do not look there, nor for what the kernel may have written itself and keeps
   * (`writebackCache`): that would be lost. `bytes` may not change before it resolves. Waits for reads of these pages that
   * are in progress. False: the kernel does not know the node, or this driver cannot.
   */
  store(node: NodeId, offset: number, bytes: Uint8Array): Promise<boolean>
  /** All names at once, without waiting; false where the kernel cannot (before protocol 7.44). */
  invalidateAllNames(): boolean
  /** What this kernel and driver can do. */
  readonly can: KernelAbilities
}

export interface KernelAbilities {
  readonly passthrough: boolean
  /** `invalidate…` reaches the kernel; otherwise ask for short times to live. */
  readonly invalidation: boolean
  /** `invalidateAllNames` works. */
  readonly nameEpochs: boolean
  readonly locks: boolean
}

/** What a file system may ask of the kernel for the whole of a mount. A driver that cannot grant it does without. */
export interface KernelWishes {
  /**
   * FUSE_WRITEBACK_CACHE: written pages stay in the kernel until flush (each close), fsync, or memory is short, and many
   * small writes come as few large ones. Then
   *
   * - of a regular file that the kernel knows, size, mtime and ctime are the kernel's own: what the file system answers is
   *   not believed, not even after `invalidateAttributes`. The kernel hands its mtime over with `setAttributes`. A file that
   *   others have changed needs a new node, or has to be forgotten by the kernel first. So this is for file systems whose
   *   files only this mount changes while it knows them;
   * - `write` comes late: with any handle that is open for writing, also after the flush of another, without `append`, in
   *   the name of no process (uid, gid and pid 0). Its error is that of a later fsync or close;
   * - `read` comes for handles that are open for writing only, to complete a page;
   * - there is no passthrough: a file with `backing` is served from its descriptor, uncached.
   */
  readonly writebackCache?: boolean
  /**
   * How far the kernel reads ahead of a program that reads in order. Its default, 128 KiB, is one request at a time: too
   * little where each takes a way over a network. Root only; otherwise it stays.
   */
  readonly readAheadBytes?: number
}

export interface FileSystem {
  /** Read once, before `attach`. */
  readonly wants?: KernelWishes

  /** Called once, before any other call. */
  attach?(kernel: KernelCache): void
  /** Called once, after the last call: the mount is gone. Everything the kernel held is forgotten. */
  detach?(): Awaitable<void>

  lookup(context: CallContext, parent: NodeId, name: string): Awaitable<Entry | AbsentEntry>
  /** The kernel gives back `count` lookups of `node`. There is nobody to tell of a failure: it is only logged. */
  forget(node: NodeId, count: number): void

  getAttributes(context: CallContext, node: NodeId, handle?: Handle): Awaitable<AttributesReply>
  setAttributes(
    context: CallContext,
    node: NodeId,
    changes: AttributeChanges,
    handle?: Handle,
  ): Awaitable<AttributesReply>
  /** access(2) when the kernel does not check permissions itself. `mask`: MAY_READ, MAY_WRITE, MAY_EXEC. */
  access?(context: CallContext, node: NodeId, mask: number): Awaitable<void>
  readlink(context: CallContext, node: NodeId): Awaitable<string>

  makeNode(context: CallContext, node: NewNode): Awaitable<Entry>
  makeDirectory(context: CallContext, node: NewNode): Awaitable<Entry>
  makeSymlink(context: CallContext, parent: NodeId, name: string, target: string): Awaitable<Entry>
  link(context: CallContext, node: NodeId, newParent: NodeId, newName: string): Awaitable<Entry>
  unlink(context: CallContext, parent: NodeId, name: string): Awaitable<void>
  removeDirectory(context: CallContext, parent: NodeId, name: string): Awaitable<void>
  rename(context: CallContext, renaming: Renaming): Awaitable<void>

  open(context: CallContext, node: NodeId, flags: number): Awaitable<Opened>
  /**
   * Makes a file and opens it. If there is one by now, fails with EEXIST where `flags` has O_EXCL, else with ESTALE: the
   * kernel, which had been told that there is none, then looks again and opens it.
   */
  create(context: CallContext, node: NewNode, flags: number): Awaitable<{ entry: Entry; opened: Opened }>
  /** O_TMPFILE: an open file without a name. */
  createTemporary?(context: CallContext, node: NewNode, flags: number): Awaitable<{ entry: Entry; opened: Opened }>
  /** At most `length` bytes; fewer only at the end of the file. */
  read(context: CallContext, handle: Handle, offset: number, length: number): Awaitable<ReadResult>
  /**
   * `data` is valid until the result is settled. `append`: the descriptor has O_APPEND, and `offset` is only where the
   * kernel believes the end to be. Returns the number of bytes taken. `keep` may be called until then: `data` is the file
   * system's after that, for ever, or until it calls what `keep` returned. It holds on to up to 1 MiB, whatever its length.
   */
  write(
    context: CallContext,
    handle: Handle,
    offset: number,
    data: Uint8Array,
    append: boolean,
    keep?: KeepData,
  ): Awaitable<number>
  /** One close(2) of a descriptor; its error is close's. POSIX locks of `lockOwner` on the file end here. */
  flush(context: CallContext, handle: Handle, lockOwner: bigint): Awaitable<void>
  /** The last reference to the open file is gone. `flockOwner`: its flock lock ends here. */
  release(handle: Handle, flockOwner?: bigint): Awaitable<void>
  fsync(context: CallContext, handle: Handle, dataOnly: boolean): Awaitable<void>

  openDirectory(context: CallContext, node: NodeId): Awaitable<OpenedDirectory>
  /** Adds entries after `cookie` (0: from the start) to `sink` until it is full or there are no more. */
  readDirectory(context: CallContext, handle: Handle, cookie: number, sink: DirectorySink): Awaitable<void>
  releaseDirectory(handle: Handle): Awaitable<void>
  fsyncDirectory(context: CallContext, handle: Handle, dataOnly: boolean): Awaitable<void>

  statfs(context: CallContext, node: NodeId): Awaitable<FileSystemStats>
  /** syncfs(2). */
  sync?(context: CallContext): Awaitable<void>

  readonly locks?: Locks
  readonly xattrs?: ExtendedAttributes
  readonly allocation?: Allocation
  readonly copy?: CopyRange
}
