// The calls to the server's lock manager (NLM version 4), and how its restarts are noticed.
//
// They go over a connection of their own, made when the first lock is wanted. On each new connection the server is asked
// who it is: the state number of its status service, which grows when it restarts, or, where it has none, whatever else
// tells. Answers are handed on after that is known, so that nothing a server says is taken for the word of its
// predecessor. A connection that dies while there are locks is made anew at once, since reclaiming them has its time.
//
// The server calls back (GRANTED, SM_NOTIFY) over the same connection, if it takes part in that.
import { FsError } from '../../posix/errors.ts'
import type { OncClient, OncClientEvent, OncClientOptions } from '../../rpc/onc/client.ts'
import { OncError } from '../../rpc/onc/errors.ts'
import { OncServer } from '../../rpc/onc/server.ts'
import { type Service, service } from '../../rpc/onc/service.ts'
import { CALLBACK } from './callback-program.ts'
import { type FindOptions, ifServed, LockManagerFinder } from './lock-manager-finder.ts'
import type {
  LockHolder,
  LockManager,
  LockManagerEvents,
  LockManagerStatus,
  NlmCall,
  NlmLock,
  NlmTested,
} from './nlm-types.ts'
import { NLM4_STATS } from './nlm-types.ts'
import { cancelArgs, lockArgs, pidOfOwner, rangeOf, testArgs, unlockArgs } from './nlm-wire.ts'
import { NLM4 } from './nlm4.ts'
import { NSM } from './nsm.ts'

export interface LockManagerOptions extends FindOptions {
  /** One name per mount, unlike that of any other client, whatever becomes of it. */
  readonly callerName: string
  readonly client: Pick<OncClientOptions, 'hard' | 'timeoMs' | 'retrans' | 'random' | 'awake'>
  /** Something that changes when the server restarts, for servers without a status service. */
  lifeSign(): Promise<string | undefined>
}

/** A callback is as good as lost after this, in milliseconds: as Linux. */
const CALLBACK_MS = 30_000
/** Where nobody calls back: how soon to ask again, first and at last. */
const FIRST_POLL_MS = 100
const LONGEST_POLL_MS = 10_000
/** How often a server that says nothing is asked whether it is there, while there are locks. */
const HEARTBEAT_MS = 30_000

const { NULL, TEST, LOCK, CANCEL, UNLOCK } = NLM4.procedures
const { ACCEPTS_CALLS } = CALLBACK.procedures
const { SM_STAT } = NSM.procedures

export class LockManagerClient implements LockManager {
  readonly #options: LockManagerOptions
  readonly #events: LockManagerEvents
  readonly #finder: LockManagerFinder
  #finding: Promise<OncClient> | undefined
  /** The lock manager, once it was found. */
  #client: OncClient | undefined
  /** What the present connection's server is like is known, or cannot be. */
  #introduced: Promise<void> = Promise.resolve()
  #callsBack = false
  /** The server has heard of us. */
  #announced = false
  #lifeSign: string | undefined
  #life = 0
  #pinging = false
  #cancelHeartbeat: (() => void) | undefined
  #closed = false

