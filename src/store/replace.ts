// Replacing the content of a regular file as a whole: what comes is written beside it, and one journal record makes the
// inode name the new file. So a crash at any moment leaves the old content or the new.
//
// Where programs of this machine have the old file open (passthrough, mode `local`), the kernel writes and reads that very
// file, and another in its place would be none of theirs. There the bytes are copied into it, and a record that says so
// is in the journal before: a crash in between is made good when the volume is opened (`finishCopies`).

import { type Disk, STAT } from '../host/disk.ts'
import { type AttributeChanges, withChanges } from '../posix/attributes.ts'
import { type Credentials, isSuperuser } from '../posix/credentials.ts'
import { FsError } from '../posix/errors.ts'
import { isDirectory, isRegular } from '../posix/mode.ts'
import { type ContentFile, contentPath } from './content-files.ts'
import { type Inode, updateParameters, withPermissions } from './inode.ts'
import type { Metadata } from './metadata.ts'
import { type Parts, timeNow } from './parts.ts'
import { withoutPrivileges } from './permissions.ts'
import { DELETE_META, SET_META, UPDATE_INODE } from './schema.ts'
import { FILE_SIZE_MAX, requireAllowed, setAttributes, tellTimes } from './set-attributes.ts'
import type { SpareContent } from './spare-contents.ts'

/** In the table `meta`: the content that is being copied into that of an inode. */
const COPY = 'copy:'

/** Content that is being written beside that of its inode. */
export class StagedContent {
  readonly ino: number
  readonly file: SpareContent
  bytes = 0
  closed = false

  constructor(ino: number, file: SpareContent) {
    this.ino = ino
    this.file = file
  }
}

/** Throws EDQUOT if `bytes` are more than the volume has room for beside what the file holds already, EFBIG, EISDIR. */
export function stage(parts: Parts, ino: number, bytes: number): StagedContent {
  const inode = regular(parts, ino)
  if (bytes > FILE_SIZE_MAX) throw new FsError('EFBIG')
  parts.inodes.refresh(inode)
  parts.usage.checkGrowth(bytes - inode.attributes.size)
  return new StagedContent(
    ino,
    parts.files.stage(() => parts.inodes.allocate()),
  )
}

/** Adds bytes at the end. Throws ENOSPC. */
export function appendStaged({ disk }: Parts, staged: StagedContent, data: Uint8Array): void {
  if (staged.closed) throw new FsError('EBADF')
  for (let at = 0; at < data.length; ) {
    const written = disk.write(staged.file.fd, at === 0 ? data : data.subarray(at), staged.bytes)
    staged.bytes += written
    at += written
  }
}

export function discardStaged({ files }: Parts, staged: StagedContent): void {
  if (staged.closed) return
  staged.closed = true
  files.discardStaged(staged.file)
}

/**
 * Puts the staged content in the place of the inode's, with changes of attributes if there are any. Whether `who` may write
 * the file is the caller's to judge; the changes are checked as `setAttributes` checks them. Failing, it changes nothing,
 * and the staged content stays the caller's.
 */
export function replaceContent(
  parts: Parts,
  staged: StagedContent,
  changes: Omit<AttributeChanges, 'size'>,
  who: Credentials,
): void {
  if (staged.closed) throw new FsError('EBADF')
  const { inodes, usage, files } = parts
  const inode = regular(parts, staged.ino)
  inodes.refresh(inode)
  requireAllowed(parts, inode, changes, who, { handleIsOpenForWrite: true })
  usage.checkGrowth(staged.bytes - inode.attributes.size)
  parts.metadata.requireRoom()
  const { file } = inode
  if (file && (file.opens > file.snapshots || files.mayBeWritten(inode))) copyInto(parts, inode, staged, changes, who)
  else swap(parts, inode, staged, changes, who)
  parts.notices.attributes(
    inode.ino,
    changes.mode !== undefined || changes.uid !== undefined || changes.gid !== undefined,
  )
}

