// Locks as NLM version 4 writes them: in which struct what goes, and back.
import { hostname } from 'node:os'
import type { LockRange } from '../../vfs/filesystem.ts'
import type { LockHolder, NlmCall, NlmLock } from './nlm-types.ts'
import type {
  Nlm4CancelArguments,
  Nlm4Lock,
  Nlm4LockArguments,
  Nlm4TestArguments,
  Nlm4UnlockArguments,
} from './nlm4.ts'

/** Who calls: `callerName` is one name per mount, since the server knows owners by it. */
export interface LockCaller {
  readonly callerName: string
  readonly handle: Buffer
  readonly holder: LockHolder
}

/** State of this host's status monitor: a client that is started again has another name, so it never changes. */
const OWN_STATE = 1
const MAX_OFFSET = BigInt(Number.MAX_SAFE_INTEGER)

export function lockArgs({ cookie, block, reclaim, lock }: NlmCall, caller: LockCaller): Nlm4LockArguments {
  const { exclusive } = lock
  return { cookie: cookieOf(cookie), block, exclusive, lock: wireLock(lock, caller), reclaim, state: OWN_STATE }
}

export function cancelArgs({ cookie, block, lock }: NlmCall, caller: LockCaller): Nlm4CancelArguments {
  return { cookie: cookieOf(cookie), block, exclusive: lock.exclusive, lock: wireLock(lock, caller) }
}

export function unlockArgs({ cookie, lock }: NlmCall, caller: LockCaller): Nlm4UnlockArguments {
  return { cookie: cookieOf(cookie), lock: wireLock(lock, caller) }
}

export function testArgs(lock: NlmLock, caller: LockCaller): Nlm4TestArguments {
  return { cookie: cookieOf(0), exclusive: lock.exclusive, lock: wireLock(lock, caller) }
}

function wireLock({ svid, range }: NlmLock, { callerName, handle, holder }: LockCaller): Nlm4Lock {
  const { start, end } = range
  const length = end === Number.POSITIVE_INFINITY ? 0n : BigInt(end - start + 1)
  return { callerName, fh: handle, oh: ownerOf(holder.pid), svid, offset: BigInt(start), length }
}

/** Length 0: to the end of the file. No file reaches an offset that a number cannot hold. */
export function rangeOf({ offset, length }: { readonly offset: bigint; readonly length: bigint }): LockRange {
  const end = offset + length - 1n
  return {
    start: Number(offset),
    end: length === 0n || end > MAX_OFFSET ? Number.POSITIVE_INFINITY : Number(end),
  }
}

function cookieOf(cookie: number): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64BE(BigInt(cookie))
  return bytes
}

/** The `oh` of an owner, which servers only compare: process and host, so that GETLK can name a process of this host. */
function ownerOf(pid: number): Buffer {
  return Buffer.from(`${pid}@${hostname()}`)
}

/** 0: it is none of ours. */
export function pidOfOwner(owner: Buffer): number {
  const [, pid, host] = /^(\d{1,10})@(.*)$/.exec(owner.toString()) ?? []
  return host === hostname() ? Number(pid) : 0
}
