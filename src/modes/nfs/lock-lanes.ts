// A lane is what one owner does with the locks of one file: what it holds, what is under way, what comes next.
import { type LockRange, LockRanges } from '../../store/lock-ranges.ts'
import type { NodeId } from '../../vfs/filesystem.ts'
import type { LockOwnerName } from './nlm-types.ts'

export interface Operation {
  /** 'restore': the server may have given us the range in a mode that nobody wants; it is told what we do hold there. */
  readonly kind: 'lock' | 'unlock' | 'cancel' | 'reclaim' | 'restore'
  readonly lane: Lane
  readonly range: LockRange
  readonly exclusive: boolean
  readonly wait: boolean
  /** Who is to be told; undefined: nobody, or not any more. */
  id: number | undefined
  /** Of the call that is under way. */
  cookie: number | undefined
  /** The server's life in which it was sent. */
  epoch: number
  /** The server may have it in its queue. */
  asked: boolean
  /** When to ask again. */
  dueMs: number | undefined
  /** Whoever asked has been interrupted; the answer is still to come. */
  abandoned: boolean
  /** The server's callback came before its answer. */
  granted: boolean
  readonly sinceMs: number
}

export interface Lane {
  readonly file: NodeId
  readonly owner: LockOwnerName
  readonly svid: number
  readonly held: LockRanges<Lane>
  /** Under way, or waiting for the end of the server's grace period: the next one has to wait. */
  current: Operation | undefined
  queue: Operation[]
  /** Reclaims under way. They need not wait for what is under way, which touches none of the same bytes. */
  readonly reclaiming: Set<Operation>
  /** Requests that the server lets wait. */
  readonly blocked: Set<Operation>
}

interface Owner {
  readonly name: LockOwnerName
  readonly svid: number
  readonly lanes: Map<NodeId, Lane>
}

const MAX_SVID = 2 ** 31 - 1

export class LockLanes {
  readonly #owners = new Map<LockOwnerName, Owner>()
  readonly #bySvid = new Map<number, Owner>()
  #lastSvid = 0

  find(file: NodeId, owner: LockOwnerName): Lane | undefined {
    return this.#owners.get(owner)?.lanes.get(file)
  }

  /** Undefined: there is no such owner (any more). */
  ofSvid(file: NodeId, svid: number): Lane | undefined {
    const owner = this.#bySvid.get(svid)
    return owner === undefined ? undefined : laneOf(owner, file)
  }

  findOrAdd(file: NodeId, name: LockOwnerName): Lane {
    let owner = this.#owners.get(name)
    if (owner === undefined) {
      owner = { name, svid: this.#newSvid(), lanes: new Map() }
      this.#owners.set(name, owner)
      this.#bySvid.set(owner.svid, owner)
    }
    return laneOf(owner, file)
  }

  *all(): Iterable<Lane> {
    for (const { lanes } of this.#owners.values()) yield* lanes.values()
  }

  *operations(): Iterable<Operation> {
    for (const lane of this.all()) {
      if (lane.current !== undefined) yield lane.current
      yield* lane.reclaiming
      yield* lane.blocked
      yield* lane.queue
    }
  }

  operation(matches: (operation: Operation) => boolean): Operation | undefined {
    for (const operation of this.operations()) if (matches(operation)) return operation
    return undefined
  }

  /** Forgets a lane in which nothing is left, and an owner without lanes. */
  tidy({ file, owner: name, held, current, queue, reclaiming, blocked }: Lane): void {
    if (held.size + queue.length + reclaiming.size + blocked.size > 0 || current !== undefined) return
    const owner = this.#owners.get(name)
    if (owner === undefined) return
    owner.lanes.delete(file)
    if (owner.lanes.size > 0) return
    this.#owners.delete(name)
    this.#bySvid.delete(owner.svid)
  }

  #newSvid(): number {
    do this.#lastSvid = (this.#lastSvid % MAX_SVID) + 1
    while (this.#bySvid.has(this.#lastSvid))
    return this.#lastSvid
  }
}

function laneOf({ name: owner, svid, lanes }: Owner, file: NodeId): Lane {
  let lane = lanes.get(file)
  if (lane === undefined) {
    const held = new LockRanges<Lane>()
    lane = { file, owner, svid, held, current: undefined, queue: [], reclaiming: new Set(), blocked: new Set() }
    lanes.set(file, lane)
  }
  return lane
}
