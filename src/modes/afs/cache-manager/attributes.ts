// Statuses as the kernel has them.
import { type Attributes, EPOCH, type Timespec } from '../../../posix/attributes.ts'
import { S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFREG, S_IFSOCK } from '../../../posix/mode.ts'
import type { FileType, Status, Time } from '../records.ts'
import { ROOT_CELL } from '../volume-registry.ts'
import type { ClientVolume } from './cells.ts'

export const TYPE_BITS: Readonly<Record<FileType, number>> = {
  file: S_IFREG,
  directory: S_IFDIR,
  symlink: S_IFLNK,
  /** As who comes by name sees it: the root of a volume. */
  mountpoint: S_IFDIR,
  fifo: S_IFIFO,
  socket: S_IFSOCK,
  char: S_IFCHR,
  block: S_IFBLK,
}

/** d_type of a directory entry (dirent.h). */
export const direntTypeOf = (type: FileType): number => TYPE_BITS[type] >>> 12

const BLOCK_BYTES = 4096

/**
 * One mount is one file system for programs, which tell files apart by their number: cell, volume and vnode. Those of the
 * first volume are as its server has them.
 */
export function inoOf({ cell, id }: Pick<ClientVolume, 'cell' | 'id'>, vnode: number): number {
  const prefix = (cell.index & 0xf) * 0x1_0000 + ((id - ROOT_CELL.id) & 0xffff)
  return prefix * 2 ** 32 + (vnode % 2 ** 32)
}

const timespecOf = ([sec, nsec]: Time): Timespec => (sec === 0 && nsec === 0 ? EPOCH : { sec, nsec })

export function attributesOf(volume: ClientVolume, vnode: number, status: Status): Attributes {
  return {
    ino: inoOf(volume, vnode),
    mode: TYPE_BITS[status.type] | status.mode,
    nlink: status.nlink,
    uid: status.uid,
    gid: status.gid,
    rdev: status.rdev,
    size: status.length,
    blocks: status.blocks,
    blockSize: BLOCK_BYTES,
    atime: timespecOf(status.atime),
    mtime: timespecOf(status.mtime),
    ctime: timespecOf(status.ctime),
    btime: timespecOf(status.btime),
  }
}
