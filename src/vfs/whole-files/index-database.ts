// The index of the whole-file cache: a row of SQLite for each file that is whole and current, or dirty.
//
// Rows to be written gather, and go in one transaction: all changes up to some moment, or none of them. So a crash finds
// the files as they were at one moment, at most `batchMs` ago. What must not be lost is flushed by whoever changes it.
// A file that is gone leaves the disk only after its row has.
import { constants } from 'node:fs'
import SqliteDatabase from 'better-sqlite3'
import type { Clock } from '../../host/clock.ts'
import type { Disk } from '../../host/disk.ts'
import { DatabaseBusy, openExclusive, ownerOf } from '../../host/exclusive-database.ts'
import { FsError } from '../../posix/errors.ts'
import type { FileRecord } from './files.ts'
import { DATABASE, fileOf, ROW_LENGTH, type Row, rowOf } from './index-rows.ts'
import { isKept } from './ledger.ts'

/** File numbers taken from the database in one go. */
const NUMBERS = 1024
/** Rows that wait at most: beyond, they are written at once. */
const BATCH_ROWS = 500
/** Bytes of files that wait to leave the disk, at most. */
const BATCH_BYTES = 16 << 20
/** Rows written after which SQLite's log is written back. */
const CHECKPOINT_ROWS = 2000
/** How long times of last use wait for other rows to go with, in milliseconds. */
const TOUCH_MS = 60_000

export interface CacheIndexOptions {
  readonly directory: string
  readonly disk: Disk
  readonly clock: Clock
  readonly batchMs: number
  /** Told of failures that nobody waits for. The rows are tried again with the next ones. */
  readonly onBackgroundError: (error: Error) => void
  /** These may leave the disk: the index does not know them any more. */
  readonly onGone: (files: readonly FileRecord[]) => void
}

export class CacheIndex {
  readonly #options: CacheIndexOptions
  readonly #database: SqliteDatabase.Database
  readonly #put: SqliteDatabase.Statement
  readonly #remove: SqliteDatabase.Statement
  readonly #touch: SqliteDatabase.Statement
  readonly #reserve: SqliteDatabase.Statement
  readonly #write: () => void
  /** SQLite's log, to sync it with: not through the event loop. */
  readonly #logFd: number
  #changed = new Set<FileRecord>()
  /** Numbers whose rows go, and the files that leave the disk after them. */
  #gone = new Set<number>()
  #removable = new Set<FileRecord>()
  #removableBytes = 0
  /** Files whose rows, as they are written, say that they are dirty. */
  readonly #dirtyRows = new Set<number>()
  #touched = new Set<FileRecord>()
  #cancelBatch: (() => void) | undefined
  /** The last transaction failed: the next one is tried when its time has come. */
  #failed = false
  #cancelTouch: (() => void) | undefined
  #nextNumber: number
  #lastNumber: number
  #rowsInLog = 0
  #closed = false
  #checkpointing: Promise<void> | undefined

