// What goes into the lock client and what comes out of it. The protocol is NLM version 4 (RFC 1813, appendix II; The Open
// Group, Protocols for Interworking: XNFS, chapter 10).
import type { ErrnoName } from '../../posix/errors.ts'
import type { OpaqueAuth } from '../../rpc/onc/message.ts'
import type { FileLock, LockRange, NodeId } from '../../vfs/filesystem.ts'

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

/** An owner as the server is to see it. */
export interface LockHolder {
  /** The process that asked first; an open file may have come from it by fork(2). */
  readonly pid: number
  /** In whose name calls are made. */
  readonly credential: OpaqueAuth
}

/** What TEST found: a status, and with NLM4_DENIED who stands in the way. `pid` 0: no process of this machine. */
export interface NlmTested {
  readonly status: number
  readonly lock?: FileLock
}

/** The server's lock manager, as the locks of a mount see it. Calls fail with FsError. */
export interface LockManager {
  /** nlm4_stats. A restart of the server is told before an answer of the new one. */
  send(call: NlmCall, handle: Buffer, holder: LockHolder): Promise<number>
  test(lock: NlmLock, handle: Buffer, holder: LockHolder, signal: AbortSignal): Promise<NlmTested>
  /** How long a request that was let wait so many times waits for a callback, in milliseconds. */
  pollMs(times: number): number
  status(): LockManagerStatus
  close(): void
}

/** For status views. */
export interface LockManagerStatus {
  /** Its address; absent: it was not needed yet. */
  readonly server?: string
  readonly connection: string
  /** It calls back when a lock comes that was waited for; otherwise it is asked again and again. */
  readonly callsBack: boolean
  /** By procedure. */
  readonly calls: Readonly<Record<string, number>>
}

/** What a lock manager tells. */
export interface LockManagerEvents {
  /** GRANTED: whether the lock is taken. */
  granted(handle: Buffer, lock: Omit<NlmLock, 'file'>): boolean
  /** Which life of the server this is, counted from 1; told at first, and when it changes. */
  serverLife(life: number): void
  /** Whether there is anything that a restart of the server could take away. */
  atStake(): boolean
}
