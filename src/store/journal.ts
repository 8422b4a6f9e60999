// The journal: what was done to the volume's database since its last commit, one record per operation.
//
// A commit to SQLite costs more than most operations, so operations share one (see metadata.ts) and each writes a
// record here before it returns: one write(2) that the kernel keeps when the process is killed.
//
// A record is framed as [u32 length][u32 CRC-32][payload], little-endian. Its payload is the msgpack array
// [sequence, statement, parameters, statement, parameters, …]; sequences count up by one. Records lie in segments,
// files numbered upwards. A segment is removed when the database holds all of it durably.
//
// Three kinds of damage are told apart when the records are read back:
// - A record that is not whole ends its segment. A kill tears at most the last record of the last segment, the one of
//   an operation that had not returned.
// - Loss of power may also lose the end of an earlier segment while a later one was written back. The records after
//   the gap were never promised to be durable (`sync` covers every segment before it resolves): they are dropped.
// - A gap below what a `sync` has covered is damage: the volume is refused. So that this can be known, each `sync`
//   that made an older segment durable says so in a mark, a record [DURABLE, sequence].
import { constants } from 'node:fs'
import { crc32 } from 'node:zlib'
import { Packr, RESERVE_START_SPACE, Unpackr } from 'msgpackr'
import { type Disk, STAT } from '../host/disk.ts'
import { FsError } from '../posix/errors.ts'
import { GroupedCall } from './grouped-call.ts'

export type Parameter = number | string | Uint8Array | null

/** [sequence, statement, parameters, statement, parameters, …] */
export type JournalRecord = (number | readonly Parameter[])[]

const FRAME_BYTES = 8
/** Far above the largest operation (a 64 KiB attribute); a longer length in a segment is damage. */
const RECORD_MAX_BYTES = 1 << 20
/** Space that is set aside on the disk ahead of the records: room to write down deletions when the disk is full. */
const RESERVE_BYTES = 1 << 20
const FALLOC_FL_KEEP_SIZE = 1
/** First element of a mark, in the place of a sequence. */
const DURABLE = -1

interface Segment {
  readonly number: number
  readonly path: string
  readonly fd: number
  /** Bytes of whole records. */
  length: number
  /** Bytes for which the disk has space set aside. */
  reserved: number
  /** Bytes that are on stable storage. */
  durable: number
  /** Sequence of the last record. */
  last: number
  removed: boolean
  syncing: boolean
}

export class Journal {
  readonly #disk: Disk
  readonly #directory: string
  readonly #packr = new Packr({ useRecords: false })
  readonly #sync = new GroupedCall(() => this.#syncSegments())
  /** Oldest first; the last one is written to. */
  #segments: Segment[] = []
  #directoryDurable = false
  #syncFailure: FsError | undefined
  /** The sequence for a mark that has not been written. */
  #unmarked = 0
  /** A write failed and the file could not be cut back: it may end in part of a record. */
  #tornTail = false

  private constructor(disk: Disk, directory: string) {
    this.#disk = disk
    this.#directory = directory
  }

  /** Opens the journal with the segments that an earlier process left. */
  static open(disk: Disk, directory: string): Journal {
    const journal = new Journal(disk, directory)
    disk.makeDirectory(directory)
    const numbers = disk.list(directory).map((name) => Number(/^(\d+)\.journal$/.exec(name)?.[1] ?? Number.NaN))
    for (const number of numbers.filter(Number.isSafeInteger).sort((a, b) => a - b)) {
      journal.#segments.push(journal.#openSegment(number, constants.O_RDWR))
    }
    return journal
  }

  /** Bytes written to the current segment. */
  get length(): number {
    return this.#current().length
  }

  /** The number of the current segment. */
  get segment(): number {
    return this.#current().number
  }

  /**
   * Adds a record. On failure (ENOSPC, EIO …) the journal is as it was before.
   * `record[0]` is its sequence.
   */
  append(record: JournalRecord): void {
    const segment = this.#current()
    const frame = this.#packr.pack(record, RESERVE_START_SPACE | FRAME_BYTES)
    const length = frame.length - FRAME_BYTES
    if (length > RECORD_MAX_BYTES) throw new FsError('EFBIG', 'an operation is too long for the journal')
    frame.writeUInt32LE(length, 0)
    frame.writeUInt32LE(crc32(frame.subarray(FRAME_BYTES)), 4)
    try {
      if (this.#tornTail) this.#cut(segment)
      let written = this.#disk.write(segment.fd, frame, segment.length)
      while (written < frame.length) {
        written += this.#disk.write(segment.fd, frame.subarray(written), segment.length + written)
      }
    } catch (error) {
      this.#tornTail = true
      try {
        this.#cut(segment)
      } catch {
        // The next append tries again, and fails if it cannot.
      }
      throw FsError.from(error)
    }
    segment.length += frame.length
    if (record[0] !== DURABLE) segment.last = record[0] as number
  }

  /** Whether there is room for what does not free any: at least half of the space set aside is left. */
  hasRoom(): boolean {
    const segment = this.#current()
    if (segment.reserved - segment.length >= RESERVE_BYTES / 2) return true
    try {
      this.#disk.allocate(segment.fd, FALLOC_FL_KEEP_SIZE, segment.length, RESERVE_BYTES)
    } catch (error) {
      if (FsError.from(error).code === 'ENOSPC') return false
      // A file system that sets nothing aside: the writes say whether there is room.
    }
    segment.reserved = segment.length + RESERVE_BYTES
    return true
  }

  #cut(segment: Segment): void {
    this.#disk.truncate(segment.fd, segment.length)
    this.#tornTail = false
  }

