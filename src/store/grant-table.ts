// The one grant table of a server: who was promised what they may cache, and the recall of those promises before a
// conflicting operation is answered. AFS callbacks, SMB oplocks and leases are the same thing here.
//
// A state machine: state + event → state + effects. It never waits and sends nothing; time comes in as an argument
// (milliseconds of any clock that does not go back). `GrantCoordinator` puts a clock and a sender around it.
import { Deadlines } from './deadlines.ts'
import { type Grant, GrantIndex, heldRights, isHolder, type PendingOperation, viewOf } from './grant-index.ts'
import {
  type Acquired,
  type AcquireRequest,
  CACHE_NOTHING,
  CACHE_READ,
  CACHE_WRITE,
  type Conflict,
  type GrantEffect,
  type GrantId,
  type GrantView,
  type Holder,
  OPERATION_RULES,
  type Operation,
  type OperationId,
  type Recall,
  type Rights,
  type Undelivered,
  type WaitingOperation,
} from './grant-types.ts'

export interface GrantTableOptions {
  /** Grants kept at once; one more, and the oldest that needs no flush is recalled. Default 100,000. */
  readonly limit?: number
  /** How long a holder has to answer a recall. Default 35 s: MS-SMB2 3.3.2.1, as Windows has it. */
  readonly recallTimeoutMs?: number
}

interface MissedRecalls {
  count: number
  since: number
  until: number
  unreachable: boolean
}

/**
 * The promise: once an operation proceeded, no other holder has a right that it conflicts with, unless the operation
 * chose not to wait for it; and every operation proceeds once its recalls are answered or have timed out.
 *
 * - One recall at a time goes to a holder; what is recalled meanwhile follows after its answer (MS-SMB2 3.3.4.7).
 * - A holder that does not answer in time loses all that it had, and its late answer is refused (MS-SMB2 3.3.6.5,
 *   3.3.5.22.2). It is noted that it may not know: see `undelivered`.
 * - While an operation waits (or lasts), others are granted only what it does not recall, so operations cannot starve.
 * - Operations on a file proceed as soon as their own recalls are done, in order of arrival where that is the same
 *   moment. A holder's own operations, such as the flush that it is asked for, conflict with nothing of its own.
 */
