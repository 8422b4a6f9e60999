// NLM's locks in the words of the lock table, and back.
import { createHash } from 'node:crypto'
import { FsError } from '../../posix/errors.ts'
import type { LockView } from '../../store/lock-types.ts'
import type { LockRange } from '../../vfs/filesystem.ts'
import { NfsError } from './nfs3-calls.ts'
import { NLM4_STATS, type Nlm4Stat } from './nlm-types.ts'
import type { Nlm4Holder, Nlm4Lock } from './nlm4.ts'

const LAST = BigInt(Number.MAX_SAFE_INTEGER)

/**
 * The table has offsets up to 2^53 - 1, where no file reaches: an end beyond is the end of any file. undefined: the range
 * begins beyond (NLM4_FBIG).
 */
export function rangeOf({ offset, length }: Pick<Nlm4Lock, 'offset' | 'length'>): LockRange | undefined {
  if (offset > LAST) return undefined
  const end = offset + length - 1n
  return { start: Number(offset), end: length === 0n || end > LAST ? Number.POSITIVE_INFINITY : Number(end) }
}

/** Bytes of an owner handle that are kept. Those of clients that exist are shorter. */
const OH_BYTES = 128

/** A longer one is kept as its digest, so that an owner takes little memory whoever names it. */
const shortOh = (oh: Buffer): string =>
  oh.length <= OH_BYTES ? oh.toString('latin1') : createHash('sha256').update(oh).digest().toString('latin1')

/** What the table calls an owner: `svid` and `oh` together. */
export const ownerOf = ({ svid, oh }: Pick<Nlm4Lock, 'svid' | 'oh'>): string => `${svid} ${shortOh(oh)}`

/** Of a SHARE, which has no `svid`. */
export const shareKeyOf = (oh: Buffer): string => shortOh(oh)

/** Who is in the way. Those of other protocols have no `oh`. */
export function holderOf({ client, owner, exclusive, start, end, pid }: LockView): Nlm4Holder {
  const text = client.startsWith('nfs ') && typeof owner === 'string' ? owner : ''
  return {
    exclusive,
    svid: pid | 0,
    oh: text === '' ? Buffer.alloc(0) : Buffer.from(text.slice(text.indexOf(' ') + 1), 'latin1'),
    offset: BigInt(start),
    length: end === Number.POSITIVE_INFINITY ? 0n : BigInt(end - start + 1),
  }
}

/** What an error is answered with. A defect of ours is none of the protocol's: it is thrown on, reported, SYSTEM_ERR. */
export function nlmStatusOf(error: unknown): Nlm4Stat {
  if (error instanceof NfsError) return NLM4_STATS.NLM4_STALE_FH
  if (error instanceof TypeError || error instanceof RangeError) throw error
  switch (FsError.from(error).code) {
    case 'ESTALE':
      return NLM4_STATS.NLM4_STALE_FH
    case 'EROFS':
      return NLM4_STATS.NLM4_ROFS
    case 'ENOLCK':
    case 'ENOSPC':
    case 'EDQUOT':
    case 'EIO':
      return NLM4_STATS.NLM4_DENIED_NOLOCKS
    default:
      return NLM4_STATS.NLM4_FAILED
  }
}
