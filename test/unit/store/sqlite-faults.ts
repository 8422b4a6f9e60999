// Makes calls of SQLite fail, as a disk that is full or broken does: at a BEGIN, a COMMIT or a statement, and with or
// without the end of the transaction, which is SQLite's choice.
import SqliteDatabase from 'better-sqlite3'

type Method = (this: SqliteDatabase.Database & SqliteDatabase.Statement, ...parameters: unknown[]) => unknown

/** `fails` is asked at each call that changes something. Returns how to end it. */
export function failSqlite(fails: () => boolean, rollsBack: () => boolean): () => void {
  const sample = new SqliteDatabase(':memory:')
  const statements = Object.getPrototypeOf(sample.prepare('SELECT 1')) as Record<string, Method>
  sample.close()
  const databases = SqliteDatabase.prototype as unknown as Record<string, Method>
  const exec = databases.exec as Method
  const run = statements.run as Method
  const failure = (database: SqliteDatabase.Database) => {
    if (rollsBack() && database.inTransaction) exec.call(database as never, 'ROLLBACK')
    return new SqliteDatabase.SqliteError('injected', 'SQLITE_FULL')
  }
  databases.exec = function (sql) {
    if ((sql === 'COMMIT' || sql === 'BEGIN IMMEDIATE') && fails()) throw failure(this)
    return exec.call(this, sql)
  }
  statements.run = function (...parameters) {
    if (fails()) throw failure(this.database)
    return run.apply(this, parameters)
  }
  return () => {
    databases.exec = exec
    statements.run = run
  }
}
