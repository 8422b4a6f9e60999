// Calls that this side made and that are not over: which may be sent now, and which again over the next connection. A pure
// state machine.

/** What is known here of a call. */
export interface Pending {
  /** Grows from call to call. */
  readonly id: number
  /** It may be executed as often as it comes. */
  readonly idempotent: boolean
  /** What belongs to it can be sent again from its beginning. */
  readonly repeatable: boolean
  /** How often it was sent. */
  transmissions: number
  /** The answer is here, and its bytes are coming. */
  answered: boolean
  /** Nobody waits for the answer, but the other side is still busy with it. */
  abandoned: boolean
}

export class PendingCalls<C extends Pending> {
  /** How many the other side takes at the same time. */
  #limit: number
  /** Those that were not sent over this connection, the oldest first. */
  readonly #queued = new Map<number, C>()
  /** Those that were, in the order in which they were sent. */
  readonly #sent = new Map<number, C>()

  constructor(limit: number) {
    this.#limit = limit
  }

  set limit(limit: number) {
    this.#limit = limit
  }

  /** All that somebody waits for. */
  *[Symbol.iterator](): IterableIterator<C> {
    for (const call of this.#sent.values()) if (!call.abandoned) yield call
    yield* this.#queued.values()
  }

  get isEmpty(): boolean {
    return this.#queued.size === 0 && this.#sent.size === 0
  }

  /** Those that the other side is busy with, as far as is known here. */
  get inFlight(): number {
    return this.#sent.size
  }

  /** There are answers to all calls below, or nobody waits for them; `next` if there is none. */
  floor(next: number): number {
    let floor = next
    // In the order of their ids, but for repetitions, which come before all others.
    for (const calls of [this.#sent, this.#queued]) {
      for (const { id } of calls.values()) {
        floor = Math.min(floor, id)
        break
      }
    }
    return floor
  }

  add(call: C): void {
    this.#queued.set(call.id, call)
  }

  /** The next one that may be sent now: it is in flight from here on. */
  next(): C | undefined {
    if (this.#sent.size >= this.#limit) return undefined
    for (const [id, call] of this.#queued) {
      this.#queued.delete(id)
      this.#sent.set(id, call)
      call.transmissions++
      return call
    }
    return undefined
  }

  /** A call that is in flight. */
  get(id: number): C | undefined {
    return this.#sent.get(id)
  }

  /** It is over. */
  finish(id: number): void {
    this.#sent.delete(id)
  }

  /** Nobody waits for it any more. True if the other side is to be told so: until it has answered, the call counts. */
  abandon(call: C): boolean {
    if (this.#queued.delete(call.id) || !this.#sent.has(call.id)) return false
    call.abandoned = true
    return true
  }

  /** The connection is gone. Returns those that fail with it; the others wait for the next one. */
  lost(repeat: boolean): C[] {
    const failed: C[] = []
    const again: C[] = []
    for (const call of this.#sent.values()) {
      if (call.abandoned) continue
      if (repeat && call.repeatable && !call.answered) again.push(call)
      else failed.push(call)
    }
    this.#sent.clear()
    if (again.length === 0) return failed
    const later = [...this.#queued.values()]
    this.#queued.clear()
    for (const call of [...again, ...later]) this.#queued.set(call.id, call)
    return failed
  }

  /**
   * There is a connection again. Unless the other side remembers what it was called, those fail that it may have executed
   * and that must not be executed twice.
   */
  resumed(remembered: boolean): C[] {
    if (remembered) return []
    const failed = [...this.#queued.values()].filter(
      ({ idempotent, transmissions }) => !idempotent && transmissions > 0,
    )
    for (const { id } of failed) this.#queued.delete(id)
    return failed
  }
}
