// Record marking (RFC 5531 §11), receiving: a byte stream is cut into records, and a record may come in fragments and
// in any pieces. A pure state machine; records are taken one by one, so that whoever is busy leaves them here.
import { DecodeError } from '../../codec/errors.ts'
import type { BufferPool } from '../../host/buffer-pool.ts'

const LAST_FRAGMENT = 0x8000_0000
/** Fragments of a record: some senders flush every few hundred bytes, nobody needs one per byte of a megabyte. */
const MOST_FRAGMENTS = 16_384
const SMALLEST_BUFFER = 1024
/** From the first 64 KiB, as much as one read gives, straight to a record with 1 MiB of data. */
const GROWTH = 17
/** Who sent one record of this size is expected to send another. */
const EXPECTED_BYTES = 256 * 1024
/** From here on reading to the right place is worth a smaller read. */
const DIRECT_BYTES = 64 * 1024
const EMPTY = Buffer.alloc(0)

/** Memory for large records, which whoever is done with them may give back. */
export interface RecordMemory {
  readonly pool: BufferPool
  /**
   * After a large record the next is expected to be as large, and memory is there for it before it comes. The pool's
   * buffers have `MARK_BYTES` more than the largest record then.
   */
  readonly ahead?: boolean
}

/** Of a fragment's header. */
export const MARK_BYTES = 4

export class RecordAssembler {
  readonly #limit: number
  readonly #pool: BufferPool | undefined
  readonly #looksAhead: boolean
  /** Chunks that are not consumed, the first from `#at` on. */
  #chunks: Buffer[] = []
  #at = 0
  #unread = 0
  /** The record so far, if it did not come in one piece. */
  #record: Buffer = EMPTY
  #recordBytes = 0
  #fragments = 0
  /** Bytes that the present fragment still lacks; undefined between fragments. */
  #missing: number | undefined
  #last = false
  /** How large the next record is expected to be, if at all, and memory for it and its header. */
  #expected = 0
  #ahead: Buffer | undefined

  /** `limit`: the most bytes of a record. */
  constructor(limit: number, { pool, ahead = false }: Partial<RecordMemory> = {}) {
    this.#limit = limit
    this.#pool = pool
    this.#looksAhead = ahead
  }

  /** Bytes that are held here: records that were not taken, and the beginning of one. */
  get heldBytes(): number {
    return this.#unread + this.#record.length + (this.#ahead?.length ?? 0)
  }

