// chmod, chown, truncate and utimensat: who may change what, and what else changes with it.

import { type Disk, UTIME_NOW, UTIME_OMIT } from '../host/disk.ts'
import {
  type AttributeChanges,
  type Attributes,
  compareTimespec,
  type Timespec,
  withChanges,
} from '../posix/attributes.ts'
import { type Credentials, inGroup, isSuperuser, MAY_WRITE, mayAccess, ownsNode } from '../posix/credentials.ts'
import { FsError } from '../posix/errors.ts'
import { isDirectory, isRegular, S_ISGID } from '../posix/mode.ts'
import { type Inode, updateParameters, withPermissions } from './inode.ts'
import { type Parts, timeNow } from './parts.ts'
import { requireAccess, withoutPrivileges } from './permissions.ts'
import { UPDATE_INODE } from './schema.ts'

/** The largest file that ext4 holds with 4 KiB blocks; also far below 2^53. */
export const FILE_SIZE_MAX = 2 ** 44 - 4096

export interface SetAttributesOptions {
  /** The caller has the file open for writing: truncation needs no permission. */
  readonly handleIsOpenForWrite?: boolean
}

export function setAttributes(
  parts: Parts,
  ino: number,
  changes: AttributeChanges,
  who: Credentials,
  options: SetAttributesOptions = {},
): Attributes {
  const inode = parts.inodes.get(ino)
  parts.inodes.refresh(inode)
  requireAllowed(parts, inode, changes, who, options)

  let { mode, uid, gid } = inode.attributes
  if (changes.uid !== undefined || changes.gid !== undefined) {
    uid = changes.uid ?? uid
    gid = changes.gid ?? gid
    mode = withoutPrivileges(mode)
  }
  if (changes.clearSetId || (changes.size !== undefined && !isSuperuser(who))) mode = withoutPrivileges(mode)
  if (changes.mode !== undefined) {
    mode = withPermissions(mode, changes.mode)
    // Nobody makes a program that runs as a group that they are not in.
    if (!isDirectory(mode) && !isSuperuser(who) && !inGroup(who, gid)) mode &= ~S_ISGID
  }

  const now = timeNow(parts)
  const times = isRegular(mode) ? undefined : nodeTimes(inode, changes, now)
  const contentChanged = !times && changeContent(parts, inode, changes)
  return store(parts, inode, withChanges(inode.attributes, { mode, uid, gid, ...times, ctime: later(now, inode) }), {
    contentChanged,
    dataChanged: changes.size !== undefined,
  })
}

/** Takes away what makes a program privileged, because somebody else wrote it. */
export function killPrivileges(parts: Parts, ino: number): void {
  const inode = parts.inodes.get(ino)
  const mode = withoutPrivileges(inode.attributes.mode)
  if (mode === inode.attributes.mode) return
  parts.inodes.refresh(inode)
  store(parts, inode, withChanges(inode.attributes, { mode, ctime: later(timeNow(parts), inode) }), {
    contentChanged: false,
    dataChanged: false,
  })
}

/** Throws unless `who` may make these changes. */
export function requireAllowed(
  parts: Parts,
  inode: Inode,
  changes: AttributeChanges,
  who: Credentials,
  options: SetAttributesOptions,
): void {
  const { attributes } = inode
  const owner = ownsNode(who, attributes)
  if (changes.mode !== undefined && !owner) throw new FsError('EPERM')
  if (!isSuperuser(who)) {
    const { uid, gid } = changes
    if (uid !== undefined && !(owner && uid === attributes.uid)) throw new FsError('EPERM')
    if (gid !== undefined && !(owner && (gid === attributes.gid || inGroup(who, gid)))) throw new FsError('EPERM')
  }
  if (changes.size !== undefined) {
    if (isDirectory(attributes.mode)) throw new FsError('EISDIR')
    if (!isRegular(attributes.mode) || !(changes.size >= 0)) throw new FsError('EINVAL')
    if (changes.size > FILE_SIZE_MAX) throw new FsError('EFBIG')
    if (!options.handleIsOpenForWrite) requireAccess(inode, who, MAY_WRITE)
    parts.usage.checkGrowth(changes.size - attributes.size)
  }
  const { atime, mtime } = changes
  if ((atime !== undefined || mtime !== undefined) && !owner) {
    // Who may write a file may make it look written now; any other time is the owner's to set.
    const now = atime === 'now' && mtime === 'now'
    if (!now) throw new FsError('EPERM')
    if (!options.handleIsOpenForWrite && !mayAccess(who, attributes, MAY_WRITE)) throw new FsError('EACCES')
  }
}

/** The host stamps content by a clock of its own, which may be ahead: ctime does not go back. */
const later = (now: Timespec, { attributes: { ctime } }: Inode): Timespec =>
  compareTimespec(now, ctime) > 0 ? now : ctime

function nodeTimes(inode: Inode, changes: AttributeChanges, now: Timespec): { atime: Timespec; mtime: Timespec } {
  const { atime = inode.attributes.atime, mtime = inode.attributes.mtime } = changes
  return { atime: atime === 'now' ? now : atime, mtime: mtime === 'now' ? now : mtime }
}

/** Size and times of a regular file are its content file's. Returns whether that had to be told. */
function changeContent(parts: Parts, inode: Inode, changes: AttributeChanges): boolean {
  const { size, atime, mtime } = changes
  const retimed = atime !== undefined || mtime !== undefined
  if (size === undefined && !retimed) return false
  const { fd } = parts.files.openToChange(inode)
  inode.unsaved = true
  if (size !== undefined) parts.disk.truncate(fd, size)
  tellTimes(parts.disk, fd, changes)
  parts.inodes.adoptContent(inode)
  return true
}

/** Gives a content file the times that are asked for, if any are. */
export function tellTimes(disk: Disk, fd: number, { atime, mtime }: AttributeChanges): void {
  if (atime === undefined && mtime === undefined) return
  disk.utimens(fd, secondsOf(atime), nanosecondsOf(atime), secondsOf(mtime), nanosecondsOf(mtime))
}

const secondsOf = (time: Timespec | 'now' | undefined): number => (time === undefined || time === 'now' ? 0 : time.sec)
const nanosecondsOf = (time: Timespec | 'now' | undefined): number =>
  time === undefined ? UTIME_OMIT : time === 'now' ? UTIME_NOW : time.nsec

/** The rest of an operation on attributes. */
function store(
  parts: Parts,
  inode: Inode,
  attributes: Attributes,
  { contentChanged, dataChanged }: { readonly contentChanged: boolean; readonly dataChanged: boolean },
): Attributes {
  const { metadata, notices } = parts
  const counters = {
    change: inode.change + 1,
    dataVersion: inode.dataVersion + (dataChanged ? 1 : 0),
    xattrs: inode.xattrs,
  }
  const { mode, uid, gid } = inode.attributes
  const access = mode !== attributes.mode || uid !== attributes.uid || gid !== attributes.gid
  // What only the content file had to be told, it tells again after a crash, and `fsync` makes durable with it.
  const inContent = contentChanged && !access
  if (!inode.unnamed && !inContent) {
    metadata.run(UPDATE_INODE, updateParameters(inode, attributes, counters), inode)
    metadata.commit()
  }
  inode.attributes = inContent ? withChanges(attributes, { ctime: inode.attributes.ctime }) : attributes
  inode.change = counters.change
  inode.dataVersion = counters.dataVersion
  inode.unsaved = inContent
  notices.attributes(inode.ino, access)
  return inode.attributes
}
