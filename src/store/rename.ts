// rename(2) and renameat2(2), with all their rules. One journal record, so it happens as a whole or not at all.
import type { Attributes, Timespec } from '../posix/attributes.ts'
import { type Credentials, MAY_EXEC, MAY_WRITE } from '../posix/credentials.ts'
import { FsError } from '../posix/errors.ts'
import { direntType, isDirectory, RENAME_EXCHANGE, RENAME_NOREPLACE } from '../posix/mode.ts'
import type { Entry } from './entries.ts'
import type { Inode } from './inode.ts'
import { checkName, isDot } from './names.ts'
import { type Parts, timeNow } from './parts.ts'
import { requireAccess, requireLive, requireNotSticky } from './permissions.ts'
import { DELETE_ENTRY, INSERT_ENTRY, UPDATE_ENTRY } from './schema.ts'
import { allXattrs } from './xattrs.ts'

export interface Renaming {
  readonly parent: number
  readonly name: string
  readonly newParent: number
  readonly newName: string
  /** RENAME_NOREPLACE, RENAME_EXCHANGE. */
  readonly flags?: number
}

/** One end of a renaming: a name in a directory, and what it leads to. */
interface Place {
  readonly directory: Inode
  readonly name: string
  readonly entry: Entry
  readonly inode: Inode
}

export function rename(parts: Parts, renaming: Renaming, who: Credentials): void {
  const { parent, name, newParent, newName, flags = 0 } = renaming
  checkName(name)
  checkName(newName)
  if (isDot(name) || isDot(newName)) throw new FsError('EINVAL')
  const exchange = flags === RENAME_EXCHANGE
  if (!exchange && flags !== 0 && flags !== RENAME_NOREPLACE) throw new FsError('EINVAL', 'unknown rename flags')

  const directory = parts.inodes.directory(parent)
  const newDirectory = parts.inodes.directory(newParent)
  requireAccess(directory, who, MAY_EXEC)
  requireAccess(newDirectory, who, MAY_EXEC)
  requireLive(newDirectory)
  const from = findPlace(parts, directory, name)
  if (!from) throw new FsError('ENOENT')
  const to = findPlace(parts, newDirectory, newName)
  if (flags === RENAME_NOREPLACE && to) throw new FsError('EEXIST')
  if (exchange && !to) throw new FsError('ENOENT')

  requireOutside(parts, from.inode, newDirectory)
  if (exchange && to) requireOutside(parts, to.inode, directory)
  requireMovable(from, newDirectory, who)
  requireAccess(newDirectory, who, MAY_WRITE)
  if (to) {
    requireNotSticky(newDirectory, to.inode, who)
    if (exchange) requireMovable(to, directory, who)
    else requireReplaceable(parts, from.inode, to.inode)
    // Two names of one inode: nothing to do (POSIX.1-2017 rename).
    if (to.inode === from.inode) return
  }

  const now = timeNow(parts)
  if (exchange && to) exchangePlaces(parts, from, to, now)
  else movePlace(parts, from, { directory: newDirectory, name: newName, replaced: to }, now)
}

function findPlace(parts: Parts, directory: Inode, name: string): Place | undefined {
  const entry = parts.entries.find(directory.ino, name)
  return entry && { directory, name, entry, inode: parts.inodes.get(entry.ino) }
}

/** Throws EINVAL if `directory` is `inode` or lies in it. */
function requireOutside(parts: Parts, inode: Inode, directory: Inode): void {
  if (!isDirectory(inode.attributes.mode)) return
  let ino = directory.ino
  for (;;) {
    if (ino === inode.ino) throw new FsError('EINVAL', 'a directory cannot move into itself')
    const parent = parts.inodes.parentOf(ino)
    if (parent === ino) return
    ino = parent
  }
}

function requireMovable(from: Place, newDirectory: Inode, who: Credentials): void {
  requireAccess(from.directory, who, MAY_WRITE)
  requireNotSticky(from.directory, from.inode, who)
  // A directory that moves changes too: its `..` does.
  if (isDirectory(from.inode.attributes.mode) && newDirectory !== from.directory) {
    requireAccess(from.inode, who, MAY_WRITE)
  }
}

function requireReplaceable(parts: Parts, inode: Inode, victim: Inode): void {
  const directory = isDirectory(victim.attributes.mode)
  if (isDirectory(inode.attributes.mode)) {
    if (!directory) throw new FsError('ENOTDIR')
  } else if (directory) {
    throw new FsError('EISDIR')
  }
  if (directory && victim !== inode && !parts.entries.isEmpty(victim.ino)) throw new FsError('ENOTEMPTY')
}