  /** Throws an Error of one line that names the process if another one has the cache. */
  constructor(options: CacheIndexOptions) {
    this.#options = options
    const { directory, disk } = options
    const path = `${directory}/index.db`
    const database = open(path, directory)
    this.#database = database
    this.#put = database.prepare(`REPLACE INTO file VALUES (${Array.from({ length: ROW_LENGTH }, () => '?').join()})`)
    this.#remove = database.prepare('DELETE FROM file WHERE number = ?')
    this.#touch = database.prepare('UPDATE file SET last_use_ms = ? WHERE number = ?')
    this.#reserve = database.prepare('UPDATE host SET next_number = ?')
    this.#nextNumber = this.#lastNumber =
      database.prepare<[], number>('SELECT next_number FROM host').pluck().get() ?? 1
    this.#write = database.transaction(() => {
      for (const number of this.#gone) this.#remove.run(number)
      for (const file of this.#changed) this.#put.run(...rowOf(file))
      for (const file of this.#touched) this.#touch.run(file.lastUseMs, file.number)
    })
    this.#logFd = disk.open(`${path}-wal`, constants.O_RDONLY)
  }

  /** All files, the least recently used first. */
  load(): FileRecord[] {
    const rows = this.#database.prepare<[], Row>('SELECT * FROM file ORDER BY last_use_ms, number').raw().all()
    const files = rows.map(fileOf)
    for (const { number, state } of files) if (state === 'dirty') this.#dirtyRows.add(number)
    return files
  }

  /** Which start of the host the cache was last used in; empty: none. */
  get boot(): string {
    return this.#database.prepare<[], string>('SELECT boot FROM host').pluck().get() ?? ''
  }

  /** After all rows that wait. If it cannot be written, the next start of the cache takes the host for restarted again. */
  setBoot(boot: string): void {
    try {
      this.flush()
      attempt(() => this.#database.prepare('UPDATE host SET boot = ?').run(boot))
    } catch (error) {
      this.#options.onBackgroundError(error as Error)
    }
  }

  /** A number that no file ever had. Throws FsError if the database cannot be written. */
  nextNumber(): number {
    if (this.#nextNumber >= this.#lastNumber) {
      const next = this.#nextNumber + NUMBERS
      attempt(() => this.#reserve.run(next))
      this.#lastNumber = next
    }
    return this.#nextNumber++
  }

  /** The file's row is as the file is when rows are next written; there is none if a restart would not keep the file. */
  save(file: FileRecord): void {
    if (isKept(file)) {
      this.#changed.add(file)
      this.#gone.delete(file.number)
    } else {
      this.#changed.delete(file)
      this.#gone.add(file.number)
    }
    this.#later()
  }

  /** Nobody needs these files any more. */
  remove(files: readonly FileRecord[]): void {
    for (const file of files) {
      this.#changed.delete(file)
      this.#touched.delete(file)
      this.#gone.add(file.number)
      this.#removable.add(file)
      this.#removableBytes += file.allocatedBytes
    }
    if (files.length > 0) this.#later()
  }

  /** The file was used: worth a row only together with others. */
  touch(file: FileRecord): void {
    if (this.#closed) return
    if (this.#touched.size === 0) {
      this.#cancelTouch ??= this.#options.clock.after(TOUCH_MS, () => {
        this.#cancelTouch = undefined
        this.flushInBackground()
      })
    }
    this.#touched.add(file)
  }

  /** Writes all rows that wait: when this returns, they survive the death of the process. Throws FsError. */
  flush(): void {
    this.#cancelBatch?.()
    this.#cancelBatch = undefined
    const rows = this.#changed.size + this.#gone.size + this.#touched.size
    if (rows === 0) return
    try {
      attempt(this.#write)
    } catch (error) {
      this.#failed = true
      this.#later()
      this.#removeUnreplaced()
      throw error
    }
    this.#failed = false
    for (const number of this.#gone) this.#dirtyRows.delete(number)
    for (const { number, state } of this.#changed) {
      if (state === 'dirty') this.#dirtyRows.add(number)
      else this.#dirtyRows.delete(number)
    }
    const gone = [...this.#removable]
    this.#changed.clear()
    this.#gone.clear()
    this.#removable.clear()
    this.#removableBytes = 0
    this.#touched.clear()
    this.#options.onGone(gone)
    this.#rowsInLog += rows
    if (this.#rowsInLog >= CHECKPOINT_ROWS) this.#checkpoint()
  }

  /** Resolves when what `flush` wrote survives loss of power. */
  async sync(): Promise<void> {
    this.flush()
    await this.#options.disk.sync(this.#logFd, true)
  }

  async close(): Promise<void> {
    try {
      this.flush()
    } finally {
      this.#closed = true
      this.#cancelTouch?.()
      this.#cancelBatch?.()
      await this.#checkpointing
      this.#options.disk.close(this.#logFd)
      this.#database.close()
    }
  }

  /**
   * Where rows cannot be written for want of space, what was evicted must go all the same: a row without a file is dropped
   * by the next start. Not if that row is of a dirty file: it would look as if changes were lost.
   */
  #removeUnreplaced(): void {
    const replaced = new Set([...this.#changed].map(({ key }) => key))
    const gone = [...this.#removable].filter(({ key, number }) => !replaced.has(key) && !this.#dirtyRows.has(number))
    for (const file of gone) this.#removable.delete(file)
    this.#options.onGone(gone)
  }

  #later(): void {
    if (this.#closed) return
    const isFull = this.#changed.size + this.#gone.size >= BATCH_ROWS || this.#removableBytes > BATCH_BYTES
    if (isFull && !this.#failed) this.flushInBackground()
    else this.#cancelBatch ??= this.#options.clock.after(this.#options.batchMs, () => this.flushInBackground())
  }

  /** `flush`, whose failure nobody waits for. */
  flushInBackground(): void {
    try {
      this.flush()
    } catch (error) {
      this.#options.onBackgroundError(error as Error)
    }
  }

  /** Most of the waiting for the device is done away from the event loop, before SQLite does the rest. */
  #checkpoint(): void {
    this.#rowsInLog = 0
    const work = async () => {
      await this.#options.disk.sync(this.#logFd, true)
      this.#database.pragma('wal_checkpoint(PASSIVE)')
    }
    this.#checkpointing ??= work()
      .catch((error) => this.#options.onBackgroundError(FsError.from(error)))
      .finally(() => {
        this.#checkpointing = undefined
      })
  }
}

function open(path: string, directory: string): SqliteDatabase.Database {
  try {
    return openExclusive(path, DATABASE)
  } catch (error) {
    if (error instanceof SqliteDatabase.SqliteError) {
      throw new Error(`the index of the cache ${directory} cannot be read: ${error.message}`, { cause: error })
    }
    if (!(error instanceof DatabaseBusy)) throw error
    throw new Error(`the cache ${directory} is in use by ${ownerOf(directory)}`, { cause: error })
  }
}

function attempt(action: () => unknown): void {
  try {
    action()
  } catch (error) {
    if (!(error instanceof SqliteDatabase.SqliteError)) throw FsError.from(error)
    throw new FsError(error.code.startsWith('SQLITE_FULL') ? 'ENOSPC' : 'EIO', error.message, { cause: error })
  }
}
