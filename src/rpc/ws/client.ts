// A client of typed services: calls are pipelined over one connection, in both directions, and survive it.
import { randomUUID } from 'node:crypto'
import { type Clock, hostClock } from '../../host/clock.ts'
import { type ChannelState, ReconnectingChannel } from '../reconnecting-channel.ts'
import { Statistics } from '../statistics.ts'
import type { ClientChannel, WsChannelKind } from './client-channel.ts'
import { Conversation, heartbeat } from './conversation.ts'
import { WindowBudget } from './credits.ts'
import { ProtocolError, WsError } from './errors.ts'
import type { Incoming } from './frames.ts'
import { IncomingCalls } from './incoming-calls.ts'
import { OutgoingCalls } from './outgoing-calls.ts'
import type { CallOptions, OptionsOf, ResultOf, WsPeer } from './peer.ts'
import type { Procedure } from './program.ts'
import { type Service, ServiceTable } from './service.ts'

export interface WsClientOptions {
  /** The name under which the server knows this client, over all its connections. A new one, unless it is given. */
  readonly id?: string
  readonly clock?: Clock
  /** Numbers from 0 up to 1. */
  readonly random?: () => number
  /** Told of each arrival, so that the event loop stays awake for the next. */
  readonly awake?: { touch(): void }
  /** How long to wait for a connection, the handshake included, before it is tried anew. */
  readonly connectMs?: number
  /** Calls that wait for an answer at the same time; others wait for them. The server may want fewer. */
  readonly maxCalls?: number
  /** After so long without an answer a call fails. None: it waits for ever, over as many connections as it takes. */
  readonly timeoutMs?: number
  /** Asks the server for a sign of life so often, and gives up the connection if none comes. Never, if it is not given. */
  readonly heartbeatMs?: number
  /** The connection is opened at once and kept: opened again whenever it is lost, also while there is nothing to call. */
  readonly keep?: boolean
  /** Answers the calls that the server makes. */
  readonly services?: readonly Service[]
  /** The most bytes of a message that is taken. */
  readonly messageBytes?: number
  /** The mount whose calls these are, for traces. */
  readonly mount?: string
  onEvent?(event: WsClientEvent): void
  /** A handler failed other than by an answer. */
  onError?(error: unknown, procedure: string): void
}

export type WsClientEvent =
  /** `remembered`: the server knows what this client has called before; else it may have forgotten all about it. */
  | { readonly type: 'connected'; readonly remembered: boolean; readonly instance: string }
  /** The connection is gone, or there was none. */
  | { readonly type: 'disconnected'; readonly error: unknown }
  /** There are calls, and no connection for them. */
  | { readonly type: 'not responding'; readonly since: number }
  | { readonly type: 'responding' }

export interface WsClientStatus {
  readonly peer: string
  readonly transport: 'ws'
  readonly state: ChannelState
  /** Since when the server has not responded, in milliseconds since the epoch; absent while it does. */
  readonly notRespondingSince?: number
  readonly lastError?: string
  /** Calls that wait, the oldest first, and how often each was sent again. */
  readonly waiting: readonly { readonly op: string; readonly since: number; readonly retransmissions: number }[]
}

/** Calls that are listed in a status. */
const LISTED = 20
const MIB = 1024 * 1024
/** What the server may send ahead, in the bytes of its calls. */
const WINDOWS_BYTES = 16 * MIB
/** Answers to the server's calls that it does not take. */
const UNTAKEN_BYTES = 64 * MIB

export class WsClient implements WsPeer {
  readonly statistics = new Statistics()
  readonly #kind: WsChannelKind
  readonly #options: WsClientOptions
  readonly #clock: Clock
  readonly #services: ServiceTable
  readonly #channel: ReconnectingChannel<Incoming, ClientChannel>
  readonly #outgoing: OutgoingCalls
  readonly #maxCalls: number
  #conversation: Conversation | undefined
  #abort = new AbortController()
  #stopHeart = () => {}
  #instance = ''
  #lastHeardAt: number
  #notRespondingSince: number | undefined
  #lastError: unknown

  /** `kind`: the way to the server, see `wsChannel`. Unless it is kept, it is opened at the first call. */
  constructor(kind: WsChannelKind, options: WsClientOptions = {}) {
    const { id = randomUUID(), clock = hostClock(), random = Math.random, connectMs = 15_000, awake } = options
    this.#kind = kind
    this.#options = options
    this.#clock = clock
    this.#maxCalls = options.maxCalls ?? 256
    this.#services = new ServiceTable(options.services ?? [])
    this.#lastHeardAt = clock.now()
    this.#outgoing = new OutgoingCalls({
      ...{ clock, statistics: this.statistics, survive: true, maxCalls: this.#maxCalls },
      ...{ timeoutMs: options.timeoutMs, name: () => kind.peer, mount: options.mount },
    })
    const limits = { calls: this.#maxCalls, messageBytes: options.messageBytes ?? MIB + 64 * 1024 }
    const identity = { client: id, session: randomUUID() }
    const surroundings = { identity, limits, clock, awake, drained: () => this.#outgoing.drained() }
    this.#channel = new ReconnectingChannel(
      { open: (events) => kind.open(surroundings, events) },
      { clock, random, connectMs },
      {
        opened: () => this.#opened(),
        received: (message) => this.#received(message),
        lost: (error) => this.#lost(error),
        wanted: () => options.keep === true || !this.#outgoing.isEmpty,
      },
    )
    if (options.keep) this.#channel.want()
  }

