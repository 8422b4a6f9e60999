// The grant table for callers that wait: `proceed` becomes a resolved promise, deadlines become one timer, and recalls
// go out through a sender that the server supplies.

import type { Clock } from '../host/clock.ts'
import { FsError } from '../posix/errors.ts'
import { GrantTable, type GrantTableOptions } from './grant-table.ts'
import type {
  Acquired,
  AcquireRequest,
  GrantEffect,
  GrantId,
  Holder,
  Operation,
  OperationId,
  Recall,
  Rights,
} from './grant-types.ts'

/**
 * Sends a recall to its holder. 'acknowledged': that was the answer, the holder keeps what the recall leaves (AFS: the
 * call returned; SMB: a break that needs no acknowledgement). 'sent': the answer comes through `acknowledge`. Throws or
 * rejects if the holder could not be reached: see `GrantTable.undelivered`.
 */
export type RecallSender = (recall: Recall) => RecallAnswer | Promise<RecallAnswer>
export type RecallAnswer = 'acknowledged' | 'sent'

export interface GrantCoordinatorOptions extends GrantTableOptions {
  readonly clock: Clock
  readonly send: RecallSender
  /** Sees every effect, for traces and counters. */
  readonly observe?: (effect: GrantEffect) => void
}

interface Waiter {
  readonly proceed: () => void
  readonly cancel: () => void
}

/** Timers hold 31 bits of milliseconds; a deadline beyond that takes several. */
const LONGEST_TIMER_MS = 2 ** 31 - 1

export class GrantCoordinator {
  /** For status views. */
  readonly table: Pick<
    GrantTable,
    'size' | 'grantsOf' | 'holdersOf' | 'grantsOfClient' | 'recalls' | 'waitingOperations' | 'undeliveredRecalls'
  >
  readonly #table: GrantTable
  readonly #clock: Clock
  readonly #send: RecallSender
  readonly #observe: ((effect: GrantEffect) => void) | undefined
  readonly #waiters = new Map<OperationId, Waiter>()
  readonly #effects: GrantEffect[] = []
  #applying = false
  #timer: { readonly at: number; readonly stop: () => void } | undefined

  constructor(options: GrantCoordinatorOptions) {
    this.#table = new GrantTable(options)
    this.table = this.#table
    this.#clock = options.clock
    this.#send = options.send
    this.#observe = options.observe
  }

  /**
   * To be called before an operation is carried out: resolves when nothing is in its way, `undefined` if nothing is.
   * On a file without grants that costs one look-up. Rejects with EINTR if `signal` aborts or the client goes away.
   *
   * What is done without a pause after it (in the same turn of the event loop) is safe from new grants; an operation
   * that takes longer belongs in `during`.
   */
  before(operation: Operation, signal?: AbortSignal): Promise<void> | undefined {
    return this.#begin(operation, signal)?.done
  }

  /** Waits like `before`, then runs `body`; until it is over nobody is granted what the operation recalls. */
  during<Result>(operation: Operation, body: () => Result | Promise<Result>, signal?: AbortSignal): Promise<Result> {
    return this.duringAll([operation], body, signal)
  }

