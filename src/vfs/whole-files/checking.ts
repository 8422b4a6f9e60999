// Is the content of a file what it was when its checksum was taken? Asked once after each start, at the first open.
import zlib from 'node:zlib'
import { FsError } from '../../posix/errors.ts'
import { type Damage, type FileRecord, sameStamp } from './files.ts'
import { type CacheParts, look, openFile } from './parts.ts'

const PIECE_BYTES = 1 << 20

/** CRC-32 of `length` bytes of a file; undefined if it ends before, or `goOn` says no. Does not hold up the event loop. */
export async function checksumOf(
  { disk }: Pick<CacheParts, 'disk'>,
  fd: number,
  length: number,
  goOn: () => boolean = () => true,
): Promise<number | undefined> {
  const piece = new Uint8Array(Math.min(PIECE_BYTES, length))
  let checksum = 0
  for (let at = 0; at < length; ) {
    const count = await disk.readLater(fd, piece.subarray(0, length - at), at)
    if (count === 0 || !goOn()) return undefined
    checksum = zlib.crc32(piece.subarray(0, count), checksum)
    at += count
  }
  return checksum
}

/** What is wrong with a whole file; undefined: nothing. */
export async function damageOf(parts: CacheParts, file: FileRecord): Promise<Damage | undefined> {
  try {
    const opened = openFile(parts, file)
    try {
      const stamp = look(parts, file)
      if (stamp.size !== file.stamp.size) return 'wrong content'
      // Without a checksum (the process died before there was one), times are all there is to go by.
      if (file.checksum === undefined) return sameStamp(stamp, file.stamp) ? undefined : 'wrong content'
      return (await checksumOf(parts, opened.fd, stamp.size)) === file.checksum ? undefined : 'wrong content'
    } finally {
      opened.release()
    }
  } catch (error) {
    return damageBy(error)
  }
}

/** The damage that an error means. Throws what says nothing about the file, such as EMFILE. */
export function damageBy(error: unknown): Damage {
  const { code } = FsError.from(error)
  if (code === 'ENOENT') return 'missing'
  if (PASSING.has(code)) throw error
  return 'unreadable'
}

const PASSING: ReadonlySet<string> = new Set(['EMFILE', 'ENFILE', 'ENOMEM', 'EINTR', 'EAGAIN'])

/** Takes the checksums of files that were written here, one after the other: nobody waits for them. */
export class ChecksumQueue {
  readonly #parts: CacheParts
  readonly #onError: (error: Error) => void
  readonly #files = new Set<FileRecord>()
  #working: Promise<void> | undefined
  #closed = false

  constructor(parts: CacheParts, onError: (error: Error) => void) {
    this.#parts = parts
    this.#onError = onError
  }

  add(file: FileRecord): void {
    if (this.#closed) return
    this.#files.add(file)
    this.#working ??= this.#work().finally(() => {
      this.#working = undefined
    })
  }

  /** Resolves when nothing is under way any more: all done, or, once closed, given up. */
  async idle(): Promise<void> {
    await this.#working
  }

  close(): Promise<void> {
    this.#closed = true
    this.#files.clear()
    return this.idle()
  }

  async #work(): Promise<void> {
    for (const file of this.#files) {
      this.#files.delete(file)
      await this.#take(file).catch((error) => this.#onError(FsError.from(error)))
    }
  }

  async #take(file: FileRecord): Promise<void> {
    const { stamp } = file
    // Whatever is noted anew about the content has a stamp of its own.
    const isAsked = () => !this.#closed && file.state === 'whole' && file.current && file.stamp === stamp
    if (!isAsked()) return
    const opened = openFile(this.#parts, file)
    try {
      const checksum = await checksumOf(this.#parts, opened.fd, stamp.size, isAsked)
      if (checksum === undefined || !isAsked() || !sameStamp(look(this.#parts, file), stamp)) return
      file.checksum = checksum
      this.#parts.index.save(file)
    } finally {
      opened.release()
    }
  }
}
