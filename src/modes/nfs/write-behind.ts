// What happens to the bytes that programs write to one file, until the server has them for good: when they are sent, in
// which requests, what is sent again, and who hears of errors. Events in, effects out; no sockets and no timers.
//
// write(2) only keeps the bytes. They go out in WRITEs of the largest size as soon as one is full, else at fsync, close,
// or when memory is short; UNSTABLE, so that the server need not write to its disk each time (RFC 1813 §3.3.7), and then
// COMMIT (§3.3.21). Each answer carries the server's write verifier. Only if that of the COMMIT is the one that came with
// a WRITE are its bytes safe; else the server has restarted and may have lost them, and they are sent again from memory.
//
// Order: a server may execute requests in any order, so no two that are under way at once may touch the same bytes.
import type { ErrnoName } from '../../posix/errors.ts'
import type { Handle } from '../../vfs/filesystem.ts'
import { type KeptBytes, type KeptRange, KeptRanges, type WriteVerifier } from './kept-ranges.ts'
import type { WriteBudget } from './write-budget.ts'
import type { FlushDepth, Stability, WriteBehindOptions, WriteEffect, WriteFacts } from './write-types.ts'

interface Flush {
  readonly ticket: number
  readonly handle: Handle
  /** Waits for the writes up to this one. */
  readonly upTo: number
  readonly depth: FlushDepth
  /** The last WRITE of all that it waits for, once they are under way. What is written over them later is not waited for. */
  lastSent: number | undefined
}

interface SentWrite {
  readonly start: number
  readonly end: number
}

interface WriteAnswer {
  readonly count: number
  readonly committed: Stability
  readonly verifier: WriteVerifier
  /** The WRITE was sent more than once: its bytes may still be on their way when this answer has come. */
  readonly repeated?: boolean
}

interface SentCommit {
  readonly request: number
  /** Covers what was answered before it was sent. */
  readonly sentAt: number
  readonly start: number
  readonly end: number
}

/** A WRITE that ends at a boundary before it is full is worth sending from this size on. */
const WORTH_SENDING_BYTES = 64 * 1024
/** Many small ranges cost more than their bytes. */
const MAX_RANGES = 16_384
/** Of a flush that reports errors to nobody: they are kept for the handles. */
export const NO_HANDLE: Handle = -1
/** COMMIT counts in 32 bits. */
const MAX_COUNT = 2 ** 32 - 1

export class WriteBehind {
  readonly #writeBytes: number
  readonly #maxBytes: number
  readonly #maxUnderWay: number
  readonly #budget: WriteBudget
  readonly #ranges = new KeptRanges()
  readonly #sent = new Map<number, SentWrite>()
  #commit: SentCommit | undefined
  #flushes: Flush[] = []
  #truncation: { readonly size: number; sent: boolean } | undefined
  /** The error that each open handle has still to hear of. */
  readonly #handles = new Map<Handle, ErrnoName | undefined>()
  /** An error that nobody was there to hear of: whoever comes next does. */
  #unheard: ErrnoName | undefined
  /** Up to where it last sent. */
  #cursor = 0
  #lastWrite = 0
  #lastRequest = 0
  #events = 0
  #counted = 0
  #effects: WriteEffect[] = []

  constructor({ writeBytes, budget, maxBytes = 64 * 1024 * 1024, maxUnderWay = 16 }: WriteBehindOptions) {
    this.#writeBytes = writeBytes
    this.#budget = budget
    this.#maxBytes = maxBytes
    this.#maxUnderWay = maxUnderWay
  }

  /** A handle hears of the errors that occur while it is open. */
  opened(handle: Handle): void {
    this.#handles.set(handle, this.#unheard)
    this.#unheard = undefined
  }

