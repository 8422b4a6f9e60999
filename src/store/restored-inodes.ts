// Takes the records of a dump, one after the other, into the database and the content files of a new volume. Throws
// DumpError for a record that no volume could have.
import { constants } from 'node:fs'
import type SqliteDatabase from 'better-sqlite3'
import type { Disk } from '../host/disk.ts'
import type { Timespec } from '../posix/attributes.ts'
import { FsError } from '../posix/errors.ts'
import { isDirectory, isRegular, isSymlink, S_IFMT } from '../posix/mode.ts'
import { contentPath } from './content-files.ts'
import { checkTarget, TYPES } from './create.ts'
import { DumpError, type DumpRecord, type RecordOf } from './dump-records.ts'
import { checkName, isDot, type NameHash, SLOTS } from './names.ts'
import { DELETE_ENTRY, DELETE_INODE, DELETE_XATTRS, PUT_ENTRY, PUT_INODE, STATEMENTS } from './schema.ts'
import { FILE_SIZE_MAX } from './set-attributes.ts'
import { checkXattrName, XATTR_LIST_MAX } from './xattrs.ts'

/** Counters and generations leave room to grow. */
const COUNTER_MAX = 2 ** 52
/** The largest time of 64-bit file systems' nanoseconds is beyond it; the host takes what it can. */
const SECONDS_MAX = 2 ** 40

export interface RestoredInodesOptions {
  readonly database: SqliteDatabase.Database
  readonly disk: Disk
  /** The directory of content files. */
  readonly content: string
  readonly nameSeed: number
  readonly inodeLimit: number
  readonly hash: NameHash
  /** The dump has all there is: nothing may be said twice, or removed. */
  readonly full: boolean
}

type InodeRecord = RecordOf<'INODE'>

/** The inode whose attributes and content come. */
interface Current {
  readonly record: InodeRecord
  readonly fd: number
  /** Content came up to here. */
  end: number
  xattrs: number
  listBytes: number
}

export class RestoredInodes {
  readonly #options: RestoredInodesOptions
  readonly #putInode
  readonly #putEntry
  readonly #putXattr
  readonly #countXattrs
  readonly #deleteInode
  readonly #deleteXattrs
  readonly #deleteEntry
  #current: Current | undefined
  /** Inodes come in order, then entries. */
  #lastInode = 0
  #lastEntry: readonly [number, number] = [0, 0]
  /** Of content that came. */
  bytes = 0

  constructor(options: RestoredInodesOptions) {
    this.#options = options
    const { database } = options
    this.#putInode = database.prepare(PUT_INODE)
    this.#putEntry = database.prepare(PUT_ENTRY)
    this.#putXattr = database.prepare('INSERT INTO xattr (ino, name, value) VALUES (?, ?, ?)')
    this.#countXattrs = database.prepare('UPDATE inode SET xattrs = ? WHERE ino = ?')
    this.#deleteInode = database.prepare(STATEMENTS[DELETE_INODE] as string)
    this.#deleteXattrs = database.prepare(STATEMENTS[DELETE_XATTRS] as string)
    this.#deleteEntry = database.prepare(STATEMENTS[DELETE_ENTRY] as string)
  }

  take(record: DumpRecord): void {
    if (record.type === 'XATTR') this.#takeXattr(record)
    else if (record.type === 'DATA') this.#takeData(record)
    else {
      this.end()
      if (record.type === 'INODE') this.#takeInode(record)
      else if (record.type === 'ENTRY') this.#takeEntry(record)
      else if (record.type === 'NO_INODE') this.#takeNoInode(record)
      else if (record.type === 'NO_ENTRY') this.#takeNoEntry(record)
      else throw new DumpError(`${record.type} where none belongs`)
    }
  }

