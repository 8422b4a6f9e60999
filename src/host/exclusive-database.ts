// A SQLite database that one process at a time has, and the note of which one that is.
import fs from 'node:fs'
import SqliteDatabase from 'better-sqlite3'

/** The database is open in another process, or elsewhere in this one. */
export class DatabaseBusy extends Error {
  override readonly name = 'DatabaseBusy'
}

export interface DatabaseFormat {
  /** What it belongs to, for messages: `the volume`. */
  readonly what: string
  /** SQL that makes the tables of a new database. */
  readonly schema: string
  /** Kept as user_version. */
  readonly format: number
  /** Other formats, and what is wrong with a file that has one, as it follows its path in a message. */
  readonly refused?: ReadonlyMap<number, string>
  /** Settings for this connection, e.g. `synchronous = FULL`. */
  readonly pragmas: readonly string[]
}

/**
 * Opens the database `path` with a write-ahead log, locked until it is closed. Throws `DatabaseBusy` if it is open
 * elsewhere, and an Error of one line if it is of another format.
 */
export function openExclusive(
  path: string,
  { what, schema, format, refused, pragmas }: DatabaseFormat,
): SqliteDatabase.Database {
  const database = new SqliteDatabase(path, { timeout: 0 })
  try {
    const found = database.pragma('user_version', { simple: true })
    const wrong = refused?.get(Number(found))
    if (wrong !== undefined) throw new Error(`${path} ${wrong}`)
    database.pragma('locking_mode = EXCLUSIVE')
    database.pragma('journal_mode = WAL')
    for (const pragma of pragmas) database.pragma(pragma)
    if (found === 0) {
      database.exec(`BEGIN EXCLUSIVE; ${schema} PRAGMA user_version = ${format}; COMMIT`)
    } else if (found !== format) {
      throw new Error(`${what} has format ${found}; this version of proteus reads format ${format}`)
    }
    return database
  } catch (error) {
    database.close()
    if (error instanceof SqliteDatabase.SqliteError && error.code.startsWith('SQLITE_BUSY')) {
      throw new DatabaseBusy(`${path} is in use`, { cause: error })
    }
    throw error
  }
}

/** The same, for a file that people know by its path: an Error of one line if it is open elsewhere. */
export function openAlone(path: string, format: DatabaseFormat): SqliteDatabase.Database {
  try {
    return openExclusive(path, format)
  } catch (error) {
    if (error instanceof DatabaseBusy) throw new Error(`${path} is in use by another process`, { cause: error })
    throw error
  }
}

const ownerPath = (directory: string): string => `${directory}/owner`

/** Notes that this process has what is in `directory`, for whoever finds it locked. */
export function noteOwner(directory: string): void {
  fs.writeFileSync(ownerPath(directory), `${process.pid}\n`)
}

export function forgetOwner(directory: string): void {
  fs.rmSync(ownerPath(directory), { force: true })
}

/** Who has it, for a message: `process 123`. */
export function ownerOf(directory: string): string {
  const path = ownerPath(directory)
  return fs.existsSync(path) ? `process ${fs.readFileSync(path, 'utf8').trim()}` : 'another process'
}
