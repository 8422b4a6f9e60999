// Calls that wait for an answer, and when to send them again: `timeo`, `retrans`, `hard` and `soft` as nfs(5) has them.
// A pure state machine: now comes in, what to do goes out.

export interface RetryOptions {
  /** How long to wait for an answer before the first retransmission. */
  readonly timeoMs: number
  /** Retransmissions before a major timeout: the server is said not to respond. */
  readonly retrans: number
  /** Waits grow up to this. */
  readonly maxTimeoMs: number
  /** Each wait is longer than the one before: by `timeoMs`, or twice as long. */
  readonly backoff: 'linear' | 'exponential'
  /** After a major timeout a hard call begins anew, a soft one fails. */
  readonly hard: boolean
}

/** What Linux does over TCP: 60 s, then 120 s, then 180 s until the major timeout. */
export const TCP_RETRY: RetryOptions = {
  timeoMs: 60_000,
  retrans: 2,
  maxTimeoMs: 600_000,
  backoff: 'linear',
  hard: true,
}

/** What Linux does over UDP: 1.1 s, doubled three times until the major timeout. */
export const UDP_RETRY: RetryOptions = {
  timeoMs: 1100,
  retrans: 3,
  maxTimeoMs: 60_000,
  backoff: 'exponential',
  hard: true,
}

/** What is known here of a call. */
export interface Waiting {
  readonly xid: number
  /** Retransmissions since the beginning, or since the last major timeout. */
  tries: number
  majorTimeouts: number
  timeoutMs: number
  /** When it is to be sent again, or given up. */
  dueAt: number
}

export type WaitingState = Omit<Waiting, 'xid'>

/** What is to be done at a deadline. */
export interface Expired<C extends Waiting> {
  readonly resend: readonly C[]
  /** Soft calls that are given up. */
  readonly failed: readonly C[]
  /** Those of the above that had a major timeout. */
  readonly major: readonly C[]
}

export class PendingCalls<C extends Waiting> {
  readonly #options: RetryOptions
  /** In the order in which they were made. */
  readonly #calls = new Map<number, C>()
  /** No call is due before. */
  #nextAt = Number.POSITIVE_INFINITY

  constructor(options: RetryOptions) {
    this.#options = options
  }

  get size(): number {
    return this.#calls.size
  }

  /** When `expire` has something to do: not before, but it may turn out to be nothing. */
  get nextAt(): number {
    return this.#calls.size === 0 ? Number.POSITIVE_INFINITY : this.#nextAt
  }

  [Symbol.iterator](): IterableIterator<C> {
    return this.#calls.values()
  }

  has(xid: number): boolean {
    return this.#calls.has(xid)
  }

  /** How a call begins to wait. */
  begin(now: number): WaitingState {
    const { timeoMs } = this.#options
    return { tries: 0, majorTimeouts: 0, timeoutMs: timeoMs, dueAt: now + timeoMs }
  }

  add(call: C): void {
    this.#calls.set(call.xid, call)
    this.#nextAt = Math.min(this.#nextAt, call.dueAt)
  }

  /** The call is answered, or nobody waits for it any more. */
  take(xid: number): C | undefined {
    const call = this.#calls.get(xid)
    if (call !== undefined) this.#calls.delete(xid)
    return call
  }

  /** The call was sent now: its answer cannot be late before its time has passed again. */
  sent(call: C, now: number): void {
    call.dueAt = now + call.timeoutMs
    this.#nextAt = Math.min(this.#nextAt, call.dueAt)
  }

  expire(now: number): Expired<C> {
    const resend: C[] = []
    const failed: C[] = []
    const major: C[] = []
    this.#nextAt = Number.POSITIVE_INFINITY
    for (const call of this.#calls.values()) {
      if (call.dueAt <= now) {
        if (call.tries < this.#options.retrans) {
          call.tries++
          call.timeoutMs = this.#longer(call.timeoutMs)
          resend.push(call)
        } else {
          call.majorTimeouts++
          major.push(call)
          if (!this.#options.hard) {
            this.#calls.delete(call.xid)
            failed.push(call)
            continue
          }
          call.tries = 0
          call.timeoutMs = this.#options.timeoMs
          resend.push(call)
        }
        call.dueAt = now + call.timeoutMs
      }
      this.#nextAt = Math.min(this.#nextAt, call.dueAt)
    }
    return { resend, failed, major }
  }

  #longer(timeoutMs: number): number {
    const { backoff, timeoMs, maxTimeoMs } = this.#options
    return Math.min(backoff === 'linear' ? timeoutMs + timeoMs : 2 * timeoutMs, maxTimeoMs)
  }
}
