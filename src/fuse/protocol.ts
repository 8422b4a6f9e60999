// The kernel's FUSE protocol 7.x up to 7.45: records and constants, after <linux/fuse.h>. Names in comments are the
// header's. Own definitions, since an installed header may be older than the running kernel.
import { clamped, i32, i64, record, u16, u32, u64, u64big } from '../codec/record.ts'

export const FUSE_MAJOR = 7
export const FUSE_MINOR = 45
/** The oldest minor version this driver speaks: 7.31 (Linux 5.4). */
export const FUSE_MINOR_MIN = 31

/** fuse_in_header */
export const InHeader = record({
  length: u32,
  opcode: u32,
  unique: u64,
  node: u64,
  uid: u32,
  gid: u32,
  pid: u32,
  extensionWords: u16,
  _padding: u16,
})

/** fuse_out_header; for a notification `error` is its code and `unique` is 0. */
export const OutHeader = record({ length: u32, error: i32, unique: u64 })

const attributes = {
  ino: u64,
  size: u64,
  blocks: u64,
  atime: i64,
  mtime: i64,
  ctime: i64,
  atimeNsec: u32,
  mtimeNsec: u32,
  ctimeNsec: u32,
  mode: u32,
  nlink: u32,
  uid: u32,
  gid: u32,
  rdev: u32,
  blockSize: u32,
  attributeFlags: u32,
}

/** fuse_entry_out with its fuse_attr */
export const EntryOut = record({
  node: u64,
  generation: u64,
  nameValid: u64,
  attributesValid: u64,
  nameValidNsec: u32,
  attributesValidNsec: u32,
  ...attributes,
})

/** fuse_attr_out with its fuse_attr */
export const AttributesOut = record({ attributesValid: u64, attributesValidNsec: u32, dummy: u32, ...attributes })

/** fuse_statx_in */
export const StatxIn = record({ getattrFlags: u32, _reserved: u32, handle: u64, flags: u32, mask: u32 })

const sxTime = <const P extends string>(name: P) =>
  ({ [name]: i64, [`${name}Nsec`]: u32, [`_${name}Reserved`]: u32 }) as Record<P, typeof i64> &
    Record<`${P}Nsec`, typeof u32>

/** fuse_statx_out with its fuse_statx (the ABI of statx(2)); 14 spare words follow, see STATX_SPARE_BYTES. */
export const StatxOut = record({
  attributesValid: u64,
  attributesValidNsec: u32,
  flags: u32,
  spare1: u64,
  spare2: u64,
  mask: u32,
  blockSize: u32,
  statxAttributes: u64,
  nlink: u32,
  uid: u32,
  gid: u32,
  mode: u16,
  spare3: u16,
  ino: u64,
  size: u64,
  blocks: u64,
  attributesMask: u64,
  ...sxTime('atime'),
  ...sxTime('btime'),
  ...sxTime('ctime'),
  ...sxTime('mtime'),
  rdevMajor: u32,
  rdevMinor: u32,
  devMajor: u32,
  devMinor: u32,
})
export const STATX_SPARE_BYTES = 14 * 8
/** STATX_BASIC_STATS | STATX_BTIME */
export const STATX_MASK = 0xfff

export const InitIn = record({ major: u32, minor: u32, maxReadahead: u32, flags: u32 })
/** The part of fuse_init_in that FUSE_INIT_EXT adds. */
export const InitInExtended = record({ major: u32, minor: u32, maxReadahead: u32, flags: u32, flags2: u32 })
/** fuse_init_out, 64 bytes */
export const InitOut = record({
  major: u32,
  minor: u32,
  maxReadahead: u32,
  flags: u32,
  maxBackground: u16,
  congestionThreshold: u16,
  maxWrite: u32,
  timeGranularity: u32,
  maxPages: u16,
  mapAlignment: u16,
  flags2: u32,
  maxStackDepth: u32,
  requestTimeout: u16,
  unused1: u16,
  unused2: u64,
  unused3: u64,
  unused4: u32,
})

