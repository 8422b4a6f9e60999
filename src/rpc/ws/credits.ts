// Flow control of streams: the receiver grants bytes, the sender sends no more than it was granted. Pure.
import { ProtocolError } from './errors.ts'

/** What each stream may send at once, before anything was granted: as long as it is not more, opening costs no round trip. */
export const FIRST_WINDOW_BYTES = 256 * 1024
/** What a receiver grants a stream that it has read from, if its budget allows. */
export const WINDOW_BYTES = 4 * 1024 * 1024
/** A sender does not believe in more. */
const GRANTED_MAX_BYTES = 256 * 1024 * 1024

/** What a sender may still send. */
export class SendWindow {
  #available = FIRST_WINDOW_BYTES

  get available(): number {
    return this.#available
  }

  /** So many bytes are sent: no more than are available. */
  take(bytes: number): void {
    if (bytes > this.#available) throw new RangeError('more than is granted')
    this.#available -= bytes
  }

  /** ProtocolError for more than anybody grants. */
  grant(bytes: number): void {
    this.#available += bytes
    if (this.#available > GRANTED_MAX_BYTES) throw new ProtocolError('credit beyond all limits')
  }
}

/** Bytes that receivers may grant beyond the first windows: of one connection, and of all. */
export class WindowBudget {
  readonly #limit: number
  readonly #parent: WindowBudget | undefined
  #taken = 0

  constructor(limit: number, parent?: WindowBudget) {
    this.#limit = limit
    this.#parent = parent
  }

  get taken(): number {
    return this.#taken
  }

  take(bytes: number): boolean {
    if (this.#taken + bytes > this.#limit) return false
    if (this.#parent !== undefined && !this.#parent.take(bytes)) return false
    this.#taken += bytes
    return true
  }

  giveBack(bytes: number): void {
    this.#taken -= bytes
    this.#parent?.giveBack(bytes)
  }
}

/** What was granted to a stream that is received. At most `window` bytes are held or under way. */
export class ReceiveWindow {
  readonly #budget: WindowBudget
  #window = FIRST_WINDOW_BYTES
  /** Granted, and not received yet. */
  #expected = FIRST_WINDOW_BYTES
  /** Received, and not consumed. */
  #held = 0
  #ended = false

  constructor(budget: WindowBudget) {
    this.#budget = budget
  }

  get heldBytes(): number {
    return this.#held
  }

  /** ProtocolError if that is more than was granted. */
  received(bytes: number): void {
    if (bytes > this.#expected) throw new ProtocolError('a stream sends more than was granted')
    this.#expected -= bytes
    this.#held += bytes
  }

  /** So many bytes are dealt with. Returns what to grant now: little of it comes together with more, later. */
  consumed(bytes: number): number {
    this.#held -= bytes
    if (this.#ended) return 0
    if (this.#window < WINDOW_BYTES && this.#budget.take(WINDOW_BYTES - this.#window)) this.#window = WINDOW_BYTES
    const grant = this.#window - this.#expected - this.#held
    if (grant < this.#window / 4) return 0
    this.#expected += grant
    return grant
  }

  /** Nothing is granted from here on, and what was taken of the budget is given back. */
  end(): void {
    if (this.#ended) return
    this.#ended = true
    this.#budget.giveBack(this.#window - FIRST_WINDOW_BYTES)
    this.#window = FIRST_WINDOW_BYTES
  }
}
