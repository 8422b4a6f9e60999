// The client's side of NLM: which locks this client holds, asks for and waits for, and what survives a restart of the
// server. Events in, effects out; the clock is read, but nothing here waits for it: call `tick` when `deadlineMs` says so.
//
// The server keeps locks in memory. When it restarts, its status monitor tells (SM_NOTIFY, with a state number), and for
// a grace period it takes only locks that clients held before. What cannot be reclaimed is lost, and reported.
//
// A request that has to wait is answered BLOCKED, and the server calls back (GRANTED). Callbacks get lost, so a waiting
// request is asked again now and then.
//
// Calls of one owner for one file go out one after the other, since a server may execute them in any order; one that the
// server lets wait is not in the way of the next.
import type { ErrnoName } from '../../posix/errors.ts'
import { type LockRange, WHOLE_FILE } from '../../store/lock-ranges.ts'
import type { NodeId } from '../../vfs/filesystem.ts'
import { LockLanes } from './lock-lanes.ts'
import {
  callOf,
  cancellation,
  hold,
  isNeedless,
  type Lane,
  lose,
  newOperation,
  type Operation,
  restoration,
  viewOf,
  waitingView,
  weaken,
} from './lock-operations.ts'
import {
  errnoOfNlm,
  type HeldNlmLock,
  type LockAsked,
  type LockEffect,
  type LockOwnerName,
  NLM4_STATS,
  type NlmLock,
  type WaitingNlmLock,
} from './nlm-types.ts'

export interface LockClientOptions {
  /** Milliseconds. */
  readonly now: () => number
  /**
   * How long a request that the server let wait so many times waits for a callback before it is asked again. Default 30 s,
   * as Linux.
   */
  readonly pollMs?: (times: number) => number
  /** How long to wait when the server is in its grace period. Default 5 s, as Linux. */
  readonly graceMs?: number
}

/** `id`: 'done' tells when it is over, maybe among these effects. */
interface Started {
  readonly id: number
  readonly effects: readonly LockEffect[]
}

const { NLM4_GRANTED, NLM4_DENIED, NLM4_BLOCKED, NLM4_DENIED_GRACE_PERIOD } = NLM4_STATS

export class LockClient {
  readonly #now: () => number
  readonly #pollMs: (times: number) => number
  readonly #graceMs: number
  readonly #lanes = new LockLanes()
  /** Calls that are not answered, by cookie. */
  readonly #calls = new Map<number, Operation>()
  /** Of the server, as far as it was told. */
  #serverState: number | undefined
  /** Restarts of the server that we know of. */
  #epoch = 0
  #lastId = 0
  #lastCookie = 0
  #effects: LockEffect[] = []

  constructor({ now, pollMs = () => 30_000, graceMs = 5000 }: LockClientOptions) {
    this.#now = now
    this.#pollMs = pollMs
    this.#graceMs = graceMs
  }

