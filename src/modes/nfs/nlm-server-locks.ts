// The procedures of NLM on the volume's lock table: who may lock, who waits, and who must still be told.
//
// A request that waits is answered BLOCKED. When the table grants it, the client is called (GRANTED) until it has
// answered; a client that does not want it any more, or is not reached for long, loses it. A client that asks again
// meanwhile does not wait twice.
import type { Clock } from '../../host/clock.ts'
import type { LockService } from '../../store/lock-service.ts'
import type { LockTableRequest } from '../../store/lock-types.ts'
import type { LockRange } from '../../vfs/filesystem.ts'
import type { BlockedLock, Host } from './nlm-server-hosts.ts'
import { holderOf, ownerOf, rangeOf } from './nlm-server-requests.ts'
import { NLM4_STATS, type Nlm4Stat } from './nlm-types.ts'
import type { Nlm4Lock, Nlm4TestResult } from './nlm4.ts'

const { NLM4_GRANTED, NLM4_DENIED, NLM4_DENIED_NOLOCKS, NLM4_BLOCKED, NLM4_DEADLCK, NLM4_FBIG } = NLM4_STATS

export interface NlmLocksOptions {
  readonly locks: LockService
  readonly clock: Clock
  /** Calls the client; rejects if it is not reached. Aborted when its answer interests nobody any more. */
  tell(blocked: BlockedLock): Promise<number>
  /** Between calls that are not answered. */
  readonly retryMs: number
  /** How long a lock is kept for a client that is not reached. */
  readonly patienceMs: number
  readonly maxBlockedPerHost: number
  readonly maxBlocked: number
}

export interface WantedLock {
  readonly host: Host
  /** Inode number. */
  readonly file: number
  readonly lock: Nlm4Lock
  readonly exclusive: boolean
}

export class NlmLocks {
  readonly #options: NlmLocksOptions
  #blocked = 0
  #closed = false

  constructor(options: NlmLocksOptions) {
    this.#options = options
  }

  get blocked(): number {
    return this.#blocked
  }

  test({
    client,
    file,
    lock,
    exclusive,
  }: Omit<WantedLock, 'host'> & { readonly client: string }): Nlm4TestResult['test'] {
    const range = rangeOf(lock)
    if (range === undefined) return { stat: NLM4_FBIG }
    const kind = exclusive ? 'exclusive' : 'shared'
    const held = this.#options.locks.table.test({ client, owner: ownerOf(lock), file, range, kind, class: 'range' })
    return held === undefined ? { stat: NLM4_GRANTED } : { stat: NLM4_DENIED, holder: holderOf(held) }
  }

