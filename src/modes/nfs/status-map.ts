// nfsstat3 (RFC 1813 §2.6) and errno, in both directions, and total in both: whatever a server answers becomes an errno
// that programs know, and whatever fails on the server becomes a status of the protocol.
import type { ErrnoName } from '../../posix/errors.ts'

/** RFC 1813 §2.6. */
export const NFSSTAT3 = {
  NFS3_OK: 0,
  NFS3ERR_PERM: 1,
  NFS3ERR_NOENT: 2,
  NFS3ERR_IO: 5,
  NFS3ERR_NXIO: 6,
  NFS3ERR_ACCES: 13,
  NFS3ERR_EXIST: 17,
  NFS3ERR_XDEV: 18,
  NFS3ERR_NODEV: 19,
  NFS3ERR_NOTDIR: 20,
  NFS3ERR_ISDIR: 21,
  NFS3ERR_INVAL: 22,
  NFS3ERR_FBIG: 27,
  NFS3ERR_NOSPC: 28,
  NFS3ERR_ROFS: 30,
  NFS3ERR_MLINK: 31,
  NFS3ERR_NAMETOOLONG: 63,
  NFS3ERR_NOTEMPTY: 66,
  NFS3ERR_DQUOT: 69,
  NFS3ERR_STALE: 70,
  NFS3ERR_REMOTE: 71,
  NFS3ERR_BADHANDLE: 10001,
  NFS3ERR_NOT_SYNC: 10002,
  NFS3ERR_BAD_COOKIE: 10003,
  NFS3ERR_NOTSUPP: 10004,
  NFS3ERR_TOOSMALL: 10005,
  NFS3ERR_SERVERFAULT: 10006,
  NFS3ERR_BADTYPE: 10007,
  NFS3ERR_JUKEBOX: 10008,
} as const

export type NfsStatusName = keyof typeof NFSSTAT3
export type NfsErrorName = Exclude<NfsStatusName, 'NFS3_OK'>
export type Nfsstat3 = (typeof NFSSTAT3)[NfsStatusName]

/** What a program sees of each failure. */
const ERRNO: Readonly<Record<NfsErrorName, ErrnoName>> = {
  NFS3ERR_PERM: 'EPERM',
  NFS3ERR_NOENT: 'ENOENT',
  NFS3ERR_IO: 'EIO',
  NFS3ERR_NXIO: 'ENXIO',
  NFS3ERR_ACCES: 'EACCES',
  NFS3ERR_EXIST: 'EEXIST',
  NFS3ERR_XDEV: 'EXDEV',
  NFS3ERR_NODEV: 'ENODEV',
  NFS3ERR_NOTDIR: 'ENOTDIR',
  NFS3ERR_ISDIR: 'EISDIR',
  NFS3ERR_INVAL: 'EINVAL',
  NFS3ERR_FBIG: 'EFBIG',
  NFS3ERR_NOSPC: 'ENOSPC',
  NFS3ERR_ROFS: 'EROFS',
  NFS3ERR_MLINK: 'EMLINK',
  NFS3ERR_NAMETOOLONG: 'ENAMETOOLONG',
  NFS3ERR_NOTEMPTY: 'ENOTEMPTY',
  NFS3ERR_DQUOT: 'EDQUOT',
  NFS3ERR_STALE: 'ESTALE',
  // The rest has no errno of its own that programs would know. "Too many levels of remote in path":
  NFS3ERR_REMOTE: 'EREMOTEIO',
  // To the program it is all one whether its handle was never good or is not any more.
  NFS3ERR_BADHANDLE: 'ESTALE',
  // The guard of a SETATTR did not match (RFC 1813 §3.3.2): somebody else was faster.
  NFS3ERR_NOT_SYNC: 'EBUSY',
  // A client starts reading the directory again; only one that cannot tells its program.
  NFS3ERR_BAD_COOKIE: 'EINVAL',
  NFS3ERR_NOTSUPP: 'EOPNOTSUPP',
  NFS3ERR_TOOSMALL: 'EINVAL',
  NFS3ERR_SERVERFAULT: 'EREMOTEIO',
  NFS3ERR_BADTYPE: 'EOPNOTSUPP',
  // "Try again later": a client does so by itself.
  NFS3ERR_JUKEBOX: 'EAGAIN',
}

