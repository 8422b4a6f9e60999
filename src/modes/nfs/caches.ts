// The caches of one mount together: whatever an answer says of a node goes through here, once, to all that have to know:
// what the attributes are, which names still hold, whether the kernel's pages and attributes are still right.
import type { Attributes } from '../../posix/attributes.ts'
import { withChanges } from '../../posix/attributes.ts'
import { isDirectory, S_IFMT } from '../../posix/mode.ts'
import {
  AttributeCache,
  type AttributeRequest,
  type AttributeUpdate,
  type OwnChange,
} from '../../vfs/attribute-cache.ts'
import type { AbsentEntry, AttributesReply, Entry, KernelCache } from '../../vfs/filesystem.ts'
import { CachedListings } from './cached-listings.ts'
import { CloseToOpen } from './close-to-open.ts'
import { NameCache } from './name-cache.ts'
import { type NameAhead, NamesAhead } from './names-ahead.ts'
import { attributesOf, changeOf } from './nfs3-attributes.ts'
import type { Fattr3, WccData } from './nfs3-types.ts'
import type { NfsNode } from './nodes.ts'
import type { NfsOptions } from './options.ts'
import { UnfinishedPages } from './unfinished-pages.ts'

/** Ids are never used twice, so neither are generations needed. */
const GENERATION = 1

/** Names that are taken back one by one. */
const MAX_NOTIFIED = 512

/** Long enough for the kernel to finish an open, in milliseconds. */
const GLANCE_MS = 1
const LATE = 'it was just made, and its mode and times are still to be set'

/** Between two looks at a directory that stays open. */
const MIN_RECHECK_MS = 1000

export interface CachesOptions extends Pick<NfsOptions, 'attributeTimeouts' | 'closeToOpen' | 'lookupCaching'> {
  readonly now: () => number
  /** What programs are told to read and write at once (st_blksize). */
  readonly blockSize: number
}

export class ClientCaches {
  readonly attributes: AttributeCache
  readonly names: NameCache
  readonly pages: CloseToOpen
  /** The kernel had no room to be told to drop the pages of a node. */
  onPagesStayed: (node: NfsNode) => void = () => {}
  readonly listings: CachedListings
  readonly ahead = new NamesAhead()
  readonly unfinished = new UnfinishedPages()
  readonly #now: () => number
  readonly #blockSize: number
  readonly #fileMinMs: number
  #kernel: KernelCache | undefined

  constructor({ attributeTimeouts, closeToOpen, lookupCaching, now, blockSize }: CachesOptions) {
    this.attributes = new AttributeCache({ timeouts: attributeTimeouts, now })
    this.names = new NameCache({ caching: lookupCaching })
    this.pages = new CloseToOpen({ closeToOpen })
    this.listings = new CachedListings({ closeToOpen, enabled: attributeTimeouts.directory.maxMs > 0, now })
    this.#now = now
    this.#blockSize = blockSize
    this.#fileMinMs = attributeTimeouts.file.minMs
  }

  attach(kernel: KernelCache): void {
    this.#kernel = kernel
  }

  /** Before each call whose answer has attributes. */
  request(): AttributeRequest {
    return this.attributes.request()
  }

  /** An answer told the attributes of a node. */
  learn(node: NfsNode, attributes: Fattr3 | undefined, request: AttributeRequest): void {
    if (attributes === undefined) return
    this.#updated(node, this.attributes.update(node.id, attributesOf(attributes, this.#blockSize), request))
    this.awaitLate(node)
  }

  /** Before each call that changes a node. It has to be ended, whatever becomes of it. */
  begin(node: NfsNode): OwnChange {
    this.#listingIs(this.listings.changed(node.id), node)
    return this.attributes.beginChange(node.id)
  }

