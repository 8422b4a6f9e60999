// Who waits for whom: the states that the lock table keeps of files, owners and waiting requests, and the questions
// asked of the graph between them. Nothing is stored as an edge; edges follow from what is held and what is queued.
//
// A waiting request waits for two things. For every held lock in its way: a held edge. And, so that nobody starves, for
// every earlier request in the file's queue that it conflicts with: a queue edge. A cycle of held edges is a deadlock of
// the programs. A cycle with a queue edge is one of our own making, and is undone by letting one request pass another.
import type { HeldLock, LockMode, LockRange, LockRanges } from './lock-ranges.ts'

export type LockClass = 'range' | 'flock'

/** Names a waiting request. Never reused. */
export type LockTicket = number

export interface OwnerState {
  readonly client: string
  readonly key: bigint | string
  /** Files in which this owner holds locks, and how many. */
  readonly files: Map<FileState, number>
  readonly waits: Set<WaitingLock>
}

export interface FileState {
  readonly file: number
  readonly locks: Readonly<Record<LockClass, LockRanges<OwnerState>>>
  /** In order of arrival. */
  readonly queue: Set<WaitingLock>
}

export interface WaitingLock extends LockMode {
  /** Grows with time: the smaller of two came first. */
  readonly ticket: LockTicket
  readonly owner: OwnerState
  readonly file: FileState
  readonly class: LockClass
  readonly range: LockRange
  readonly detectDeadlock: boolean
  /** Earlier requests in the queue that this one need not wait behind. */
  readonly mayPass: Set<LockTicket>
}

interface Wanted extends Pick<WaitingLock, 'file' | 'class' | 'range' | 'exclusive'> {
  /** Undefined: somebody who holds nothing anywhere. */
  readonly owner: OwnerState | undefined
}

const against = (wanted: Wanted) => (lock: HeldLock<OwnerState>) =>
  lock.owner !== wanted.owner && (lock.exclusive || wanted.exclusive)

/** The first held lock (lowest start) that conflicts with a request. */
export function conflictingLock(wanted: Wanted): HeldLock<OwnerState> | undefined {
  return wanted.file.locks[wanted.class].find(wanted.range, against(wanted))
}

/** All held locks that conflict with a request. */
export function conflictingLocks(wanted: Wanted): HeldLock<OwnerState>[] {
  return wanted.file.locks[wanted.class].filter(wanted.range, against(wanted))
}

/** The requests in the queue that this one has to wait behind. */
export function* queuedAhead(waiting: WaitingLock): Generator<WaitingLock> {
  for (const other of waiting.file.queue) {
    if (other.ticket >= waiting.ticket) return
    if (waitsBehind(waiting, other)) yield other
  }
}

function waitsBehind(later: WaitingLock, earlier: WaitingLock): boolean {
  return (
    later.owner !== earlier.owner &&
    later.class === earlier.class &&
    (later.exclusive || earlier.exclusive) &&
    later.range.start <= earlier.range.end &&
    earlier.range.start <= later.range.end &&
    !later.mayPass.has(earlier.ticket)
  )
}

export function isBlocked(waiting: WaitingLock): boolean {
  return conflictingLock(waiting) !== undefined || !queuedAhead(waiting).next().done
}

/**
 * The owners around the cycle which a request would close by waiting, or undefined: its owner first, each waiting for a
 * lock that the next one holds, the last for one of the first. Only requests that take part in detection count.
 */
export function findDeadlock(wanted: WaitingLock): OwnerState[] | undefined {
  const waitsFor = waitersFor(wanted.owner, 'held')
  const holder = conflictingLocks(wanted).find((lock) => waitsFor.has(lock.owner))?.owner
  if (holder === undefined) return undefined
  const cycle = [wanted.owner]
  for (let owner = holder; owner !== wanted.owner; owner = waitsFor.get(owner) ?? wanted.owner) cycle.push(owner)
  return cycle
}

/**
 * Undoes every cycle through `owner` that has a queue edge, by letting the request on that edge pass the one ahead.
 * Edges only go away here, so no new cycle comes of it. Returns the files in whose queues somebody may now be granted.
 */
export function untangle(owner: OwnerState): Set<FileState> {
  const changed = new Set<FileState>()
  const circle = waitersFor(owner, 'held and queued')
  if (circle.size === 1) return changed
  // Every such cycle begins at the owner with held edges (perhaps none) up to its first queue edge: cut it there.
  const reached = new Set([owner])
  for (const { waits } of reached) {
    for (const waiting of waits) {
      for (const ahead of queuedAhead(waiting)) {
        if (!circle.has(ahead.owner)) continue
        waiting.mayPass.add(ahead.ticket)
        changed.add(waiting.file)
      }
      for (const lock of conflictingLocks(waiting)) if (circle.has(lock.owner)) reached.add(lock.owner)
    }
  }
  return changed
}

/**
 * Everybody who waits for `owner`, directly or through others, each with the one that they wait for; `owner` itself
 * included. The search goes against the arrows, because most owners that ask for a lock have nobody waiting for them.
 */
function waitersFor(owner: OwnerState, edges: 'held' | 'held and queued'): Map<OwnerState, OwnerState> {
  const found = new Map([[owner, owner]])
  for (const waitedFor of found.keys()) {
    for (const file of waitedFor.files.keys()) {
      for (const waiting of file.queue) {
        if (found.has(waiting.owner) || (edges === 'held' && !waiting.detectDeadlock)) continue
        const blocks = (lock: HeldLock<OwnerState>) => lock.owner === waitedFor && (lock.exclusive || waiting.exclusive)
        if (file.locks[waiting.class].find(waiting.range, blocks)) found.set(waiting.owner, waitedFor)
      }
    }
    if (edges === 'held') continue
    for (const ahead of waitedFor.waits) {
      for (const waiting of ahead.file.queue) {
        if (found.has(waiting.owner) || waiting.ticket < ahead.ticket) continue
        if (waitsBehind(waiting, ahead)) found.set(waiting.owner, waitedFor)
      }
    }
  }
  return found
}
