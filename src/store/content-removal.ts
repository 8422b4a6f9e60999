// Removes the content of deleted inodes, a little later.
//
// The host may make the removal of a content file durable long before the journal's record of the deletion: after loss
// of power a file that was once fsynced would be there without its content, and `write new; rename over old` would
// have lost both. So content goes only after the journal has been synced past the deletion.
//
// Small files go a few at a time while nothing else is going on: whoever deletes a tree and makes another does not wait
// for the old one to be taken apart. That has limits: in time, and in what the deleted files hold.
import type { Clock } from '../host/clock.ts'

export interface ContentRemovalOptions {
  readonly clock: Clock
  /** How long content stays at least, in milliseconds: many deletions share one sync. */
  readonly delayMs: number
  /** How long removal may be put off while the volume is busy, in milliseconds. */
  readonly patienceMs: number
  /** Counts operations: as long as it grows, the volume is busy. */
  readonly operations: () => number
  /** Resolves when all operations so far are durable. */
  readonly sync: () => Promise<void>
  /** Removes at once, which takes the host as long as the file is large. */
  readonly remove: (content: number) => void
  /** Called when nothing is left to remove for now. */
  readonly removed: () => Promise<void>
  /** What else is better done while nothing goes on. Does a little of it unless `busy`; true if something is left. */
  readonly prepare: (busy: boolean) => boolean
  /** Removes off this thread. */
  readonly removeLater: (content: number) => Promise<void>
  readonly onBackgroundError: (error: Error) => void
}

/** Handing a file over to another thread costs more than removing a small one: up to this size it is not done. */
const SMALL_BYTES = 8 << 20
/** Small files removed in one go, and the time between two goes, in milliseconds. */
const SLICE = 256
const TICK_MS = 20
/** How many bytes removal may be put off for. */
const PATIENCE_BYTES = 64 << 20

export class ContentRemoval {
  readonly #options: ContentRemovalOptions
  /** Waiting for the journal. */
  #small: number[] = []
  #large: number[] = []
  #bytes = 0
  /** Small files whose deletion is durable. */
  #ready: number[] = []
  #readyBytes = 0
  #operations = 0
  #putOffMs = 0
  #cancelTimer: (() => void) | undefined
  #closed = false
  #running: Promise<void> = Promise.resolve()
  /** Some content could not be removed. It is collected when the volume is opened as after a crash. */
  failed = false

  constructor(options: ContentRemovalOptions) {
    this.#options = options
  }

  /** `bytes`: its size. */
  add(content: number, bytes: number): void {
    ;(bytes <= SMALL_BYTES ? this.#small : this.#large).push(content)
    this.#bytes += bytes
    this.#later(this.#options.delayMs)
  }

  /** There may be something to prepare. */
  stir(): void {
    this.#later(this.#options.delayMs)
  }

  /** Removes everything that waits. Never rejects. */
  drain(): Promise<void> {
    return this.#run(async () => {
      await this.#makeReady()
      this.#removeSmall(this.#ready.length)
    })
  }

  /** Removes everything that waits, and nothing after that. */
  close(): Promise<void> {
    this.#closed = true
    this.#cancelTimer?.()
    return this.drain()
  }

  #later(ms: number): void {
    if (this.#closed) return
    this.#cancelTimer ??= this.#options.clock.after(ms, () => {
      this.#cancelTimer = undefined
      void this.#run(() => this.#tick())
    })
  }

  #run(step: () => Promise<void>): Promise<void> {
    this.#running = this.#running.then(step).catch((cause) => {
      this.failed = true
      this.#options.onBackgroundError(new Error('the content of deleted files stays', { cause }))
    })
    return this.#running
  }

  async #tick(): Promise<void> {
    await this.#makeReady()
    const busy = this.#isBusy()
    if (!busy || this.#isOverdue()) this.#removeSmall(Math.max(SLICE, this.#ready.length >> 6))
    if (this.#ready.length === 0) await this.#options.removed()
    if (this.#closed) return
    if (this.#options.prepare(busy) || this.#ready.length > 0) this.#later(TICK_MS)
  }

  /** Waits for the journal; then removes what is large, and has the rest ready. */
  async #makeReady(): Promise<void> {
    const small = this.#small
    const large = this.#large
    const bytes = this.#bytes
    if (small.length + large.length === 0) return
    this.#small = []
    this.#large = []
    this.#bytes = 0
    await this.#options.sync()
    for (const content of large) await this.#options.removeLater(content)
    this.#ready = this.#ready.length === 0 ? small : this.#ready.concat(small)
    this.#readyBytes += bytes
  }

  /** Whether something happened since the last tick. */
  #isBusy(): boolean {
    const operations = this.#options.operations()
    const busy = operations !== this.#operations
    this.#operations = operations
    if (!busy) this.#putOffMs = 0
    return busy
  }

  /** Whether removal was put off for long enough. */
  #isOverdue(): boolean {
    if (this.#putOffMs >= this.#options.patienceMs || this.#readyBytes >= PATIENCE_BYTES) return true
    this.#putOffMs += TICK_MS
    return false
  }

  #removeSmall(count: number): void {
    for (const content of this.#ready.splice(0, count)) this.#options.remove(content)
    if (this.#ready.length > 0) return
    this.#readyBytes = 0
    this.#putOffMs = 0
  }
}
