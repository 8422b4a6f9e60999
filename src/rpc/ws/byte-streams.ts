// Bytes that come with a call or with its answer: whole files in pieces, as fast as whoever receives them takes them.
import type { WindowBudget } from './credits.ts'
import { ReceiveWindow, SendWindow } from './credits.ts'
import { ProtocolError } from './errors.ts'
import { type Direction, pieceHeader } from './frames.ts'

/** The most bytes of a piece: large enough for few system calls, small enough for a processor's cache. */
export const PIECE_BYTES = 256 * 1024

/**
 * Where bytes come from. Each is asked for the next chunk when the one before is on its way. Chunks must not change any
 * more. Of one that is not used up, `return` is called.
 */
export type ByteSource = AsyncIterable<Buffer> | Iterable<Buffer>

/** What a stream needs of its connection. */
export interface PieceSender {
  /** Calls back when it is this stream's turn to send one piece: at once, if nobody else waits. */
  whenTurn(send: () => void): void
  sendPiece(header: Buffer, data: Buffer): void
}

export interface OutgoingOptions {
  readonly id: number
  readonly direction: Direction
  readonly source: ByteSource
  readonly length?: number | undefined
  /** All is sent, or the source failed. Not called after `stop`. */
  done(error?: unknown): void
}

/** A stream that is sent. */
export class OutgoingBytes {
  readonly #sender: PieceSender
  readonly #options: OutgoingOptions
  readonly #window = new SendWindow()
  readonly #iterator: AsyncIterator<Buffer> | Iterator<Buffer>
  #chunk: Buffer | undefined
  #at = 0
  #sent = 0
  #waiting = false
  #over = false

  constructor(sender: PieceSender, options: OutgoingOptions) {
    this.#sender = sender
    this.#options = options
    const { source } = options
    this.#iterator = Symbol.asyncIterator in source ? source[Symbol.asyncIterator]() : source[Symbol.iterator]()
    void this.#pull()
  }

  get sentBytes(): number {
    return this.#sent
  }

