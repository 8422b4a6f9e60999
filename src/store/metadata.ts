// The volume's database: SQLite, with the journal in front of it.
//
// Every operation names the statements that it consists of and ends with `commit`, which writes them to the journal.
// The rows that they change gather in memory (pending-rows.ts); SQLite gets them in one transaction (a batch) after many
// operations, or a second. A few statements that are rare it gets at once, inside the same transaction. So
//
//   state of the volume = what SQLite has committed + the journal's records after `meta.sequence`
//
// holds at every moment, because `meta.sequence` is part of each batch. The crash windows, one by one:
// - Before the journal record is whole: the reader ignores the torn record; the operation never happened, and its
//   caller was never told otherwise.
// - After the record, before the batch is committed: the records after `meta.sequence` are executed again.
// - While the batch is committed: SQLite makes that atomic, and with it the sequence from which to replay.
// - Between the commit and the removal of old segments: their records are at or below `meta.sequence`, hence skipped.
//
// Loss of power takes what was not synced. SQLite's own log (the WAL) loses a suffix of commits at most, and segments
// are removed only when the WAL has been synced past them; so the equation holds for what is left, and `sync` needs
// no more than the journal's segments on stable storage.
//
// SQLite itself never syncs while the volume is in use (synchronous = OFF): that would stop the event loop. The syncs
// that its log needs are made here, between its steps (see `#writeBack`).
import { constants } from 'node:fs'
import SqliteDatabase from 'better-sqlite3'
import type { Clock } from '../host/clock.ts'
import { type Disk, STAT } from '../host/disk.ts'
import { openExclusive } from '../host/exclusive-database.ts'
import { FsError } from '../posix/errors.ts'
import { copyFile } from './copy-file.ts'
import type { Inode } from './inode.ts'
import { Journal, type JournalRecord, type Parameter } from './journal.ts'
import { KnownNames } from './known-names.ts'
import { PendingRows, type RowWriter, type Subject } from './pending-rows.ts'
import {
  CLONE_FORMAT,
  DELETE_ENTRY,
  DELETE_INODE,
  FORMAT,
  PUT_ENTRY,
  PUT_INODE,
  SCHEMA,
  SET_META,
  STATEMENTS,
  UNFINISHED,
} from './schema.ts'

export interface MetadataLimits {
  /** Operations in one batch. */
  readonly batchOperations: number
  /** How long an operation may wait for its batch to be committed, in milliseconds. */
  readonly batchMs: number
  /** Bytes of journal after which a new segment is begun and the old ones are retired. */
  readonly segmentBytes: number
  /** Bytes of SQLite's log after which it is written back to the database file. */
  readonly logBytes: number
  /** Names of directories kept in memory. */
  readonly cachedNames: number
}

export const METADATA_LIMITS: MetadataLimits = {
  batchOperations: 2000,
  batchMs: 1000,
  segmentBytes: 8 << 20,
  logBytes: 16 << 20,
  cachedNames: 100_000,
}

export interface MetadataOptions {
  readonly disk: Disk
  readonly clock: Clock
  /** Told of a failure that no caller waits for. */
  readonly onBackgroundError: (error: Error) => void
  readonly limits: MetadataLimits
}

const SEQUENCE = 'sequence'

/** What the parts of a volume use: that of a clone is another (read-only-metadata.ts). */
export type MetadataView = Pick<Metadata, keyof Metadata>