  #takeInode(record: InodeRecord): void {
    this.#nextInode(record.ino)
    checkInode(record)
    const { ino, mode, atime, mtime, ctime, btime } = record
    this.#putInode.run(
      ...[ino, record.generation, mode, record.uid, record.gid, record.nlink, record.rdev, record.size, record.blocks],
      ...[atime, mtime, ctime, btime].flatMap(({ sec, nsec }) => [sec, nsec]),
      ...[record.parent, record.change, record.dataVersion, 0, ino, record.target ?? null],
    )
    if (!this.#options.full) this.#deleteXattrs.run(ino)
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL
    const path = `${this.#options.content}/${contentPath(ino)}`
    const fd = record.content ? this.#options.disk.open(path, flags, 0o600) : -1
    this.#current = { record, fd, end: 0, xattrs: 0, listBytes: 0 }
  }

  #takeXattr({ name, value }: RecordOf<'XATTR'>): void {
    const current = this.#current
    if (!current || current.end > 0) throw new DumpError('an extended attribute of no inode')
    checked(() => checkXattrName(name))
    current.xattrs++
    current.listBytes += Buffer.byteLength(name) + 1
    if (current.listBytes > XATTR_LIST_MAX) throw new DumpError('too many extended attributes')
    this.#putXattr.run(current.record.ino, name, value)
  }

  #takeData({ offset, bytes }: RecordOf<'DATA'>): void {
    const current = this.#current
    if (!current || current.fd < 0) throw new DumpError('content of no file')
    if (offset < current.end || bytes.length === 0 || offset + bytes.length > current.record.size) {
      throw new DumpError('content that is not in its file, or not in order')
    }
    for (let done = 0; done < bytes.length; ) {
      done += this.#options.disk.write(current.fd, done === 0 ? bytes : bytes.subarray(done), offset + done)
    }
    current.end = offset + bytes.length
    this.bytes += bytes.length
  }

  /** The last inode is complete. */
  end(): void {
    const current = this.#current
    if (!current) return
    const { ino, size, atime, mtime } = current.record
    if (current.xattrs > 0) this.#countXattrs.run(current.xattrs, ino)
    if (current.fd >= 0) {
      const { disk } = this.#options
      if (current.end < size) disk.truncate(current.fd, size)
      disk.utimens(current.fd, atime.sec, atime.nsec, mtime.sec, mtime.nsec)
    }
    this.abandon()
  }

  /** Lets go of what is open. */
  abandon(): void {
    if (this.#current && this.#current.fd >= 0) this.#options.disk.close(this.#current.fd)
    this.#current = undefined
  }

  #takeEntry({ parent, cookie, name, ino, kind }: RecordOf<'ENTRY'>): void {
    this.#nextEntry(parent, cookie)
    checked(() => checkName(name))
    if (isDot(name)) throw new DumpError('a name that every directory has')
    // Found by its hash, or never.
    const first = this.#options.hash(name, this.#options.nameSeed)
    if (cookie < first || cookie >= first + SLOTS) throw new DumpError('a name that is not where it belongs')
    this.#putEntry.run(parent, cookie, name, ino, kind)
  }

  #takeNoInode({ ino }: RecordOf<'NO_INODE'>): void {
    this.#requireChanges()
    this.#nextInode(ino)
    this.#deleteInode.run(ino)
    this.#deleteXattrs.run(ino)
  }

  #takeNoEntry({ parent, cookie }: RecordOf<'NO_ENTRY'>): void {
    this.#requireChanges()
    this.#nextEntry(parent, cookie)
    this.#deleteEntry.run(parent, cookie)
  }

  #requireChanges(): void {
    if (this.#options.full) throw new DumpError('something is removed that never was')
  }

  #nextInode(ino: number): void {
    if (this.#lastEntry[0] > 0) throw new DumpError('an inode after the names')
    if (ino <= this.#lastInode || ino >= this.#options.inodeLimit) throw new DumpError('inodes that are not in order')
    this.#lastInode = ino
  }

  #nextEntry(parent: number, cookie: number): void {
    const [lastParent, lastCookie] = this.#lastEntry
    if (parent < lastParent || (parent === lastParent && cookie <= lastCookie)) {
      throw new DumpError('names that are not in order')
    }
    if (parent === 0) throw new DumpError('a name in no directory')
    this.#lastEntry = [parent, cookie]
  }
}

function checkInode(record: InodeRecord): void {
  const { ino, mode, size, parent, target } = record
  const require = (holds: boolean, what: string) => {
    if (!holds) throw new DumpError(`inode ${ino}: ${what}`)
  }
  require(TYPES.has(mode & S_IFMT) && mode <= 0o177777, 'no file type')
  require(record.generation >= 1 && record.generation <= COUNTER_MAX, 'no generation')
  require(record.change <= COUNTER_MAX && record.dataVersion <= COUNTER_MAX, 'counters that could not grow')
  for (const time of [record.atime, record.mtime, record.ctime, record.btime]) require(isTime(time), 'no time')
  require(size <= FILE_SIZE_MAX && record.blocks <= COUNTER_MAX && record.rdev <= COUNTER_MAX, 'too large')
  require(isRegular(mode) || !record.content, 'content of what has none')
  require(isDirectory(mode) ? parent > 0 : parent === 0, 'a parent of what has none, or none')
  require((target !== undefined) === isSymlink(mode), 'a target of what has none, or none')
  if (target === undefined) return
  checked(() => checkTarget(target))
  require(size === Buffer.byteLength(target), 'not the size of its target')
}

const isTime = ({ sec, nsec }: Timespec): boolean => Math.abs(sec) <= SECONDS_MAX && nsec < 1_000_000_000

/** What a volume would refuse, a dump may not bring. */
function checked(check: () => void): void {
  try {
    check()
  } catch (error) {
    if (error instanceof FsError) throw new DumpError(error.message, { cause: error })
    throw error
  }
}
