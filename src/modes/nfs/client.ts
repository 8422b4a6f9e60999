// NFS version 3 as a mount sees it.
//
// Permissions are checked by the kernel, from the server's attributes (`default_permissions`): paths are walked over names
// that the kernel has cached, so nobody else is there to check; and it asks nothing of the server where Linux' client
// would send an ACCESS. The server checks each call all the same. Where the two disagree (a squashed root), the
// program hears of it when it reads or closes, not when it opens.
import type { AttributeChanges, FileSystemStats } from '../../posix/attributes.ts'
import { FsError } from '../../posix/errors.ts'
import { NAME_MAX } from '../../posix/mode.ts'
import type {
  AbsentEntry,
  AttributesReply,
  Awaitable,
  CallContext,
  DirectorySink,
  Entry,
  FileSystem,
  Handle,
  KeepData,
  KernelCache,
  Locks,
  NewNode,
  NodeId,
  Opened,
  OpenedDirectory,
  ReadResult,
  Renaming,
} from '../../vfs/filesystem.ts'
import { DirectoryListing } from './client-directories.ts'
import * as files from './client-files.ts'
import * as names from './client-names.ts'
import type { ClientState } from './client-state.ts'
import { failureOf } from './connection.ts'
import { NFS3 } from './nfs3.ts'
import { NO_HANDLE } from './write-behind.ts'

const { READLINK, FSSTAT } = NFS3.procedures
/** What statfs(2) counts in. */
const BLOCK_BYTES = 4096
/** How long an unmount waits for a server to take what was written and not closed, in milliseconds. */
const PARTING_MS = 5000

/** Four READs of the largest size at once. */
const READ_AHEAD_BYTES = 4 * 1024 * 1024

export class NfsFileSystem implements FileSystem {
  readonly wants = { readAheadBytes: READ_AHEAD_BYTES }
  /** Absent with `nolock`: the kernel keeps locks to this mount. */
  readonly locks?: Locks
  readonly #state: ClientState
  #detached: Promise<void> | undefined
  readonly #directories = new Map<Handle, DirectoryListing>()

  readonly #farewell: () => Promise<void>

  /** `farewell`: the mount has ended; never rejects. */
  constructor(state: ClientState, farewell: () => Promise<void>) {
    this.#state = state
    this.#farewell = farewell
    if (state.locks !== undefined) this.locks = state.locks
  }

  attach(kernel: KernelCache): void {
    this.#state.caches.attach(kernel)
  }

  /**
   * What programs wrote and did not wait for is sent, and their locks are given back, before the connection ends, if the
   * server takes it. Only the first call does anything.
   */
  detach(): Promise<void> {
    this.#detached ??= this.#detach()
    return this.#detached
  }

