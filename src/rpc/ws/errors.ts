// How a call fails, other than by a result that says so: with an errno (FsError), with an error of the program's table
// (ServiceError), or because it could not be made or understood (WsError). Nothing else crosses the wire.
import { type ErrnoName, FsError, isErrnoName } from '../../posix/errors.ts'

/** What the other side refuses a call for. */
export const REFUSALS = [
  'PROG_UNAVAIL',
  'PROG_MISMATCH',
  'PROC_UNAVAIL',
  'GARBAGE_ARGS',
  /** It was executed, maybe: the server has forgotten the answer. */
  'OUTCOME_UNKNOWN',
  /** There is too much to do. */
  'BUSY',
] as const
export type Refusal = (typeof REFUSALS)[number]

export type WsFailure =
  | Refusal
  /** No answer within the time that the caller had given. */
  | 'TIMED_OUT'
  /** The caller's signal was aborted. */
  | 'INTERRUPTED'
  /** This client was closed. */
  | 'CLOSED'
  /** The connection is gone, and the call is not one that could be repeated. */
  | 'DISCONNECTED'
  /** The arguments are not what can be sent. */
  | 'BAD_ARGS'
  /** The answer is not what the table says. */
  | 'BAD_REPLY'
  /** The other side does not know the token, or wants one. */
  | 'UNAUTHORIZED'

const ERRNO: Readonly<Record<WsFailure, ErrnoName>> = {
  PROG_UNAVAIL: 'EPROTONOSUPPORT',
  PROG_MISMATCH: 'EPROTONOSUPPORT',
  PROC_UNAVAIL: 'EOPNOTSUPP',
  GARBAGE_ARGS: 'EIO',
  OUTCOME_UNKNOWN: 'EIO',
  BUSY: 'EAGAIN',
  TIMED_OUT: 'ETIMEDOUT',
  INTERRUPTED: 'EINTR',
  CLOSED: 'ENOTCONN',
  DISCONNECTED: 'ECONNRESET',
  BAD_ARGS: 'EINVAL',
  BAD_REPLY: 'EIO',
  UNAUTHORIZED: 'EACCES',
}

/** A call that got no answer of its program. `FsError.from` takes over its errno. */
export class WsError extends Error {
  override readonly name = 'WsError'
  readonly reason: WsFailure
  readonly code: ErrnoName

  constructor(reason: WsFailure, message: string, options?: ErrorOptions) {
    super(`${reason}: ${message}`, options)
    this.reason = reason
    this.code = ERRNO[reason]
  }
}

/** An error that the table of a program names, with what the table says is told with it. An answer, not a defect. */
export class ServiceError extends Error {
  override readonly name = 'ServiceError'
  readonly code: string
  readonly detail: unknown

  constructor(code: string, detail?: unknown) {
    const { stackTraceLimit } = Error
    Error.stackTraceLimit = 0
    super(code)
    Error.stackTraceLimit = stackTraceLimit
    this.code = code
    this.detail = detail
  }
}

/** The peer does what the protocol forbids: the connection ends. */
export class ProtocolError extends Error {
  override readonly name = 'ProtocolError'
}

/** An error as traces know it. */
export function errnoOf(error: unknown): ErrnoName {
  if (error instanceof FsError || error instanceof WsError) return error.code
  if (error instanceof ServiceError) return isErrnoName(error.code) ? error.code : 'EREMOTEIO'
  return 'EIO'
}
