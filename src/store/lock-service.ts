// The lock table for callers that wait: tickets become promises, aborts become cancels, refusals become FsError.
import { FsError } from '../posix/errors.ts'
import { LockTable } from './lock-table.ts'
import type { LockEffects, LockOutcome, LockOwner, LockTableRequest, LockTicket } from './lock-types.ts'

/** Told once what becomes of a request that waits; in the midst of another's event, so it must not cause one itself. */
export interface LockWaiter {
  readonly granted: () => void
  readonly cancelled: () => void
}

/** All events of a table that somebody waits on go through here; only questions may be put to `table` itself. */
export class LockService {
  /** For tests of locks, status views and share modes. */
  readonly table: Pick<LockTable, 'test' | 'blockedIo' | 'heldBy' | 'locksOf' | 'waitersOf' | 'lockedFiles' | 'shares'>
  readonly #table: LockTable
  readonly #waiters = new Map<LockTicket, LockWaiter>()

  constructor(table: LockTable = new LockTable()) {
    this.#table = table
    this.table = table
  }

  /**
   * Locks or unlocks; `undefined` means that it is done already. Rejects with EAGAIN (conflict, and `wait` is false),
   * EDEADLK (waiting would close a cycle), ENOLCK (limit), EINVAL (no range), EINTR (`signal` aborted while it waited,
   * or the client went away).
   */
  lock(request: LockTableRequest, signal?: AbortSignal): Promise<void> | undefined {
    try {
      return this.#lock(request, signal)
    } catch (error) {
      return Promise.reject(FsError.from(error))
    }
  }

  /**
   * As `lock`, for callers who answer before it is over (NLM): what was decided is told at once, and what becomes of a
   * request that waits, to `waiter`. Throws EINVAL.
   */
  request(request: LockTableRequest, waiter: LockWaiter): LockOutcome {
    const outcome = this.#table.request(request)
    if (outcome.type === 'waiting') this.#waiters.set(outcome.ticket, waiter)
    this.#settle(outcome.effects)
    return outcome
  }

  /** See `LockTable.cancel`. */
  cancel(ticket: LockTicket): void {
    this.#settle(this.#table.cancel(ticket))
  }

  /** See `LockTable.releaseOwner`. */
  releaseOwner(file: number, owner: LockOwner): void {
    this.#settle(this.#table.releaseOwner(file, owner))
  }

  /** See `LockTable.releaseClient`. */
  releaseClient(client: string): void {
    this.#settle(this.#table.releaseClient(client))
  }

  #lock(request: LockTableRequest, signal: AbortSignal | undefined): Promise<void> | undefined {
    const outcome = this.#table.request(request)
    this.#settle(outcome.effects)
    switch (outcome.type) {
      case 'granted':
        return undefined
      case 'waiting':
        return this.#wait(outcome.ticket, signal)
      case 'conflict':
        throw new FsError('EAGAIN', `locked by ${outcome.lock.client}, process ${outcome.lock.pid}`)
      case 'deadlock':
        throw new FsError('EDEADLK', outcome.cycle.map(({ client, owner }) => `${client}/${owner}`).join(' → '))
      case 'limit':
        throw new FsError('ENOLCK')
    }
  }

  #wait(ticket: LockTicket, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const abort = () => this.#settle(this.#table.cancel(ticket))
      this.#waiters.set(ticket, {
        granted: () => {
          signal?.removeEventListener('abort', abort)
          resolve()
        },
        cancelled: () => {
          signal?.removeEventListener('abort', abort)
          reject(new FsError('EINTR'))
        },
      })
      if (signal?.aborted) abort()
      else signal?.addEventListener('abort', abort)
    })
  }

  #settle({ granted, cancelled }: LockEffects): void {
    for (const ticket of granted) this.#take(ticket)?.granted()
    for (const ticket of cancelled) this.#take(ticket)?.cancelled()
  }

  #take(ticket: LockTicket): LockWaiter | undefined {
    const waiter = this.#waiters.get(ticket)
    this.#waiters.delete(ticket)
    return waiter
  }
}
