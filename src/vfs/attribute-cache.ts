// What a client knows of the attributes of each node, since when, and until when it may be believed without asking.
//
// The timeout adapts as that of Linux' NFS client: it starts at a minimum, doubles when asking again finds no change,
// and falls back on a change by somebody else. Answers may come in any order; what an older one says is not adopted.
import { LRUCache } from 'lru-cache'
import { type Attributes, compareTimespec } from '../posix/attributes.ts'
import { isDirectory } from '../posix/mode.ts'
import { type ChangeAttributes, changeAttributes, sameChange, sameContent } from './change-attributes.ts'
import type { NodeId } from './filesystem.ts'
import { type ChangeVerdict, OwnChanges } from './own-changes.ts'

export interface TimeoutBounds {
  readonly minMs: number
  readonly maxMs: number
}

/** How long attributes are believed. Both bounds 0: never. */
export interface AttributeTimeouts {
  readonly file: TimeoutBounds
  readonly directory: TimeoutBounds
}

export interface AttributeCacheOptions {
  readonly timeouts: AttributeTimeouts
  /** Milliseconds since the epoch, never going back (`traceTime`). */
  readonly now: () => number
  /** Nodes remembered; the least recently used go. Default 65,536. */
  readonly maxNodes?: number
}

/** A request whose answer will have attributes. Take one before sending. */
export interface AttributeRequest {
  /** Grows from request to request. */
  readonly order: number
  readonly sentMs: number
}

/** A request that will change `node`. It has to be ended, whatever becomes of it. */
export interface OwnChange extends AttributeRequest {
  readonly node: NodeId
  /** What was known of the node then; undefined: nothing. */
  readonly entry: object | undefined
}

/** What a server tells of a node that it changed: wcc_data (RFC 1813 §2.6). Both may be missing. */
export interface WeakCacheConsistency {
  readonly before?: ChangeAttributes | undefined
  readonly after?: Attributes | undefined
}

/** What an answer did. */
export interface AttributeUpdate {
  readonly node: NodeId
  /** The attributes are the known ones now; false: they are older than those, or there were none. */
  readonly adopted: boolean
  /**
   * 'first': nothing was known. 'own': caches filled under `from` are right under `to`. 'foreign': they are wrong.
   * 'pending': it depends on answers that are still to come; do not trust them, do not drop them.
   */
  readonly change: ChangeVerdict | 'first'
  /** Where our own changes started, and what is known now. Present for 'own', 'foreign' and 'first' (`to` only). */
  readonly from?: ChangeAttributes
  readonly to?: ChangeAttributes
}

/** What is known of a node, believed or not. */
export interface KnownAttributes {
  readonly attributes: Attributes
  /** How far the changes are explained: caches that were filled or carried on under these are right. */
  readonly explained: ChangeAttributes
  /** Answers to own changes are still to come, and something is not explained yet. */
  readonly pending: boolean
}

/** For `user.proteus.cache`: why the attributes may be stale, and until when. Times in milliseconds since the epoch. */
export interface AttributeFacts {
  readonly validatedAtMs: number
  readonly validUntilMs: number
  readonly timeoutMs: number
  readonly seen: ChangeAttributes
  readonly believed: boolean
  readonly why: string
}

interface Entry {
  attributes: Attributes
  explained: ChangeAttributes
  /** While own changes are under way. */
  chain: OwnChanges | undefined
  pending: boolean
  /** When the request was sent whose answer says so: the server may have changed it right after. */
  validatedAtMs: number
  timeoutMs: number
  timeoutSinceMs: number
  /** Requests sent up to this one may have been answered before the attributes that are known now. */
  barrier: number
  /** Why they are not believed any more, although their time is not over. */
  expired: string | undefined
  /** This client gave it a name or took one away. */
  renamed: boolean
}

export class AttributeCache {
  readonly #timeouts: AttributeTimeouts
  readonly #now: () => number
  readonly #entries: LRUCache<NodeId, Entry>
  #lastOrder = 0

  constructor({ timeouts, now, maxNodes = 65_536 }: AttributeCacheOptions) {
    this.#timeouts = timeouts
    this.#now = now
    this.#entries = new LRUCache({ max: maxNodes })
  }

  get size(): number {
    return this.#entries.size
  }