  /** Where the next bytes of a large record belong: what is read to there need not be copied. */
  room(): Buffer | undefined {
    if (this.#unread > 0) return undefined
    const missing = this.#missing ?? 0
    if (this.#missing === undefined && this.#recordBytes === 0) return this.#roomAhead()
    if (missing < DIRECT_BYTES) return undefined
    if (this.#record.length === this.#recordBytes) this.#reserve(DIRECT_BYTES, missing)
    return this.#record.subarray(this.#recordBytes, this.#recordBytes + missing)
  }

  push(chunk: Buffer): void {
    if (chunk.length === 0) return
    if (chunk.buffer === this.#ahead?.buffer) {
      this.#beginAhead(chunk, this.#ahead)
      return
    }
    if (this.#inPlace(chunk)) {
      this.#recordBytes += chunk.length
      this.#missing = (this.#missing ?? 0) - chunk.length
      return
    }
    this.#chunks.push(chunk)
    this.#unread += chunk.length
  }

  /**
   * The next record that is complete: a view on the chunk that it came in, or memory of its own. DecodeError if a record
   * is larger than the limit, before memory is taken for it; the stream makes no sense from there on.
   */
  next(): Buffer | undefined {
    for (;;) {
      if (this.#missing === undefined && !this.#beginFragment()) return undefined
      const whole = this.#takeWhole()
      if (whole !== undefined) return whole
      if (this.#gather() > 0) return undefined
      this.#missing = undefined
      if (this.#last) return this.#endRecord()
    }
  }

  /** Whether the chunk was read to where `room` said. */
  #inPlace({ buffer, byteOffset, length }: Buffer): boolean {
    return (
      buffer === this.#record.buffer &&
      byteOffset === this.#record.byteOffset + this.#recordBytes &&
      this.#unread === 0 &&
      length <= (this.#missing ?? 0)
    )
  }

  #roomAhead(): Buffer | undefined {
    if (this.#expected === 0 || this.#pool === undefined) return undefined
    this.#ahead ??= this.#pool.take(this.#pool.bytes)
    return this.#ahead.subarray(0, MARK_BYTES + this.#expected)
  }

  /** The first bytes after a large record: if they begin another one that is as large, they are where they belong. */
  #beginAhead(chunk: Buffer, ahead: Buffer): void {
    const expected = this.#expected
    const length = (chunk.length < MARK_BYTES ? 0 : chunk.readUInt32BE()) - LAST_FRAGMENT
    this.#expected = 0
    this.#ahead = undefined
    const between = this.#missing === undefined && this.#recordBytes === 0 && this.#unread === 0
    if (!between || expected === 0 || length < expected || length > this.#limit) {
      this.#chunks.push(Buffer.from(chunk))
      this.#unread += chunk.length
      this.#pool?.give(ahead)
      return
    }
    this.#record = ahead.subarray(MARK_BYTES)
    this.#recordBytes = chunk.length - MARK_BYTES
    this.#missing = length - this.#recordBytes
    this.#last = true
    this.#fragments = 1
  }

  /** Reads a fragment's header; false if there is not enough of it. */
  #beginFragment(): boolean {
    if (this.#unread < 4) return false
    const header = this.#byte() * 0x100_0000 + (this.#byte() << 16) + (this.#byte() << 8) + this.#byte()
    this.#last = header >= LAST_FRAGMENT
    const length = this.#last ? header - LAST_FRAGMENT : header
    if (this.#recordBytes + length > this.#limit) {
      throw new DecodeError(`record of ${this.#recordBytes + length} bytes or more, the maximum is ${this.#limit}`)
    }
    if (++this.#fragments > MOST_FRAGMENTS) throw new DecodeError(`record of more than ${MOST_FRAGMENTS} fragments`)
    this.#missing = length
    return true
  }

  /** The record, if its only fragment lies in one chunk: the usual case, without a copy. */
  #takeWhole(): Buffer | undefined {
    const length = this.#missing ?? 0
    const chunk = this.#chunks[0]
    if (!this.#last || this.#recordBytes > 0 || chunk === undefined || chunk.length - this.#at < length)
      return undefined
    const record = chunk.subarray(this.#at, this.#at + length)
    this.#expected = 0
    this.#consume(length)
    this.#missing = undefined
    this.#fragments = 0
    return record
  }

  /** Copies what there is of the present fragment; returns how much is missing still. */
  #gather(): number {
    let missing = this.#missing ?? 0
    this.#reserve(Math.min(missing, this.#unread), missing)
    for (let chunk = this.#chunks[0]; chunk !== undefined && missing > 0; chunk = this.#chunks[0]) {
      const length = Math.min(missing, chunk.length - this.#at)
      chunk.copy(this.#record, this.#recordBytes, this.#at, this.#at + length)
      this.#recordBytes += length
      missing -= length
      this.#consume(length)
    }
    this.#missing = missing
    return missing
  }

  /** Makes room: for many times what has come, but not for all that is announced. */
  #reserve(more: number, announced: number): void {
    const needed = this.#recordBytes + more
    if (needed <= this.#record.length) return
    const most = this.#last ? this.#recordBytes + announced : this.#limit
    const bytes = Math.min(most, Math.max(GROWTH * needed, SMALLEST_BUFFER))
    const grown = this.#pool?.take(bytes) ?? Buffer.allocUnsafeSlow(bytes)
    this.#record.copy(grown, 0, 0, this.#recordBytes)
    this.#record = grown
  }

  #endRecord(): Buffer {
    const record = this.#record.subarray(0, this.#recordBytes)
    if (this.#looksAhead && this.#recordBytes >= EXPECTED_BYTES) this.#expected = this.#recordBytes
    this.#record = EMPTY
    this.#recordBytes = 0
    this.#fragments = 0
    return record
  }

  #byte(): number {
    const byte = this.#chunks[0]?.[this.#at] ?? 0
    this.#consume(1)
    return byte
  }

  #consume(bytes: number): void {
    this.#at += bytes
    this.#unread -= bytes
    if (this.#at < (this.#chunks[0]?.length ?? 0)) return
    this.#chunks.shift()
    this.#at = 0
  }
}
