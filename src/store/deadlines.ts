// A queue of deadlines: which comes next? A binary heap in which an item that moved or went away leaves a stale entry
// behind; stale entries are skipped when they come up and swept when they outnumber the others.

interface Entry<Item> {
  readonly at: number
  readonly item: Item
}

export class Deadlines<Item> {
  #heap: Entry<Item>[] = []
  readonly #dueAt: (item: Item) => number
  #sweepAt = 64

  /** `dueAt`: when an item is due as of now, in milliseconds; Infinity for never (or no longer). */
  constructor(dueAt: (item: Item) => number) {
    this.#dueAt = dueAt
  }

  /** To be called whenever `dueAt(item)` may have changed. */
  update(item: Item): void {
    const at = this.#dueAt(item)
    if (at === Number.POSITIVE_INFINITY) return
    if (this.#heap.length >= this.#sweepAt) this.#sweep()
    this.#heap.push({ at, item })
    this.#rise(this.#heap.length - 1)
  }

  /** The earliest deadline, or undefined if there is none. */
  next(): number | undefined {
    this.#dropStale()
    return this.#heap[0]?.at
  }

  /** Takes an item that is due at `now` or earlier; the earliest first. */
  take(now: number): Item | undefined {
    this.#dropStale()
    const first = this.#heap[0]
    if (first === undefined || first.at > now) return undefined
    this.#pop()
    return first.item
  }

  #dropStale(): void {
    for (
      let first = this.#heap[0];
      first !== undefined && this.#dueAt(first.item) !== first.at;
      first = this.#heap[0]
    ) {
      this.#pop()
    }
  }

  #sweep(): void {
    const items = new Set<Item>()
    this.#heap = this.#heap.filter(({ at, item }) => {
      const live = this.#dueAt(item) === at && !items.has(item)
      if (live) items.add(item)
      return live
    })
    // A sorted list is a heap.
    this.#heap.sort((a, b) => a.at - b.at)
    this.#sweepAt = Math.max(64, 2 * this.#heap.length)
  }

  #pop(): void {
    const last = this.#heap.pop()
    if (last === undefined || this.#heap.length === 0) return
    this.#heap[0] = last
    this.#sink(0)
  }

  #rise(from: number): void {
    for (let index = from; index > 0; ) {
      const parent = (index - 1) >>> 1
      if (!this.#swapIfEarlier(index, parent)) return
      index = parent
    }
  }

  #sink(from: number): void {
    for (let index = from; ; ) {
      const left = 2 * index + 1
      const right = left + 1
      const smaller = this.#at(right) < this.#at(left) ? right : left
      if (!this.#swapIfEarlier(smaller, index)) return
      index = smaller
    }
  }

  #at(index: number): number {
    return this.#heap[index]?.at ?? Number.POSITIVE_INFINITY
  }

  #swapIfEarlier(below: number, above: number): boolean {
    const [lower, upper] = [this.#heap[below], this.#heap[above]]
    if (lower === undefined || upper === undefined || lower.at >= upper.at) return false
    this.#heap[above] = lower
    this.#heap[below] = upper
    return true
  }
}
