// How a remote call fails, other than by a result that says so.
import type { ErrnoName } from '../../posix/errors.ts'
import type { AcceptStatus } from './message.ts'

/** The statuses of RFC 5531 §9 that are no success, and what happens on this side. */
export type OncFailure =
  | Exclude<AcceptStatus, 'SUCCESS'>
  | 'RPC_MISMATCH'
  | 'AUTH_ERROR'
  /** A soft call: no answer after all retransmissions. */
  | 'TIMED_OUT'
  /** The caller's signal was aborted. */
  | 'INTERRUPTED'
  /** This client was closed. */
  | 'CLOSED'
  /** The arguments cannot be encoded. */
  | 'BAD_ARGS'
  /** The answer cannot be decoded. */
  | 'BAD_REPLY'

const ERRNO: Readonly<Record<OncFailure, ErrnoName>> = {
  PROG_UNAVAIL: 'EPROTONOSUPPORT',
  PROG_MISMATCH: 'EPROTONOSUPPORT',
  PROC_UNAVAIL: 'EOPNOTSUPP',
  GARBAGE_ARGS: 'EIO',
  SYSTEM_ERR: 'EIO',
  RPC_MISMATCH: 'EPROTONOSUPPORT',
  AUTH_ERROR: 'EACCES',
  TIMED_OUT: 'ETIMEDOUT',
  INTERRUPTED: 'EINTR',
  CLOSED: 'ENOTCONN',
  BAD_ARGS: 'EINVAL',
  BAD_REPLY: 'EIO',
}

/** A call that got no result. `FsError.from` takes over its errno. */
export class OncError extends Error {
  override readonly name = 'OncError'
  readonly reason: OncFailure
  readonly code: ErrnoName

  constructor(reason: OncFailure, message: string, options?: ErrorOptions) {
    super(`${reason}: ${message}`, options)
    this.reason = reason
    this.code = ERRNO[reason]
  }
}
