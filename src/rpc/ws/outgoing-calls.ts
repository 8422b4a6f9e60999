// The calls that this side makes: over the connection that there is, and over the next one.
import { EncodeError } from '../../codec/errors.ts'
import type { Clock } from '../../host/clock.ts'
import { rpcChannel } from '../../trace/trace.ts'
import type { Statistics } from '../statistics.ts'
import type { WsConnection } from './connection.ts'
import { WindowBudget } from './credits.ts'
import { ProtocolError, WsError, type WsFailure } from './errors.ts'
import { encodeCall, encodeCancel, encodeCredit, encodeNote, type Frame, type Piece, WHOLE_BYTES } from './frames.ts'
import { IncomingBytes } from './incoming-bytes.ts'
import { OutgoingBytes } from './outgoing-bytes.ts'
import { errorOf, OutgoingCall, stop, trace } from './outgoing-call.ts'
import type { BytesOptions, CallOptions } from './peer.ts'
import { PendingCalls } from './pending-calls.ts'
import type { AnyProcedure } from './program.ts'
import { check } from './schemas.ts'

/** Bytes that have not left, from which on further calls wait. */
const QUEUE_BYTES = 4 * 1024 * 1024
/** What the other side may send ahead, in all streams of a connection. */
const WINDOWS_BYTES = 64 * 1024 * 1024

export interface OutgoingCallsOptions {
  readonly clock: Clock
  readonly statistics: Statistics
  /** Whether calls wait for another connection when theirs is gone. */
  readonly survive: boolean
  /** How many are in flight at most; fewer if the other side says so. */
  readonly maxCalls: number
  /** After so long without an answer a call fails; never, if it is undefined. */
  readonly timeoutMs: number | undefined
  /** The other side, for people. */
  name(): string
  /** The mount whose calls these are, for traces. */
  readonly mount?: string | undefined
}

type Answer = Extract<Frame, { kind: 'answer' }>
type Failure = Extract<Frame, { kind: 'failure' }>

export class OutgoingCalls {
  readonly #options: OutgoingCallsOptions
  readonly #pending: PendingCalls<OutgoingCall>
  readonly #budget = new WindowBudget(WINDOWS_BYTES)
  #connection: WsConnection | undefined
  #lastId = 0
  #closed = false

  constructor(options: OutgoingCallsOptions) {
    this.#options = options
    this.#pending = new PendingCalls(options.maxCalls)
  }

  /** Those that somebody waits for, the oldest first. */
  get waiting(): Iterable<OutgoingCall> {
    return this.#pending
  }

  get isEmpty(): boolean {
    return this.#pending.isEmpty
  }

