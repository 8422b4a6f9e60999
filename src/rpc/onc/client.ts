// An ONC RPC client: calls are pipelined over one connection, and survive it.
import { DecodeError } from '../../codec/errors.ts'
import { XdrReader, XdrWriter } from '../../codec/xdr.ts'
import { type Clock, hostClock } from '../../host/clock.ts'
import { rpcChannel, traceTime } from '../../trace/trace.ts'
import type { Cancellation } from '../cancellation.ts'
import { type ChannelState, ReconnectingChannel } from '../reconnecting-channel.ts'
import { type ProcedureCounters, Statistics } from '../statistics.ts'
import { authNone } from './auth.ts'
import type { Channel, ChannelKind } from './channel.ts'
import { OncError } from './errors.ts'
import { IncomingCalls } from './incoming-calls.ts'
import { CALL, CallBody, CallStart, type OpaqueAuth, REPLY, ReplyStart, RPC_VERSION } from './message.ts'
import { PendingCalls, type RetryOptions, TCP_RETRY, UDP_RETRY, type Waiting } from './pending-calls.ts'
import type { Procedure } from './program.ts'
import { readResult } from './reply.ts'
import type { OncServer } from './server.ts'

export interface OncClientOptions extends Partial<RetryOptions> {
  readonly clock?: Clock
  /** Numbers from 0 up to 1. */
  readonly random?: () => number
  /** Told of each arrival, so that the event loop stays awake for the next. */
  readonly awake?: { touch(): void }
  /** The credential of calls that bring none. */
  readonly credential?: OpaqueAuth
  /** How long to wait for a connection before it is tried anew. */
  readonly connectMs?: number
  /** Calls that wait for an answer at the same time; others wait for them. */
  readonly maxCalls?: number
  /** The connection is opened at once and kept: opened again whenever it is lost, also while there is nothing to call. */
  readonly keep?: boolean
  /** Answers the calls that the other side makes over this connection. Without it such calls end the connection. */
  readonly server?: OncServer
  /** The mount whose calls these are, for traces. */
  readonly mount?: string
  onEvent?(event: OncClientEvent): void
}

export type OncClientEvent =
  | { readonly type: 'connected' }
  /** The connection is gone, or there was none. Calls that wait are sent again over the next. */
  | { readonly type: 'disconnected'; readonly error: unknown }
  /** A major timeout: no answer since then, to so many transmissions of one call. */
  | { readonly type: 'not responding'; readonly since: number; readonly retransmissions: number }
  | { readonly type: 'responding' }

export interface CallOptions {
  readonly credential?: OpaqueAuth
  /** Aborted: the call fails with INTERRUPTED. The server may still execute it. */
  readonly signal?: AbortSignal
  /** The same, for calls that are many: gets a `cancel`, which costs less than a signal does. */
  readonly cancellation?: Cancellation
}

export interface OncClientStatus {
  readonly peer: string
  readonly transport: 'tcp' | 'udp'
  readonly state: ChannelState
  /** Since when the server has not responded, in milliseconds since the epoch; absent while it does. */
  readonly notRespondingSince?: number
  readonly lastError?: string
  /** Calls that wait, the oldest first, and how often each was sent again. */
  readonly waiting: readonly { readonly op: string; readonly since: number; readonly retransmissions: number }[]
}

/** Calls that are listed in a status. */
const LISTED = 20
/** Messages that wait for a connection; further ones are lost. */
const UNTOLD = 64

interface Call extends Waiting {
  readonly procedure: Procedure<never, unknown>
  readonly chunks: readonly Buffer[]
  readonly bytes: number
  readonly startedAt: number
  readonly counters: ProcedureCounters
  transmissions: number
  readonly resolve: (result: unknown) => void
  readonly reject: (error: unknown) => void
  readonly signal: AbortSignal | undefined
  readonly abort: (() => void) | undefined
}

