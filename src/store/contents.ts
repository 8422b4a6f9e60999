// Open files of a volume: reading and writing their content.
import { type Credentials, isSuperuser, MAY_READ, MAY_WRITE } from '../posix/credentials.ts'
import { FsError } from '../posix/errors.ts'
import { isDirectory, isRegular, isSymlink, O_ACCMODE, O_RDONLY, O_TRUNC, O_WRONLY } from '../posix/mode.ts'
import type { ContentFile } from './content-files.ts'
import type { Parts } from './parts.ts'
import { requireAccess } from './permissions.ts'
import { FILE_SIZE_MAX, killPrivileges, setAttributes } from './set-attributes.ts'

const SEEK_DATA = 3
const SEEK_HOLE = 4
const FALLOC_FL_KEEP_SIZE = 1

/** One open of a regular file. The descriptor is shared by all opens of the inode, and writable in each. */
export class Content {
  readonly ino: number
  readonly readable: boolean
  readonly writable: boolean
  /** Who opened it; what they write, they write as. */
  readonly who: Credentials
  readonly file: ContentFile
  closed = false

  constructor(file: ContentFile, flags: number, who: Credentials) {
    this.file = file
    this.ino = file.inode.ino
    this.readable = (flags & O_ACCMODE) !== O_WRONLY
    this.writable = (flags & O_ACCMODE) !== O_RDONLY
    this.who = who
  }

  /** A descriptor of the content file. Stays valid until the content is closed. */
  get fd(): number {
    return this.file.fd
  }
}

/** What the kernel may read and write by itself. */
export interface Passthrough {
  readonly fd: number
  /** The same object for the same file. */
  readonly key: object
}

/** Opens a regular file. Of `flags`, the access mode and O_TRUNC count. */
export function openContent(parts: Parts, ino: number, flags: number, who: Credentials): Content {
  const inode = parts.inodes.get(ino)
  const { mode } = inode.attributes
  if (isDirectory(mode)) throw new FsError('EISDIR')
  if (isSymlink(mode)) throw new FsError('ELOOP')
  if (!isRegular(mode)) throw new FsError('ENXIO')
  const access = flags & O_ACCMODE
  const mask = access === O_RDONLY ? MAY_READ : access === O_WRONLY ? MAY_WRITE : MAY_READ | MAY_WRITE
  const truncates = (flags & O_TRUNC) !== 0
  requireAccess(inode, who, truncates ? mask | MAY_WRITE : mask)
  const file = access === O_RDONLY ? parts.files.open(inode) : parts.files.openToChange(inode)
  const content = new Content(file, flags, who)
  parts.files.retain(content.file, content.writable)
  content.file.shared = true
  if (truncates) {
    try {
      setAttributes(parts, ino, { size: 0 }, who, { handleIsOpenForWrite: true })
    } catch (error) {
      closeContent(parts, content)
      throw error
    }
  }
  return content
}

/** See Volume.passthrough. */
export function passthrough(parts: Parts, content: Content): Passthrough | undefined {
  requireOpen(content, true)
  const { file } = content
  // What is written must be seen here, where it counts against a quota. But the kernel takes no node half passed through.
  if (parts.usage.quota.bytes !== undefined && (file.passed === undefined || file.opens === 1)) return undefined
  const key = parts.files.pass(file)
  return key && { fd: content.fd, key }
}

/** Closing it again does nothing. */
export function closeContent(parts: Parts, content: Content): void {
  if (content.closed) return
  content.closed = true
  const { inodes, files, notices } = parts
  const { file } = content
  const { inode } = file
  try {
    if (content.writable && file.writableOpens === 1) {
      inodes.refresh(inode)
      // The row follows when the file is closed for good; only the sum that a quota is checked against needs it now.
      if (parts.usage.quota.bytes !== undefined) inodes.save(inode)
      if (inode.unsaved) notices.attributes(inode.ino)
    }
  } finally {
    files.release(file, content.writable)
    inodes.collect(inode)
  }
}

/** Reads until `into` is full or the file ends. Returns the number of bytes. */
export function read(parts: Parts, content: Content, into: Uint8Array, offset: number): number {
  requireOpen(content, content.readable)
  return parts.disk.read(content.fd, into, offset)
}

/** Reads what is in memory, until `into` is full or there is no more. Returns the number of bytes. */
export function readCached(parts: Parts, content: Content, into: Uint8Array, offset: number): number {
  requireOpen(content, content.readable)
  return parts.disk.readCached(content.fd, into, offset)
}

/** Writes at `offset`, or at the end of the file. Returns the number of bytes, fewer only when there is no more room. */
export function write(parts: Parts, content: Content, data: Uint8Array, offset: number, append: boolean): number {
  requireOpen(content, content.writable)
  return writeFile(parts, content, data, append ? undefined : offset)
}

