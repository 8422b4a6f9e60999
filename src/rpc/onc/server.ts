// The core of an ONC RPC server: bytes of a call in, bytes of its reply out. No sockets, no timers.
import { DecodeError } from '../../codec/errors.ts'
import { EncodingError } from '../../codec/text.ts'
import { encode, XdrReader, XdrWriter } from '../../codec/xdr.ts'
import { type RpcEvent, rpcChannel, traceTime } from '../../trace/trace.ts'
import type { Awaitable } from '../awaitable.ts'
import { Statistics } from '../statistics.ts'
import { DuplicateCache, type DuplicateCacheLimits, RepeatableCall } from './duplicate-cache.ts'
import { accepted, CALL, CallBody, CallStart, denied, HEADER_BYTES, REPLY, ReplyBody, RPC_VERSION } from './message.ts'
import { type Peer, peerName } from './peer.ts'
import type { Procedure } from './program.ts'
import { type BoundProcedure, NO_REPLY, type OncContext, type Service } from './service.ts'

export interface OncServerOptions {
  readonly duplicates?: DuplicateCacheLimits
  /** A handler failed, or its result cannot be encoded. The caller is told SYSTEM_ERR. */
  onError?(error: unknown, procedure: string): void
}

/** The chunks of a reply, or undefined if there is none. */
export type Reply = Buffer[] | undefined

const NO_ERROR: CallOutcome = {}
/** What stands before each result. */
const SUCCESS = encode(ReplyBody, accepted({ status: 'SUCCESS' }))
const SYSTEM_ERR = accepted({ status: 'SYSTEM_ERR' })
const GARBAGE_ARGS = accepted({ status: 'GARBAGE_ARGS' })

/** A call of a procedure that is served. */
interface Call {
  readonly procedure: Procedure<unknown, unknown>
  readonly context: OncContext
  readonly bytes: number
  /** When it came; 0 if nobody wanted to know. */
  readonly startedAt: number
  /** In the duplicate request cache, if the call is not idempotent. */
  repeatable: RepeatableCall | undefined
}

type CallOutcome = Pick<RpcEvent, 'error' | 'detail'>

export class OncServer {
  readonly statistics = new Statistics()
  readonly #options: OncServerOptions
  readonly #duplicates: DuplicateCache
  /** By program and version. */
  readonly #programs = new Map<number, Map<number, Service>>()
  /** Calls that are not idempotent and that their handlers are busy with. */
  readonly #inProgress = new Map<RepeatableCall, { readonly peer: Peer; readonly reply: Promise<Reply> }>()
  readonly #reader = new XdrReader()
  readonly #writer = new XdrWriter()

  constructor(services: readonly Service[], options: OncServerOptions = {}) {
    this.#options = options
    this.#duplicates = new DuplicateCache(options.duplicates)
    for (const service of services) {
      const { number, version, name } = service.program
      const versions = this.#programs.get(number) ?? new Map<number, Service>()
      if (versions.has(version)) throw new TypeError(`${name} is served twice`)
      this.#programs.set(number, versions.set(version, service))
    }
  }

  /** What is served. */
  get programs(): Service['program'][] {
    return [...this.#programs.values()].flatMap((versions) => [...versions.values()].map(({ program }) => program))
  }

  /**
   * Answers a call, at once if its handler does; a promise never rejects. DecodeError if this is no call at all: then
   * nothing can be answered, and on a stream nothing that follows makes sense.
   */
  answer(message: Buffer, peer: Peer): Awaitable<Reply> {
    const reader = this.#reader.reset(message)
    const { xid, type, rpcVersion } = CallStart.read(reader)
    if (type !== CALL) throw new DecodeError('a reply where a call belongs')
    if (rpcVersion !== RPC_VERSION) {
      return this.#refuse(xid, denied({ status: 'RPC_MISMATCH', low: RPC_VERSION, high: RPC_VERSION }))
    }
    const body = CallBody.read(reader)
    const versions = this.#programs.get(body.program)
    if (versions === undefined) return this.#refuse(xid, accepted({ status: 'PROG_UNAVAIL' }))
    const service = versions.get(body.version)
    if (service === undefined) {
      const [low, high] = [Math.min(...versions.keys()), Math.max(...versions.keys())]
      return this.#refuse(xid, accepted({ status: 'PROG_MISMATCH', low, high }))
    }
    const bound = service.procedures.get(body.procedure)
    if (bound === undefined) return this.#refuse(xid, accepted({ status: 'PROC_UNAVAIL' }))
    return this.#call(message, peer, xid, { service, bound, body })
  }

  #call(
    message: Buffer,
    peer: Peer,
    xid: number,
    { service, bound, body }: { service: Service; bound: BoundProcedure; body: CallBody },
  ): Awaitable<Reply> {
    const { procedure, handler } = bound
    const caller = peer.credentials.read(body.credential)
    const context: OncContext = {
      peer,
      caller: typeof caller === 'string' ? { flavor: 'AUTH_NONE' } : caller,
      signal: peer.signal,
      xid,
    }
    const startedAt = rpcChannel.hasSubscribers ? traceTime() : 0
    const call: Call = { procedure, context, bytes: message.length, startedAt, repeatable: undefined }
    // Procedure 0 asks whether somebody is there, and needs no rights (RFC 5531 §12.2).
    if (procedure.number !== 0) {
      const why = typeof caller === 'string' ? caller : service.options.authorize?.(context, procedure)
      if (why !== undefined) return this.#refuse(xid, denied({ status: 'AUTH_ERROR', why }), call)
    }
    const encoded = message.subarray(message.length - this.#reader.remaining)
    const args = this.#readArgs(procedure)
    if (args instanceof DecodeError) {
      const { ifNotText } = procedure
      if (args instanceof EncodingError && ifNotText !== undefined) return this.#finish(call, ifNotText)
      return this.#refuse(xid, GARBAGE_ARGS, call)
    }
    if (!procedure.idempotent) {
      const repeatable = new RepeatableCall(peer, xid, body, encoded)
      const before = this.#duplicates.begin(repeatable)
      if (before !== undefined) return this.#repeat(call, before)
      call.repeatable = repeatable
    }
    return this.#run(call, handler, args.value)
  }

  #run(call: Call, handler: BoundProcedure['handler'], args: unknown): Awaitable<Reply> {
    try {
      const result = handler(args, call.context)
      if (!(result instanceof Promise)) return this.#finish(call, result)
      const reply = result.then(
        (value) => this.#finish(call, value),
        (error: unknown) => this.#fail(call, error),
      )
      if (call.repeatable !== undefined) this.#inProgress.set(call.repeatable, { peer: call.context.peer, reply })
      return reply
    } catch (error) {
      return this.#fail(call, error)
    }
  }