  /** `block`: the client can wait. */
  lock({ host, file, lock, exclusive }: WantedLock, block: boolean): Nlm4Stat {
    const range = rangeOf(lock)
    if (range === undefined) return NLM4_FBIG
    const owner = ownerOf(lock)
    const key = blockedKey(file, owner, range, exclusive)
    const before = host.blocked.get(key)
    if (before?.grantedAtMs !== undefined) {
      // This answer tells it.
      this.#done(before)
      return NLM4_GRANTED
    }
    if (before !== undefined && block) return NLM4_BLOCKED
    const { locks, maxBlocked, maxBlockedPerHost } = this.#options
    const blocked: BlockedLock = {
      host,
      key,
      file,
      owner,
      range,
      exclusive,
      lock: { ...lock, fh: Buffer.from(lock.fh), oh: Buffer.from(lock.oh) },
      ticket: 0,
      grantedAtMs: undefined,
      cancelTimer: () => {},
    }
    const room = host.blocked.size < maxBlockedPerHost && this.#blocked < maxBlocked
    const outcome = locks.request(this.#request(blocked, exclusive ? 'exclusive' : 'shared', block && room), {
      granted: () => this.#granted(blocked),
      cancelled: () => this.#done(blocked),
    })
    switch (outcome.type) {
      case 'granted':
        return NLM4_GRANTED
      case 'conflict':
        return block && !room ? NLM4_DENIED_NOLOCKS : NLM4_DENIED
      case 'deadlock':
        return NLM4_DEADLCK
      case 'limit':
        return NLM4_DENIED_NOLOCKS
      case 'waiting':
        blocked.ticket = outcome.ticket
        host.blocked.set(key, blocked)
        this.#blocked++
        return NLM4_BLOCKED
    }
  }

  /** DENIED: nothing waits, perhaps because it has just been granted. */
  cancel({ host, file, lock, exclusive }: WantedLock): Nlm4Stat {
    const range = rangeOf(lock)
    if (range === undefined) return NLM4_FBIG
    const blocked = host.blocked.get(blockedKey(file, ownerOf(lock), range, exclusive))
    if (blocked === undefined || blocked.grantedAtMs !== undefined) return NLM4_DENIED
    this.#options.locks.cancel(blocked.ticket)
    return NLM4_GRANTED
  }

  /** Granted also if nothing is locked there. */
  unlock({ host, file, lock }: Omit<WantedLock, 'exclusive'>): Nlm4Stat {
    const range = rangeOf(lock)
    if (range === undefined) return NLM4_FBIG
    const owner = ownerOf(lock)
    for (const blocked of host.blocked.values()) {
      if (blocked.grantedAtMs === undefined || blocked.file !== file || blocked.owner !== owner) continue
      // The client knows of the lock, or does not want it.
      if (blocked.range.start >= range.start && blocked.range.end <= range.end) this.#done(blocked)
    }
    return this.#unlock({ host, file, owner, range, exclusive: false, lock })
  }

  /** Ends everything of a client: locks, waits, SHAREs. */
  release(host: Host): void {
    this.#options.locks.releaseClient(host.key)
    for (const blocked of host.blocked.values()) this.#done(blocked)
    host.shares.clear()
  }

  /** The client can be reached again: what it has not confirmed is told anew. */
  reachable(host: Host): void {
    for (const blocked of host.blocked.values()) {
      if (blocked.grantedAtMs === undefined) continue
      blocked.cancelTimer()
      void this.#tell(blocked)
    }
  }

  close(hosts: Iterable<Host>): void {
    this.#closed = true
    for (const { blocked } of hosts) for (const one of blocked.values()) one.cancelTimer()
  }

  #granted(blocked: BlockedLock): void {
    blocked.grantedAtMs = this.#options.clock.now()
    void this.#tell(blocked)
  }

  async #tell(blocked: BlockedLock): Promise<void> {
    const { tell, clock, retryMs, patienceMs } = this.#options
    let status: number
    try {
      status = await tell(blocked)
    } catch {
      status = NLM4_STATS.NLM4_DENIED_GRACE_PERIOD
    }
    if (this.#closed || !this.#isCurrent(blocked)) return
    if (status === NLM4_GRANTED) {
      this.#done(blocked)
      return
    }
    // A client that has just started may know soon.
    const patient = clock.now() - (blocked.grantedAtMs ?? 0) < patienceMs
    if (status === NLM4_STATS.NLM4_DENIED_GRACE_PERIOD && patient) {
      blocked.cancelTimer()
      blocked.cancelTimer = clock.after(retryMs, () => void this.#tell(blocked))
      return
    }
    this.#done(blocked)
    this.#unlock(blocked)
  }

  #isCurrent(blocked: BlockedLock): boolean {
    return blocked.host.blocked.get(blocked.key) === blocked
  }

  #unlock(what: Pick<BlockedLock, 'host' | 'file' | 'owner' | 'range' | 'exclusive' | 'lock'>): Nlm4Stat {
    const never = { granted: () => {}, cancelled: () => {} }
    const outcome = this.#options.locks.request(this.#request(what, 'unlock', false), never)
    // Half of a lock is one lock more.
    return outcome.type === 'limit' ? NLM4_DENIED_NOLOCKS : NLM4_GRANTED
  }

  #done(blocked: BlockedLock): void {
    blocked.cancelTimer()
    if (!this.#isCurrent(blocked)) return
    blocked.host.blocked.delete(blocked.key)
    this.#blocked--
  }

  #request(
    { host, file, owner, range, lock }: Pick<BlockedLock, 'host' | 'file' | 'owner' | 'range' | 'lock'>,
    kind: LockTableRequest['kind'],
    wait: boolean,
  ): LockTableRequest {
    return { client: host.key, owner, file, range, kind, class: 'range', pid: lock.svid, wait }
  }
}

const blockedKey = (file: number, owner: string, { start, end }: LockRange, exclusive: boolean): string =>
  `${file} ${start} ${end} ${exclusive} ${owner}`