  /** The server's present life; empty before the first connection. */
  get id(): string {
    return this.#instance
  }

  get name(): string {
    return this.#kind.peer
  }

  get connected(): boolean {
    return this.#channel.state === 'open'
  }

  get signal(): AbortSignal {
    return this.#abort.signal
  }

  /**
   * Calls a procedure, once there is a connection. A call whose connection is lost is made again over the next one, if that
   * does no harm: if it is idempotent, or the server still knows whether it has executed it. Else it fails with
   * OUTCOME_UNKNOWN. Rejects with FsError, ServiceError or WsError.
   */
  call<A, R, In extends boolean, Out extends boolean>(
    procedure: Procedure<A, R, In, Out>,
    args: NoInfer<A>,
    ...[options]: OptionsOf<NoInfer<In>>
  ): Promise<ResultOf<R, Out>> {
    const answer = this.#outgoing.call(procedure, args, options as CallOptions | undefined)
    if (this.#channel.state === 'idle') this.#channel.want()
    return answer as Promise<ResultOf<R, Out>>
  }

  /** Calls once and waits for nothing: lost, and false, while there is no connection. */
  tell<A>(procedure: Procedure<A, unknown, false, false>, args: NoInfer<A>): boolean {
    return this.#outgoing.tell(procedure, args)
  }

  status(): WsClientStatus {
    const waiting: WsClientStatus['waiting'][number][] = []
    for (const { asked, transmissions } of this.#outgoing.waiting) {
      const { procedure, startedAt } = asked
      if (waiting.length === LISTED) break
      waiting.push({ op: procedure.name, since: startedAt, retransmissions: Math.max(0, transmissions - 1) })
    }
    return {
      ...{ peer: this.#kind.peer, transport: 'ws', state: this.#channel.state },
      ...(this.#notRespondingSince === undefined ? {} : { notRespondingSince: this.#notRespondingSince }),
      ...(this.#lastError === undefined ? {} : { lastError: String(this.#lastError) }),
      waiting,
    }
  }

  /** Ends the connection; calls that wait fail with CLOSED. */
  close(): void {
    this.#stopHeart()
    this.#channel.close()
    this.#conversation?.lost()
    this.#conversation = undefined
    this.#outgoing.close()
    this.#abort.abort()
  }

  #opened(): void {
    const { channel } = this.#channel
    if (channel === undefined) return
    const { connection, facts } = channel
    const { heartbeatMs, onEvent, onError } = this.#options
    // Another life of the server remembers nothing, whatever it says.
    const remembered = facts.resumed && facts.instance === this.#instance
    this.#instance = facts.instance
    this.#abort = new AbortController()
    const incoming = new IncomingCalls(connection, {
      ...{ services: this.#services, statistics: this.statistics, clock: this.#clock, peer: this },
      ...{ maxCalls: this.#maxCalls, budget: new WindowBudget(WINDOWS_BYTES) },
      ...(onError === undefined ? {} : { onError }),
    })
    this.#conversation = new Conversation(this.#outgoing, incoming)
    if (heartbeatMs !== undefined) {
      const silent = () => this.#channel.renew(new Error('no sign of life from the server'))
      this.#stopHeart = heartbeat(connection, this.#clock, heartbeatMs, silent)
    }
    if (this.#notRespondingSince !== undefined) {
      this.#notRespondingSince = undefined
      onEvent?.({ type: 'responding' })
    }
    onEvent?.({ type: 'connected', remembered, instance: facts.instance })
    this.#outgoing.opened(connection, { calls: facts.limits.calls, remembered })
  }

  #received(message: Incoming): void {
    this.#lastHeardAt = this.#clock.now()
    if (message.kind === 'call' && (this.#channel.channel?.connection.bufferedBytes ?? 0) > UNTAKEN_BYTES) {
      throw new ProtocolError('the server calls, and does not take answers')
    }
    this.#conversation?.received(message)
  }

  #lost(error: unknown): void {
    this.#lastError = error
    this.#stopHeart()
    this.#conversation?.lost()
    this.#conversation = undefined
    this.#abort.abort()
    // It will not be otherwise before somebody does something about it.
    if (error instanceof WsError) this.#outgoing.refuse(error)
    this.#options.onEvent?.({ type: 'disconnected', error })
    if (this.#outgoing.isEmpty || this.#notRespondingSince !== undefined) return
    this.#notRespondingSince = this.#lastHeardAt
    this.#options.onEvent?.({ type: 'not responding', since: this.#notRespondingSince })
  }
}
