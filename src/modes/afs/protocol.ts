// The programs of mode `afs` as tables. The procedures have the names and the meaning of OpenAFS's (fs_callback.xg,
// afsint.xg), where it has them; the wire is the house's own (src/rpc/ws).
//
// Failures are errno (FsError) and the errors of the table: VNOVOL, VMOVED and VBUSY of every procedure with a fid. ESTALE: no
// such file any more, or never (VNOVNODE of OpenAFS); EACCES, EPERM, EROFS: not for this caller; EIO: a defect.
//
// A change is answered when every other client that was promised to be told of it has been, or could not be reached, or its
// promise had expired. The answer has the new status of all that changed.
import * as v from 'valibot'
import { list, nothing, type Procedure, procedure, program, text, unsigned } from '../../rpc/ws/index.ts'
import { BREAK_MAX, BULK_MAX, ENTRIES_MAX, HOLDERS_MAX, LENGTH_MAX, SYMLINK_MAX_BYTES } from './limits.ts'
import {
  Changes,
  Entry,
  errors,
  Fid,
  Holder,
  Known,
  Missed,
  Name,
  Promised,
  Status,
  VolumeName,
  Who,
} from './records.ts'

const who = Who
const fid = Fid
const place = { who, parent: Fid, name: Name }
const Place = v.object({ parent: Fid, name: Name })
/** Permission bits; the caller has applied umask. */
const mode = unsigned(0o7777)
const once = { idempotent: false } as const

/** What made something says. */
const Made = v.object({ made: Known, parent: Known })
/** What removed a name says. `removed`: what is left of what it led to; null if that was its last name. */
const Removed = v.object({ removed: v.nullable(Known), fid: Fid, parent: Known })

/** 'shared' or 'exclusive', of the whole file. `owner`: whoever of the client's programs; the client's own name for it. */
const Lock = { fid, owner: text(64) }

export const VolumeStatus = v.object({
  volume: unsigned(2 ** 32 - 1),
  name: VolumeName,
  /** RW: may be changed. RO: a released replica. BK: a snapshot. */
  type: v.picklist(['RW', 'RO', 'BK']),
  root: Fid,
  /** Sums of what it holds, and may hold: null, whatever the host has room for. */
  usedBytes: unsigned(),
  usedInodes: unsigned(),
  quotaBytes: v.nullable(unsigned()),
  quotaInodes: v.nullable(unsigned()),
  /** As statfs(2), in blocks of `blockBytes`. */
  blockBytes: unsigned(),
  blocks: unsigned(),
  freeBlocks: unsigned(),
  availableBlocks: unsigned(),
  files: unsigned(),
  freeFiles: unsigned(),
})

