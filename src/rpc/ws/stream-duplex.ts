// A byte stream of this folder as a stream of Node: what `ws` and TLS need below them, so that a Link can be there.
import { Duplex } from 'node:stream'
import type { ByteStream, OpenByteStream } from '../transport.ts'
import type { Meter } from './socket.ts'

/** Bytes that were written and have not left, from which on the writer waits. At least what a socket's own mark is. */
const WRITE_AHEAD_BYTES = 64 * 1024

/** A read of so many bytes means that much more is coming. */
const BULK_BYTES = 64 * 1024
/** Where much is read at once: a piece of a stream that lies in it whole is not copied. */
const BLOCK_BYTES = 1024 * 1024

export class StreamDuplex extends Duplex {
  #bytesRead = 0
  #bytesWritten = 0
  #closed = false
  #bulk = false
  /** What is left of a block that was read into. None is written to twice. */
  #block = Buffer.alloc(0)
  readonly #stream: ByteStream
  #written: (() => void) | undefined
  /** What was written last is nobody's any more. */
  #hasLeft = true

  constructor(open: OpenByteStream) {
    super({ allowHalfOpen: false, highWaterMark: 1024 * 1024 })
    this.#stream = open({
      opened: () => this.emit('connect'),
      room: () => this.#room(),
      received: (chunk) => {
        this.#bytesRead += chunk.length
        this.#bulk = chunk.length >= BULK_BYTES
        if (chunk.buffer === this.#block.buffer) this.#block = this.#block.subarray(chunk.length)
        if (!this.push(chunk)) this.#stream.pause()
      },
      drained: () => this.#goOn(),
      closed: (error) => {
        this.#closed = true
        // What came is still to be read; what was written goes nowhere, and nobody waits for that.
        this.#hasLeft = true
        this.#goOn()
        if (error === undefined) this.push(null)
        else this.destroy(error)
      },
    })
  }

  /** What came, and what went. */
  get meter(): Meter {
    return { bytesRead: this.#bytesRead, bytesWritten: this.#bytesWritten, writableLength: this.#stream.bufferedBytes }
  }

  override _read(): void {
    this.#stream.resume()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: () => void): void {
    this.#send([chunk], callback)
  }

  override _writev(chunks: readonly { readonly chunk: Buffer }[], callback: () => void): void {
    const buffers = chunks.map(({ chunk }) => chunk)
    this.#send(buffers, callback)
  }

  /** All that was written has left: the other side is told that this is the end. */
  override _final(callback: () => void): void {
    this.#stream.destroy()
    this.push(null)
    callback()
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    this.#stream.destroy()
    callback(error)
  }

  #room(): Buffer | undefined {
    if (!this.#bulk) return undefined
    if (this.#block.length < BLOCK_BYTES / 4) this.#block = Buffer.allocUnsafeSlow(BLOCK_BYTES)
    return this.#block
  }

  /** Chunks may be written again by whoever wrote them once they have left, and not before. */
  #send(chunks: readonly Buffer[], callback: () => void): void {
    for (const { length } of chunks) this.#bytesWritten += length
    this.#written = callback
    this.#hasLeft = this.#closed
    if (!this.#closed) {
      this.#stream.write(chunks, () => {
        this.#hasLeft = true
        this.#goOn()
      })
    }
    this.#goOn()
  }

  #goOn(): void {
    if (!this.#hasLeft || (!this.#closed && this.#stream.bufferedBytes >= WRITE_AHEAD_BYTES)) return
    const written = this.#written
    this.#written = undefined
    written?.()
  }
}
