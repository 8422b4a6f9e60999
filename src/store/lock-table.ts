// The one lock table of a server: byte ranges and whole-file locks, shared and exclusive, advisory and mandatory, waits
// granted in order, and deadlock detection across all clients. NLM, SMB LOCK, AFS locks and fcntl(2) are views of it.
//
// A synchronous state machine: state + event → state + outcome. It never waits, and knows no clock and no socket: each
// event returns the tickets of the requests that were granted by it, and `LockService` turns tickets into promises.
import { FsError } from '../posix/errors.ts'
import { LockOwners } from './lock-owners.ts'
import {
  type HeldLock,
  type LockMode,
  type LockRange,
  LockRanges,
  type RangeChange,
  WHOLE_FILE,
} from './lock-ranges.ts'
import type {
  LockClass,
  LockEffects,
  LockLimits,
  LockOutcome,
  LockOwner,
  LockTableRequest,
  LockTicket,
  LockView,
  WaiterView,
} from './lock-types.ts'
import { ShareModes } from './share-modes.ts'
import {
  conflictingLock,
  conflictingLocks,
  type FileState,
  findDeadlock,
  isBlocked,
  type OwnerState,
  queuedAhead,
  untangle,
  type WaitingLock,
} from './wait-graph.ts'

export type * from './lock-types.ts'

type WithoutEffects<Outcome> = Outcome extends LockOutcome ? Omit<Outcome, 'effects'> : never
type Decision = WithoutEffects<LockOutcome>

/** One event in progress: the files whose queues have to be looked at, and who was granted so far. */
interface Step {
  readonly changed: Set<FileState>
  readonly granted: LockTicket[]
}

const NOTHING: LockEffects = { granted: [], cancelled: [] }
const GRANTED: LockOutcome = { type: 'granted', effects: NOTHING }

/**
 * Rules, where the sources leave room:
 * - One owner's ranges replace, split and merge as POSIX.1-2017 fcntl() says, also from exclusive to shared and back.
 * - A request that waits is granted after every earlier waiting request that it conflicts with, so a stream of readers
 *   cannot starve a writer. It passes one that itself waits, directly or through others, for a lock of the same owner:
 *   behind that one it would wait for itself. A request that does not wait looks at held locks only, as F_SETLK does.
 * - A change between shared and exclusive in class 'flock' is not atomic: the old lock goes first, and stays gone if the
 *   new one is refused (flock(2), "Converting a lock").
 * - EDEADLK goes to the request that would close a cycle of owners (processes, not threads: an owner that waits in
 *   several places waits for all of them, as POSIX lets us assume).
 */
export class LockTable {
  /** Share modes of open files (SMB). */
  readonly shares = new ShareModes()
  readonly #limits: LockLimits
  readonly #files = new Map<number, FileState>()
  readonly #owners = new LockOwners()
  readonly #waiting = new Map<LockTicket, WaitingLock>()
  /** Ranges held: by client, and altogether. */
  readonly #held = new Map<string, number>()
  #heldTotal = 0
  #lastTicket = 0

  constructor(limits: Partial<LockLimits> = {}) {
    this.#limits = { perOwner: 16_384, perFile: 131_072, perClient: 262_144, total: 1_048_576, ...limits }
  }