  call(procedure: AnyProcedure, args: unknown, options: CallOptions & Partial<BytesOptions> = {}): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const { name } = procedure
      if (this.#closed) throw new WsError('CLOSED', name)
      if (options.signal?.aborted) throw new WsError('INTERRUPTED', name)
      const { survive } = this.#options
      if (!survive && this.#connection === undefined) throw new WsError('DISCONNECTED', name)
      if (procedure.bytesIn !== (options.bytes !== undefined)) {
        throw new WsError('BAD_ARGS', `${name}: bytes or no bytes?`)
      }
      const { bytes, length, whole } = sourceOf(options)
      const id = this.#lastId + 1
      const frame = encoded(name, () => encodeCall(id, procedure, this.#pending.floor(id), args, whole ?? length))
      this.#lastId = id
      const call = new OutgoingCall({
        id,
        procedure,
        frame,
        bytes,
        length,
        left: options.left,
        startedAt: this.#options.clock.now(),
        counters: this.#options.statistics.of(name),
        resolve,
        reject,
      })
      this.#limit(call, options)
      call.asked.counters.calls++
      this.#pending.add(call)
      this.#send()
    })
  }

  /** False if it is lost for certain. */
  tell(procedure: AnyProcedure, args: unknown): boolean {
    if (this.#closed) throw new WsError('CLOSED', procedure.name)
    const frame = encoded(procedure.name, () => encodeNote(procedure, args))
    const connection = this.#connection
    const counters = this.#options.statistics.of(procedure.name)
    counters.calls++
    if (connection === undefined || connection.bufferedBytes >= QUEUE_BYTES) {
      counters.failures++
      return false
    }
    counters.bytesSent += frame.length
    encoded(procedure.name, () => connection.send(frame))
    return true
  }

  /** There is a connection. `calls`: how many the other side takes. `remembered`: it knows what it was called before. */
  opened(connection: WsConnection, { calls, remembered }: { calls: number; remembered: boolean }): void {
    this.#connection = connection
    this.#pending.limit = Math.max(1, Math.min(calls, this.#options.maxCalls))
    for (const call of this.#pending.resumed(remembered)) this.#fail(call, 'OUTCOME_UNKNOWN')
    this.#send()
  }

  /** The connection is gone. */
  lost(): void {
    this.#connection = undefined
    const failed = this.#pending.lost(this.#options.survive)
    for (const call of this.#pending) stop(call)
    for (const call of failed) {
      stop(call)
      this.#fail(call, 'DISCONNECTED')
    }
  }

  /** All fail, now and from here on. */
  close(): void {
    this.#closed = true
    this.refuse(undefined)
  }

  /** All that wait for a connection fail: there will be none. */
  refuse(error: WsError | undefined): void {
    for (const call of [...this.#pending]) {
      this.#abandon(call)
      if (error === undefined) this.#fail(call, 'CLOSED')
      else this.#settle(call, error)
    }
  }

  /** There is room for more. */
  drained(): void {
    this.#send()
  }

  /** ProtocolError for an answer to what was not asked. */
  answered({ id, result, length, whole }: Answer): void {
    const call = this.#pending.get(id)
    if (call === undefined || call.answered) throw new ProtocolError('an answer to no call')
    const { procedure } = call.asked
    call.answered = true
    if (!procedure.bytesOut) this.#finish(call)
    if (call.abandoned) return
    const checked = check(procedure.result, result)
    if ('wrong' in checked) {
      this.#abandon(call)
      this.#settle(call, new WsError('BAD_REPLY', `${procedure.name}: ${checked.wrong}`))
    } else if (procedure.bytesOut) {
      call.incoming = this.#receiver(call, length)
      call.asked.resolve({ result: checked.value, bytes: call.incoming })
      if (whole !== undefined) this.piece({ id, data: whole, last: true })
    } else this.#settle(call, undefined, checked.value)
  }

  /** ProtocolError for an answer to what was not asked. */
  failed(failure: Failure): void {
    const call = this.#pending.get(failure.id)
    if (call === undefined) throw new ProtocolError('an answer to no call')
    this.#finish(call)
    if (!call.abandoned) this.#settle(call, errorOf(failure, call.asked.procedure))
  }

  /** The other side takes more of a call's bytes. */
  credit(id: number, bytes: number): void {
    this.#pending.get(id)?.outgoing?.grant(bytes)
  }

  /** A piece of the bytes of an answer. */
  piece({ id, data, last }: Pick<Piece, 'id' | 'data' | 'last'>): void {
    const call = this.#pending.get(id)
    // What nobody wants may be under way still.
    if (call === undefined) return
    if (!call.answered) throw new ProtocolError('bytes before their answer')
    call.received += data.length
    if (!call.abandoned) call.incoming?.receive(data, last)
    if (!last) return
    this.#finish(call)
    if (!call.abandoned) this.#settle(call)
  }

  /** Sends what may be sent. */
  #send(): void {
    const connection = this.#connection
    if (connection === undefined) return
    while (connection.bufferedBytes < QUEUE_BYTES) {
      const call = this.#pending.next()
      if (call === undefined) return
      const { frame, procedure, counters, bytes } = call.asked
      try {
        connection.send(frame)
      } catch (error) {
        this.#pending.finish(call.id)
        this.#settle(call, new WsError('BAD_ARGS', procedure.name, { cause: error }))
        continue
      }
      if (call.transmissions > 1) counters.retransmissions++
      counters.bytesSent += frame.length
      if (bytes !== undefined) this.#stream(call, connection, bytes)
    }
  }

  #stream(call: OutgoingCall, connection: WsConnection, bytes: NonNullable<OutgoingCall['asked']['bytes']>): void {
    const { id, length, left } = call.asked
    call.outgoing = new OutgoingBytes(connection, {
      ...{ id, direction: 'in', length, left },
      source: () => (typeof bytes === 'function' ? bytes() : bytes),
      done: (error) => {
        if (error === undefined) return
        this.#abandon(call)
        this.#settle(call, error)
      },
    })
  }

  #receiver(call: OutgoingCall, length: number | undefined): IncomingBytes {
    return new IncomingBytes({
      length,
      budget: this.#budget,
      grant: (bytes) => this.#connection?.send(encodeCredit(call.id, 'out', bytes)),
      cancelled: () => {
        this.#abandon(call)
        this.#settle(call)
      },
    })
  }

  /** What ends the call before its answer. */
  #limit(call: OutgoingCall, { signal, cancellation, timeoutMs = this.#options.timeoutMs }: CallOptions): void {
    if (signal === undefined && cancellation === undefined && timeoutMs === undefined) return
    const interrupt = () => this.#giveUp(call, 'INTERRUPTED')
    if (cancellation !== undefined) cancellation.cancel = interrupt
    signal?.addEventListener('abort', interrupt)
    const cancelTimer =
      timeoutMs === undefined ? undefined : this.#options.clock.after(timeoutMs, () => this.#giveUp(call, 'TIMED_OUT'))
    call.release = () => {
      signal?.removeEventListener('abort', interrupt)
      cancelTimer?.()
    }
  }

  #giveUp(call: OutgoingCall, reason: WsFailure): void {
    this.#abandon(call)
    this.#fail(call, reason)
  }

