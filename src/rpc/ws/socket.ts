// A WebSocket (RFC 6455) as a carrier of binary messages, with a count of what has not left.
import type { Duplex } from 'node:stream'
import type { WebSocket } from 'ws'
import type { Clock } from '../../host/clock.ts'

export interface WsSocketEvents {
  /** A message, as its fragments came. */
  message(fragments: readonly Buffer[]): void
  /** Something that was sent has left. */
  left(): void
  /** The last event. */
  closed(error?: unknown): void
}

/** Where one sees whether anything moves: a socket, say. */
export interface Meter {
  readonly bytesRead: number
  /** Bytes that were written, and those of them that have not left. */
  readonly bytesWritten: number
  readonly writableLength: number
}

/** Why a connection is closed, as the other side is told (RFC 6455 §7.4: those of applications begin at 4000). */
export const CLOSE_CODES = {
  normal: 1000,
  goingAway: 1001,
  protocol: 1002,
  unauthorized: 4001,
  replaced: 4002,
  silent: 4003,
} as const
export type CloseReason = keyof typeof CLOSE_CODES

export interface WsSocketSurroundings {
  /** The stream below, which the WebSocket writes to. */
  readonly carrier: Duplex
  meter(): Meter
  readonly clock: Clock
  /** Told of each arrival, so that the event loop stays awake for the next. */
  readonly awake?: { touch(): void } | undefined
}

/** What has not left, beyond which a ping is not answered: what is sent is sign enough. */
const PONG_QUEUE_BYTES = 64 * 1024
/** Pings are six bytes. */
const STEP_BYTES = 4096
/** How long the other side has to take leave. */
const FAREWELL_MS = 1000

export class WsSocket {
  readonly #meter: () => Meter
  readonly #socket: WebSocket
  readonly #carrier: Duplex
  readonly #clock: Clock
  #events: WsSocketEvents
  #queued = 0
  #ended = false
  #error: unknown

  constructor(socket: WebSocket, { carrier, meter, clock, awake }: WsSocketSurroundings, events: WsSocketEvents) {
    this.#socket = socket
    this.#carrier = carrier
    this.#meter = meter
    this.#clock = clock
    this.#events = events
    socket.binaryType = 'fragments'
    socket
      .on('message', (data, isBinary) => {
        if (this.#ended) return
        awake?.touch()
        if (isBinary) this.#events.message(data as Buffer[])
        else this.close('protocol', new Error('a message of text'))
      })
      // Who asks for signs of life and does not take them gets no more.
      .on('ping', (data) => {
        if (!this.#ended && carrier.writableLength < PONG_QUEUE_BYTES) socket.pong(data)
      })
      .on('error', (error) => {
        this.#error ??= error
      })
      .on('close', (code) => {
        if (this.#ended) return
        this.#ended = true
        this.#events.closed(this.#error ?? new ClosedError(code))
      })
  }

  /** Whoever is told from here on. */
  set events(events: WsSocketEvents) {
    this.#events = events
  }

  /** Bytes that were sent and have not left. */
  get bufferedBytes(): number {
    return this.#queued
  }

  /** Grows whenever something comes, or something of size has left: not with the signs of life that are asked for. */
  get progress(): number {
    const { bytesRead, bytesWritten, writableLength } = this.#meter()
    return bytesRead + Math.floor((bytesWritten - writableLength) / STEP_BYTES)
  }

  send(message: Buffer): void {
    if (this.#ended) return
    const { length } = message
    this.#queued += length
    this.#socket.send(message, () => this.#left(length))
  }

  /** One message of two parts, of which none is copied. The second must not change until it has left: `gone` is told. */
  sendParts(first: Buffer, second: Buffer, gone?: () => void): void {
    if (this.#ended) return
    const bytes = first.length + second.length
    this.#queued += bytes
    this.#carrier.cork()
    // Two fragments (RFC 6455 §5.4).
    this.#socket.send(first, { fin: false })
    this.#socket.send(second, { fin: true }, (error) => {
      // Of what was under way when a connection broke nobody knows who still reads it.
      if (!error) gone?.()
      this.#left(bytes)
    })
    this.#carrier.uncork()
  }

  pause(): void {
    if (!this.#ended) this.#socket.pause()
  }

  resume(): void {
    if (!this.#ended) this.#socket.resume()
  }

  /** Asks for a sign of life (RFC 6455 §5.5.2). */
  ping(): void {
    if (!this.#ended) this.#socket.ping()
  }

  /** Takes leave. No event follows, but `closed` if there is an error to tell. */
  close(reason: CloseReason, error?: Error): void {
    if (this.#ended) return
    this.#ended = true
    this.#socket.resume()
    this.#socket.close(CLOSE_CODES[reason])
    const cancel = this.#clock.after(FAREWELL_MS, () => this.#socket.terminate())
    this.#socket.once('close', cancel)
    if (error !== undefined) this.#events.closed(error)
  }

  /** Ends it at once, without a word. No event follows. */
  destroy(): void {
    this.#ended = true
    this.#socket.terminate()
  }

  #left(bytes: number): void {
    this.#queued -= bytes
    if (!this.#ended) this.#events.left()
  }
}

/** The other side took leave. */
export class ClosedError extends Error {
  override readonly name = 'ClosedError'
  /** Why, if that is a reason known here. */
  readonly reason: CloseReason | undefined

  constructor(code: number) {
    const reason = (Object.keys(CLOSE_CODES) as CloseReason[]).find((known) => CLOSE_CODES[known] === code)
    super(`the other side ended the connection: ${reason ?? code}`)
    this.reason = reason
  }
}
