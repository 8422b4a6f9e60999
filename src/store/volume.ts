// A volume: the server's side of a file system. Inodes, names and extended attributes are in SQLite, the content of
// each regular file is a plain file beside it.
//
// Promise: what an operation has returned survives the death of the process at any moment (metadata.ts says how); what
// `fsync` or `sync` has resolved for survives loss of power.
import { randomBytes } from 'node:crypto'
import fs from 'node:fs'
import { type Clock, hostClock } from '../host/clock.ts'
import { type Disk, hostDisk } from '../host/disk.ts'
import { forgetOwner } from '../host/exclusive-database.ts'
import type { AttributeChanges, Attributes, FileSystemStats } from '../posix/attributes.ts'
import { type Credentials, MAY_EXEC, ROOT_CREDENTIALS } from '../posix/credentials.ts'
import { FsError, withFsErrors } from '../posix/errors.ts'
import { isRegular, NAME_MAX } from '../posix/mode.ts'
import { type CloneOptions, type CloneReport, clone, isPartial } from './clone.ts'
import { contentPath } from './content-files.ts'
import type { ContentRemoval } from './content-removal.ts'
import * as contents from './contents.ts'
import { create, createTemporary, link, type NewNodeOptions } from './create.ts'
import { type Dumped, dump } from './dump.ts'
import type { ListedEntry } from './entries.ts'
import { GrantCoordinator } from './grant-coordinator.ts'
import { GrantRecalls } from './grant-recalls.ts'
import { BLOCK_SIZE } from './inode.ts'
import { CLEAN, CONTENT, ID, ORIGIN, RESTORED, ROOT_INODE } from './layout.ts'
import { LockService } from './lock-service.ts'
import { checkName, type NameHash } from './names.ts'
import type { NoticeListener } from './notices.ts'
import { openClone } from './open-clone.ts'
import { openParts, VOLUME_LIMITS, type VolumeLimits } from './open-volume.ts'
import type { Parts } from './parts.ts'
import { requireAccess } from './permissions.ts'
import { removeDirectory, unlink } from './remove.ts'
import { type Renaming, rename } from './rename.ts'
import * as replacing from './replace.ts'
import { type RestoreOptions, type RestoreReport, restore } from './restore.ts'
import { SET_META } from './schema.ts'
import { killPrivileges, type SetAttributesOptions, setAttributes } from './set-attributes.ts'
import { type Quota, setQuota } from './usage.ts'
import { getXattr, listXattrs, removeXattr, setXattr, type XattrMode } from './xattrs.ts'

type Content = contents.Content

export interface VolumeOptions {
  readonly disk?: Disk
  readonly clock?: Clock
  /** Told of failures that no caller waits for, in one line each. Default: they are dropped. */
  readonly onBackgroundError?: (error: Error) => void
  readonly limits?: Partial<VolumeLimits>
  readonly nameHash?: NameHash
  /** Opens a clone, or a volume that was restored and is still as it came. Changes fail with EROFS. */
  readonly readOnly?: boolean
}

export { ROOT_INODE } from './layout.ts'

export class Volume {
  /** Random, made with the volume. */
  readonly id: string
  readonly root = ROOT_INODE
  /** Of all protocols that serve this volume: what one locks, the others see. In memory only. */
  readonly locks = new LockService()
  /** What clients of all protocols were promised that they may cache. In memory only. */
  readonly grants: GrantCoordinator
  /** How those clients are told that a promise ends: each protocol's server serves its own. */
  readonly recalls = new GrantRecalls()
  readonly #directory: string
  readonly #parts: Parts
  /** Undefined: the volume is a clone, and nothing changes. */
  readonly #removal: ContentRemoval | undefined
  readonly #staged = new Set<replacing.StagedContent>()
  /** What is being read, and who waits until nothing is. */
  readonly #snapshots = new Set<replacing.Snapshot>()
  #unread = () => {}
  /** What waits for the device. */
  readonly #syncs = new Set<Promise<void>>()
  #cloning: Promise<unknown> = Promise.resolve()
  #closing: Promise<void> | undefined

  private constructor(directory: string, parts: Parts, removal: ContentRemoval | undefined, grantLimit: number) {
    this.#directory = directory
    this.#parts = parts
    this.#removal = removal
    this.id = String(parts.metadata.meta(ID))
    this.grants = new GrantCoordinator({ clock: parts.clock, send: this.recalls.send, limit: grantLimit })
  }

