// AFS as a mount sees it.
//
// Permissions are checked by the kernel from the statuses (`default_permissions`): paths are walked over names that the
// kernel keeps for as long as they are promised. The server checks each call all the same.
import { hostDisk } from '../../../host/disk.ts'
import type { AttributeChanges, FileSystemStats } from '../../../posix/attributes.ts'
import { FsError } from '../../../posix/errors.ts'
import { NAME_MAX } from '../../../posix/mode.ts'
import type {
  AbsentEntry,
  Allocation,
  AttributesReply,
  Awaitable,
  CallContext,
  CopyRange,
  DirectorySink,
  Entry,
  FileSystem,
  Handle,
  KernelCache,
  Locks,
  NewNode,
  NodeId,
  Opened,
  OpenedDirectory,
  ReadResult,
  Renaming,
} from '../../../vfs/filesystem.ts'
import { AFS } from '../protocol.ts'
import { setAttributes } from './changes.ts'
import * as contents from './contents.ts'
import { afterClose } from './last-stores.ts'
import { Listing } from './listing.ts'
import type { ClientLocks } from './locks.ts'
import type { CacheManager } from './manager.ts'
import * as names from './names.ts'
import { keep, store } from './stores.ts'
import { attributesOfNode } from './views.ts'

const { GetVolumeStatus } = AFS.procedures

export class AfsFileSystem implements FileSystem {
  readonly locks: Locks
  readonly allocation: Allocation
  readonly copy: CopyRange
  readonly #cm: CacheManager
  readonly #locks: ClientLocks
  readonly #farewell: () => Promise<void>
  readonly #directories = new Map<Handle, Listing>()
  readonly #ending = new AbortController()
  /** Stores that nobody waits for. */
  readonly #parting = new Set<Promise<void>>()
  #detached: Promise<void> | undefined

  /** `farewell`: the mount has ended. */
  constructor(cm: CacheManager, locks: ClientLocks, farewell: () => Promise<void>) {
    this.#cm = cm
    this.#locks = this.locks = locks
    this.#farewell = farewell
    const fd = (handle: Handle): number => contents.fileOf(cm, handle).content.opened.fd
    this.allocation = {
      allocate: (_context, handle, mode, offset, length) =>
        hosted(() => hostDisk.allocate(fd(handle), mode, offset, length)),
      seek: (_context, handle, offset, whence) =>
        hosted(() => hostDisk.seek(fd(handle), offset, whence === 'data' ? 3 : 4)),
    }
    this.copy = {
      copyRange: (_context, from, to, length) =>
        hosted(() => hostDisk.copyRange(fd(from.handle), from.offset, fd(to.handle), to.offset, length)),
    }
  }

  attach(kernel: KernelCache): void {
    this.#cm.attach(kernel)
  }

  /** What programs left open is stored, if the server takes it. Only the first call does anything. */
  detach(): Promise<void> {
    this.#detached ??= this.#detach()
    return this.#detached
  }

