// Makes volumes from dumps. Nothing that comes in is believed: each record is checked by itself when it comes
// (restored-inodes.ts), and all of them together at the end (restore-check.ts). The volume is made under another name and
// renamed when it is whole and durable (`makeVolumeDirectory`).
import { constants } from 'node:fs'
import SqliteDatabase from 'better-sqlite3'
import { type Disk, hostDisk, STAT, UTIME_OMIT } from '../host/disk.ts'
import type { Timespec } from '../posix/attributes.ts'
import { FsError, withFsErrors } from '../posix/errors.ts'
import { S_IFMT, S_IFREG } from '../posix/mode.ts'
import { makeVolumeDirectory } from './clone.ts'
import { contentPath, makeContentDirectories } from './content-files.ts'
import { DUMP_MAGIC, DUMP_VERSION, DumpError, dumpRecords, type RecordOf } from './dump-records.ts'
import { INODE_LIMIT } from './inodes.ts'
import { CLEAN, CONTENT, DATABASE, ID, NAME_SEED, QUOTA_BYTES, QUOTA_INODES, RESTORED, SHARED_BELOW } from './layout.ts'
import { type NameHash, nameHash } from './names.ts'
import { checkRestored } from './restore-check.ts'
import { RestoredInodes } from './restored-inodes.ts'
import { FORMAT, SCHEMA, SET_META, STATEMENTS, UNFINISHED } from './schema.ts'

/** Records after which what was executed is committed, so that SQLite's memory stays bounded. */
const BATCH = 5000
const SLICE = 256
/** Above it counters and numbers could not grow any more. */
const INODE_LIMIT_MAX = 2 ** 52

export interface RestoreOptions {
  readonly base?: string
  readonly disk?: Disk
  readonly nameHash?: NameHash
}

export interface RestoreReport {
  /** The volume's id, and that of the clone that was dumped. */
  readonly id: string
  readonly snapshot: string
  /** Records that came, and bytes of content in them. */
  readonly records: number
  readonly bytes: number
}

type Header = RecordOf<'HEADER'>

export async function restore(
  directory: string,
  source: AsyncIterable<Uint8Array>,
  options: RestoreOptions,
): Promise<RestoreReport> {
  const disk = withFsErrors(options.disk ?? hostDisk)
  return await makeVolumeDirectory(disk, directory, async (partial) => {
    makeContentDirectories(disk, `${partial}/${CONTENT}`)
    const { base } = options
    const database = base === undefined ? emptyDatabase(partial) : await copyOfBase(base, partial)
    try {
      database.pragma('synchronous = OFF')
      const report = await fill(database, source, { disk, to: partial, base, hash: options.nameHash ?? nameHash })
      database.pragma(`user_version = ${FORMAT}`)
      return report
    } finally {
      database.close()
    }
  })
}

function emptyDatabase(directory: string): SqliteDatabase.Database {
  const database = new SqliteDatabase(`${directory}/${DATABASE}`)
  database.exec(`PRAGMA user_version = ${UNFINISHED}; BEGIN; ${SCHEMA} COMMIT`)
  return database
}

/** Nobody may change it meanwhile: whoever has it open keeps us out, and we keep out who wants to. */
async function copyOfBase(base: string, directory: string): Promise<SqliteDatabase.Database> {
  const path = `${directory}/${DATABASE}`
  const from = new SqliteDatabase(`${base}/${DATABASE}`, { readonly: true, fileMustExist: true, timeout: 0 })
  try {
    if (from.pragma('user_version', { simple: true }) !== FORMAT)
      throw new DumpError(`${base} is not a restored volume`)
    await from.backup(path)
  } finally {
    from.close()
  }
  const database = new SqliteDatabase(path)
  database.pragma(`user_version = ${UNFINISHED}`)
  return database
}

interface ContentRow {
  readonly ino: number
  readonly size: number
  readonly atime_s: number
  readonly atime_ns: number
  readonly mtime_s: number
  readonly mtime_ns: number
}

interface Target {
  readonly disk: Disk
  readonly to: string
  readonly base: string | undefined
  readonly hash: NameHash
}

async function fill(
  database: SqliteDatabase.Database,
  source: AsyncIterable<Uint8Array>,
  target: Target,
): Promise<RestoreReport> {
  let header: Header | undefined
  let inodes: RestoredInodes | undefined
  let records = 0
  database.exec('BEGIN')
  try {
    for await (const record of dumpRecords(source)) {
      records++
      if (record.type === 'HEADER') {
        if (header) throw new DumpError('a second header')
        header = record
        checkHeader(record, database, target)
        const { nameSeed, inodeLimit } = record
        const { disk, hash, base, to } = target
        const content = `${to}/${CONTENT}`
        inodes = new RestoredInodes({ database, disk, content, nameSeed, inodeLimit, hash, full: base === undefined })
      } else if (inodes) inodes.take(record)
      else throw new DumpError('not a dump')
      if (records % BATCH === 0) database.exec('COMMIT; BEGIN')
    }
    if (!header || !inodes) throw new DumpError('a dump of nothing')
    inodes.end()
    checkRestored(database)
    await completeContent(database, target)
    setMeta(database, header)
    database.exec('COMMIT')
    return { id: header.volume, snapshot: header.snapshot, records, bytes: inodes.bytes }
  } catch (error) {
    if (!(error instanceof SqliteDatabase.SqliteError)) throw error
    if (error.code.startsWith('SQLITE_CONSTRAINT'))
      throw new DumpError('the dump says something twice', { cause: error })
    throw new FsError(error.code.startsWith('SQLITE_FULL') ? 'ENOSPC' : 'EIO', error.message, { cause: error })
  } finally {
    inodes?.abandon()
  }
}

