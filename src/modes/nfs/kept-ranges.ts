// The bytes of one file that the server may still lose, or has not got: sorted ranges that do not overlap, each with its
// data. Kept until they are on the server for good. It knows nothing of requests; write-behind decides about those.

/**
 * 'dirty': to be sent. 'sent': in a WRITE that is not answered. 'uncommitted': the server has it, but says itself that a
 * restart would lose it (UNSTABLE, RFC 1813 §3.3.7).
 */
export type KeptState = 'dirty' | 'sent' | 'uncommitted'

/** The server's write verifier: another one means that it restarted in between (RFC 1813 §3.3.7). 8 bytes, as a number. */
export type WriteVerifier = bigint

export interface KeptRange {
  /** First byte, and the one after the last. */
  start: number
  end: number
  /** The bytes, in order. Those of a range that is not dirty never change. */
  pieces: Uint8Array[]
  state: KeptState
  /** The WRITE that it is in, while 'sent'. */
  request: number
  /** What came with the answer, while 'uncommitted'. */
  verifier: WriteVerifier
  /** When it was answered, counted in events, while 'uncommitted'. */
  answered: number
  /** The oldest write(2), counted, that is not safe before this range is: also of older bytes that it took the place of. */
  since: number
  /** Room behind the last piece, into which appended bytes go. */
  spare: Uint8Array | undefined
}

/** Bytes at an offset of the file. */
export interface KeptBytes {
  readonly offset: number
  readonly bytes: Uint8Array
}

interface Written {
  /** See KeptRange. */
  readonly since: number
  /** The bytes need not be copied. */
  readonly keep: boolean
}

/** Appended bytes gather in pieces of this size, so that a file written byte by byte is not a million pieces. */
const GATHER_BYTES = 64 * 1024
const MIN_PIECE_BYTES = 4096

export class KeptRanges {
  readonly #ranges: KeptRange[] = []
  #oldest: KeptRange | undefined
  /**
   * Of pieces whose memory is wanted back. A piece that is cut is another one from then on, and its memory is left to the
   * garbage collector.
   */
  readonly #releases = new WeakMap<Uint8Array, () => void>()
  readonly #bytes: Record<KeptState, number> = { dirty: 0, sent: 0, uncommitted: 0 }

  /** Bytes in one state. */
  bytesIn(state: KeptState): number {
    return this.#bytes[state]
  }

  get bytes(): number {
    return this.#bytes.dirty + this.#bytes.sent + this.#bytes.uncommitted
  }

  get count(): number {
    return this.#ranges.length
  }

  /** Where the last kept byte ends; 0 if there is none. The file is at least as long. */
  get end(): number {
    return this.#ranges.at(-1)?.end ?? 0
  }

  /** The range that holds the byte at `position`. */
  at(position: number): KeptRange | undefined {
    const range = this.#ranges[this.#firstEndingAfter(position)]
    return range !== undefined && range.start <= position ? range : undefined
  }

  /** Sorted by start. Do not change the list while going through it. */
  all(): readonly KeptRange[] {
    return this.#ranges
  }