  /** Nobody waits for the call any more. */
  #abandon(call: OutgoingCall): void {
    stop(call)
    if (this.#pending.abandon(call)) this.#connection?.send(encodeCancel(call.id))
  }

  /** The other side is done with the call: there is room for the next one. */
  #finish(call: OutgoingCall): void {
    stop(call)
    this.#pending.finish(call.id)
    this.#send()
  }

  #fail(call: OutgoingCall, reason: WsFailure): void {
    const repeated = call.transmissions > 1 ? ` (sent ${call.transmissions} times)` : ''
    this.#settle(call, new WsError(reason, `${call.asked.procedure.name} to ${this.#options.name()}${repeated}`))
  }

  /** Tells whoever waits, once. */
  #settle(call: OutgoingCall, error?: unknown, result?: unknown): void {
    if (call.settled) return
    call.settled = true
    call.release?.()
    const { counters, resolve, reject } = call.asked
    counters.bytesReceived += call.received
    if (error === undefined) resolve(result)
    else {
      counters.failures++
      call.incoming?.fail(error)
      reject(error)
    }
    if (!rpcChannel.hasSubscribers) return
    const { clock, mount, name } = this.#options
    trace(call, error, { us: (clock.now() - call.asked.startedAt) * 1000, peer: name(), mount })
  }
}

/** Few bytes in one buffer go along with the call; of many it is known how often they can be read. */
function sourceOf({ bytes, length }: Partial<BytesOptions>): Pick<Partial<BytesOptions>, 'length'> & {
  readonly bytes?: Exclude<BytesOptions['bytes'], Uint8Array> | undefined
  readonly whole?: Uint8Array
} {
  if (!(bytes instanceof Uint8Array)) return { bytes, ...(length === undefined ? {} : { length }) }
  if (bytes.length <= WHOLE_BYTES) return { length: bytes.length, whole: bytes }
  return { length: bytes.length, bytes: () => [bytes as Buffer] }
}

function encoded<T>(name: string, encode: () => T): T {
  try {
    return encode()
  } catch (error) {
    if (!(error instanceof EncodeError)) throw error
    throw new WsError('BAD_ARGS', `${name}: ${error.message}`, { cause: error })
  }
}
