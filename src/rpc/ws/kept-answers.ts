// Answers to calls that are not idempotent, kept so that none is executed again when it comes again, because its answer was
// lost or late. A pure state machine.

export interface KeptAnswersLimits {
  /** Answers that are kept. */
  readonly entries?: number
  /** Bytes of answers that are kept. */
  readonly bytes?: number
}

export interface KeptAnswersEvents<K> {
  /** An answer is not kept any longer, for want of room. */
  evicted?(key: K): void
}

/** What an entry takes besides its answer. */
const ENTRY_BYTES = 256

export class KeptAnswers<K> {
  readonly #limits: Required<KeptAnswersLimits>
  readonly #evicted: (key: K) => void
  /** Calls whose answer is not known yet: as many as are in progress, which their connections limit. */
  readonly #busy = new Set<K>()
  /** Answers, the oldest first. */
  readonly #answers = new Map<K, Buffer>()
  #bytes = 0

  constructor(
    { entries = 4096, bytes = 8 * 1024 * 1024 }: KeptAnswersLimits = {},
    { evicted = () => {} }: KeptAnswersEvents<K> = {},
  ) {
    this.#limits = { entries, bytes }
    this.#evicted = evicted
  }

  get entries(): number {
    return this.#answers.size
  }

  get bytes(): number {
    return this.#bytes
  }

  /** A call came: execute it (`new`), forget it (`busy`: its answer will come), or send this answer again. */
  begin(key: K): 'new' | 'busy' | Buffer {
    if (this.#busy.has(key)) return 'busy'
    const answer = this.#answers.get(key)
    if (answer !== undefined) return answer
    this.#busy.add(key)
    return 'new'
  }

  /** The call was executed and answered so. */
  done(key: K, answer: readonly Buffer[]): void {
    this.#busy.delete(key)
    // A copy of its own: the chunks hold on to larger blocks.
    const copy = Buffer.concat(answer)
    this.#answers.set(key, copy)
    this.#bytes += copy.length + ENTRY_BYTES
    for (const [oldest, { length }] of this.#answers) {
      if (this.#answers.size <= this.#limits.entries && this.#bytes <= this.#limits.bytes) break
      this.#answers.delete(oldest)
      this.#bytes -= length + ENTRY_BYTES
      this.#evicted(oldest)
    }
  }

  /** Answers that nobody will ask for again, the oldest first, for as long as `isOver` says so. */
  drop(isOver: (key: K) => boolean): void {
    for (const [key, { length }] of this.#answers) {
      if (!isOver(key)) return
      this.#answers.delete(key)
      this.#bytes -= length + ENTRY_BYTES
    }
  }

  /** The call was not executed: if it comes again, it is new. */
  forget(key: K): void {
    this.#busy.delete(key)
  }
}
