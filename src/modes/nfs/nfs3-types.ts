// The data types of NFS version 3 (RFC 1813 §2.5, §2.6), under the RFC's names.
import {
  bool,
  type Codec,
  enumeration,
  fixedOpaque,
  list,
  opaque,
  optional,
  struct,
  text,
  u32,
  u64big,
  union,
  type Value,
} from '../../codec/xdr.ts'
import { NFSSTAT3 } from './status-map.ts'

/** RFC 1813 §2.4. */
export const NFS3_FHSIZE = 64
export const NFS3_COOKIEVERFSIZE = 8
export const NFS3_CREATEVERFSIZE = 8
export const NFS3_WRITEVERFSIZE = 8

/** Bytes of data in one READ or WRITE, and of one directory reply. */
export const TRANSFER_MAX = 1 << 20
/** Longest name and longest path (of a symbolic link) that are taken, in bytes; longer ones are GARBAGE_ARGS. */
const NAME_LIMIT = 1024
const PATH_LIMIT = 4096
/** Entries of one directory reply: no reply of TRANSFER_MAX has more. */
const ENTRIES_MAX = TRANSFER_MAX / 24

export const nfsstat3 = enumeration(NFSSTAT3)
export const nfs_fh3 = opaque(NFS3_FHSIZE)
export const filename3 = text(NAME_LIMIT)
export const nfspath3 = text(PATH_LIMIT)
export const cookieverf3 = fixedOpaque(NFS3_COOKIEVERFSIZE)
export const createverf3 = fixedOpaque(NFS3_CREATEVERFSIZE)
export const writeverf3 = fixedOpaque(NFS3_WRITEVERFSIZE)

/**
 * A server's name for an inode. Servers choose all 64 bits as they like; here it is a safe integer, the upper bits folded
 * in: two files of one directory may then look like one to programs that go by st_ino, once in 2^53.
 */
export const fileid3: Codec<number> = {
  minBytes: 8,
  read(from) {
    const high = from.u32()
    return ((high ^ (high >>> 21)) & 0x1f_ffff) * 2 ** 32 + from.u32()
  },
  write: (to, value) => to.u64(value),
}

export const FTYPE3 = { NF3REG: 1, NF3DIR: 2, NF3BLK: 3, NF3CHR: 4, NF3LNK: 5, NF3SOCK: 6, NF3FIFO: 7 } as const
export const ftype3 = enumeration(FTYPE3)
export type Ftype3 = keyof typeof FTYPE3

export const specdata3 = struct({ specdata1: u32, specdata2: u32 })
export const nfstime3 = struct({ seconds: u32, nseconds: u32 })

/**
 * size3, offset3 (RFC 1813 §2.5) and numbers of bytes: all 64 bits are valid, and what is beyond 2^53 - 1 stands for as
 * much as there can be. No file reaches there, so a READ is at its end and a WRITE is NFS3ERR_FBIG.
 */
export const size3: Codec<number> = {
  minBytes: 8,
  read(from) {
    const high = from.u32()
    const low = from.u32()
    return high > 0x1f_ffff ? Number.MAX_SAFE_INTEGER : high * 2 ** 32 + low
  },
  write: (to, value) => to.u64(value),
}

export const fattr3 = struct({
  type: ftype3,
  mode: u32,
  nlink: u32,
  uid: u32,
  gid: u32,
  size: size3,
  used: size3,
  rdev: specdata3,
  fsid: u64big,
  fileid: fileid3,
  atime: nfstime3,
  mtime: nfstime3,
  ctime: nfstime3,
})
export type Fattr3 = Value<typeof fattr3>

export const post_op_attr = optional(fattr3)
export const wcc_attr = struct({ size: size3, mtime: nfstime3, ctime: nfstime3 })
export type WccAttr = Value<typeof wcc_attr>
export const wcc_data = struct({ before: optional(wcc_attr), after: post_op_attr })
export type WccData = Value<typeof wcc_data>
export const post_op_fh3 = optional(nfs_fh3)

/** time_how */
const setTime = union('how', enumeration({ DONT_CHANGE: 0, SET_TO_SERVER_TIME: 1, SET_TO_CLIENT_TIME: 2 }), {
  DONT_CHANGE: {},
  SET_TO_SERVER_TIME: {},
  SET_TO_CLIENT_TIME: { time: nfstime3 },
})
export const sattr3 = struct({
  mode: optional(u32),
  uid: optional(u32),
  gid: optional(u32),
  size: optional(size3),
  atime: setTime,
  mtime: setTime,
})
export type Sattr3 = Value<typeof sattr3>

export const diropargs3 = struct({ dir: nfs_fh3, name: filename3 })

/** ACCESS3_* (RFC 1813 §3.3.4). */
export const ACCESS3 = { READ: 0x01, LOOKUP: 0x02, MODIFY: 0x04, EXTEND: 0x08, DELETE: 0x10, EXECUTE: 0x20 } as const

export const stable_how = enumeration({ UNSTABLE: 0, DATA_SYNC: 1, FILE_SYNC: 2 })

export const createhow3 = union('mode', enumeration({ UNCHECKED: 0, GUARDED: 1, EXCLUSIVE: 2 }), {
  UNCHECKED: { attributes: sattr3 },
  GUARDED: { attributes: sattr3 },
  EXCLUSIVE: { verifier: createverf3 },
})

export const mknoddata3 = union(
  'type',
  ftype3,
  {
    NF3CHR: { attributes: sattr3, spec: specdata3 },
    NF3BLK: { attributes: sattr3, spec: specdata3 },
    NF3SOCK: { attributes: sattr3 },
    NF3FIFO: { attributes: sattr3 },
  },
  {},
)

/** entry3 and entryplus3, without the pointer to the next one. */
export const entry3 = struct({ fileid: fileid3, name: filename3, cookie: u64big })
export const entryplus3 = struct({
  fileid: fileid3,
  name: filename3,
  cookie: u64big,
  attributes: post_op_attr,
  handle: post_op_fh3,
})
export const dirlist3 = list(entry3, ENTRIES_MAX)
export const dirlistplus3 = list(entryplus3, ENTRIES_MAX)

/** FSF3_* (RFC 1813 §3.3.19). */
export const FSF3 = { LINK: 0x01, SYMLINK: 0x02, HOMOGENEOUS: 0x08, CANSETTIME: 0x10 } as const

export const eof = bool
