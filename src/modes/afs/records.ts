// What the programs of mode `afs` exchange: fids, statuses, callback promises, and who asks. Each has its limits.
import * as v from 'valibot'
import { list, type Schema, text, unsigned } from '../../rpc/ws/index.ts'
import { SYMLINK_MAX_BYTES, TIME_MAX } from './limits.ts'

const NAME_BYTES = 255
const GROUPS = 1024
const U32 = 2 ** 32 - 1

/** AFSFid: names a file, directory or link for ever. */
export const Fid = v.object({
  /** Number of the volume. */
  volume: unsigned(U32),
  /** Inode number. */
  vnode: unsigned(),
  /** Generation: a vnode number that is used again has another one. */
  unique: unsigned(),
})
export type Fid = v.InferOutput<typeof Fid>

/** A name in a directory. What else it must not be (empty, with a slash or a NUL), the volume says: EINVAL, EILSEQ. */
export const Name = text(NAME_BYTES)
export const VolumeName = text(64)

/** In whose name a call is made, as AUTH_SYS of ONC RPC says it: believed, unless the server squashes it. */
export const Who = v.object({ uid: unsigned(U32), gid: unsigned(U32), groups: list(unsigned(U32), GROUPS) })
export type Who = v.InferOutput<typeof Who>

/** Whole seconds since the epoch, and nanoseconds. */
export const Time = v.tuple([
  v.pipe(v.number(), v.safeInteger(), v.minValue(-TIME_MAX), v.maxValue(TIME_MAX)),
  unsigned(999_999_999),
])
export type Time = v.InferOutput<typeof Time>

export const FILE_TYPES = ['file', 'directory', 'symlink', 'mountpoint', 'fifo', 'socket', 'char', 'block'] as const
export const FileType = v.picklist(FILE_TYPES)
export type FileType = v.InferOutput<typeof FileType>

/** AFSFetchStatus. */
export const Status = v.object({
  type: FileType,
  /** Bytes. */
  length: unsigned(),
  /** Grows by one with each store, of a directory with each change. Two of one number are the same content. */
  dataVersion: unsigned(),
  /** Grows with every change, attributes included. */
  change: unsigned(),
  /** Permission bits, 07777. */
  mode: unsigned(0o7777),
  uid: unsigned(U32),
  gid: unsigned(U32),
  nlink: unsigned(),
  rdev: unsigned(),
  /** Of 512 bytes. */
  blocks: unsigned(),
  atime: Time,
  mtime: Time,
  ctime: Time,
  btime: Time,
  /** Of a directory: the one above (its own, at the root of a volume). */
  parent: v.nullable(Fid),
  /** Of a symbolic link, where it leads; of a mount point, `#volume` or `%volume`. */
  target: v.nullable(text(SYMLINK_MAX_BYTES)),
})
export type Status = v.InferOutput<typeof Status>

/**
 * AFSCallBack: the server tells before this changes, for so many milliseconds, which count from when the call was made.
 * None: nothing is promised. It may be believed for the answer to this call, and not kept.
 */
export const Promised = v.nullable(v.object({ expiresInMs: unsigned() }))
export type Promised = v.InferOutput<typeof Promised>

/** What a client may keep of a file, and for how long. */
export const Known = v.object({ fid: Fid, status: Status, callback: Promised })
export type Known = v.InferOutput<typeof Known>

/** AFSStoreStatus: what is to change; what is absent stays. */
export const Changes = v.object({
  mode: v.optional(unsigned(0o7777)),
  uid: v.optional(unsigned(U32 - 1)),
  gid: v.optional(unsigned(U32 - 1)),
  /** 'now': the server's clock. */
  atime: v.optional(v.union([v.literal('now'), Time])),
  mtime: v.optional(v.union([v.literal('now'), Time])),
})
export type Changes = v.InferOutput<typeof Changes>

/** An entry of a directory, compact: name, vnode, unique, type. All are of the directory's volume. */
export const Entry = v.tuple([Name, unsigned(), unsigned(), FileType])
export type Entry = v.InferOutput<typeof Entry>

/** Who holds a promise, as status views show it. */
export const Holder = v.object({
  client: text(300),
  /** Undefined: never. */
  expiresInMs: v.optional(unsigned()),
  /** It is being told that the promise ends. */
  breaking: v.boolean(),
})
/** A client that may not have heard of breaks. */
export const Missed = v.object({ client: text(300), breaks: unsigned(), sinceMs: unsigned(), unreachable: v.boolean() })

export const errors: Readonly<Record<string, Schema<unknown>>> = {
  /** There is no such volume here, and this server does not know where. */
  VNOVOL: v.object({ volume: unsigned(U32) }),
  /** It has moved: another server has it. The volume location server knows, too. */
  VMOVED: v.object({ volume: unsigned(U32), server: text(300) }),
  /** It is being moved or cloned: soon. */
  VBUSY: v.object({ volume: unsigned(U32) }),
}