  /** The same for operations that are one: all recalls go out together, before any of them is waited for. */
  async duringAll<Result>(
    operations: readonly Operation[],
    body: () => Result | Promise<Result>,
    signal?: AbortSignal,
  ): Promise<Result> {
    const begun = operations.map((operation) => this.#begin({ ...operation, hold: true }, signal))
    try {
      const waits = begun.flatMap((one) => one?.done ?? [])
      if (waits.length > 0) await Promise.all(waits)
      return await body()
    } finally {
      for (const one of begun) if (one) this.#table.finish(one.id)
    }
  }

  /** In the milliseconds of `expiresAt`. */
  now(): number {
    return this.#clock.now()
  }

  /** See `GrantTable.acquire`. */
  acquire(request: AcquireRequest): Omit<Acquired, 'effects'> {
    const { effects, ...acquired } = this.#table.acquire(request, this.#clock.now())
    this.#apply(effects)
    return acquired
  }

  /** False: refused. See `GrantTable.acknowledge`. */
  acknowledge(answer: { readonly grant: GrantId; readonly remaining: Rights; readonly epoch?: number }): boolean {
    const { accepted, effects } = this.#table.acknowledge(answer, this.#clock.now())
    this.#apply(effects)
    return accepted
  }

  /** See `GrantTable.recall`. */
  recall(grant: GrantId, keep: Rights, timeoutMs?: number): void {
    this.#apply(this.#table.recall(grant, keep, this.#clock.now(), timeoutMs))
  }

  release(file: number, holder: Holder): void {
    this.#apply(this.#table.release(file, holder))
  }

  releaseClient(client: string): void {
    this.#apply(this.#table.releaseClient(client))
  }

  /** True: the client has to be told to discard all that it caches. See `GrantTable.clientReturned`. */
  clientReturned(client: string): boolean {
    const { discard, effects } = this.#table.clientReturned(client)
    this.#apply(effects)
    return discard
  }

  /** Stops the timer; waiting operations are cancelled. */
  close(): void {
    this.#timer?.stop()
    this.#timer = undefined
    for (const [id, waiter] of this.#waiters) {
      this.#table.finish(id)
      waiter.cancel()
    }
  }

  #begin(operation: Operation, signal?: AbortSignal): { id: OperationId; done: Promise<void> | undefined } | undefined {
    const conflict = this.#table.conflict(operation, this.#clock.now())
    if (conflict === undefined) return undefined
    const id = conflict.operation
    const done = conflict.waiting ? this.#wait(id, signal) : undefined
    this.#apply(conflict.effects)
    return { id, done }
  }

  #wait(id: OperationId, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const abort = () => {
        this.#table.finish(id)
        this.#waiters.get(id)?.cancel()
      }
      const leave = () => {
        this.#waiters.delete(id)
        signal?.removeEventListener('abort', abort)
      }
      this.#waiters.set(id, {
        proceed: () => {
          leave()
          resolve()
        },
        cancel: () => {
          leave()
          reject(new FsError('EINTR'))
        },
      })
      if (signal?.aborted) abort()
      else signal?.addEventListener('abort', abort)
    })
  }

  /** Carries effects out in order, also those that arise while it does so. */
  #apply(effects: readonly GrantEffect[]): void {
    for (const effect of effects) this.#effects.push(effect)
    if (this.#applying) return
    this.#applying = true
    try {
      for (let effect = this.#effects.shift(); effect; effect = this.#effects.shift()) this.#carryOut(effect)
    } finally {
      this.#applying = false
      this.#setTimer()
    }
  }

  #carryOut(effect: GrantEffect): void {
    this.#observe?.(effect)
    if (effect.type === 'recall') void this.#recall(effect.recall)
    else if (effect.type === 'proceed') this.#waiters.get(effect.operation)?.proceed()
    else if (effect.type === 'cancelled') this.#waiters.get(effect.operation)?.cancel()
  }

  async #recall(recall: Recall): Promise<void> {
    const { grant, epoch, to } = recall
    try {
      const answer = await this.#send(recall)
      if (answer === 'acknowledged') this.acknowledge({ grant, epoch, remaining: to })
    } catch {
      this.#apply(this.#table.undelivered(recall, this.#clock.now()))
    }
  }

  /** Keeps one timer, for the earliest deadline. */
  #setTimer(): void {
    const at = this.#table.nextDeadline()
    if (at === this.#timer?.at) return
    this.#timer?.stop()
    this.#timer = undefined
    if (at === undefined) return
    const delayMs = Math.min(LONGEST_TIMER_MS, Math.max(0, Math.ceil(at - this.#clock.now())))
    const stop = this.#clock.after(delayMs, () => {
      this.#timer = undefined
      this.#apply(this.#table.advance(this.#clock.now()))
    })
    this.#timer = { at, stop }
  }
}
