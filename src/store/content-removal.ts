// Removes the content of deleted inodes, a little later.
//
// The host may make the removal of a content file durable long before the journal's record of the deletion: after loss
// of power a file that was once fsynced would be there without its content, and `write new; rename over old` would
// have lost both. So content goes only after the journal has been synced past the deletion.
import type { Clock } from './clock.ts'

export interface ContentRemovalOptions {
  readonly clock: Clock
  readonly delayMs: number
  /** Resolves when all operations so far are durable. */
  readonly sync: () => Promise<void>
  readonly remove: (content: number) => Promise<void>
  readonly onBackgroundError: (error: Error) => void
}

/** Removals under way at once. */
const PARALLEL = 4

export class ContentRemoval {
  readonly #options: ContentRemovalOptions
  #waiting: number[] = []
  #cancelTimer: (() => void) | undefined
  #running: Promise<void> = Promise.resolve()

  constructor(options: ContentRemovalOptions) {
    this.#options = options
  }

  add(content: number): void {
    this.#waiting.push(content)
    this.#cancelTimer ??= this.#options.clock.after(this.#options.delayMs, () => void this.drain())
  }

  /** Some content could not be removed. It is collected when the volume is opened as after a crash. */
  failed = false

  /** Removes everything that waits. Never rejects. */
  drain(): Promise<void> {
    this.#cancelTimer?.()
    this.#cancelTimer = undefined
    this.#running = this.#running.then(() => this.#removeWaiting())
    return this.#running
  }

  async #removeWaiting(): Promise<void> {
    const contents = this.#waiting
    if (contents.length === 0) return
    this.#waiting = []
    try {
      await this.#options.sync()
      const next = contents.values()
      await Promise.all(Array.from({ length: PARALLEL }, () => this.#removeEach(next)))
    } catch (error) {
      this.failed = true
      this.#options.onBackgroundError(new Error('the content of deleted files stays', { cause: error }))
    }
  }

  async #removeEach(contents: Iterator<number>): Promise<void> {
    for (let next = contents.next(); !next.done; next = contents.next()) await this.#options.remove(next.value)
  }
}
