// The calls that come over one connection: decoded, checked, handled, answered.
import type { Clock } from '../../host/clock.ts'
import { FsError } from '../../posix/errors.ts'
import { rpcChannel, traceTime } from '../../trace/trace.ts'
import type { Statistics } from '../statistics.ts'
import type { CallOwner, Outcome } from './call-owner.ts'
import type { WsConnection } from './connection.ts'
import type { WindowBudget } from './credits.ts'
import { ProtocolError, type Refusal, ServiceError } from './errors.ts'
import { type CallFrame, encodeCredit, encodeFailure, type Frame, type Piece } from './frames.ts'
import { IncomingBytes } from './incoming-bytes.ts'
import { IncomingCall } from './incoming-call.ts'
import type { WsPeer } from './peer.ts'
import type { AnyProcedure } from './program.ts'
import type { Replies } from './replies.ts'
import { check } from './schemas.ts'
import type { BoundProcedure, ServiceTable } from './service.ts'

export interface CalleeOptions {
  readonly services: ServiceTable
  readonly statistics: Statistics
  readonly clock: Clock
  readonly peer: WsPeer
  /** Calls in progress; a peer that makes more is none of ours. */
  readonly maxCalls: number
  readonly budget: WindowBudget
  /** What was answered before; without it each call is executed. */
  readonly replies?: Replies | undefined
  /** Calls in progress for all peers together; further ones are refused. */
  readonly load?: Load | undefined
  /** A handler failed other than by an answer, or its result is none. The caller is told EIO. */
  onError?(error: unknown, procedure: string): void
}

export interface Load {
  calls: number
  readonly maxCalls: number
}

/** Messages that handlers are busy with. */
const NOTES_MAX = 1024

type Note = Extract<Frame, { kind: 'note' }>

export class IncomingCalls implements CallOwner {
  readonly #options: CalleeOptions
  readonly #connection: WsConnection
  readonly #calls = new Map<number, IncomingCall>()
  #notes = 0
  #lastId = 0

  constructor(connection: WsConnection, options: CalleeOptions) {
    this.#connection = connection
    this.#options = options
  }

  /** Calls in progress. */
  get size(): number {
    return this.#calls.size
  }