  /** Locks or unlocks. Throws EINVAL for a range that is none. */
  request(request: LockTableRequest): LockOutcome {
    const range = request.class === 'flock' ? WHOLE_FILE : checkRange(request.range)
    if (request.kind === 'unlock' && !this.#owners.find(request)?.files.size) return GRANTED
    const wanted: WaitingLock = {
      ticket: this.#lastTicket + 1,
      owner: this.#owners.findOrAdd(request),
      file: this.#file(request.file),
      class: request.class,
      range,
      exclusive: request.kind === 'exclusive',
      mandatory: request.mandatory ?? false,
      pid: request.pid,
      detectDeadlock: request.detectDeadlock ?? request.class === 'range',
      mayPass: new Set(),
    }
    const step: Step = { changed: new Set(), granted: [] }
    const decision =
      request.kind === 'unlock' ? this.#set(wanted, undefined, step) : this.#lock(wanted, request.wait, step)
    this.#grantWaiting(step)
    this.#tidy(wanted.file, wanted.owner)
    // The request may have been let through while the queues were untangled.
    const granted = step.granted.filter((ticket) => ticket !== wanted.ticket)
    const through = granted.length < step.granted.length
    return { ...(through ? GRANTED : decision), effects: { granted, cancelled: [] } }
  }

  /** The held lock with the lowest start that conflicts with a request (F_GETLK, NLM_TEST), if there is one. */
  test(request: Omit<LockTableRequest, 'wait' | 'pid'>): LockView | undefined {
    const range = request.class === 'flock' ? WHOLE_FILE : checkRange(request.range)
    const file = this.#files.get(request.file)
    if (file === undefined || request.kind === 'unlock') return undefined
    const owner = this.#owners.find(request)
    const lock = conflictingLock({ owner, file, class: request.class, range, exclusive: request.kind === 'exclusive' })
    return lock && viewOf(lock, file, request.class)
  }

  /**
   * The mandatory lock that forbids reading or writing `range`, if there is one (STATUS_FILE_LOCK_CONFLICT; MS-FSA
   * 2.1.4.10). An exclusive lock forbids both, a shared one forbids writing. `exempt` says which locks do not count:
   * those of the handle that reads or writes.
   */
  blockedIo(
    file: number,
    range: LockRange,
    access: 'read' | 'write',
    exempt: (lock: LockMode & LockRange & LockOwner) => boolean,
  ): LockView | undefined {
    const state = this.#files.get(file)
    if (state === undefined) return undefined
    const lock = state.locks.range.find(
      range,
      (lock) => lock.mandatory && (lock.exclusive || access === 'write') && !exempt(viewOf(lock, state, 'range')),
    )
    return lock && viewOf(lock, state, 'range')
  }

  /** Gives up waiting (FUSE_INTERRUPT, NLM_CANCEL, SMB2 CANCEL). Does nothing if the ticket no longer waits. */
  cancel(ticket: LockTicket): LockEffects {
    const waiting = this.#waiting.get(ticket)
    if (waiting === undefined) return NOTHING
    this.#leaveQueue(waiting)
    const granted = this.#grantIn([waiting.file])
    this.#tidy(waiting.file, waiting.owner)
    return { granted, cancelled: [ticket] }
  }

  /**
   * Unlocks all that an owner holds in a file: a close(2) by a process ends its fcntl locks, the last close of an open
   * file its flock. Requests of the owner that still wait (in other threads) go on waiting, as on Linux.
   */
  releaseOwner(file: number, who: LockOwner): LockEffects {
    const state = this.#files.get(file)
    const owner = this.#owners.find(who)
    if (state === undefined || !owner?.files.has(state)) return NOTHING
    this.#drop(state, (other) => other === owner)
    this.#count(owner, -(owner.files.get(state) ?? 0))
    owner.files.delete(state)
    const granted = this.#grantIn([state])
    this.#tidy(state, owner)
    return { granted, cancelled: [] }
  }

  /** Ends everything of a client: locks, waits, share modes. Its mount is gone, or its lease ran out. */
  releaseClient(client: string): LockEffects {
    this.shares.closeClient(client)
    const owners = this.#owners.ofClient(client)
    const cancelled: LockTicket[] = []
    const changed = new Set<FileState>()
    // All waits go first: a lock of a dead client must not pass to another owner of the same client.
    for (const owner of owners) {
      for (const waiting of owner.waits) {
        this.#leaveQueue(waiting)
        changed.add(waiting.file)
        cancelled.push(waiting.ticket)
      }
    }
    const files = new Set(owners.flatMap((owner) => [...owner.files.keys()]))
    for (const file of files) {
      this.#drop(file, (owner) => owner.client === client)
      changed.add(file)
    }
    for (const owner of owners) {
      for (const count of owner.files.values()) this.#count(owner, -count)
      owner.files.clear()
    }
    const granted = this.#grantIn(changed)
    for (const owner of owners) this.#owners.tidy(owner)
    for (const file of changed) this.#tidyFile(file)
    return { granted, cancelled }
  }

  /** Ranges that a client holds, in all files. */
  heldBy(client: string): number {
    return this.#held.get(client) ?? 0
  }

  /** Files in which somebody holds or waits for a lock. */
  lockedFiles(): number[] {
    return [...this.#files.keys()]
  }

  /** Who holds what in a file, sorted by start within each class. */
  locksOf(file: number): LockView[] {
    const state = this.#files.get(file)
    if (state === undefined) return []
    return (['range', 'flock'] as const).flatMap((lockClass) =>
      state.locks[lockClass].all().map((lock) => viewOf(lock, state, lockClass)),
    )
  }

  /** Who waits for whom in a file, in order of arrival. */
  waitersOf(file: number): WaiterView[] {
    return [...(this.#files.get(file)?.queue ?? [])].map((waiting) => ({
      ...viewOf({ ...waiting, ...waiting.range }, waiting.file, waiting.class),
      ticket: waiting.ticket,
      blockedBy: conflictingLocks(waiting).map((lock) => viewOf(lock, waiting.file, waiting.class)),
      queuedBehind: [...queuedAhead(waiting)].map((other) => other.ticket),
    }))
  }

  #lock(wanted: WaitingLock, wait: boolean, step: Step): Decision {
    if (wanted.class === 'flock') this.#dropConverted(wanted, step)
    const lock = conflictingLock(wanted)
    if (lock !== undefined && !wait) return { type: 'conflict', lock: viewOf(lock, wanted.file, wanted.class) }
    if (!wait || !isBlocked(wanted)) return this.#set(wanted, wanted, step)
    if (!this.#hasRoom(wanted, 1)) return { type: 'limit' }
    const cycle = wanted.detectDeadlock ? findDeadlock(wanted) : undefined
    if (cycle) return { type: 'deadlock', cycle: cycle.map(({ client, key }) => ({ client, owner: key })) }
    this.#lastTicket = wanted.ticket
    this.#waiting.set(wanted.ticket, wanted)
    wanted.file.queue.add(wanted)
    wanted.owner.waits.add(wanted)
    this.#untangle(wanted.owner, step)
    return { type: 'waiting', ticket: wanted.ticket }
  }

  /** The first half of a change between shared and exclusive in class 'flock'. */
  #dropConverted({ file, owner, exclusive }: WaitingLock, step: Step): void {
    if (!file.locks.flock.find(WHOLE_FILE, (lock) => lock.owner === owner && lock.exclusive !== exclusive)) return
    this.#change(file, owner, 'flock', file.locks.flock.plan(owner, WHOLE_FILE, undefined))
    // Those who wait come first: the owner that converts has no better claim than they.
    step.changed.add(file)
    this.#grantWaiting(step)
  }

