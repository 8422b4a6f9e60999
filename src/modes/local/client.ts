// Mode `local` as a mount sees it: POSIX semantics, straight on the volume. Data goes through passthrough, so that all
// mounts share one page cache; what the kernel caches besides is taken back when another mount changes it.
import type { AttributeChanges, FileSystemStats } from '../../posix/attributes.ts'
import { type Credentials, ROOT_CREDENTIALS } from '../../posix/credentials.ts'
import { FsError } from '../../posix/errors.ts'
import { isRegular, O_EXCL, O_TRUNC, opensForWrite, S_IFDIR, S_IFLNK, S_ISGID, S_ISUID } from '../../posix/mode.ts'
import type { Content } from '../../store/contents.ts'
import type { Notice } from '../../store/notices.ts'
import type { Volume } from '../../store/volume.ts'
import type {
  AbsentEntry,
  Allocation,
  AttributesReply,
  CallContext,
  CopyRange,
  DirectorySink,
  Entry,
  ExtendedAttributes,
  FileSystem,
  Handle,
  KernelCache,
  Locks,
  NewNode,
  NodeId,
  Opened,
  ReadResult,
  Renaming,
} from '../../vfs/filesystem.ts'
import { KernelPromises } from '../../vfs/kernel-promises.ts'
import { NodeTable } from '../../vfs/node-table.ts'
import { Listing } from './listing.ts'
import type { LocalLocks } from './locks.ts'

interface OpenFile {
  readonly ino: number
  readonly content: Content
  /** The kernel asks for each read and write. */
  readonly served: boolean
}

const NO_GROUPS: readonly number[] = []

/** The kernel checks permissions (`default_permissions`): the volume only learns who owns what is new. */
const identity = ({ uid, gid }: CallContext): Credentials => ({ uid, gid, groups: NO_GROUPS, checked: true })

export class LocalFileSystem implements FileSystem {
  readonly locks: Locks
  readonly xattrs: ExtendedAttributes
  readonly allocation: Allocation
  readonly copy: CopyRange
  readonly #volume: Volume
  readonly #locks: LocalLocks
  readonly #siblings: Set<LocalFileSystem>
  readonly #unwatch: () => void
  #promises: KernelPromises | undefined
  /** Changes that this mount itself makes need not be told to its kernel. */
  #changing = false
  #nextHandle = 1
  readonly #files = new Map<Handle, OpenFile>()
  /** How many of those are served, by inode. */
  readonly #served = new Map<number, number>()
  readonly #directories = new Map<Handle, Listing>()
  /** What the kernel knows; the volume keeps each of these inodes. */
  readonly #nodes = new NodeTable()