  closed(handle: Handle): void {
    const unheard = this.#handles.get(handle)
    this.#handles.delete(handle)
    if (this.#handles.size === 0) this.#unheard ??= unheard
  }

  /** Whether a program may write now. If not, wait for 'freed' of any file, and have all files `relieve`. */
  admits(): boolean {
    const room = this.#ranges.bytes < this.#maxBytes && this.#ranges.count < MAX_RANGES && !this.#budget.full
    return room && this.#truncation === undefined
  }

  /** Nothing is kept and nothing is under way. */
  get idle(): boolean {
    return this.#ranges.count === 0 && this.#sent.size === 0 && this.#commit === undefined
  }

  /** Nobody has it open, and nobody has to hear of an error. */
  get unwatched(): boolean {
    return this.#handles.size === 0 && this.#unheard === undefined
  }

  /** All that was written has reached the server, committed or not. */
  get settled(): boolean {
    return this.#ranges.bytesIn('dirty') === 0 && this.#sent.size === 0
  }

  /** The file is at least so long, whatever the server says. */
  get end(): number {
    return this.#ranges.end
  }

  /** What a read has to see over the server's bytes; look before asking the server and again after (`overlay`). */
  kept(offset: number, length: number): KeptBytes[] {
    return this.#ranges.kept(offset, length)
  }

  facts(): WriteFacts {
    const [dirtyBytes, sentBytes, uncommittedBytes] = (['dirty', 'sent', 'uncommitted'] as const).map((state) =>
      this.#ranges.bytesIn(state),
    )
    return { dirtyBytes: dirtyBytes ?? 0, sentBytes: sentBytes ?? 0, uncommittedBytes: uncommittedBytes ?? 0 }
  }

  /**
   * A program wrote; `admits` said that it may. The bytes are copied, unless there is a `release`: then they stay as they
   * are, and when nobody needs them any more it is called. It is not if that cannot be known, or if they were taken apart.
   */
  write(offset: number, data: Uint8Array, release?: () => void): readonly WriteEffect[] {
    if (this.#truncation !== undefined) throw new Error('a write while the file is truncated')
    if (data.length === 0) return []
    this.#ranges.write(offset, data, ++this.#lastWrite, release)
    return this.#step(this.#ranges.at(offset))
  }

  /** close(2) and fsync(2): 'flushed' comes when everything that was written until now got so far, or has failed. */
  flush(handle: Handle, depth: FlushDepth): { readonly ticket: number; readonly effects: readonly WriteEffect[] } {
    return { ticket: this.#wait(handle, depth), effects: this.#step() }
  }

  /** Whoever flushed does not wait any more (FUSE_INTERRUPT). Errors are kept for the next flush. */
  abandon(ticket: number): void {
    this.#flushes = this.#flushes.filter((flush) => flush.ticket !== ticket)
  }

  /** Memory of the mount is short, or was: send and commit what the budget asks for. */
  relieve(): readonly WriteEffect[] {
    return this.#step()
  }

  /** truncate(2), one at a time: 'truncate' comes when nothing beyond `size` is on its way. Nobody may write until then. */
  truncate(size: number): readonly WriteEffect[] {
    if (this.#truncation !== undefined) throw new Error('a truncation while the file is truncated')
    this.#truncation = { size, sent: false }
    return this.#step()
  }

  /** The SETATTR of a truncation was answered; `ok`: with success. */
  truncated(ok: boolean): readonly WriteEffect[] {
    if (ok && this.#truncation !== undefined) this.#ranges.truncate(this.#truncation.size)
    this.#truncation = undefined
    this.#effects.push({ type: 'freed' })
    return this.#step()
  }

  /** A WRITE was answered. `count` may be less than what was sent: the rest is sent again. */
  written(request: number, answer: WriteAnswer): readonly WriteEffect[] {
    const sent = this.#sent.get(request)
    if (sent === undefined) return []
    // A server that takes nothing and calls that success would be asked for ever.
    if (answer.count <= 0) return this.failed(request, 'EIO')
    this.#sent.delete(request)
    const taken = sent.start + answer.count
    if (taken < sent.end) {
      this.#ranges.splitSent(request, taken)
      this.#sendAgain()
    }
    const answered = ++this.#events
    this.#ranges.turn(sent.start, sent.end, (range) => {
      if (range.state !== 'sent' || range.request !== request) return undefined
      if (answer.repeated) this.#ranges.neverRelease(range)
      if (range.start >= taken) return 'dirty'
      // It may promise more than was asked for, not less; believe what it says.
      if (answer.committed !== 'unstable') return 'safe'
      range.verifier = answer.verifier
      range.answered = answered
      return 'uncommitted'
    })
    return this.#step()
  }

  /** A COMMIT was answered. */
  committed(request: number, verifier: WriteVerifier): readonly WriteEffect[] {
    const commit = this.#takeCommit(request)
    if (commit === undefined) return []
    let isLost = false
    this.#ranges.turn(commit.start, commit.end, (range) => {
      if (!isCovered(range, commit)) return undefined
      if (range.verifier === verifier) return 'safe'
      isLost = true
      return 'dirty'
    })
    // The server has restarted: what it had it is to have again, even if nobody waits for that.
    if (isLost) this.#wait(NO_HANDLE, 'server')
    return this.#step()
  }

  /** A WRITE or COMMIT failed for good: its bytes are given up, and who has the file open hears of it. */
  failed(request: number, error: ErrnoName): readonly WriteEffect[] {
    const commit = this.#takeCommit(request)
    const { start, end } = commit ?? this.#sent.get(request) ?? { start: 0, end: 0 }
    if (commit === undefined && !this.#sent.delete(request)) return []
    this.#ranges.turn(start, end, (range) => {
      const inWrite = range.state === 'sent' && range.request === request
      if (!inWrite && !(commit !== undefined && isCovered(range, commit))) return undefined
      this.#effects.push({ type: 'lost', offset: range.start, length: range.end - range.start })
      return 'gone'
    })
    if (this.#handles.size === 0) this.#unheard ??= error
    for (const [handle, earlier] of this.#handles) this.#handles.set(handle, earlier ?? error)
    return this.#step()
  }

  /** A WRITE or COMMIT was not executed, or nobody knows: it is sent again now. Wait before, if the server asked for that. */
  retry(request: number): readonly WriteEffect[] {
    if (this.#takeCommit(request) === undefined) {
      const sent = this.#sent.get(request)
      if (sent === undefined) return []
      this.#sent.delete(request)
      this.#ranges.turn(sent.start, sent.end, (range) => {
        if (range.state !== 'sent' || range.request !== request) return undefined
        this.#ranges.neverRelease(range)
        return 'dirty'
      })
      this.#sendAgain()
    }
    return this.#step()
  }

