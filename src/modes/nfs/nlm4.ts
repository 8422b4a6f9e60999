// The lock manager's protocol, NLM version 4, as one table (RFC 1813 appendix II; The Open Group, Protocols for
// Interworking: XNFS, chapter 10, which has the procedures that the RFC leaves out).
//
// Statuses are numbers, NLM4_STATS: one that the protocol does not define is to be understood as a refusal, not as a
// message that makes no sense. What stands beside the status of a TEST is there for NLM4_DENIED only.

import { bool, i32, nothing, opaque, struct, text, u64big, union, type Value } from '../../codec/xdr.ts'
import type { ErrnoName } from '../../posix/errors.ts'
import { procedure, program } from '../../rpc/onc/program.ts'
import { errnoOfNlm, NLM4_STATS } from './nlm-types.ts'

/** Bytes: LM_MAXSTRLEN, MAXNETOBJ_SZ, LM_MAXNAMELEN. */
const NAME_BYTES_MAX = 1024
const NETOBJ_BYTES_MAX = 1024
const NOTIFIED_NAME_BYTES_MAX = 1025

const netobj = opaque(NETOBJ_BYTES_MAX)
const callerName = text(NAME_BYTES_MAX)

/** A byte range; length 0 reaches to the end of the file, however long it grows. */
const range = { offset: u64big, length: u64big }

/** `nlm4_holder`: who is in the way, and with what. */
export const nlm4_holder = struct({ exclusive: bool, svid: i32, oh: netobj, ...range })
export type Nlm4Holder = Value<typeof nlm4_holder>

/** `nlm4_lock`. `callerName`, `svid` and `oh` together name an owner; `fh` is the file's NFS handle. */
export const nlm4_lock = struct({ callerName, fh: netobj, oh: netobj, svid: i32, ...range })
export type Nlm4Lock = Value<typeof nlm4_lock>

/** Any result but that of a TEST, a SHARE or an UNSHARE. */
export const nlm4_res = struct({ cookie: netobj, stat: i32 })

export const nlm4_testargs = struct({ cookie: netobj, exclusive: bool, lock: nlm4_lock })
export type Nlm4TestArguments = Value<typeof nlm4_testargs>

/** `nlm4_testrply` is part of the reply `test`: `'holder' in test` when the lock would be refused. */
export const nlm4_testres = struct({
  cookie: netobj,
  test: union('stat', i32, { [NLM4_STATS.NLM4_DENIED]: { holder: nlm4_holder } }, {}),
})
export type Nlm4TestResult = Value<typeof nlm4_testres>

/** `state`: the client's NSM state number; 0 if it has none. */
export const nlm4_lockargs = struct({
  cookie: netobj,
  block: bool,
  exclusive: bool,
  lock: nlm4_lock,
  reclaim: bool,
  state: i32,
})
export type Nlm4LockArguments = Value<typeof nlm4_lockargs>

/** As the LOCK that is to be cancelled. */
export const nlm4_cancargs = struct({ cookie: netobj, block: bool, exclusive: bool, lock: nlm4_lock })
export type Nlm4CancelArguments = Value<typeof nlm4_cancargs>

export const nlm4_unlockargs = struct({ cookie: netobj, lock: nlm4_lock })
export type Nlm4UnlockArguments = Value<typeof nlm4_unlockargs>

/** `mode` (what others are denied) and `access`: 0 nothing, 1 reading, 2 writing, 3 both (fsh4_mode, fsh4_access). */
export const nlm4_shareargs = struct({
  cookie: netobj,
  share: struct({ callerName, fh: netobj, oh: netobj, mode: i32, access: i32 }),
  reclaim: bool,
})
export type Nlm4ShareArguments = Value<typeof nlm4_shareargs>

export const nlm4_shareres = struct({ cookie: netobj, stat: i32, sequence: i32 })

/** `state`: of the client that is gone or new; not looked at. */
export const nlm4_notify = struct({ name: text(NOTIFIED_NAME_BYTES_MAX), state: i32 })

/** What a result says went wrong, for traces. */
function errorOf(result: unknown): ErrnoName | undefined {
  const { stat, test } = (result ?? {}) as { readonly stat?: number; readonly test?: { readonly stat: number } }
  const status = stat ?? test?.stat ?? NLM4_STATS.NLM4_GRANTED
  // A request that has to wait was understood and is in the queue.
  return status === NLM4_STATS.NLM4_GRANTED || status === NLM4_STATS.NLM4_BLOCKED ? undefined : errnoOfNlm(status)
}

export const NLM4 = program(
  'NLM4',
  100021,
  4,
  {
    NULL: procedure(0, nothing, nothing),
    TEST: procedure(1, nlm4_testargs, nlm4_testres),
    LOCK: procedure(2, nlm4_lockargs, nlm4_res),
    CANCEL: procedure(3, nlm4_cancargs, nlm4_res),
    UNLOCK: procedure(4, nlm4_unlockargs, nlm4_res),
    /** From the server: a LOCK that was answered BLOCKED is granted now. */
    GRANTED: procedure(5, nlm4_testargs, nlm4_res),
    // The same as messages: there is no reply; the answer, if there is one, comes as the call of a _RES procedure.
    TEST_MSG: procedure(6, nlm4_testargs, nothing),
    LOCK_MSG: procedure(7, nlm4_lockargs, nothing),
    CANCEL_MSG: procedure(8, nlm4_cancargs, nothing),
    UNLOCK_MSG: procedure(9, nlm4_unlockargs, nothing),
    GRANTED_MSG: procedure(10, nlm4_testargs, nothing),
    TEST_RES: procedure(11, nlm4_testres, nothing),
    LOCK_RES: procedure(12, nlm4_res, nothing),
    CANCEL_RES: procedure(13, nlm4_res, nothing),
    UNLOCK_RES: procedure(14, nlm4_res, nothing),
    GRANTED_RES: procedure(15, nlm4_res, nothing),
    SHARE: procedure(20, nlm4_shareargs, nlm4_shareres),
    UNSHARE: procedure(21, nlm4_shareargs, nlm4_shareres),
    /** LOCK by a client that nobody monitors. */
    NM_LOCK: procedure(22, nlm4_lockargs, nlm4_res),
    /** The client of this name has restarted: whatever it held is free. */
    FREE_ALL: procedure(23, nlm4_notify, nothing),
  },
  { errorOf },
)
