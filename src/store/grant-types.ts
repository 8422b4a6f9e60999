// What goes into the grant table and what comes out of it: rights, holders, operations, effects.

/**
 * What a client may cache of a file, as a set of bits with the values of SMB2_LEASE_*_CACHING (MS-SMB2 2.2.13.2.8).
 * An AFS callback promise is CACHE_READ; an exclusive oplock is CACHE_READ | CACHE_WRITE; a batch oplock is all three.
 */
export type Rights = number
export const CACHE_NOTHING = 0 satisfies Rights
/** Content and attributes; of a directory, its names. */
export const CACHE_READ = 1 satisfies Rights
/** The open file: closing may be put off. */
export const CACHE_HANDLE = 2 satisfies Rights
/** Changes that the server has not seen yet. */
export const CACHE_WRITE = 4 satisfies Rights
export const ALL_RIGHTS: Rights = CACHE_READ | CACHE_HANDLE | CACHE_WRITE

/** Rights as people write them: '', 'R', 'RW', 'RH', 'RWH'. */
export function rightsName(rights: Rights): string {
  return `${rights & CACHE_READ ? 'R' : ''}${rights & CACHE_WRITE ? 'W' : ''}${rights & CACHE_HANDLE ? 'H' : ''}`
}

interface Rule {
  /** What others lose. */
  readonly recall: Rights
  /** Which of it has to be given up before the operation goes on: there may be something to flush or to close. */
  readonly wait: Rights
}

/**
 * What an operation takes from other holders: MS-FSA 2.1.4.12 (check for an oplock break), and for AFS the breaking of
 * callbacks before a change is answered. Rights that only save reading need no answer; a mode that wants one (AFS
 * waits until its break was heard) says so with the operation.
 */
export const OPERATION_RULES = {
  open: { recall: CACHE_WRITE, wait: CACHE_WRITE },
  read: { recall: CACHE_WRITE, wait: CACHE_WRITE },
  write: { recall: CACHE_READ | CACHE_WRITE, wait: CACHE_WRITE },
  truncate: { recall: CACHE_READ | CACHE_WRITE, wait: CACHE_WRITE },
  lock: { recall: CACHE_READ | CACHE_WRITE, wait: CACHE_WRITE },
  /** Times, mode, owner, extended attributes, link count. */
  attributes: { recall: CACHE_READ | CACHE_WRITE, wait: CACHE_WRITE },
  /** In a directory a name was added, removed, or now means something else. */
  names: { recall: CACHE_READ | CACHE_WRITE, wait: CACHE_WRITE },
  /** An open that others' share modes forbid: they may be keeping a file open that its programs have closed. */
  shareConflict: { recall: CACHE_HANDLE, wait: CACHE_HANDLE },
  remove: { recall: CACHE_HANDLE, wait: CACHE_HANDLE },
  rename: { recall: CACHE_HANDLE, wait: CACHE_HANDLE },
} as const satisfies Record<string, Rule>

export type OperationKind = keyof typeof OPERATION_RULES

/** Never reused. */
export type GrantId = number
/** Never reused. */
export type OperationId = number

/** Who holds or asks: a client, and within it a lease key (SMB), an open (oplocks) or nothing (AFS). */
export interface Holder {
  readonly client: string
  /** Default ''. The same client and key never conflicts with itself. */
  readonly key?: string
}

export interface Operation extends Holder {
  /** Inode number. */
  readonly file: number
  readonly kind: OperationKind
  /** Whether to wait for all that is recalled (true), or for none of it (false). Default: what the rule says. */
  readonly wait?: boolean
  /** How long holders have to answer. Default: the table's. */
  readonly timeoutMs?: number
  /** The operation lasts: until `finish`, nobody is granted what it recalls. */
  readonly hold?: boolean
}

export interface AcquireRequest extends Holder {
  readonly file: number
  readonly rights: Rights
  /** When the promise ends by itself, in the milliseconds of `now`. Default: never. Renews an earlier promise. */
  readonly expiresAt?: number
  /** The client's count of changes of a new lease (MS-SMB2 2.2.13.2.10). */
  readonly epoch?: number
}

export interface Acquired {
  /** Absent if nothing was granted. */
  readonly grant?: GrantView
  /** What the holder has now; perhaps less than was asked for, perhaps more by an earlier request. */
  readonly rights: Rights
  readonly effects: readonly GrantEffect[]
}

export interface Conflict {
  readonly operation: OperationId
  /** Until there is a `proceed` with this id: perhaps among the effects already. */
  readonly waiting: boolean
  readonly effects: readonly GrantEffect[]
}

/** A recall under way. */
export interface Recall {
  readonly grant: GrantId
  readonly file: number
  readonly client: string
  readonly key: string
  readonly from: Rights
  readonly to: Rights
  /** The grant's epoch as of this recall. */
  readonly epoch: number
  /** Both in the milliseconds of `now`. */
  readonly since: number
  readonly deadline: number
}

export interface GrantView {
  readonly id: GrantId
  readonly file: number
  readonly client: string
  readonly key: string
  readonly rights: Rights
  /** Grows by one with each change that the client is told of: a wider grant, a recall. */
  readonly epoch: number
  /** When it was granted or last renewed, in the milliseconds of `now`. */
  readonly since: number
  /** Infinity: never. */
  readonly expiresAt: number
  readonly recall?: Recall
}

/** An operation that waits, and whose answers it waits for. */
export interface WaitingOperation {
  readonly id: OperationId
  readonly operation: Operation
  readonly since: number
  readonly waitsFor: readonly GrantView[]
}

/** Recalls that a client may never have heard of. */
export interface Undelivered {
  readonly client: string
  readonly count: number
  /** The first and the last of them, in the milliseconds of `now`. */
  readonly since: number
  readonly until: number
  /** It could not be reached: it is granted nothing, and recalls for it are not even tried, until it is back. */
  readonly unreachable: boolean
}

export type GrantEffect =
  /** To be sent to the holder. */
  | { readonly type: 'recall'; readonly recall: Recall }
  /** Nothing is in this operation's way any more. */
  | { readonly type: 'proceed'; readonly operation: OperationId }
  /** The client went away that wanted this operation. */
  | { readonly type: 'cancelled'; readonly operation: OperationId }
  /** A promise ended by itself; the client knows. */
  | { readonly type: 'expired'; readonly grant: GrantView }
  /** Taken away without an answer. */
  | { readonly type: 'revoked'; readonly grant: GrantView; readonly reason: 'timeout' | 'undelivered' }
