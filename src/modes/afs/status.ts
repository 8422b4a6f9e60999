// What the protocol tells of an inode.
import type { AttributeChanges, Timespec } from '../../posix/attributes.ts'
import { S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, S_IFSOCK } from '../../posix/mode.ts'
import type { Changes, Fid, FileType, Status, Time } from './records.ts'
import type { ServedVolume } from './volume-registry.ts'

const TYPES: ReadonlyMap<number, FileType> = new Map([
  [S_IFREG, 'file'],
  [S_IFDIR, 'directory'],
  [S_IFLNK, 'symlink'],
  [S_IFIFO, 'fifo'],
  [S_IFSOCK, 'socket'],
  [S_IFCHR, 'char'],
  [S_IFBLK, 'block'],
])

/** A mount point is a symbolic link of these permissions, which no symlink(2) makes; others than AFS see where it leads. */
export const MOUNT_POINT_MODE = S_IFLNK | 0o644

/** By type and permission bits. */
export function fileType(mode: number): FileType {
  return mode === MOUNT_POINT_MODE ? 'mountpoint' : (TYPES.get(mode & S_IFMT) ?? 'file')
}

/** Throws ESTALE if there is no such inode. */
export const fidOf = ({ id, volume }: ServedVolume, ino: number): Fid => ({
  volume: id,
  vnode: ino,
  unique: volume.generation(ino),
})

export function statusOf(served: ServedVolume, ino: number): Status {
  const { volume } = served
  const { change, dataVersion } = volume.changeOf(ino)
  const attributes = volume.attributes(ino)
  const { mode, nlink } = attributes
  const type = fileType(mode)
  const isDirectory = type === 'directory'
  // Spelled out: spread together it takes several times as long, and a listing asks for a thousand.
  return {
    type,
    length: attributes.size,
    dataVersion: isDirectory ? change : dataVersion,
    change,
    mode: mode & 0o7777,
    uid: attributes.uid,
    gid: attributes.gid,
    nlink,
    rdev: attributes.rdev,
    blocks: attributes.blocks,
    atime: timeOf(attributes.atime),
    mtime: timeOf(attributes.mtime),
    ctime: timeOf(attributes.ctime),
    btime: timeOf(attributes.btime),
    parent: isDirectory && nlink > 0 ? fidOf(served, volume.parentOf(ino)) : null,
    target: type === 'symlink' || type === 'mountpoint' ? volume.readlink(ino) : null,
  }
}

const timeOf = ({ sec, nsec }: Timespec): Time => [sec, nsec]
const timespecOf = (time: Time | 'now' | undefined) =>
  time === undefined || time === 'now' ? time : { sec: time[0], nsec: time[1] }

export function changesOf({ mode, uid, gid, ...times }: Changes): Omit<AttributeChanges, 'size'> {
  const [atime, mtime] = [timespecOf(times.atime), timespecOf(times.mtime)]
  return {
    ...(mode === undefined ? {} : { mode }),
    ...(uid === undefined ? {} : { uid }),
    ...(gid === undefined ? {} : { gid }),
    ...(atime === undefined ? {} : { atime }),
    ...(mtime === undefined ? {} : { mtime }),
  }
}
