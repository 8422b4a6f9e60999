// What goes into the lock table and what comes out of it.
import type { LockMode, LockRange } from './lock-ranges.ts'
import type { LockClass, LockTicket } from './wait-graph.ts'

export type { LockClass, LockMode, LockRange, LockTicket }

/** Who owns a lock: one process, open file or handle of one client. */
export interface LockOwner {
  readonly client: string
  /** The client's own name for the owner; opaque. */
  readonly owner: bigint | string
}

export interface LockTableRequest extends LockOwner {
  /** Inode number. */
  readonly file: number
  readonly range: LockRange
  readonly kind: 'shared' | 'exclusive' | 'unlock'
  /**
   * Locks of different classes never conflict. 'range': fcntl(2), NLM, SMB, and flock(2) as the NFS client of Linux
   * does it. 'flock': whole-file locks of flock(2); `range` is not looked at.
   */
  readonly class: LockClass
  readonly pid: number
  /** Whether to queue behind conflicting locks, or to be refused. */
  readonly wait: boolean
  /** Others' reads and writes are to be refused too: see `blockedIo`. Default false. */
  readonly mandatory?: boolean
  /** Refuse to wait where waiting would close a cycle. Default: for class 'range', as Linux has it. */
  readonly detectDeadlock?: boolean
}

/** A held lock, as status views and F_GETLK show it. */
export interface LockView extends LockRange, LockMode, LockOwner {
  readonly file: number
  readonly class: LockClass
}

/** A waiting request, and what it waits for: held locks, and earlier requests in the queue. */
export interface WaiterView extends LockView {
  readonly ticket: LockTicket
  readonly blockedBy: readonly LockView[]
  readonly queuedBehind: readonly LockTicket[]
}

/** What an event did to requests that were waiting before it. */
export interface LockEffects {
  /** Granted now, in order. */
  readonly granted: readonly LockTicket[]
  /** Gone without being granted. */
  readonly cancelled: readonly LockTicket[]
}

export type LockOutcome = { readonly effects: LockEffects } & (
  | { readonly type: 'granted' }
  | { readonly type: 'waiting'; readonly ticket: LockTicket }
  /** Refused: EAGAIN. */
  | { readonly type: 'conflict'; readonly lock: LockView }
  /** Refused: EDEADLK. Each owner waits for the next, the last for the first, who asked. */
  | { readonly type: 'deadlock'; readonly cycle: readonly LockOwner[] }
  /** Refused: ENOLCK. */
  | { readonly type: 'limit' }
)

export interface LockLimits {
  /** Ranges that one owner holds in one file, its waiting requests included. Default 16,384. */
  readonly perOwner: number
  /** The same for all owners of one file together. Default 131,072. */
  readonly perFile: number
  /** Ranges that all owners of one client hold in all files. Default 262,144. */
  readonly perClient: number
  /** All ranges, held and waited for. Default 1,048,576. */
  readonly total: number
}
