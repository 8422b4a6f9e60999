// The clients of a lock server: who they are, how they are called back, and when nobody expects them back.
//
// NLM keeps the locks of a client until it says that it has restarted (FREE_ALL, SM_NOTIFY); one that dies for good keeps
// them for ever. A client that said ACCEPTS_CALLS keeps a connection: when that is gone for the lease, so are its locks.
import type { Clock } from '../../host/clock.ts'
import type { OncClient } from '../../rpc/onc/client.ts'
import type { Peer } from '../../rpc/onc/peer.ts'
import type { LockTicket } from '../../store/lock-types.ts'
import type { LockRange } from '../../vfs/filesystem.ts'
import type { Transport } from './nlm-server-callbacks.ts'
import { clientKey } from './nlm-server-monitor.ts'
import type { Nlm4Lock } from './nlm4.ts'

/** A LOCK that was answered BLOCKED. */
export interface BlockedLock {
  readonly host: Host
  /** Names it among those of the host. */
  readonly key: string
  readonly file: number
  readonly owner: string
  readonly range: LockRange
  readonly exclusive: boolean
  /** As the client sent it. */
  readonly lock: Nlm4Lock
  ticket: LockTicket
  /** When it was granted; the client has not confirmed it yet. */
  grantedAtMs: number | undefined
  cancelTimer: () => void
}

export interface Host {
  /** In the lock table. */
  readonly key: string
  readonly address: string
  readonly name: string
  /** Of its latest call: it is called back in the same way. */
  transport: Transport
  /** Keeps a connection on which it takes calls. */
  acceptsCalls: boolean
  /** That connection, while it is there. */
  back: OncClient | undefined
  readonly blocked: Map<string, BlockedLock>
  /** SHAREs, by file and owner. */
  readonly shares: Map<string, { readonly file: number; readonly key: string }>
  /** Last heard of. */
  seenAtMs: number
  cancelLease: () => void
}

export interface HostsOptions {
  readonly clock: Clock
  readonly leaseMs: number
  /** Further clients get no locks, if none can be forgotten. */
  readonly maxHosts: number
  /** Holds nothing. */
  isIdle(host: Host): boolean
  /** Its lease is over. */
  expired(host: Host): void
  forgotten(host: Host): void
}

export class Hosts {
  readonly #options: HostsOptions
  readonly #hosts = new Map<string, Host>()

  constructor(options: HostsOptions) {
    this.#options = options
  }

  get size(): number {
    return this.#hosts.size
  }

  [Symbol.iterator](): IterableIterator<Host> {
    return this.#hosts.values()
  }

  find(address: string, name: string): Host | undefined {
    return this.#hosts.get(clientKey({ address, name }))
  }

  /** undefined: there are too many. */
  findOrAdd({ address, transport }: Pick<Peer, 'address' | 'transport'>, name: string): Host | undefined {
    const key = clientKey({ address, name })
    const known = this.#hosts.get(key)
    const { clock, maxHosts } = this.#options
    if (known !== undefined) {
      known.seenAtMs = clock.now()
      known.transport = transport
      if (known.acceptsCalls && known.back === undefined) this.#expect(known)
      return known
    }
    if (this.#hosts.size >= maxHosts) this.sweep()
    if (this.#hosts.size >= maxHosts) return undefined
    const host: Host = {
      key,
      address,
      name,
      transport,
      acceptsCalls: false,
      back: undefined,
      blocked: new Map(),
      shares: new Map(),
      seenAtMs: clock.now(),
      cancelLease: () => {},
    }
    this.#hosts.set(key, host)
    return host
  }

  /** The client has a connection on which it takes calls. */
  connected(host: Host, back: OncClient): void {
    host.cancelLease()
    host.back?.close()
    host.back = back
    host.acceptsCalls = true
  }

  /** That connection is gone: the client has the lease to come back. */
  disconnected(host: Host, back: OncClient): void {
    back.close()
    if (host.back !== back) return
    host.back = undefined
    this.#expect(host)
  }

  /** Forgets a client that has nothing any more. */
  forget(host: Host): void {
    if (host.back !== undefined || this.#hosts.get(host.key) !== host) return
    host.cancelLease()
    this.#hosts.delete(host.key)
    this.#options.forgotten(host)
  }

  /** Forgets all that hold nothing and have no connection. */
  sweep(): void {
    for (const host of this.#hosts.values()) if (this.#options.isIdle(host)) this.forget(host)
  }

  close(): void {
    for (const host of this.#hosts.values()) {
      host.cancelLease()
      host.back?.close()
    }
    this.#hosts.clear()
  }

  #expect(host: Host): void {
    const { clock, leaseMs } = this.#options
    host.cancelLease()
    host.cancelLease = clock.after(leaseMs, () => {
      this.#options.expired(host)
      this.forget(host)
    })
  }
}
