// What the kernel has cached of the content of directories (FOPEN_CACHE_DIR), and whether it may keep it.
//
// Linux' NFS client asks for the attributes when a directory is opened, as with a file (`nfs_lookup_verify_inode` in
// fs/nfs/dir.c: close-to-open, off with `nocto`), and lists from its cache if they are those under which it was filled. So
// it is here. Two things are particular to the kernel's cache. It has names only: where programs ask for the attributes of
// each, too, READDIRPLUS is cheaper, and the names are kept no longer than the attributes that came with them. And what one
// reader was told the kernel may put in after another one had everything dropped; so nothing is kept of what was filled
// while a directory was open that had been opened before a change.
import type { AttributeUpdate, KnownAttributes } from '../../vfs/attribute-cache.ts'
import { type ChangeAttributes, changeAttributes, sameChange } from '../../vfs/change-attributes.ts'
import type { NodeId } from '../../vfs/filesystem.ts'

interface Listing {
  opens: number
  /** All that the kernel has of it is right under these; undefined: nobody knows. */
  under: ChangeAttributes | undefined
  /** The kernel has nothing yet: what it is told first says under what. */
  empty: boolean
  /** The kernel may have something. */
  cached: boolean
  /** Attributes that came with the names are believed until then, in milliseconds since the epoch. */
  toldUntilMs: number
  /** Names and attributes that the server was asked for one by one since the last open. */
  missed: number
  /** Programs asked for what the names alone do not tell. */
  wantsAttributes: boolean
}

/** As many are asked for one by one, before all are (NFS_READDIR_CACHE_MISS_THRESHOLD in fs/nfs/dir.c). */
const MAX_MISSED = 16

type Effect = 'nothing' | 'invalidate'

export class CachedListings {
  readonly #closeToOpen: boolean
  readonly #enabled: boolean
  readonly #now: () => number
  readonly #listings = new Map<NodeId, Listing>()

  /** `enabled`: false if attributes are never believed (`noac`). */
  constructor({ closeToOpen, enabled, now }: CachedListingsOptions) {
    this.#closeToOpen = closeToOpen
    this.#enabled = enabled
    this.#now = now
  }

  /** Whether an open has to ask the server first: only if there is something to keep. `believed`: as of its attributes. */
  mustAsk(node: NodeId, believed: boolean): boolean {
    const listing = this.#listings.get(node)
    return listing !== undefined && this.#isWorthKeeping(listing) && (this.#closeToOpen || !believed)
  }

  /** A directory is opened, and `known` is what is known of it now, by asking if `mustAsk` said so. */
  open(node: NodeId, known: KnownAttributes | undefined): { readonly cache: boolean; readonly keepCache: boolean } {
    if (!this.#enabled) return { cache: false, keepCache: false }
    const listing = this.#listings.get(node) ?? nothing()
    this.#listings.set(node, listing)
    const { under } = listing
    const same = under !== undefined && known !== undefined && !known.pending && sameChange(under, known.attributes)
    const keepCache = (listing.empty || same) && this.#isWorthKeeping(listing)
    if (!keepCache) {
      const { opens, wantsAttributes } = listing
      Object.assign(listing, nothing(), { opens, wantsAttributes, empty: opens === 0 })
    }
    listing.opens++
    listing.missed = 0
    return { cache: true, keepCache }
  }

  close(node: NodeId): void {
    const listing = this.#listings.get(node)
    if (listing !== undefined && listing.opens > 0) listing.opens--
  }

  /** The kernel is about to be told names. `directory`: the attributes that the server told along with them. */
  answered(node: NodeId, directory: ChangeAttributes | undefined): void {
    const listing = this.#listings.get(node)
    if (listing === undefined) return
    listing.cached = true
    const { empty, under } = listing
    listing.empty = false
    if (directory === undefined || (under !== undefined && !sameChange(under, directory))) listing.under = undefined
    else if (empty) listing.under = changeAttributes(directory)
  }

  /** The attributes of a name in a directory were told along, for so long. */
  told(node: NodeId, attributesTtlMs: number): void {
    const listing = this.#listings.get(node)
    // Who was told nothing to believe asks anyway.
    if (listing === undefined || attributesTtlMs <= 0) return
    listing.toldUntilMs = Math.min(listing.toldUntilMs, this.#now() + attributesTtlMs)
  }

  /** Attributes were told, with whatever answer. */
  update({ node, to }: AttributeUpdate): Effect {
    const listing = this.#listings.get(node)
    if (listing?.under === undefined || to === undefined || sameChange(listing.under, to)) return 'nothing'
    return this.changed(node)
  }

  /** We change a directory ourselves, or have done so; or it is not believed any more, and somebody may look again. */
  changed(node: NodeId): Effect {
    const listing = this.#listings.get(node)
    if (listing === undefined) return 'nothing'
    listing.under = undefined
    listing.empty = false
    if (!listing.cached || listing.opens === 0) return 'nothing'
    // Of most of our own changes the kernel knows; not of those that it did not wait for.
    listing.cached = false
    return 'invalidate'
  }

  /** The server has to be asked for a name, or its attributes. True, once per open: that often, it had better tell of all. */
  missed(node: NodeId): boolean {
    const listing = this.#listings.get(node)
    if (listing === undefined || ++listing.missed !== MAX_MISSED) return false
    listing.wantsAttributes = true
    return true
  }

  /** The kernel could not be told. */
  notInvalidated(node: NodeId): void {
    const listing = this.#listings.get(node)
    if (listing !== undefined) listing.cached = true
  }

  /** The kernel does not know the node any more. */
  forget(node: NodeId): void {
    this.#listings.delete(node)
  }

  #isWorthKeeping({ under, empty, toldUntilMs, wantsAttributes }: Listing): boolean {
    return empty || (under !== undefined && (!wantsAttributes || toldUntilMs > this.#now()))
  }
}

export interface CachedListingsOptions {
  readonly closeToOpen: boolean
  readonly enabled: boolean
  readonly now: () => number
}

const nothing = (): Listing => ({
  opens: 0,
  under: undefined,
  empty: false,
  cached: false,
  toldUntilMs: Number.POSITIVE_INFINITY,
  missed: 0,
  wantsAttributes: false,
})