  /** The number of the latest request: what is sent from now on is later than anything known now. */
  get lastOrder(): number {
    return this.#lastOrder
  }

  /** Before each request whose answer tells attributes. */
  request(): AttributeRequest {
    return { order: ++this.#lastOrder, sentMs: this.#now() }
  }

  /** Before each request that changes `node` and whose answer has weak cache consistency data. */
  beginChange(node: NodeId): OwnChange {
    const request = this.request()
    const entry = this.#entries.get(node)
    if (entry !== undefined) {
      entry.chain ??= new OwnChanges(entry.explained)
      entry.chain.begin(request.order)
    }
    return { order: request.order, sentMs: request.sentMs, node, entry }
  }

  /** The attributes, if they may be believed now. */
  get(node: NodeId): Attributes | undefined {
    const entry = this.#entries.get(node)
    return entry !== undefined && this.#remainingMs(entry) > 0 ? entry.attributes : undefined
  }

  /** What is known, however old. */
  known(node: NodeId): KnownAttributes | undefined {
    return this.#entries.get(node)
  }

  /** Something else than time says that what is known may be wrong. */
  isInDoubt(node: NodeId): boolean {
    return this.#entries.peek(node)?.expired !== undefined
  }

  /** How long the attributes may still be believed, in milliseconds: 0, ask now. What the kernel may be told. */
  ttlMs(node: NodeId): number {
    const entry = this.#entries.get(node)
    return entry === undefined ? 0 : this.#remainingMs(entry)
  }

  /** An answer told the attributes of `node`. */
  update(node: NodeId, attributes: Attributes, request: AttributeRequest): AttributeUpdate {
    const entry = this.#entries.get(node)
    if (entry === undefined) return this.#insert(node, attributes, request)
    const adopted = this.#adopt(entry, attributes, request)
    if (adopted) entry.chain?.observe(attributes, this.#lastOrder)
    return this.#judge(node, entry, adopted)
  }

  /**
   * A change by this client was answered. Of a failed one servers tell the states, too. Without an answer: `{}`; then
   * the node has to be asked for.
   */
  endChange(change: OwnChange, { before, after }: WeakCacheConsistency): AttributeUpdate {
    const { node } = change
    const entry = this.#entries.get(node)
    // Forgotten meanwhile, or not known when it began: there is nothing that could be carried on.
    if (entry === undefined || entry !== change.entry) {
      if (after !== undefined) return this.update(node, after, change)
      if (entry !== undefined) this.#expire(entry, NO_ATTRIBUTES)
      return { node, adopted: false, change: 'none' }
    }
    const adopted = after !== undefined && this.#adopt(entry, after, change)
    if (after === undefined) this.#expire(entry, NO_ATTRIBUTES)
    const link = before !== undefined && after !== undefined ? { before, after: changeAttributes(after) } : undefined
    entry.chain?.end(change.order, link, this.#lastOrder)
    // A server that does not say what was before leaves it open whether somebody else was there.
    if (link === undefined && adopted) entry.chain?.observe(changeAttributes(after), this.#lastOrder)
    return this.#judge(node, entry, adopted)
  }

  /** What is known is not to be believed any more; `why` is for people. */
  expire(node: NodeId, why: string): void {
    const entry = this.#entries.get(node)
    if (entry !== undefined) this.#expire(entry, why)
  }

  /**
   * This client gave the node a name, or took one away, and the answer does not tell what it is like now. That moves its
   * ctime; if that is all, caches of what it contains are still right.
   */
  renamed(node: NodeId, why: string): void {
    const entry = this.#entries.get(node)
    if (entry === undefined) return
    this.#expire(entry, why)
    entry.renamed = true
  }

  /** The node is gone, or nobody knows it any more. */
  forget(node: NodeId): void {
    this.#entries.delete(node)
  }

  facts(node: NodeId): AttributeFacts | undefined {
    const entry = this.#entries.peek(node)
    if (entry === undefined) return undefined
    const { validatedAtMs, timeoutMs } = entry
    const remaining = this.#remainingMs(entry)
    return {
      validatedAtMs,
      validUntilMs: entry.expired === undefined ? validatedAtMs + timeoutMs : validatedAtMs,
      timeoutMs,
      seen: changeAttributes(entry.attributes),
      believed: remaining > 0,
      why: why(entry, remaining),
    }
  }

  #insert(node: NodeId, attributes: Attributes, { sentMs }: AttributeRequest): AttributeUpdate {
    const to = changeAttributes(attributes)
    this.#entries.set(node, {
      attributes,
      explained: to,
      chain: undefined,
      pending: false,
      validatedAtMs: sentMs,
      timeoutMs: this.#bounds(attributes).minMs,
      timeoutSinceMs: this.#now(),
      barrier: this.#lastOrder,
      expired: undefined,
      renamed: false,
    })
    return { node, adopted: true, change: 'first', to }
  }

  /** Takes the attributes over, unless they may be older than those that are known. */
  #adopt(entry: Entry, attributes: Attributes, { order, sentMs }: AttributeRequest): boolean {
    const known = entry.attributes
    const same = sameChange(attributes, known)
    const overlapped = order <= entry.barrier
    if (overlapped && !same) {
      // Both requests were under way at once. Only the server's clock can tell which answer is the later one.
      const later = compareTimespec(attributes.ctime, known.ctime)
      if (later === 0) this.#expire(entry, 'two answers contradict each other within one tick of the server’s clock')
      if (later <= 0) return false
    }
    entry.attributes = attributes
    entry.validatedAtMs = Math.max(entry.validatedAtMs, sentMs)
    // What is asked from now on cannot be older than this.
    if (!same) entry.barrier = this.#lastOrder
    if (!same || !overlapped) entry.expired = undefined
    return true
  }

