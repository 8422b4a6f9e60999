// The status monitor's protocol, NSM version 1, as one table (The Open Group, Protocols for Interworking: XNFS, chapter
// 11): who restarts tells those who hold or gave locks.
import { enumeration, fixedOpaque, i32, nothing, struct, text } from '../../codec/xdr.ts'
import { procedure, program } from '../../rpc/onc/program.ts'

/** SM_MAXSTRLEN, in bytes. */
const NAME_BYTES_MAX = 1024
/** SM_PRIV_SIZE, in bytes. */
const PRIVATE_BYTES = 16

const name = text(NAME_BYTES_MAX)

/** `my_id`: what to call when the state of a monitored host changes. */
const myId = struct({ name, program: i32, version: i32, procedure: i32 })
const monitoredId = struct({ name, caller: myId })

/** `state`: even while a monitor is down, odd while it is up; it grows with each start. */
const state = struct({ state: i32 })
const answer = struct({ result: enumeration({ STAT_SUCC: 0, STAT_FAIL: 1 }), state: i32 })

export const NSM = program('NSM', 100024, 1, {
  SM_NULL: procedure(0, nothing, nothing),
  /** The state number of the monitor that is asked; `result` says whether it would monitor the host of this name. */
  SM_STAT: procedure(1, struct({ name }), answer),
  SM_MON: procedure(2, struct({ id: monitoredId, private: fixedOpaque(PRIVATE_BYTES) }), answer),
  SM_UNMON: procedure(3, monitoredId, state),
  SM_UNMON_ALL: procedure(4, myId, state),
  SM_SIMU_CRASH: procedure(5, nothing, nothing),
  /** The host of this name has restarted and has this state number now. */
  SM_NOTIFY: procedure(6, struct({ name, state: i32 }), nothing),
})