  constructor(options: LockManagerOptions, events: LockManagerEvents) {
    this.#options = options
    this.#events = events
    const { clock, client } = options
    this.#finder = new LockManagerFinder(options, (heard) => ({
      ...client,
      clock,
      server: new OncServer(this.#services()),
      onEvent: (event) => this.#heard(heard(), event),
    }))
  }

  async send(call: NlmCall, handle: Buffer, holder: LockHolder): Promise<number> {
    const caller = { callerName: this.#options.callerName, handle, holder }
    const { credential } = holder
    return await this.#ask(async (client) => {
      switch (call.procedure) {
        case 'LOCK':
          return (await client.call(LOCK, lockArgs(this.#polled(call), caller), { credential })).stat
        case 'CANCEL':
          return (await client.call(CANCEL, cancelArgs(call, caller), { credential })).stat
        case 'UNLOCK':
          return (await client.call(UNLOCK, unlockArgs(call, caller), { credential })).stat
      }
    })
  }

  async test(lock: NlmLock, handle: Buffer, holder: LockHolder, signal: AbortSignal): Promise<NlmTested> {
    const args = testArgs(lock, { callerName: this.#options.callerName, handle, holder })
    const { credential } = holder
    const { test } = await this.#ask((client) => client.call(TEST, args, { credential, signal }))
    if (!('holder' in test)) return { status: test.stat }
    const { exclusive, oh } = test.holder
    return { status: test.stat, lock: { ...rangeOf(test.holder), exclusive, pid: pidOfOwner(oh) } }
  }

  pollMs(times: number): number {
    return this.#callsBack ? CALLBACK_MS : Math.min(FIRST_POLL_MS * 2 ** (times - 1), LONGEST_POLL_MS)
  }

  status(): LockManagerStatus {
    const client = this.#client
    if (client === undefined) return { connection: 'not needed yet', callsBack: false, calls: {} }
    const { peer, state } = client.status()
    const calls = Object.entries(client.statistics.snapshot()).map(([name, { calls }]) => [name, calls])
    return { server: peer, connection: state, callsBack: this.#callsBack, calls: Object.fromEntries(calls) }
  }

  close(): void {
    this.#closed = true
    this.#cancelHeartbeat?.()
    this.#finder.close()
  }

  async #ask<R>(call: (client: OncClient) => Promise<R>): Promise<R> {
    try {
      if (this.#closed) throw new OncError('CLOSED', NLM4.name)
      this.#finding ??= this.#find()
      const client = await this.#finding
      await this.#introduced
      const result = await call(client)
      await this.#introduced
      this.#watch()
      return result
    } catch (error) {
      throw FsError.from(error)
    }
  }

  /**
   * A server that cannot call back is not to keep a queue for us: whom it granted a lock without our hearing of it would be
   * in everybody's way.
   */
  #polled(call: NlmCall): NlmCall {
    return this.#callsBack ? call : { ...call, block: false }
  }

  async #find(): Promise<OncClient> {
    try {
      const client = await this.#finder.find()
      if (client === undefined) throw new FsError('ENOLCK', 'the server has no lock manager')
      this.#client = client
      this.#introduce(client)
      return client
    } catch (error) {
      // Another time it may be there.
      this.#finding = undefined
      throw error
    }
  }

  #heard(client: OncClient, event: OncClientEvent): void {
    if (client !== this.#client) return
    if (event.type === 'connected') this.#introduce(client)
    else if (event.type === 'disconnected' && this.#events.atStake()) this.#ping(client)
  }

  /** A new connection: it takes calls, too; and is it still the same server? */
  #introduce(client: OncClient): void {
    const { callerName, lifeSign } = this.#options
    // First of all: the server may count on it when it answers what comes next.
    const announced = ifServed(client.call(ACCEPTS_CALLS, { callerName }))
    const monitor = ifServed(client.call(SM_STAT, { name: callerName }))
    const introduction = async (): Promise<void> => {
      const [callback, status] = await Promise.all([announced, monitor])
      this.#callsBack = callback !== undefined
      const state = callback?.state ?? status?.state
      const sign = state === undefined ? await lifeSign() : `state ${state}`
      // It may have forgotten us alone: then that life is over, too.
      const forgotten = this.#announced && callback?.known === false
      this.#announced = this.#callsBack
      if (sign === undefined || (sign === this.#lifeSign && !forgotten)) return
      this.#lifeSign = sign
      this.#events.serverLife(++this.#life)
    }
    this.#introduced = introduction().catch(() => undefined)
  }

  /** What the server may call, over our connection. */
  #services(): Service[] {
    const { callerName } = this.#options
    return [
      service(NLM4, {
        GRANTED: ({ cookie, exclusive, lock }) => {
          const taken =
            lock.callerName === callerName &&
            this.#events.granted(lock.fh, { svid: lock.svid, range: rangeOf(lock), exclusive })
          return { cookie, stat: taken ? NLM4_STATS.NLM4_GRANTED : NLM4_STATS.NLM4_DENIED }
        },
      }),
      service(NSM, {
        // Who says so may be anybody: the server is asked.
        SM_NOTIFY: () => {
          if (this.#client !== undefined) this.#introduce(this.#client)
        },
      }),
    ]
  }

  /** A call that waits keeps a connection, and finds out when it leads nowhere. */
  #ping(client: OncClient): void {
    if (this.#pinging) return
    this.#pinging = true
    const over = (): void => {
      this.#pinging = false
    }
    client.call(NULL, undefined).then(over, over)
  }

  #watch(): void {
    if (this.#cancelHeartbeat !== undefined || !this.#events.atStake()) return
    this.#cancelHeartbeat = this.#options.clock.after(HEARTBEAT_MS, () => {
      this.#cancelHeartbeat = undefined
      if (this.#closed || this.#client === undefined || !this.#events.atStake()) return
      this.#ping(this.#client)
      this.#watch()
    })
  }
}
