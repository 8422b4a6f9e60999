// Reads XDR items (RFC 4506) one after the other from a message, and never beyond its end.
import { DecodeError } from './errors.ts'
import { decodeUtf8 } from './text.ts'

const TWO_32 = 0x1_0000_0000
const EMPTY = Buffer.alloc(0)

/** Bytes that opaque data takes: its length rounded up to a multiple of four (RFC 4506 §3). */
export const padded = (bytes: number): number => (bytes + 3) & ~3

/**
 * A position in a message. Opaque data comes as views on the message's memory: who keeps it beyond the message's
 * life copies it, else a few bytes hold on to a whole network buffer. One reader can be used for many messages.
 */
export class XdrReader {
  #bytes: Buffer = EMPTY
  #at = 0
  #end = 0

  constructor(bytes?: Buffer) {
    if (bytes !== undefined) this.reset(bytes)
  }

  /** Begins another message. */
  reset(bytes: Buffer): this {
    this.#bytes = bytes
    this.#at = 0
    this.#end = bytes.length
    return this
  }

  /** Bytes that are left. */
  get remaining(): number {
    return this.#end - this.#at
  }

  /** Unsigned integer (RFC 4506 §4.2). */
  u32(): number {
    const at = this.#at
    if (at + 4 > this.#end) this.#short(4)
    this.#at = at + 4
    const bytes = this.#bytes
    // Within bounds: the checks above make each byte a number.
    return (
      (((bytes[at] as number) << 24) |
        ((bytes[at + 1] as number) << 16) |
        ((bytes[at + 2] as number) << 8) |
        (bytes[at + 3] as number)) >>>
      0
    )
  }

  /** Integer (RFC 4506 §4.1). */
  i32(): number {
    return this.u32() | 0
  }

  /** Boolean (RFC 4506 §4.4): 0 or 1. */
  bool(): boolean {
    const value = this.u32()
    if (value > 1) throw new DecodeError(`boolean is ${value}`)
    return value === 1
  }

  /** Unsigned hyper integer (RFC 4506 §4.5) that must be a safe integer. */
  u64(): number {
    const high = this.u32()
    if (high > 0x1f_ffff) throw new DecodeError('64-bit value above 2^53')
    return high * TWO_32 + this.u32()
  }

  /** Hyper integer (RFC 4506 §4.5) that must be a safe integer. */
  i64(): number {
    const value = this.i32() * TWO_32 + this.u32()
    if (!Number.isSafeInteger(value)) throw new DecodeError('64-bit value beyond 2^53')
    return value
  }

  /** Unsigned hyper integer of any size. */
  u64big(): bigint {
    const high = this.u32()
    const low = this.u32()
    return high === 0 ? BigInt(low) : (BigInt(high) << 32n) | BigInt(low)
  }

  /** Hyper integer of any size. */
  i64big(): bigint {
    return BigInt.asIntN(64, this.u64big())
  }

  /** Fixed-length opaque data (RFC 4506 §4.9), as a view. What it is padded with is not looked at. */
  fixed(length: number): Buffer {
    const start = this.#skip(length)
    return this.#bytes.subarray(start, start + length)
  }

  /** Variable-length opaque data (RFC 4506 §4.10) of at most `maximum` bytes, as a view. */
  opaque(maximum: number): Buffer {
    return this.fixed(this.#length(maximum))
  }

  /** String (RFC 4506 §4.11) of at most `maximum` bytes. EncodingError if it is not UTF-8. */
  text(maximum: number): string {
    const length = this.#length(maximum)
    const start = this.#skip(length)
    return decodeUtf8(this.#bytes, start, start + length)
  }

  /** Number of elements that follow, each of at least `elementBytes` (RFC 4506 §4.13): no more than there are bytes for. */
  count(maximum: number, elementBytes: number): number {
    const count = this.#length(maximum)
    if (count * elementBytes > this.remaining) this.#short(count * elementBytes)
    return count
  }

  /** All that is left, as a view. */
  rest(): Buffer {
    const start = this.#at
    this.#at = this.#end
    return this.#bytes.subarray(start, this.#end)
  }

  /** The message must end here. */
  finish(): void {
    if (this.remaining > 0) throw new DecodeError(`${this.remaining} bytes too many`)
  }

  #length(maximum: number): number {
    const length = this.u32()
    if (length > maximum) throw new DecodeError(`length ${length} is above ${maximum}`)
    return length
  }

  /** Skips opaque data and its padding; returns where it began. */
  #skip(length: number): number {
    const start = this.#at
    if (start + padded(length) > this.#end) this.#short(length)
    this.#at = start + padded(length)
    return start
  }

  #short(wanted: number): never {
    throw new DecodeError(`message ends: ${wanted} bytes wanted, ${this.remaining} left`)
  }
}