  /** Locks (or, without a mode, unlocks) a range that nobody else holds. */
  #set(wanted: WaitingLock, mode: LockMode | undefined, step: Step): Decision {
    const { file, owner } = wanted
    const change = file.locks[wanted.class].plan(owner, wanted.range, mode)
    const growth = change.added.length - change.removed.length
    if (growth > 0 && !this.#hasRoom(wanted, growth)) return { type: 'limit' }
    this.#change(file, owner, wanted.class, change)
    if (change.weakens) step.changed.add(file)
    this.#untangle(owner, step)
    return { type: 'granted' }
  }

  /** Grants whatever can be granted in the queues of the changed files, in order of arrival, until nothing can. */
  #grantWaiting({ changed, granted }: Step): void {
    for (const file of changed) {
      changed.delete(file)
      for (const waiting of file.queue) {
        if (isBlocked(waiting)) continue
        this.#leaveQueue(waiting)
        granted.push(waiting.ticket)
        // Its room was reserved when it began to wait; splits may take a little more.
        const change = file.locks[waiting.class].plan(waiting.owner, waiting.range, waiting)
        this.#change(file, waiting.owner, waiting.class, change)
        if (change.weakens) changed.add(file)
        this.#untangle(waiting.owner, { changed, granted })
      }
    }
  }

  #grantIn(files: Iterable<FileState>): LockTicket[] {
    const step: Step = { changed: new Set(files), granted: [] }
    this.#grantWaiting(step)
    return step.granted
  }

  /** New waits and new locks of an owner that waits can close cycles through it. */
  #untangle(owner: OwnerState, step: Step): void {
    if (owner.waits.size === 0) return
    for (const file of untangle(owner)) step.changed.add(file)
  }

  #change(file: FileState, owner: OwnerState, lockClass: LockClass, change: RangeChange<OwnerState>): void {
    file.locks[lockClass].apply(change)
    const growth = change.added.length - change.removed.length
    this.#count(owner, growth)
    const count = (owner.files.get(file) ?? 0) + growth
    if (count > 0) owner.files.set(file, count)
    else owner.files.delete(file)
  }

  #count({ client }: OwnerState, growth: number): void {
    const held = (this.#held.get(client) ?? 0) + growth
    if (held > 0) this.#held.set(client, held)
    else this.#held.delete(client)
    this.#heldTotal += growth
  }

  #drop({ locks }: FileState, matches: (owner: OwnerState) => boolean): void {
    for (const ranges of [locks.range, locks.flock]) ranges.removeWhere((lock) => matches(lock.owner))
  }

  #leaveQueue(waiting: WaitingLock): void {
    this.#waiting.delete(waiting.ticket)
    waiting.file.queue.delete(waiting)
    waiting.owner.waits.delete(waiting)
  }

  #hasRoom({ file, owner }: WaitingLock, growth: number): boolean {
    const owned = (owner.files.get(file) ?? 0) + owner.waits.size
    const inFile = file.locks.range.size + file.locks.flock.size + file.queue.size
    const { perOwner, perFile, perClient, total } = this.#limits
    if (owned + growth > perOwner || inFile + growth > perFile) return false
    return this.heldBy(owner.client) + growth <= perClient && this.#heldTotal + this.#waiting.size + growth <= total
  }

  #file(file: number): FileState {
    let state = this.#files.get(file)
    if (state === undefined) {
      state = { file, locks: { range: new LockRanges(), flock: new LockRanges() }, queue: new Set() }
      this.#files.set(file, state)
    }
    return state
  }

  #tidy(file: FileState, owner: OwnerState): void {
    this.#tidyFile(file)
    this.#owners.tidy(owner)
  }

  #tidyFile({ file, locks, queue }: FileState): void {
    if (locks.range.size + locks.flock.size + queue.size === 0) this.#files.delete(file)
  }
}

function checkRange(range: LockRange): LockRange {
  const { start, end } = range
  const whole = Number.isSafeInteger(start) && (end === Number.POSITIVE_INFINITY || Number.isSafeInteger(end))
  if (!whole || start < 0 || end < start) throw new FsError('EINVAL', `no byte range: ${start}…${end}`)
  return range
}

function viewOf(lock: HeldLock<OwnerState>, { file }: FileState, lockClass: LockClass): LockView {
  const { start, end, exclusive, mandatory, pid } = lock
  return {
    file,
    class: lockClass,
    client: lock.owner.client,
    owner: lock.owner.key,
    start,
    end,
    exclusive,
    mandatory,
    pid,
  }
}