  async #detach(): Promise<void> {
    const { files: open, room, connection, removing, locks } = this.#state
    for (const handle of [...open.keys()]) files.release(this.#state, handle)
    for (const handle of [...this.#directories.keys()]) this.releaseDirectory(handle)
    const flushes = [...room.files].map((file) => file.flush(undefined, NO_HANDLE, 'committed'))
    let cancel = (): void => {}
    const patience = new Promise<void>((resolve) => {
      cancel = connection.link.clock.after(PARTING_MS, resolve)
    })
    room.close()
    const written = Promise.allSettled([...flushes, ...removing])
    await Promise.race([written.then(() => locks?.releaseAll()), patience])
    cancel()
    const responds = connection.client.status().notRespondingSince === undefined
    locks?.close()
    connection.close()
    if (responds) await this.#farewell()
  }

  lookup(context: CallContext, parent: NodeId, name: string): Awaitable<Entry | AbsentEntry> {
    return names.lookup(this.#state, context, parent, name)
  }

  forget(node: NodeId, count: number): void {
    this.#state.nodes.forget(node, count)
  }

  getAttributes(context: CallContext, node: NodeId): Awaitable<AttributesReply> {
    return files.getAttributes(this.#state, context, node)
  }

  setAttributes(context: CallContext, node: NodeId, changes: AttributeChanges): Awaitable<AttributesReply> {
    const { clearSetId, ...rest } = changes
    if (clearSetId && Object.keys(rest).length === 0) return files.clearSetId(this.#state, node)
    return files.setAttributes(this.#state, context, node, rest)
  }

  async readlink(context: CallContext, id: NodeId): Promise<string> {
    const { caches, nodes } = this.#state
    const node = nodes.get(id)
    const request = caches.request()
    const result = await this.#state.call(node, READLINK, { symlink: node.handle }, context)
    caches.learn(node, result.attributes, request)
    if (result.status !== 'NFS3_OK') throw failureOf(result)
    return result.data
  }

  makeNode(context: CallContext, node: NewNode): Promise<Entry> {
    return names.makeNode(this.#state, context, node)
  }

  makeDirectory(context: CallContext, node: NewNode): Promise<Entry> {
    return names.makeDirectory(this.#state, context, node)
  }

  makeSymlink(context: CallContext, parent: NodeId, name: string, target: string): Promise<Entry> {
    return names.makeSymlink(this.#state, context, { parent, name, target })
  }

  link(context: CallContext, node: NodeId, newParent: NodeId, newName: string): Promise<Entry> {
    return names.link(this.#state, context, { node, newParent, newName })
  }

  unlink(context: CallContext, parent: NodeId, name: string): Promise<void> {
    return names.unlink(this.#state, context, parent, name)
  }

  removeDirectory(context: CallContext, parent: NodeId, name: string): Promise<void> {
    return names.removeDirectory(this.#state, context, parent, name)
  }

  rename(context: CallContext, renaming: Renaming): Promise<void> {
    return names.rename(this.#state, context, renaming)
  }

  open(context: CallContext, node: NodeId, flags: number): Awaitable<Opened> {
    return files.open(this.#state, context, node, flags)
  }

  create(context: CallContext, node: NewNode, flags: number): Promise<{ entry: Entry; opened: Opened }> {
    return files.create(this.#state, context, node, flags)
  }

  read(context: CallContext, handle: Handle, offset: number, length: number): Awaitable<ReadResult> {
    return files.read(this.#state, context, handle, { offset, length })
  }

  write(
    context: CallContext,
    handle: Handle,
    offset: number,
    data: Uint8Array,
    append: boolean,
    keep?: KeepData,
  ): Awaitable<number> {
    return files.write(this.#state, context, handle, { offset, data, append, keep })
  }

  flush(context: CallContext, handle: Handle, lockOwner: bigint): Awaitable<void> {
    return files.close(this.#state, context, handle, lockOwner)
  }

  release(handle: Handle): void {
    files.release(this.#state, handle)
  }

  fsync(context: CallContext, handle: Handle): Awaitable<void> {
    return files.flush(this.#state, context, handle, 'committed')
  }

  openDirectory(context: CallContext, id: NodeId): Awaitable<OpenedDirectory> {
    const state = this.#state
    const node = state.nodes.get(id)
    const opened = (): OpenedDirectory => {
      const handle = state.nextHandle()
      const cached = state.caches.openDirectory(node)
      this.#directories.set(handle, new DirectoryListing(state, node))
      return { handle, ...cached }
    }
    return state.caches.mustAskToList(node) ? state.revalidate(node, context).then(opened) : opened()
  }

  readDirectory(context: CallContext, handle: Handle, cookie: number, sink: DirectorySink): Promise<void> {
    const listing = this.#directories.get(handle)
    if (listing === undefined) throw new FsError('EBADF')
    return listing.read(context, cookie, sink)
  }

  releaseDirectory(handle: Handle): void {
    this.#directories.get(handle)?.close()
    this.#directories.delete(handle)
  }

  /** Changes of names are on the server when they are answered, and are its to keep. */
  fsyncDirectory(): void {}

  async statfs(context: CallContext, id: NodeId): Promise<FileSystemStats> {
    const node = this.#state.nodes.get(id)
    const result = await this.#state.call(node, FSSTAT, { root: node.handle }, context)
    if (result.status !== 'NFS3_OK') throw failureOf(result)
    const blocks = (bytes: number): number => Math.floor(bytes / BLOCK_BYTES)
    return {
      blockSize: BLOCK_BYTES,
      blocks: blocks(result.tbytes),
      freeBlocks: blocks(result.fbytes),
      availableBlocks: blocks(result.abytes),
      files: result.tfiles,
      freeFiles: result.ffiles,
      nameMax: NAME_MAX,
    }
  }

  /** syncfs(2): everything written on this mount is on the server for good. */
  async sync(context: CallContext): Promise<void> {
    await Promise.all([...this.#state.room.files].map((file) => file.flush(context, NO_HANDLE, 'committed')))
  }
}
