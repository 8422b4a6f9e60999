// The lock server: NLM version 4, the status monitor, and the program by which a client says that it can be called.
//
// Locks are in memory, in the volume's lock table. After a restart those who had locks may reclaim them for the grace
// period, and nobody gets new ones; who they are is on disk (nlm-server-monitor.ts).
import { hostname } from 'node:os'
import { join } from 'node:path'
import type { Clock } from '../../host/clock.ts'
import { hostClock } from '../../host/clock.ts'
import { FsError } from '../../posix/errors.ts'
import type { OncClient } from '../../rpc/onc/client.ts'
import type { Peer } from '../../rpc/onc/peer.ts'
import { PORTMAP_PORT } from '../../rpc/onc/portmap.ts'
import type { Service } from '../../rpc/onc/service.ts'
import { NfsCalls, type NfsServerParts } from './nfs3-calls.ts'
import { Callbacks } from './nlm-server-callbacks.ts'
import { type BlockedLock, type Host, Hosts } from './nlm-server-hosts.ts'
import { NlmLocks } from './nlm-server-locks.ts'
import { clientKey, LockMonitor, type Monitored } from './nlm-server-monitor.ts'
import { lockServices } from './nlm-server-services.ts'
import { NLM4 } from './nlm4.ts'
import { NSM } from './nsm.ts'

/** Where the monitor's files are, in the server's directory. */
const DIRECTORY = 'nfs-locks'
const SWEEP_MS = 60_000

export interface LockServerOptions {
  readonly clock?: Clock
  /** After a restart, for those who had locks to reclaim them. */
  readonly graceMs?: number
  /** How long a client that keeps a connection may be without one, before its locks go. Never less than `graceMs`. */
  readonly leaseMs?: number
  /** How long a call to a client waits for its answer, and then until the next one. */
  readonly callMs?: number
  readonly retryMs?: number
  /** How long a lock is kept for a client that waited for it and is not reached. */
  readonly patienceMs?: number
  /** Where clients' portmappers listen. */
  readonly portmapPort?: number
  readonly limits?: Partial<LockServerLimits>
  /** Told of failures of the disk. */
  readonly onError?: (error: Error) => void
}

export interface LockServerLimits {
  readonly hosts: number
  /** LOCKs that wait, and SHAREs: of one client. */
  readonly perHost: number
  /** LOCKs that wait: of all clients. */
  readonly blocked: number
}

export const LOCK_SERVER_LIMITS: LockServerLimits = { hosts: 4096, perHost: 1024, blocked: 16_384 }

export interface LockServerStatus {
  /** NSM state number. */
  readonly state: number
  /** When the grace period ends, in milliseconds since the epoch; absent if there is none now. */
  readonly graceUntil?: number
  /** Clients that had locks and may still reclaim them. */
  readonly recovering: number
  readonly clients: readonly {
    readonly address: string
    readonly name: string
    readonly connected: boolean
    /** When it was last heard of: a new connection, or a call that needs a lock. */
    readonly seenAt: number
    readonly held: number
    readonly waiting: number
  }[]
}

export class LockServer {
  readonly services: readonly Service[]
  readonly calls: NfsCalls
  readonly locks: NlmLocks
  readonly hosts: Hosts
  readonly callbacks: Callbacks
  readonly limits: LockServerLimits
  readonly #parts: NfsServerParts
  readonly #clock: Clock
  readonly #monitor: LockMonitor
  readonly #onError: (error: Error) => void
  /** What a connection that takes calls said who it is. */
  readonly #announced = new WeakMap<Peer, { readonly host: Host | undefined; readonly back: OncClient | undefined }>()
  /** Clients that may reclaim, by key. */
  readonly #recovering: Map<string, Monitored>
  readonly #graceUntil: number
  readonly #timers = new Set<() => void>()

