// In whose name calls to a server are made: the caller's user, group and supplementary groups. FUSE tells all but the
// latter; those are read from /proc and remembered for a moment, since most calls of a process follow each other.
import { readFileSync } from 'node:fs'
import { LRUCache } from 'lru-cache'
import type { CallContext } from './filesystem.ts'

/** How long groups are believed, in milliseconds. Processes rarely change them once they work. */
const BELIEVED_MS = 2000
const MAX_CALLERS = 1024

export type Identity = Pick<CallContext, 'uid' | 'gid' | 'pid'>

interface Known<T> {
  readonly uid: number
  readonly gid: number
  readonly value: T
  readonly until: number
}

export interface CallersOptions<T> {
  readonly now: () => number
  /** What a protocol says of a caller. */
  readonly describe: (caller: { uid: number; gid: number; groups: readonly number[] }) => T
  /** The supplementary groups of a thread; none if it is gone. */
  readonly groupsOf?: ((pid: number) => readonly number[]) | undefined
}

export class Callers<T extends object> {
  readonly #options: CallersOptions<T>
  /** By thread. */
  readonly #callers = new LRUCache<number, Known<T>>({ max: MAX_CALLERS })

  constructor(options: CallersOptions<T>) {
    this.#options = options
  }

  of({ uid, gid, pid }: Identity): T {
    const { now, describe, groupsOf = groupsFromProc } = this.#options
    const time = now()
    const known = this.#callers.get(pid)
    if (known !== undefined && known.uid === uid && known.gid === gid && known.until > time) return known.value
    // The kernel itself (pid 0) has no groups to show.
    const value = describe({ uid, gid, groups: pid === 0 ? [] : groupsOf(pid) })
    this.#callers.set(pid, { uid, gid, value, until: time + BELIEVED_MS })
    return value
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