  /** fcntl(2) F_SETLK and F_SETLKW, flock(2): 'done' with this id comes when it is granted or refused. */
  lock({ file, owner, range, exclusive, wait }: LockAsked): Started {
    const lane = this.#lanes.findOrAdd(file, owner)
    const id = ++this.#lastId
    lane.queue.push({ ...this.#operation(lane, 'lock', range), id, exclusive, wait })
    return { id, effects: this.#step(lane) }
  }

  unlock(file: NodeId, owner: LockOwnerName, range: LockRange): Started {
    const id = ++this.#lastId
    const lane = this.#lanes.find(file, owner)
    if (lane === undefined || (lane.held.size === 0 && lane.current === undefined && lane.queue.length === 0)) {
      return { id, effects: [{ type: 'done', id }] }
    }
    lane.queue.push({ ...this.#operation(lane, 'unlock', range), id })
    return { id, effects: this.#step(lane) }
  }

  /** The owner closed the file: everything it holds there goes (POSIX: at any close(2); flock(2): at the last). */
  release(file: NodeId, owner: LockOwnerName): Started {
    return this.unlock(file, owner, WHOLE_FILE)
  }

  /**
   * Whoever asked does not wait any more (FUSE_INTERRUPT): 'done' with EINTR. An unlock cannot be interrupted. If it was a
   * change from exclusive to shared and the server has made it, changing back may fail; then 'lost' tells.
   */
  interrupt(id: number): readonly LockEffect[] {
    const operation = this.#lanes.operation((one) => one.id === id && one.kind === 'lock')
    if (operation === undefined) return []
    const { lane } = operation
    this.#done(operation, 'EINTR')
    if (operation.cookie !== undefined) {
      // The answer will tell what there is to undo.
      operation.abandoned = true
      return this.#takeEffects()
    }
    this.#leave(operation)
    if (operation.asked) lane.queue.unshift(cancellation(operation))
    return this.#step(lane)
  }

  /** A call was answered. */
  answered(cookie: number, status: number): readonly LockEffect[] {
    const operation = this.#takeCall(cookie)
    if (operation === undefined) return []
    const { lane, kind, abandoned } = operation
    if (abandoned) this.#abandonedAnswered(operation, status)
    else if (kind === 'cancel') this.#cancelAnswered(operation, status)
    else if (operation.epoch !== this.#epoch) this.#answeredByPredecessor(operation)
    else if (kind === 'lock') this.#lockAnswered(operation, status)
    else if (kind === 'unlock') this.#unlockAnswered(operation, status)
    else if (status !== NLM4_GRANTED) this.#tellLost(lose(operation))
    return this.#step(lane)
  }

  /** A call failed for good (a soft mount gave up): nobody knows what the server made of it. */
  failed(cookie: number, error: ErrnoName): readonly LockEffect[] {
    const operation = this.#takeCall(cookie)
    if (operation === undefined) return []
    const { lane, kind, range, id, abandoned } = operation
    if (kind === 'reclaim') this.#tellLost(lose(operation))
    // A lock that we do not know of would keep everybody else out. What undoes is not undone again.
    else if (kind === 'cancel' || (kind === 'lock' && (id !== undefined || abandoned))) this.#restore(lane, range)
    this.#done(operation, error)
    return this.#step(lane)
  }

  /**
   * The server calls back (NLMPROC4_GRANTED). `accepted`: answer NLM4_GRANTED; else NLM4_DENIED, and the server may take
   * the lock back.
   */
  granted({ file, svid, range, exclusive }: NlmLock): {
    readonly accepted: boolean
    readonly effects: readonly LockEffect[]
  } {
    const lane = this.#lanes.ofSvid(file, svid)
    if (lane === undefined) return { accepted: false, effects: [] }
    const waiting = this.#lanes.operation(
      (one) =>
        one.lane === lane &&
        (one.kind === 'lock' || one.kind === 'cancel') &&
        one.wait &&
        one.asked &&
        !one.granted &&
        one.exclusive === exclusive &&
        one.range.start === range.start &&
        one.range.end === range.end,
    )
    if (waiting !== undefined) {
      const wanted = waiting.kind === 'lock' && !waiting.abandoned
      // It may have overtaken the answer BLOCKED, and be given up already: then the answer says when to undo it.
      waiting.granted = true
      if (waiting.cookie === undefined && wanted) this.#leave(waiting)
      if (wanted) this.#grant(waiting)
      return { accepted: true, effects: this.#step(lane) }
    }
    // Nobody waits for it. It may come twice, since our first answer got lost.
    const held = lane.held.find(range, (lock) => lock.start <= range.start && lock.end >= range.end)
    // Or too late: then a refusal would have the server take back what we lock there meanwhile. We do that ourselves.
    if (held === undefined || (exclusive && !held.exclusive)) this.#restore(lane, range)
    return { accepted: true, effects: this.#step(lane) }
  }

  /**
   * The server's status monitor told its state number, which grows with each restart: what is held is reclaimed, and what
   * waits asks again. Nothing happens if it is no news.
   */
  serverRestarted(state: number): readonly LockEffect[] {
    if (this.#serverState !== undefined && state <= this.#serverState) return []
    this.#serverState = state
    this.#epoch++
    for (const lane of [...this.#lanes.all()]) {
      this.#tellLost(weaken(lane))
      // Nobody waits at the new server: they ask again, when everything is reclaimed.
      const again = [...lane.blocked]
      lane.blocked.clear()
      if (lane.current !== undefined && lane.current.cookie === undefined) {
        again.unshift(lane.current)
        lane.current = undefined
      }
      // What was to be cancelled went with the old server.
      again.push(...lane.queue.filter(({ kind }) => kind !== 'cancel'))
      for (const operation of again) {
        operation.dueMs = undefined
        operation.asked = false
      }
      lane.queue = again
      // The grace period is short: all at once. Earlier ones that are not answered yet are waited for, too.
      for (const { start, end, exclusive } of lane.held.all()) {
        const reclaim = { ...this.#operation(lane, 'reclaim', { start, end }), exclusive }
        lane.reclaiming.add(reclaim)
        this.#send(reclaim)
      }
      this.#start(lane)
      this.#lanes.tidy(lane)
    }
    return this.#takeEffects()
  }

  /** What the status monitor said when the server was first asked, so that a restart can be told from it. */
  serverStateIs(state: number): void {
    this.#serverState ??= state
  }

  /** When `tick` has something to do; undefined: nothing waits for the clock. */
  deadlineMs(): number | undefined {
    let earliest: number | undefined
    for (const { dueMs } of this.#lanes.operations()) {
      if (dueMs !== undefined && (earliest === undefined || dueMs < earliest)) earliest = dueMs
    }
    return earliest
  }

  /** Time has passed. */
  tick(): readonly LockEffect[] {
    const now = this.#now()
    for (const operation of [...this.#lanes.operations()]) {
      const { lane, dueMs } = operation
      if (dueMs === undefined || dueMs > now) continue
      operation.dueMs = undefined
      if (lane.blocked.delete(operation)) lane.queue.push(operation)
      else if (lane.current === operation) {
        lane.current = undefined
        lane.queue.unshift(operation)
      }
      this.#start(lane)
    }
    return this.#takeEffects()
  }

  /** Locks held, of one file or of all. */
  held(file?: NodeId): HeldNlmLock[] {
    return [...this.#lanes.all()]
      .filter((lane) => file === undefined || lane.file === file)
      .flatMap((lane) => lane.held.all().map((lock) => viewOf(lane, lock, lock.exclusive)))
  }

  /** Who waits for a lock, and why. */
  waiting(): WaitingNlmLock[] {
    const found: WaitingNlmLock[] = []
    for (const one of this.#lanes.operations()) {
      if (one.kind === 'lock' && one.id !== undefined) found.push(waitingView(one, one.id))
    }
    return found
  }

  /** The number that stands for an owner on the wire; undefined: it holds nothing and wants nothing (any more). */
  svidOf(owner: LockOwnerName): number | undefined {
    return this.#lanes.svidOf(owner)
  }

  /** Something that nobody waits for any more is still to be taken back from the server. */
  isUndoing(file: NodeId, owner: LockOwnerName): boolean {
    const lane = this.#lanes.find(file, owner)
    if (lane === undefined) return false
    const { current, queue } = lane
    return (current !== undefined && current.id === undefined) || queue.some(({ id }) => id === undefined)
  }

  /** Whether anybody holds or wants anything of a file. */
  isBusy(file: NodeId): boolean {
    return this.#lanes.countOf(file) > 0
  }

  /** Whether anybody holds or wants anything. */
  get idle(): boolean {
    return this.#lanes.isEmpty
  }

  #operation(lane: Lane, kind: Operation['kind'], range: LockRange): Operation {
    return newOperation(lane, kind, range, this.#now())
  }

  #step(lane: Lane): readonly LockEffect[] {
    this.#start(lane)
    this.#lanes.tidy(lane)
    return this.#takeEffects()
  }

  #takeEffects(): readonly LockEffect[] {
    const effects = this.#effects
    this.#effects = []
    return effects
  }

  /** Sends the next call of a lane if none is under way. */
  #start(lane: Lane): void {
    if (lane.current !== undefined || lane.reclaiming.size > 0) return
    let operation = lane.queue.shift()
    while (operation !== undefined && (operation.kind === 'restore' || isNeedless(operation))) {
      if (operation.kind === 'restore') lane.queue.unshift(...restoration(operation))
      else this.#done(operation)
      operation = lane.queue.shift()
    }
    if (operation === undefined) return
    lane.current = operation
    // From now on nobody may count on it; if the server restarts, it is not reclaimed.
    if (operation.kind === 'unlock') hold(lane, operation.range)
    this.#send(operation)
  }

  #send(operation: Operation): void {
    const cookie = ++this.#lastCookie
    operation.cookie = cookie
    operation.epoch = this.#epoch
    operation.asked = true
    this.#calls.set(cookie, operation)
    this.#effects.push({ type: 'call', call: callOf(operation, cookie) })
  }

  #takeCall(cookie: number): Operation | undefined {
    const operation = this.#calls.get(cookie)
    if (operation === undefined) return undefined
    this.#calls.delete(cookie)
    operation.cookie = undefined
    const { lane } = operation
    lane.reclaiming.delete(operation)
    if (lane.current === operation) lane.current = undefined
    return operation
  }

  #lockAnswered(operation: Operation, status: number): void {
    const { lane, wait, granted } = operation
    // The callback was faster.
    if (granted) return
    if (status === NLM4_GRANTED) this.#grant(operation)
    else if (status === NLM4_DENIED_GRACE_PERIOD) this.#wait(operation)
    // A server that does not let anybody wait is asked again and again.
    else if (wait && (status === NLM4_BLOCKED || status === NLM4_DENIED)) {
      operation.dueMs = this.#now() + this.#pollMs(++operation.refusals)
      operation.asked = status === NLM4_BLOCKED
      lane.blocked.add(operation)
    } else {
      // What we only wanted to keep is not ours any more.
      if (operation.id === undefined) this.#tellLost(lose(operation))
      this.#done(operation, errnoOfNlm(status))
    }
  }

  /** Nobody wants the lock any more. */
  #abandonedAnswered(operation: Operation, status: number): void {
    const { lane, range, granted } = operation
    if (status === NLM4_GRANTED || granted) this.#restore(lane, range)
    else if (status === NLM4_BLOCKED) lane.queue.unshift(cancellation(operation))
  }

  #cancelAnswered({ lane, range, granted }: Operation, status: number): void {
    // DENIED: there was nothing to cancel, maybe because it had just been granted.
    if (status !== NLM4_GRANTED || granted) this.#restore(lane, range)
  }

  #unlockAnswered(operation: Operation, status: number): void {
    if (status === NLM4_DENIED_GRACE_PERIOD) this.#wait(operation)
    else if (status === NLM4_GRANTED) this.#done(operation)
    else this.#done(operation, errnoOfNlm(status))
  }

  /** The server that answered is not there any more: what it said does not hold, and is asked of the new one. */
  #answeredByPredecessor(operation: Operation): void {
    const { lane, kind, granted } = operation
    // All that is held is being reclaimed already.
    if (kind === 'reclaim' || granted) return
    operation.asked = false
    lane.queue.unshift(operation)
  }

  /** The server is in its grace period: the lane waits, so that the order of its calls stays. */
  #wait(operation: Operation): void {
    operation.dueMs = this.#now() + this.#graceMs
    if (operation.kind === 'lock') operation.asked = false
    operation.lane.current = operation
  }

  #grant(operation: Operation): void {
    const { lane, range, exclusive } = operation
    operation.dueMs = undefined
    hold(lane, range, { exclusive })
    this.#done(operation)
  }

  #tellLost(locks: readonly HeldNlmLock[]): void {
    for (const lock of locks) this.#effects.push({ type: 'lost', lock })
  }

  #restore(lane: Lane, range: LockRange): void {
    lane.queue.unshift(this.#operation(lane, 'restore', range))
  }

  #leave(operation: Operation): void {
    const { lane } = operation
    lane.blocked.delete(operation)
    lane.queue = lane.queue.filter((other) => other !== operation)
    if (lane.current === operation) lane.current = undefined
  }

  /** Tells whoever asked, once. */
  #done(operation: Operation, error?: ErrnoName): void {
    const { id } = operation
    operation.id = undefined
    if (id === undefined) return
    this.#effects.push(error === undefined ? { type: 'done', id } : { type: 'done', id, error })
  }
}
