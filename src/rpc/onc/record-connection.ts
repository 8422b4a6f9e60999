// A connection that carries records (RFC 5531 §11): messages in, messages out, over any byte stream. What is sent
// together, before the microtasks that wait have run, leaves in one write.
import type { ByteStream } from '../transport.ts'
import { RecordAssembler, type RecordMemory } from './record-assembler.ts'

const LAST_FRAGMENT = 0x8000_0000
/** Chunks below this are gathered: a system call for each would cost more than the copy. */
const GATHER_BYTES = 4 * 1024
/** Small chunks and marks are laid out one after the other in blocks of this size, which are never written to twice. */
const BLOCK_BYTES = 2 * GATHER_BYTES
/** What follows it runs when the microtasks that wait now have run: sooner than a tick, and cheaper. */
const SETTLED = Promise.resolve()

export interface RecordConnectionEvents {
  /** A record came. It is a view: who keeps it copies it. */
  record(message: Buffer): void
  /** Whether to go on with the next one: if not, `proceed` does. */
  ready(): boolean
  /** The stream makes no sense (DecodeError): nothing more comes. */
  failed(error: unknown): void
  /** These chunks of messages have left: their memory is free. Of a connection that ends, the last never do. */
  left?(chunks: readonly Buffer[]): void
}

export class RecordConnection {
  readonly #stream: ByteStream
  readonly #events: RecordConnectionEvents
  readonly #records: RecordAssembler
  #outgoing: Buffer[] = []
  #outgoingBytes = 0
  #block = Buffer.alloc(0)
  /** Where in the block that begins which is not in `#outgoing` yet, and where it ends. */
  #start = 0
  #at = 0
  #flushing = false
  #paused = false
  #reading = false
  #ended = false

  /** `limit`: the most bytes of a record that comes in. */
  constructor(stream: ByteStream, events: RecordConnectionEvents, limit: number, memory?: RecordMemory) {
    this.#stream = stream
    this.#events = events
    this.#records = new RecordAssembler(limit, memory)
  }

  /** Bytes that were sent and have not left. */
  get bufferedBytes(): number {
    return this.#outgoingBytes + this.#stream.bufferedBytes
  }

  /** Bytes that came and were not understood or wanted yet. */
  get heldBytes(): number {
    return this.#records.heldBytes
  }

  /** Where the next bytes should go: see `ByteStreamEvents.room`. */
  room(): Buffer | undefined {
    return this.#ended ? undefined : this.#records.room()
  }

  /** Bytes came from the stream. */
  received(chunk: Buffer): void {
    if (this.#ended) return
    this.#records.push(chunk)
    this.proceed()
  }

  /** Takes the records that are here for as long as `ready` says so; else the stream is not read. */
  proceed(): void {
    if (this.#reading) return
    this.#reading = true
    try {
      while (!this.#ended && this.#events.ready()) {
        const record = this.#records.next()
        if (record === undefined) break
        this.#events.record(record)
      }
    } catch (error) {
      this.#ended = true
      this.#events.failed(error)
    } finally {
      this.#reading = false
    }
    // What answers the records at once need not wait for the end of the turn.
    if (!this.#flushing) this.#flush()
    if (!this.#ended) this.#pause(!this.#events.ready())
  }

  /** Sends a message. Its chunks must not change until they have left. */
  send(chunks: readonly Buffer[]): void {
    if (this.#ended) return
    let bytes = 0
    for (const { length } of chunks) bytes += length
    const mark = this.#reserve(4)
    this.#block.writeUInt32BE(LAST_FRAGMENT + bytes, mark)
    for (const chunk of chunks) {
      if (chunk.length < GATHER_BYTES) {
        const at = this.#reserve(chunk.length)
        this.#block.set(chunk, at)
      } else {
        this.#endRun()
        this.#outgoing.push(chunk)
      }
    }
    this.#outgoingBytes += bytes + 4
    if (this.#flushing || this.#reading) return
    this.#flushing = true
    void SETTLED.then(this.#flush)
  }

  /** Ends the connection; nothing is sent or received from here on. */
  destroy(abruptly = false): void {
    this.#ended = true
    this.#outgoing = []
    this.#outgoingBytes = 0
    this.#start = this.#at
    this.#stream.destroy(abruptly)
  }

  /** Room in the block; returns where it begins. */
  #reserve(bytes: number): number {
    if (this.#at + bytes > this.#block.length) {
      this.#endRun()
      this.#block = Buffer.allocUnsafeSlow(BLOCK_BYTES)
      this.#start = this.#at = 0
    }
    const at = this.#at
    this.#at += bytes
    return at
  }

  /** What was gathered becomes one chunk. */
  #endRun(): void {
    if (this.#at === this.#start) return
    this.#outgoing.push(this.#block.subarray(this.#start, this.#at))
    this.#start = this.#at
  }

  #pause(paused: boolean): void {
    if (paused === this.#paused) return
    this.#paused = paused
    if (paused) this.#stream.pause()
    else this.#stream.resume()
  }

  readonly #flush = (): void => {
    this.#flushing = false
    if (this.#ended) return
    this.#endRun()
    const chunks = this.#outgoing
    if (chunks.length === 0) return
    this.#outgoing = []
    this.#outgoingBytes = 0
    const { left } = this.#events
    this.#stream.write(chunks, left && (() => left(chunks)))
  }
}