export const AFS = program(
  'AFS',
  300_001,
  1,
  {
    /** Whether anybody is there. */
    Probe: procedure(0, nothing, nothing),
    /** The server's clock, in milliseconds since the epoch. */
    GetTime: procedure(1, nothing, v.object({ nowMs: v.number() })),
    /** Attributes of anything, and a promise. */
    FetchStatus: procedure(2, v.object({ who, fid }), Known),
    /** The same of many, each with an answer of its own: null for a fid that leads to nothing. */
    BulkStatus: procedure(
      3,
      v.object({ who, fids: list(Fid, BULK_MAX) }),
      v.object({ known: list(v.nullable(Known), BULK_MAX) }),
    ),
    /**
     * The content of a regular file from `offset` on, as it is now: what is stored meanwhile does not get into it, what is
     * written by others than AFS may (then the promise is broken). EISDIR, EINVAL (no file), EACCES.
     */
    FetchData: procedure(4, v.object({ who, fid, offset: unsigned(LENGTH_MAX) }), Known, { bytesOut: true }),
    /**
     * Names in a directory, without `.` and `..`, a page at a time: `after` is 0, then the `next` of the page before, until
     * that is null. With `statuses`, what BulkStatus says of each entry. Pages with another data version than the first are
     * of another directory: begin again. ENOTDIR, EACCES.
     */
    FetchDirectory: procedure(
      5,
      v.object({ who, fid, after: unsigned(), limit: unsigned(ENTRIES_MAX), statuses: v.boolean() }),
      v.object({
        directory: Known,
        entries: list(Entry, ENTRIES_MAX),
        /** Of each entry, in the same order, or none at all. Volume and numbers are the entry's. */
        statuses: list(v.nullable(v.object({ status: Status, callback: Promised })), ENTRIES_MAX),
        next: v.nullable(unsigned()),
      }),
    ),
    /** One name, for whoever may walk through a directory and not list it; `..` too. Null: there is none. ENOTDIR, EACCES. */
    Lookup: procedure(6, v.object(place), v.object({ found: v.nullable(Known), directory: Known })),
    /** Where a symbolic link leads; a status says so, too. EINVAL. */
    Readlink: procedure(7, v.object({ who, fid }), v.object({ target: text(SYMLINK_MAX_BYTES) })),
    /**
     * Replaces the whole content by the `length` bytes that come, and changes attributes with it. At any moment, whatever
     * dies, the file is the old one or the new one. `durable`: it survives loss of power when this is answered.
     * `previousVersion` is what it replaced: if that is not what the client had fetched, somebody's store is lost (last
     * close wins). EDQUOT and ENOSPC: nothing changed. EISDIR, EINVAL, EFBIG, EACCES; ESTALE: deleted meanwhile.
     */
    StoreData: procedure(
      10,
      v.object({ who, fid, length: unsigned(LENGTH_MAX), durable: v.boolean(), changes: Changes }),
      v.object({ file: Known, previousVersion: unsigned() }),
      { bytesIn: true, idempotent: false },
    ),
    /** chmod, chown, utimes; `length`: truncate, which is a store. EPERM, EDQUOT. */
    StoreStatus: procedure(
      11,
      v.object({ who, fid, changes: Changes, length: v.optional(unsigned(LENGTH_MAX)) }),
      v.object({ file: Known }),
      once,
    ),
    /** A regular file, empty. EEXIST, ENOTDIR, ENOENT (the directory is deleted), EDQUOT, ENOSPC, ENAMETOOLONG. */
    CreateFile: procedure(12, v.object({ ...place, mode }), Made, once),
    MakeDir: procedure(13, v.object({ ...place, mode }), Made, once),
    /** EINVAL, ENAMETOOLONG: for the target, too. */
    Symlink: procedure(14, v.object({ ...place, target: text(SYMLINK_MAX_BYTES) }), Made, once),
    /** A FIFO or a socket; devices for root. EPERM. OpenAFS has no such thing. */
    MakeNode: procedure(
      15,
      v.object({ ...place, mode, type: v.picklist(['fifo', 'socket', 'char', 'block']), rdev: unsigned(2 ** 32 - 1) }),
      Made,
      once,
    ),
    /** One more name of a file. EPERM (a directory), EMLINK, EXDEV (another volume), EEXIST. */
    Link: procedure(16, v.object({ ...place, fid }), Made, once),
    /**
     * rename(2), and renameat2(2): 'noReplace' is EEXIST if there is such a name; 'exchange' lets both swap places, and `replaced`
     * is the other. ENOENT, ENOTEMPTY, EISDIR, ENOTDIR, EINVAL, EXDEV.
     */
    Rename: procedure(
      17,
      v.object({ who, from: Place, to: Place, how: v.picklist(['replace', 'noReplace', 'exchange']) }),
      v.object({ moved: Known, from: Known, to: Known, replaced: v.nullable(v.omit(Removed, ['parent'])) }),
      once,
    ),
    /** ENOENT, EISDIR. */
    RemoveFile: procedure(18, v.object(place), Removed, once),
    /** ENOENT, ENOTDIR, ENOTEMPTY. */
    RemoveDir: procedure(19, v.object(place), Removed, once),
    /** A place where another volume appears. It is removed by RemoveFile. EINVAL: that is no name of a volume. */
    MakeMountPoint: procedure(20, v.object({ ...place, volume: VolumeName, readWrite: v.boolean() }), Made, once),
    /**
     * Locks the whole file for 5 minutes, or changes a lock that this owner has. Nobody waits: EAGAIN, as long as another's
     * lock is in the way. Other protocols' locks of the volume are. ENOLCK: too many.
     */
    SetLock: procedure(30, v.object({ ...Lock, exclusive: v.boolean() }), v.object({ expiresInMs: unsigned() })),
    /** For 5 more minutes. ENOLCK: it is not held any more. */
    ExtendLock: procedure(31, v.object(Lock), v.object({ expiresInMs: unsigned() })),
    /** Nothing happens if there is none. */
    ReleaseLock: procedure(32, v.object(Lock), nothing),
    /** The client does not keep these any more. */
    GiveUpCallBacks: procedure(40, v.object({ fids: list(Fid, BREAK_MAX) }), nothing),
    /** Nor any other: it goes. */
    GiveUpAllCallBacks: procedure(41, nothing, nothing),
    /** Of a volume by number or by name: its root, quota, and what is in it. VNOVOL with volume 0 for a name. */
    GetVolumeStatus: procedure(50, v.object({ volume: v.union([unsigned(2 ** 32 - 1), VolumeName]) }), VolumeStatus),
    /** For people: who was promised to be told of a file, until when; and who may have missed what. */
    GetHolders: procedure(
      51,
      v.object({ fid }),
      v.object({ holders: list(Holder, HOLDERS_MAX), missed: list(Missed, HOLDERS_MAX) }),
    ),
  },
  { errors },
)

/** What clients serve, on the connection that they made. */
export const AFSCB = program('AFSCB', 300_002, 1, {
  /** Whether the client is there. */
  Probe: procedure(0, nothing, nothing),
  /**
   * These are about to change: what is kept of them is not to be believed from now on, nor what comes with answers to calls
   * that were made before. It is answered at once: whoever changes them waits for it.
   */
  CallBack: procedure(1, v.object({ fids: list(Fid, BREAK_MAX) }), nothing),
  /** No promise of this server stands: it begins anew, or could not reach the client when something changed. */
  InitCallBackState: procedure(2, nothing, nothing),
})

export type Afs = (typeof AFS)['procedures']
export type Arguments<P extends keyof Afs> = Afs[P] extends Procedure<infer A, infer _> ? A : never
export type Result<P extends keyof Afs> = Afs[P] extends Procedure<infer _, infer R> ? R : never
