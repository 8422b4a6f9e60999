// The content of regular files: one plain file each, opened once however often it is open.
//
// While a content file is open here it is the truth about its size and times, because programs and the kernel write it
// without asking (passthrough). It stays open for a while after its last close, so that the next open costs nothing.
// When it is closed for good, the store makes sure that nobody can still write it (a mapping outlives its descriptor),
// and only then trusts what it knows in memory.
import { constants } from 'node:fs'
import type { Disk } from './disk.ts'
import { GroupedCall } from './grouped-call.ts'
import type { Inode } from './inode.ts'

/** Inode numbers that share a directory in a row: files made together are synced and removed together. */
const RUN = 256
const DIRECTORIES = 256

/** An open content file. */
export interface ContentFile {
  readonly inode: Inode
  /** Open for reading and writing; for reading only while `watching`. */
  fd: number
  /** A second descriptor, for appending; -1 until one is needed. */
  appendFd: number
  /** How often the inode is open, and how often for writing. */
  opens: number
  writableOpens: number
  /** The inode was open for writing since the descriptor was opened. */
  wasWritable: boolean
  /** Kept only because somebody still has a writable mapping. */
  watching: boolean
}

export interface ContentFilesOptions {
  readonly disk: Disk
  /** A directory for the content files alone. */
  readonly directory: string
  /** Content files that are kept open while nobody uses them. */
  readonly idleDescriptors: number
  /** Called before a file is closed: the last chance to ask it. Never in the middle of an operation. */
  readonly beforeClose: (inode: Inode) => void
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
  /** Files that are open here and used by nobody, the longest unused first. */
  readonly #idle = new Map<number, ContentFile>()
  readonly #used = new Map<number, ContentFile>()

  constructor(options: ContentFilesOptions) {
    this.#options = options
    this.#disk = options.disk
    this.#directories = Array.from({ length: DIRECTORIES }, (_, index) => {
      const path = `${options.directory}/${index.toString(16).padStart(2, '0')}`
      return { path, unsynced: false, sync: new GroupedCall(() => this.#syncPath(path, false)) }
    })
  }

  /** Makes the directories durably; once per volume. */
  async format(): Promise<void> {
    for (const { path } of this.#directories) this.#disk.makeDirectory(path)
    await this.#syncPath(this.#options.directory, false)
  }

  /** Makes the content file of a new inode. It is open, and used by nobody yet. */
  create(inode: Inode): ContentFile {
    const directory = this.#directoryOf(inode.content)
    const path = `${directory.path}/${inode.content}`
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
    return this.#add(inode, fd)
  }

  /** The content file of an inode, opened if it is not open. */
  open(inode: Inode): ContentFile {
    const { file } = inode
    if (file && !file.watching) return file
    const path = this.#path(inode.content)
    let fd: number
    try {
      fd = this.#open(path, constants.O_RDWR)
    } catch (error) {
      if (!hasCode(error, 'ENOENT')) throw error
      // Loss of power may take a file that was never synced and leave its inode.
      fd = this.#open(path, constants.O_RDWR | constants.O_CREAT)
      this.#directoryOf(inode.content).unsynced = true
      this.#options.onBackgroundError(new Error(`the content of inode ${inode.ino} was missing; it is empty now`))
    }
    if (!file) return this.#add(inode, fd)
    this.#disk.close(file.fd)
    file.fd = fd
    file.watching = false
    return file
  }

  retain(file: ContentFile, writable: boolean): void {
    if (file.opens++ === 0) {
      this.#idle.delete(file.inode.ino)
      this.#used.set(file.inode.ino, file)
    }
    if (writable) {
      file.writableOpens++
      file.wasWritable = true
    }
  }

  /** The other end of `retain`. The file stays open, for whoever comes next. */
  release(file: ContentFile, writable: boolean): void {
    if (writable) file.writableOpens--
    if (--file.opens > 0) return
    this.#used.delete(file.inode.ino)
    this.#rest(file)
  }

  /** Whether somebody may write the file without asking: it is open for writing, or a mapping outlived the last close. */
  mayBeWritten({ file }: Inode): boolean {
    if (!file) return false
    if (file.writableOpens > 0 || file.watching) return true
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

  /** Closes the content file of an inode that is deleted, and that nobody uses. */
  close(inode: Inode): void {
    const { file } = inode
    if (!file) return
    this.#idle.delete(inode.ino)
    this.#used.delete(inode.ino)
    inode.file = undefined
    this.#disk.close(file.fd)
    if (file.appendFd >= 0) this.#disk.close(file.appendFd)
  }

  /** Undoes `create`. */
  abandon(inode: Inode): void {
    this.close(inode)
    try {
      this.#disk.unlink(this.#path(inode.content))
    } catch (error) {
      // Collected when the volume is opened next, unless it was closed well: a stray empty file.
      this.#options.onBackgroundError(new Error(`cannot remove ${this.#path(inode.content)}`, { cause: error }))
    }
  }

  /** Removes a content file for good. */
  remove(content: number): Promise<void> {
    return this.#disk.unlinkLater(this.#path(content))
  }

  /** Resolves when the content, and that the file exists, is on stable storage. */
  async sync(inode: Inode, dataOnly: boolean): Promise<void> {
    const directory = this.#directoryOf(inode.content)
    const file = this.open(inode)
    // Used while the sync runs: its descriptor must not be closed.
    this.retain(file, false)
    try {
      await this.#disk.sync(file.fd, dataOnly)
    } finally {
      this.release(file, false)
    }
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
  syncAll(): Promise<void> {
    return this.#disk.syncFileSystem(this.#options.directory)
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
    this.#closeEach(this.#idle)
  }

  closeAll(): void {
    this.#closeEach(this.#idle)
    this.#closeEach(this.#used)
  }

  #closeEach(files: Map<number, ContentFile>): void {
    for (const { inode } of files.values()) {
      this.#options.beforeClose(inode)
      this.close(inode)
    }
  }

  #directoryOf(content: number): ContentDirectory {
    const directory = this.#directories[Math.floor(content / RUN) % DIRECTORIES]
    if (!directory) throw new Error(`not a content number: ${content}`)
    return directory
  }

  #path(content: number): string {
    return `${this.#directoryOf(content).path}/${content}`
  }

