// One call that came, from its arguments to the end of its answer.
import { EncodeError } from '../../codec/errors.ts'
import { FsError } from '../../posix/errors.ts'
import type { CallOwner, IncomingCallOptions, Outcome, Repetition } from './call-owner.ts'
import type { WsConnection } from './connection.ts'
import { errnoOf, ServiceError, WsError } from './errors.ts'
import { encodeAnswer, encodeFailure, WHOLE_BYTES } from './frames.ts'
import type { IncomingBytes } from './incoming-bytes.ts'
import { discard, OutgoingBytes } from './outgoing-bytes.ts'
import type { WsPeer } from './peer.ts'
import type { AnyProcedure } from './program.ts'
import { check } from './schemas.ts'
import type { Handler, WithBytes, WsContext } from './service.ts'

const NO_ERROR: Outcome = {}

export class IncomingCall implements WsContext {
  readonly id: number
  readonly procedure: AnyProcedure
  readonly remembers: boolean
  readonly startedAt: number
  /** Bytes that come with it. */
  readonly bytes: IncomingBytes | undefined
  readonly #messageBytes: number
  #owner: CallOwner
  #connection: WsConnection | undefined
  #repetition: Repetition | undefined
  #outgoing: OutgoingBytes | undefined
  #abort: AbortController | undefined
  #aborted = false
  /** Its connection was lost before its bytes had come. */
  #cut = false
  #answerBytes = 0

  constructor(connection: WsConnection, owner: CallOwner, options: IncomingCallOptions) {
    this.id = options.id
    this.procedure = options.procedure
    this.remembers = options.remembers
    this.startedAt = options.startedAt
    this.bytes = options.bytes
    this.#messageBytes = connection.messageBytes
    this.#owner = owner
    this.#connection = connection
  }

  get peer(): WsPeer {
    return this.#owner.peer
  }

