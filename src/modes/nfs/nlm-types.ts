// What goes into the lock client and what comes out of it. The protocol is NLM version 4 (RFC 1813, appendix II; The Open
// Group, Protocols for Interworking: XNFS, chapter 10).
import type { ErrnoName } from '../../posix/errors.ts'
import type { LockRange, NodeId } from '../../vfs/filesystem.ts'

/** nlm4_stats (RFC 1813, appendix II). */
export const NLM4_STATS = {
  NLM4_GRANTED: 0,
  NLM4_DENIED: 1,
  NLM4_DENIED_NOLOCKS: 2,
  NLM4_BLOCKED: 3,
  NLM4_DENIED_GRACE_PERIOD: 4,
  NLM4_DEADLCK: 5,
  NLM4_ROFS: 6,
  NLM4_STALE_FH: 7,
  NLM4_FBIG: 8,
  NLM4_FAILED: 9,
} as const

export type Nlm4Stat = (typeof NLM4_STATS)[keyof typeof NLM4_STATS]

/** What a program sees of an answer that is no grant. A status that the protocol does not define is ENOLCK. */
export function errnoOfNlm(status: number): ErrnoName {
  switch (status) {
    case NLM4_STATS.NLM4_DENIED:
      return 'EAGAIN'
    case NLM4_STATS.NLM4_DEADLCK:
      return 'EDEADLK'
    case NLM4_STATS.NLM4_ROFS:
      return 'EROFS'
    case NLM4_STATS.NLM4_STALE_FH:
      return 'ESTALE'
    case NLM4_STATS.NLM4_FBIG:
      return 'EOVERFLOW'
    default:
      return 'ENOLCK'
  }
}

/** A lock as the protocol names it. */
export interface NlmLock {
  readonly file: NodeId
  /** Stands for one owner on this client, on all files. */
  readonly svid: number
  readonly range: LockRange
  readonly exclusive: boolean
}

export interface NlmCall {
  readonly procedure: 'LOCK' | 'CANCEL' | 'UNLOCK'
  /** Answer with the same one. */
  readonly cookie: number
  readonly owner: LockOwnerName
  readonly lock: NlmLock
  /** The server may answer NLM4_BLOCKED and call back. For CANCEL: what the LOCK had. */
  readonly block: boolean
  /** The lock was held before the server restarted. */
  readonly reclaim: boolean
}

export type LockEffect =
  /** Send it; answer with `answered` or `failed`. */
  | { readonly type: 'call'; readonly call: NlmCall }
  /** A `lock` or `unlock` is over. */
  | { readonly type: 'done'; readonly id: number; readonly error?: ErrnoName }
  /**
   * The server restarted and gave this lock to somebody else, or to nobody: its owner does not hold it any more. An
   * exclusive one that was just being changed to a shared one may still be held as that.
   */
  | { readonly type: 'lost'; readonly lock: HeldNlmLock }

/** For status views. */
export interface HeldNlmLock extends LockRange {
  readonly file: NodeId
  readonly owner: LockOwnerName
  readonly exclusive: boolean
}

export interface WaitingNlmLock extends HeldNlmLock {
  readonly id: number
  /** 'asking': the server has not answered. 'blocked': somebody else holds it. 'grace': the server has just restarted. */
  readonly state: 'queued' | 'asking' | 'blocked' | 'grace'
  readonly sinceMs: number
}

/** The caller's own name for an owner: a process, or an open file. A number and its digits are different owners. */
export type LockOwnerName = bigint | string

export interface LockAsked {
  readonly file: NodeId
  readonly owner: LockOwnerName
  readonly range: LockRange
  readonly exclusive: boolean
  /** F_SETLKW: wait for a conflicting lock to go. */
  readonly wait: boolean
}