  /** The call was answered; without an answer `wcc` is missing. */
  end(node: NfsNode, change: OwnChange, wcc?: WccData): void {
    const before = wcc?.before && changeOf(wcc.before)
    const after = wcc?.after && attributesOf(wcc.after, this.#blockSize)
    this.#updated(node, this.attributes.endChange(change, { before, after }))
    this.awaitLate(node)
    this.#listingIs(this.listings.changed(node.id), node)
  }

  /** We gave a name to a node, or took it away (`node` 0), and the server agreed: see `NameCache.changed`. */
  named(parent: NfsNode, name: string, node: number, wcc: WccData): void {
    const after = wcc.after && changeOf(wcc.after)
    this.ahead.changed(parent.id, name)
    this.names.changed(parent.id, name, { node, after, order: this.attributes.lastOrder })
  }

  /** Nobody can tell any more where a name leads. */
  dropName(parent: NfsNode, name: string): void {
    this.ahead.changed(parent.id, name)
    this.names.drop(parent.id, name)
  }

  /** What a LOOKUP or a listing found. `directory`: the attributes that came along. */
  found(parent: NfsNode, name: string, node: number, directory: Fattr3 | undefined, request: AttributeRequest): void {
    this.names.learn(parent.id, name, { node, directory: directory && changeOf(directory), request })
  }

  /** What is known of a node, as programs of this mount are to see it: with what they wrote. */
  shown(node: NfsNode): Attributes | undefined {
    const attributes = this.attributes.known(node.id)?.attributes
    if (attributes === undefined || node.writes === undefined) return attributes
    const { end, late } = node.writes
    const mode = late.unset?.mode
    if (mode !== undefined) {
      return withChanges(attributes, { mode: (attributes.mode & S_IFMT) | mode, size: Math.max(end, attributes.size) })
    }
    return end <= attributes.size ? attributes : withChanges(attributes, { size: end })
  }

  /** Where a file ends for all that this client knows; undefined: what it knows is in doubt. */
  size(node: NfsNode): number | undefined {
    const inDoubt = this.attributes.isInDoubt(node.id) && (node.writes === undefined || node.writes.idle)
    return inDoubt ? undefined : this.shown(node)?.size
  }

  /** A program opens a file: whether the kernel may keep its pages. Undefined: nothing is known of it. */
  open(node: NfsNode): { readonly keepCache: boolean } | undefined {
    const known = this.attributes.known(node.id)
    const opened = known && this.pages.open(node.id, known)
    if (opened?.keepCache === false) this.unfinished.drop(node.id)
    return opened
  }

  /** A program opens a directory, and the server was asked if `mustAskToList`. */
  openDirectory(node: NfsNode): { readonly cache: boolean; readonly keepCache: boolean } {
    return this.listings.open(node.id, this.attributes.known(node.id))
  }

  mustAskToList(node: NfsNode): boolean {
    return this.listings.mustAsk(node.id, this.attributes.get(node.id) !== undefined)
  }

  /** What was told of a name before anybody asked. */
  takeAhead(parent: NfsNode, name: string): NameAhead | undefined {
    return this.ahead.take(parent.id, name, this.attributes.get(parent.id), this.#now() - this.#fileMinMs)
  }

  /** A program has had a directory open for long and may list it again. Milliseconds after which to ask this again. */
  recheckListing(node: NfsNode): number {
    const ttlMs = this.attributes.ttlMs(node.id)
    if (ttlMs === 0) this.#listingIs(this.listings.changed(node.id), node)
    return Math.max(ttlMs, MIN_RECHECK_MS)
  }

  /** What the kernel asks for only because it was not given whole pages; undefined: the server is to be asked. */
  unfinishedBytes(node: NfsNode, offset: number, length: number): Uint8Array | undefined {
    if (this.attributes.get(node.id) === undefined) return undefined
    const size = this.size(node)
    return size === undefined ? undefined : this.unfinished.take(node.id, { offset, length, size })
  }

  /** Undefined: nothing is known of it. */
  reply(node: NfsNode): AttributesReply | undefined {
    const attributes = this.shown(node)
    if (attributes === undefined) return undefined
    const attributesTtlMs = this.attributes.ttlMs(node.id)
    node.toldUntilMs = Math.max(node.toldUntilMs, this.#now() + attributesTtlMs)
    return { attributes, attributesTtlMs }
  }

  /** The answer to a lookup that was counted. */
  entry(parent: NfsNode, node: NfsNode, reply: AttributesReply): Entry {
    node.parent = parent.id
    const nameTtlMs = this.names.ttlMs(this.attributes.ttlMs(parent.id)).present
    // No spread: objects of one shape, made at once, cost a fraction.
    const { attributes, attributesTtlMs } = reply
    return { node: node.id, generation: GENERATION, nameTtlMs, attributes, attributesTtlMs }
  }

  absent(parent: NfsNode): AbsentEntry {
    return { node: 0, nameTtlMs: this.names.ttlMs(this.attributes.ttlMs(parent.id)).absent }
  }

  /**
   * Attributes of a file that was made, as they will be when the server has heard of them: the kernel looks at the mode at
   * once, and asks again when somebody wants to know more.
   */
  lateReply(parent: NfsNode, node: NfsNode, { attributes }: AttributesReply): AttributesReply {
    this.awaitLate(node)
    const { mtime } = this.attributes.known(parent.id)?.attributes ?? attributes
    const times = { atime: mtime, mtime, ctime: mtime }
    return { attributes: withChanges(this.shown(node) ?? attributes, times), attributesTtlMs: GLANCE_MS }
  }

  /** What the server says of a file whose attributes it has not heard of yet is not to be believed. */
  awaitLate(node: NfsNode): void {
    if (node.writes?.late.unset !== undefined) this.attributes.expire(node.id, LATE)
  }

  /** The server does not know the node any more. */
  stale(node: NfsNode): void {
    node.stale = true
    this.attributes.expire(node.id, 'the server does not know its file handle any more')
  }

  /** The attributes are about to change by a call that does not tell how: nobody is to believe them, neither the kernel. */
  distrust(node: NfsNode, why: string): void {
    this.attributes.expire(node.id, why)
    this.#kernel?.invalidateAttributes(node.id)
  }

  /** The kernel's pages do not show what the file has. Resolves when they are gone; false: there was no room to say so. */
  async dropPages(node: NfsNode, offset?: number, length?: number): Promise<boolean> {
    this.unfinished.drop(node.id)
    const dropped = this.#kernel?.invalidateData(node.id, offset, length).then(() => true)
    return (await dropped?.catch(() => false)) ?? true
  }

  forget(node: NfsNode): void {
    this.attributes.forget(node.id)
    this.names.forget(node.id)
    this.pages.forget(node.id)
    this.unfinished.drop(node.id)
    this.listings.forget(node.id)
    this.ahead.drop(node.id)
  }

  #updated(node: NfsNode, update: AttributeUpdate): void {
    if (update.change === 'none') {
      // Nothing new, but for the pages: an invalidation that there was no room for may be due again.
      if (this.pages.update(update) === 'invalidate') this.#invalidate(node)
      return
    }
    const invalidate = this.pages.update(update) === 'invalidate'
    this.#listingIs(this.listings.update(update), node)
    this.ahead.update(update)
    const isParent = isDirectory(this.attributes.known(node.id)?.attributes.mode ?? 0)
    const names = isParent ? this.names.update(update) : []
    // What the kernel was told may still be believed there for a while, and is wrong.
    const told = update.change === 'foreign' || update.change === 'first'
    if (told && node.toldUntilMs > this.#now()) {
      this.#kernel?.invalidateAttributes(node.id)
      node.toldUntilMs = 0
    }
    if (names.length > 0) this.#expireNames(node, names)
    if (invalidate) this.#invalidate(node)
  }

  /**
   * Each by itself: to take back all names at once would make the kernel drop what lies below them as well, and with it
   * attributes that are still believed.
   */
  #expireNames(parent: NfsNode, names: readonly string[]): void {
    if (names.length > MAX_NOTIFIED && this.#kernel?.invalidateAllNames()) return
    for (const name of names) this.#kernel?.expireName(parent.id, name).catch(() => undefined)
  }

  #listingIs(effect: 'nothing' | 'invalidate', node: NfsNode): void {
    if (effect === 'invalidate')
      this.#kernel?.invalidateData(node.id).catch(() => this.listings.notInvalidated(node.id))
  }

  #invalidate(node: NfsNode): void {
    const done = (ok: boolean) => () => {
      if (!ok) this.onPagesStayed(node)
      this.pages.invalidated(node.id, ok)
    }
    // What is read from now on gets into pages after the old ones are gone.
    node.cached = false
    this.unfinished.drop(node.id)
    if (this.#kernel === undefined) done(true)()
    else this.#kernel.invalidateData(node.id).then(done(true), done(false))
  }
}