export class Metadata {
  readonly #disk: Disk
  readonly #clock: Clock
  readonly #limits: MetadataLimits
  readonly #onBackgroundError: (error: Error) => void
  readonly #database: SqliteDatabase.Database
  readonly #statements: readonly SqliteDatabase.Statement[]
  readonly #journal: Journal
  /** Descriptors of our own to sync with. Closing one of the database file gives up SQLite's lock on it. */
  readonly #databaseFd: number
  readonly #logFd: number
  /** Rows that the journal has and the database has not: whoever asks the database looks here first. */
  readonly pending = new PendingRows()
  /** What the directories in use have, in step with each operation. */
  readonly known: KnownNames
  readonly #writer: RowWriter
  /** The operation under way: its record, what its statements are about, and whether the database was told of some. */
  #record: JournalRecord = [0]
  #subjects: Subject[] = []
  #executed = false
  /** The last operation done, and the last one that SQLite has committed. */
  #sequence: number
  #committed: number
  #inBatch = false
  #cancelFlush: (() => void) | undefined
  /** The last commit failed: the next one is tried when its time has come, not at every operation. */
  #commitFailed = false
  /** SQLite's log is being written back: nothing may be added to it. */
  #commitsHeld = false
  #retiring: Promise<void> | undefined
  #failure: FsError | undefined
  #closing: Promise<void> | undefined

  private constructor(path: string, database: SqliteDatabase.Database, journal: Journal, options: MetadataOptions) {
    this.#disk = options.disk
    this.#clock = options.clock
    this.#limits = options.limits
    this.known = new KnownNames(options.limits.cachedNames)
    this.#onBackgroundError = options.onBackgroundError
    this.#database = database
    this.#journal = journal
    this.#statements = STATEMENTS.map((sql) => database.prepare(sql))
    this.#writer = rowWriter(database)
    this.#sequence = this.#committed = Number(this.meta(SEQUENCE) ?? 0)
    this.#recover()
    this.#databaseFd = this.#disk.open(path, constants.O_RDONLY)
    this.#logFd = this.#disk.open(`${path}-wal`, constants.O_RDONLY)
  }

  /**
   * Opens the database `path` and the journal in `journalDirectory`, making them if they do not exist, and brings the
   * database up to the last whole record. Throws `DatabaseBusy` if a process has it open, and an Error that says why
   * if it is of an unknown format or damaged.
   */
  static async open(path: string, journalDirectory: string, options: MetadataOptions): Promise<Metadata> {
    const database = openExclusive(path, DATABASE)
    let journal: Journal | undefined
    try {
      journal = Journal.open(options.disk, journalDirectory)
      const metadata = new Metadata(path, database, journal, options)
      // Records after a gap must be gone for good before new ones get the same sequences.
      journal.removeBefore(journal.segment)
      await journal.syncDirectory()
      database.pragma('synchronous = OFF')
      return metadata
    } catch (error) {
      journal?.close()
      database.close()
      throw error
    }
  }

  /** Number of the last operation done. */
  get sequence(): number {
    return this.#sequence
  }

  /** Prepares a query. Statements that change the volume are in schema.ts instead. */
  query<Row>(sql: string): SqliteDatabase.Statement<Parameter[], Row> {
    return this.#database.prepare<Parameter[], Row>(sql)
  }

  meta(key: string): Parameter | undefined {
    return this.#database.prepare<[string], Parameter>('SELECT value FROM meta WHERE key = ?').pluck().get(key)
  }

