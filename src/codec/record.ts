// Fixed-size little-endian records: a record is one line that lists its fields, and yields a view that reads and
// writes them in place. Used for structures that a kernel or a protocol lays out in memory (FUSE, SMB).
//
//     const GetattrIn = record({ flags: u32, _dummy: u32, handle: u64 })
//     const view = new GetattrIn()
//     view.at(bytes, 40).handle
//
// A view allocates nothing per message: it is pointed at bytes and decodes a field when it is asked for.
import { DecodeError } from './errors.ts'

/** What a field accessor sees: the view's bytes and where the record begins. */
interface Window {
  view: DataView
  base: number
}

/** One kind of field. `accessor` is made once per field of a record type; each kind has its own, so that calls stay monomorphic. */
export interface FieldKind<T> {
  readonly size: number
  accessor(offset: number): { get(this: Window): T; set(this: Window, value: T): void }
}

export const u16: FieldKind<number> = {
  size: 2,
  accessor: (offset) => ({
    get() {
      return this.view.getUint16(this.base + offset, true)
    },
    set(value) {
      this.view.setUint16(this.base + offset, value, true)
    },
  }),
}

export const u32: FieldKind<number> = {
  size: 4,
  accessor: (offset) => ({
    get() {
      return this.view.getUint32(this.base + offset, true)
    },
    set(value) {
      this.view.setUint32(this.base + offset, value, true)
    },
  }),
}

export const i32: FieldKind<number> = {
  size: 4,
  accessor: (offset) => ({
    get() {
      return this.view.getInt32(this.base + offset, true)
    },
    set(value) {
      this.view.setInt32(this.base + offset, value, true)
    },
  }),
}

const TWO_32 = 0x1_0000_0000

/** An unsigned 64-bit value that must be a safe integer: larger ones are a DecodeError. */
export const u64: FieldKind<number> = {
  size: 8,
  accessor: (offset) => ({
    get() {
      const high = this.view.getUint32(this.base + offset + 4, true)
      if (high > 0x1f_ffff) throw new DecodeError(`64-bit value above 2^53 at byte ${offset}`)
      return high * TWO_32 + this.view.getUint32(this.base + offset, true)
    },
    set(value) {
      this.view.setUint32(this.base + offset, value >>> 0, true)
      this.view.setUint32(this.base + offset + 4, Math.floor(value / TWO_32), true)
    },
  }),
}

/** A signed 64-bit value that must be a safe integer: others are a DecodeError. */
export const i64: FieldKind<number> = {
  size: 8,
  accessor: (offset) => ({
    get() {
      const value =
        this.view.getInt32(this.base + offset + 4, true) * TWO_32 + this.view.getUint32(this.base + offset, true)
      if (!Number.isSafeInteger(value)) throw new DecodeError(`64-bit value beyond 2^53 at byte ${offset}`)
      return value
    },
    set(value) {
      this.view.setUint32(this.base + offset, value >>> 0, true)
      this.view.setInt32(this.base + offset + 4, Math.floor(value / TWO_32), true)
    },
  }),
}

/**
 * A signed 64-bit value that a program chose, of which the kernel lets any through: a position in a file, a time. Beyond
 * the safe integers it is the nearest of them, for the file system to refuse or to cut.
 */
export const clamped: FieldKind<number> = {
  size: 8,
  accessor: (offset) => ({
    get() {
      const value =
        this.view.getInt32(this.base + offset + 4, true) * TWO_32 + this.view.getUint32(this.base + offset, true)
      return Math.min(Math.max(value, Number.MIN_SAFE_INTEGER), Number.MAX_SAFE_INTEGER)
    },
    set(value) {
      this.view.setUint32(this.base + offset, value >>> 0, true)
      this.view.setInt32(this.base + offset + 4, Math.floor(value / TWO_32), true)
    },
  }),
}

/** An unsigned 64-bit value of any size, as bigint: hashes and other opaque numbers. */
export const u64big: FieldKind<bigint> = {
  size: 8,
  accessor: (offset) => ({
    get() {
      return this.view.getBigUint64(this.base + offset, true)
    },
    set(value) {
      this.view.setBigUint64(this.base + offset, value, true)
    },
  }),
}

type Fields = Record<string, FieldKind<number> | FieldKind<bigint>>

/** The values of a record: its fields except those whose name begins with `_` (padding of records that are only read). */
export type Values<F extends Fields> = {
  -readonly [K in keyof F as K extends `_${string}` ? never : K]: F[K] extends FieldKind<infer T> ? T : never
}

export interface View<F extends Fields> {
  /** Points the view at a record: DecodeError if it does not fit into the bytes. */
  at(view: DataView, base: number): this & Values<F>
}

export interface RecordType<F extends Fields> {
  new (): View<F> & Values<F>
  /** Bytes that a record takes. */
  readonly size: number
  readonly fields: F
  /** A new buffer that holds these values; absent ones are zero. */
  encode(values: Partial<Values<F>>): Uint8Array
}

/** Defines a record. Fields stand at consecutive offsets in the order given: padding is a field, too. */
export function record<const F extends Fields>(fields: F): RecordType<F> {
  const size = Object.values(fields).reduce((sum, kind) => sum + kind.size, 0)

  class RecordView implements Window {
    static readonly size = size
    static readonly fields = fields
    view: DataView = EMPTY
    base = 0

    at(view: DataView, base: number): this {
      if (base + size > view.byteLength) throw new DecodeError(`record of ${size} bytes ends beyond the message`)
      this.view = view
      this.base = base
      return this
    }

    static encode(values: Partial<Values<F>>): Uint8Array {
      const bytes = new Uint8Array(size)
      Object.assign(new RecordView().at(viewOf(bytes), 0), values)
      return bytes
    }
  }

  let offset = 0
  for (const [name, kind] of Object.entries(fields)) {
    Object.defineProperty(RecordView.prototype, name, { ...kind.accessor(offset), enumerable: true })
    offset += kind.size
  }
  return RecordView as unknown as RecordType<F>
}

const EMPTY = new DataView(new ArrayBuffer(0))

/** A DataView over exactly these bytes. */
export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
