// INIT: what this driver asks for and what the kernel grants. Pure: two sets of flags in, the agreement out.
import type { KernelWishes } from '../vfs/filesystem.ts'
import { FUSE_MAJOR, FUSE_MINOR, FUSE_MINOR_MIN, INIT } from './protocol.ts'

/** What the kernel offers in fuse_init_in. */
export interface KernelOffer {
  readonly major: number
  readonly minor: number
  readonly flags: bigint
  readonly maxReadahead: number
}

export interface Agreement {
  readonly minor: number
  readonly flags: bigint
  readonly maxReadahead: number
  /** Largest WRITE in bytes. */
  readonly maxWrite: number
  readonly maxPages: number
  readonly passthrough: boolean
  /** A name can be expired without being dropped (7.38). */
  readonly expireOnly: boolean
  /** FUSE_NOTIFY_INC_EPOCH is there (7.44). */
  readonly nameEpochs: boolean
}

/** What is wanted beyond the common set. */
export interface Wishes extends KernelWishes {
  readonly locks: boolean
  readonly readdirPlus: boolean
}

/** Largest request body: 1 MiB. */
export const MAX_TRANSFER = 1 << 20
const PAGE = 4096

const COMMON =
  INIT.ASYNC_READ |
  INIT.ATOMIC_O_TRUNC |
  INIT.BIG_WRITES |
  INIT.DONT_MASK |
  INIT.ASYNC_DIO |
  INIT.PARALLEL_DIROPS |
  INIT.ABORT_ERROR |
  INIT.MAX_PAGES |
  INIT.CACHE_SYMLINKS |
  INIT.EXPLICIT_INVAL_DATA |
  INIT.HANDLE_KILLPRIV_V2 |
  INIT.INIT_EXT |
  INIT.HAS_EXPIRE_ONLY |
  INIT.DIRECT_IO_ALLOW_MMAP

/** The agreement with a kernel, or null if it is too old (before 7.31, Linux 5.4). */
export function negotiate(offer: KernelOffer, wishes: Wishes): Agreement | null {
  if (offer.major === FUSE_MAJOR && offer.minor < FUSE_MINOR_MIN) return null
  let wanted = COMMON
  if (wishes.locks) wanted |= INIT.POSIX_LOCKS | INIT.FLOCK_LOCKS
  if (wishes.readdirPlus) wanted |= INIT.DO_READDIRPLUS | INIT.READDIRPLUS_AUTO
  // The kernel grants one of the two only.
  wanted |= wishes.writebackCache ? INIT.WRITEBACK_CACHE : INIT.PASSTHROUGH
  const flags = wanted & offer.flags
  const maxPages = flags & INIT.MAX_PAGES ? MAX_TRANSFER / PAGE : 32
  return {
    minor: Math.min(offer.minor, FUSE_MINOR),
    flags,
    maxReadahead: Math.min(offer.maxReadahead, MAX_TRANSFER),
    maxWrite: maxPages * PAGE,
    maxPages,
    passthrough: (flags & INIT.PASSTHROUGH) !== 0n,
    expireOnly: (flags & INIT.HAS_EXPIRE_ONLY) !== 0n,
    nameEpochs: offer.minor >= 44,
  }
}