  #wait(handle: Handle, depth: FlushDepth): number {
    const ticket = ++this.#lastRequest
    this.#flushes.push({ ticket, handle, upTo: this.#lastWrite, depth, lastSent: undefined })
    return ticket
  }

  #takeCommit(request: number): SentCommit | undefined {
    const commit = this.#commit
    if (commit?.request !== request) return undefined
    this.#commit = undefined
    return commit
  }

  /** After each event: what is to be done now. `written`: nothing else has changed but this range. */
  #step(written?: KeptRange): readonly WriteEffect[] {
    this.#sendWrites(written)
    this.#sendTruncation()
    // First those that are over: the next one may need a COMMIT.
    this.#endFlushes()
    this.#sendCommit()
    const growth = this.#ranges.bytes - this.#counted
    this.#counted = this.#ranges.bytes
    this.#budget.add(growth)
    if (growth < 0) this.#effects.push({ type: 'freed' })
    const effects = this.#effects
    this.#effects = []
    return effects
  }

  #sendWrites(written: KeptRange | undefined): void {
    if (this.#ranges.bytesIn('dirty') === 0 || this.#truncation?.sent) return
    const wanted = this.#wanted()
    if (wanted === undefined && written !== undefined) {
      this.#sendRange(written.start, written.end, wanted)
      return
    }
    // Goes on where it last sent, and round once: from the start each time would look at all that is there already.
    const from = this.#cursor
    for (const [start, end] of [
      [from, Number.POSITIVE_INFINITY],
      [0, from],
    ] as const) {
      for (let at = start; at < end; ) {
        const range = this.#ranges.nextDirty(at)
        if (range === undefined || range.start >= end) break
        at = range.end
        if (!this.#sendRange(range.start, range.end, wanted)) return
      }
    }
  }

  /** Sends what is to go of a dirty range. False: no more can be under way. */
  #sendRange(start: number, end: number, wanted: ((start: number, end: number) => boolean) | undefined): boolean {
    for (let at = start; at < end; ) {
      if (this.#sent.size >= this.#maxUnderWay) return false
      const boundary = at - (at % this.#writeBytes) + this.#writeBytes
      const stop = Math.min(end, boundary)
      const full = stop === boundary && stop - at >= Math.min(WORTH_SENDING_BYTES, this.#writeBytes)
      if ((full || wanted?.(at, stop)) && !this.#overlapsSent(at, stop)) {
        this.#sendWrite(at, stop)
        this.#cursor = stop
      }
      at = stop
    }
    return true
  }

  /** Which dirty bytes somebody waits for; undefined: none. */
  #wanted(): ((start: number, end: number) => boolean) | undefined {
    if (this.#budget.pressed || this.#ranges.bytes * 2 >= this.#maxBytes || this.#ranges.count * 2 >= MAX_RANGES) {
      return () => true
    }
    let upTo = 0
    for (const flush of this.#flushes) upTo = Math.max(upTo, flush.upTo)
    const { size } = this.#truncation ?? { size: Number.POSITIVE_INFINITY }
    if (upTo === 0 && this.#ranges.end <= size) return undefined
    return (start, end) => end > size || (this.#ranges.at(start)?.since ?? Number.POSITIVE_INFINITY) <= upTo
  }

  #sendWrite(start: number, end: number): void {
    const range = this.#ranges.at(start)
    if (range === undefined) return
    const request = ++this.#lastRequest
    const stability = this.#isLast(end - start) ? 'fileSync' : 'unstable'
    const { pieces } = this.#ranges.send(range, start, end, request)
    this.#sent.set(request, { start, end })
    this.#effects.push({ type: 'write', request, offset: start, length: end - start, pieces: [...pieces], stability })
  }

  /** Somebody waits for this WRITE and nothing else: one that is stable at once saves the COMMIT. */
  #isLast(length: number): boolean {
    const { dirtyBytes, sentBytes, uncommittedBytes } = this.facts()
    if (dirtyBytes !== length || sentBytes > 0 || uncommittedBytes > 0) return false
    const depths = this.#flushes.map(({ depth }) => depth)
    return depths.length > 0 && !depths.includes('committed')
  }

  #overlapsSent(start: number, end: number): boolean {
    for (const sent of this.#sent.values()) if (sent.start < end && start < sent.end) return true
    return false
  }

  #sendTruncation(): void {
    const truncation = this.#truncation
    if (truncation === undefined || truncation.sent) return
    const { size } = truncation
    for (const { end } of this.#sent.values()) if (end > size) return
    // What is uncommitted beyond it may go; what is dirty must not come after it, and is not given up before it succeeds.
    if (this.#ranges.all().some(({ state, end }) => state === 'dirty' && end > size)) return
    truncation.sent = true
    this.#effects.push({ type: 'truncate', size })
  }

  #sendCommit(): void {
    if (this.#commit !== undefined || this.#ranges.bytesIn('uncommitted') === 0) return
    if (!this.#isCommitDue()) return
    const uncommitted = this.#ranges.all().filter(({ state }) => state === 'uncommitted')
    const start = uncommitted[0]?.start ?? 0
    const end = uncommitted.at(-1)?.end ?? 0
    const request = ++this.#lastRequest
    this.#commit = { request, sentAt: this.#events, start, end }
    const length = end - start > MAX_COUNT ? 0 : end - start
    this.#effects.push({ type: 'commit', request, offset: start, length })
  }

  #isCommitDue(): boolean {
    // Memory is short: what the server has need not be kept much longer.
    const much = this.#ranges.bytesIn('uncommitted') * 4 >= this.#maxBytes || this.#ranges.count * 2 >= MAX_RANGES
    if (much || this.#budget.pressed) return true
    const flush = this.#flushes.find(({ depth }) => depth !== 'server')
    if (flush === undefined) return false
    const { upTo } = flush
    // Everything that is not there yet is waited for.
    if (upTo === this.#lastWrite && this.#ranges.bytesIn('dirty') + this.#ranges.bytesIn('sent') > 0) return false
    // One COMMIT for all that a flush waits for, when all of it is there.
    let due = false
    for (const { state, since } of this.#ranges.all()) {
      if (since > upTo) continue
      if (state !== 'uncommitted') return false
      due = true
    }
    return due
  }

  #endFlushes(): void {
    if (this.#flushes.length === 0) return
    const waiting: Flush[] = []
    for (const flush of this.#flushes) {
      if (!this.#isOver(flush)) {
        waiting.push(flush)
        continue
      }
      const error = this.#handles.get(flush.handle)
      if (error !== undefined) this.#handles.set(flush.handle, undefined)
      const { ticket } = flush
      this.#effects.push(error === undefined ? { type: 'flushed', ticket } : { type: 'flushed', ticket, error })
    }
    this.#flushes = waiting
  }

  #isOver(flush: Flush): boolean {
    if (this.#ranges.oldest() > flush.upTo) return true
    if (flush.depth !== 'server') return false
    if (flush.lastSent === undefined && !this.#isDirtySince(flush.upTo)) flush.lastSent = this.#lastRequest
    return flush.lastSent !== undefined && !this.#isUnderWay(flush.lastSent)
  }

  /** Bytes of a WRITE have to be sent again. */
  #sendAgain(): void {
    for (const flush of this.#flushes) flush.lastSent = undefined
  }

  #isDirtySince(upTo: number): boolean {
    return this.#ranges.all().some(({ state, since }) => state === 'dirty' && since <= upTo)
  }

  #isUnderWay(lastSent: number): boolean {
    for (const request of this.#sent.keys()) if (request <= lastSent) return true
    return false
  }
}

function isCovered(range: KeptRange, commit: SentCommit): boolean {
  if (range.state !== 'uncommitted' || range.answered > commit.sentAt) return false
  return range.start >= commit.start && range.end <= commit.end
}
