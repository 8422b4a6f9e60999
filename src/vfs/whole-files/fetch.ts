// A fetch: the bytes of one version come in order, and whoever wants some of them before the end waits for these only.
import zlib from 'node:zlib'
import { FsError } from '../../posix/errors.ts'
import type { Awaitable } from '../filesystem.ts'
import type { CachedFile, FileRecord } from './files.ts'
import { type CacheParts, change, dismiss, type OpenFile, openFile, takeStamp } from './parts.ts'

/** Short files are written at once: going through another thread takes longer than the write. */
const SHORT_BYTES = 1 << 20

export interface FetchOptions {
  /** Length of the content in bytes. */
  readonly length: number
  /** After each piece: how many bytes are there. */
  readonly onProgress?: ((received: number) => void) | undefined
}

interface Reader {
  /** The number of bytes that must have arrived. */
  readonly end: number
  readonly done: () => void
  readonly fail: (error: FsError) => void
}

export class Fetch {
  readonly file: CachedFile
  readonly length: number
  readonly #parts: CacheParts
  readonly #record: FileRecord
  /** The fetch has the file open until its last write has ended. */
  readonly #opened: OpenFile
  readonly #onProgress: ((received: number) => void) | undefined
  readonly #onEnd: () => void
  #received = 0
  #checksum = 0
  #writing: Promise<void> | undefined
  #readers = new Set<Reader>()
  #state: 'under way' | 'whole' | FsError = 'under way'

  /** The file is empty, and the ledger knows it. `onEnd` is called once, when it is whole or was given up. */
  constructor(parts: CacheParts, record: FileRecord, options: FetchOptions, onEnd: () => void) {
    this.#parts = parts
    this.#record = this.file = record
    this.length = options.length
    this.#onProgress = options.onProgress
    this.#onEnd = onEnd
    this.#opened = openFile(parts, record)
  }

  /** Bytes that can be read. */
  get received(): number {
    return this.#received
  }

  /** The write under way. */
  get writing(): Promise<void> | undefined {
    return this.#writing
  }

  /**
   * The next bytes; wait for it before the next call. They must not change meanwhile. Throws FsError and gives the fetch
   * up if they cannot be written (ENOSPC), or are more than was announced (EIO).
   */
  write(...pieces: readonly Uint8Array[]): Awaitable<void> {
    this.#requireOngoing()
    const bytes = bytesIn(pieces)
    if (this.#received + bytes > this.length) throw this.#fail(new FsError('EIO', 'more bytes than announced'))
    if (this.length > SHORT_BYTES) {
      const writing = this.#writeLater(pieces, bytes)
      this.#writing = writing
      return writing
    }
    for (const piece of pieces) this.#writeNow(piece)
  }

  #writeNow(piece: Uint8Array): void {
    try {
      for (let at = 0; at < piece.length; ) {
        at += this.#parts.disk.write(this.#opened.fd, piece.subarray(at), this.#received + at)
      }
    } catch (error) {
      throw this.#fail(FsError.from(error))
    }
    this.#checksum = zlib.crc32(piece, this.#checksum)
    this.#took(piece.length)
  }

