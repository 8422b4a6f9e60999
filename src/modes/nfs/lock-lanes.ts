// Finds lanes: by owner, by the number that stands for an owner on the wire, by what is in them.
import { LockRanges } from '../../store/lock-ranges.ts'
import type { NodeId } from '../../vfs/filesystem.ts'
import type { Lane, Operation } from './lock-operations.ts'
import type { LockOwnerName } from './nlm-types.ts'

interface Owner {
  readonly name: LockOwnerName
  readonly svid: number
  readonly lanes: Map<NodeId, Lane>
}

const MAX_SVID = 2 ** 31 - 1

export class LockLanes {
  readonly #owners = new Map<LockOwnerName, Owner>()
  readonly #bySvid = new Map<number, Owner>()
  /** How many lanes there are of each file. */
  readonly #counts = new Map<NodeId, number>()
  #lastSvid = 0

  find(file: NodeId, owner: LockOwnerName): Lane | undefined {
    return this.#owners.get(owner)?.lanes.get(file)
  }

  /** Undefined: there is no such owner (any more). */
  ofSvid(file: NodeId, svid: number): Lane | undefined {
    const owner = this.#bySvid.get(svid)
    return owner === undefined ? undefined : this.#laneOf(owner, file)
  }

  findOrAdd(file: NodeId, name: LockOwnerName): Lane {
    let owner = this.#owners.get(name)
    if (owner === undefined) {
      owner = { name, svid: this.#newSvid(), lanes: new Map() }
      this.#owners.set(name, owner)
      this.#bySvid.set(owner.svid, owner)
    }
    return this.#laneOf(owner, file)
  }

  svidOf(owner: LockOwnerName): number | undefined {
    return this.#owners.get(owner)?.svid
  }

  countOf(file: NodeId): number {
    return this.#counts.get(file) ?? 0
  }

  get isEmpty(): boolean {
    return this.#counts.size === 0
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
    if (!owner.lanes.delete(file)) return
    const others = this.countOf(file) - 1
    if (others > 0) this.#counts.set(file, others)
    else this.#counts.delete(file)
    if (owner.lanes.size > 0) return
    this.#owners.delete(name)
    this.#bySvid.delete(owner.svid)
  }

  #newSvid(): number {
    do this.#lastSvid = (this.#lastSvid % MAX_SVID) + 1
    while (this.#bySvid.has(this.#lastSvid))
    return this.#lastSvid
  }

  #laneOf({ name: owner, svid, lanes }: Owner, file: NodeId): Lane {
    let lane = lanes.get(file)
    if (lane === undefined) {
      const held = new LockRanges<Lane>()
      lane = { file, owner, svid, held, current: undefined, queue: [], reclaiming: new Set(), blocked: new Set() }
      lanes.set(file, lane)
      this.#counts.set(file, this.countOf(file) + 1)
    }
    return lane
  }
}
