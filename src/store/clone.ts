// Clones: read-only snapshots of a volume, each a volume's directory of its own.
//
// A clone has a copy of the database and hard links to the content files; the volume copies a content file that has
// other names before it changes it (content-files.ts). What the clone shows is of one moment, in which the rows of the
// database are brought up to date and committed, and what somebody has open for writing is copied. After that the
// database is copied while commits wait, and content is linked, file by file, or sooner if it is about to change.
//
// It is made under another name, `X.partial`, synced, and renamed: there is no half of a clone, whenever the process is
// killed or power is lost. What is left of one is taken away by the next attempt.
import { randomBytes } from 'node:crypto'
import fs, { existsSync } from 'node:fs'
import { basename, dirname } from 'node:path'
import SqliteDatabase from 'better-sqlite3'
import { type Disk, STAT, syncDirectory } from '../host/disk.ts'
import { FsError } from '../posix/errors.ts'
import { S_IFMT, S_IFREG } from '../posix/mode.ts'
import { CloneContents } from './clone-contents.ts'
import { makeContentDirectories } from './content-files.ts'
import type { Inode } from './inode.ts'
import { RECOVERY_STEP } from './inodes.ts'
import { CLEAN, CLONED_AT, CONTENT, DATABASE, ID, ORIGIN, SHARED_BELOW } from './layout.ts'
import type { Parts } from './parts.ts'
import { pointTo, requireReplaceable } from './release.ts'
import { CLONE_FORMAT, SET_META, STATEMENTS, UNFINISHED } from './schema.ts'

const PARTIAL = '.partial'
/** Content files linked before others have a turn. */
const SLICE = 128
/** Rows brought up to date before others have a turn. */
const SAVED_TOGETHER = 512

export interface CloneOptions {
  /**
   * The clone takes the place of an older one made with `replace`, at once for whoever opens it next. `directory` is a
   * symbolic link then; the older clone goes when nobody has it open any more and the next one is made.
   */
  readonly replace?: boolean
}

export interface CloneReport {
  /** Random, made with the clone. */
  readonly id: string
  /** Regular files, and how many of them could not be shared. */
  readonly files: number
  readonly copied: number
  /** How long the volume did nothing else, in milliseconds. */
  readonly pauseMs: number
}

interface ContentRow {
  readonly ino: number
  readonly content: number
  readonly size: number
  readonly mtime_s: number
  readonly mtime_ns: number
}

/** Makes a clone of the volume in `volumeDirectory`. One at a time. */
export async function clone(
  parts: Parts,
  volumeDirectory: string,
  directory: string,
  options: CloneOptions,
): Promise<CloneReport> {
  const id = randomBytes(16).toString('hex')
  const target = options.replace ? `${directory}.${id.slice(0, 12)}` : directory
  if (options.replace) requireReplaceable(directory)
  const report = await makeVolumeDirectory(parts.disk, target, async (partial) => {
    const filled = await fill(parts, { from: volumeDirectory, to: partial, id })
    // Loss of power must not take the volume back behind its clone.
    await parts.files.syncAll()
    return filled
  })
  if (options.replace) await pointTo(parts.disk, directory, target)
  return report
}

/**
 * Makes a volume's directory of which there is nothing or all: `make` fills `directory.partial`, which is then synced and
 * renamed. What was left there before is removed.
 */
export async function makeVolumeDirectory<T>(
  disk: Disk,
  directory: string,
  make: (partial: string) => Promise<T>,
): Promise<T> {
  if (exists(directory)) throw new FsError('EEXIST', `${directory} exists`)
  const partial = directory + PARTIAL
  await fs.promises.rm(partial, { recursive: true, force: true })
  disk.makeDirectory(partial)
  try {
    const result = await make(partial)
    await disk.syncFileSystem(partial)
    disk.rename(partial, directory)
    try {
      await syncDirectory(disk, dirname(directory))
    } catch (error) {
      fs.renameSync(directory, partial)
      throw error
    }
    return result
  } catch (error) {
    await fs.promises.rm(partial, { recursive: true, force: true }).catch(() => {})
    throw error
  }
}

/** Whether a directory is one that was not made to its end. */
export const isPartial = (directory: string): boolean => basename(directory).endsWith(PARTIAL)

function exists(path: string): boolean {
  return existsSync(path) || fs.lstatSync(path, { throwIfNoEntry: false }) !== undefined
}

