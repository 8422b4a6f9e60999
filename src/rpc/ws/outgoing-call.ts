// One call that this side makes, from its arguments to the end of its answer.
import { FsError, isErrnoName } from '../../posix/errors.ts'
import { rpcChannel, traceTime } from '../../trace/trace.ts'
import type { ProcedureCounters } from '../statistics.ts'
import { errnoOf, REFUSALS, type Refusal, ServiceError, WsError } from './errors.ts'
import type { Frame } from './frames.ts'
import type { IncomingBytes } from './incoming-bytes.ts'
import type { OutgoingBytes } from './outgoing-bytes.ts'
import type { BytesOptions } from './peer.ts'
import type { Pending } from './pending-calls.ts'
import type { AnyProcedure } from './program.ts'
import { check } from './schemas.ts'

type FailureFrame = Extract<Frame, { kind: 'failure' }>

/** What is known of a call from its beginning. */
interface Asked {
  readonly id: number
  readonly procedure: AnyProcedure
  readonly frame: Buffer
  /** Those that do not go along in the frame. */
  readonly bytes: Exclude<BytesOptions['bytes'], Uint8Array> | undefined
  readonly length: number | undefined
  readonly left: BytesOptions['left'] | undefined
  readonly startedAt: number
  readonly counters: ProcedureCounters
  resolve(result: unknown): void
  reject(error: unknown): void
}

export class OutgoingCall implements Pending {
  readonly asked: Asked
  readonly id: number
  readonly idempotent: boolean
  readonly repeatable: boolean
  transmissions = 0
  answered = false
  abandoned = false
  /** Nobody is to be told anything any more. */
  settled = false
  /** What waits for its end: a timer, a signal. */
  release: (() => void) | undefined
  outgoing: OutgoingBytes | undefined
  incoming: IncomingBytes | undefined
  received = 0
  sent: number

  constructor(asked: Asked) {
    this.asked = asked
    this.id = asked.id
    this.idempotent = asked.procedure.idempotent
    this.repeatable = typeof asked.bytes !== 'object'
    this.sent = asked.frame.length
  }
}

/** No more of its bytes is sent. */
export function stop(call: OutgoingCall): void {
  const { outgoing } = call
  if (outgoing === undefined) return
  outgoing.stop()
  call.outgoing = undefined
  call.sent += outgoing.sentBytes
  call.asked.counters.bytesSent += outgoing.sentBytes
}

/** The error that a failure tells of. What the table does not have is not believed. */
export function errorOf({ by, code, detail }: FailureFrame, { name, errors }: AnyProcedure): Error {
  if (by === 'errno' && isErrnoName(code)) return new FsError(code)
  if (by === 'refusal' && (REFUSALS as readonly string[]).includes(code)) return new WsError(code as Refusal, name)
  const schema = by === 'service' && Object.hasOwn(errors, code) ? errors[code] : undefined
  const checked = schema === undefined ? undefined : check(schema, detail)
  if (checked === undefined || 'wrong' in checked) return new WsError('BAD_REPLY', `${name}: an error of no known kind`)
  return new ServiceError(code, checked.value)
}

/** Tells traces how it ended. */
export function trace(
  { asked, sent, received, transmissions }: OutgoingCall,
  error: unknown,
  { us, peer, mount }: { readonly us: number; readonly peer: string; readonly mount: string | undefined },
): void {
  rpcChannel.publish({
    ...{ time: traceTime(), op: asked.procedure.name, side: 'client', peer, us, bytes: sent + received },
    ...(error === undefined ? {} : { error: errnoOf(error) }),
    ...(mount === undefined ? {} : { mount }),
    ...(error instanceof WsError ? { detail: error.reason } : {}),
    ...(error instanceof ServiceError ? { detail: error.code } : {}),
    ...(transmissions > 1 ? { detail: `${transmissions - 1} retransmissions` } : {}),
  })
}