  async #detach(): Promise<void> {
    this.#ending.abort()
    for (const handle of [...this.#cm.files.keys()]) this.release(handle)
    this.#directories.clear()
    await Promise.allSettled(this.#parting)
    await this.#locks.close()
    await this.#farewell()
  }

  lookup(context: CallContext, parent: NodeId, name: string): Awaitable<Entry | AbsentEntry> {
    return names.lookup(this.#cm, context, parent, name)
  }

  forget(node: NodeId, count: number): void {
    this.#cm.nodes.forget(node, count)
  }

  getAttributes(context: CallContext, node: NodeId): Awaitable<AttributesReply> {
    return attributesOfNode(this.#cm, this.#cm.node(node), context)
  }

  setAttributes(context: CallContext, node: NodeId, changes: AttributeChanges): Promise<AttributesReply> {
    return setAttributes(this.#cm, context, node, changes)
  }

  async readlink(context: CallContext, id: NodeId): Promise<string> {
    const cm = this.#cm
    const { vnode } = cm.node(id)
    if (!cm.isValid(vnode)) await cm.fetchStatus(vnode, context)
    const target = vnode.status?.target
    if (target === undefined || target === null) throw new FsError('EINVAL')
    return target
  }

  makeNode(context: CallContext, node: NewNode): Promise<Entry> {
    return names.makeNode(this.#cm, context, node)
  }

  makeDirectory(context: CallContext, node: NewNode): Promise<Entry> {
    return names.makeDirectory(this.#cm, context, node)
  }

  makeSymlink(context: CallContext, parent: NodeId, name: string, target: string): Promise<Entry> {
    return names.makeSymlink(this.#cm, context, { parent, name, target })
  }

  link(context: CallContext, node: NodeId, newParent: NodeId, newName: string): Promise<Entry> {
    return names.link(this.#cm, context, { node, newParent, newName })
  }

  unlink(context: CallContext, parent: NodeId, name: string): Promise<void> {
    return names.unlink(this.#cm, context, parent, name)
  }

  removeDirectory(context: CallContext, parent: NodeId, name: string): Promise<void> {
    return names.removeDirectory(this.#cm, context, parent, name)
  }

  rename(context: CallContext, renaming: Renaming): Promise<void> {
    return names.rename(this.#cm, context, renaming)
  }

  open(context: CallContext, node: NodeId, flags: number): Awaitable<Opened> {
    return contents.open(this.#cm, context, node, flags)
  }

  async create(context: CallContext, node: NewNode, flags: number): Promise<{ entry: Entry; opened: Opened }> {
    const { vnode, ...entry } = await names.makeFile(this.#cm, context, node, flags)
    return { entry, opened: contents.openNew(this.#cm, context, vnode, flags) }
  }

  read(context: CallContext, handle: Handle, offset: number, length: number): Awaitable<ReadResult> {
    const { content } = contents.fileOf(this.#cm, handle)
    const { fd } = content.opened
    const there = content.fetch?.readable(offset, length, context.signal)
    if (there === undefined) return { fd, offset, length }
    if (typeof there === 'number') return { fd, offset, length: there }
    return there.then((count) => ({ fd, offset, length: count }))
  }

  write(_context: CallContext, handle: Handle, offset: number, data: Uint8Array, append: boolean): number {
    const { content } = contents.fileOf(this.#cm, handle)
    const { fd } = content.opened
    let at = append ? contents.sizeOf(content) : offset
    for (let done = 0; done < data.length; ) {
      const count = hostDisk.write(fd, data.subarray(done), at)
      done += count
      at += count
    }
    return data.length
  }

  flush(context: CallContext, handle: Handle, lockOwner: bigint): Awaitable<void> {
    const { node, content, writes, who } = contents.fileOf(this.#cm, handle)
    this.#locks.closed(node, lockOwner)
    if (writes) return this.#storeAtClose(context, handle, { node, content, who })
  }

  async #storeAtClose(
    context: CallContext,
    handle: Handle,
    { node, content, who }: Pick<contents.OpenFile, 'node' | 'content' | 'who'>,
  ): Promise<void> {
    const { stores } = content
    await store(this.#cm, node, context, { who, durable: false })
    content.storedFor = content.stores > stores ? handle : undefined
  }

  release(handle: Handle): void {
    const cm = this.#cm
    const file = cm.files.get(handle)
    if (file === undefined) return
    cm.files.delete(handle)
    const { node, content, writes, served } = file
    this.#locks.released(node, handle)
    if (served) content.served--
    const storing = writes ? afterClose(cm, file, handle, this.#ending.signal) : undefined
    if (storing === undefined) {
      this.#closed(file)
      return
    }
    const closing = storing.catch(cm.onError).then(() => this.#closed(file))
    this.#parting.add(closing)
    void closing.finally(() => this.#parting.delete(closing))
  }

  #closed({ node, content, writes }: contents.OpenFile): void {
    content.opens--
    if (writes) {
      content.writers--
      if (content.writers === 0) keep(this.#cm, node, content)
    }
    contents.drop(this.#cm, node, content)
  }

  fsync(context: CallContext, handle: Handle): Awaitable<void> {
    const { node, writes, who } = contents.fileOf(this.#cm, handle)
    if (writes) return store(this.#cm, node, context, { who, durable: true })
  }

  openDirectory(_context: CallContext, id: NodeId): OpenedDirectory {
    const handle = this.#cm.nextHandle()
    this.#directories.set(handle, new Listing(this.#cm, this.#cm.node(id)))
    return { handle }
  }

  readDirectory(context: CallContext, handle: Handle, cookie: number, sink: DirectorySink): Awaitable<void> {
    const listing = this.#directories.get(handle)
    if (listing === undefined) throw new FsError('EBADF')
    return listing.read(context, cookie, sink)
  }

  releaseDirectory(handle: Handle): void {
    this.#directories.delete(handle)
  }

  /** Changes of names are on the server when they are answered, and are its to keep. */
  fsyncDirectory(): void {}

  async statfs(context: CallContext, id: NodeId): Promise<FileSystemStats> {
    const { vnode } = this.#cm.node(id)
    const { volume } = vnode
    const { dynamicRoot } = this.#cm
    if (vnode === dynamicRoot?.vnode) return dynamicRoot.stats()
    const status = await this.#cm.cells.call(volume, GetVolumeStatus, { volume: volume.id }, context)
    const { blockBytes: blockSize, blocks, freeBlocks, availableBlocks, files, freeFiles } = status
    return { blockSize, blocks, freeBlocks, availableBlocks, files, freeFiles, nameMax: NAME_MAX }
  }

  /** syncfs(2). */
  async sync(context: CallContext): Promise<void> {
    const writing = [...this.#cm.files.values()].filter(({ writes }) => writes)
    await Promise.all(writing.map(({ node, who }) => store(this.#cm, node, context, { who, durable: true })))
  }
}

/** What the host's file system says is an answer for programs. */
function hosted<T>(call: () => T): T {
  try {
    return call()
  } catch (error) {
    throw FsError.from(error)
  }
}
