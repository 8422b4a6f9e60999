// What a reply says: a result, or why there is none.
import { DecodeError } from '../../codec/errors.ts'
import type { XdrReader } from '../../codec/xdr.ts'
import { OncError } from './errors.ts'
import { ReplyBody } from './message.ts'
import type { Procedure } from './program.ts'

/** The result in a reply, whose start was read already. OncError for every other reply, and for one that makes no sense. */
export function readResult<R>(from: XdrReader, procedure: Procedure<never, R>): R {
  const { name } = procedure
  try {
    const body = ReplyBody.read(from)
    if (body.state === 'MSG_ACCEPTED' && body.outcome.status === 'SUCCESS') {
      const result = procedure.result.read(from)
      from.finish()
      return result
    }
    throw refusal(body, procedure)
  } catch (error) {
    if (error instanceof DecodeError) throw new OncError('BAD_REPLY', `${name}: ${error.message}`, { cause: error })
    throw error
  }
}

function refusal(body: ReplyBody, { name, version }: Procedure<never, unknown>): OncError {
  if (body.state === 'MSG_DENIED') {
    const { reason } = body
    if (reason.status === 'AUTH_ERROR') return new OncError('AUTH_ERROR', `${name}: ${reason.why}`)
    return new OncError('RPC_MISMATCH', `the server speaks ONC RPC ${reason.low} to ${reason.high}`)
  }
  const { outcome } = body
  switch (outcome.status) {
    case 'PROG_MISMATCH':
      return new OncError('PROG_MISMATCH', `${name}: version ${version}, served are ${outcome.low} to ${outcome.high}`)
    case 'SUCCESS':
      return new OncError('BAD_REPLY', name)
    default:
      return new OncError(outcome.status, name)
  }
}
