// What goes into the write-behind of one file and what comes out of it.
import type { ErrnoName } from '../../posix/errors.ts'
import type { WriteBudget } from './write-budget.ts'

/** stable_how (RFC 1813 §3.3.7). */
export type Stability = 'unstable' | 'dataSync' | 'fileSync'

/**
 * How far a flush goes. 'server': the server has the bytes, and other clients see them. 'stable': it will not lose them, as
 * it says itself. 'committed': it said so to a COMMIT; servers can be set up (`async`) to say it of a WRITE too early.
 */
export type FlushDepth = 'server' | 'stable' | 'committed'

export type WriteEffect =
  /** Send a WRITE, answer with `written`, `failed` or `retry`. The pieces are the bytes, in order, and stay so until then. */
  | {
      readonly type: 'write'
      readonly request: number
      readonly offset: number
      readonly length: number
      readonly pieces: readonly Uint8Array[]
      readonly stability: Stability
    }
  /** Send a COMMIT, answer with `committed`, `failed` or `retry`. `length` 0: from `offset` to the end. */
  | { readonly type: 'commit'; readonly request: number; readonly offset: number; readonly length: number }
  /** A flush is over. `error`: the first one of a write that this handle has not heard of yet; it has now. */
  | { readonly type: 'flushed'; readonly ticket: number; readonly error?: ErrnoName }
  /** Nothing is under way that could undo it: send the SETATTR with this size, answer with `truncated`. */
  | { readonly type: 'truncate'; readonly size: number }
  /** These bytes could not be written and are given up: what the kernel has of them is not what the file has. */
  | { readonly type: 'lost'; readonly offset: number; readonly length: number }
  /** Fewer bytes are kept: who waits because of `admits`, for any file of the mount, may look again. */
  | { readonly type: 'freed' }

export interface WriteBehindOptions {
  /** Largest WRITE (wsize). */
  readonly writeBytes: number
  /** What all files of the mount keep together. */
  readonly budget: WriteBudget
  /** What this file may keep. Default 64 MiB. */
  readonly maxBytes?: number
  /** Most WRITEs under way at once. Default 16. */
  readonly maxUnderWay?: number
}

export interface WriteFacts {
  readonly dirtyBytes: number
  readonly sentBytes: number
  readonly uncommittedBytes: number
}

export const NO_WRITES: WriteFacts = { dirtyBytes: 0, sentBytes: 0, uncommittedBytes: 0 }
