// The format of a dump: a volume at one moment, or what has changed since another, as one stream of bytes.
//
// A dump is a sequence of frames, [u32 length][u32 CRC-32][payload], little-endian, as in the journal. A payload is one
// record in XDR (RFC 4506), a union by its type, at most RECORD_MAX_BYTES long:
//
//   HEADER, then for each inode in the order of their numbers INODE with its XATTRs and, of a regular file whose content
//   is there, its DATA in the order of offsets (holes are left out), then ENTRY for each name, then END.
//
// An incremental dump (`base` in the header) has only what differs from that snapshot: an INODE replaces the inode, with
// all XATTRs, and content if `content` says so; an ENTRY replaces the one at its cookie; NO_INODE and NO_ENTRY remove.
import { crc32 } from 'node:zlib'
import { DecodeError } from '../codec/errors.ts'
import {
  bool,
  decode,
  enumeration,
  i64,
  opaque,
  optional,
  struct,
  text,
  u32,
  u64,
  union,
  type Value,
  XdrWriter,
} from '../codec/xdr.ts'
import { NAME_MAX, SYMLINK_MAX } from '../posix/mode.ts'
import { XATTR_NAME_MAX, XATTR_SIZE_MAX } from './xattrs.ts'

export const DUMP_MAGIC = 'proteus dump'
export const DUMP_VERSION = 1

/** Bytes of content in one record. */
export const DATA_MAX_BYTES = 1 << 20
const RECORD_MAX_BYTES = DATA_MAX_BYTES + 64
const FRAME_BYTES = 8
const ID_BYTES = 32

const time = struct({ sec: i64, nsec: u32 })

export const dumpRecord = union(
  'type',
  enumeration({ HEADER: 1, INODE: 2, XATTR: 3, DATA: 4, ENTRY: 5, NO_INODE: 6, NO_ENTRY: 7, END: 8 }),
  {
    /** `volume`: the id of the volume. `snapshot`, `base`: the ids of the clones that this is made of and compared with. */
    HEADER: {
      magic: text(16),
      version: u32,
      volume: text(ID_BYTES),
      snapshot: text(ID_BYTES),
      base: optional(text(ID_BYTES)),
      nameSeed: u32,
      inodeLimit: u64,
      quotaBytes: optional(u64),
      quotaInodes: optional(u64),
    },
    INODE: {
      ino: u64,
      generation: u64,
      mode: u32,
      uid: u32,
      gid: u32,
      nlink: u32,
      rdev: u64,
      size: u64,
      blocks: u64,
      atime: time,
      mtime: time,
      ctime: time,
      btime: time,
      parent: u64,
      change: u64,
      dataVersion: u64,
      content: bool,
      target: optional(text(SYMLINK_MAX)),
    },
    XATTR: { name: text(XATTR_NAME_MAX), value: opaque(XATTR_SIZE_MAX) },
    DATA: { offset: u64, bytes: opaque(DATA_MAX_BYTES) },
    ENTRY: { parent: u64, cookie: u64, name: text(NAME_MAX), ino: u64, kind: u32 },
    NO_INODE: { ino: u64 },
    NO_ENTRY: { parent: u64, cookie: u64 },
    /** How many records there are, this one not counted. */
    END: { records: u64 },
  },
)

export type DumpRecord = Value<typeof dumpRecord>
export type RecordOf<T extends DumpRecord['type']> = Extract<DumpRecord, { readonly type: T }>

/** A dump that is cut off, damaged, of another version, or contradicts itself. Nothing was made of it. */
export class DumpError extends Error {
  override readonly name = 'DumpError'
}

/** Records as bytes; data in bulk is not copied. */
export class DumpWriter {
  readonly #writer = new XdrWriter()
  #records = 0

  frame(record: DumpRecord): Buffer[] {
    this.#writer.begin(RECORD_MAX_BYTES)
    dumpRecord.write(this.#writer, record)
    const { length } = this.#writer
    const chunks = this.#writer.take()
    const head = Buffer.allocUnsafe(FRAME_BYTES)
    head.writeUInt32LE(length, 0)
    head.writeUInt32LE(
      chunks.reduce((sum, chunk) => crc32(chunk, sum), 0),
      4,
    )
    this.#records++
    return [head, ...chunks]
  }

  get records(): number {
    return this.#records
  }
}

/** The records of a stream, up to END, after which nothing may come. Throws DumpError. */
export async function* dumpRecords(source: AsyncIterable<Uint8Array>): AsyncGenerator<DumpRecord> {
  const bytes = new Pieces(source)
  for (let records = 0; ; records++) {
    const head = await bytes.take(FRAME_BYTES)
    const length = head.readUInt32LE(0)
    const crc = head.readUInt32LE(4)
    if (length > RECORD_MAX_BYTES) throw new DumpError(`a record of ${length} bytes`)
    const payload = await bytes.take(length)
    if (crc32(payload) !== crc) throw new DumpError(`record ${records} is damaged`)
    const record = decodeRecord(payload)
    if (record.type === 'END') {
      if (record.records !== records) throw new DumpError(`${records} records of ${record.records}`)
      if (!(await bytes.ended())) throw new DumpError('something comes after the end')
      return
    }
    yield record
  }
}

function decodeRecord(payload: Buffer): DumpRecord {
  try {
    return decode(dumpRecord, payload)
  } catch (error) {
    if (error instanceof DecodeError) throw new DumpError(error.message, { cause: error })
    throw error
  }
}

/** Cuts a stream into pieces of given lengths. Holds no more than a piece and what came last. */
class Pieces {
  readonly #source: AsyncIterator<Uint8Array>
  #rest: Buffer = Buffer.alloc(0)

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#source = source[Symbol.asyncIterator]()
  }

  async take(length: number): Promise<Buffer> {
    if (this.#rest.length < length) await this.#fill(length)
    const piece = this.#rest.subarray(0, length)
    this.#rest = this.#rest.subarray(length)
    return piece
  }

  async #fill(length: number): Promise<void> {
    const parts = [this.#rest]
    for (let have = this.#rest.length; have < length; ) {
      const { done, value } = await this.#source.next()
      if (done) throw new DumpError('the dump is cut off')
      parts.push(Buffer.from(value.buffer, value.byteOffset, value.byteLength))
      have += value.byteLength
    }
    this.#rest = Buffer.concat(parts)
  }

  async ended(): Promise<boolean> {
    for (;;) {
      if (this.#rest.length > 0) return false
      const { done, value } = await this.#source.next()
      if (done) return true
      this.#rest = Buffer.from(value)
    }
  }
}