function swap(
  parts: Parts,
  inode: Inode,
  staged: StagedContent,
  changes: Omit<AttributeChanges, 'size'>,
  who: Credentials,
): void {
  const { disk, metadata, files, usage, inodes } = parts
  const { uid = inode.attributes.uid, gid = inode.attributes.gid } = changes
  let { mode } = inode.attributes
  if (!isSuperuser(who) || changes.uid !== undefined || changes.gid !== undefined) mode = withoutPrivileges(mode)
  if (changes.mode !== undefined) mode = withPermissions(mode, changes.mode)
  tellTimes(disk, staged.file.fd, changes)
  const counters = { change: inode.change + 1, dataVersion: inode.dataVersion + 1, xattrs: inode.xattrs }
  const stat = new Float64Array(STAT.length)
  disk.stat(staged.file.fd, stat)
  const time = (at: number) => ({ sec: stat[at] ?? 0, nsec: stat[at + 1] ?? 0 })
  const attributes = withChanges(inode.attributes, {
    ...{ mode, uid, gid, size: staged.bytes, blocks: stat[STAT.blocks] ?? 0 },
    ...{ atime: time(STAT.atimeSec), mtime: time(STAT.mtimeSec), ctime: timeNow(parts) },
  })
  const old = { content: inode.content, bytes: inode.attributes.size }
  if (!inode.unnamed) {
    const { content } = staged.file
    metadata.run(UPDATE_INODE, updateParameters({ ...inode, content }, attributes, counters), inode)
    metadata.commit()
  }
  staged.closed = true
  usage.bytes += attributes.size - old.bytes
  const { file } = inode
  const readers = file !== undefined && file.opens > 0 ? file : undefined
  if (readers) files.detachOpen(inode, readers)
  files.replace(inode, staged.file)
  inode.attributes = attributes
  inode.change = counters.change
  inode.dataVersion = counters.dataVersion
  inode.written = false
  inode.unsaved = false
  const discard = () => inodes.discard(old.content, old.bytes)
  if (readers) readers.whenClosed = discard
  else discard()
}

function copyInto(
  parts: Parts,
  inode: Inode,
  staged: StagedContent,
  changes: Omit<AttributeChanges, 'size'>,
  who: Credentials,
): void {
  const { metadata, disk, files, inodes } = parts
  const file = files.openToChange(inode)
  metadata.run(SET_META, [`${COPY}${inode.ino}`, staged.file.content])
  metadata.commit()
  copyAll(disk, staged.file.fd, file.fd, staged.bytes)
  files.touch(file)
  inode.written = true
  inodes.refresh(inode)
  metadata.run(DELETE_META, [`${COPY}${inode.ino}`])
  metadata.commit()
  discardStaged(parts, staged)
  setAttributes(parts, inode.ino, { ...changes, clearSetId: !isSuperuser(who) }, who, { handleIsOpenForWrite: true })
}

function copyAll(disk: Disk, from: number, to: number, bytes: number): void {
  disk.truncate(to, bytes)
  for (let at = 0; at < bytes; ) {
    const copied = disk.copyRange(from, at, to, at, bytes - at)
    if (copied === 0) throw new FsError('EIO', 'the content to copy is shorter than it was')
    at += copied
  }
}

/** Ends the copies that a crash interrupted. Before content files that nobody knows are collected. */
export function finishCopies(metadata: Metadata, disk: Disk, contentDirectory: string): void {
  const pending = metadata
    .query<{ key: string; value: number }>(`SELECT key, value FROM meta WHERE key LIKE '${COPY}%'`)
    .all()
  for (const { key, value } of pending) {
    const content = metadata
      .query<number>('SELECT content FROM inode WHERE ino = ?')
      .pluck()
      .get(Number(key.slice(COPY.length)))
    if (content !== undefined) {
      const [from, to] = [value, content].map((number) =>
        disk.open(`${contentDirectory}/${contentPath(number)}`, 2),
      ) as [number, number]
      try {
        const stat = new Float64Array(STAT.length)
        disk.stat(from, stat)
        copyAll(disk, from, to, stat[STAT.size] ?? 0)
      } finally {
        disk.close(from)
        disk.close(to)
      }
    }
    metadata.run(DELETE_META, [key])
    metadata.commit()
  }
}

/** The content of a regular file as it is now, to be read while another may take its place. */
export class Snapshot {
  readonly ino: number
  readonly file: ContentFile
  closed = false

  constructor(file: ContentFile) {
    this.file = file
    this.ino = file.inode.ino
  }

  /** Valid until it is closed. */
  get fd(): number {
    return this.file.fd
  }
}

/** Whether it may be read is the caller's to judge. */
export function openSnapshot(parts: Parts, ino: number): Snapshot {
  const file = parts.files.open(regular(parts, ino))
  parts.files.retain(file, false)
  file.snapshots++
  return new Snapshot(file)
}

/** Closing it again does nothing. */
export function closeSnapshot({ files, inodes }: Parts, snapshot: Snapshot): void {
  const { file } = snapshot
  if (snapshot.closed) return
  snapshot.closed = true
  if (file.fd < 0) return
  file.snapshots--
  if (files.isDetached(file)) {
    files.releaseDetached(file)
    return
  }
  files.release(file, false)
  inodes.collect(file.inode)
}

function regular(parts: Parts, ino: number): Inode {
  const inode = parts.inodes.get(ino)
  if (isDirectory(inode.attributes.mode)) throw new FsError('EISDIR')
  if (!isRegular(inode.attributes.mode)) throw new FsError('EINVAL')
  return inode
}
