// Checks that operations of the volume share.
import type { Attributes } from '../posix/attributes.ts'
import { type Credentials, inGroup, isSuperuser, mayAccess, stickyForbids } from '../posix/credentials.ts'
import { FsError } from '../posix/errors.ts'
import { isDirectory, S_ISGID, S_ISUID, S_IXGRP } from '../posix/mode.ts'
import type { Inode } from './inode.ts'

/** Throws EACCES unless `who` has all rights in `mask`. */
export function requireAccess(inode: Inode, who: Credentials, mask: number): void {
  if (!mayAccess(who, inode.attributes, mask)) throw new FsError('EACCES')
}

/** Throws EPERM if the sticky bit of `directory` protects `victim` from `who`. */
export function requireNotSticky(directory: Inode, victim: Inode, who: Credentials): void {
  if (stickyForbids(who, directory.attributes, victim.attributes)) throw new FsError('EPERM')
}

/** Throws ENOENT if the directory was removed: nothing can be made in it. */
export function requireLive(directory: Inode): void {
  if (directory.attributes.nlink === 0) throw new FsError('ENOENT')
}

/** The mode without the set-id bits that a change of the file's owner or content takes away. */
export function withoutPrivileges(mode: number): number {
  if (isDirectory(mode)) return mode
  // Without group execution the bit once meant mandatory locking: it is no privilege.
  return mode & ~S_ISUID & ((mode & S_IXGRP) !== 0 ? ~S_ISGID : ~0)
}

/** The group and the mode of a new node in `directory`. */
export function inherit(directory: Attributes, mode: number, who: Credentials): { gid: number; mode: number } {
  if ((directory.mode & S_ISGID) === 0) return { gid: who.gid, mode }
  const { gid } = directory
  if (isDirectory(mode)) return { gid, mode: mode | S_ISGID }
  // Nobody makes a program that runs as a group that they are not in.
  const foreign = (mode & S_ISGID) !== 0 && (mode & S_IXGRP) !== 0 && !isSuperuser(who) && !inGroup(who, gid)
  return { gid, mode: foreign ? mode & ~S_ISGID : mode }
}