  /** ProtocolError for what a peer that keeps to the rules does not do. */
  call(frame: CallFrame): void {
    const { services, replies, maxCalls, load } = this.#options
    const { id, length } = frame
    if (id <= this.#lastId) throw new ProtocolError('the number of a call came before')
    this.#lastId = id
    if (this.#calls.size >= maxCalls) throw new ProtocolError('more calls at the same time than were agreed upon')
    const bound = services.find(frame.program, frame.version, frame.procedure)
    if (typeof bound === 'string') {
      this.#refuse(id, bound)
      return
    }
    const { procedure } = bound
    if (length !== undefined && !procedure.bytesIn) throw new ProtocolError('bytes for a procedure that takes none')
    if (load !== undefined && load.calls >= load.maxCalls) {
      this.#refuse(id, 'BUSY')
      return
    }
    if (procedure.idempotent || replies === undefined) {
      replies?.passed(id)
      this.#begin(frame, bound)
      return
    }
    const known = replies.begin(id, frame.floor, (call) => this.#adopt(call, frame, bound))
    if (known === 'new') this.#begin(frame, bound)
    else {
      this.#options.statistics.of(procedure.name).retransmissions++
      if (known === 'forgotten') this.#refuse(id, 'OUTCOME_UNKNOWN')
      else if (known !== 'busy') this.#connection.send(known)
    }
  }

  /** A call without an answer. */
  note({ program, version, procedure: number, args }: Note): void {
    const { services, onError, statistics } = this.#options
    const bound = services.find(program, version, number)
    if (typeof bound === 'string') return
    const { procedure, handler } = bound
    const checked = check(procedure.args, args)
    if ('wrong' in checked || procedure.bytesIn || procedure.bytesOut) return
    if (this.#notes >= NOTES_MAX) throw new ProtocolError('more messages at the same time than anybody can deal with')
    statistics.of(procedure.name).calls++
    const { peer } = this.#options
    const failed = (error: unknown) => {
      if (!(error instanceof FsError || error instanceof ServiceError)) onError?.(error, procedure.name)
    }
    try {
      const done = handler(checked.value, { peer, id: 0, signal: peer.signal })
      if (!(done instanceof Promise)) return
      this.#notes++
      void done.catch(failed).finally(() => this.#notes--)
    } catch (error) {
      failed(error)
    }
  }

  /** The caller does not want the answer any more. */
  cancel(id: number): void {
    this.#calls.get(id)?.cancel()
  }

  /** The caller takes more of the bytes of an answer. */
  credit(id: number, bytes: number): void {
    this.#calls.get(id)?.credit(bytes)
  }

  /** A piece of the bytes of a call. Of a call that is over, some may be under way still. */
  piece({ id, data, last }: Piece): void {
    this.#calls.get(id)?.receive(data, last)
  }

  /** The connection is gone: nobody hears answers here any more. */
  lost(): void {
    for (const call of [...this.#calls.values()]) call.lost()
    this.#calls.clear()
  }

  /** @internal */
  get peer(): WsPeer {
    return this.#options.peer
  }

  /** @internal */
  answered({ id }: IncomingCall, answer: Buffer): void {
    this.#options.replies?.done(id, answer)
  }

  /** @internal */
  undone({ id }: IncomingCall): void {
    this.#options.replies?.undone(id)
  }

  /** @internal */
  finished({ id }: IncomingCall): void {
    this.#calls.delete(id)
  }

  /** @internal */
  failed({ procedure }: IncomingCall, error: unknown): void {
    this.#options.onError?.(error, procedure.name)
  }

  /** @internal */
  over({ procedure, startedAt, receivedBytes, sentBytes }: IncomingCall, outcome: Outcome): void {
    const { load, statistics, clock, peer } = this.#options
    if (load !== undefined) load.calls--
    const counters = statistics.of(procedure.name)
    counters.calls++
    counters.bytesReceived += receivedBytes
    counters.bytesSent += sentBytes
    if (outcome.refusal) counters.failures++
    if (!rpcChannel.hasSubscribers) return
    rpcChannel.publish({
      ...{ time: traceTime(), op: procedure.name, side: 'server', peer: peer.name },
      ...{ us: (clock.now() - startedAt) * 1000, bytes: receivedBytes + sentBytes },
      ...(outcome.error === undefined ? {} : { error: outcome.error }),
      ...(outcome.detail === undefined ? {} : { detail: outcome.detail }),
    })
  }

  #begin(frame: CallFrame, { procedure, handler }: BoundProcedure, bytes = this.#receiver(frame, procedure)): void {
    const { replies, clock, load } = this.#options
    const call = new IncomingCall(this.#connection, this, {
      id: frame.id,
      procedure,
      bytes,
      remembers: replies !== undefined && !procedure.idempotent,
      startedAt: clock.now(),
    })
    if (load !== undefined) load.calls++
    this.#calls.set(call.id, call)
    if (call.remembers) replies?.started(call)
    call.run(handler, check(procedure.args, frame.args))
  }

  /** A call that began over another connection: its answer goes here. */
  #adopt(call: IncomingCall, frame: CallFrame, bound: BoundProcedure): void {
    const bytes = this.#receiver(frame, bound.procedure)
    this.#calls.set(call.id, call)
    call.adopt(this.#connection, { bytes, owner: this, anew: () => this.#begin(frame, bound, bytes) })
  }

  #receiver({ id, length, whole }: CallFrame, { bytesIn }: AnyProcedure): IncomingBytes | undefined {
    if (!bytesIn) return undefined
    const bytes = new IncomingBytes({
      ...{ length, budget: this.#options.budget },
      grant: (bytes) => this.#connection.send(encodeCredit(id, 'in', bytes)),
      // The answer tells the caller.
      cancelled: () => {},
    })
    if (whole !== undefined) bytes.receive(whole, true)
    return bytes
  }

  #refuse(id: number, refusal: Refusal): void {
    this.#connection.send(encodeFailure(id, 'refusal', refusal))
  }
}