  /** Only a request that is sent after this can make it believed again. */
  #expire(entry: Entry, why: string): void {
    entry.expired = why
    entry.barrier = this.#lastOrder
  }

  #judge(node: NodeId, entry: Entry, adopted: boolean): AttributeUpdate {
    const from = entry.explained
    const change = this.#verdict(entry)
    entry.pending = change === 'pending'
    if (change === 'foreign' || (change === 'own' && entry.chain === undefined)) {
      entry.explained = changeAttributes(entry.attributes)
    } else if (entry.chain !== undefined) {
      entry.explained = entry.chain.current
    }
    if (entry.chain?.settled) entry.chain = undefined
    if (entry.expired === undefined) entry.renamed = false
    if (adopted || change === 'foreign') this.#adapt(entry, change === 'foreign')
    return change === 'own' || change === 'foreign'
      ? { node, adopted, change, from, to: entry.explained }
      : { node, adopted, change }
  }

  #verdict({ chain, explained, attributes, renamed }: Entry): ChangeVerdict {
    if (chain !== undefined) return chain.judge(explained, attributes)
    if (sameChange(explained, attributes)) return 'none'
    return renamed && sameContent(explained, attributes) ? 'own' : 'foreign'
  }

  /** At most one doubling per timeout, as Linux has it: asking often does not make one believe longer. */
  #adapt(entry: Entry, changed: boolean): void {
    const now = this.#now()
    const { minMs, maxMs } = this.#bounds(entry.attributes)
    if (changed) entry.timeoutMs = minMs
    else if (now >= entry.timeoutSinceMs + entry.timeoutMs) entry.timeoutMs = Math.min(entry.timeoutMs * 2, maxMs)
    entry.timeoutSinceMs = now
  }

  #bounds({ mode }: Attributes): TimeoutBounds {
    return isDirectory(mode) ? this.#timeouts.directory : this.#timeouts.file
  }

  #remainingMs({ expired, validatedAtMs, timeoutMs }: Entry): number {
    return expired === undefined ? Math.max(0, validatedAtMs + timeoutMs - this.#now()) : 0
  }
}

const NO_ATTRIBUTES = 'the answer to a change of our own came without attributes, or did not come'

function why({ expired, timeoutMs, pending }: Entry, remainingMs: number): string {
  if (expired !== undefined) return `not believed: ${expired}; the next use asks the server`
  if (remainingMs <= 0)
    return `not believed: the timeout of ${timeoutMs / 1000} s is over; the next use asks the server`
  const unsure = pending ? ', while changes of our own are not all answered' : ''
  return `believed for ${timeoutMs / 1000} s since the server was asked${unsure}: what others change is not seen before`
}