  /** The oldest write that is not safe; Infinity if all are. */
  oldest(): number {
    // What is written is newer than all that is kept: the oldest stays the oldest until its range is gone.
    const known = this.#oldest
    if (known !== undefined && this.at(known.start) === known) return known.since
    this.#oldest = undefined
    for (const range of this.#ranges) {
      if (this.#oldest === undefined || range.since < this.#oldest.since) this.#oldest = range
    }
    return this.#oldest?.since ?? Number.POSITIVE_INFINITY
  }

  /** The first dirty range that reaches beyond `position`. */
  nextDirty(position: number): KeptRange | undefined {
    for (let index = this.#firstEndingAfter(position); ; index++) {
      const range = this.#ranges[index]
      if (range === undefined || range.state === 'dirty') return range
    }
  }

  /** New bytes: dirty, in the place of what was there. They are copied unless there is a `release` (see WriteBehind). */
  write(offset: number, data: Uint8Array, since: number, release?: () => void): void {
    const end = offset + data.length
    const keep = release !== undefined
    let index = this.#firstEndingAfter(offset)
    for (let at = offset; at < end; ) {
      const range = this.#ranges[index]
      if (range === undefined || range.start > at) {
        const stop = Math.min(range?.start ?? end, end)
        index = this.#put(index, at, data.subarray(at - offset, stop - offset), { since, keep })
        at = stop
        continue
      }
      const stop = Math.min(range.end, end)
      const bytes = data.subarray(at - offset, stop - offset)
      if (range.state === 'dirty') {
        overwrite(range, at, bytes)
        index++
      } else {
        index = this.#take(index, at, stop)
        index = this.#put(index, at, bytes, { since: Math.min(since, range.since), keep })
      }
      at = stop
    }
    if (release !== undefined) {
      // Only if they are in one piece: who is done with a part of them knows nothing of the rest.
      const piece = this.at(offset)?.pieces.at(-1)
      if (piece?.buffer === data.buffer && piece.length === data.length) this.#releases.set(piece, release)
    }
    this.#mergeAround(offset, end)
  }

  /** Puts `[start, end)` of a dirty range into a WRITE. */
  send(range: KeptRange, start: number, end: number, request: number): KeptRange {
    const part = this.#cut(range, start, end)
    this.#change(part, 'sent')
    part.request = request
    part.spare = undefined
    return part
  }

  /**
   * Changes the state of the ranges between `start` and `end` for which `choose` names one; those that become dirty merge
   * with their neighbours. 'safe': the server has them for good; 'gone': they are given up, and may still be on their way.
   */
  turn(start: number, end: number, choose: (range: KeptRange) => KeptState | 'safe' | 'gone' | undefined): void {
    const first = this.#firstEndingAfter(start)
    const left: KeptRange[] = []
    let index = first
    for (; ; index++) {
      const range = this.#ranges[index]
      if (range === undefined || range.start >= end) break
      const next = choose(range)
      if (next === 'safe') this.#release(range)
      if (next === 'safe' || next === 'gone') {
        this.#bytes[range.state] -= range.end - range.start
        continue
      }
      if (next !== undefined) this.#change(range, next)
      left.push(range)
    }
    if (left.length < index - first) this.#ranges.splice(first, index - first, ...left)
    this.#mergeAround(start, end)
  }

  /** The memory of these bytes may be needed when they are safe. */
  neverRelease({ pieces }: KeptRange): void {
    for (const piece of pieces) this.#releases.delete(piece)
  }

  /** The ranges of one WRITE are cut at `position`, so that what is before it and what is after can be told apart. */
  splitSent(request: number, position: number): void {
    const range = this.#ranges[this.#firstEndingAfter(position)]
    if (range?.request === request && range.state === 'sent' && range.start < position) {
      this.#cut(range, position, range.end)
    }
  }

  /** Forgets everything from `size` on: the file ends there now. */
  truncate(size: number): void {
    const index = this.#firstEndingAfter(size)
    const first = this.#ranges[index]
    if (first === undefined) return
    if (first.start < size) this.#cut(first, size, first.end)
    this.turn(size, Number.POSITIVE_INFINITY, () => 'gone')
  }

  /** What is kept of a part of the file. References, not copies. */
  kept(offset: number, length: number): KeptBytes[] {
    const end = offset + length
    const found: KeptBytes[] = []
    for (let index = this.#firstEndingAfter(offset); ; index++) {
      const range = this.#ranges[index]
      if (range === undefined || range.start >= end) return found
      let at = range.start
      for (const piece of range.pieces) {
        const from = Math.max(offset, at)
        const to = Math.min(end, at + piece.length)
        if (from < to) found.push({ offset: from, bytes: piece.subarray(from - at, to - at) })
        at += piece.length
      }
    }
  }

  /** New dirty bytes where nothing is; returns the index behind them. */
  #put(index: number, start: number, bytes: Uint8Array, { since, keep }: Written): number {
    this.#bytes.dirty += bytes.length
    const before = this.#ranges[index - 1]
    if (before !== undefined && before.state === 'dirty' && before.end === start) {
      append(before, bytes, keep)
      before.since = Math.min(before.since, since)
      return index
    }
    const range: KeptRange = {
      start,
      end: start + bytes.length,
      pieces: [keep ? bytes : Buffer.from(bytes)],
      state: 'dirty',
      request: 0,
      verifier: 0n,
      answered: 0,
      since,
      spare: undefined,
    }
    this.#ranges.splice(index, 0, range)
    return index + 1
  }