  async #writeLater(pieces: readonly Uint8Array[], bytes: number): Promise<void> {
    const { disk } = this.#parts
    const { fd } = this.#opened
    let failure: FsError | undefined
    try {
      let writing = disk.writeLater(fd, pieces, this.#received)
      // While another thread writes.
      for (const piece of pieces) this.#checksum = zlib.crc32(piece, this.#checksum)
      for (let at = await writing; at < bytes; at += await writing) {
        writing = disk.writeLater(fd, from(pieces, at), this.#received + at)
      }
    } catch (error) {
      failure = FsError.from(error)
    }
    this.#writing = undefined
    if (this.#state instanceof FsError) {
      this.#opened.release()
      throw this.#state
    }
    if (failure) throw this.#fail(failure)
    this.#took(bytes)
  }

  #took(count: number): void {
    this.#received += count
    for (const reader of this.#readers) {
      if (reader.end > this.#received) continue
      this.#readers.delete(reader)
      reader.done()
    }
    this.#onProgress?.(this.#received)
  }

  /**
   * All bytes are there: from now on opens get them, unless something newer is there. `status` takes the place of that
   * given at the beginning. Throws FsError, and gives the fetch up, if bytes are lacking (EIO).
   */
  commit(status?: unknown): void {
    this.#requireOngoing()
    if (this.#received !== this.length) {
      throw this.#fail(new FsError('EIO', `${this.#received} of ${this.length} bytes came`))
    }
    const { ledger } = this.#parts
    const record = this.#record
    if (status !== undefined) record.status = status
    try {
      const stamp = takeStamp(this.#parts, record)
      change(this.#parts, record, () => ledger.arrived(record, stamp, this.#checksum))
    } catch (error) {
      throw this.#fail(FsError.from(error))
    }
    this.#state = 'whole'
    this.#end()
    this.#opened.release()
  }

  /** Gives up: nothing of it stays, but for those who have it open. Does nothing after the end. */
  abort(cause?: unknown): void {
    if (this.#state !== 'under way') return
    this.#fail(cause instanceof FsError ? cause : new FsError('EIO', 'the fetch was given up', { cause }))
  }

  /** Opens the file while it comes: what has not arrived reads as nothing, or zeros; see `readable`. */
  open(): OpenFile {
    return openFile(this.#parts, this.#record)
  }

  /**
   * How many of `length` bytes from `offset` there are in the file, when all of those have arrived: fewer only at its end.
   * Throws FsError: the fetch's, or EINTR when `signal` is aborted.
   */
  readable(offset: number, length: number, signal?: AbortSignal): Awaitable<number> {
    const end = Math.min(offset + length, this.length)
    const count = Math.max(0, end - offset)
    if (this.#received >= end || count === 0) return count
    if (this.#state instanceof FsError) throw this.#state
    return this.#wait(end, signal).then(() => count)
  }

  /** Resolves when the file is whole; rejects with the fetch's FsError, or EINTR. */
  whole(signal?: AbortSignal): Awaitable<void> {
    if (this.#state instanceof FsError) throw this.#state
    if (this.#state === 'under way') return this.#wait(Number.POSITIVE_INFINITY, signal)
  }

  #wait(end: number, signal: AbortSignal | undefined): Promise<void> {
    return new Promise<void>((resolve, reject) => {
      const interrupt = () => leave(() => reject(new FsError('EINTR')))
      const reader: Reader = { end, done: () => leave(resolve), fail: (error) => leave(() => reject(error)) }
      const leave = (then: () => void) => {
        this.#readers.delete(reader)
        signal?.removeEventListener('abort', interrupt)
        then()
      }
      this.#readers.add(reader)
      if (signal?.aborted) interrupt()
      else signal?.addEventListener('abort', interrupt)
    })
  }

  #requireOngoing(): void {
    if (this.#state instanceof FsError) throw this.#state
    if (this.#state === 'whole') throw new FsError('EINVAL', 'the fetch has ended')
    if (this.#writing) throw new FsError('EBUSY', 'the piece before is still being written')
  }

  #fail(error: FsError): FsError {
    if (this.#state !== 'under way') return error
    this.#state = error
    dismiss(this.#parts, this.#parts.ledger.abandon(this.#record))
    this.#end()
    // A write under way has its descriptor to the end.
    if (!this.#writing) this.#opened.release()
    return error
  }

  #end(): void {
    const readers = [...this.#readers]
    this.#readers.clear()
    for (const reader of readers) {
      if (this.#state instanceof FsError) reader.fail(this.#state)
      else reader.done()
    }
    this.#onEnd()
  }
}

const bytesIn = (pieces: readonly Uint8Array[]): number => pieces.reduce((sum, { length }) => sum + length, 0)

/** The rest of pieces of which `at` bytes are done. */
function from(pieces: readonly Uint8Array[], at: number): Uint8Array[] {
  const rest: Uint8Array[] = []
  let skip = at
  for (const piece of pieces) {
    if (skip < piece.length) rest.push(piece.subarray(skip))
    skip = Math.max(0, skip - piece.length)
  }
  return rest
}
