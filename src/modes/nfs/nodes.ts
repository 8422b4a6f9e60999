// What the kernel of one mount knows, by node id, and what the server calls it: its file handle. A node lives while the
// kernel knows it, bytes of it are still on their way, or locks of it are held; its id never comes again.
import { FsError } from '../../posix/errors.ts'
import { type NodeId, ROOT_NODE } from '../../vfs/filesystem.ts'
import type { FileWrites } from './file-writes.ts'

export class NfsNode {
  readonly id: NodeId
  /** nfs_fh3. */
  readonly handle: Buffer
  readonly key: string
  /** Lookups that the kernel has not given back. */
  lookups = 0
  /** The server does not know the handle any more (ESTALE): names that led here are to be looked up again. */
  stale = false
  /** Until when the kernel believes the attributes that it was told, in milliseconds since the epoch. */
  toldUntilMs = 0
  /** Bytes of it were read or written since the kernel was last told to drop its pages: it may have some. */
  cached = false
  /** The directory of the name that the kernel was told last. */
  parent: NodeId | undefined
  /** Of a file that is open for writing, or of which something is still to be sent or told. */
  writes: FileWrites | undefined
  /** WRITEs that the server called stable were not followed by a COMMIT of the whole file. */
  unconfirmed = false
  /** Somebody holds a lock of it at the server, or is about to. */
  locked = false

  constructor(id: NodeId, handle: Buffer, key: string) {
    this.id = id
    this.handle = handle
    this.key = key
  }
}

export class NfsNodes {
  readonly root: NfsNode
  readonly #byId = new Map<NodeId, NfsNode>()
  readonly #byKey = new Map<string, NfsNode>()
  #lastId = ROOT_NODE
  readonly #onGone: (node: NfsNode) => void

  constructor(rootHandle: Uint8Array, onGone: (node: NfsNode) => void) {
    this.#onGone = onGone
    this.root = this.#insert(ROOT_NODE, Buffer.from(rootHandle), keyOf(rootHandle))
    // The kernel knows it as long as the mount lives, and never gives it back.
    this.root.lookups = 1
  }

  get size(): number {
    return this.#byId.size
  }

  all(): IterableIterator<NfsNode> {
    return this.#byId.values()
  }

  get(id: NodeId): NfsNode {
    const node = this.#byId.get(id)
    if (node === undefined) throw new FsError('ESTALE')
    return node
  }

  find(id: NodeId): NfsNode | undefined {
    return this.#byId.get(id)
  }

  /** The node of a handle, if the kernel knows it. */
  known(handle: Uint8Array): NfsNode | undefined {
    return this.#byKey.get(keyOf(handle))
  }

  /** The node of a handle that came with an answer, to be told to the kernel at once: this counts as one lookup. */
  lookedUp(handle: Uint8Array): NfsNode {
    const key = keyOf(handle)
    // The answer's bytes are a view on a message: they are copied once, for a new node.
    const node = this.#byKey.get(key) ?? this.#insert(++this.#lastId, Buffer.from(handle), key)
    node.lookups++
    node.stale = false
    return node
  }

  forget(id: NodeId, count: number): void {
    const node = this.#byId.get(id)
    if (node === undefined) return
    node.lookups -= count
    this.collect(node)
  }

  /** Drops the node if nobody needs it any more. */
  collect(node: NfsNode): void {
    if (node.lookups > 0 || node.locked || (node.writes !== undefined && !node.writes.idle)) return
    if (!this.#byId.delete(node.id)) return
    this.#byKey.delete(node.key)
    this.#onGone(node)
  }

  #insert(id: NodeId, handle: Buffer, key: string): NfsNode {
    const node = new NfsNode(id, handle, key)
    this.#byId.set(id, node)
    this.#byKey.set(key, node)
    return node
  }
}

const keyOf = (handle: Uint8Array): string =>
  Buffer.from(handle.buffer, handle.byteOffset, handle.length).toString('latin1')