  /** Throws ENOSPC if the disk is so full that only deletions should go on. */
  requireRoom(): void {
    if (!this.#journal.hasRoom()) throw new FsError('ENOSPC')
  }

  /**
   * Adds a statement of schema.ts to the current operation. Queries see what it changes when the operation is over.
   * `subject`: the inode that it changes, or the entry's name where the parameters lack it.
   */
  run(statement: number, parameters: readonly Parameter[], subject?: Subject): void {
    if (this.#failure) throw this.#failure
    if (!PendingRows.gathers(statement)) this.#execute(statement, parameters)
    this.#record.push(statement, parameters)
    this.#subjects.push(subject)
  }

  #execute(statement: number, parameters: readonly Parameter[]): void {
    this.#executed = true
    try {
      if (this.#batchIsLost()) throw batchLost()
      this.#requireBatch()
      this.#statement(statement).run(parameters)
    } catch (error) {
      this.#undo()
      throw errorOf(error)
    }
  }

  /** The row of an inode is out of date in a way that is worth nothing to the journal: a crash may take it back. */
  note(inode: Inode): void {
    if (this.#failure) throw this.#failure
    this.pending.putInode(inode, true)
    this.#flushLater()
  }

  /** Ends the current operation: when this returns, it survives the death of the process. If it throws, it is undone. */
  commit(): void {
    if (this.#batchIsLost()) {
      this.#executed = true
      this.#undo()
      throw batchLost()
    }
    // Before the operation, not after it: its inodes are as it leaves them only when it has returned.
    const full = this.#sequence - this.#committed >= this.#limits.batchOperations
    if (full && !this.#executed && !this.#commitsHeld && !this.#commitFailed) this.flush()
    const record = this.#record
    record[0] = this.#sequence + 1
    try {
      this.#journal.append(record)
    } catch (error) {
      this.#undo()
      throw errorOf(error)
    }
    this.#sequence++
    for (let at = 1; at < record.length; at += 2) {
      const statement = record[at] as number
      const parameters = record[at + 1] as readonly Parameter[]
      const subject = this.#subjects[(at - 1) >> 1]
      this.pending.take(statement, parameters, subject)
      this.known.take(statement, parameters, subject)
    }
    this.#endOperation()
    this.#flushLater()
  }

  #endOperation(): void {
    this.#record = [0]
    this.#subjects = []
    this.#executed = false
  }

  #flushLater(): void {
    this.#cancelFlush ??= this.#clock.after(this.#limits.batchMs, () => this.flush())
  }

  /** Makes sure that the database has what it was told: what a query finds may then be remembered. */
  requireWhole(): void {
    if (this.#batchIsLost() && !this.#failure) this.#makeAgain()
  }

  /** Tells the database the pending entries of a directory, for a query that looks at all of them. */
  settleEntries(directory: number): void {
    if (!this.pending.hasEntries(directory) && !this.#batchIsLost()) return
    try {
      this.#requireBatch()
      this.pending.writeEntries(directory, this.#writer)
    } catch (error) {
      if (this.#batchIsLost()) this.#makeAgain()
      throw errorOf(error)
    }
  }

  /** Resolves when every operation that has returned survives loss of power. */
  sync(): Promise<void> {
    return this.#failure ? Promise.reject(this.#failure) : this.#journal.sync()
  }

  /**
   * Commits the batch to SQLite; at once, without waiting for the device. A failure is reported, not thrown: the
   * journal has what was done, and the commit is tried again.
   */
  flush(): void {
    this.#cancelFlush?.()
    this.#cancelFlush = undefined
    if ((!this.#inBatch && this.pending.empty) || this.#commitsHeld || this.#failure) return
    if (!this.#tryCommit()) return
    let logBytes: number
    try {
      logBytes = this.#logBytes()
    } catch (error) {
      this.#report(error)
      return
    }
    if (this.#journal.length < this.#limits.segmentBytes && logBytes < this.#limits.logBytes) return
    this.#retiring ??= this.#retire(logBytes >= this.#limits.logBytes).finally(() => {
      this.#retiring = undefined
    })
  }

  #tryCommit(): boolean {
    try {
      this.#commitBatch()
      this.#commitFailed = false
      return true
    } catch (error) {
      this.#commitFailed = true
      this.#onBackgroundError(
        new Error('the database cannot commit; the journal keeps what was done', { cause: error }),
      )
      this.#makeAgain()
      this.#flushLater()
      return false
    }
  }

  /**
   * Copies the database to `path` as it is at one moment, at which `moment` is called, once. Operations go on meanwhile;
   * what they change stays in memory and in the journal until the copy is there.
   */
  async copyTo(path: string, moment: () => void): Promise<void> {
    while (this.#retiring) await this.#retiring
    moment()
    if (this.#failure) throw this.#failure
    if (!this.#tryCommit()) throw new FsError('EIO', 'the database cannot commit')
    this.#commitsHeld = true
    const copying = this.#copyFiles(path)
    this.#retiring = copying
      .catch(() => {})
      .finally(() => {
        this.#commitsHeld = false
        this.#retiring = undefined
        this.#flushLater()
      })
    await copying
    await this.#retiring
  }

  /** By descriptors that stay open: closing another one of the database file gives up SQLite's lock on it. */
  async #copyFiles(path: string): Promise<void> {
    await copyFile(this.#databaseFd, path)
    await copyFile(this.#logFd, `${path}-wal`)
  }

  /** Commits, writes everything back to the database file, syncs it, and lets go of it. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    await this.#retiring
    this.flush()
    await this.#retiring
    this.#cancelFlush?.()
    try {
      if (!this.#failure && !this.#inBatch && this.pending.empty) {
        // Nobody waits any more: SQLite may sync by itself.
        this.#database.pragma('synchronous = FULL')
        this.#checkpoint('TRUNCATE')
        this.#journal.removeBefore(Number.POSITIVE_INFINITY)
      }
    } catch (error) {
      this.#report(error)
    }
    this.#failure ??= new FsError('EIO', 'the volume is closed')
    this.#journal.close()
    this.#database.close()
    this.#disk.close(this.#logFd)
    this.#disk.close(this.#databaseFd)
  }

  #statement(number: number): SqliteDatabase.Statement {
    const statement = this.#statements[number]
    if (!statement) throw new Error(`the journal names a statement that this version does not know: ${number}`)
    return statement
  }

  #begin(): void {
    this.#database.exec('BEGIN IMMEDIATE')
    this.#inBatch = true
  }

  /** An error in any statement, a query too, can make SQLite end the transaction: what it was told is gone. */
  #batchIsLost(): boolean {
    return this.#inBatch && !this.#database.inTransaction
  }

  #requireBatch(): void {
    if (this.#batchIsLost()) this.#outsideBatch(() => {})
    if (!this.#inBatch) this.#begin()
  }

  #commitBatch(): void {
    this.#requireBatch()
    this.pending.write(this.#writer)
    this.#statement(SET_META).run([SEQUENCE, this.#sequence])
    this.#database.exec('COMMIT')
    this.pending.clear()
    this.#inBatch = false
    this.#committed = this.#sequence
  }

  /** Forgets the current operation: brings the database back to the last one that was done. */
  #undo(): void {
    const executed = this.#executed
    this.#endOperation()
    if (executed) this.#makeAgain()
  }

  #makeAgain(): void {
    try {
      this.#outsideBatch(() => {})
    } catch (error) {
      this.#fail(error)
    }
  }

  /** Runs a step of SQLite that cannot be part of a transaction: leaves the batch, and makes it again from the journal. */
  #outsideBatch(step: () => void): void {
    const inBatch = this.#inBatch || this.#database.inTransaction
    if (this.#database.inTransaction) this.#database.exec('ROLLBACK')
    this.#inBatch = false
    try {
      step()
    } finally {
      if (inBatch) this.#tellAgain()
    }
  }

  #tellAgain(): void {
    const reached = this.#replay()
    if (reached !== this.#sequence) {
      throw new Error(`operations up to ${this.#sequence} were journalled, and only ${reached} can be read`)
    }
    this.pending.wereReplayed()
  }

  /** Executes the records after the last commit as a batch. Returns the sequence that was reached. */
  #replay(): number {
    let reached = this.#committed
    for (const record of this.#journal.records(this.#committed)) {
      if (!this.#inBatch) this.#begin()
      for (let at = 1; at < record.length; at += 2) {
        this.#statement(record[at] as number).run(record[at + 1] as readonly Parameter[])
      }
      reached = record[0] as number
    }
    return reached
  }

  /** Executes what an earlier process had journalled and not committed, and makes the database file whole and durable. */
  #recover(): void {
    this.#sequence = this.#replay()
    if (this.#inBatch) this.#commitBatch()
    this.#checkpoint('TRUNCATE')
    this.#journal.begin()
  }

  /**
   * Right after a commit: begins a new segment, and removes the old ones as soon as SQLite's log is durable, which
   * then has all that they hold. Never throws.
   */
  async #retire(writeBack: boolean): Promise<void> {
    try {
      this.#journal.begin()
    } catch (error) {
      // The current segment grows on; the next commit tries again.
      this.#report(error)
      return
    }
    const { segment } = this.#journal
    this.#commitsHeld = writeBack
    try {
      await this.#disk.sync(this.#logFd, true)
      this.#journal.removeBefore(segment)
      if (writeBack) await this.#writeBack()
    } catch (error) {
      // After a failed sync the kernel may call lost pages clean: what SQLite would build on them cannot be trusted.
      this.#fail(error)
    }
  }

  /**
   * Writes SQLite's log back to the database file. Its frames are durable. They must not be overwritten before the
   * pages written back are, and nothing may be added before the log's new, empty state is: so commits are held, and
   * operations meanwhile gather in a batch that is left and made again at each step.
   */
  async #writeBack(): Promise<void> {
    this.#outsideBatch(() => this.#checkpoint('PASSIVE'))
    await this.#disk.sync(this.#databaseFd, false)
    this.#outsideBatch(() => this.#checkpoint('TRUNCATE'))
    await this.#disk.sync(this.#logFd, false)
    this.#commitsHeld = false
    this.flush()
  }

  #checkpoint(mode: 'PASSIVE' | 'TRUNCATE'): void {
    const [result] = this.#database.pragma(`wal_checkpoint(${mode})`) as {
      busy: number
      log: number
      checkpointed: number
    }[]
    if (result?.busy !== 0 || result.log !== result.checkpointed) {
      throw new Error(`the database's log was not written back whole: ${JSON.stringify(result)}`)
    }
  }

  #logBytes(): number {
    const stat = new Float64Array(STAT.length)
    this.#disk.stat(this.#logFd, stat)
    return stat[STAT.size] ?? 0
  }

  /** No more changes: what is in memory and what is on the disk can no longer be kept in step. */
  #fail(cause: unknown): void {
    this.#failure = new FsError('EIO', 'the volume takes no more changes until it is opened again', { cause })
    this.#report(this.#failure)
  }

  #report(error: unknown): void {
    this.#onBackgroundError(error instanceof Error ? error : new Error(String(error)))
  }
}

