// The cache manager: what all operations of one mount share. What an answer tells goes through `learn`, once: it feeds the
// promises and the statuses; what servers tell (breaks) goes on to the kernel, before it is answered.
import { FsError } from '../../../posix/errors.ts'
import { isDirectory } from '../../../posix/mode.ts'
import type { Handle, KernelCache, NodeId } from '../../../vfs/filesystem.ts'
import { KernelPromises } from '../../../vfs/kernel-promises.ts'
import type { WholeFileCache } from '../../../vfs/whole-files/whole-file-cache.ts'
import { AFS } from '../protocol.ts'
import type { Fid, Known, Who } from '../records.ts'
import { attributesOf } from './attributes.ts'
import type { Cells, ClientVolume } from './cells.ts'
import type { OpenFile } from './contents.ts'
import type { DynamicRoot } from './dynamic-root.ts'
import type { Caller, FileServer, FileServers } from './file-server.ts'
import { type Asked, Promises } from './promises.ts'
import { Transfers } from './transfers.ts'
import { Unstored } from './unstored.ts'
import { keyOf, type Node, Nodes, type Vnode, Vnodes } from './vnodes.ts'

const { FetchStatus, GiveUpCallBacks } = AFS.procedures
/** Promises that are given up together. */
const GIVE_UP = 64

export interface CacheManagerOptions {
  readonly servers: FileServers
  readonly cells: Cells
  readonly cache: WholeFileCache
  /** In milliseconds, of a clock that only goes on. */
  readonly now: () => number
  readonly statuses: number
  /** This client itself: for what nobody waits for. */
  readonly self: Who
  whoIs(caller: Caller): Who
  onError(error: Error): void
}

export class CacheManager {
  readonly servers: FileServers
  readonly cells: Cells
  readonly cache: WholeFileCache
  readonly promises: Promises
  readonly nodes = new Nodes((id) => this.kernel?.forget(id))
  readonly vnodes: Vnodes
  readonly transfers: Transfers
  readonly unstored: Unstored
  readonly files = new Map<Handle, OpenFile>()
  readonly self: Who
  readonly now: () => number
  readonly whoIs: (caller: Caller) => Who
  readonly onError: (error: Error) => void
  /** Stores of ours that took the place of a version that we had not fetched: somebody's work is lost. */
  overwritten = 0
  breaks = 0
  /** Some program of this mount has locked a range of bytes. */
  rangeLocks = false
  kernel: KernelPromises | undefined
  /** If all cells are shown. */
  dynamicRoot: DynamicRoot | undefined
  #nextHandle = 1
  readonly #given = new Map<FileServer, Vnode[]>()

