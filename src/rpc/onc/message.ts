// The messages of ONC RPC version 2 (RFC 5531 §9): what stands before arguments and results.
import { enumeration, opaque, struct, u32, union, type Value } from '../../codec/xdr.ts'

export const RPC_VERSION = 2

/** The most bytes that a call or reply has before its arguments or results. */
export const HEADER_BYTES = 24 + 2 * (8 + 400)

/** `opaque_auth` (RFC 5531 §8.2): a flavor and what it means by its body. */
export const OpaqueAuth = struct({ flavor: u32, body: opaque(400) })
export type OpaqueAuth = Value<typeof OpaqueAuth>

export const CALL = 0
export const REPLY = 1

/** What every call begins with, whatever its RPC version. */
export const CallStart = struct({ xid: u32, type: u32, rpcVersion: u32 })

/** `call_body` (RFC 5531 §9) behind the RPC version. */
export const CallBody = struct({
  program: u32,
  version: u32,
  procedure: u32,
  credential: OpaqueAuth,
  verifier: OpaqueAuth,
})
export type CallBody = Value<typeof CallBody>

/** `auth_stat` (RFC 5531 §9): why a credential or a verifier was refused. Those of RPCSEC_GSS have names, too. */
export const AuthStatus = enumeration({
  AUTH_OK: 0,
  AUTH_BADCRED: 1,
  AUTH_REJECTEDCRED: 2,
  AUTH_BADVERF: 3,
  AUTH_REJECTEDVERF: 4,
  AUTH_TOOWEAK: 5,
  AUTH_INVALIDRESP: 6,
  AUTH_FAILED: 7,
  AUTH_KERB_GENERIC: 8,
  AUTH_TIMEEXPIRE: 9,
  AUTH_TKT_FILE: 10,
  AUTH_DECODE: 11,
  AUTH_NET_ADDR: 12,
  RPCSEC_GSS_CREDPROBLEM: 13,
  RPCSEC_GSS_CTXPROBLEM: 14,
})
export type AuthStatus = Value<typeof AuthStatus>

const AcceptStatus = enumeration({
  SUCCESS: 0,
  PROG_UNAVAIL: 1,
  PROG_MISMATCH: 2,
  PROC_UNAVAIL: 3,
  GARBAGE_ARGS: 4,
  SYSTEM_ERR: 5,
})
export type AcceptStatus = Value<typeof AcceptStatus>

const versions = { low: u32, high: u32 }

/** `reply_body` (RFC 5531 §9) up to the results, which follow SUCCESS. */
export const ReplyBody = union('state', enumeration({ MSG_ACCEPTED: 0, MSG_DENIED: 1 }), {
  MSG_ACCEPTED: { verifier: OpaqueAuth, outcome: union('status', AcceptStatus, { PROG_MISMATCH: versions }, {}) },
  MSG_DENIED: {
    reason: union('status', enumeration({ RPC_MISMATCH: 0, AUTH_ERROR: 1 }), {
      RPC_MISMATCH: versions,
      AUTH_ERROR: { why: AuthStatus },
    }),
  },
})
export type ReplyBody = Value<typeof ReplyBody>

/** What every reply begins with. */
export const ReplyStart = struct({ xid: u32, type: u32 })

/** The body of an answer that is not a refusal by the RPC layer, and of those that are. */
export const accepted = (outcome: Extract<ReplyBody, { state: 'MSG_ACCEPTED' }>['outcome']): ReplyBody => ({
  state: 'MSG_ACCEPTED',
  verifier: NO_AUTH,
  outcome,
})

export const denied = (reason: Extract<ReplyBody, { state: 'MSG_DENIED' }>['reason']): ReplyBody => ({
  state: 'MSG_DENIED',
  reason,
})

/** AUTH_NONE with an empty body. */
export const NO_AUTH: OpaqueAuth = { flavor: 0, body: Buffer.alloc(0) }