  #readArgs(procedure: Procedure<unknown, unknown>): { value: unknown } | DecodeError {
    try {
      const value = procedure.args.read(this.#reader)
      this.#reader.finish()
      return { value }
    } catch (error) {
      if (error instanceof DecodeError) return error
      throw error
    }
  }

  #finish(call: Call, result: unknown): Reply {
    if (result === NO_REPLY) return this.#silent(call)
    const { procedure, context, repeatable } = call
    const writer = this.#writer.begin(context.peer.maxReplyBytes)
    try {
      writer.u32(context.xid)
      writer.u32(REPLY)
      writer.fixed(SUCCESS, SUCCESS.length)
      procedure.result.write(writer, result)
    } catch (error) {
      return this.#fail(call, error)
    }
    const sent = writer.length
    const reply = writer.take()
    if (repeatable !== undefined) {
      this.#duplicates.done(repeatable, reply)
      if (this.#inProgress.size > 0) this.#inProgress.delete(repeatable)
    }
    const error = rpcChannel.hasSubscribers ? procedure.errorOf(result) : undefined
    this.#count(call, sent, error === undefined ? NO_ERROR : { error })
    return reply
  }

  #silent(call: Call): Reply {
    this.#forget(call)
    this.#count(call, 0, NO_ERROR)
    return undefined
  }

  #forget({ repeatable }: Call): void {
    if (repeatable === undefined) return
    this.#duplicates.forget(repeatable)
    this.#inProgress.delete(repeatable)
  }

  #fail(call: Call, error: unknown): Reply {
    const { procedure, context } = call
    // What a handler had done when it failed nobody knows; it may well succeed when it is asked again.
    this.#forget(call)
    this.#options.onError?.(error, procedure.name)
    return this.#refuse(context.xid, SYSTEM_ERR, call)
  }

  #repeat({ procedure, context, bytes }: Call, before: RepeatableCall): Awaitable<Reply> {
    const counters = this.statistics.of(procedure.name)
    counters.retransmissions++
    counters.bytesReceived += bytes
    const { answer } = before
    if (answer === undefined) {
      const first = this.#inProgress.get(before)
      // The answer will come, unless it goes to a connection that is gone while the client asks again over a new one.
      return first === undefined || first.peer === context.peer ? undefined : first.reply
    }
    counters.bytesSent += answer.length
    return [answer]
  }

  /** A reply of the RPC layer itself. */
  #refuse(xid: number, body: ReplyBody, call?: Call): Reply {
    const writer = this.#writer.begin(HEADER_BYTES)
    writer.u32(xid)
    writer.u32(REPLY)
    ReplyBody.write(writer, body)
    if (call !== undefined) {
      this.statistics.of(call.procedure.name).failures++
      const detail = body.state === 'MSG_ACCEPTED' ? body.outcome.status : body.reason.status
      this.#count(call, writer.length, { error: 'EPROTO', detail })
    }
    return writer.take()
  }

  #count({ procedure, context, bytes, startedAt }: Call, sent: number, outcome: CallOutcome): void {
    const counters = this.statistics.of(procedure.name)
    counters.calls++
    counters.bytesReceived += bytes
    counters.bytesSent += sent
    if (!rpcChannel.hasSubscribers) return
    const time = traceTime()
    rpcChannel.publish({
      time,
      op: procedure.name,
      side: 'server',
      peer: peerName(context.peer),
      us: startedAt === 0 ? 0 : (time - startedAt) * 1000,
      bytes: bytes + sent,
      ...outcome,
    })
  }
}