/** How each errno travels; what is not here travels as NFS3ERR_IO. */
const STATUS: Readonly<Partial<Record<ErrnoName, NfsErrorName>>> = {
  EPERM: 'NFS3ERR_PERM',
  ENOENT: 'NFS3ERR_NOENT',
  EIO: 'NFS3ERR_IO',
  ENXIO: 'NFS3ERR_NXIO',
  EACCES: 'NFS3ERR_ACCES',
  EEXIST: 'NFS3ERR_EXIST',
  EXDEV: 'NFS3ERR_XDEV',
  ENODEV: 'NFS3ERR_NODEV',
  ENOTDIR: 'NFS3ERR_NOTDIR',
  EISDIR: 'NFS3ERR_ISDIR',
  EINVAL: 'NFS3ERR_INVAL',
  EFBIG: 'NFS3ERR_FBIG',
  ENOSPC: 'NFS3ERR_NOSPC',
  EROFS: 'NFS3ERR_ROFS',
  EMLINK: 'NFS3ERR_MLINK',
  ENAMETOOLONG: 'NFS3ERR_NAMETOOLONG',
  ENOTEMPTY: 'NFS3ERR_NOTEMPTY',
  EDQUOT: 'NFS3ERR_DQUOT',
  ESTALE: 'NFS3ERR_STALE',
  EREMOTEIO: 'NFS3ERR_SERVERFAULT',
  EOPNOTSUPP: 'NFS3ERR_NOTSUPP',
  ENOTSUP: 'NFS3ERR_NOTSUPP',
  ENOSYS: 'NFS3ERR_NOTSUPP',
  // A running program, a busy directory, a mandatory lock: the caller may not do that now.
  ETXTBSY: 'NFS3ERR_ACCES',
  EBUSY: 'NFS3ERR_ACCES',
  // Arguments that no implementation here takes: a name that is not UTF-8, a symbolic link where a file has to be, an
  // offset beyond what the store can count.
  EILSEQ: 'NFS3ERR_INVAL',
  ELOOP: 'NFS3ERR_INVAL',
  EOVERFLOW: 'NFS3ERR_INVAL',
  EBADF: 'NFS3ERR_INVAL',
  // What passes: the client is to ask again.
  EAGAIN: 'NFS3ERR_JUKEBOX',
  EWOULDBLOCK: 'NFS3ERR_JUKEBOX',
  ETIMEDOUT: 'NFS3ERR_JUKEBOX',
  ENOMEM: 'NFS3ERR_JUKEBOX',
  ENOBUFS: 'NFS3ERR_JUKEBOX',
  EMFILE: 'NFS3ERR_JUKEBOX',
  ENFILE: 'NFS3ERR_JUKEBOX',
}

const NAMES: ReadonlyMap<number, NfsStatusName> = new Map(
  (Object.keys(NFSSTAT3) as NfsStatusName[]).map((name) => [NFSSTAT3[name], name]),
)

/** The name of a status as RFC 1813 spells it; undefined for a number that it does not define. */
export const statusName = (status: number): NfsStatusName | undefined => NAMES.get(status)

/** The errno of a failure; undefined for NFS3_OK. A status that RFC 1813 does not define is EIO. */
export function errnoOfStatus(status: number): ErrnoName | undefined {
  const name = NAMES.get(status)
  if (name === 'NFS3_OK') return undefined
  return name === undefined ? 'EIO' : ERRNO[name]
}

/** The status that tells a client of `errno`. */
export function statusOfErrno(errno: ErrnoName): Nfsstat3 {
  return NFSSTAT3[STATUS[errno] ?? 'NFS3ERR_IO']
}
