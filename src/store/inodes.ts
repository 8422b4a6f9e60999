// The inodes of a volume: found by number, kept in memory while they are used, in step with their content files, and
// deleted when neither a name nor a user is left.
import { randomInt } from 'node:crypto'
import { type Disk, STAT } from '../host/disk.ts'
import { type Attributes, compareTimespec, type Timespec, withChanges } from '../posix/attributes.ts'
import { FsError } from '../posix/errors.ts'
import { isDirectory, isRegular } from '../posix/mode.ts'
import type { ContentFiles } from './content-files.ts'
import { type Inode, type InodeRow, inodeFromRow } from './inode.ts'
import { InodeCache } from './inode-cache.ts'
import type { MetadataView } from './metadata.ts'
import type { Notices } from './notices.ts'
import { DELETE_INODE, DELETE_XATTRS, SET_META, TOUCH_DIRECTORY, UPDATE_LINKS } from './schema.ts'
import type { Usage } from './usage.ts'

/** Numbers below this one may have been given to inodes; kept in the database, which is told of a range at a time. */
export const INODE_LIMIT = 'inodeLimit'
const RANGE = 1024

/**
 * Content that differs from the row when an inode is read was written before a crash, and its counters may have been
 * told to clients then. They go on above anything that may have been told.
 */
export const RECOVERY_STEP = 1 << 20

export interface InodesOptions {
  readonly disk: Disk
  readonly metadata: MetadataView
  readonly files: ContentFiles
  readonly usage: Usage
  readonly notices: Notices
  readonly cacheLimit: number
  /** Rows are what counts, also of regular files: content is not asked for size and times. */
  readonly rowsCount?: boolean
  /** Takes the content of deleted inodes away. */
  readonly discardContent: (content: number, bytes: number) => void
}

export class Inodes {
  /** Of every inode made since the volume was opened: numbers that loss of power makes free again get another one. */
  readonly generation = randomInt(1, 2 ** 31)
  readonly #options: InodesOptions
  readonly #cache: InodeCache
  readonly #select
  readonly #selectParent
  readonly #stat = new Float64Array(STAT.length)
  /** How often the mounts know an inode (lookups of the kernel, handles of clients). */
  readonly #references = new Map<number, number>()
  #next: number
  #limit: number
  #closed = false

  constructor(options: InodesOptions) {
    this.#options = options
    this.#cache = new InodeCache(options.cacheLimit)
    this.#select = options.metadata.query<InodeRow>('SELECT * FROM inode WHERE ino = ?')
    this.#selectParent = options.metadata.query<number>('SELECT parent FROM inode WHERE ino = ?').pluck()
    this.#next = this.#limit = Number(options.metadata.meta(INODE_LIMIT) ?? 1)
  }

  /** Throws ESTALE if there is no such inode any more. */
  get(ino: number): Inode {
    return this.#cache.get(ino) ?? this.#load(ino)
  }

  /** Throws ENOTDIR if it is not a directory. */
  directory(ino: number): Inode {
    const inode = this.get(ino)
    if (!isDirectory(inode.attributes.mode)) throw new FsError('ENOTDIR')
    return inode
  }

