// What the operations of the whole-file cache share.
import type { Clock } from '../../host/clock.ts'
import { type Disk, STAT, UTIME_OMIT } from '../../host/disk.ts'
import { FsError } from '../../posix/errors.ts'
import type { Descriptors } from './descriptors.ts'
import { type CachedFile, type FileRecord, type Stamp, sameStamp } from './files.ts'
import type { CacheIndex } from './index-database.ts'
import type { Ledger } from './ledger.ts'

export interface CacheParts {
  readonly directory: string
  readonly disk: Disk
  readonly clock: Clock
  readonly ledger: Ledger
  readonly index: CacheIndex
  readonly descriptors: Descriptors
}

const BLOCK_BYTES = 512
/** What the host's file system gives out at once, as a guess: for what is not there yet. */
const UNIT_BYTES = 4096

export const roundedBytes = (length: number): number => Math.ceil(length / UNIT_BYTES) * UNIT_BYTES

export const pathOf = (directory: string, number: number): string => `${directory}/files/${number}`

const stat = new Float64Array(STAT.length)

function readStat(disk: Disk, fd: number): void {
  disk.stat(fd, stat)
}

const stampRead = (): Stamp => ({
  size: stat[STAT.size] as number,
  mtimeSec: stat[STAT.mtimeSec] as number,
  mtimeNsec: stat[STAT.mtimeNsec] as number,
})

/** The file as it is now; the bytes that it takes are accounted. */
export function look({ disk, ledger }: CacheParts, file: FileRecord): Stamp {
  readStat(disk, file.fd)
  ledger.measure(file, (stat[STAT.blocks] as number) * BLOCK_BYTES)
  return stampRead()
}

/**
 * The file as it is now, such that any later write makes it differ: times of files have the steps of the kernel's tick,
 * and a write in the same tick would leave no trace. So the mtime is set back by a nanosecond, where no clock puts it.
 * Whoever wants the content that belongs to this stamp reads it afterwards.
 */
export function takeStamp(parts: CacheParts, file: FileRecord): Stamp {
  const now = look(parts, file)
  if (sameStamp(now, file.stamp) || (file.taken && sameStamp(now, file.taken))) return now
  const { mtimeSec, mtimeNsec } = now
  const borrow = mtimeNsec === 0
  parts.disk.utimens(file.fd, 0, UTIME_OMIT, borrow ? mtimeSec - 1 : mtimeSec, borrow ? 999_999_999 : mtimeNsec - 1)
  // As the host's file system keeps it, whatever the steps of its times are.
  file.taken = look(parts, file)
  return file.taken
}

/** Files that the ledger has given up leave the index, and then the disk. */
export function dismiss({ index }: CacheParts, files: readonly FileRecord[]): void {
  if (files.length > 0) index.remove(files)
}

/** Like `dismiss`, for what had to make room: at once, since the room is needed. */
export function evict(parts: CacheParts, files: readonly FileRecord[]): void {
  dismiss(parts, files)
  if (files.length > 0) parts.index.flushInBackground()
}

/** A transition of `file`, and of the current file of its key: the index hears of both. */
export function change(parts: CacheParts, file: FileRecord, transition: () => readonly FileRecord[]): void {
  const { ledger, index } = parts
  const before = ledger.current(file.key)
  dismiss(parts, transition())
  if (before && before !== file && ledger.file(before.number)) index.save(before)
  if (ledger.file(file.number)) index.save(file)
}

/** An open of a cached file. The bytes under `fd` are of one version, whatever becomes current meanwhile. */
export class OpenFile {
  readonly file: CachedFile
  readonly #parts: CacheParts
  #released = false

  /** The file has a descriptor, and is retained. */
  constructor(parts: CacheParts, file: FileRecord) {
    this.#parts = parts
    this.file = file
  }

  /** For reading and writing; valid until `release`. */
  get fd(): number {
    return this.file.fd
  }

  get path(): string {
    return pathOf(this.#parts.directory, this.file.number)
  }

  /** Calling it again does nothing. */
  release(): void {
    if (this.#released) return
    this.#released = true
    releaseFile(this.#parts, this.file as FileRecord)
  }
}

/** Opens a file as it is. Throws FsError if the host cannot open it. */
export function openFile(parts: CacheParts, file: FileRecord): OpenFile {
  parts.descriptors.open(file)
  parts.ledger.retain(file)
  return new OpenFile(parts, file)
}

function releaseFile(parts: CacheParts, file: FileRecord): void {
  const { ledger, index, descriptors, clock } = parts
  const gone = ledger.release(file, clock.now())
  dismiss(parts, gone)
  if (gone.length > 0 || file.opens > 0) return
  descriptors.idle(file)
  index.touch(file)
}

export function requireFile({ ledger }: CacheParts, { number }: CachedFile): FileRecord {
  const file = ledger.file(number)
  if (!file) throw new FsError('ESTALE', `the cache has no file ${number} any more`)
  return file
}