  /** Made when it is asked for: most handlers do not. */
  get signal(): AbortSignal {
    if (this.#abort === undefined) {
      this.#abort = new AbortController()
      if (this.#aborted) this.#abort.abort()
    }
    return this.#abort.signal
  }

  get receivedBytes(): number {
    return this.bytes?.receivedBytes ?? 0
  }

  get sentBytes(): number {
    return this.#answerBytes + (this.#outgoing?.sentBytes ?? 0)
  }

  run(handler: Handler, args: ReturnType<typeof check>): void {
    if ('wrong' in args) {
      this.#cancelBytes()
      this.#undone()
      this.#send(encodeFailure(this.id, 'refusal', 'GARBAGE_ARGS'))
      this.#end({ error: 'EPROTO', detail: `GARBAGE_ARGS: ${args.wrong}`, refusal: true })
      return
    }
    try {
      const result = handler(args.value, this)
      if (!(result instanceof Promise)) this.#succeed(result)
      else {
        result.then(
          (value) => this.#succeed(value),
          (error: unknown) => this.#fail(error),
        )
      }
    } catch (error) {
      this.#fail(error)
    }
  }

  receive(data: Buffer, last: boolean): void {
    const bytes = this.#repetition?.bytes ?? this.bytes
    bytes?.receive(data, last)
  }

  credit(bytes: number): void {
    this.#outgoing?.grant(bytes)
  }

  /** Nobody wants the answer any more. There is one all the same: whoever called counts it. */
  cancel(): void {
    const givenUp = new FsError('EINTR', 'the caller has given up')
    this.bytes?.fail(givenUp)
    this.#repetition?.bytes?.fail(givenUp)
    this.#abortNow()
    if (this.#outgoing === undefined) return
    this.#outgoing.stop()
    this.#send(encodeFailure(this.id, 'errno', 'EINTR'))
    this.#end({ error: 'EINTR' })
  }

  /** The connection is gone. */
  lost(): void {
    const gone = new WsError('DISCONNECTED', `${this.procedure.name}: the caller is gone`)
    this.#connection = undefined
    this.#repetition?.bytes?.fail(gone)
    this.#repetition = undefined
    if (this.bytes?.fail(gone)) this.#cut = true
    if (this.remembers) return
    this.#abortNow()
    if (this.#outgoing === undefined) return
    this.#outgoing.stop()
    this.#end({ error: 'ECONNRESET' })
  }

  /** Nobody will ever ask for the answer. */
  abandon(): void {
    this.#abortNow()
  }

  /** Its caller is back, and asks again: the answer goes there. */
  adopt(connection: WsConnection, repetition: Repetition): void {
    this.#owner.finished(this)
    this.#connection = connection
    this.#owner = repetition.owner
    this.#repetition = repetition
  }

  #succeed(value: unknown): void {
    const { bytesOut } = this.procedure
    const {
      result,
      bytes: given,
      length,
      left,
    } = bytesOut ? ((value ?? {}) as Partial<WithBytes<unknown>>) : { result: value }
    const whole = Buffer.isBuffer(given) && given.length <= WHOLE_BYTES ? given : undefined
    const bytes = Buffer.isBuffer(given) ? [given] : given
    let answer: Buffer
    try {
      if (bytesOut && bytes === undefined) throw new TypeError('bytes were promised')
      answer = encodeAnswer(this.id, result, whole ?? length)
      if (answer.length > this.#messageBytes) throw new EncodeError(`${answer.length} bytes are no small answer`)
      this.#send(answer)
    } catch (error) {
      if (bytes !== undefined) void discard(bytes)
      this.#fail(error)
      return
    }
    if (this.remembers) this.#owner.answered(this, answer)
    this.#cancelBytes()
    const connection = this.#connection
    if (whole !== undefined) left?.(whole)
    if (bytes === undefined || whole !== undefined) {
      this.#end(NO_ERROR)
      return
    }
    if (connection === undefined || this.#aborted) {
      void discard(bytes)
      this.#send(encodeFailure(this.id, 'errno', 'EINTR'))
      this.#end({ error: 'EINTR' })
      return
    }
    this.#outgoing = new OutgoingBytes(connection, {
      ...{ id: this.id, direction: 'out', source: () => bytes, length, left },
      done: (error) => {
        if (error === undefined) this.#end(NO_ERROR)
        else this.#fail(error)
      },
    })
  }

  #fail(error: unknown): void {
    const answer = this.#failure(error)
    if (answer === undefined) {
      // What a handler had done when it failed nobody knows; it may well succeed when it is asked again.
      this.#undone()
      const repetition = this.#repetition
      if (this.#cut && !this.#aborted && repetition !== undefined) {
        this.#end({ error: errnoOf(error), refusal: true })
        repetition.anew()
        return
      }
      if (!this.#cut && !this.#aborted) this.#owner.failed(this, error)
    } else if (this.remembers) this.#owner.answered(this, answer)
    this.#cancelBytes()
    this.#send(answer ?? encodeFailure(this.id, 'errno', 'EIO'))
    const detail = error instanceof ServiceError ? { detail: error.code } : {}
    this.#end({ error: errnoOf(error), ...detail, ...(answer === undefined ? { refusal: true } : {}) })
  }

  /** What the caller is told, if the error is an answer. */
  #failure(error: unknown): Buffer | undefined {
    // Bytes that did not come are no answer, whatever the handler made of that.
    if (this.#cut) return undefined
    try {
      if (error instanceof FsError) return encodeFailure(this.id, 'errno', error.code)
      if (!(error instanceof ServiceError)) return undefined
      const schema = this.procedure.errors[error.code]
      if (schema === undefined || 'wrong' in check(schema, error.detail)) return undefined
      return encodeFailure(this.id, 'service', error.code, error.detail)
    } catch {
      return undefined
    }
  }

  /** The answer tells the caller that no more is wanted. */
  #cancelBytes(): void {
    this.bytes?.cancel()
    this.#repetition?.bytes?.cancel()
  }

  #undone(): void {
    if (this.remembers) this.#owner.undone(this)
  }

  #send(frame: Buffer): void {
    this.#connection?.send(frame)
    this.#answerBytes += frame.length
  }

  #end(outcome: Outcome): void {
    this.#owner.finished(this)
    this.#owner.over(this, outcome)
  }

  #abortNow(): void {
    this.#aborted = true
    this.#abort?.abort()
  }
}
