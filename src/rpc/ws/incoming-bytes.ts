// Bytes that this side receives with a call or with its answer.
import { ReceiveWindow, type WindowBudget } from './credits.ts'
import { ProtocolError } from './errors.ts'

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

  /** Instead of reading it piece by piece: all pieces that are there, at least one; none at the end. */
  async takeAll(): Promise<Buffer[]> {
    this.#begun = true
    if (!(await this.#some())) return []
    const pieces = this.#pieces.splice(0)
    this.#taken(pieces.reduce((sum, { length }) => sum + length, 0))
    return pieces
  }

  async #next(): Promise<IteratorResult<Buffer>> {
    if (!(await this.#some())) return { done: true, value: undefined }
    const piece = this.#pieces.shift() as Buffer
    this.#taken(piece.length)
    return { done: false, value: piece }
  }

  /** Whether there is a piece: false, there will be none any more. */
  async #some(): Promise<boolean> {
    while (this.#pieces.length === 0) {
      if (this.#state === 'failed') throw this.#error
      if (this.#state !== 'open') return false
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
      this.#wake = undefined
    }
    return true
  }

  #taken(bytes: number): void {
    if (this.#state === 'open') {
      const grant = this.#window.consumed(bytes)
      if (grant > 0) this.#options.grant(grant)
    } else this.#release()
  }
}
