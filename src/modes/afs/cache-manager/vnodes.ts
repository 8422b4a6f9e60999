// What a client keeps of files and directories, and how the kernel knows them.
//
// A vnode is an object of a server, whatever becomes of it. A node is how the kernel knows one: mostly there is one for a
// vnode. While programs have a version of a file open that is not the present one any more, that version keeps its node,
// and the vnode gets another for those who come by name: each node has one content at a time.
import type { Attributes } from '../../../posix/attributes.ts'
import { FsError } from '../../../posix/errors.ts'
import { type NodeId, ROOT_NODE } from '../../../vfs/filesystem.ts'
import type { Fid, FileType, Status } from '../records.ts'
import type { ClientVolume } from './cells.ts'
import type { Content } from './contents.ts'
import type { CallbackPromise, Promises } from './promises.ts'

export interface NameEntry {
  readonly vnode: number
  readonly unique: number
  readonly type: FileType
}

/** The names in a directory, all of them. */
export interface Names {
  /** The data version of the directory that these are. */
  version: number
  readonly entries: Map<string, NameEntry>
}

export interface Vnode {
  /** Cell, volume, vnode, unique: as the cache calls its files. */
  readonly key: string
  readonly volume: ClientVolume
  readonly fid: Fid
  readonly promise: CallbackPromise
  /** As last heard. Whether it is to be believed, `promise` tells. */
  status: Status | undefined
  /** The same, as the kernel has it. */
  attributes: Attributes | undefined
  names: Names | undefined
  /** The names are being fetched. */
  loading: Promise<unknown> | undefined
  /** The content is being got ready. */
  opening: Promise<unknown> | undefined
  /** Through which the kernel knows the present version. */
  node: Node | undefined
  readonly nodes: Set<Node>
  /** Nobody can come to it by name any more. */
  deleted: boolean
  /** This mount has removed its last name. */
  removedHere: boolean
  /** Statuses that were asked for one by one in this directory, lately. */
  misses: number
  /** When somebody last looked at it, in the order of `Promises`. */
  usedAt: number
  /** Nobody has since it was last passed over. */
  passed: boolean
}

export interface Node {
  readonly id: NodeId
  readonly vnode: Vnode
  /** How often the kernel has looked it up. */
  lookups: number
  /** What its opens share. */
  content: Content | undefined
  /** Of a version that is not the present one any more: what it was. */
  frozen: Attributes | undefined
}

export class Nodes {
  readonly #nodes = new Map<NodeId, Node>()
  readonly #onGone: (id: NodeId) => void
  #next = ROOT_NODE + 1

  /** `onGone`: neither the kernel nor an open has that node any more. */
  constructor(onGone: (id: NodeId) => void) {
    this.#onGone = onGone
  }

  get size(): number {
    return this.#nodes.size
  }

  [Symbol.iterator](): IterableIterator<Node> {
    return this.#nodes.values()
  }

  /** Throws ESTALE. */
  get(id: NodeId): Node {
    const node = this.#nodes.get(id)
    if (node === undefined) throw new FsError('ESTALE')
    return node
  }

  find(id: NodeId): Node | undefined {
    return this.#nodes.get(id)
  }

  root(vnode: Vnode): Node {
    return this.#add(ROOT_NODE, vnode)
  }

  /** The node for those who come by name: one without content, or with the present version's, else a new one. */
  present(vnode: Vnode): Node {
    if (vnode.node !== undefined) return vnode.node
    const version = vnode.status?.dataVersion
    for (const node of vnode.nodes) {
      if (node.content !== undefined && node.content.version !== version) continue
      node.frozen = undefined
      vnode.node = node
      return node
    }
    return this.#add(this.#next++, vnode)
  }

  /** Programs keep what they have open; who comes by name gets another node. */
  detach(node: Node): void {
    const { vnode } = node
    if (vnode.node !== node) return
    vnode.node = undefined
    node.frozen = vnode.attributes
  }

  /** The kernel gives back lookups. */
  forget(id: NodeId, count: number): void {
    const node = this.#nodes.get(id)
    if (node === undefined) return
    node.lookups -= count
    this.collect(node)
  }

  /** Drops a node that neither the kernel nor an open needs. */
  collect(node: Node): void {
    if (node.lookups > 0 || node.content !== undefined || node.id === ROOT_NODE) return
    const { vnode } = node
    vnode.nodes.delete(node)
    if (vnode.node === node) vnode.node = undefined
    this.#nodes.delete(node.id)
    this.#onGone(node.id)
  }

  #add(id: NodeId, vnode: Vnode): Node {
    const node: Node = { id, vnode, lookups: 0, content: undefined, frozen: undefined }
    this.#nodes.set(id, node)
    vnode.nodes.add(node)
    vnode.node = node
    return node
  }
}

/** How many are passed over at a time: the kernel may know most of them. */
const LOOKS = 2048

export interface VnodesOptions {
  readonly limit: number
  readonly promises: Pick<Promises, 'order' | 'oldestUnderWay'>
  onEvict(vnode: Vnode): void
}

/** Vnodes by key, about so many at most, but for those that the kernel knows and those that somebody works with. */
export class Vnodes {
  readonly #vnodes = new Map<string, Vnode>()
  readonly #options: VnodesOptions
  #evicting = false

  constructor(options: VnodesOptions) {
    this.#options = options
  }

  get size(): number {
    return this.#vnodes.size
  }

  [Symbol.iterator](): IterableIterator<Vnode> {
    return this.#vnodes.values()
  }

  find(key: string): Vnode | undefined {
    const vnode = this.#vnodes.get(key)
    if (vnode === undefined) return undefined
    vnode.passed = false
    vnode.usedAt = this.#options.promises.order
    return vnode
  }

  has(key: string): boolean {
    return this.#vnodes.has(key)
  }

  add(volume: ClientVolume, fid: Fid, promise: CallbackPromise): Vnode {
    const { limit, promises } = this.#options
    // Spelled out: spread together it takes several times as long.
    const vnode: Vnode = {
      key: keyOf(volume, fid),
      volume,
      fid,
      promise,
      status: undefined,
      attributes: undefined,
      names: undefined,
      loading: undefined,
      opening: undefined,
      node: undefined,
      nodes: new Set<Node>(),
      deleted: false,
      removedHere: false,
      misses: 0,
      usedAt: promises.order,
      passed: false,
    }
    this.#vnodes.set(vnode.key, vnode)
    if (this.#vnodes.size > limit && !this.#evicting) {
      this.#evicting = true
      // Not under the hands of whoever is adding some.
      setImmediate(() => this.evict())
    }
    return vnode
  }

  /** Drops those that nobody looked at for the longest time, roughly: a second chance for who was used since. */
  evict(): void {
    const { limit, promises, onEvict } = this.#options
    const oldest = promises.oldestUnderWay
    this.#evicting = false
    let looks = LOOKS
    for (const [key, vnode] of this.#vnodes) {
      if (this.#vnodes.size <= limit || looks-- === 0) return
      this.#vnodes.delete(key)
      const inUse = vnode.nodes.size > 0 || vnode.loading !== undefined || vnode.promise.changing > 0
      // Whoever made a call had just looked at what it is about.
      if (vnode.passed && !inUse && vnode.usedAt + 1 < oldest) onEvict(vnode)
      else {
        vnode.passed = true
        this.#vnodes.set(key, vnode)
      }
    }
  }
}

export const keyOf = ({ cell, id }: ClientVolume, { vnode, unique }: Pick<Fid, 'vnode' | 'unique'>): string =>
  `${cell.name}/${id}.${vnode}.${unique}`