  /** The receiver takes more. ProtocolError if that is too much to be true. */
  grant(bytes: number): void {
    this.#window.grant(bytes)
    if (!this.#waiting) return
    this.#waiting = false
    this.#advance()
  }

  /** Nobody wants the rest. */
  stop(): void {
    if (this.#over) return
    this.#over = true
    this.#chunk = undefined
    void this.#giveUp()
  }

  async #giveUp(): Promise<void> {
    try {
      await this.#iterator.return?.()
    } catch {
      // It was given up: what it has to say about that interests nobody.
    }
  }

  async #pull(): Promise<void> {
    try {
      let next = await this.#iterator.next()
      while (!next.done && next.value.length === 0) next = await this.#iterator.next()
      if (this.#over) return
      if (next.done) {
        this.#finish()
        return
      }
      this.#chunk = next.value
      this.#at = 0
      const { length } = this.#options
      if (length !== undefined && this.#sent + this.#chunk.length > length)
        throw new Error('more bytes than were announced')
      this.#advance()
    } catch (error) {
      this.#fail(error)
    }
  }

  /** Goes on with the chunk that is here. */
  #advance(): void {
    if (this.#over) return
    if (this.#window.available === 0) {
      this.#waiting = true
      return
    }
    this.#sender.whenTurn(() => this.#send())
  }

  #send(): void {
    const chunk = this.#chunk
    if (this.#over || chunk === undefined) return
    const bytes = Math.min(PIECE_BYTES, this.#window.available, chunk.length - this.#at)
    const data = bytes === chunk.length ? chunk : chunk.subarray(this.#at, this.#at + bytes)
    this.#window.take(bytes)
    this.#at += bytes
    this.#sent += bytes
    this.#piece(data, false)
    if (this.#at < chunk.length) this.#advance()
    else {
      this.#chunk = undefined
      void this.#pull()
    }
  }

  #finish(): void {
    const { length } = this.#options
    if (length !== undefined && this.#sent < length) {
      this.#fail(new Error(`${this.#sent} bytes of ${length} that were announced`))
      return
    }
    this.#over = true
    this.#piece(EMPTY, true)
    this.#options.done()
  }

  #piece(data: Buffer, last: boolean): void {
    const { id, direction } = this.#options
    this.#sender.sendPiece(pieceHeader({ id, direction, last }), data)
  }

  #fail(error: unknown): void {
    if (this.#over) return
    this.#over = true
    void this.#giveUp()
    this.#options.done(error)
  }
}

const EMPTY = Buffer.alloc(0)

export interface IncomingOptions {
  /** How many bytes will come, if that was said. */
  readonly length: number | undefined
  readonly budget: WindowBudget
  /** Grants the sender so many bytes. */
  grant(bytes: number): void
  /** The reader does not want the rest. */
  cancelled(): void
}

/**
 * A stream that is received: to be read once, with `for await`, or cancelled. The pieces belong to whoever reads them. The
 * sender is granted more only when pieces are read.
 */
export class IncomingBytes implements AsyncIterable<Buffer> {
  /** How many bytes there are in all, if the sender knows. */
  readonly length: number | undefined
  readonly #options: IncomingOptions
  readonly #window: ReceiveWindow
  readonly #pieces: Buffer[] = []
  #received = 0
  #state: 'open' | 'complete' | 'failed' | 'cancelled' = 'open'
  #error: unknown
  #wake: (() => void) | undefined
  #begun = false

  constructor(options: IncomingOptions) {
    this.length = options.length
    this.#options = options
    this.#window = new ReceiveWindow(options.budget)
  }

  /** Bytes that came so far. */
  get receivedBytes(): number {
    return this.#received
  }

  [Symbol.asyncIterator](): AsyncIterator<Buffer> {
    if (this.#begun) throw new TypeError('a stream is read once')
    this.#begun = true
    return {
      next: () => this.#next(),
      return: async () => {
        this.cancel()
        return { done: true, value: undefined }
      },
    }
  }

  /** All of it. RangeError if it is more than `maxBytes`; then the rest is not received. */
  async collect(maxBytes: number): Promise<Buffer> {
    const pieces: Buffer[] = []
    let bytes = 0
    for await (const piece of this) {
      bytes += piece.length
      if (bytes > maxBytes) throw new RangeError(`more than ${maxBytes} bytes`)
      pieces.push(piece)
    }
    return Buffer.concat(pieces, bytes)
  }

  /** The rest is not wanted. What reads it meanwhile is told that it ends here. */
  cancel(): void {
    if (this.#end('cancelled')) this.#options.cancelled()
  }

  /** @internal A piece came. ProtocolError if it is more than was granted, or not what was announced. */
  receive(piece: Buffer, last: boolean): void {
    if (this.#state !== 'open') return
    this.#window.received(piece.length)
    this.#received += piece.length
    if (this.length !== undefined && (this.#received > this.length || (last && this.#received < this.length))) {
      throw new ProtocolError('a stream is not as long as was announced')
    }
    if (piece.length > 0) this.#pieces.push(piece)
    if (last) this.#end('complete')
    this.#wake?.()
  }

  /** @internal No more will come. What came already can still be read. False if there was no more to come. */
  fail(error: unknown): boolean {
    this.#error = error
    return this.#end('failed')
  }

  #end(state: 'complete' | 'failed' | 'cancelled'): boolean {
    if (this.#state !== 'open') return false
    this.#state = state
    if (state === 'cancelled') this.#pieces.length = 0
    this.#release()
    this.#wake?.()
    return true
  }

  /** What is held counts until it is read. */
  #release(): void {
    if (this.#pieces.length === 0) this.#window.end()
  }

  async #next(): Promise<IteratorResult<Buffer>> {
    while (this.#pieces.length === 0) {
      if (this.#state === 'failed') throw this.#error
      if (this.#state !== 'open') return { done: true, value: undefined }
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
      this.#wake = undefined
    }
    const piece = this.#pieces.shift() as Buffer
    if (this.#state === 'open') {
      const grant = this.#window.consumed(piece.length)
      if (grant > 0) this.#options.grant(grant)
    } else this.#release()
    return { done: false, value: piece }
  }
}