  /**
   * Opens the volume in `directory`, making it if there is none, and finishes what a crash interrupted. The root of a
   * new volume belongs to the user of this process. Throws an Error of one line if another process has it open, if its
   * format is unknown, if it is damaged, or if it is a clone and not opened as one.
   */
  static async open(directory: string, options: VolumeOptions = {}): Promise<Volume> {
    const disk = withFsErrors(options.disk ?? hostDisk)
    const clock = options.clock ?? hostClock()
    const limits = { ...VOLUME_LIMITS, ...options.limits }
    const onBackgroundError = options.onBackgroundError ?? (() => {})
    if (isPartial(directory)) throw new Error(`${directory} was not made to its end`)
    if (options.readOnly) {
      const opened = openClone(directory, { ...options, disk, clock, limits, onBackgroundError })
      return new Volume(opened.directory, opened.parts, undefined, limits.grants)
    }
    const { parts, removal } = await openParts(directory, { ...options, disk, clock, limits, onBackgroundError })
    return new Volume(directory, parts, removal, limits.grants)
  }

  /** Ends in good order, after the syncs that are under way. Open contents become invalid. Calls after it fail. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    this.#unread()
    const { metadata, inodes, files } = this.#parts
    // A descriptor that is closed under a sync may be another file's when the sync comes to it.
    while (this.#syncs.size > 0) await Promise.allSettled(this.#syncs)
    this.grants.close()
    for (const staged of this.#staged) this.discardStaged(staged)
    const removal = this.#removal
    const settled = await files.settleCopies().then(
      () => true,
      () => false,
    )
    files.closeAll()
    inodes.close()
    if (removal === undefined) return metadata.close()
    await removal.close()
    try {
      files.spare.remove()
      metadata.run(SET_META, [CLEAN, removal.failed || !settled ? 0 : 1])
      metadata.commit()
    } finally {
      forgetOwner(this.#directory)
      await metadata.close()
    }
  }

  /** The inode that a name leads to; undefined if there is none. Knows `.` and `..`. */
  lookup(parent: number, name: string, who: Credentials): number | undefined {
    const { inodes, entries } = this.#parts
    checkName(name)
    const directory = inodes.directory(parent)
    requireAccess(directory, who, MAY_EXEC)
    if (name === '.') return parent
    if (name === '..') return directory.parent
    return entries.find(parent, name)?.ino
  }

  /**
   * The directory that a path leads to from another one, by names alone (no `..`, no symbolic links), whoever asks. For
   * what an administrator names: exports, roots of volumes.
   */
  resolve(from: number, path: string): number {
    let ino = from
    for (const name of path.split('/')) {
      if (name === '' || name === '.') continue
      const next = name === '..' ? undefined : this.lookup(ino, name, ROOT_CREDENTIALS)
      if (next === undefined) throw new FsError('ENOENT')
      ino = next
    }
    this.#parts.inodes.directory(ino)
    return ino
  }

  /** The attributes as they are now; the object never changes. Throws ESTALE if the inode is gone. */
  attributes(ino: number): Attributes {
    return this.#parts.inodes.attributes(ino)
  }

  /** The directory above a directory. */
  parentOf(directory: number): number {
    return this.#parts.inodes.parentOf(directory)
  }

  /** Type and permission bits alone: of a regular file, too, they are known without asking its content. */
  modeOf(ino: number): number {
    return this.#parts.inodes.get(ino).attributes.mode
  }

  /** Together with its number this names an inode for ever: no other ever has both. */
  generation(ino: number): number {
    return this.#parts.inodes.get(ino).generation
  }

  /** Counters that grow with every change of the inode, and of its content. */
  changeOf(ino: number): { readonly change: number; readonly dataVersion: number } {
    const inode = this.#parts.inodes.get(ino)
    this.#parts.inodes.refresh(inode)
    return { change: inode.change, dataVersion: inode.dataVersion }
  }

  /** Where the content of a regular file lies, below the volume's directory; undefined for other inodes. */
  contentPath(ino: number): string | undefined {
    const { attributes, content } = this.#parts.inodes.get(ino)
    return isRegular(attributes.mode) ? `${CONTENT}/${contentPath(content)}` : undefined
  }