function checkHeader(header: Header, database: SqliteDatabase.Database, { base }: Target): void {
  if (header.magic !== DUMP_MAGIC) throw new DumpError('not a dump')
  if (header.version !== DUMP_VERSION) throw new DumpError(`a dump of version ${header.version}, not ${DUMP_VERSION}`)
  const isId = (id: string) => /^[0-9a-f]{32}$/.test(id)
  if (!isId(header.volume) || !isId(header.snapshot)) throw new DumpError('ids that are none')
  if (header.inodeLimit > INODE_LIMIT_MAX) throw new DumpError('inode numbers that are too large')
  if (base === undefined) {
    if (header.base !== undefined) throw new DumpError('only what changed: it needs the volume restored before')
    return
  }
  const meta = (key: string) => database.prepare('SELECT value FROM meta WHERE key = ?').pluck().get(key)
  if (header.base === undefined) throw new DumpError('the whole of a volume, and not what changed')
  if (header.base !== meta(RESTORED) || header.volume !== meta(ID) || header.nameSeed !== meta(NAME_SEED)) {
    throw new DumpError('what changed since another moment, or the volume was opened since it was restored')
  }
}

/** What did not come is that of the base. Every file must be as long as its inode says. */
async function completeContent(database: SqliteDatabase.Database, { disk, to, base }: Target): Promise<void> {
  const page = database.prepare<[number], ContentRow>(
    `SELECT ino, size, atime_s, atime_ns, mtime_s, mtime_ns FROM inode WHERE ino > ? AND mode & ${S_IFMT} = ${S_IFREG}
     ORDER BY ino LIMIT ${SLICE}`,
  )
  const stat = new Float64Array(STAT.length)
  for (let after = 0; ; ) {
    const rows = page.all(after)
    for (const { ino, size, atime_s, atime_ns, mtime_s, mtime_ns } of rows) {
      const path = `${to}/${CONTENT}/${contentPath(ino)}`
      if (base !== undefined) linkUnlessThere(disk, `${base}/${CONTENT}/${contentPath(ino)}`, path)
      statContent(disk, path, stat)
      const isAsSaid = stat[STAT.size] === size && stat[STAT.mtimeSec] === mtime_s && stat[STAT.mtimeNsec] === mtime_ns
      if (!isAsSaid) throw new DumpError(`the content of inode ${ino} is not there as its inode says`)
      // Not part of what a file says of its content: it may have changed alone.
      const wasRead = stat[STAT.atimeSec] !== atime_s || stat[STAT.atimeNsec] !== atime_ns
      if (wasRead) setReadTime(disk, path, { sec: atime_s, nsec: atime_ns })
      after = ino
    }
    if (rows.length < SLICE) return
    await new Promise((resolve) => setImmediate(resolve))
  }
}

function setReadTime(disk: Disk, path: string, { sec, nsec }: Timespec): void {
  const fd = disk.open(path, constants.O_RDONLY)
  try {
    disk.utimens(fd, sec, nsec, 0, UTIME_OMIT)
  } finally {
    disk.close(fd)
  }
}

function linkUnlessThere(disk: Disk, from: string, to: string): void {
  try {
    disk.link(from, to)
  } catch (error) {
    // Not in the base: it came, or is found missing.
    const { code } = FsError.from(error)
    if (code !== 'EEXIST' && code !== 'ENOENT') throw error
  }
}

function statContent(disk: Disk, path: string, stat: Float64Array): void {
  try {
    disk.statPath(path, stat)
  } catch (error) {
    if (FsError.from(error).code !== 'ENOENT') throw error
    throw new DumpError('content that neither came nor was there before', { cause: error })
  }
}

function setMeta(database: SqliteDatabase.Database, header: Header): void {
  const set = database.prepare(STATEMENTS[SET_META] as string)
  set.run(ID, header.volume)
  set.run(NAME_SEED, header.nameSeed)
  set.run(INODE_LIMIT, header.inodeLimit)
  set.run(SHARED_BELOW, header.inodeLimit)
  set.run(QUOTA_BYTES, header.quotaBytes ?? null)
  set.run(QUOTA_INODES, header.quotaInodes ?? null)
  set.run(CLEAN, 1)
  set.run(RESTORED, header.snapshot)
}
