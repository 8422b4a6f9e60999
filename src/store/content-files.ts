// The content of regular files: one plain file each, opened once however often it is open.
//
// While a content file is open here it is the truth about its size and times, because programs and the kernel write it
// without asking (passthrough). It stays open for a while after its last close, so that the next open costs nothing.
// When it is closed for good, the store makes sure that nobody can still write it (a mapping outlives its descriptor),
// and only then trusts what it knows in memory.
// A content file has a number of its own, by which an inode names it: it may have been another inode's before (see
// spare-contents.ts).
import { constants } from 'node:fs'
import { type Disk, STAT } from '../host/disk.ts'
import { FsError } from '../posix/errors.ts'
import type { CloneContents } from './clone-contents.ts'
import { CopiedContents } from './copied-contents.ts'
import { GroupedCall } from './grouped-call.ts'
import type { Inode } from './inode.ts'
import { type SpareContent, SpareContents } from './spare-contents.ts'

/** Inode numbers that share a directory in a row: files made together are synced and removed together. */
const RUN = 256
const DIRECTORIES = 256
/** Files looked at in one go to find one to close. */
const HAND_STEPS = 32

/** An open content file. */
export interface ContentFile {
  readonly inode: Inode
  /** Open for reading and writing; -1 when it is closed for good. */
  fd: number
  /** A second descriptor, for appending; -1 until one is needed. */
  appendFd: number
  /** How often the inode is open, and how often for writing. */
  opens: number
  writableOpens: number
  /** How many of the opens only read the content as it was when they began: another may take its place meanwhile. */
  snapshots: number
  /** Called when nobody reads it any more, after its inode got other content. */
  whenClosed?: () => void
  /** Used since the hand came by. */
  recent: boolean
  /** The inode was open for writing, and a mapping of that open may still write it. */
  wasWritable: boolean
  /** Size and times may differ from those last read: the inode is open, or was since then. */
  touched: boolean
  /** Others than this process may have it open or mapped: it was opened for them, or an earlier process had it. */
  shared: boolean
  /** No clone names it. False: one may. */
  isOwn: boolean
  /** What the kernel was given to read and write by itself; undefined: nothing. Another file's is another object. */
  passed: object | undefined
  /** Descriptors of what it was before it was copied, for those who read it since then. */
  replaced: number[] | undefined
}

export interface ContentFilesOptions {
  readonly disk: Disk
  /** A directory for the content files alone. */
  readonly directory: string
  /** Content files that are kept open while nobody uses them. */
  readonly idleDescriptors: number
  /** Called before a file is closed: the last chance to ask it. Never in the middle of an operation. */
  readonly beforeClose: (inode: Inode) => void
  /** A new inode found no spare content file. */
  readonly onNoneSpare: () => void
  /** Content was copied because a clone names it: `settleCopies` is due. */
  readonly onCopied: () => void
  /** Nothing may change, not even when something was last read. */
  readonly readOnly?: boolean
  readonly onBackgroundError: (error: Error) => void
}

interface ContentDirectory {
  readonly path: string
  /** Files were made in it since it was last synced. */
  unsynced: boolean
  readonly sync: GroupedCall
}

export class ContentFiles {
  readonly #options: ContentFilesOptions
  readonly #disk: Disk
  readonly #directories: readonly ContentDirectory[]
  /** The files that are open here, by inode number, and how many of them nobody uses. */
  readonly #files = new Map<number, ContentFile>()
  /** Content that was replaced while it was read. */
  readonly #detached = new Set<ContentFile>()
  #idle = 0
  readonly spare: SpareContents
  readonly #copied: CopiedContents
  /** Clones may name content with lower numbers than this, and no other. */
  #sharedBelow = 0
  #clone: CloneContents | undefined
  readonly #flags: number
  /** Goes round the files to find one to close: one that was used since it last came by is left alone once more. */
  #hand = this.#files.values()