  setAttributes(ino: number, changes: AttributeChanges, who: Credentials, options?: SetAttributesOptions): Attributes {
    return setAttributes(this.#parts, ino, changes, who, options)
  }

  /** Clears the set-id bits, as a write by somebody else than the owner must (POSIX.1-2017 write). */
  killPrivileges(ino: number): void {
    killPrivileges(this.#parts, ino)
  }

  /** Throws EACCES unless `who` has all rights in `mask` (MAY_READ, MAY_WRITE, MAY_EXEC). */
  access(ino: number, mask: number, who: Credentials): void {
    requireAccess(this.#parts.inodes.get(ino), who, mask)
  }

  /** Makes a node of any type; returns its inode number. */
  create(parent: number, name: string, node: NewNodeOptions, who: Credentials): number {
    return create(this.#parts, parent, name, node, who)
  }

  /** A regular file without a name (O_TMPFILE): hold it, or open it, before anything else. */
  createTemporary(directory: number, mode: number, who: Credentials): number {
    return createTemporary(this.#parts, directory, mode, who)
  }

  link(ino: number, newParent: number, newName: string, who: Credentials): void {
    link(this.#parts, ino, newParent, newName, who)
  }

  unlink(parent: number, name: string, who: Credentials): void {
    unlink(this.#parts, parent, name, who)
  }

  removeDirectory(parent: number, name: string, who: Credentials): void {
    removeDirectory(this.#parts, parent, name, who)
  }

  rename(renaming: Renaming, who: Credentials): void {
    rename(this.#parts, renaming, who)
  }

  /** Throws EINVAL if it is not a symbolic link. */
  readlink(ino: number): string {
    const { target } = this.#parts.inodes.get(ino)
    if (target === null) throw new FsError('EINVAL')
    return target
  }

  /**
   * The entries after a cookie (0: all), `.` and `..` first. An entry that is neither added nor removed meanwhile
   * comes exactly once, however often the listing is interrupted.
   */
  list(directory: number, afterCookie: number): Iterable<ListedEntry> {
    return this.#parts.entries.list(this.#parts.inodes.directory(directory), afterCookie)
  }

  /** Opens a regular file with the access mode of `flags`; O_TRUNC empties it. */
  openContent(ino: number, flags: number, who: Credentials): Content {
    return contents.openContent(this.#parts, ino, flags, who)
  }

  closeContent(content: Content): void {
    contents.closeContent(this.#parts, content)
  }

  /** Fills `into` from `offset`; returns the number of bytes, fewer only at the end of the file. */
  read(content: Content, into: Uint8Array, offset: number): number {
    return contents.read(this.#parts, content, into, offset)
  }

  /** The same, of what is in memory only: never waits for the disk, and says nothing about the end of the file. */
  readCached(content: Content, into: Uint8Array, offset: number): number {
    return contents.readCached(this.#parts, content, into, offset)
  }

  /** Returns the number of bytes written, fewer only when there is no room. With `append`, at the end of the file. */
  write(content: Content, data: Uint8Array, offset: number, append = false): number {
    return contents.write(this.#parts, content, data, offset, append)
  }

  /** The same for a file that the caller has not opened. Whether it may be read is the caller's to judge. */
  readUnopened(ino: number, into: Uint8Array, offset: number): number {
    return contents.readUnopened(this.#parts, ino, into, offset)
  }

  /** Writes a file that the caller has not opened. Whether `who` may write it is the caller's to judge. */
  writeUnopened(ino: number, data: Uint8Array, offset: number, who: Credentials): number {
    return contents.writeUnopened(this.#parts, ino, data, offset, who)
  }

  /** Begins the whole new content of a regular file, of so many bytes. Throws EDQUOT, EFBIG, EISDIR, EINVAL, ENOSPC. */
  stage(ino: number, bytes: number): replacing.StagedContent {
    const staged = replacing.stage(this.#parts, ino, bytes)
    this.#staged.add(staged)
    return staged
  }

  appendStaged(staged: replacing.StagedContent, data: Uint8Array): void {
    replacing.appendStaged(this.#parts, staged, data)
  }

  /** Resolves when the staged content survives loss of power. */
  syncStaged(staged: replacing.StagedContent): Promise<void> {
    return this.#whileSyncing(this.#parts.files.syncStaged(staged.file))
  }

  /** It is not wanted after all. Does nothing once it is the content of its file. */
  discardStaged(staged: replacing.StagedContent): void {
    this.#staged.delete(staged)
    replacing.discardStaged(this.#parts, staged)
  }

  /** See `replaceContent` in replace.ts. */
  replaceContent(staged: replacing.StagedContent, changes: Omit<AttributeChanges, 'size'>, who: Credentials): void {
    replacing.replaceContent(this.#parts, staged, changes, who)
    this.#staged.delete(staged)
  }

  /** The content of a regular file as it is now: `replaceContent` does not change it. */
  openSnapshot(ino: number): replacing.Snapshot {
    const snapshot = replacing.openSnapshot(this.#parts, ino)
    this.#snapshots.add(snapshot)
    return snapshot
  }

  closeSnapshot(snapshot: replacing.Snapshot): void {
    this.#snapshots.delete(snapshot)
    replacing.closeSnapshot(this.#parts, snapshot)
    if (this.#snapshots.size === 0) this.#unread()
  }

  /** Closes the volume when no snapshot is open any more. To be called once; `close` does not wait. */
  async closeWhenUnread(): Promise<void> {
    if (this.#snapshots.size > 0 && this.#closing === undefined) {
      await new Promise<void>((resolve) => {
        this.#unread = resolve
      })
    }
    await this.close()
  }

  /** Reads what is in memory: see `readCached`. */
  readSnapshotCached(snapshot: replacing.Snapshot, into: Uint8Array, offset: number): number {
    return this.#parts.disk.readCached(snapshot.fd, into, offset)
  }

  /** fallocate(2). */
  allocate(content: Content, mode: number, offset: number, length: number): void {
    contents.allocate(this.#parts, content, mode, offset, length)
  }

  /** lseek(2) with SEEK_DATA or SEEK_HOLE. */
  seek(content: Content, offset: number, whence: 'data' | 'hole'): number {
    return contents.seek(this.#parts, content, offset, whence)
  }

  /** copy_file_range(2). */
  copyRange(from: contents.ContentPosition, to: contents.ContentPosition, length: number): number {
    return contents.copyRange(this.#parts, from, to, length)
  }

  /**
   * Whether content may be written without this process noticing: through the kernel, while it is open for writing or
   * mapped. Until then size and times are what they are.
   */
  mayChangeUnseen(ino: number): boolean {
    return this.#parts.files.mayBeWritten(this.#parts.inodes.get(ino))
  }

  /**
   * What of open content the kernel may read and write by itself. Undefined: it must ask for each read and write, because
   * writes count against a quota in bytes, or because a clone shares the file, whose next change is made in a copy.
   */
  passthrough(content: Content): contents.Passthrough | undefined {
    return contents.passthrough(this.#parts, content)
  }

  /** Counts users of an inode who know it by number. While there are any it lives, even without a name. */
  hold(ino: number, count: number): void {
    this.#parts.inodes.hold(ino, count)
  }

  drop(ino: number, count: number): void {
    this.#parts.inodes.drop(ino, count)
  }

  getXattr(ino: number, name: string, who: Credentials): Uint8Array | undefined {
    return getXattr(this.#parts, ino, name, who)
  }

  listXattrs(ino: number, who: Credentials): string[] {
    return listXattrs(this.#parts, ino, who)
  }

  setXattr(ino: number, name: string, value: Uint8Array, mode: XattrMode, who: Credentials): void {
    setXattr(this.#parts, ino, { name, value, mode }, who)
  }

  removeXattr(ino: number, name: string, who: Credentials): void {
    removeXattr(this.#parts, ino, name, who)
  }

  /** Resolves when the inode and all that was done to it, its names included, survives loss of power. */
  fsync(ino: number, dataOnly: boolean): Promise<void> {
    return this.#whileSyncing(this.#fsync(ino, dataOnly))
  }

  async #fsync(ino: number, dataOnly: boolean): Promise<void> {
    const { inodes, files, metadata } = this.#parts
    const inode = inodes.get(ino)
    if (!isRegular(inode.attributes.mode) || this.readOnly) return metadata.sync()
    try {
      await Promise.all([files.sync(inode, dataOnly), metadata.sync()])
    } finally {
      inodes.collect(inode)
    }
  }

  /** Resolves when everything that was done so far survives loss of power, and deleted content is gone. */
  sync(): Promise<void> {
    return this.#whileSyncing(this.#sync())
  }

  async #sync(): Promise<void> {
    if (this.#removal === undefined) return
    await Promise.all([this.#parts.files.syncAll(), this.#parts.metadata.sync()])
    await this.#removal.drain()
    await this.#parts.files.spare.makeDurable()
  }

  #whileSyncing(sync: Promise<void>): Promise<void> {
    const ended = sync.finally(() => this.#syncs.delete(ended))
    this.#syncs.add(ended)
    return ended
  }

  get quota(): Quota {
    return this.#parts.usage.quota
  }

  /** Inodes, and the sum of the sizes of all regular files. */
  get used(): { readonly inodes: number; readonly bytes: number } {
    const { inodes, bytes } = this.#parts.usage
    return { inodes, bytes }
  }

  /**
   * Limits the volume from now on. What it holds already stays, however much it is. What the kernel has been given to write
   * by itself it may go on writing, until it is closed. Throws EINVAL for a limit that is no number of bytes or inodes.
   */
  setQuota(quota: Quota): void {
    const { metadata, usage, files, inodes } = this.#parts
    if (quota.bytes !== undefined) files.forEachOpen((inode) => inodes.refresh(inode))
    setQuota(metadata, usage, quota)
  }

  get readOnly(): boolean {
    return this.#removal === undefined
  }

  /** Of a clone: the id of the volume that it is of. */
  get origin(): string | undefined {
    const origin = this.#parts.metadata.meta(ORIGIN)
    return origin === undefined ? undefined : String(origin)
  }

  /** Of a clone its id, of a volume that was restored and is as it came that of the clone that was dumped. */
  get snapshot(): string | undefined {
    if (this.origin !== undefined) return this.id
    const restored = this.#parts.metadata.meta(RESTORED)
    return typeof restored === 'string' ? restored : undefined
  }

  /**
   * Makes a read-only snapshot in `directory`, on the same host file system, which `open` with `readOnly` opens: the volume
   * as it is at one moment between this call and its end. Content is shared until the volume changes it. When this
   * resolves, the clone survives loss of power; before, there is none. Throws EEXIST if there is something.
   */
  clone(directory: string, options: CloneOptions = {}): Promise<CloneReport> {
    const cloning = this.#cloning.then(() => clone(this.#parts, this.#directory, directory, options))
    this.#cloning = cloning.catch(() => {})
    this.#whileSyncing(cloning.then(() => {})).catch(() => {})
    return cloning
  }

  /**
   * All that the volume holds as a stream of bytes (dump-records.ts), for `restore`; with `since`, an earlier clone of it,
   * only what has changed. It is read as fast as it is taken. A volume that is not a clone is cloned for it.
   */
  async *dump(options: { readonly since?: Volume } = {}): AsyncGenerator<Buffer> {
    const { since } = options
    if (since && !since.readOnly) throw new FsError('EINVAL', 'changes are counted from a clone')
    const base = since ? since.#dumped() : undefined
    if (this.readOnly) {
      yield* dump(this.#dumped(), base)
      return
    }
    const path = `${this.#directory}.dump-${randomBytes(6).toString('hex')}`
    await this.clone(path)
    try {
      const { disk, clock } = this.#parts
      const clone = await Volume.open(path, { disk, clock, readOnly: true })
      try {
        yield* dump(clone.#dumped(), base)
      } finally {
        await clone.close()
      }
    } finally {
      await fs.promises.rm(path, { recursive: true, force: true })
    }
  }

  #dumped(): Dumped {
    return { parts: this.#parts, directory: this.#directory }
  }

  /**
   * Makes a volume in `directory` from a dump: inode numbers, generations, cookies, versions and ids are those of the
   * volume that was dumped. Resolves when it survives loss of power; if anything goes wrong there is nothing. `base`: for a
   * dump of changes, a volume restored from the dump before and not opened since, which may be removed afterwards.
   * Throws DumpError for a dump that is not whole or not sound.
   */
  static restore(
    directory: string,
    source: AsyncIterable<Uint8Array>,
    options: RestoreOptions = {},
  ): Promise<RestoreReport> {
    return restore(directory, source, options)
  }

  /** Totals: the host's, or the quota's where it leaves less. */
  statfs(): FileSystemStats {
    const { disk, usage } = this.#parts
    const { quota } = usage
    const host = disk.space(`${this.#directory}/${CONTENT}`)
    const total = Math.min(host.bytes, quota.bytes ?? Number.POSITIVE_INFINITY)
    const freeInodes = quota.inodes === undefined ? host.freeFiles : Math.max(0, quota.inodes - usage.inodes)
    const blocksOf = (bytes: number) => Math.floor(bytes / BLOCK_SIZE)
    return {
      blockSize: BLOCK_SIZE,
      blocks: blocksOf(total),
      freeBlocks: blocksOf(Math.min(host.freeBytes, usage.freeBytes)),
      availableBlocks: blocksOf(Math.min(host.availableBytes, usage.freeBytes)),
      files: usage.inodes + freeInodes,
      freeFiles: freeInodes,
      nameMax: NAME_MAX,
    }
  }

  /** Calls `listener` for each change, within the call that made it. Returns how to stop. */
  watch(listener: NoticeListener): () => void {
    return this.#parts.notices.watch(listener)
  }
}
