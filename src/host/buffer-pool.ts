// Large buffers that are used again. A new one for each megabyte would cost more, in page faults and garbage collection,
// than to move the bytes.
import { type Clock, hostClock } from './clock.ts'

/** Less than this part of a buffer is not worth one: a fourth. */
const LEAST_PART = 4
/** A buffer that nobody needed for so long is let go. */
const IDLE_MS = 2000

export interface BufferPoolOptions {
  /** Of each buffer. */
  readonly bytes: number
  /** The most buffers that are kept while nobody uses them. How many are in use, those who take them limit. */
  readonly spare: number
  readonly clock?: Pick<Clock, 'after'>
}

/**
 * Lends buffers. Whoever is done with one gives it back; one that is forgotten is collected as any other memory, so only
 * who knows that nobody else looks at a buffer any more has to care.
 */
export class BufferPool {
  readonly bytes: number
  readonly #most: number
  readonly #clock: Pick<Clock, 'after'>
  readonly #spare: Buffer[] = []
  /** By their memory: what comes back may be a part. */
  readonly #lent = new WeakMap<ArrayBufferLike, Buffer>()
  /** The fewest that were spare since somebody last looked: so many were not needed. */
  #unneeded = 0
  #watched = false

  constructor({ bytes, spare, clock = hostClock() }: BufferPoolOptions) {
    this.bytes = bytes
    this.#most = spare
    this.#clock = clock
  }

  /**
   * At least so many bytes, with arbitrary content. A buffer of the pool is lent for what fills it to a fourth or more; for
   * less, and for what it has no room for, memory is made.
   */
  take(bytes: number): Buffer {
    if (bytes > this.bytes || bytes * LEAST_PART < this.bytes) return Buffer.allocUnsafeSlow(bytes)
    const buffer = this.#spare.pop() ?? Buffer.allocUnsafeSlow(this.bytes)
    this.#unneeded = Math.min(this.#unneeded, this.#spare.length)
    this.#lent.set(buffer.buffer, buffer)
    return buffer
  }

  /**
   * Nobody uses the buffer any more that `part` is a part of. What is none of this pool's, or was given back already, is
   * left alone.
   */
  give({ buffer: memory }: Uint8Array): void {
    const buffer = this.#lent.get(memory)
    if (buffer === undefined) return
    this.#lent.delete(memory)
    if (this.#spare.length >= this.#most) return
    this.#spare.push(buffer)
    if (!this.#watched) this.#watch()
  }

  #watch(): void {
    this.#watched = true
    this.#clock.after(IDLE_MS, () => {
      this.#watched = false
      this.#spare.splice(0, this.#unneeded)
      this.#unneeded = this.#spare.length
      if (this.#spare.length > 0) this.#watch()
    })
  }
}