export class OncClient {
  readonly statistics = new Statistics()
  readonly #kind: ChannelKind
  readonly #options: OncClientOptions
  readonly #clock: Clock
  readonly #credential: OpaqueAuth
  readonly #maxCalls: number
  readonly #channel: ReconnectingChannel<Buffer, Channel>
  readonly #pending: PendingCalls<Call>
  readonly #incoming: IncomingCalls | undefined
  /** Messages that wait for a connection. */
  #untold: (readonly Buffer[])[] = []
  /** Calls beyond `maxCalls`, the oldest first. */
  readonly #queue = new Set<Call>()
  readonly #reader = new XdrReader()
  readonly #writer = new XdrWriter()
  #xid: number
  #timerAt = Number.POSITIVE_INFINITY
  #cancelTimer: () => void = () => {}
  #notRespondingSince: number | undefined
  #lastAnswerAt: number
  #lastError: unknown
  #closed = false

  /** `kind`: the way to the server, see `tcpChannel` and `udpChannel`. Unless it is kept, it is opened at the first call. */
  constructor(kind: ChannelKind, options: OncClientOptions = {}) {
    const { clock = hostClock(), random = Math.random, credential = authNone, connectMs = 15_000 } = options
    const reliable = kind.transport === 'tcp'
    this.#kind = kind
    this.#options = options
    this.#clock = clock
    this.#credential = credential
    this.#maxCalls = options.maxCalls ?? (reliable ? 1024 : 64)
    this.#xid = Math.floor(random() * 0x1_0000_0000)
    this.#lastAnswerAt = clock.now()
    this.#pending = new PendingCalls({ ...(reliable ? TCP_RETRY : UDP_RETRY), ...definedRetry(options) })
    this.#channel = new ReconnectingChannel(
      kind,
      { clock, random, connectMs },
      {
        opened: () => this.#opened(),
        received: (message) => this.#received(message),
        lost: (error) => this.#lost(error),
        wanted: () => options.keep === true || this.#pending.size > 0,
      },
    )
    const { server } = options
    if (server !== undefined) this.#incoming = new IncomingCalls(server, kind, this.#channel)
    if (options.keep) this.#channel.want()
  }

  /**
   * Calls a procedure. Rejects with OncError. Large opaque arguments are not copied and must not change until the answer
   * is there; opaque results are views on the message: what is kept must be copied.
   */
  call<A, R>(procedure: Procedure<A, R>, args: A, { credential, signal, cancellation }: CallOptions = {}): Promise<R> {
    return new Promise<R>((resolve, reject) => {
      if (this.#closed) throw new OncError('CLOSED', procedure.name)
      if (signal?.aborted) throw new OncError('INTERRUPTED', procedure.name)
      const xid = this.#nextXid()
      const now = this.#clock.now()
      const chunks = this.#encode(xid, procedure, args, credential ?? this.#credential)
      const { tries, majorTimeouts, timeoutMs, dueAt } = this.#pending.begin(now)
      let bytes = 0
      for (const { length } of chunks) bytes += length
      // No spread: objects of one shape, made at once, cost a fraction.
      const call: Call = {
        xid,
        tries,
        majorTimeouts,
        timeoutMs,
        dueAt,
        procedure: procedure as unknown as Procedure<never, unknown>,
        chunks,
        bytes,
        startedAt: now,
        counters: this.statistics.of(procedure.name),
        transmissions: 0,
        resolve: resolve as (result: unknown) => void,
        reject,
        signal,
        abort: signal === undefined ? undefined : () => this.#interrupt(call),
      }
      if (call.abort !== undefined) signal?.addEventListener('abort', call.abort)
      if (cancellation !== undefined) cancellation.cancel = () => this.#interrupt(call)
      call.counters.calls++
      if (this.#pending.size < this.#maxCalls) this.#begin(call)
      else this.#queue.add(call)
    })
  }

  /**
   * Sends a call once and waits for nothing: procedures that are messages. It is lost if there is no connection and none
   * can be made. Throws OncError.
   */
  tell<A>(procedure: Procedure<A, unknown>, args: A): void {
    if (this.#closed) throw new OncError('CLOSED', procedure.name)
    const chunks = this.#encode(this.#nextXid(), procedure, args, this.#credential)
    const counters = this.statistics.of(procedure.name)
    counters.calls++
    counters.bytesSent += chunks.reduce((sum, { length }) => sum + length, 0)
    if (this.#sendNow(chunks)) return
    if (this.#untold.length < UNTOLD) this.#untold.push(chunks)
    this.#channel.want()
  }

  /**
   * Gives back the memory of a result that is large: `part` is a view on its message, and nobody uses that or another view
   * any more. Whoever does not call this leaves it to the garbage collector.
   */
  release(part: Uint8Array): void {
    this.#kind.release?.(part)
  }

  status(): OncClientStatus {
    const waiting: OncClientStatus['waiting'][number][] = []
    for (const { procedure, startedAt, transmissions } of this.#pending) {
      if (waiting.length === LISTED) break
      waiting.push({ op: procedure.name, since: startedAt, retransmissions: Math.max(0, transmissions - 1) })
    }
    const { transport, peer } = this.#kind
    return {
      peer,
      transport,
      state: this.#channel.state,
      ...(this.#notRespondingSince === undefined ? {} : { notRespondingSince: this.#notRespondingSince }),
      ...(this.#lastError === undefined ? {} : { lastError: String(this.#lastError) }),
      waiting,
    }
  }

  /** Ends the connection; calls that wait fail with CLOSED. */
  close(): void {
    this.#closed = true
    this.#cancelTimer()
    this.#channel.close()
    this.#incoming?.lost()
    this.#untold = []
    for (const call of [...this.#pending, ...this.#queue]) this.#fail(call, 'CLOSED')
  }

  #begin(call: Call): void {
    this.#pending.add(call)
    this.#send(call)
    if (this.#channel.state === 'idle') this.#channel.want()
    this.#arm()
  }

  #encode<A>(xid: number, procedure: Procedure<A, unknown>, args: A, credential: OpaqueAuth): Buffer[] {
    const writer = this.#writer.begin(this.#kind.messageBytes)
    const { program, version, number } = procedure
    try {
      CallStart.write(writer, { xid, type: CALL, rpcVersion: RPC_VERSION })
      CallBody.write(writer, { program, version, procedure: number, credential, verifier: authNone })
      procedure.args.write(writer, args)
    } catch (error) {
      throw new OncError('BAD_ARGS', `${procedure.name}: ${(error as Error).message}`, { cause: error })
    }
    return writer.take()
  }

  #nextXid(): number {
    do this.#xid = (this.#xid + 1) >>> 0
    while (this.#pending.has(this.#xid))
    return this.#xid
  }

  #send(call: Call): void {
    if (!this.#sendNow(call.chunks)) return
    if (call.transmissions++ > 0) call.counters.retransmissions++
    call.counters.bytesSent += call.bytes
  }

  /** Sends, if there is a connection. */
  #sendNow(chunks: readonly Buffer[]): boolean {
    const { channel } = this.#channel
    channel?.send(chunks)
    return channel !== undefined
  }

  get #bufferedBytes(): number {
    return this.#channel.channel?.bufferedBytes ?? 0
  }

  #opened(): void {
    // What is called because of the event goes first, and once.
    const waiting = [...this.#pending]
    this.#options.onEvent?.({ type: 'connected' })
    const now = this.#clock.now()
    for (const chunks of this.#untold) this.#sendNow(chunks)
    this.#untold = []
    for (const call of waiting) {
      this.#send(call)
      this.#pending.sent(call, now)
    }
  }

  #lost(error: unknown): void {
    this.#lastError = error
    this.#incoming?.lost()
    this.#untold = []
    this.#options.onEvent?.({ type: 'disconnected', error })
  }

  #received(message: Buffer): void {
    this.#options.awake?.touch()
    const reader = this.#reader.reset(message)
    const { xid, type } = ReplyStart.read(reader)
    if (type === CALL && this.#incoming !== undefined) {
      this.#incoming.received(message)
      return
    }
    if (type !== REPLY) throw new DecodeError('a call where a reply belongs')
    const call = this.#pending.take(xid)
    // The answer to a repetition, or to a call that nobody waits for any more.
    if (call === undefined) return
    call.counters.bytesReceived += message.length
    this.#lastAnswerAt = this.#clock.now()
    if (this.#notRespondingSince !== undefined) this.#responding()
    try {
      const result = readResult(reader, call.procedure)
      this.#settle(call)
      call.resolve(result)
      if (rpcChannel.hasSubscribers) this.#trace(call, message.length, result)
    } catch (error) {
      this.#reject(call, error)
    }
  }

  #interrupt(call: Call): void {
    if (this.#pending.has(call.xid) || this.#queue.has(call)) this.#fail(call, 'INTERRUPTED')
  }

  #fail(call: Call, reason: 'INTERRUPTED' | 'CLOSED' | 'TIMED_OUT'): void {
    this.#pending.take(call.xid)
    this.#queue.delete(call)
    const repeated = call.transmissions > 1 ? ` (sent ${call.transmissions} times)` : ''
    this.#reject(call, new OncError(reason, `${call.procedure.name} to ${this.#kind.peer}${repeated}`))
  }

  #reject(call: Call, error: unknown): void {
    this.#settle(call)
    call.counters.failures++
    call.reject(error)
    if (rpcChannel.hasSubscribers) this.#trace(call, 0, undefined, error)
  }

  /** The call is over: the next one may begin. */
  #settle(call: Call): void {
    if (call.abort !== undefined) call.signal?.removeEventListener('abort', call.abort)
    if (this.#closed || this.#pending.size >= this.#maxCalls) return
    for (const next of this.#queue) {
      this.#queue.delete(next)
      Object.assign(next, this.#pending.begin(this.#clock.now()))
      this.#begin(next)
      return
    }
  }

  #arm(): void {
    const at = this.#pending.nextAt
    if (at >= this.#timerAt) return
    this.#cancelTimer()
    this.#timerAt = at
    this.#cancelTimer = this.#clock.after(Math.max(0, at - this.#clock.now()), () => this.#expire())
  }

  #expire(): void {
    this.#timerAt = Number.POSITIVE_INFINITY
    const { resend, failed, major } = this.#pending.expire(this.#clock.now())
    const [first] = major
    if (first !== undefined) this.#notResponding(first)
    for (const call of failed) this.#fail(call, 'TIMED_OUT')
    // A stream that has been silent for so long leads nowhere: over a new one all is sent again.
    if (this.#kind.transport === 'tcp' && major.length > 0) this.#channel.renew(new Error('no answer'))
    // What still waits to leave need not be said twice.
    else if (this.#bufferedBytes === 0) for (const call of resend) this.#send(call)
    this.#arm()
  }

  #notResponding({ startedAt, transmissions }: Call): void {
    if (this.#notRespondingSince !== undefined) return
    this.#notRespondingSince = Math.max(startedAt, this.#lastAnswerAt)
    const retransmissions = Math.max(0, transmissions - 1)
    this.#options.onEvent?.({ type: 'not responding', since: this.#notRespondingSince, retransmissions })
  }

  #responding(): void {
    this.#notRespondingSince = undefined
    this.#options.onEvent?.({ type: 'responding' })
  }

  #trace(
    { procedure, startedAt, bytes, transmissions }: Call,
    received: number,
    result: unknown,
    failure?: unknown,
  ): void {
    const error = failure === undefined ? procedure.errorOf(result) : failure instanceof OncError ? failure.code : 'EIO'
    rpcChannel.publish({
      time: traceTime(),
      op: procedure.name,
      side: 'client',
      peer: this.#kind.peer,
      us: (this.#clock.now() - startedAt) * 1000,
      bytes: bytes + received,
      ...(error === undefined ? {} : { error }),
      ...(this.#options.mount === undefined ? {} : { mount: this.#options.mount }),
      ...(failure instanceof OncError ? { detail: failure.reason } : {}),
      ...(transmissions > 1 ? { detail: `${transmissions - 1} retransmissions` } : {}),
    })
  }
}

function definedRetry({ timeoMs, retrans, maxTimeoMs, backoff, hard }: Partial<RetryOptions>): Partial<RetryOptions> {
  const given = Object.entries({ timeoMs, retrans, maxTimeoMs, backoff, hard })
  return Object.fromEntries(given.filter(([, value]) => value !== undefined))
}
