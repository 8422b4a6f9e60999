// A byte stream of this folder as a stream of Node: what `ws` and TLS need below them, so that a Link can be there.
import { Duplex } from 'node:stream'
import type { ByteStream, OpenByteStream } from '../transport.ts'

/** Bytes that were written and have not left, from which on the writer waits. At least what a socket's own mark is. */
const WRITE_AHEAD_BYTES = 64 * 1024

export class StreamDuplex extends Duplex {
  /** Bytes that came. */
  bytesRead = 0
  readonly #stream: ByteStream
  #written: (() => void) | undefined

  constructor(open: OpenByteStream) {
    super({ allowHalfOpen: false, highWaterMark: 1024 * 1024 })
    this.#stream = open({
      opened: () => this.emit('connect'),
      received: (chunk) => {
        this.bytesRead += chunk.length
        if (!this.push(chunk)) this.#stream.pause()
      },
      drained: () => this.#drained(),
      closed: (error) => {
        if (error === undefined) this.push(null)
        else this.destroy(error)
      },
    })
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

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    this.#stream.destroy()
    callback(error)
  }

  #send(chunks: readonly Buffer[], callback: () => void): void {
    this.#stream.write(chunks)
    if (this.#stream.bufferedBytes < WRITE_AHEAD_BYTES) callback()
    else this.#written = callback
  }

  #drained(): void {
    const written = this.#written
    this.#written = undefined
    written?.()
  }
}
