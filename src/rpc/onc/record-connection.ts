// A connection that carries records (RFC 5531 §11): messages in, messages out, over any byte stream. What is sent in one
// turn of the event loop leaves in one write.
import type { ByteStream } from '../transport.ts'
import { RecordAssembler, type RecordMemory } from './record-assembler.ts'

const LAST_FRAGMENT = 0x8000_0000
/** Chunks below this are gathered into one: a system call for each would cost more than the copy. */
const GATHER_BYTES = 4 * 1024

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
    if (!this.#ended) this.#pause(!this.#events.ready())
  }

  /** Sends a message. Its chunks must not change until they have left. */
  send(chunks: readonly Buffer[]): void {
    if (this.#ended) return
    let bytes = 0
    for (const chunk of chunks) bytes += chunk.length
    const mark = Buffer.allocUnsafe(4)
    mark.writeUInt32BE(LAST_FRAGMENT + bytes)
    this.#outgoing.push(mark, ...chunks)
    this.#outgoingBytes += bytes + 4
    if (this.#flushing) return
    this.#flushing = true
    process.nextTick(this.#flush)
  }

  /** Ends the connection; nothing is sent or received from here on. */
  destroy(abruptly = false): void {
    this.#ended = true
    this.#outgoing = []
    this.#outgoingBytes = 0
    this.#stream.destroy(abruptly)
  }

  #pause(paused: boolean): void {
    if (paused === this.#paused) return
    this.#paused = paused
    if (paused) this.#stream.pause()
    else this.#stream.resume()
  }

  readonly #flush = (): void => {
    this.#flushing = false
    if (this.#ended || this.#outgoing.length === 0) return
    const chunks = gather(this.#outgoing)
    this.#outgoing = []
    this.#outgoingBytes = 0
    const { left } = this.#events
    this.#stream.write(chunks, left && (() => left(chunks)))
  }
}

/** The same bytes in fewer chunks: neighbours that are small become one. */
function gather(chunks: readonly Buffer[]): Buffer[] {
  const gathered: Buffer[] = []
  let from = 0
  for (let to = 0; to <= chunks.length; to++) {
    const chunk = chunks[to]
    if (chunk !== undefined && chunk.length < GATHER_BYTES) continue
    if (to - from === 1) gathered.push(chunks[from] as Buffer)
    else if (to > from) gathered.push(Buffer.concat(chunks.slice(from, to)))
    if (chunk !== undefined) gathered.push(chunk)
    from = to + 1
  }
  return gathered
}
