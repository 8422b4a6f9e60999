// A set of bytes of a file, as ranges that neither overlap nor touch.

export interface ByteRange {
  readonly start: number
  /** Exclusive. */
  readonly end: number
}

export class ByteRanges {
  #ranges: ByteRange[] = []

  get count(): number {
    return this.#ranges.length
  }

  get bytes(): number {
    return this.overlap(0, Number.POSITIVE_INFINITY)
  }

  add(start: number, end: number): void {
    if (start >= end) return
    const last = this.#ranges.at(-1)
    // What comes in order costs nothing.
    if (last === undefined || start > last.end) {
      this.#ranges.push({ start, end })
      return
    }
    const touching = this.#ranges.filter((range) => range.start <= end && start <= range.end)
    const all = {
      start: Math.min(start, ...touching.map((range) => range.start)),
      end: Math.max(end, ...touching.map((range) => range.end)),
    }
    this.#ranges = [...this.#ranges.filter((range) => !touching.includes(range)), all].sort((a, b) => a.start - b.start)
  }

  remove(start: number, end: number): void {
    this.#ranges = this.#ranges.flatMap((range) =>
      [
        { start: range.start, end: Math.min(range.end, start) },
        { start: Math.max(range.start, end), end: range.end },
      ].filter((left) => left.start < left.end),
    )
  }

  has(at: number): boolean {
    return this.#ranges.some(({ start, end }) => start <= at && at < end)
  }

  /** How many bytes between `start` and `end` are in the set. */
  overlap(start: number, end: number): number {
    return this.within(start, end).reduce((sum, range) => sum + range.end - range.start, 0)
  }

  within(start: number, end: number): ByteRange[] {
    return this.#ranges
      .map((range) => ({ start: Math.max(range.start, start), end: Math.min(range.end, end) }))
      .filter((range) => range.start < range.end)
  }
}