  constructor(options: CacheManagerOptions) {
    const { servers, cells, cache, now, statuses, self, whoIs, onError } = options
    this.servers = servers
    this.cells = cells
    this.cache = cache
    this.now = now
    this.self = self
    this.whoIs = whoIs
    this.onError = onError
    this.promises = new Promises(now)
    const { promises } = this
    this.vnodes = new Vnodes({ limit: statuses, promises, onEvict: (vnode) => this.#forget(vnode) })
    this.transfers = new Transfers(now)
    this.unstored = new Unstored(cache)
    cells.onMoved = (volume) => this.#moved(volume)
  }

  attach(kernel: KernelCache): void {
    this.kernel = new KernelPromises(kernel)
  }

  nextHandle(): Handle {
    return this.#nextHandle++
  }

  node(id: NodeId): Node {
    return this.nodes.get(id)
  }

  /** What is kept of an object, from now on. */
  vnode(volume: ClientVolume, fid: Pick<Fid, 'vnode' | 'unique'>): Vnode {
    const key = keyOf(volume, fid)
    const known = this.vnodes.find(key)
    if (known !== undefined) return known
    const { vnode, unique } = fid
    return this.vnodes.add(volume, { volume: volume.id, vnode, unique }, this.promises.create(key))
  }

  isValid({ promise, volume, status }: Vnode): boolean {
    return status !== undefined && this.promises.isValid(promise, volume.scope)
  }

  remainingMs({ promise, volume }: Vnode): number {
    return this.promises.remainingMs(promise, volume.scope)
  }

  /** An answer says what an object is. `own`: it is the answer to a change of ours. */
  learn(volume: ClientVolume, { fid, status, callback }: Known, asked: Asked, own = false): Vnode {
    if (fid.volume !== volume.id) throw new FsError('EIO', 'the server answers about another volume')
    const vnode = this.vnode(volume, fid)
    const { change } = status
    const learned = this.promises.learn(vnode.promise, volume.scope, { asked, change, callback, own })
    if (learned !== 'older') {
      vnode.status = status
      vnode.attributes = attributesOf(volume, fid.vnode, status)
      vnode.deleted = status.nlink === 0
    }
    return vnode
  }

  /** Makes a call whose answer is about what is kept. */
  async ask<R>(call: () => Promise<R>, learn: (result: R, asked: Asked) => void): Promise<R> {
    const asked = this.promises.asked()
    try {
      const result = await call()
      learn(result, asked)
      return result
    } finally {
      this.promises.answered(asked)
    }
  }

  /** Makes a call that changes these. If it fails nobody knows what became of it, so nothing of them is believed. */
  async change<R>(
    vnodes: readonly Vnode[],
    call: () => Promise<R>,
    learn: (result: R, asked: Asked) => void,
  ): Promise<R> {
    const { promises } = this
    // What is not even asked for changes nothing.
    for (const { volume } of vnodes) if (volume.server.dead) await this.cells.requireServer(volume, { who: this.self })
    for (const { promise } of vnodes) promises.changing(promise)
    let failed = true
    try {
      const result = await this.ask(call, learn)
      failed = false
      return result
    } finally {
      for (const vnode of vnodes) {
        promises.ended(vnode.promise, failed)
        if (failed) this.#doubt(vnode)
      }
    }
  }

  /** Asks for the status of an object: ESTALE if there is no such thing any more. */
  async fetchStatus(vnode: Vnode, caller: Caller): Promise<void> {
    const { volume, fid } = vnode
    const call = () => this.cells.call(volume, FetchStatus, { who: this.whoIs(caller), fid }, caller)
    try {
      await this.ask(call, (known, asked) => void this.learn(volume, known, asked))
    } catch (error) {
      if (FsError.from(error).code === 'ESTALE') this.gone(vnode)
      throw error
    }
  }

  /** Nothing that is known of it is to be believed: whoever looks at it asks. */
  disbelieve(vnode: Vnode): void {
    // The root of all cells is nobody else's.
    if (vnode.volume === this.dynamicRoot?.vnode.volume) return
    vnode.promise.expiresAt = 0
    vnode.names = undefined
    this.#doubt(vnode)
  }

  /** There is no such object any more. Those who have it open keep their copy. */
  gone(vnode: Vnode): void {
    vnode.deleted = true
    vnode.promise.expiresAt = 0
    vnode.names = undefined
    if (vnode.attributes !== undefined) vnode.attributes = { ...vnode.attributes, nlink: 0 }
    if (vnode.nodes.size === 0 || ![...vnode.nodes].some(({ content }) => content !== undefined)) this.#drop(vnode)
  }

  #drop({ key }: Vnode): void {
    const file = this.cache.find(key)
    if (file !== undefined && file.state !== 'dirty' && file.opens === 0) this.cache.forget(key)
  }

  /** A server tells: these are about to change. */
  broken(fids: readonly Fid[]): void {
    this.breaks += fids.length
    for (const fid of fids) {
      for (const cell of this.cells) {
        const volume = cell.volumes.get(fid.volume)
        if (volume !== undefined) this.#broken(volume, fid)
      }
    }
  }

  #broken(volume: ClientVolume, fid: Fid): void {
    const key = keyOf(volume, fid)
    const vnode = this.vnodes.find(key)
    this.promises.break(key, vnode?.promise)
    if (vnode !== undefined) this.#doubt(vnode)
  }

  /** What the kernel was told of an object it has to ask for again. */
  #doubt(vnode: Vnode): void {
    const { node } = vnode
    const { kernel } = this
    if (node === undefined || kernel === undefined) return
    kernel.breakAttributes(node.id)
    if (isDirectory(vnode.attributes?.mode ?? 0)) kernel.breakNames(node.id)
    else if (this.#separate(node)) kernel.breakAllNames()
  }

  /** Programs that read a version go on with it, whatever becomes of the file. Who writes it makes the next one. */
  #separate(node: Node): boolean {
    const { content } = node
    if (content === undefined || content.writers > 0) return false
    this.nodes.detach(node)
    return true
  }

  /** A server tells that nothing stands that it had promised. */
  voided(server: FileServer): void {
    for (const cell of this.cells) {
      for (const volume of cell.volumes.values()) if (volume.server === server) this.promises.void(volume.scope)
    }
    this.#breakAll()
  }

  #moved(volume: ClientVolume): void {
    // What another server had promised is worth nothing.
    this.promises.void(volume.scope)
    this.#breakAll()
    this.onMoved(volume)
  }

  /** Another server has the volume now. */
  onMoved: (volume: ClientVolume) => void = () => {}

  #breakAll(): void {
    for (const node of this.nodes) this.#separate(node)
    this.kernel?.breakAll()
  }

  /** What is not kept any more need not be told of. */
  #forget(vnode: Vnode): void {
    this.promises.forget(vnode.key, vnode.promise)
    if (!this.isValid(vnode)) return
    const { server } = vnode.volume
    const given = this.#given.get(server) ?? []
    this.#given.set(server, given)
    given.push(vnode)
    if (given.length < GIVE_UP) return
    this.#given.delete(server)
    // Not of what has come back since; and what is promised by an answer that is under way is given up, too.
    const gone = given.filter(({ key }) => !this.vnodes.has(key))
    if (gone.length === 0) return
    for (const { key } of gone) this.promises.break(key, undefined)
    server.client.call(GiveUpCallBacks, { fids: gone.map(({ fid }) => fid) }).catch(() => {})
  }
}