function rowWriter(database: SqliteDatabase.Database): RowWriter {
  const putInode = database.prepare(PUT_INODE)
  const deleteInode = database.prepare(STATEMENTS[DELETE_INODE] as string)
  const putEntry = database.prepare(PUT_ENTRY)
  const deleteEntry = database.prepare(STATEMENTS[DELETE_ENTRY] as string)
  return {
    putInode: (parameters) => void putInode.run(parameters),
    deleteInode: (ino) => void deleteInode.run(ino),
    putEntry: (parent, { cookie, name, ino, type }) => void putEntry.run(parent, cookie, name, ino, type),
    deleteEntry: (parent, cookie) => void deleteEntry.run(parent, cookie),
  }
}

const DATABASE = {
  what: 'the volume',
  schema: SCHEMA,
  format: FORMAT,
  refused: new Map([
    [CLONE_FORMAT, "is a clone's: it is opened read-only"],
    [UNFINISHED, 'was not made to its end'],
  ]),
  pragmas: [
    'synchronous = FULL',
    'wal_autocheckpoint = 0',
    // A batch stays in memory until it is committed: pages of it must not reach the log by themselves.
    'cache_spill = OFF',
    'cache_size = -65536',
  ],
}

const batchLost = (): FsError => new FsError('EIO', 'the database undid what it had been told')

/** What went wrong in SQLite or the journal, as an errno. */
function errorOf(error: unknown): FsError {
  if (!(error instanceof SqliteDatabase.SqliteError)) return FsError.from(error)
  return new FsError(error.code.startsWith('SQLITE_FULL') ? 'ENOSPC' : 'EIO', error.message, { cause: error })
}
