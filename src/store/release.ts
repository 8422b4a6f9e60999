// Clones that take one another's place. Whoever opens the name gets the newest; who has an older one open keeps it. The
// name is a symbolic link, which rename(2) replaces at once. Older clones are removed when nobody has them open.
import fs from 'node:fs'
import { basename, dirname } from 'node:path'
import SqliteDatabase from 'better-sqlite3'
import { type Disk, syncDirectory } from '../host/disk.ts'
import { FsError } from '../posix/errors.ts'
import { DATABASE } from './layout.ts'

const NEXT = '.next'
/** What `clone` appends to the name. */
const SUFFIX = /^\.[0-9a-f]{12}(\.partial)?$/

/** Makes `name` lead to the clone `target`, a directory beside it, and removes older ones that are not in use. */
export async function pointTo(disk: Disk, name: string, target: string): Promise<void> {
  requireReplaceable(name)
  fs.rmSync(name + NEXT, { force: true })
  fs.symlinkSync(basename(target), name + NEXT)
  disk.rename(name + NEXT, name)
  await syncDirectory(disk, dirname(name))
  await removeReplaced(name)
}

/** Throws EEXIST unless there is nothing called so, or a link that leads to a clone. */
export function requireReplaceable(name: string): void {
  const there = fs.lstatSync(name, { throwIfNoEntry: false })
  if (there && !there.isSymbolicLink()) throw new FsError('EEXIST', `${name} is not a clone that can be replaced`)
}

/** Removes what `name` led to before, unless somebody has it open. */
export async function removeReplaced(name: string): Promise<void> {
  const parent = dirname(name)
  const current = fs.readlinkSync(name)
  for (const entry of fs.readdirSync(parent)) {
    if (!entry.startsWith(basename(name)) || entry === current) continue
    if (!SUFFIX.test(entry.slice(basename(name).length))) continue
    const path = `${parent}/${entry}`
    if (!removeDatabase(`${path}/${DATABASE}`)) continue
    await fs.promises.rm(path, { recursive: true, force: true })
  }
}

/**
 * Removes the database of a clone that nobody has open: whoever has holds a shared lock on it. Who comes too late finds no
 * database, and looks where the name leads by now. False: it is in use.
 */
function removeDatabase(path: string): boolean {
  let database: SqliteDatabase.Database
  try {
    database = new SqliteDatabase(path, { fileMustExist: true, timeout: 0 })
  } catch {
    return true
  }
  try {
    database.exec('BEGIN EXCLUSIVE')
    fs.rmSync(path)
    database.exec('ROLLBACK')
    return true
  } catch (error) {
    if (error instanceof SqliteDatabase.SqliteError && error.code.startsWith('SQLITE_BUSY')) return false
    throw error
  } finally {
    database.close()
  }
}
