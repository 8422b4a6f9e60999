// The database of a clone, or of a volume that was made from a dump and never opened to be changed: nothing is ever
// changed, so there is no journal and nothing pending. Many processes may have it open. Each holds a shared lock on it, by
// which others know that it is in use.
import SqliteDatabase from 'better-sqlite3'
import { FsError } from '../posix/errors.ts'
import type { Parameter } from './journal.ts'
import { KnownNames } from './known-names.ts'
import { RESTORED } from './layout.ts'
import type { MetadataView } from './metadata.ts'
import { PendingRows } from './pending-rows.ts'
import { CLONE_FORMAT, FORMAT } from './schema.ts'

export class ReadOnlyMetadata implements MetadataView {
  readonly pending = new PendingRows()
  readonly known: KnownNames
  readonly sequence = 0
  readonly #database: SqliteDatabase.Database

  /** Throws if there is no such database. */
  constructor(path: string, cachedNames: number) {
    this.known = new KnownNames(cachedNames)
    this.#database = new SqliteDatabase(path, { readonly: true, fileMustExist: true })
    try {
      const format = this.#database.pragma('user_version', { simple: true })
      // The transaction lasts as long as the database is open, and with it the lock.
      this.#database.exec('BEGIN')
      const fixed = format === CLONE_FORMAT || (format === FORMAT && typeof this.meta(RESTORED) === 'string')
      if (!fixed) throw new Error(`${path} is not a clone's, or of another version's format`)
      this.meta('id')
    } catch (error) {
      this.#database.close()
      throw error
    }
  }

  query<Row>(sql: string): SqliteDatabase.Statement<Parameter[], Row> {
    return this.#database.prepare<Parameter[], Row>(sql)
  }

  meta(key: string): Parameter | undefined {
    return this.#database.prepare<[string], Parameter>('SELECT value FROM meta WHERE key = ?').pluck().get(key)
  }

  requireRoom(): void {
    throw new FsError('EROFS')
  }

  run(): void {
    throw new FsError('EROFS')
  }

  note(): void {}

  commit(): void {
    throw new FsError('EROFS')
  }

  requireWhole(): void {}

  settleEntries(): void {}

  async sync(): Promise<void> {}

  flush(): void {}

  async copyTo(path: string, moment: () => void): Promise<void> {
    moment()
    await this.#database.backup(path)
  }

  async close(): Promise<void> {
    this.#database.close()
  }
}
