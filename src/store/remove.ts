// Removing names: unlink and rmdir.
import { type Credentials, MAY_EXEC, MAY_WRITE } from '../posix/credentials.ts'
import { FsError } from '../posix/errors.ts'
import { isDirectory } from '../posix/mode.ts'
import type { Entry } from './entries.ts'
import type { Inode } from './inode.ts'
import { checkName } from './names.ts'
import { type Parts, timeNow } from './parts.ts'
import { requireAccess, requireNotSticky } from './permissions.ts'
import { DELETE_ENTRY } from './schema.ts'
import { allXattrs } from './xattrs.ts'

export function unlink(parts: Parts, parent: number, name: string, who: Credentials): void {
  checkName(name)
  if (name === '.' || name === '..') throw new FsError('EISDIR')
  const { directory, entry, inode } = findVictim(parts, parent, name, who)
  if (isDirectory(inode.attributes.mode)) throw new FsError('EISDIR')
  removeEntry(parts, directory, entry, inode, name)
}

export function removeDirectory(parts: Parts, parent: number, name: string, who: Credentials): void {
  checkName(name)
  if (name === '.') throw new FsError('EINVAL')
  if (name === '..') throw new FsError('ENOTEMPTY')
  const { directory, entry, inode } = findVictim(parts, parent, name, who)
  if (!isDirectory(inode.attributes.mode)) throw new FsError('ENOTDIR')
  if (!parts.entries.isEmpty(inode.ino)) throw new FsError('ENOTEMPTY')
  removeEntry(parts, directory, entry, inode, name)
}

function findVictim(
  parts: Parts,
  parent: number,
  name: string,
  who: Credentials,
): { directory: Inode; entry: Entry; inode: Inode } {
  const directory = parts.inodes.directory(parent)
  requireAccess(directory, who, MAY_EXEC)
  const entry = parts.entries.find(parent, name)
  if (!entry) throw new FsError('ENOENT')
  const inode = parts.inodes.get(entry.ino)
  requireAccess(directory, who, MAY_WRITE)
  requireNotSticky(directory, inode, who)
  return { directory, entry, inode }
}

function removeEntry(parts: Parts, directory: Inode, entry: Entry, inode: Inode, name: string): void {
  const { metadata, inodes, notices } = parts
  const now = timeNow(parts)
  const xattrs = allXattrs(parts, inode)
  metadata.run(DELETE_ENTRY, [directory.ino, entry.cookie])
  const changed = inodes.unlink(inode, now)
  const touched = inodes.touchDirectory(directory, now, isDirectory(inode.attributes.mode) ? -1 : 0)
  metadata.commit()
  directory.attributes = touched
  directory.change++
  inodes.unlinked(inode, changed, xattrs)
  notices.name(directory.ino, name, inode.ino)
  notices.attributes(inode.ino)
  notices.attributes(directory.ino)
}