export class GrantTable {
  readonly #limit: number
  readonly #recallTimeoutMs: number
  readonly #index = new GrantIndex()
  readonly #operations = new Map<OperationId, PendingOperation>()
  readonly #missed = new Map<string, MissedRecalls>()
  readonly #deadlines = new Deadlines<Grant>((grant) =>
    this.#index.has(grant)
      ? Math.min(grant.recall?.deadline ?? Number.POSITIVE_INFINITY, grant.expiresAt)
      : Number.POSITIVE_INFINITY,
  )
  #evicting = 0
  #lastOperation = 0

  constructor(options: GrantTableOptions = {}) {
    this.#limit = options.limit ?? 100_000
    this.#recallTimeoutMs = options.recallTimeoutMs ?? 35_000
  }

  /**
   * To be asked before an operation is carried out. Undefined: nothing is in its way, and nothing was noted. Otherwise
   * the recalls to send, and whether the operation has to wait for a `proceed` with its id.
   */
  conflict(operation: Operation, now: number): Conflict | undefined {
    const rule = OPERATION_RULES[operation.kind]
    const known = this.#index.findFile(operation.file)
    if (!operation.hold && (known === undefined || (heldRights(known) & rule.recall) === 0)) return undefined
    const effects: GrantEffect[] = []
    this.#endDue(now, effects)
    const wait = operation.wait === undefined ? rule.wait : operation.wait ? rule.recall : CACHE_NOTHING
    const file = this.#index.file(operation.file)
    const id = ++this.#lastOperation
    const pending: PendingOperation = {
      id,
      file,
      operation,
      since: now,
      recall: rule.recall,
      wait,
      waitsFor: new Set(),
    }
    file.operations.set(id, pending)
    for (const grant of file.grants) {
      if ((grant.rights & rule.recall) === 0 || isHolder(grant, operation)) continue
      this.#lower(grant, { keep: ~rule.recall, timeoutMs: operation.timeoutMs }, now, effects)
      if ((grant.rights & wait) !== 0) pending.waitsFor.add(grant)
    }
    const waiting = pending.waitsFor.size > 0
    if (waiting || operation.hold) {
      this.#operations.set(id, pending)
      return { operation: id, waiting, effects }
    }
    file.operations.delete(id)
    this.#index.tidy(file)
    return effects.length > 0 ? { operation: id, waiting, effects } : undefined
  }

  /** An operation is over, or nobody wants it any more. Its recalls go on: the holders were told already. */
  finish(id: OperationId): void {
    const pending = this.#operations.get(id)
    if (pending === undefined) return
    this.#operations.delete(id)
    pending.file.operations.delete(id)
    this.#index.tidy(pending.file)
  }

  /**
   * Promises what can be promised now, beside what others hold and what waiting operations recall; see `rights` in the
   * result. To get more, let an operation (`open`, `read`, `write`) recall it from the others first. Adds to what the
   * holder has already, except while that is being recalled.
   */
  acquire(request: AcquireRequest, now: number): Acquired {
    const effects: GrantEffect[] = []
    this.#endDue(now, effects)
    const old = this.#index.find(request.file, request)
    if (old?.recall) return { grant: viewOf(old), rights: old.target, effects }
    const rights = this.#missed.get(request.client)?.unreachable ? CACHE_NOTHING : this.#grantable(request, old)
    if (rights === CACHE_NOTHING || (old === undefined && !this.#makeRoom(now, effects))) {
      return { rights: CACHE_NOTHING, effects }
    }
    const grant = old ?? this.#index.add(request)
    if (rights !== grant.rights) {
      grant.epoch++
      this.#index.setRights(grant, rights)
      grant.target = rights
    }
    grant.since = now
    // The holder may never hear of a shorter life, and go on believing in the longer one.
    const { expiresAt = grant.expiresAt } = request
    grant.expiresAt = old === undefined ? expiresAt : Math.max(grant.expiresAt, expiresAt)
    this.#deadlines.update(grant)
    this.#index.touch(grant)
    return { grant: viewOf(grant), rights, effects }
  }

  /**
   * A holder answers a recall: it keeps `remaining`. Refused (STATUS_UNSUCCESSFUL, or STATUS_REQUEST_NOT_ACCEPTED when
   * it wants to keep more than it was left: MS-SMB2 3.3.5.22.2) if the grant is gone, is not being recalled, or is in
   * another recall than the one of `epoch`, where that is known.
   */
  acknowledge(
    answer: { readonly grant: GrantId; readonly remaining: Rights; readonly epoch?: number },
    now: number,
  ): { readonly accepted: boolean; readonly effects: readonly GrantEffect[] } {
    const effects: GrantEffect[] = []
    this.#endDue(now, effects)
    const grant = this.#index.get(answer.grant)
    const recall = grant?.recall
    if (grant === undefined || recall === undefined || (answer.remaining & ~recall.to) !== 0) {
      return { accepted: false, effects }
    }
    if (answer.epoch !== undefined && answer.epoch !== recall.epoch) return { accepted: false, effects }
    grant.recall = undefined
    grant.target &= answer.remaining
    if (answer.remaining === CACHE_NOTHING) {
      this.#drop(grant, effects)
    } else {
      this.#index.setRights(grant, answer.remaining)
      this.#index.touch(grant)
      this.#deadlines.update(grant)
      if (grant.target !== grant.rights) this.#startRecall(grant, grant.followingTimeoutMs, now, effects)
      this.#resolve(grant, effects)
    }
    return { accepted: true, effects }
  }

  /**
   * A recall could not be delivered: the right is gone, and the client counts as unreachable until `clientReturned`
   * or `releaseClient`.
   */
  undelivered(recall: Pick<Recall, 'grant' | 'epoch'>, now: number): readonly GrantEffect[] {
    const effects: GrantEffect[] = []
    this.#endDue(now, effects)
    const grant = this.#index.get(recall.grant)
    if (grant?.recall?.epoch === recall.epoch) this.#revoke(grant, 'undelivered', now, effects)
    return effects
  }

  /** Recalls all but `keep` from a holder because somebody asks for it (an administrator), not for an operation. */
  recall(id: GrantId, keep: Rights, now: number, timeoutMs?: number): readonly GrantEffect[] {
    const effects: GrantEffect[] = []
    this.#endDue(now, effects)
    const grant = this.#index.get(id)
    if (grant) this.#lower(grant, { keep, timeoutMs }, now, effects)
    return effects
  }

  /** A holder gives up what it was promised (AFS GiveUpCallBacks, the close of a lease's last open). */
  release(file: number, holder: Holder): readonly GrantEffect[] {
    const effects: GrantEffect[] = []
    const grant = this.#index.find(file, holder)
    if (grant) this.#drop(grant, effects)
    return effects
  }

  /**
   * A client is gone for good: its promises, its waiting operations, and the memory of what it missed. Its operations
   * that are being carried out last until `finish`.
   */
  releaseClient(client: string): readonly GrantEffect[] {
    const effects: GrantEffect[] = []
    this.#missed.delete(client)
    for (const pending of this.#operations.values()) {
      if (pending.operation.client !== client || pending.waitsFor.size === 0) continue
      this.finish(pending.id)
      effects.push({ type: 'cancelled', operation: pending.id })
    }
    for (const grant of this.#index.ofClient(client)) this.#drop(grant, effects)
    return effects
  }

  /**
   * A client is heard of again. `discard`: it missed recalls and has to be told to discard all that it caches, as AFS
   * does with InitCallBackState; what it was promised is gone.
   */
  clientReturned(client: string): { readonly discard: boolean; readonly effects: readonly GrantEffect[] } {
    const effects: GrantEffect[] = []
    const discard = this.#missed.delete(client)
    if (discard) for (const grant of this.#index.ofClient(client)) this.#drop(grant, effects)
    return { discard, effects }
  }

  /** Ends what is due at `now`: promises, and the patience with holders that do not answer. */
  advance(now: number): readonly GrantEffect[] {
    const effects: GrantEffect[] = []
    this.#endDue(now, effects)
    return effects
  }

  /** When to call `advance` next; undefined: nothing is due, ever. */
  nextDeadline(): number | undefined {
    return this.#deadlines.next()
  }

  get size(): number {
    return this.#index.size
  }

  /** Who holds what of a file, until when, and what is being recalled. */
  grantsOf(file: number): GrantView[] {
    return [...(this.#index.findFile(file)?.grants ?? [])].map(viewOf)
  }

  /** How many hold something of a file. */
  holdersOf(file: number): number {
    return this.#index.findFile(file)?.grants.size ?? 0
  }

  grantsOfClient(client: string): GrantView[] {
    return [...this.#index.ofClient(client)].map(viewOf)
  }

  /** All recalls under way. */
  recalls(): Recall[] {
    return [...this.#index.all()].flatMap(({ recall }) => recall ?? [])
  }

  /** All operations that wait, in order of arrival. */
  waitingOperations(): WaitingOperation[] {
    return [...this.#operations.values()]
      .filter(({ waitsFor }) => waitsFor.size > 0)
      .map(({ id, operation, since, waitsFor }) => {
        return { id, operation, since, waitsFor: [...waitsFor].map(viewOf) }
      })
  }

  undeliveredRecalls(): Undelivered[] {
    return [...this.#missed].map(([client, missed]) => ({ client, ...missed }))
  }

  #grantable(request: AcquireRequest, old: Grant | undefined): Rights {
    const file = this.#index.findFile(request.file)
    const had = old?.rights ?? CACHE_NOTHING
    if (file === undefined) return request.rights
    const others = heldRights(file, old)
    let denied = CACHE_NOTHING
    if ((others & CACHE_READ) !== 0) denied |= CACHE_WRITE
    if ((others & CACHE_WRITE) !== 0) denied |= CACHE_READ | CACHE_WRITE
    for (const pending of file.operations.values()) {
      if (!isHolder(request, pending.operation)) denied |= pending.recall
    }
    const rights = had | (request.rights & ~denied)
    // Nobody has a use for the other rights without the reading that was asked for along with them.
    return (request.rights & ~rights & CACHE_READ) !== 0 ? had : rights
  }

  /** Makes sure that one more grant is within the limit, if need be by recalling the oldest that needs no flush. */
  #makeRoom(now: number, effects: GrantEffect[]): boolean {
    if (this.#index.size - this.#evicting < this.#limit) return true
    const oldest = this.#index.oldestReadOnly
    if (oldest === undefined || this.#evicting >= this.#limit) return false
    oldest.evicted = true
    this.#evicting++
    this.#lower(oldest, { keep: CACHE_NOTHING }, now, effects)
    return true
  }

  /** Leaves a holder with no more than `keep`: by a recall now, or after the one under way. */
  #lower(
    grant: Grant,
    { keep, timeoutMs = this.#recallTimeoutMs }: { keep: Rights; timeoutMs?: number | undefined },
    now: number,
    effects: GrantEffect[],
  ): void {
    if ((grant.target & ~keep) === 0) return
    grant.target &= keep
    if (grant.recall === undefined) this.#startRecall(grant, timeoutMs, now, effects)
    else grant.followingTimeoutMs = timeoutMs
  }

  #startRecall(grant: Grant, timeoutMs: number, now: number, effects: GrantEffect[]): void {
    if (this.#missed.get(grant.client)?.unreachable) {
      this.#revoke(grant, 'undelivered', now, effects)
      return
    }
    const { id, client, key, rights, target } = grant
    const deadline = now + timeoutMs
    const epoch = ++grant.epoch
    grant.recall = {
      grant: id,
      file: grant.file.file,
      client,
      key,
      from: rights,
      to: target,
      epoch,
      since: now,
      deadline,
    }
    this.#index.touch(grant)
    this.#deadlines.update(grant)
    effects.push({ type: 'recall', recall: grant.recall })
  }

  #endDue(now: number, effects: GrantEffect[]): void {
    for (let grant = this.#deadlines.take(now); grant; grant = this.#deadlines.take(now)) {
      if (grant.expiresAt > now) {
        this.#revoke(grant, 'timeout', now, effects)
      } else {
        effects.push({ type: 'expired', grant: viewOf(grant) })
        this.#drop(grant, effects)
      }
    }
  }

  #revoke(grant: Grant, reason: 'timeout' | 'undelivered', now: number, effects: GrantEffect[]): void {
    const missed = this.#missed.get(grant.client) ?? { count: 0, since: now, until: now, unreachable: false }
    missed.count++
    missed.until = now
    missed.unreachable ||= reason === 'undelivered'
    this.#missed.set(grant.client, missed)
    effects.push({ type: 'revoked', grant: viewOf(grant), reason })
    this.#drop(grant, effects)
  }

  #drop(grant: Grant, effects: GrantEffect[]): void {
    this.#index.remove(grant)
    if (grant.evicted) this.#evicting--
    this.#resolve(grant, effects)
    this.#index.tidy(grant.file)
  }

  /** Lets those operations go on for which this holder was the last in the way. */
  #resolve(grant: Grant, effects: GrantEffect[]): void {
    for (const { id, operation, wait, waitsFor } of grant.file.operations.values()) {
      if ((grant.rights & wait) !== 0 || !waitsFor.delete(grant) || waitsFor.size > 0) continue
      if (!operation.hold) this.finish(id)
      effects.push({ type: 'proceed', operation: id })
    }
  }
}
