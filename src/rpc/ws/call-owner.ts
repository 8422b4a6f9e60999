// What a call that came is, and what has to know what becomes of it.
import type { ErrnoName } from '../../posix/errors.ts'
import type { IncomingBytes } from './incoming-bytes.ts'
import type { IncomingCall } from './incoming-call.ts'
import type { WsPeer } from './peer.ts'
import type { AnyProcedure } from './program.ts'

/** How a call ended, for statistics and traces. */
export interface Outcome {
  readonly error?: ErrnoName
  readonly detail?: string
  /** It was not handled to an end. */
  readonly refusal?: true
}

/** What has to know what becomes of a call: one object for all calls of a connection. */
export interface CallOwner {
  readonly peer: WsPeer
  /** What to answer if it comes again. */
  answered(call: IncomingCall, answer: Buffer): void
  /** It was not executed to an end: if it comes again, it begins anew. */
  undone(call: IncomingCall): void
  /** It ended, so. */
  over(call: IncomingCall, outcome: Outcome): void
  /** The answer to it went elsewhere, or nowhere: its connection has nothing to do with it any more. */
  finished(call: IncomingCall): void
  failed(call: IncomingCall, error: unknown): void
}

export interface IncomingCallOptions {
  readonly id: number
  readonly procedure: AnyProcedure
  /** What comes with it, if its procedure takes bytes. */
  readonly bytes: IncomingBytes | undefined
  /** It is executed once, however often it comes: also while its caller is not connected. */
  readonly remembers: boolean
  readonly startedAt: number
}

/** The same call, come again over another connection while it is in progress. */
export interface Repetition {
  readonly bytes: IncomingBytes | undefined
  readonly owner: CallOwner
  /** The call came to nothing, for what did not come over the first connection: this one takes its place. */
  anew(): void
}