function movePlace(
  parts: Parts,
  from: Place,
  to: { readonly directory: Inode; readonly name: string; readonly replaced: Place | undefined },
  now: Timespec,
): void {
  const { metadata, inodes, entries, notices } = parts
  const { inode, directory } = from
  const newDirectory = to.directory
  const replaced = to.replaced?.inode
  const type = direntType(inode.attributes.mode)
  const xattrs = replaced ? allXattrs(parts, replaced) : new Map()
  const cookie = to.replaced ? to.replaced.entry.cookie : entries.slot(newDirectory.ino, to.name)

  metadata.run(DELETE_ENTRY, [directory.ino, from.entry.cookie])
  if (to.replaced) metadata.run(UPDATE_ENTRY, [inode.ino, type, newDirectory.ino, cookie], to.name)
  else metadata.run(INSERT_ENTRY, [newDirectory.ino, cookie, to.name, inode.ino, type])
  const moved = moveInode(parts, inode, newDirectory, now)
  const removed = replaced && inodes.unlink(replaced, now)
  const directories = touchBoth(parts, from.directory, newDirectory, now, {
    lost: isDirectory(inode.attributes.mode) ? 1 : 0,
    gained: (isDirectory(inode.attributes.mode) ? 1 : 0) - (replaced && isDirectory(replaced.attributes.mode) ? 1 : 0),
  })
  metadata.commit()

  adopt(inode, moved)
  if (inode.parent !== 0) inode.parent = newDirectory.ino
  for (const [changed, attributes] of directories) adopt(changed, attributes)
  notices.name(directory.ino, from.name, inode.ino)
  notices.name(newDirectory.ino, to.name, inode.ino)
  notices.attributes(inode.ino)
  for (const [changed] of directories) notices.attributes(changed.ino)
  if (replaced && removed) {
    inodes.unlinked(replaced, removed, xattrs)
    notices.attributes(replaced.ino)
  }
}

function exchangePlaces(parts: Parts, one: Place, other: Place, now: Timespec): void {
  const { metadata, notices } = parts
  for (const [place, inode] of [
    [one, other.inode],
    [other, one.inode],
  ] as const) {
    const type = direntType(inode.attributes.mode)
    metadata.run(UPDATE_ENTRY, [inode.ino, type, place.directory.ino, place.entry.cookie], place.name)
  }
  const movedOne = moveInode(parts, one.inode, other.directory, now)
  const movedOther = moveInode(parts, other.inode, one.directory, now)
  const isOne = isDirectory(one.inode.attributes.mode) ? 1 : 0
  const isOther = isDirectory(other.inode.attributes.mode) ? 1 : 0
  const gained = isOne - isOther
  const directories = touchBoth(parts, one.directory, other.directory, now, { lost: gained, gained })
  metadata.commit()

  adopt(one.inode, movedOne)
  adopt(other.inode, movedOther)
  if (one.inode.parent !== 0) one.inode.parent = other.directory.ino
  if (other.inode.parent !== 0) other.inode.parent = one.directory.ino
  for (const [changed, attributes] of directories) adopt(changed, attributes)
  notices.name(one.directory.ino, one.name, other.inode.ino)
  notices.name(other.directory.ino, other.name, one.inode.ino)
  notices.attributes(one.inode.ino)
  notices.attributes(other.inode.ino)
  for (const [changed] of directories) notices.attributes(changed.ino)
}

/** The inode itself: its ctime, and where `..` leads. */
function moveInode(parts: Parts, inode: Inode, newDirectory: Inode, now: Timespec): Attributes {
  const parent = inode.parent === 0 ? 0 : newDirectory.ino
  return parts.inodes.touchLinks(inode, now, { change: 0, parent })
}

/** Both directories with their links to subdirectories; one of them if they are the same. */
function touchBoth(
  parts: Parts,
  directory: Inode,
  newDirectory: Inode,
  now: Timespec,
  links: { readonly lost: number; readonly gained: number },
): (readonly [Inode, Attributes])[] {
  const { inodes } = parts
  if (directory === newDirectory) {
    return [[directory, inodes.touchDirectory(directory, now, links.gained - links.lost)]]
  }
  return [
    [directory, inodes.touchDirectory(directory, now, -links.lost)],
    [newDirectory, inodes.touchDirectory(newDirectory, now, links.gained)],
  ]
}

function adopt(inode: Inode, attributes: Attributes): void {
  inode.attributes = attributes
  inode.change++
}
