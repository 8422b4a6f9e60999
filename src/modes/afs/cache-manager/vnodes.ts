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
import type { CallbackPromise } from './promises.ts'

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
  /** Somebody looked at it since it was last passed over. */
  used: boolean
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
  #next = ROOT_NODE + 1

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

  /** The kernel gives back lookups. True: it does not know the node any more. */
  forget(id: NodeId, count: number): boolean {
    const node = this.#nodes.get(id)
    if (node === undefined) return false
    node.lookups -= count
    return this.collect(node)
  }

  /** Drops a node that neither the kernel nor an open needs. */
  collect(node: Node): boolean {
    if (node.lookups > 0 || node.content !== undefined || node.id === ROOT_NODE) return false
    const { vnode } = node
    vnode.nodes.delete(node)
    if (vnode.node === node) vnode.node = undefined
    return this.#nodes.delete(node.id)
  }

  #add(id: NodeId, vnode: Vnode): Node {
    const node: Node = { id, vnode, lookups: 0, content: undefined, frozen: undefined }
    this.#nodes.set(id, node)
    vnode.nodes.add(node)
    vnode.node = node
    return node
  }
}

/** Vnodes by key, at most so many but for those that the kernel knows. */
export class Vnodes {
  readonly #vnodes = new Map<string, Vnode>()
  readonly #limit: number
  readonly #onEvict: (vnode: Vnode) => void

  constructor(limit: number, onEvict: (vnode: Vnode) => void) {
    this.#limit = limit
    this.#onEvict = onEvict
  }

  get size(): number {
    return this.#vnodes.size
  }

  [Symbol.iterator](): IterableIterator<Vnode> {
    return this.#vnodes.values()
  }

  find(key: string): Vnode | undefined {
    const vnode = this.#vnodes.get(key)
    if (vnode !== undefined) vnode.used = true
    return vnode
  }

  add(volume: ClientVolume, fid: Fid, promise: CallbackPromise): Vnode {
    const vnode: Vnode = {
      ...{ key: keyOf(volume, fid), volume, fid, promise },
      ...{ status: undefined, attributes: undefined, names: undefined, loading: undefined, opening: undefined },
      ...{ node: undefined, nodes: new Set<Node>(), deleted: false, removedHere: false, misses: 0, used: true },
    }
    this.#vnodes.set(vnode.key, vnode)
    if (this.#vnodes.size > this.#limit) this.#evict()
    return vnode
  }

  /** Those that nobody looked at for the longest time, roughly: a second chance for who was used since. */
  #evict(): void {
    let looks = 64
    for (const [key, vnode] of this.#vnodes) {
      if (this.#vnodes.size <= this.#limit || looks-- === 0) return
      this.#vnodes.delete(key)
      const needed = vnode.nodes.size > 0 || vnode.loading !== undefined || vnode.promise.changing > 0
      if (!needed && !vnode.used) this.#onEvict(vnode)
      else {
        vnode.used = false
        this.#vnodes.set(key, vnode)
      }
    }
  }
}

export const keyOf = ({ cell, id }: ClientVolume, { vnode, unique }: Pick<Fid, 'vnode' | 'unique'>): string =>
  `${cell.name}/${id}.${vnode}.${unique}`
