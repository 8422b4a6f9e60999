// Close-to-open consistency, and what is left of it when a file stays open: whether the pages that the kernel has of a
// file are still right, and when they have to go.
//
// nfs(5), "Close-to-open cache consistency": an open asks the server for the attributes and keeps cached data only if the
// file is the one that it was cached from. Between open and close nothing is promised but that reads are not older than the
// attribute timeout: files from which programs read are revalidated when it is over (open-files.ts), and when a
// revalidation, whatever it was for, finds that somebody else changed the file, the old pages go. What this client wrote
// itself changes the attributes, too; weak cache consistency tells the two apart (src/vfs/attribute-cache.ts).
import type { AttributeUpdate, KnownAttributes } from '../../vfs/attribute-cache.ts'
import { type ChangeAttributes, changeAttributes, sameChange } from '../../vfs/change-attributes.ts'
import type { NodeId } from '../../vfs/filesystem.ts'

/** For `user.proteus.cache`. */
export interface PageFacts {
  /** Open files of this node on this mount. */
  readonly opens: number
  /** The kernel's pages were read, or carried on by our own writes, under these; absent: they are not worth anything. */
  readonly cachedUnder?: ChangeAttributes
  /** Pages are being taken back from the kernel. */
  readonly invalidating: boolean
}

interface Pages {
  opens: number
  under: ChangeAttributes | undefined
  /** Invalidations that the kernel has not finished. */
  invalidating: number
  /** The kernel had no room for one (ENOBUFS). */
  failed: boolean
}

export class CloseToOpen {
  readonly #closeToOpen: boolean
  /** Of nodes that are open, or of which the kernel may still have pages: until it forgets them. */
  readonly #pages = new Map<NodeId, Pages>()

  /** `closeToOpen`: false with `nocto`. */
  constructor({ closeToOpen }: { readonly closeToOpen: boolean }) {
    this.#closeToOpen = closeToOpen
  }

  /** Whether an open has to ask the server first. `believed`: the attributes are known and not out of date. */
  mustAsk(believed: boolean): boolean {
    return this.#closeToOpen || !believed
  }

  /**
   * A file is opened, and `known` is what is known of it now, by asking if `mustAsk` said so. Whether the kernel may keep
   * its pages; if not, it drops them when it gets the answer, and what it reads from then on is right.
   */
  open(node: NodeId, { attributes, explained, pending }: KnownAttributes): { readonly keepCache: boolean } {
    const pages = this.#pagesOf(node)
    pages.opens++
    const same = pages.under !== undefined && sameChange(pages.under, explained)
    // While own changes wait for an explanation nobody knows whether the pages are right: reading again always is.
    const settled = !pending && sameChange(explained, attributes)
    const keepCache = same && settled && pages.invalidating === 0 && !pages.failed
    pages.under = changeAttributes(explained)
    if (!keepCache) pages.failed = false
    return { keepCache }
  }

  /** The last bytes of one open are written, and it is over. */
  close(node: NodeId): void {
    const pages = this.#pages.get(node)
    if (pages !== undefined && pages.opens > 0) pages.opens--
  }

  openCount(node: NodeId): number {
    return this.#pages.get(node)?.opens ?? 0
  }

  /**
   * Attributes of a file were told, with whatever answer. 'invalidate': ask the kernel to drop the pages
   * (`KernelCache.invalidateData`), and call `invalidated` when it has.
   */
  update({ node, change, from, to }: AttributeUpdate): 'nothing' | 'invalidate' {
    const pages = this.#pages.get(node)
    if (pages === undefined || to === undefined) return this.#retry(pages)
    if (change === 'own') {
      if (pages.under !== undefined && from !== undefined && sameChange(pages.under, from)) pages.under = to
      return this.#retry(pages)
    }
    // 'first' after the attributes had been forgotten: the pages remember better.
    if (change === 'first' && pages.under !== undefined && sameChange(pages.under, to)) return this.#retry(pages)
    // What nobody has open the next open will drop. What is read from now on is of the new file.
    if (pages.opens === 0) {
      pages.under = undefined
      return 'nothing'
    }
    pages.under = to
    return this.#invalidate(pages)
  }

  /** The kernel has dropped the pages; `ok` false: it could not be told (ENOBUFS). */
  invalidated(node: NodeId, ok: boolean): void {
    const pages = this.#pages.get(node)
    if (pages === undefined || pages.invalidating === 0) return
    pages.invalidating--
    if (!ok) pages.failed = true
  }

  /** The kernel does not know the node any more, and has no pages of it. */
  forget(node: NodeId): void {
    this.#pages.delete(node)
  }

  facts(node: NodeId): PageFacts | undefined {
    const pages = this.#pages.get(node)
    if (pages === undefined) return undefined
    const { opens, under, invalidating, failed } = pages
    const cachedUnder = failed || under === undefined ? {} : { cachedUnder: under }
    return { opens, ...cachedUnder, invalidating: invalidating > 0 }
  }

  /** The kernel once had no room for an invalidation; programs that have the file open still see old pages. */
  #retry(pages: Pages | undefined): 'nothing' | 'invalidate' {
    return pages?.failed && pages.opens > 0 ? this.#invalidate(pages) : 'nothing'
  }

  #invalidate(pages: Pages): 'invalidate' {
    pages.failed = false
    pages.invalidating++
    return 'invalidate'
  }

  #pagesOf(node: NodeId): Pages {
    let pages = this.#pages.get(node)
    if (pages === undefined) {
      pages = { opens: 0, under: undefined, invalidating: 0, failed: false }
      this.#pages.set(node, pages)
    }
    return pages
  }
}
