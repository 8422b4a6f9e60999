// Bytes that this side sends with a call or with its answer: whole files in pieces, as fast as whoever receives them takes
// them.
import { SendWindow } from './credits.ts'
import { type Direction, PIECE_HEADER_BYTES, pieceHeader } from './frames.ts'

/** The most bytes of a piece: large enough for few system calls, small enough for a processor's cache. */
export const PIECE_BYTES = 256 * 1024

/**
 * Where bytes come from. Each is asked for the next chunk when the one before is on its way. Chunks must not change any
 * more. Of one that is not used up, `return` is called.
 */
export type ByteSource = AsyncIterable<Buffer> | Iterable<Buffer>

/** What a stream needs of its connection. */
export interface PieceSender {
  /** The most bytes of a message that the other side takes. */
  readonly messageBytes: number
  /** Calls back when it is this stream's turn to send one piece: at once, if nobody else waits. */
  whenTurn(send: () => void): void
  /** `gone`: called when the data has left, unless the connection breaks. */
  sendPiece(header: Buffer, data: Buffer, gone?: () => void): void
}

export interface OutgoingOptions {
  readonly id: number
  readonly direction: Direction
  /** Called once. */
  source(): ByteSource
  readonly length?: number | undefined
  /** A chunk has left: nobody here looks at it any more. */
  readonly left?: ((chunk: Buffer) => void) | undefined
  /** All is sent, or the source failed. Not called after `stop`. */
  done(error?: unknown): void
}

/** A stream that is sent. */
export class OutgoingBytes {
  readonly #sender: PieceSender
  readonly #options: OutgoingOptions
  readonly #window = new SendWindow()
  #iterator: AsyncIterator<Buffer> | Iterator<Buffer> | undefined
  #chunk: Buffer | undefined
  #at = 0
  #sent = 0
  #waiting = false
  #over = false

  constructor(sender: PieceSender, options: OutgoingOptions) {
    this.#sender = sender
    this.#options = options
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
      await this.#iterator?.return?.()
    } catch {
      // It was given up: what it has to say about that interests nobody.
    }
  }

  async #pull(): Promise<void> {
    try {
      this.#iterator ??= await begin(this.#options.source)
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
    const most = Math.min(PIECE_BYTES, this.#sender.messageBytes - PIECE_HEADER_BYTES)
    const bytes = Math.min(most, this.#window.available, chunk.length - this.#at)
    const data = bytes === chunk.length ? chunk : chunk.subarray(this.#at, this.#at + bytes)
    this.#window.take(bytes)
    this.#at += bytes
    this.#sent += bytes
    if (this.#at < chunk.length) {
      this.#piece(data, false)
      this.#advance()
    } else {
      const { left } = this.#options
      this.#piece(data, false, left && (() => left(chunk)))
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

  #piece(data: Buffer, last: boolean, gone?: () => void): void {
    const { id, direction } = this.#options
    this.#sender.sendPiece(pieceHeader({ id, direction, last }), data, gone)
  }

  #fail(error: unknown): void {
    if (this.#over) return
    this.#over = true
    void this.#giveUp()
    this.#options.done(error)
  }
}

const EMPTY = Buffer.alloc(0)

/** Later, so that whoever asked for the stream knows it before anything can go wrong. */
async function begin(source: () => ByteSource): Promise<AsyncIterator<Buffer> | Iterator<Buffer>> {
  const chunks = source()
  return Symbol.asyncIterator in chunks ? chunks[Symbol.asyncIterator]() : chunks[Symbol.iterator]()
}

/** Ends a source of which nothing was taken. */
export async function discard(source: ByteSource): Promise<void> {
  try {
    const iterator = await begin(() => source)
    await iterator.return?.()
  } catch {
    // It was given up: what it has to say about that interests nobody.
  }
}
