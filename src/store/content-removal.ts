// Removes the content of deleted inodes, a little later.
//
// The host may make the removal of a content file durable long before the journal's record of the deletion: after loss
// of power a file that was once fsynced would be there without its content, and `write new; rename over old` would
// have lost both. So content goes only after the journal has been synced past the deletion.
import { setImmediate } from 'node:timers/promises'
import type { Clock } from './clock.ts'

export interface ContentRemovalOptions {
  readonly clock: Clock
  readonly delayMs: number
  /** Resolves when all operations so far are durable. */
  readonly sync: () => Promise<void>
  /** Removes at once, which takes the host as long as the file is large. */
  readonly remove: (content: number) => void
  /** Removes off this thread. */
  readonly removeLater: (content: number) => Promise<void>
  readonly onBackgroundError: (error: Error) => void
}

/** Handing a file over to another thread costs more than removing a small one: up to this size it is not done. */
const SMALL_BYTES = 8 << 20
/** Small files removed in one go; then requests have their turn. */
const SLICE = 16

export class ContentRemoval {
  readonly #options: ContentRemovalOptions
  #small: number[] = []
  #large: number[] = []
  #cancelTimer: (() => void) | undefined
  #running: Promise<void> = Promise.resolve()
  /** Some content could not be removed. It is collected when the volume is opened as after a crash. */
  failed = false

  constructor(options: ContentRemovalOptions) {
    this.#options = options
  }

  /** `bytes`: its size. */
  add(content: number, bytes: number): void {
    const { clock, delayMs } = this.#options
    ;(bytes <= SMALL_BYTES ? this.#small : this.#large).push(content)
    this.#cancelTimer ??= clock.after(delayMs, () => void this.drain())
  }

  /** Removes everything that waits. Never rejects. */
  drain(): Promise<void> {
    this.#cancelTimer?.()
    this.#cancelTimer = undefined
    this.#running = this.#running.then(() => this.#removeWaiting())
    return this.#running
  }

  async #removeWaiting(): Promise<void> {
    const { sync, remove, removeLater, onBackgroundError } = this.#options
    const small = this.#small
    const large = this.#large
    if (small.length + large.length === 0) return
    this.#small = []
    this.#large = []
    try {
      await sync()
      for (let at = 0; at < small.length; at += SLICE) {
        for (const content of small.slice(at, at + SLICE)) remove(content)
        await setImmediate()
      }
      for (const content of large) await removeLater(content)
    } catch (error) {
      this.failed = true
      onBackgroundError(new Error('the content of deleted files stays', { cause: error }))
    }
  }
}
