// The byte ranges locked in one file: a sorted list with split and merge of one owner's ranges as fcntl(2) has it.
// It knows nothing of conflicts or waiting; the lock table decides those.

/** A byte range, both ends inclusive; `end` is Infinity for "to the end of the file, however long it grows". */
export interface LockRange {
  readonly start: number
  readonly end: number
}

export interface LockMode {
  readonly exclusive: boolean
  /** Others' reads and writes in the range fail too, not only their locks (SMB). */
  readonly mandatory: boolean
  readonly pid: number
}

export interface HeldLock<Owner> extends LockRange, LockMode {
  readonly owner: Owner
}

/** What setting a range would do to the list: nothing has happened yet. */
export interface RangeChange<Owner> {
  readonly removed: readonly HeldLock<Owner>[]
  readonly added: readonly HeldLock<Owner>[]
  /** Others may have become able to lock: some byte was unlocked or went from exclusive to shared. */
  readonly weakens: boolean
}

export const WHOLE_FILE: LockRange = { start: 0, end: Number.POSITIVE_INFINITY }

export const overlap = (a: LockRange, b: LockRange): boolean => a.start <= b.end && b.start <= a.end

/**
 * Locks sorted by start. Beside each lock stands how far it and those before it reach, so that a query begins at
 * the first lock that can touch its range: O(log n + locks looked at), also when shared locks overlap each other.
 */
export class LockRanges<Owner> {
  readonly #locks: HeldLock<Owner>[] = []
  /** `#reach[i]` is the largest end among `#locks[0…i]`: never falling, so it can be searched by halves. */
  readonly #reach: number[] = []

  get size(): number {
    return this.#locks.length
  }

  /** All locks, sorted by start. */
  all(): readonly HeldLock<Owner>[] {
    return this.#locks
  }

  /** The first lock (lowest start) that overlaps `range` and matches. */
  find(range: LockRange, matches: (lock: HeldLock<Owner>) => boolean): HeldLock<Owner> | undefined {
    for (let index = this.#firstReaching(range.start); ; index++) {
      const lock = this.#locks[index]
      if (lock === undefined || lock.start > range.end) return undefined
      if (lock.end >= range.start && matches(lock)) return lock
    }
  }

  /** All locks that overlap `range` and match, sorted by start. */
  filter(range: LockRange, matches: (lock: HeldLock<Owner>) => boolean): HeldLock<Owner>[] {
    const found: HeldLock<Owner>[] = []
    this.find(range, (lock) => {
      if (matches(lock)) found.push(lock)
      return false
    })
    return found
  }

  /**
   * What it takes for `owner` to hold `range` in `mode`, or not at all. The new lock takes the place of what the owner
   * held there, splits what sticks out, and merges with what it touches in the same mode: POSIX.1-2017 fcntl().
   */
  plan(owner: Owner, range: LockRange, mode: LockMode | undefined): RangeChange<Owner> {
    // Neighbours count when locking: they may merge.
    const touched = mode === undefined ? range : { start: range.start - 1, end: range.end + 1 }
    const removed: HeldLock<Owner>[] = []
    const added: HeldLock<Owner>[] = []
    let { start, end } = range
    let weakens = false
    for (const lock of this.filter(touched, (lock) => lock.owner === owner)) {
      if (mode !== undefined && lock.exclusive === mode.exclusive && lock.mandatory === mode.mandatory) {
        removed.push(lock)
        start = Math.min(start, lock.start)
        end = Math.max(end, lock.end)
      } else if (overlap(lock, range)) {
        removed.push(lock)
        if (lock.start < range.start) added.push({ ...lock, end: range.start - 1 })
        if (lock.end > range.end) added.push({ ...lock, start: range.end + 1 })
        weakens ||= mode === undefined || (lock.exclusive && !mode.exclusive)
      }
    }
    if (mode !== undefined) {
      const { exclusive, mandatory, pid } = mode
      added.push({ start, end, owner, exclusive, mandatory, pid })
    }
    return { removed, added, weakens }
  }

  apply(change: RangeChange<Owner>): void {
    for (const lock of change.removed) this.#remove(lock)
    for (const lock of change.added) this.#insert(lock)
  }

  /** Drops every lock that matches, in one pass. */
  removeWhere(matches: (lock: HeldLock<Owner>) => boolean): void {
    let kept = 0
    let reach = -1
    for (const lock of this.#locks) {
      if (matches(lock)) continue
      reach = Math.max(reach, lock.end)
      this.#locks[kept] = lock
      this.#reach[kept] = reach
      kept++
    }
    this.#locks.length = kept
    this.#reach.length = kept
  }

  /** Index of the first lock that starts at or after `start`. */
  #firstFrom(start: number): number {
    return firstAtLeast(this.#locks.length, start, (index) => this.#locks[index]?.start)
  }

  /** Index of the first lock that reaches `position`; all before it end earlier. */
  #firstReaching(position: number): number {
    return firstAtLeast(this.#reach.length, position, (index) => this.#reach[index])
  }

  #insert(lock: HeldLock<Owner>): void {
    const index = this.#firstFrom(lock.start)
    this.#locks.splice(index, 0, lock)
    this.#reach.splice(index, 0, Number.NaN)
    this.#updateReach(index)
  }

  #remove(lock: HeldLock<Owner>): void {
    const index = this.#locks.indexOf(lock, this.#firstFrom(lock.start))
    this.#locks.splice(index, 1)
    this.#reach.splice(index, 1)
    this.#updateReach(index)
  }

  /** Recomputes `#reach` from `index` on, up to where it is right already: the rest follows from there. */
  #updateReach(index: number): void {
    let reach = this.#reach[index - 1] ?? -1
    for (let at = index; at < this.#locks.length; at++) {
      reach = Math.max(reach, this.#locks[at]?.end ?? -1)
      if (this.#reach[at] === reach) return
      this.#reach[at] = reach
    }
  }
}

/** The first index below `count` whose value is at least `bound`, or `count`; the values never fall. */
function firstAtLeast(count: number, bound: number, valueAt: (index: number) => number | undefined): number {
  let low = 0
  let high = count
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((valueAt(middle) ?? 0) < bound) low = middle + 1
    else high = middle
  }
  return low
}
