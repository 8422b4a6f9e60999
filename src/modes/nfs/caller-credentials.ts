// In whose name calls are made: AUTH_SYS (RFC 5531 appendix A) with the caller's user, group and supplementary groups.
// FUSE tells all but the latter; those are read from /proc and remembered for a moment, since most calls of a process
// follow each other.
import { readFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { LRUCache } from 'lru-cache'
import { authSys } from '../../rpc/onc/auth.ts'
import type { OpaqueAuth } from '../../rpc/onc/message.ts'
import type { CallContext } from '../../vfs/filesystem.ts'

/** How long groups are believed, in milliseconds. Processes rarely change them once they work. */
const BELIEVED_MS = 2000
const MAX_CALLERS = 1024

type Identity = Pick<CallContext, 'uid' | 'gid' | 'pid'>

interface Known {
  readonly uid: number
  readonly gid: number
  readonly credential: OpaqueAuth
  readonly until: number
}

export interface CallerCredentialsOptions {
  readonly now: () => number
  /** The supplementary groups of a thread; none if it is gone. */
  readonly groupsOf?: (pid: number) => readonly number[]
}

export class CallerCredentials {
  readonly #now: () => number
  readonly #groupsOf: (pid: number) => readonly number[]
  /** By thread. */
  readonly #callers = new LRUCache<number, Known>({ max: MAX_CALLERS })
  readonly #machineName = hostname().slice(0, 63)

  constructor({ now, groupsOf = groupsFromProc }: CallerCredentialsOptions) {
    this.#now = now
    this.#groupsOf = groupsOf
  }

  of({ uid, gid, pid }: Identity): OpaqueAuth {
    const now = this.#now()
    const known = this.#callers.get(pid)
    if (known !== undefined && known.uid === uid && known.gid === gid && known.until > now) return known.credential
    // The kernel itself (pid 0) has no groups to show.
    const gids = pid === 0 ? [] : [...this.#groupsOf(pid)]
    const credential = authSys({ stamp: 0, machineName: this.#machineName, uid, gid, gids })
    this.#callers.set(pid, { uid, gid, credential, until: now + BELIEVED_MS })
    return credential
  }
}

function groupsFromProc(pid: number): readonly number[] {
  try {
    const line = /^Groups:\t(.*)$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1] ?? ''
    return line.split(' ').filter(Boolean).map(Number)
  } catch {
    return []
  }
}