  /** Begins a new segment: what is written from now on is in it. */
  begin(): void {
    const number = (this.#segments.at(-1)?.number ?? 0) + 1
    this.#segments.push(this.#openSegment(number, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL))
    this.#directoryDurable = false
    this.#tornTail = false
  }

  /** The records after `sequence` in order, as far as they follow one another. Throws if durable ones are missing. */
  *records(sequence: number): Generator<JournalRecord> {
    let next = sequence + 1
    for (const segment of this.#segments) {
      for (const record of this.#read(segment)) {
        if (record[0] === DURABLE) {
          if ((record[1] as number) >= next) {
            throw new Error(`the journal is damaged: records from ${next} to ${record[1]} were durable and are missing`)
          }
        } else if (record[0] === next) {
          next++
          yield record
        }
      }
    }
  }

  /** Resolves when every record appended so far is on stable storage. Callers share the work. */
  sync(): Promise<void> {
    return this.#sync.call()
  }

  /** Removes the segments before `number`: the database holds them durably. */
  removeBefore(number: number): void {
    const kept = this.#segments.findIndex((segment) => segment.number >= number)
    for (const segment of this.#segments.splice(0, kept < 0 ? this.#segments.length : kept)) {
      this.#disk.unlink(segment.path)
      segment.removed = true
      if (!segment.syncing) this.#disk.close(segment.fd)
    }
  }

  /** Resolves when the removal of segments, and the existence of the others, is on stable storage. */
  async syncDirectory(): Promise<void> {
    const fd = this.#disk.open(this.#directory, constants.O_RDONLY)
    try {
      await this.#syncFile(fd, false)
    } finally {
      this.#disk.close(fd)
    }
  }

  close(): void {
    for (const segment of this.#segments) this.#disk.close(segment.fd)
    this.#segments = []
  }

  async #syncSegments(): Promise<void> {
    if (this.#syncFailure) throw this.#syncFailure
    const last = this.#current()
    if (!this.#directoryDurable) {
      this.#directoryDurable = true
      try {
        await this.syncDirectory()
      } catch (error) {
        this.#directoryDurable = false
        throw error
      }
    }
    for (const segment of [...this.#segments]) {
      if (segment.removed || segment.durable === segment.length) continue
      const { length, last: sequence } = segment
      segment.syncing = true
      try {
        await this.#syncFile(segment.fd, true)
      } finally {
        segment.syncing = false
        if (segment.removed) this.#disk.close(segment.fd)
      }
      segment.durable = length
      if (segment !== last) this.#unmarked = Math.max(this.#unmarked, sequence)
    }
    this.#mark()
  }

  #mark(): void {
    if (this.#unmarked === 0) return
    try {
      this.append([DURABLE, this.#unmarked])
      this.#unmarked = 0
    } catch {
      // The records are durable all the same. The next sync tries again.
    }
  }

  async #syncFile(fd: number, dataOnly: boolean): Promise<void> {
    try {
      await this.#disk.sync(fd, dataOnly)
    } catch (error) {
      // After a failed sync the kernel may call the lost pages clean, and the next sync a success.
      this.#syncFailure = FsError.from(error)
      throw this.#syncFailure
    }
  }

  #current(): Segment {
    const segment = this.#segments.at(-1)
    if (!segment) throw new Error('the journal has no segment')
    return segment
  }

  #openSegment(number: number, flags: number): Segment {
    const path = `${this.#directory}/${String(number).padStart(8, '0')}.journal`
    const fd = this.#disk.open(path, flags)
    const stat = new Float64Array(STAT.length)
    this.#disk.stat(fd, stat)
    const length = stat[STAT.size] ?? 0
    return { number, path, fd, length, reserved: 0, durable: 0, last: 0, removed: false, syncing: false }
  }

  /** The whole records of a segment, marks included. */
  *#read(segment: Segment): Generator<JournalRecord> {
    const bytes = Buffer.alloc(segment.length)
    let filled = 0
    while (filled < bytes.length) {
      const count = this.#disk.read(segment.fd, bytes.subarray(filled), filled)
      if (count === 0) break
      filled += count
    }
    const unpackr = new Unpackr({ useRecords: false })
    let at = 0
    while (at + FRAME_BYTES <= filled) {
      const start = at + FRAME_BYTES
      const length = bytes.readUInt32LE(at)
      // A length of 0 is what a file that was extended but not written holds: no record is empty.
      if (length === 0 || length > RECORD_MAX_BYTES || start + length > filled) return
      const payload = bytes.subarray(start, start + length)
      if (crc32(payload) !== bytes.readUInt32LE(at + 4)) return
      yield unpackr.unpack(payload) as JournalRecord
      at = start + length
    }
  }
}