  constructor(options: ContentFilesOptions) {
    this.#options = options
    this.#disk = options.disk
    this.spare = new SpareContents({
      disk: options.disk,
      openEmptied: (content) => this.#disk.open(this.#path(content), constants.O_WRONLY | constants.O_TRUNC),
      make: (content) => this.#make(content),
      unlink: (content) => this.#unlink(content),
    })
    this.#copied = new CopiedContents(this.#disk, (path) => {
      this.#directoryOf(Number(path.slice(path.lastIndexOf('/') + 1))).unsynced = true
    })
    this.#flags = options.readOnly ? constants.O_RDONLY | constants.O_NOATIME : constants.O_RDWR
    this.#directories = Array.from({ length: DIRECTORIES }, (_, index) => {
      const path = `${options.directory}/${directoryName(index)}`
      // An earlier process may have made files in it.
      return { path, unsynced: true, sync: new GroupedCall(() => this.#syncPath(path, false)) }
    })
  }

  /** Makes the directories durably; once per volume. */
  async format(): Promise<void> {
    makeContentDirectories(this.#disk, this.#options.directory)
    await this.#syncPath(this.#options.directory, false)
  }

  get readOnly(): boolean {
    return this.#options.readOnly === true
  }

  /** Finds or makes the empty content file of a new inode. It is open, and used by nobody yet. */
  create(inode: Inode): ContentFile {
    const spare = this.spare.take()
    if (spare) inode.content = spare.content
    else this.#options.onNoneSpare()
    return this.#add(inode, spare?.fd ?? this.#make(inode.content), { isNew: true })
  }

  /** An empty content file beside those of inodes, open: for `replace`, or to be given up by `discardStaged`. */
  stage(allocate: () => number): SpareContent {
    const spare = this.spare.take()
    if (spare) return spare
    this.#options.onNoneSpare()
    const content = allocate()
    return { content, fd: this.#make(content) }
  }

  discardStaged({ content, fd }: SpareContent): void {
    this.#disk.close(fd)
    this.#unlink(content)
  }

  /** Makes a staged file the inode's content. What it had before is nobody's, as with `retire`. */
  replace(inode: Inode, { content, fd }: SpareContent): void {
    this.retire(inode)
    inode.content = content
    this.#add(inode, fd, { isNew: true })
  }

  /** Makes a staged file durable under its name: before an inode names it. */
  async syncStaged({ content, fd }: SpareContent): Promise<void> {
    await this.#disk.sync(fd, false)
    await this.#syncDirectoryOf(content)
  }

  /** Takes an open file from its inode, for those who still read it. It is theirs: `releaseDetached` is the end of it. */
  detachOpen(inode: Inode, file: ContentFile): void {
    this.#files.delete(inode.ino)
    inode.file = undefined
    // The inode's next open has a file of its own.
    this.#detached.add(file)
  }

  releaseDetached(file: ContentFile): void {
    if (--file.opens > 0) return
    this.#detached.delete(file)
    this.#closeReplaced(file)
    this.#disk.close(file.fd)
    file.fd = -1
    file.whenClosed?.()
  }

  isDetached(file: ContentFile): boolean {
    return this.#detached.has(file)
  }

  #make(content: number): number {
    const directory = this.#directoryOf(content)
    const path = `${directory.path}/${content}`
    const flags = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL
    let fd: number
    try {
      fd = this.#open(path, flags)
    } catch (error) {
      if (!hasCode(error, 'EEXIST')) throw error
      // A crash left it, or it could not be removed when its operation failed: no inode ever had this number.
      this.#disk.unlink(path)
      fd = this.#open(path, flags)
    }
    directory.unsynced = true
    return fd
  }

  /** The content file of an inode, opened if it is not open. */
  open(inode: Inode): ContentFile {
    const { file } = inode
    if (file) return file
    const path = this.#path(inode.content)
    let fd: number
    try {
      fd = this.#open(path, this.#flags)
    } catch (error) {
      if (!hasCode(error, 'ENOENT')) throw error
      if (this.#options.readOnly) throw new FsError('EIO', `the content of inode ${inode.ino} is missing`)
      // Loss of power may take a file that was never synced and leave its inode.
      fd = this.#open(path, constants.O_RDWR | constants.O_CREAT)
      this.#directoryOf(inode.content).unsynced = true
      this.#options.onBackgroundError(new Error(`the content of inode ${inode.ino} was missing; it is empty now`))
    }
    return this.#add(inode, fd, { isNew: false })
  }

  /** It is going to be used for the moment, by this process. */
  touch(file: ContentFile): ContentFile {
    file.recent = true
    file.touched = this.#flags === constants.O_RDWR
    return file
  }

  /** The content file of an inode that is going to be changed: what a clone names is copied first. */
  openToChange(inode: Inode): ContentFile {
    const file = this.open(inode)
    if (!file.isOwn) this.#makeOwn(file)
    return file
  }

  #makeOwn(file: ContentFile): void {
    if (this.#options.readOnly) throw new FsError('EROFS')
    const { content } = file.inode
    this.#clone?.give(content, file)
    if (this.#linksOf(file.fd) > 1) {
      const fd = this.#copied.copy(this.#path(content), file.fd)
      const replaced = file.appendFd < 0 ? [file.fd] : [file.fd, file.appendFd]
      if (file.opens > 0) file.replaced = [...(file.replaced ?? []), ...replaced]
      else for (const old of replaced) this.#disk.close(old)
      file.fd = fd
      file.appendFd = -1
      file.passed = undefined
      file.wasWritable = false
      this.#options.onCopied()
    }
    file.isOwn = true
  }

  /**
   * What stands for the content file wherever the kernel reads and writes it by itself: equal as long as it is the same
   * file. Undefined: the kernel must ask, because a clone names the file, and the next change makes it another.
   */
  pass(file: ContentFile): object | undefined {
    if (!file.isOwn && !this.#options.readOnly) {
      this.#clone?.give(file.inode.content, file)
      if (this.#linksOf(file.fd) > 1) return undefined
      file.isOwn = true
    }
    file.passed ??= {}
    return file.passed
  }

  #linksOf(fd: number): number {
    const stat = new Float64Array(STAT.length)
    this.#disk.stat(fd, stat)
    return stat[STAT.nlink] ?? 0
  }

  /** Clones of earlier processes name content below this number only. */
  set sharedBelow(content: number) {
    this.#sharedBelow = content
  }

  /**
   * The moment of a clone, which may name any content below `limit` from now on. What may be written without asking is
   * copied here and now. `save` is called with each inode whose row may be out of date.
   */
  beginClone(clone: CloneContents, limit: number, save: (inode: Inode) => void): void {
    this.forEachOpen(save)
    this.#clone = clone
    this.#sharedBelow = limit
    for (const file of this.#files.values()) {
      if (file.inode.unnamed) continue
      if (this.mayBeWritten(file.inode)) clone.copy(file.inode.content, file.fd)
      else file.isOwn = false
    }
  }

  forEachOpen(visit: (inode: Inode) => void): void {
    for (const { inode } of this.#files.values()) visit(inode)
  }

  /** Gives content to the clone under way, as it was at its moment. */
  giveToClone(ino: number, content: number): void {
    this.#clone?.give(content, this.#files.get(ino))
  }

  endClone(): void {
    this.#clone = undefined
  }

  /** Makes copies durable that were made of what clones name: the old content is kept until then. */
  async settleCopies(): Promise<void> {
    await this.#copied.settle()
  }

  /** What an earlier process left of copies, after it was killed or power was lost. */
  recoverCopies(powerWasLost: boolean): void {
    for (const { path } of this.#directories) this.#copied.recover(path, powerWasLost)
  }

  retain(file: ContentFile, writable: boolean): void {
    if (file.opens++ === 0) this.#idle--
    this.touch(file)
    if (writable) {
      file.writableOpens++
      file.wasWritable = true
    }
  }

  /** The other end of `retain`. The file stays open, for whoever comes next. */
  release(file: ContentFile, writable: boolean): void {
    if (writable) file.writableOpens--
    if (--file.opens > 0) return
    if (file.appendFd >= 0) this.#disk.close(file.appendFd)
    file.appendFd = -1
    this.#closeReplaced(file)
    this.#idle++
    this.#closeOne()
  }

  #closeReplaced(file: ContentFile): void {
    if (file.replaced === undefined) return
    for (const fd of file.replaced) this.#disk.close(fd)
    file.replaced = undefined
  }

  /** Whether somebody may write the file without asking: it is open for writing, or a mapping outlived the last close. */
  mayBeWritten({ file }: Inode): boolean {
    if (!file) return false
    return file.writableOpens > 0 || this.#stillWritten(file)
  }

  /** Whether a mapping that outlived the last close can still write the file. */
  #stillWritten(file: ContentFile): boolean {
    if (file.wasWritable) file.wasWritable = this.#disk.hasWriters(file.fd)
    return file.wasWritable
  }

  /** A descriptor whose writes go to the end of the file, wherever that is by then. */
  appendDescriptor(file: ContentFile): number {
    if (file.appendFd < 0) {
      file.appendFd = this.#open(this.#path(file.inode.content), constants.O_WRONLY | constants.O_APPEND)
    }
    return file.appendFd
  }

  /** The content of an inode that is deleted, and that nobody uses, is nobody's. `remove` it when that is durable. */
  retire(inode: Inode): void {
    const { file, content } = inode
    if (!file) return
    const fd = this.#detach(inode, file)
    const { shared, isOwn } = file
    if (!isOwn || !this.spare.retire({ content, fd, shared }, inode.attributes.size)) this.#disk.close(fd)
  }

  #close(inode: Inode): void {
    const { file } = inode
    if (file) this.#disk.close(this.#detach(inode, file))
  }

  /** The descriptor is the caller's now. */
  #detach(inode: Inode, file: ContentFile): number {
    this.#files.delete(inode.ino)
    if (file.opens === 0) this.#idle--
    inode.file = undefined
    if (file.appendFd >= 0) this.#disk.close(file.appendFd)
    this.#closeReplaced(file)
    const { fd } = file
    // Its number may be another file's soon.
    file.fd = -1
    file.appendFd = -1
    return fd
  }

  /** Undoes `create`. */
  abandon(inode: Inode): void {
    this.#close(inode)
    try {
      this.#disk.unlink(this.#path(inode.content))
    } catch (error) {
      // Collected when the volume is opened next, unless it was closed well: a stray empty file.
      this.#options.onBackgroundError(new Error(`cannot remove ${this.#path(inode.content)}`, { cause: error }))
    }
  }

  /** The content of a deleted inode goes: its file is emptied and kept, or removed. */
  remove(content: number): void {
    if (!this.spare.empty(content)) this.#unlink(content)
  }

  #unlink(content: number): void {
    this.#giveBeforeRemoval(content)
    try {
      this.#disk.unlink(this.#path(content))
    } catch (error) {
      if (!hasCode(error, 'ENOENT')) throw error
    }
  }

  /** A clone under way may name what was deleted after its moment. */
  #giveBeforeRemoval(content: number): void {
    if (content < this.#sharedBelow) this.#clone?.give(content, undefined)
  }

  removeLater(content: number): Promise<void> {
    this.#giveBeforeRemoval(content)
    return this.#disk.unlinkLater(this.#path(content))
  }

  /** Resolves when the content, and that the file exists, is on stable storage. */
  async sync(inode: Inode, dataOnly: boolean): Promise<void> {
    const file = this.open(inode)
    // Used while the sync runs: its descriptor must not be closed.
    this.retain(file, false)
    try {
      await this.#copied.sync(this.#path(inode.content), () => this.#disk.sync(file.fd, dataOnly))
    } finally {
      if (this.isDetached(file)) this.releaseDetached(file)
      else this.release(file, false)
    }
    await this.#syncDirectoryOf(inode.content)
  }

  async #syncDirectoryOf(content: number): Promise<void> {
    const directory = this.#directoryOf(content)
    // Who finds it cleared must still wait for the sync that somebody else began.
    if (directory.unsynced || directory.sync.busy) {
      directory.unsynced = false
      try {
        await directory.sync.call()
      } catch (error) {
        directory.unsynced = true
        throw error
      }
    }
  }

  /** Resolves when all content that was ever written is on stable storage. */
  async syncAll(): Promise<void> {
    const { directory } = this.#options
    if (await this.#copied.syncAll(() => this.#disk.syncFileSystem(directory)))
      await this.#disk.syncFileSystem(directory)
  }

  /** Removes the files whose content nobody knows: a crash came between a file and its inode. Returns how many. */
  collect(isKnown: (content: number) => boolean): number {
    let collected = 0
    for (const { path } of this.#directories) {
      for (const name of this.#disk.list(path)) {
        if (/^\d+$/.test(name) && isKnown(Number(name))) continue
        this.#disk.unlink(`${path}/${name}`)
        collected++
      }
    }
    return collected
  }

  /** Closes every file that nobody uses. */
  closeIdle(): void {
    for (const file of this.#files.values()) if (file.opens === 0) this.#closeSaved(file)
  }

  closeAll(): void {
    for (const file of this.#files.values()) this.#closeSaved(file)
    for (const file of this.#detached) {
      this.#disk.close(file.fd)
      file.fd = -1
      file.whenClosed?.()
    }
    this.#detached.clear()
  }

  #directoryOf(content: number): ContentDirectory {
    const directory = this.#directories[directoryOf(content)]
    if (!directory) throw new Error(`not a content number: ${content}`)
    return directory
  }

  #path(content: number): string {
    return `${this.#options.directory}/${contentPath(content)}`
  }

  #open(path: string, flags: number): number {
    try {
      return this.#disk.open(path, flags, 0o600)
    } catch (error) {
      if (!hasCode(error, 'EMFILE') && !hasCode(error, 'ENFILE')) throw error
      this.closeIdle()
      try {
        this.spare.remove()
      } catch (cause) {
        this.#options.onBackgroundError(new Error('the content of deleted files stays', { cause }))
      }
      return this.#disk.open(path, flags, 0o600)
    }
  }

  #add(inode: Inode, fd: number, { isNew }: { readonly isNew: boolean }): ContentFile {
    const file: ContentFile = {
      inode,
      fd,
      appendFd: -1,
      opens: 0,
      writableOpens: 0,
      snapshots: 0,
      recent: true,
      wasWritable: false,
      touched: !isNew && !this.#options.readOnly,
      shared: !isNew,
      isOwn: isNew || (inode.content >= this.#sharedBelow && !this.#options.readOnly),
      passed: undefined,
      replaced: undefined,
    }
    // Room first: the new file must not be the one that goes.
    this.#idle++
    this.#closeOne()
    this.#files.set(inode.ino, file)
    inode.file = file
    return file
  }

  /** Closes a file that nobody uses if there are too many of them; now and then it takes a few calls to find one. */
  #closeOne(): void {
    for (let tries = 0; tries < HAND_STEPS && this.#idle > this.#options.idleDescriptors; tries++) {
      const { value: file } = this.#hand.next()
      if (file === undefined) this.#hand = this.#files.values()
      else if (file.recent) file.recent = false
      else if (file.opens === 0 && !this.#stillWritten(file)) this.#closeSaved(file)
    }
  }

  #closeSaved({ inode }: ContentFile): void {
    this.#options.beforeClose(inode)
    this.#close(inode)
  }

  async #syncPath(path: string, dataOnly: boolean): Promise<void> {
    const fd = this.#open(path, constants.O_RDONLY)
    try {
      await this.#disk.sync(fd, dataOnly)
    } finally {
      this.#disk.close(fd)
    }
  }
}

/** Makes the directories of content files in `directory`. */
export function makeContentDirectories(disk: Disk, directory: string): void {
  for (let index = 0; index < DIRECTORIES; index++) disk.makeDirectory(`${directory}/${directoryName(index)}`)
}

const directoryOf = (content: number): number => Math.floor(content / RUN) % DIRECTORIES
const directoryName = (index: number): string => index.toString(16).padStart(2, '0')

/** Where a content file lies below the directory of them all. */
export const contentPath = (content: number): string => `${directoryName(directoryOf(content))}/${content}`

const hasCode = (error: unknown, code: string): boolean =>
  error instanceof Error && 'code' in error && error.code === code
