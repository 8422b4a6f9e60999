// A lane is what one owner does with the locks of one file: what it holds, what is under way, what comes next. The calls
// of a lane go out one after the other. Here is what does not depend on the server's answers.
import type { LockRange, LockRanges } from '../../store/lock-ranges.ts'
import type { NodeId } from '../../vfs/filesystem.ts'
import type { HeldNlmLock, LockOwnerName, NlmCall, WaitingNlmLock } from './nlm-types.ts'

export interface Operation {
  /** 'restore': the server may have given us the range in a mode that nobody wants; it is told what we do hold there. */
  readonly kind: 'lock' | 'unlock' | 'cancel' | 'reclaim' | 'restore'
  readonly lane: Lane
  readonly range: LockRange
  readonly exclusive: boolean
  readonly wait: boolean
  /** Who is to be told; undefined: nobody, or not any more. */
  id: number | undefined
  /** Of the call that is under way. */
  cookie: number | undefined
  /** The server's life in which it was sent. */
  epoch: number
  /** The server may have it in its queue. */
  asked: boolean
  /** When to ask again. */
  dueMs: number | undefined
  /** Whoever asked has been interrupted; the answer is still to come. */
  abandoned: boolean
  /** The server's callback came before its answer. */
  granted: boolean
  /** How often the server let it wait. */
  refusals: number
  readonly sinceMs: number
}

export interface Lane {
  readonly file: NodeId
  readonly owner: LockOwnerName
  readonly svid: number
  readonly held: LockRanges<Lane>
  /** Under way, or waiting for the end of the server's grace period: the next one has to wait. */
  current: Operation | undefined
  queue: Operation[]
  /** Reclaims under way. They need not wait for what is under way, which touches none of the same bytes. */
  readonly reclaiming: Set<Operation>
  /** Requests that the server lets wait. */
  readonly blocked: Set<Operation>
}

const PROCEDURES = { lock: 'LOCK', unlock: 'UNLOCK', cancel: 'CANCEL', reclaim: 'LOCK', restore: 'UNLOCK' } as const

export function newOperation(lane: Lane, kind: Operation['kind'], range: LockRange, sinceMs: number): Operation {
  return {
    kind,
    lane,
    range,
    exclusive: false,
    wait: false,
    id: undefined,
    cookie: undefined,
    epoch: 0,
    asked: false,
    dueMs: undefined,
    abandoned: false,
    granted: false,
    refusals: 0,
    sinceMs,
  }
}

/** Takes a request that waits back from the server. */
export function cancellation(operation: Operation): Operation {
  return { ...operation, kind: 'cancel', id: undefined, cookie: undefined, dueMs: undefined, abandoned: false }
}

/** What it takes to restore a range, now that everything before is done. */
export function restoration({ lane, range, sinceMs }: Operation): Operation[] {
  const calls: Operation[] = []
  let at = range.start
  for (const lock of lane.held.filter(range, () => true)) {
    const { start, end } = common(lock, range)
    if (start > at) calls.push(newOperation(lane, 'unlock', { start: at, end: start - 1 }, sinceMs))
    calls.push({ ...newOperation(lane, 'lock', { start, end }, sinceMs), exclusive: lock.exclusive })
    at = end + 1
  }
  if (at <= range.end) calls.push(newOperation(lane, 'unlock', { start: at, end: range.end }, sinceMs))
  return calls
}

/** Nothing is locked there, and the server does not think so either. */
export function isNeedless({ kind, id, asked, lane, range }: Operation): boolean {
  return kind === 'unlock' && id !== undefined && !asked && lane.held.find(range, () => true) === undefined
}

export function callOf({ kind, lane, range, exclusive, wait }: Operation, cookie: number): NlmCall {
  const lock = { file: lane.file, svid: lane.svid, range, exclusive }
  return { procedure: PROCEDURES[kind], cookie, owner: lane.owner, lock, block: wait, reclaim: kind === 'reclaim' }
}

/** The owner of a lane holds a range in a mode from now on; without one, not any more. */
export function hold(lane: Lane, range: LockRange, mode?: { readonly exclusive: boolean }): void {
  lane.held.apply(lane.held.plan(lane, range, mode && { exclusive: mode.exclusive, mandatory: false, pid: 0 }))
}

/** The server does not give us what the operation was to keep. Returns what is lost. */
export function lose({ lane, range, exclusive }: Operation): HeldNlmLock[] {
  // What was unlocked or locked anew meanwhile is another matter.
  const lost = lane.held.filter(range, (one) => one.exclusive === exclusive).map((lock) => common(lock, range))
  for (const part of lost) hold(lane, part)
  return lost.map((part) => viewOf(lane, part, exclusive))
}

/**
 * A server that is gone may have changed exclusive locks to shared ones, as it was asked, without our having heard of it,
 * and may have let others in: to reclaim more would take it from them. Returns what is not exclusive any more.
 */
export function weaken(lane: Lane): HeldNlmLock[] {
  const asked = [...lane.blocked, ...(lane.current ? [lane.current] : [])]
  return asked
    .filter(({ kind, exclusive }) => kind === 'lock' && !exclusive)
    .flatMap(({ range }) => {
      const weak = lane.held.filter(range, (one) => one.exclusive).map((lock) => common(lock, range))
      for (const part of weak) hold(lane, part, { exclusive: false })
      return weak.map((part) => viewOf(lane, part, true))
    })
}

export function viewOf({ file, owner }: Lane, { start, end }: LockRange, exclusive: boolean): HeldNlmLock {
  return { file, owner, start, end, exclusive }
}

export function waitingView(operation: Operation, id: number): WaitingNlmLock {
  const { lane, range, exclusive, sinceMs } = operation
  return { ...viewOf(lane, range, exclusive), id, state: stateOf(operation), sinceMs }
}

function stateOf(operation: Operation): WaitingNlmLock['state'] {
  if (operation.lane.blocked.has(operation)) return 'blocked'
  if (operation.cookie !== undefined) return 'asking'
  return operation.dueMs === undefined ? 'queued' : 'grace'
}

function common(a: LockRange, b: LockRange): LockRange {
  return { start: Math.max(a.start, b.start), end: Math.min(a.end, b.end) }
}