  /** The parent of a directory. Loads nothing into memory: a deep tree would push out what an operation works on. */
  parentOf(ino: number): number {
    const parent = (this.#cache.get(ino) ?? this.#pending(ino))?.parent ?? this.#selectParent.get(ino)
    if (parent === undefined) throw new FsError('ESTALE')
    return parent
  }

  /** The attributes as they are now. */
  attributes(ino: number): Attributes {
    const inode = this.get(ino)
    if (inode.file) this.refresh(inode)
    return inode.attributes
  }

  /** A number that no inode ever had. May be an operation of its own. */
  allocate(): number {
    if (this.#next >= this.#limit) {
      const { metadata } = this.#options
      metadata.run(SET_META, [INODE_LIMIT, this.#next + RANGE])
      metadata.commit()
      this.#limit = this.#next + RANGE
    }
    return this.#next++
  }

  /** Numbers of inodes and content are below. */
  get limit(): number {
    return this.#limit
  }

  add(inode: Inode): void {
    this.#cache.add(inode)
    this.#options.usage.inodes++
  }

  /** Asks the content file, if somebody may have used it, for size and times, and counts a change if they are not as they were. */
  refresh(inode: Inode): void {
    const { file } = inode
    if (!file?.touched) return
    // Asked before the file is: what is written in between is seen the next time.
    file.touched = file.opens > 0 || this.#options.files.mayBeWritten(inode)
    const stat = this.#stat
    this.#options.disk.stat(file.fd, stat)
    const a = inode.attributes
    const written = inode.written || a.size !== stat[STAT.size] || !isTime(a.mtime, stat, STAT.mtimeSec)
    if (!written && isTime(a.atime, stat, STAT.atimeSec) && a.blocks === stat[STAT.blocks]) return
    this.#adopt(inode, written)
    if (written) {
      inode.written = false
      inode.unsaved = true
      inode.change++
      inode.dataVersion++
    }
  }

  /** Takes size and times from the open content file without calling that a change. */
  adoptContent(inode: Inode): void {
    if (!inode.file) return
    this.#options.disk.stat(inode.file.fd, this.#stat)
    this.#adopt(inode, true)
  }

  /** Takes over what was just asked. The ctime of content that was not `changed` tells of its names (clones), not of it. */
  #adopt(inode: Inode, changed: boolean): void {
    const stat = this.#stat
    const a = inode.attributes
    const size = stat[STAT.size] ?? 0
    const ctime = timeFrom(stat, STAT.ctimeSec)
    this.#options.usage.bytes += size - a.size
    inode.attributes = withChanges(a, {
      size,
      blocks: stat[STAT.blocks] ?? 0,
      atime: isTime(a.atime, stat, STAT.atimeSec) ? a.atime : timeFrom(stat, STAT.atimeSec),
      mtime: timeFrom(stat, STAT.mtimeSec),
      ctime: changed && compareTimespec(ctime, a.ctime) > 0 ? ctime : a.ctime,
    })
  }

  /**
   * Brings the row of an inode up to date if content changed since it was written. The content file tells the same; a
   * row that a crash leaves behind is found out when the inode is read again.
   */
  save(inode: Inode): void {
    if (!inode.unsaved) return
    if (inode.unnamed === undefined) {
      this.#options.metadata.note(inode)
    }
    inode.unsaved = false
  }

  /** Part of an operation: a directory gets or loses an entry. Returns its attributes, to be adopted after `commit`. */
  touchDirectory(directory: Inode, now: Timespec, linkChange: number): Attributes {
    const nlink = directory.attributes.nlink + linkChange
    const parameters = [nlink, now.sec, now.nsec, now.sec, now.nsec, directory.change + 1, directory.ino]
    this.#options.metadata.run(TOUCH_DIRECTORY, parameters, directory)
    return withChanges(directory.attributes, { nlink, mtime: now, ctime: now })
  }

  /** Part of an operation: an inode that keeps a name gets or loses one. Returns its attributes, as above. */
  touchLinks(inode: Inode, now: Timespec, links: { readonly change: number; readonly parent: number }): Attributes {
    const nlink = inode.attributes.nlink + links.change
    const parameters = [nlink, links.parent, now.sec, now.nsec, inode.change + 1, inode.ino]
    this.#options.metadata.run(UPDATE_LINKS, parameters, inode)
    return withChanges(inode.attributes, { nlink, ctime: now })
  }

  /**
   * Part of an operation: an inode loses a name (a directory: its only one). If that was the last, the inode leaves
   * the database; it stays in memory for those who use it, and a crash takes it. Call `unlinked` after `commit`.
   */
  unlink(inode: Inode, now: Timespec): Attributes {
    const last = inode.attributes.nlink === 1 || isDirectory(inode.attributes.mode)
    if (!last) return this.touchLinks(inode, now, { change: -1, parent: inode.parent })
    const { metadata } = this.#options
    metadata.run(DELETE_INODE, [inode.ino])
    if (inode.xattrs > 0) metadata.run(DELETE_XATTRS, [inode.ino])
    return withChanges(inode.attributes, { nlink: 0, ctime: now })
  }

  /** `xattrs`: those it had, if it has no name any more. */
  unlinked(inode: Inode, attributes: Attributes, xattrs: Map<string, Uint8Array>): void {
    inode.attributes = attributes
    inode.change++
    if (attributes.nlink > 0) return
    inode.unnamed = { xattrs, linkable: false }
    this.#cache.add(inode)
    this.collect(inode)
  }

  /** Counts `count` more users of an inode. */
  hold(ino: number, count: number): void {
    this.#references.set(ino, (this.#references.get(ino) ?? 0) + count)
  }

  /** Counts `count` users less. With the last one an inode without a name goes. */
  drop(ino: number, count: number): void {
    const left = (this.#references.get(ino) ?? 0) - count
    if (left > 0) {
      this.#references.set(ino, left)
      return
    }
    this.#references.delete(ino)
    const inode = this.#cache.get(ino)
    if (inode?.unnamed) this.collect(inode)
  }

  /**
   * Deletes an inode without a name if nobody uses it. Several who used it at the same time may ask for that: who comes
   * late must not delete it again, because its content may be another inode's by then.
   */
  collect(inode: Inode): void {
    if (!inode.unnamed || this.#references.has(inode.ino) || (inode.file && inode.file.opens > 0)) return
    if (this.#cache.get(inode.ino) !== inode) return
    const { files, usage, discardContent } = this.#options
    this.#cache.delete(inode.ino)
    usage.inodes--
    if (!isRegular(inode.attributes.mode)) return
    usage.bytes -= inode.attributes.size
    files.retire(inode)
    discardContent(inode.content, inode.attributes.size)
  }

  /** Content that no inode names any more goes. */
  discard(content: number, bytes: number): void {
    this.#options.discardContent(content, bytes)
  }

  /**
   * Forgets everything, and deletes what has no name, whoever uses it. Whoever asks for an inode afterwards is told that
   * there is none to be had. The content files are closed by now.
   */
  close(): void {
    this.#closed = true
    this.#references.clear()
    for (const inode of this.#cache.unnamed()) this.collect(inode)
    this.#cache.clear()
  }

  /** An inode that left the cache before its row was written. Throws ESTALE if it is deleted. */
  #pending(ino: number): Inode | undefined {
    const pending = this.#options.metadata.pending.inode(ino)
    if (pending && !pending.inode) throw new FsError('ESTALE')
    return pending?.inode
  }

  #load(ino: number): Inode {
    if (this.#closed) throw new FsError('EIO', 'the volume is closed')
    const pending = this.#pending(ino)
    if (pending) {
      this.#cache.add(pending)
      return pending
    }
    const row = this.#select.get(ino)
    if (!row) throw new FsError('ESTALE')
    const inode = inodeFromRow(row)
    if (isRegular(row.mode) && !this.#options.rowsCount) {
      this.#options.files.open(inode)
      this.refresh(inode)
      if (inode.unsaved) {
        inode.change += RECOVERY_STEP
        inode.dataVersion += RECOVERY_STEP
      }
    }
    this.#cache.add(inode)
    return inode
  }
}

const isTime = (time: Timespec, stat: Float64Array, at: number): boolean =>
  time.sec === stat[at] && time.nsec === stat[at + 1]

const timeFrom = (stat: Float64Array, at: number): Timespec => ({ sec: stat[at] ?? 0, nsec: stat[at + 1] ?? 0 })