/** Reads a regular file that the caller does not have open: see `writeUnopened`. */
export function readUnopened({ inodes, files, disk }: Parts, ino: number, into: Uint8Array, offset: number): number {
  const inode = inodes.get(ino)
  if (!isRegular(inode.attributes.mode)) throw new FsError('EINVAL')
  return disk.read(files.touch(files.open(inode)).fd, into, offset)
}

/**
 * Writes a regular file that the caller does not have open, as a server does whose clients open nothing. No descriptor
 * leaves this process for that, so nobody else has to be asked afterwards whether the file is still being written.
 */
export function writeUnopened(parts: Parts, ino: number, data: Uint8Array, offset: number, who: Credentials): number {
  const { inodes, files, usage } = parts
  const inode = inodes.get(ino)
  if (!isRegular(inode.attributes.mode)) throw new FsError('EINVAL')
  const written = writeFile(parts, { file: files.openToChange(inode), who }, data, offset)
  if (usage.quota.bytes !== undefined) {
    inodes.refresh(inode)
    inodes.save(inode)
  }
  return written
}

/** `offset` undefined: at the end of the file. */
function writeFile(
  parts: Parts,
  { file, who }: Pick<Content, 'file' | 'who'>,
  data: Uint8Array,
  offset: number | undefined,
): number {
  if (data.length === 0) return 0
  const { disk, inodes, files, usage, notices } = parts
  const { inode } = file
  let room = data.length
  if (usage.quota.bytes !== undefined) {
    inodes.refresh(inode)
    const { size } = inode.attributes
    room = Math.min(room, size + usage.freeBytes - (offset ?? size))
    if (room <= 0) throw new FsError('EDQUOT')
  }
  if (offset !== undefined) {
    room = Math.min(room, FILE_SIZE_MAX - offset)
    if (room <= 0) throw new FsError('EFBIG')
  }
  if (!isSuperuser(who)) killPrivileges(parts, inode.ino)
  const fd = offset === undefined ? files.appendDescriptor(file) : file.fd
  let written = 0
  try {
    while (written < room) {
      const rest = written === 0 && room === data.length ? data : data.subarray(written, room)
      written += offset === undefined ? disk.append(fd, rest) : disk.write(fd, rest, offset + written)
    }
  } catch (error) {
    if (written === 0) throw FsError.from(error)
  }
  files.touch(file)
  inode.written = true
  notices.attributes(inode.ino)
  return written
}

/** fallocate(2). */
export function allocate(parts: Parts, content: Content, mode: number, offset: number, length: number): void {
  requireOpen(content, content.writable)
  if (!(offset >= 0) || !(length > 0)) throw new FsError('EINVAL')
  if (offset + length > FILE_SIZE_MAX) throw new FsError('EFBIG')
  const { inode } = content.file
  if ((mode & FALLOC_FL_KEEP_SIZE) === 0) {
    parts.inodes.refresh(inode)
    parts.usage.checkGrowth(offset + length - inode.attributes.size)
  }
  parts.disk.allocate(content.fd, mode, offset, length)
  wasWritten(parts, content)
}

/** lseek(2) with SEEK_DATA or SEEK_HOLE: the offset found. Throws ENXIO beyond the end. */
export function seek(parts: Parts, content: Content, offset: number, whence: 'data' | 'hole'): number {
  requireOpen(content, true)
  return parts.disk.seek(content.fd, offset, whence === 'data' ? SEEK_DATA : SEEK_HOLE)
}

export interface ContentPosition {
  readonly content: Content
  readonly offset: number
}

/** copy_file_range(2). Returns the number of bytes copied; 0 at the end of the source. */
export function copyRange(parts: Parts, from: ContentPosition, to: ContentPosition, length: number): number {
  requireOpen(from.content, from.content.readable)
  requireOpen(to.content, to.content.writable)
  const { inodes, usage, disk } = parts
  const { inode } = to.content.file
  inodes.refresh(inode)
  const room = inode.attributes.size + usage.freeBytes - to.offset
  if (room <= 0) throw new FsError('EDQUOT')
  const bytes = Math.min(length, room)
  const copied = disk.copyRange(from.content.fd, from.offset, to.content.fd, to.offset, bytes)
  wasWritten(parts, to.content)
  return copied
}

function wasWritten(parts: Parts, content: Content): void {
  if (!isSuperuser(content.who)) killPrivileges(parts, content.ino)
  content.file.inode.written = true
  parts.notices.attributes(content.ino)
}

function requireOpen(content: Content, allowed: boolean): void {
  if (content.closed || content.fd < 0 || !allowed) throw new FsError('EBADF')
}
