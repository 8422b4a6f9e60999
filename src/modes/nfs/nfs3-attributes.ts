// Attributes between POSIX and NFS version 3 (RFC 1813 §2.5, §2.6).
import type { AttributeChanges, Attributes, Timespec } from '../../posix/attributes.ts'
import { MODE_BITS, S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, S_IFSOCK } from '../../posix/mode.ts'
import type { ChangeAttributes } from '../../vfs/change-attributes.ts'
import type { Fattr3, Ftype3, Sattr3, WccAttr, WccData } from './nfs3-types.ts'

const TYPES: Readonly<Record<Ftype3, number>> = {
  NF3REG: S_IFREG,
  NF3DIR: S_IFDIR,
  NF3BLK: S_IFBLK,
  NF3CHR: S_IFCHR,
  NF3LNK: S_IFLNK,
  NF3SOCK: S_IFSOCK,
  NF3FIFO: S_IFIFO,
}
const NAMES: ReadonlyMap<number, Ftype3> = new Map((Object.keys(TYPES) as Ftype3[]).map((name) => [TYPES[name], name]))

/** The type bits of st_mode. */
export const typeBits = (type: Ftype3): number => TYPES[type]

/** A device number in the kernel's encoding (makedev(3)), as major and minor. */
export const splitDevice = (rdev: number): { specdata1: number; specdata2: number } => ({
  specdata1: (rdev >>> 8) & 0xfff,
  specdata2: (rdev & 0xff) | ((rdev >>> 12) & 0xfff00),
})

export const joinDevice = ({ specdata1, specdata2 }: { specdata1: number; specdata2: number }): number =>
  (((specdata1 & 0xfff) << 8) | (specdata2 & 0xff) | ((specdata2 & 0xfff00) << 12)) >>> 0

/** Whether the kernel's encoding has room for both numbers. */
export const isDevice = ({ specdata1, specdata2 }: { specdata1: number; specdata2: number }): boolean =>
  specdata1 <= 0xfff && specdata2 <= 0xf_ffff

/** nfstime3 counts seconds from 0 to 2^32 - 1: times before the epoch become it. */
const time3 = ({ sec, nsec }: Timespec): { seconds: number; nseconds: number } =>
  sec < 0 ? { seconds: 0, nseconds: 0 } : { seconds: Math.min(sec, 0xffff_ffff), nseconds: nsec }

export const timespec = ({ seconds, nseconds }: { seconds: number; nseconds: number }): Timespec => ({
  sec: seconds,
  nsec: Math.min(nseconds, 999_999_999),
})

export function fattr3Of(a: Attributes, fsid: bigint): Fattr3 {
  return {
    type: NAMES.get(a.mode & S_IFMT) ?? 'NF3REG',
    mode: a.mode & MODE_BITS,
    nlink: a.nlink,
    uid: a.uid,
    gid: a.gid,
    size: a.size,
    used: a.blocks * 512,
    rdev: splitDevice(a.rdev),
    fsid,
    fileid: a.ino,
    atime: time3(a.atime),
    mtime: time3(a.mtime),
    ctime: time3(a.ctime),
  }
}

/** What a server says of when a file or directory changed, as caches compare it. */
export const changeOf = ({ size, mtime, ctime }: WccAttr): ChangeAttributes => ({
  size,
  mtime: timespec(mtime),
  ctime: timespec(ctime),
})

/** What a server says of a file before and after a change, as caches compare it. */
export const consistencyOf = ({ before, after }: WccData) => ({
  before: before && changeOf(before),
  after: after && changeOf(after),
})

/** What stat(2) is to show of `fattr3`; version 3 tells no time of birth, so the oldest that is known stands for it. */
export function attributesOf(from: Fattr3, blockSize: number): Attributes {
  const ctime = timespec(from.ctime)
  const mtime = timespec(from.mtime)
  return {
    ino: from.fileid,
    mode: typeBits(from.type) | (from.mode & MODE_BITS),
    nlink: from.nlink,
    uid: from.uid,
    gid: from.gid,
    rdev: joinDevice(from.rdev),
    size: from.size,
    blocks: Math.ceil(from.used / 512),
    blockSize,
    atime: timespec(from.atime),
    mtime,
    ctime,
    btime: mtime.sec < ctime.sec ? mtime : ctime,
  }
}

export const wccAttrOf = (a: Attributes): WccAttr => ({
  size: a.size,
  mtime: time3(a.mtime),
  ctime: time3(a.ctime),
})

/** What a SETATTR asks for. */
export function changesOf(from: Sattr3): AttributeChanges {
  const changes: AttributeChanges = {}
  if (from.mode !== undefined) changes.mode = from.mode & MODE_BITS
  if (from.uid !== undefined) changes.uid = from.uid
  if (from.gid !== undefined) changes.gid = from.gid
  if (from.size !== undefined) changes.size = from.size
  const { atime, mtime } = from
  if (atime.how !== 'DONT_CHANGE') changes.atime = atime.how === 'SET_TO_CLIENT_TIME' ? timespec(atime.time) : 'now'
  if (mtime.how !== 'DONT_CHANGE') changes.mtime = mtime.how === 'SET_TO_CLIENT_TIME' ? timespec(mtime.time) : 'now'
  return changes
}

const timeOf = (time: Timespec | 'now' | undefined): Sattr3['atime'] => {
  if (time === undefined) return { how: 'DONT_CHANGE' }
  return time === 'now' ? { how: 'SET_TO_SERVER_TIME' } : { how: 'SET_TO_CLIENT_TIME', time: time3(time) }
}

/** The SETATTR that asks for `changes`. */
export const sattr3Of = (changes: AttributeChanges): Sattr3 => ({
  mode: changes.mode,
  uid: changes.uid,
  gid: changes.gid,
  size: changes.size,
  atime: timeOf(changes.atime),
  mtime: timeOf(changes.mtime),
})
