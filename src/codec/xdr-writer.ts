// Writes XDR items (RFC 4506) one after the other. A message is a list of chunks, as writev(2) takes them: large opaque
// data is one of its own and not copied.
import { EncodeError } from './errors.ts'
import { padded } from './xdr-reader.ts'

const TWO_32 = 0x1_0000_0000
/** Messages are laid out one after the other in blocks of this size, which are never written to twice. */
const BLOCK_BYTES = 16 * 1024
/** From here on a chunk of its own costs less than a copy. */
const REFERENCE_BYTES = 4 * 1024
/** Where a hyper integer is cut in two: shifts would make further big integers. */
const SCRATCH = new DataView(new ArrayBuffer(8))
/** Short text is written first and measured then. */
const SHORT_TEXT = 1024

export class XdrWriter {
  #block: Buffer
  /** Where in the block the chunk begins that is not in `#chunks` yet. */
  #start = 0
  #at = 0
  /** Where the block ends, or the limit of the message, whichever comes first. */
  #end = 0
  #chunks: Buffer[] = []
  #chunkBytes = 0
  #limit = 0

  constructor(limit = 0) {
    this.#block = Buffer.allocUnsafeSlow(BLOCK_BYTES)
    this.begin(limit)
  }

  /** Begins a message of at most `limit` bytes, and drops one that was not taken. */
  begin(limit: number): this {
    this.#at = this.#start
    this.#chunks = []
    this.#chunkBytes = 0
    this.#limit = limit
    this.#findEnd()
    return this
  }

  /** Bytes of the message so far. */
  get length(): number {
    return this.#chunkBytes + this.#at - this.#start
  }

  /** The message. Its memory is the caller's: the writer goes on behind it. */
  take(): Buffer[] {
    this.#endChunk()
    const chunks = this.#chunks
    this.begin(0)
    return chunks
  }

  u32(value: number): void {
    if (value >>> 0 !== value) throw new EncodeError(`${value} is no unsigned 32-bit integer`)
    this.#word(value)
  }

  i32(value: number): void {
    if ((value | 0) !== value) throw new EncodeError(`${value} is no 32-bit integer`)
    this.#word(value)
  }

  bool(value: boolean): void {
    this.#word(value ? 1 : 0)
  }

  u64(value: number): void {
    if (!Number.isSafeInteger(value) || value < 0) throw new EncodeError(`${value} is no safe unsigned integer`)
    this.#word(Math.floor(value / TWO_32))
    this.#word(value)
  }

  i64(value: number): void {
    if (!Number.isSafeInteger(value)) throw new EncodeError(`${value} is no safe integer`)
    this.#word(Math.floor(value / TWO_32))
    this.#word(value)
  }

  u64big(value: bigint): void {
    if (BigInt.asUintN(64, value) !== value) throw new EncodeError(`${value} is no unsigned 64-bit integer`)
    this.#big(value)
  }

  i64big(value: bigint): void {
    if (BigInt.asIntN(64, value) !== value) throw new EncodeError(`${value} is no 64-bit integer`)
    this.#big(BigInt.asUintN(64, value))
  }

  /** Fixed-length opaque data. Large data is not copied: it must not change until the message is sent. */
  fixed(bytes: Uint8Array, length: number): void {
    if (bytes.length !== length) throw new EncodeError(`${bytes.length} bytes where ${length} belong`)
    if (length >= REFERENCE_BYTES) this.#refer(bytes)
    else this.#copy(bytes)
  }

  /** Variable-length opaque data. Large data is not copied: it must not change until the message is sent. */
  opaque(bytes: Uint8Array, maximum: number): void {
    if (bytes.length > maximum) throw new EncodeError(`${bytes.length} bytes where ${maximum} are the maximum`)
    this.u32(bytes.length)
    this.fixed(bytes, bytes.length)
  }

  text(value: string, maximum: number): void {
    // UTF-8 takes at least one byte, and at most three, per UTF-16 unit.
    const most = 4 + padded(3 * value.length)
    if (value.length > SHORT_TEXT || this.#at + most > this.#end) {
      this.#measuredText(value, maximum)
      return
    }
    const start = this.#at
    const length = this.#block.write(value, start + 4, 'utf8')
    if (length > maximum) throw new EncodeError(`text of ${length} bytes where ${maximum} are the maximum`)
    this.#word(length)
    this.#pad(start + 4, length)
  }

  #measuredText(value: string, maximum: number): void {
    // At least as many bytes as units: so long a text need not be converted to be refused.
    if (value.length > maximum) throw new EncodeError(`text of ${value.length} units where ${maximum} are the maximum`)
    this.opaque(Buffer.from(value), maximum)
  }

  #word(value: number): void {
    const at = this.#room(4)
    const block = this.#block
    block[at] = value >>> 24
    block[at + 1] = value >>> 16
    block[at + 2] = value >>> 8
    block[at + 3] = value
  }

  #big(value: bigint): void {
    SCRATCH.setBigUint64(0, value)
    this.#word(SCRATCH.getUint32(0))
    this.#word(SCRATCH.getUint32(4))
  }

  /** Zeroes behind `length` bytes at `start`; there the message goes on. */
  #pad(start: number, length: number): void {
    const end = start + padded(length)
    for (let at = start + length; at < end; at++) this.#block[at] = 0
    this.#at = end
  }

  #copy(bytes: Uint8Array): void {
    const start = this.#room(padded(bytes.length))
    this.#block.set(bytes, start)
    this.#pad(start, bytes.length)
  }

  #refer(bytes: Uint8Array): void {
    const padding = padded(bytes.length) - bytes.length
    if (this.length + bytes.length + padding > this.#limit) this.#tooLong(bytes.length)
    this.#endChunk()
    this.#chunks.push(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength))
    this.#chunkBytes += bytes.length
    this.#findEnd()
    for (let left = padding; left > 0; left--) this.#block[this.#room(1)] = 0
  }

  /** Takes `bytes` of the block, or of a new one; returns where they are. */
  #room(bytes: number): number {
    if (this.#at + bytes > this.#end) this.#grow(bytes)
    const at = this.#at
    this.#at = at + bytes
    return at
  }

  #grow(bytes: number): void {
    if (this.length + bytes > this.#limit) this.#tooLong(bytes)
    this.#endChunk()
    this.#block = Buffer.allocUnsafeSlow(Math.max(BLOCK_BYTES, bytes))
    this.#start = 0
    this.#at = 0
    this.#findEnd()
  }

  #endChunk(): void {
    if (this.#at === this.#start) return
    this.#chunks.push(this.#block.subarray(this.#start, this.#at))
    this.#chunkBytes += this.#at - this.#start
    this.#start = this.#at
  }

  #findEnd(): void {
    this.#end = Math.min(this.#block.length, this.#start + this.#limit - this.#chunkBytes)
  }

  #tooLong(bytes: number): never {
    throw new EncodeError(`message of ${this.length + bytes} bytes where ${this.#limit} are the maximum`)
  }
}