export const ForgetIn = record({ count: u64 })
export const BatchForgetIn = record({ count: u32, _dummy: u32 })
export const ForgetOne = record({ node: u64, count: u64 })
export const GetattrIn = record({ flags: u32, _dummy: u32, handle: u64 })
export const SetattrIn = record({
  valid: u32,
  _padding: u32,
  handle: u64,
  size: clamped,
  _lockOwner: u64big,
  atime: clamped,
  mtime: clamped,
  ctime: clamped,
  atimeNsec: u32,
  mtimeNsec: u32,
  ctimeNsec: u32,
  mode: u32,
  _unused4: u32,
  uid: u32,
  gid: u32,
  _unused5: u32,
})
export const MknodIn = record({ mode: u32, rdev: u32, umask: u32, _padding: u32 })
export const MkdirIn = record({ mode: u32, umask: u32 })
export const RenameIn = record({ newParent: u64 })
export const Rename2In = record({ newParent: u64, flags: u32, _padding: u32 })
export const LinkIn = record({ node: u64 })
export const OpenIn = record({ flags: u32, openFlags: u32 })
export const CreateIn = record({ flags: u32, mode: u32, umask: u32, openFlags: u32 })
export const OpenOut = record({ handle: u64, flags: u32, backingId: i32 })
export const ReleaseIn = record({ handle: u64, flags: u32, releaseFlags: u32, lockOwner: u64big })
export const FlushIn = record({ handle: u64, _unused: u32, _padding: u32, lockOwner: u64big })
/** fuse_read_in and fuse_write_in */
export const TransferIn = record({
  handle: u64,
  offset: u64,
  size: u32,
  transferFlags: u32,
  _lockOwner: u64big,
  flags: u32,
  _padding: u32,
})
export const WriteOut = record({ size: u32, padding: u32 })
export const FsyncIn = record({ handle: u64, flags: u32, _padding: u32 })
export const SetxattrIn = record({ size: u32, flags: u32 })
/** fuse_getxattr_in and fuse_getxattr_out */
export const XattrSize = record({ size: u32, padding: u32 })
export const AccessIn = record({ mask: u32, _padding: u32 })
export const InterruptIn = record({ unique: u64 })
export const LockIn = record({
  handle: u64,
  owner: u64big,
  start: u64big,
  end: u64big,
  type: u32,
  pid: u32,
  flags: u32,
  _padding: u32,
})
export const LockOut = record({ start: u64big, end: u64big, type: u32, pid: u32 })
export const FallocateIn = record({ handle: u64, offset: clamped, length: clamped, mode: u32, _padding: u32 })
export const LseekIn = record({ handle: u64, offset: clamped, whence: u32, _padding: u32 })
export const LseekOut = record({ offset: u64 })
export const CopyFileRangeIn = record({
  handleIn: u64,
  offsetIn: clamped,
  nodeOut: u64,
  handleOut: u64,
  offsetOut: clamped,
  length: u64big,
  flags: u64big,
})
export const CopyFileRangeOut = record({ bytes: u64 })
/** fuse_kstatfs, 80 bytes */
export const StatfsOut = record({
  blocks: u64,
  freeBlocks: u64,
  availableBlocks: u64,
  files: u64,
  freeFiles: u64,
  blockSize: u32,
  nameMax: u32,
  fragmentSize: u32,
  padding: u32,
  spare1: u64,
  spare2: u64,
  spare3: u64,
})
/** fuse_dirent; the name follows, padded to 8 bytes. In READDIRPLUS a fuse_entry_out stands before it. */
export const Dirent = record({ ino: u64, cookie: u64, nameLength: u32, type: u32 })
/** fuse_notify_inval_inode_out */
export const InvalidateNodeOut = record({ node: u64, offset: i64, length: i64 })
/** fuse_notify_inval_entry_out; the name and a NUL follow, which `nameLength` does not count. */
export const InvalidateNameOut = record({ parent: u64, nameLength: u32, flags: u32 })
/** fuse_notify_delete_out; the name follows in the same way. */
export const DeleteOut = record({ parent: u64, child: u64, nameLength: u32, padding: u32 })
/** fuse_notify_store_out; the bytes follow. */
export const StoreOut = record({ node: u64, offset: u64, size: u32, padding: u32 })

/** FATTR_*: which fields of SetattrIn are meant. */
export const FATTR = {
  MODE: 1 << 0,
  UID: 1 << 1,
  GID: 1 << 2,
  SIZE: 1 << 3,
  ATIME: 1 << 4,
  MTIME: 1 << 5,
  HANDLE: 1 << 6,
  ATIME_NOW: 1 << 7,
  MTIME_NOW: 1 << 8,
  KILL_SUIDGID: 1 << 11,
} as const

/** FOPEN_* */
export const FOPEN = {
  DIRECT_IO: 1 << 0,
  KEEP_CACHE: 1 << 1,
  CACHE_DIR: 1 << 3,
  STREAM: 1 << 4,
  NOFLUSH: 1 << 5,
  PARALLEL_DIRECT_WRITES: 1 << 6,
  PASSTHROUGH: 1 << 7,
} as const

export const FUSE_GETATTR_FH = 1
export const FUSE_LK_FLOCK = 1
export const FUSE_WRITE_KILL_SUIDGID = 1 << 2
export const FUSE_OPEN_KILL_SUIDGID = 1
export const FUSE_RELEASE_FLOCK_UNLOCK = 1 << 1
export const FUSE_FSYNC_FDATASYNC = 1

/** FUSE_NOTIFY_* codes. */
export const NOTIFY = { INVALIDATE_NODE: 2, INVALIDATE_NAME: 3, STORE: 4, DELETE: 6, INCREMENT_EPOCH: 8 } as const
/** FUSE_EXPIRE_ONLY: a flag of InvalidateNameOut. */
export const FUSE_EXPIRE_ONLY = 1

/** INIT flags as 64 bits: the low word travels in `flags`, the high word in `flags2` (with INIT_EXT). */
export const INIT = {
  ASYNC_READ: 1n << 0n,
  POSIX_LOCKS: 1n << 1n,
  ATOMIC_O_TRUNC: 1n << 3n,
  BIG_WRITES: 1n << 5n,
  DONT_MASK: 1n << 6n,
  FLOCK_LOCKS: 1n << 10n,
  DO_READDIRPLUS: 1n << 13n,
  READDIRPLUS_AUTO: 1n << 14n,
  ASYNC_DIO: 1n << 15n,
  WRITEBACK_CACHE: 1n << 16n,
  PARALLEL_DIROPS: 1n << 18n,
  ABORT_ERROR: 1n << 21n,
  MAX_PAGES: 1n << 22n,
  CACHE_SYMLINKS: 1n << 23n,
  EXPLICIT_INVAL_DATA: 1n << 25n,
  HANDLE_KILLPRIV_V2: 1n << 28n,
  INIT_EXT: 1n << 30n,
  HAS_EXPIRE_ONLY: 1n << 35n,
  DIRECT_IO_ALLOW_MMAP: 1n << 36n,
  PASSTHROUGH: 1n << 37n,
} as const