  /** Removes `[start, end)` from the range at `index`; returns the index of where it was. */
  #take(index: number, start: number, end: number): number {
    const range = this.#ranges[index]
    if (range === undefined) return index
    const part = this.#cut(range, start, end)
    const at = this.#ranges.indexOf(part, index)
    this.#bytes[part.state] -= end - start
    this.#ranges.splice(at, 1)
    return at
  }

  /** Makes `[start, end)` of a range a range of its own. */
  #cut(range: KeptRange, start: number, end: number): KeptRange {
    let part = range
    if (start > part.start) part = this.#splitAt(part, start)
    if (end < part.end) this.#splitAt(part, end)
    return part
  }

  /** Cuts a range in two; returns the second. */
  #splitAt(range: KeptRange, position: number): KeptRange {
    const [left, right] = splitPieces(range.pieces, position - range.start)
    const second: KeptRange = { ...range, start: position, pieces: right }
    range.end = position
    range.pieces = left
    // Behind the left part now come the bytes of the right one.
    range.spare = undefined
    this.#ranges.splice(this.#ranges.indexOf(range, this.#firstEndingAfter(range.start)) + 1, 0, second)
    return second
  }

  #release({ pieces }: KeptRange): void {
    for (const piece of pieces) {
      this.#releases.get(piece)?.()
      this.#releases.delete(piece)
    }
  }

  #change(range: KeptRange, state: KeptState): void {
    const length = range.end - range.start
    this.#bytes[range.state] -= length
    this.#bytes[state] += length
    range.state = state
  }

  #mergeAround(start: number, end: number): void {
    let index = Math.max(1, this.#firstEndingAfter(start - 1))
    for (;;) {
      const left = this.#ranges[index - 1]
      const right = this.#ranges[index]
      if (left === undefined || right === undefined || left.start > end) return
      if (left.state === 'dirty' && right.state === 'dirty' && left.end === right.start) {
        join(left, right)
        this.#ranges.splice(index, 1)
      } else {
        index++
      }
    }
  }

  /** Index of the first range that ends behind `position`. */
  #firstEndingAfter(position: number): number {
    let low = 0
    let high = this.#ranges.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#ranges[middle]?.end ?? 0) <= position) low = middle + 1
      else high = middle
    }
    return low
  }
}

/** What the server sent of a part of the file, with what is kept over it. The result is longer where kept bytes are. */
export function overlay(
  read: { readonly offset: number; readonly bytes: Uint8Array },
  ...layers: readonly (readonly KeptBytes[])[]
): Uint8Array {
  const kept = layers.flat()
  if (kept.length === 0) return read.bytes
  const length = Math.max(read.bytes.length, ...kept.map(({ offset, bytes }) => offset + bytes.length - read.offset))
  // What neither has is a hole: zeros.
  const result = new Uint8Array(length)
  result.set(read.bytes)
  for (const { offset, bytes } of kept) result.set(bytes, offset - read.offset)
  return result
}

/** Whether kept bytes are all of a part of the file: the server need not be asked. They are sorted. */
export function covers(kept: readonly KeptBytes[], offset: number, length: number): boolean {
  let at = offset
  for (const piece of kept) {
    if (piece.offset > at) return false
    at = piece.offset + piece.bytes.length
  }
  return at >= offset + length
}

/** Only dirty ranges: nobody else refers to their bytes but reads, which may see the new ones. */
function overwrite(range: KeptRange, offset: number, bytes: Uint8Array): void {
  let at = range.start
  const end = offset + bytes.length
  for (const piece of range.pieces) {
    const from = Math.max(offset, at)
    const to = Math.min(end, at + piece.length)
    if (from < to) piece.set(bytes.subarray(from - offset, to - offset), from - at)
    at += piece.length
    if (at >= end) return
  }
}

function append(range: KeptRange, bytes: Uint8Array, kept: boolean): void {
  if (kept) {
    range.pieces.push(bytes)
    range.spare = undefined
    range.end += bytes.length
    return
  }
  let rest = bytes
  const { spare } = range
  if (spare !== undefined && spare.length > 0) {
    const length = Math.min(spare.length, rest.length)
    spare.set(rest.subarray(0, length))
    const last = range.pieces.pop() as Uint8Array
    // The spare room lies right behind the last piece, in the same memory.
    range.pieces.push(new Uint8Array(last.buffer, last.byteOffset, last.length + length))
    range.spare = spare.subarray(length)
    rest = rest.subarray(length)
  }
  if (rest.length > 0) {
    const room = Math.min(GATHER_BYTES, Math.max(MIN_PIECE_BYTES, range.end - range.start))
    const piece = Buffer.allocUnsafe(Math.max(rest.length, room))
    piece.set(rest)
    range.pieces.push(piece.subarray(0, rest.length))
    range.spare = piece.subarray(rest.length)
  }
  range.end += bytes.length
}

function join(left: KeptRange, right: KeptRange): void {
  for (const piece of right.pieces) left.pieces.push(piece)
  left.end = right.end
  left.since = Math.min(left.since, right.since)
  left.spare = right.spare
}

function splitPieces(pieces: readonly Uint8Array[], at: number): [Uint8Array[], Uint8Array[]] {
  let left = at
  for (const [index, piece] of pieces.entries()) {
    if (left < piece.length) {
      if (left === 0) return [pieces.slice(0, index), pieces.slice(index)]
      return [
        [...pieces.slice(0, index), piece.subarray(0, left)],
        [piece.subarray(left), ...pieces.slice(index + 1)],
      ]
    }
    left -= piece.length
  }
  return [[...pieces], []]
}