async function fill(
  parts: Parts,
  { from, to, id }: { readonly from: string; readonly to: string; readonly id: string },
): Promise<CloneReport> {
  const { disk, clock, metadata, inodes, files } = parts
  const contents = new CloneContents({ disk, from: `${from}/${CONTENT}`, to: `${to}/${CONTENT}` })
  makeContentDirectories(disk, `${to}/${CONTENT}`)
  const save = (inode: Inode) => {
    inodes.refresh(inode)
    inodes.save(inode)
  }
  await saveAhead(parts, save)
  let pauseMs = 0
  try {
    let began = 0
    const copying = metadata.copyTo(`${to}/${DATABASE}`, () => {
      began = clock.now()
      const { limit } = inodes
      if (metadata.meta(SHARED_BELOW) !== limit && !files.readOnly) {
        metadata.run(SET_META, [SHARED_BELOW, limit])
        metadata.commit()
      }
      files.beginClone(contents, limit, save)
      queueMicrotask(() => {
        pauseMs = clock.now() - began
      })
    })
    await copying
    const database = new SqliteDatabase(`${to}/${DATABASE}`)
    try {
      database.pragma('synchronous = OFF')
      database.pragma(`user_version = ${UNFINISHED}`)
      const count = await link(parts, contents, database)
      const set = database.prepare(STATEMENTS[SET_META] as string)
      const origin = metadata.meta(ORIGIN) ?? metadata.meta(ID) ?? null
      set.run(ORIGIN, origin)
      set.run(ID, id)
      set.run(CLONED_AT, Math.floor(clock.now()))
      set.run(CLEAN, 1)
      database.pragma(`user_version = ${CLONE_FORMAT}`)
      database.pragma('wal_checkpoint(TRUNCATE)')
      database.pragma('journal_mode = DELETE')
      return { id, files: count, copied: contents.copied, pauseMs }
    } finally {
      database.close()
    }
  } finally {
    files.endClone()
  }
}

/** Brings most rows up to date a few at a time, so that little of that is left for the moment. */
async function saveAhead({ files, metadata }: Parts, save: (inode: Inode) => void): Promise<void> {
  const open: Inode[] = []
  files.forEachOpen((inode) => open.push(inode))
  for (let at = 0; at < open.length; at += SAVED_TOGETHER) {
    for (const inode of open.slice(at, at + SAVED_TOGETHER)) save(inode)
    metadata.flush()
    await new Promise((resolve) => setImmediate(resolve))
  }
}

/** Gives the clone the content that its database names, and mends rows that were out of date. Returns how much it is. */
async function link(parts: Parts, contents: CloneContents, database: SqliteDatabase.Database): Promise<number> {
  const page = database.prepare<[number], ContentRow>(
    `SELECT ino, content, size, mtime_s, mtime_ns FROM inode
     WHERE ino > ? AND mode & ${S_IFMT} = ${S_IFREG} ORDER BY ino LIMIT ${SLICE}`,
  )
  const mend = rowMender(parts.disk, contents, database)
  const named = new Set<number>()
  for (let after = 0; ; ) {
    const rows = page.all(after)
    for (const row of rows) {
      parts.files.giveToClone(row.ino, row.content)
      mend(row)
      named.add(row.content)
      after = row.ino
    }
    if (rows.length < SLICE) break
    await new Promise((resolve) => setImmediate(resolve))
  }
  // From here on nothing is given any more.
  parts.files.endClone()
  contents.removeUnnamed((content) => named.has(content))
  return named.size
}

/** A crash leaves rows behind that nobody has read since: the content file tells what they should be. */
function rowMender(disk: Disk, contents: CloneContents, database: SqliteDatabase.Database): (row: ContentRow) => void {
  const update = database.prepare(
    `UPDATE inode SET size = ?, blocks = ?, mtime_s = ?, mtime_ns = ?, change = change + ${RECOVERY_STEP},
       data_version = data_version + ${RECOVERY_STEP} WHERE ino = ?`,
  )
  const resize = database.prepare('UPDATE inode SET size = ? WHERE ino = ?')
  const stat = new Float64Array(STAT.length)
  return ({ ino, content, size, mtime_s, mtime_ns }) => {
    disk.statPath(contents.path(content), stat)
    // What was copied while it was written may be longer than it was at the moment.
    if (contents.wasCopied(content)) {
      if (stat[STAT.size] !== size) resize.run(stat[STAT.size], ino)
    } else if (stat[STAT.size] !== size || stat[STAT.mtimeSec] !== mtime_s || stat[STAT.mtimeNsec] !== mtime_ns) {
      update.run(stat[STAT.size], stat[STAT.blocks], stat[STAT.mtimeSec], stat[STAT.mtimeNsec], ino)
    }
  }
}
