// A connection that carries frames and pieces of streams. Small frames that are sent in one turn of the event loop leave in
// one message. Streams take turns, a piece each, and small frames overtake them.
import { EncodeError } from '../../codec/errors.ts'
import { ProtocolError } from './errors.ts'
import { type Incoming, Piece, readFrame, readPiece, unpack } from './frames.ts'
import type { PieceSender } from './outgoing-bytes.ts'
import type { CloseReason, WsSocket } from './socket.ts'

/** Bytes that have not left, from which on streams wait: what small frames have before them. */
const STREAM_QUEUE_BYTES = 1024 * 1024

export interface ConnectionOptions {
  /** The most bytes of a message that the other side takes. */
  readonly messageBytes: number
  /** Bytes that have not left, from which on nothing that came is looked at. */
  readonly queueBytes?: number
}

export interface ConnectionEvents {
  /** ProtocolError or DecodeError for what makes no sense: that ends the connection. */
  received(message: Incoming): void
  /** There is room for more. */
  drained(): void
  /** The last event. */
  closed(error?: unknown): void
}

export class WsConnection implements PieceSender {
  readonly messageBytes: number
  readonly #socket: WsSocket
  readonly #queueBytes: number
  readonly #events: ConnectionEvents
  #batch: Buffer[] = []
  #batchBytes = 0
  #flushing = false
  /** Streams that wait for their turn, the first one first. */
  readonly #turns: (() => void)[] = []
  /** What came and was not looked at, and how far in it. */
  #held: unknown[] = []
  #next = 0
  #serving = false
  #proceeding = false
  #paused = false
  #ended = false

  constructor(socket: WsSocket, events: ConnectionEvents, { messageBytes, queueBytes = Infinity }: ConnectionOptions) {
    this.messageBytes = messageBytes
    this.#socket = socket
    this.#events = events
    this.#queueBytes = queueBytes
    socket.events = {
      message: (fragments) => this.#received(fragments),
      left: () => this.#left(),
      closed: (error) => this.#closed(error),
    }
  }

  /** Bytes that were sent and have not left. */
  get bufferedBytes(): number {
    return this.#batchBytes + this.#socket.bufferedBytes
  }

  /** So much has moved, in either direction: while this grows, somebody is there. */
  get progress(): number {
    return this.#socket.progress
  }

  /** Sends a small frame. EncodeError if it is not: larger than the other side takes. */
  send(frame: Buffer): void {
    const { length } = frame
    if (length > this.messageBytes)
      throw new EncodeError(`a message of ${length} bytes, taken are ${this.messageBytes}`)
    if (this.#ended) return
    if (this.#batchBytes + length > this.messageBytes) this.#flush()
    this.#batch.push(frame)
    this.#batchBytes += length
    if (this.#flushing) return
    this.#flushing = true
    process.nextTick(() => {
      this.#flushing = false
      this.#flush()
    })
  }

  whenTurn(send: () => void): void {
    this.#turns.push(send)
    if (!this.#serving) this.#serve()
  }

  sendPiece(header: Buffer, data: Buffer, gone?: () => void): void {
    if (this.#ended) return
    // What was said before comes before: the answer that the bytes belong to.
    this.#flush()
    if (data.length > 0) this.#socket.sendParts(header, data, gone)
    else this.#socket.send(header)
  }

  ping(): void {
    this.#socket.ping()
  }

  /** Takes leave. What was sent is sent; nothing is received from here on, and no event follows. */
  close(reason: CloseReason = 'normal'): void {
    if (this.#ended) return
    this.#flush()
    this.#end()
    this.#socket.close(reason)
  }

  destroy(): void {
    this.#end()
    this.#socket.destroy()
  }

  #end(): void {
    this.#ended = true
    this.#batch = []
    this.#batchBytes = 0
    this.#turns.length = 0
    this.#held = []
    this.#next = 0
  }

  #closed(error: unknown): void {
    if (this.#ended) return
    this.#end()
    this.#events.closed(error)
  }

  /** The peer does what must not be. */
  #fail(error: Error): void {
    if (this.#ended) return
    this.#end()
    this.#socket.close('protocol')
    this.#events.closed(error)
  }

  #flush(): void {
    const batch = this.#batch
    const [first] = batch
    if (first === undefined) return
    this.#batch = []
    this.#batchBytes = 0
    this.#socket.send(batch.length === 1 ? first : Buffer.concat(batch))
  }

  /** Lets the streams send that wait, as long as there is room. */
  #serve(): void {
    this.#serving = true
    while (this.#turns.length > 0 && this.#socket.bufferedBytes < STREAM_QUEUE_BYTES) this.#turns.shift()?.()
    this.#serving = false
  }

  #left(): void {
    this.#serve()
    if (this.bufferedBytes >= this.#queueBytes / 2) return
    this.#events.drained()
    if (this.#paused) this.#proceed()
  }

  #received(fragments: readonly Buffer[]): void {
    try {
      const piece = readPiece(fragments)
      if (piece !== undefined) this.#held.push(piece)
      else {
        const message = fragments.length === 1 ? (fragments[0] as Buffer) : Buffer.concat(fragments)
        for (const value of unpack(message)) this.#held.push(value)
      }
    } catch (error) {
      this.#fail(error as Error)
      return
    }
    this.#proceed()
  }

  /** Looks at what came, unless the other side does not take what it is told. */
  #proceed(): void {
    if (this.#proceeding) return
    this.#proceeding = true
    try {
      while (this.#next < this.#held.length && this.bufferedBytes < this.#queueBytes) {
        const value = this.#held[this.#next++]
        this.#events.received(value instanceof Piece ? value : readFrame(value))
      }
    } catch (error) {
      this.#fail(error instanceof Error ? error : new ProtocolError(String(error)))
    } finally {
      this.#proceeding = false
    }
    if (this.#ended) return
    const all = this.#next === this.#held.length
    if (all) {
      this.#held = []
      this.#next = 0
    }
    this.#pause(!all)
  }

  #pause(paused: boolean): void {
    if (paused === this.#paused) return
    this.#paused = paused
    if (paused) this.#socket.pause()
    else this.#socket.resume()
  }
}