  /** `directory`: the server's. Begins a new life of the lock server. Throws if the disk fails. */
  constructor(parts: NfsServerParts, directory: string, options: LockServerOptions = {}) {
    const { clock = hostClock(), graceMs = 10_000, leaseMs = 60_000, callMs = 10_000, retryMs = 5000 } = options
    const { patienceMs = 120_000, portmapPort = PORTMAP_PORT, onError = () => {} } = options
    this.#parts = parts
    this.#clock = clock
    this.#onError = onError
    this.limits = { ...LOCK_SERVER_LIMITS, ...options.limits }
    this.calls = new NfsCalls(parts)
    this.callbacks = new Callbacks({ clock, callMs, portmapPort })
    this.locks = new NlmLocks({
      locks: parts.volume.locks,
      clock,
      tell: (blocked) => this.#tell(blocked),
      retryMs,
      patienceMs,
      maxBlockedPerHost: this.limits.perHost,
      maxBlocked: this.limits.blocked,
    })
    this.hosts = new Hosts({
      clock,
      leaseMs: Math.max(leaseMs, graceMs),
      maxHosts: this.limits.hosts,
      // One that keeps a connection has its lease.
      isIdle: (host) => !host.acceptsCalls && this.#holdsNothing(host),
      expired: (host) => this.locks.release(host),
      forgotten: ({ key }) => this.#forgetRecord(key),
    })
    this.#monitor = new LockMonitor(join(directory, DIRECTORY))
    this.#recovering = new Map(this.#monitor.recovering)
    this.#graceUntil = clock.now() + graceMs
    this.services = lockServices(this)
    if (this.#recovering.size > 0) this.#later(graceMs, () => this.#endGrace())
    this.#sweepLater()
    for (const client of this.#recovering.values()) if (!client.acceptsCalls) void this.#notify(client)
  }

  get state(): number {
    return this.#monitor.state
  }

  /** Only reclaims are admitted. It is over early when everybody who could reclaim is known to have nothing left. */
  get inGrace(): boolean {
    return this.#recovering.size > 0 && this.#clock.now() < this.#graceUntil
  }

  /** Whether the client had locks before the restart, and may have them back. */
  mayReclaim(host: Host): boolean {
    return this.inGrace && this.#recovering.has(host.key)
  }

  /** The file of a handle that this server gave out, also if it is gone: what is locked there can be unlocked. */
  fileOf(handle: Buffer): number | undefined {
    return this.#parts.handles.decode(handle)?.ino
  }

  get shares() {
    return this.#parts.volume.locks.table.shares
  }

  /** Before a client gets a lock. Throws ENOLCK if it cannot be recorded. */
  record({ address, name, key, acceptsCalls }: Host): void {
    try {
      this.#monitor.record({ address, name, acceptsCalls })
    } catch (error) {
      this.#onError(new Error(`client of locks ${key} cannot be recorded`, { cause: error }))
      throw new FsError('ENOLCK')
    }
  }

  /** A connection takes calls (over UDP there is none). Returns whether this client has all that it had. */
  announced(peer: Peer, name: string): boolean {
    if (peer.back === undefined) return false
    const known = this.hosts.find(peer.address, name)?.acceptsCalls ?? false
    const before = this.#announced.get(peer)
    if (before?.host?.name === name && before.host.back === before.back) return known
    this.#gone(peer)
    const host = this.hosts.findOrAdd(peer, name)
    const back = host && this.callbacks.over(peer)
    // One listener for each connection, whatever it calls itself and how often.
    if (before === undefined) peer.signal.addEventListener('abort', () => this.#gone(peer), { once: true })
    this.#announced.set(peer, { host, back })
    if (host === undefined || back === undefined) return false
    this.hosts.connected(host, back)
    if (this.#monitor.has(host.key)) this.record(host)
    this.locks.reachable(host)
    return known
  }

  /** A connection is gone, or another client's from now on. */
  #gone(peer: Peer): void {
    const { host, back } = this.#announced.get(peer) ?? {}
    if (host !== undefined && back !== undefined) this.hosts.disconnected(host, back)
  }

  /** The client itself says that it has restarted. */
  restarted(address: string, name: string): undefined {
    const key = clientKey({ address, name })
    // Nothing of it is to be reclaimed.
    this.#recovering.delete(key)
    const host = this.hosts.find(address, name)
    if (host !== undefined) {
      this.locks.release(host)
      this.hosts.forget(host)
    }
    this.#forgetRecord(key)
  }

  /** The client to which a message's answer goes: over its connection, if it has one. */
  backTo(peer: Peer, name: string | undefined): OncClient | undefined {
    const announced = this.#announced.get(peer)?.back
    if (announced !== undefined) return announced
    return name === undefined ? undefined : this.hosts.find(peer.address, name)?.back
  }

  status(): LockServerStatus {
    const { table } = this.#parts.volume.locks
    return {
      state: this.state,
      ...(this.inGrace ? { graceUntil: this.#graceUntil } : {}),
      recovering: this.inGrace ? this.#recovering.size : 0,
      clients: [...this.hosts].map(({ address, name, key, back, seenAtMs, blocked }) => ({
        address,
        name,
        connected: back !== undefined,
        seenAt: seenAtMs,
        held: table.heldBy(key),
        waiting: blocked.size,
      })),
    }
  }

  /** Locks end with the server's process: clients that come back later reclaim them. */
  close(): void {
    for (const cancel of this.#timers) cancel()
    this.#timers.clear()
    this.#sweep()
    this.locks.close(this.hosts)
    this.hosts.close()
    this.callbacks.close()
  }

  async #tell({ host, exclusive, lock }: BlockedLock): Promise<number> {
    const { GRANTED } = NLM4.procedures
    const args = { cookie: this.#cookie(), exclusive, lock }
    if (host.back !== undefined) return (await host.back.call(GRANTED, args)).stat
    // It has no port: it comes back or asks again.
    if (host.acceptsCalls) throw new FsError('ENOTCONN')
    return (await this.callbacks.call(host.address, host.transport, GRANTED, args)).stat
  }

  #lastCookie = 0
  #cookie(): Buffer {
    const cookie = Buffer.alloc(4)
    this.#lastCookie = (this.#lastCookie + 1) >>> 0
    cookie.writeUInt32BE(this.#lastCookie)
    return cookie
  }

  /** Tells a client that keeps no connection of the restart. One that is not reached finds out when its locks are denied. */
  async #notify({ address }: Monitored): Promise<void> {
    try {
      await this.callbacks.call(address, 'udp', NSM.procedures.SM_NOTIFY, { name: hostname(), state: this.state })
    } catch {
      // Nobody is there any more, or it serves no NSM.
    }
  }

  #holdsNothing({ key, blocked, shares }: Host): boolean {
    return blocked.size === 0 && shares.size === 0 && this.#parts.volume.locks.table.heldBy(key) === 0
  }

  #forgetRecord(key: string): void {
    if (this.#recovering.has(key)) return
    try {
      this.#monitor.forget(key)
    } catch (error) {
      this.#onError(new Error(`client of locks ${key} cannot be forgotten`, { cause: error }))
    }
  }

  /** Who has not reclaimed anything by now has lost it. */
  #endGrace(): void {
    const keys = [...this.#recovering.keys()]
    this.#recovering.clear()
    const present = new Set([...this.hosts].map(({ key }) => key))
    for (const key of keys) if (!present.has(key)) this.#forgetRecord(key)
  }

  /** Who holds nothing need not be on record. */
  #sweep(): void {
    for (const host of this.hosts) if (this.#holdsNothing(host)) this.#forgetRecord(host.key)
    this.hosts.sweep()
  }

  #sweepLater(): void {
    this.#later(SWEEP_MS, () => {
      this.#sweep()
      this.#sweepLater()
    })
  }

  #later(ms: number, action: () => void): void {
    const cancel = this.#clock.after(ms, () => {
      this.#timers.delete(cancel)
      action()
    })
    this.#timers.add(cancel)
  }
}