  /** `siblings`: the attached mounts of the volume in this process; each enters and leaves it by itself. */
  constructor(volume: Volume, locks: LocalLocks, siblings: Set<LocalFileSystem>) {
    this.#volume = volume
    this.#locks = locks
    this.#siblings = siblings
    this.locks = locks
    this.#unwatch = volume.watch((change) => {
      if (!this.#changing) this.#changedElsewhere(change)
    })
    this.xattrs = {
      getXattr: (context, node, name) => volume.getXattr(node, name, identity(context)),
      listXattrs: (context, node) => volume.listXattrs(node, identity(context)),
      setXattr: (context, node, name, value, how) =>
        this.#change(() => volume.setXattr(node, name, value, how, identity(context))),
      removeXattr: (context, node, name) => this.#change(() => volume.removeXattr(node, name, identity(context))),
    }
    this.allocation = {
      allocate: (_context, handle, mode, offset, length) =>
        volume.allocate(this.#file(handle).content, mode, offset, length),
      seek: (_context, handle, offset, whence) => volume.seek(this.#file(handle).content, offset, whence),
    }
    this.copy = {
      copyRange: (_context, from, to, length) =>
        volume.copyRange(
          { content: this.#file(from.handle).content, offset: from.offset },
          { content: this.#file(to.handle).content, offset: to.offset },
          length,
        ),
    }
  }

  /** Another mount changed the volume: this kernel must not believe the old state any longer than that call takes. */
  #changedElsewhere(change: Notice): void {
    const promises = this.#promises
    if (promises === undefined) return
    if (change.kind === 'name') {
      promises.breakNames(change.parent)
      const { parent, name, node } = change
      const gone = this.#nodes.has(node) && this.#volume.lookup(parent, name, ROOT_CREDENTIALS) !== node
      if (gone) promises.dropName(parent, name)
      return
    }
    promises.breakAttributes(change.ino)
    // Who may change a node the kernel decides by the owner that it last heard of, without asking; a path walk asks.
    if (change.access && this.#nodes.has(change.ino)) promises.breakAllNames()
  }

  attach(kernel: KernelCache): void {
    this.#promises = new KernelPromises(kernel)
    this.#siblings.add(this)
  }

  async detach(): Promise<void> {
    this.#siblings.delete(this)
    this.#unwatch()
    this.#locks.releaseAll()
    for (const { content } of this.#files.values()) this.#volume.closeContent(content)
    this.#files.clear()
    this.#served.clear()
    for (const { node } of this.#directories.values()) this.#volume.drop(node, 1)
    this.#directories.clear()
    for (const node of this.#nodes.clear()) this.#volume.drop(node, 1)
  }

  lookup(context: CallContext, parent: NodeId, name: string): Entry | AbsentEntry {
    const ino = this.#volume.lookup(parent, name, identity(context))
    const nameTtlMs = this.#promises?.promiseName(parent) ?? 0
    return ino === undefined ? { node: 0, nameTtlMs } : this.#entry(ino, nameTtlMs)
  }

  forget(node: NodeId, count: number): void {
    if (!this.#nodes.forget(node, count)) return
    this.#promises?.forget(node)
    this.#volume.drop(node, 1)
  }

  getAttributes(_context: CallContext, node: NodeId): AttributesReply {
    return this.#attributes(node)
  }

  setAttributes(context: CallContext, node: NodeId, changes: AttributeChanges, handle?: Handle): AttributesReply {
    const handleIsOpenForWrite = handle !== undefined
    this.#change(() => this.#volume.setAttributes(node, changes, identity(context), { handleIsOpenForWrite }))
    return this.#attributes(node)
  }

  readlink(_context: CallContext, node: NodeId): string {
    return this.#volume.readlink(node)
  }

  makeNode(context: CallContext, node: NewNode): Entry {
    return this.#create(context, node, node.mode, { rdev: node.rdev ?? 0 })
  }

  makeDirectory(context: CallContext, node: NewNode): Entry {
    return this.#create(context, node, S_IFDIR | node.mode)
  }

  makeSymlink(context: CallContext, parent: NodeId, name: string, target: string): Entry {
    return this.#create(context, { parent, name, umask: 0 }, S_IFLNK | 0o777, { target })
  }

  #create(
    context: CallContext,
    { parent, name, umask }: Pick<NewNode, 'parent' | 'name' | 'umask'>,
    mode: number,
    special: { rdev?: number; target?: string } = {},
  ): Entry {
    const ino = this.#change(() =>
      this.#volume.create(parent, name, { mode: mode & ~umask, ...special }, identity(context)),
    )
    return this.#entry(ino, this.#promises?.promiseName(parent) ?? 0)
  }

  link(context: CallContext, node: NodeId, newParent: NodeId, newName: string): Entry {
    this.#change(() => this.#volume.link(node, newParent, newName, identity(context)))
    return this.#entry(node, this.#promises?.promiseName(newParent) ?? 0)
  }

  unlink(context: CallContext, parent: NodeId, name: string): void {
    this.#change(() => this.#volume.unlink(parent, name, identity(context)))
  }

  removeDirectory(context: CallContext, parent: NodeId, name: string): void {
    this.#change(() => this.#volume.removeDirectory(parent, name, identity(context)))
  }

  rename(context: CallContext, renaming: Renaming): void {
    this.#change(() => this.#volume.rename(renaming, identity(context)))
  }

  open(context: CallContext, node: NodeId, flags: number): Opened {
    const content = this.#change(() => this.#volume.openContent(node, flags, identity(context)))
    // From now on the content may be written without asking: every kernel must ask for its size and times.
    if (opensForWrite(flags)) for (const mount of this.#siblings) mount.#promises?.breakAttributes(node)
    return this.#opened(node, content, flags)
  }

  /** For `.proteus/status`. */
  status(): { openFiles: number; openDirectories: number; nodesKnownToKernel: number } {
    const { size: openFiles } = this.#files
    return { openFiles, openDirectories: this.#directories.size, nodesKnownToKernel: this.#nodes.size }
  }

  create(context: CallContext, node: NewNode, flags: number): { entry: Entry; opened: Opened } {
    const entry = this.#makeFile(context, node, flags)
    return { entry, opened: this.#openNew(context, entry, flags) }
  }

  /**
   * Another mount may have made the file since the kernel asked for the name. Without O_EXCL that is no error: ESTALE
   * makes the kernel walk the path once more, find the file, check permissions and open it.
   */
  #makeFile(context: CallContext, node: NewNode, flags: number): Entry {
    try {
      return this.makeNode(context, node)
    } catch (error) {
      const taken = error instanceof FsError && error.code === 'EEXIST'
      throw taken && (flags & O_EXCL) === 0 ? new FsError('ESTALE') : error
    }
  }

  createTemporary(context: CallContext, node: NewNode, flags: number): { entry: Entry; opened: Opened } {
    const ino = this.#volume.createTemporary(node.parent, node.mode & ~node.umask, identity(context))
    const entry = this.#entry(ino, 0)
    return { entry, opened: this.#openNew(context, entry, flags) }
  }

  /**
   * Opens a file that nobody else has open. The kernel may go on believing the attributes that it is told with the new
   * entry: what this mount writes its kernel sees, an open for writing by another mount takes the promise back, and a
   * mapping, which nobody sees, has no bytes to change before the size is changed.
   */
  #openNew(context: CallContext, { node }: Entry, flags: number): Opened {
    return this.#opened(node, this.#volume.openContent(node, flags & ~O_TRUNC, identity(context)), flags)
  }

  #opened(ino: number, content: Content, flags: number): Opened {
    const handle = this.#nextHandle++
    // A mapping of a file that is served is of the kernel's page cache: until it is gone, the kernel passes nothing through.
    const backing = this.#served.has(ino) ? undefined : this.#volume.passthrough(content)
    this.#files.set(handle, { ino, content, served: backing === undefined })
    if (backing === undefined) {
      this.#served.set(ino, (this.#served.get(ino) ?? 0) + 1)
      return { handle, directIo: true }
    }
    // So must writes that may not keep set-id bits.
    const mayLoseBits = opensForWrite(flags) && (this.#volume.modeOf(ino) & (S_ISUID | S_ISGID)) !== 0
    return mayLoseBits ? { handle, backing, directIo: true } : { handle, backing }
  }

  read(_context: CallContext, handle: Handle, offset: number, length: number): ReadResult {
    return { fd: this.#file(handle).content.fd, offset, length }
  }

  write(_context: CallContext, handle: Handle, offset: number, data: Uint8Array, append: boolean): number {
    return this.#volume.write(this.#file(handle).content, data, offset, append)
  }

  flush(_context: CallContext, handle: Handle, lockOwner: bigint): void {
    this.#locks.closed(this.#file(handle).ino, lockOwner)
  }

  release(handle: Handle): void {
    const file = this.#files.get(handle)
    if (file === undefined) return
    this.#files.delete(handle)
    if (file.served) this.#unserve(file.ino)
    this.#locks.released(file.ino, handle)
    this.#change(() => this.#volume.closeContent(file.content))
  }

  #unserve(ino: number): void {
    const left = (this.#served.get(ino) ?? 0) - 1
    if (left > 0) this.#served.set(ino, left)
    else this.#served.delete(ino)
  }

  fsync(_context: CallContext, handle: Handle, dataOnly: boolean): Promise<void> {
    return this.#volume.fsync(this.#file(handle).ino, dataOnly)
  }

  openDirectory(_context: CallContext, node: NodeId): { handle: Handle } {
    const handle = this.#nextHandle++
    this.#directories.set(handle, new Listing(this.#volume, node))
    this.#volume.hold(node, 1)
    return { handle }
  }

  readDirectory(_context: CallContext, handle: Handle, cookie: number, sink: DirectorySink): void {
    const listing = this.#directory(handle)
    const nameTtlMs = this.#promises?.promiseName(listing.node) ?? 0
    listing.seek(cookie)
    for (let found = listing.peek(); found !== undefined; found = listing.peek()) {
      const wanted = sink.wantsEntries && found.name !== '.' && found.name !== '..'
      const entry = wanted ? this.#entry(found.ino, nameTtlMs) : undefined
      if (!sink.add(found, entry)) {
        if (entry !== undefined) this.forget(found.ino, 1)
        return
      }
      listing.take()
    }
  }

  releaseDirectory(handle: Handle): void {
    const { node } = this.#directory(handle)
    this.#directories.delete(handle)
    this.#volume.drop(node, 1)
  }

  fsyncDirectory(_context: CallContext, handle: Handle, dataOnly: boolean): Promise<void> {
    return this.#volume.fsync(this.#directory(handle).node, dataOnly)
  }

  statfs(): FileSystemStats {
    return this.#volume.statfs()
  }

  sync(): Promise<void> {
    return this.#volume.sync()
  }

  /** Runs a change of the volume; the other mounts are told while it runs, this one is not. */
  #change<T>(change: () => T): T {
    this.#changing = true
    try {
      return change()
    } finally {
      this.#changing = false
    }
  }

  #entry(ino: number, nameTtlMs: number): Entry {
    const { attributes, attributesTtlMs } = this.#attributes(ino)
    const generation = this.#volume.generation(ino)
    if (this.#nodes.lookedUp(ino, generation)) this.#volume.hold(ino, 1)
    return { node: ino, generation, attributes, nameTtlMs, attributesTtlMs }
  }

  #attributes(ino: number): AttributesReply {
    const attributes = this.#volume.attributes(ino)
    const seen = !isRegular(attributes.mode) || !this.#volume.mayChangeUnseen(ino)
    return { attributes, attributesTtlMs: seen ? (this.#promises?.promiseAttributes(ino) ?? 0) : 0 }
  }

  #file(handle: Handle): OpenFile {
    const file = this.#files.get(handle)
    if (file === undefined) throw new FsError('EBADF')
    return file
  }

  #directory(handle: Handle): Listing {
    const listing = this.#directories.get(handle)
    if (listing === undefined) throw new FsError('EBADF')
    return listing
  }
}