  #open(path: string, flags: number): number {
    try {
      return this.#disk.open(path, flags, 0o600)
    } catch (error) {
      if (!hasCode(error, 'EMFILE') && !hasCode(error, 'ENFILE')) throw error
      this.closeIdle()
      return this.#disk.open(path, flags, 0o600)
    }
  }

  #add(inode: Inode, fd: number): ContentFile {
    const file: ContentFile = {
      inode,
      fd,
      appendFd: -1,
      opens: 0,
      writableOpens: 0,
      wasWritable: false,
      watching: false,
    }
    inode.file = file
    this.#rest(file)
    return file
  }

  /** Puts a file among those that nobody uses, and closes the one that was unused longest if they are too many. */
  #rest(file: ContentFile): void {
    this.#idle.set(file.inode.ino, file)
    if (this.#idle.size <= Math.max(1, this.#options.idleDescriptors)) return
    for (const oldest of this.#idle.values()) {
      this.#idle.delete(oldest.inode.ino)
      if (this.#stillWritten(oldest)) {
        this.#idle.set(oldest.inode.ino, oldest)
      } else {
        this.#options.beforeClose(oldest.inode)
        this.close(oldest.inode)
      }
      return
    }
  }

  /** Whether a mapping that outlived its close can still write the file. Leaves it watching then. */
  #stillWritten(file: ContentFile): boolean {
    if (!file.wasWritable) return false
    // Our own writable descriptor would be the writer that is found.
    let readable: number
    try {
      readable = this.#disk.open(this.#path(file.inode.content), constants.O_RDONLY)
    } catch {
      return true // Not known: it stays open, and is asked again when its turn comes.
    }
    this.#disk.close(file.fd)
    file.fd = readable
    if (file.appendFd >= 0) this.#disk.close(file.appendFd)
    file.appendFd = -1
    file.watching = this.#disk.hasWriters(readable)
    return file.watching
  }

  async #syncPath(path: string, dataOnly: boolean): Promise<void> {
    const fd = this.#disk.open(path, constants.O_RDONLY)
    try {
      await this.#disk.sync(fd, dataOnly)
    } finally {
      this.#disk.close(fd)
    }
  }
}

const hasCode = (error: unknown, code: string): boolean =>
  error instanceof Error && 'code' in error && error.code === code
