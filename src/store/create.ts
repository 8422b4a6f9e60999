// Making inodes and names: create, mkdir, mknod, symlink, O_TMPFILE, link.
import { type Attributes, withChanges } from '../posix/attributes.ts'
import { type Credentials, MAY_EXEC, MAY_WRITE } from '../posix/credentials.ts'
import { FsError } from '../posix/errors.ts'
import {
  direntType,
  isDirectory,
  isRegular,
  isSymlink,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  S_IFSOCK,
  SYMLINK_MAX,
} from '../posix/mode.ts'
import { type Inode, insertParameters, newInode } from './inode.ts'
import { checkName, isDot } from './names.ts'
import { type Parts, timeNow } from './parts.ts'
import { inherit, requireAccess, requireLive } from './permissions.ts'
import { INSERT_ENTRY, INSERT_INODE, SET_XATTR } from './schema.ts'

/** Hard links that one inode may have. */
export const LINK_MAX = 65_000

/** What an inode may be. */
export const TYPES: ReadonlySet<number> = new Set([S_IFREG, S_IFDIR, S_IFLNK, S_IFIFO, S_IFSOCK, S_IFCHR, S_IFBLK])

export interface NewNodeOptions {
  /** Type and permission bits; the caller has applied umask. */
  readonly mode: number
  /** Device number, for character and block devices. */
  readonly rdev?: number
  /** For symbolic links. */
  readonly target?: string
}

export function create(parts: Parts, parent: number, name: string, options: NewNodeOptions, who: Credentials): number {
  const { metadata, inodes, notices } = parts
  const directory = inodes.directory(parent)
  const cookie = newSlot(parts, directory, name, who)
  const inode = makeInode(parts, directory, options, who)
  const { mode } = inode.attributes
  const linkChange = isDirectory(mode) ? 1 : 0
  let touched: Attributes
  try {
    metadata.run(INSERT_INODE, insertParameters(inode), inode)
    metadata.run(INSERT_ENTRY, [parent, cookie, name, inode.ino, direntType(mode)])
    touched = inodes.touchDirectory(directory, timeNow(parts), linkChange)
    metadata.commit()
  } catch (error) {
    if (inode.file) parts.files.abandon(inode)
    throw error
  }
  inodes.add(inode)
  directory.attributes = touched
  directory.change++
  notices.name(parent, name, inode.ino)
  notices.attributes(parent)
  return inode.ino
}

/** A regular file without a name. It lives as long as it is held or open, unless `link` gives it a name. */
export function createTemporary(parts: Parts, parent: number, mode: number, who: Credentials): number {
  const directory = parts.inodes.directory(parent)
  requireLive(directory)
  requireAccess(directory, who, MAY_WRITE | MAY_EXEC)
  const inode = makeInode(parts, directory, { mode: S_IFREG | (mode & ~S_IFMT) }, who)
  inode.attributes = withChanges(inode.attributes, { nlink: 0 })
  inode.unnamed = { xattrs: new Map(), linkable: true }
  parts.inodes.add(inode)
  return inode.ino
}

export function link(parts: Parts, ino: number, newParent: number, newName: string, who: Credentials): void {
  const { metadata, inodes, notices } = parts
  const inode = inodes.get(ino)
  const directory = inodes.directory(newParent)
  const cookie = newSlot(parts, directory, newName, who)
  if (isDirectory(inode.attributes.mode)) throw new FsError('EPERM', 'directories have one name')
  if (inode.unnamed && !inode.unnamed.linkable) throw new FsError('ENOENT')
  if (inode.attributes.nlink >= LINK_MAX) throw new FsError('EMLINK')
  metadata.requireRoom()
  const now = timeNow(parts)
  let changed: Attributes
  if (inode.unnamed) {
    inodes.refresh(inode)
    changed = withChanges(inode.attributes, { nlink: 1, ctime: now })
    metadata.run(INSERT_INODE, insertParameters({ ...inode, change: inode.change + 1 }, changed), inode)
    for (const [name, value] of inode.unnamed.xattrs) metadata.run(SET_XATTR, [ino, name, value])
  } else {
    changed = inodes.touchLinks(inode, now, { change: 1, parent: inode.parent })
  }
  metadata.run(INSERT_ENTRY, [newParent, cookie, newName, ino, direntType(inode.attributes.mode)])
  const touched = inodes.touchDirectory(directory, now, 0)
  metadata.commit()
  inode.attributes = changed
  inode.change++
  inode.unnamed = undefined
  directory.attributes = touched
  directory.change++
  notices.name(newParent, newName, ino)
  notices.attributes(ino)
  notices.attributes(newParent)
}

/** Where a new name goes, after all that may forbid it. */
function newSlot(parts: Parts, directory: Inode, name: string, who: Credentials): number {
  checkName(name)
  requireAccess(directory, who, MAY_EXEC)
  if (isDot(name)) throw new FsError('EEXIST')
  const cookie = parts.entries.slot(directory.ino, name)
  requireLive(directory)
  requireAccess(directory, who, MAY_WRITE)
  return cookie
}

/** An inode that nobody knows yet; of a regular file, with its content file. */
function makeInode(parts: Parts, directory: Inode, options: NewNodeOptions, who: Credentials): Inode {
  if (!TYPES.has(options.mode & S_IFMT)) throw new FsError('EINVAL', 'not a file type')
  parts.usage.checkInode()
  parts.metadata.requireRoom()
  const { gid, mode } = inherit(directory.attributes, options.mode, who)
  const inode = newInode({
    ino: parts.inodes.allocate(),
    generation: parts.inodes.generation,
    mode,
    uid: who.uid,
    gid,
    nlink: isDirectory(mode) ? 2 : 1,
    rdev: (mode & S_IFMT) === S_IFCHR || (mode & S_IFMT) === S_IFBLK ? (options.rdev ?? 0) : 0,
    parent: directory.ino,
    target: isSymlink(mode) ? checkTarget(options.target) : null,
    now: timeNow(parts),
  })
  if (isRegular(mode)) {
    parts.files.create(inode)
    parts.inodes.adoptContent(inode)
    // One moment for all times, by the clock that the content's times come from.
    const { mtime } = inode.attributes
    inode.attributes = withChanges(inode.attributes, { atime: mtime, ctime: mtime, btime: mtime })
  }
  return inode
}

export function checkTarget(target = ''): string {
  if (target === '') throw new FsError('ENOENT', 'a symbolic link to nowhere')
  if (target.includes('\0')) throw new FsError('EINVAL')
  const bytes = Buffer.from(target)
  if (bytes.length > SYMLINK_MAX) throw new FsError('ENAMETOOLONG')
  if (!target.isWellFormed()) throw new FsError('EILSEQ', 'a lone surrogate in a target')
  return target
}
