// Writes clones as dumps: all that they hold, or what differs from an earlier clone of the same volume.
import { constants, read } from 'node:fs'
import { promisify } from 'node:util'
import type { Disk } from '../host/disk.ts'
import { FsError } from '../posix/errors.ts'
import { isRegular } from '../posix/mode.ts'
import { contentPath } from './content-files.ts'
import { DATA_MAX_BYTES, DUMP_MAGIC, DUMP_VERSION, type DumpRecord, DumpWriter } from './dump-records.ts'
import type { InodeRow } from './inode.ts'
import { INODE_LIMIT } from './inodes.ts'
import { CONTENT, ID, NAME_SEED, ORIGIN } from './layout.ts'
import type { MetadataView } from './metadata.ts'
import type { Parts } from './parts.ts'

const SEEK_DATA = 3
const SEEK_HOLE = 4
const PIECE_BYTES = Math.min(256 << 10, DATA_MAX_BYTES)
/** Small records are sent together. */
const CHUNK_BYTES = 64 << 10
const PAGE = 256

const readAt = promisify(read)

export interface Dumped {
  readonly parts: Parts
  readonly directory: string
}

interface EntryRow {
  readonly parent: number
  readonly cookie: number
  readonly name: string
  readonly ino: number
  readonly type: number
}

/** The bytes of a dump (dump-records.ts). Reads on only as fast as they are taken. */
export async function* dump(clone: Dumped, base: Dumped | undefined): AsyncGenerator<Buffer> {
  const writer = new DumpWriter()
  let gathered: Buffer[] = []
  let bytes = 0
  for await (const record of records(clone, base)) {
    for (const chunk of writer.frame(record)) {
      gathered.push(chunk)
      bytes += chunk.length
    }
    if (bytes < CHUNK_BYTES) continue
    yield* taken()
  }
  gathered.push(...writer.frame({ type: 'END', records: writer.records }))
  yield* taken()

  function* taken(): Generator<Buffer> {
    const chunks = gathered
    gathered = []
    const large = bytes / chunks.length > 16 << 10
    bytes = 0
    if (large) yield* chunks
    else yield Buffer.concat(chunks)
  }
}

async function* records(clone: Dumped, base: Dumped | undefined): AsyncGenerator<DumpRecord> {
  const { metadata, usage } = clone.parts
  const origin = String(metadata.meta(ORIGIN))
  if (base && String(base.parts.metadata.meta(ORIGIN)) !== origin) {
    throw new FsError('EINVAL', 'the earlier clone is not one of the same volume')
  }
  yield {
    type: 'HEADER',
    magic: DUMP_MAGIC,
    version: DUMP_VERSION,
    volume: origin,
    snapshot: String(metadata.meta(ID)),
    base: base && String(base.parts.metadata.meta(ID)),
    nameSeed: Number(metadata.meta(NAME_SEED)),
    inodeLimit: Number(metadata.meta(INODE_LIMIT)),
    quotaBytes: usage.quota.bytes,
    quotaInodes: usage.quota.inodes,
  }
  const before = base?.parts.metadata
  for (const [now, then] of pairs(inodesOf(metadata), before && inodesOf(before), compareInodes)) {
    if (!now) yield { type: 'NO_INODE', ino: (then as InodeRow).ino }
    else if (!then || !sameInode(now, then)) yield* inodeRecords(clone, now, then)
  }
  for (const [now, then] of pairs(entriesOf(metadata), before && entriesOf(before), compareEntries)) {
    if (now) {
      const { parent, cookie, name, ino, type } = now
      if (then?.ino === ino && then.name === name && then.type === type) continue
      yield { type: 'ENTRY', parent, cookie, name, ino, kind: type }
    } else if (then) yield { type: 'NO_ENTRY', parent: then.parent, cookie: then.cookie }
  }
}

async function* inodeRecords(clone: Dumped, row: InodeRow, then: InodeRow | undefined): AsyncGenerator<DumpRecord> {
  const content = isRegular(row.mode) && !(then && sameContent(row, then))
  yield {
    type: 'INODE',
    ino: row.ino,
    generation: row.generation,
    mode: row.mode,
    uid: row.uid,
    gid: row.gid,
    nlink: row.nlink,
    rdev: row.rdev,
    size: row.size,
    blocks: row.blocks,
    atime: { sec: row.atime_s, nsec: row.atime_ns },
    mtime: { sec: row.mtime_s, nsec: row.mtime_ns },
    ctime: { sec: row.ctime_s, nsec: row.ctime_ns },
    btime: { sec: row.btime_s, nsec: row.btime_ns },
    parent: row.parent,
    change: row.change,
    dataVersion: row.data_version,
    content,
    target: row.target ?? undefined,
  }
  if (row.xattrs > 0) {
    for (const { name, value } of clone.parts.xattrs.all.iterate(row.ino)) {
      yield { type: 'XATTR', name, value: Buffer.from(value) }
    }
  }
  if (content && row.size > 0) yield* dataRecords(clone, row)
}

async function* dataRecords({ parts: { disk }, directory }: Dumped, row: InodeRow): AsyncGenerator<DumpRecord> {
  const path = `${directory}/${CONTENT}/${contentPath(row.content)}`
  const fd = disk.open(path, constants.O_RDONLY | constants.O_NOATIME)
  try {
    if (row.size <= PIECE_BYTES) {
      yield { type: 'DATA', offset: 0, bytes: await readWhole(disk, fd, { offset: 0, length: row.size }) }
      return
    }
    for (let at = 0; at < row.size; ) {
      const start = nextData(() => disk.seek(fd, at, SEEK_DATA))
      if (start === undefined) return
      const end = Math.min(row.size, disk.seek(fd, start, SEEK_HOLE))
      for (at = start; at < end; ) {
        const length = Math.min(PIECE_BYTES, end - at)
        yield { type: 'DATA', offset: at, bytes: await readWhole(disk, fd, { offset: at, length }) }
        at += length
      }
    }
  } finally {
    disk.close(fd)
  }
}

/** What is in memory at once, the rest from another thread. */
async function readWhole(disk: Disk, fd: number, range: { offset: number; length: number }): Promise<Buffer> {
  const { offset, length } = range
  const bytes = Buffer.allocUnsafe(length)
  for (let done = disk.readCached(fd, bytes, offset); done < length; ) {
    const { bytesRead } = await readAt(fd, bytes, done, length - done, offset + done)
    if (bytesRead === 0) throw new FsError('EIO', 'content of a clone is shorter than it was')
    done += bytesRead
  }
  return bytes
}

function nextData(seek: () => number): number | undefined {
  try {
    return seek()
  } catch (error) {
    if (FsError.from(error).code === 'ENXIO') return undefined
    throw error
  }
}

/** Content that has the same version is the same; size and time are looked at because a crash can leave versions behind. */
const sameContent = (a: InodeRow, b: InodeRow): boolean =>
  a.generation === b.generation &&
  a.data_version === b.data_version &&
  a.size === b.size &&
  a.mtime_s === b.mtime_s &&
  a.mtime_ns === b.mtime_ns

function sameInode(a: InodeRow, b: InodeRow): boolean {
  for (const key of Object.keys(a) as (keyof InodeRow)[]) if (a[key] !== b[key] && key !== 'content') return false
  return true
}

function* inodesOf(metadata: MetadataView): Generator<InodeRow> {
  const page = metadata.query<InodeRow>(`SELECT * FROM inode WHERE ino > ? ORDER BY ino LIMIT ${PAGE}`)
  for (let after = 0; ; ) {
    const rows = page.all(after)
    yield* rows
    if (rows.length < PAGE) return
    after = (rows[PAGE - 1] as InodeRow).ino
  }
}

function* entriesOf(metadata: MetadataView): Generator<EntryRow> {
  const page = metadata.query<EntryRow>(
    `SELECT parent, cookie, name, ino, type FROM dirent WHERE (parent, cookie) > (?, ?)
     ORDER BY parent, cookie LIMIT ${PAGE}`,
  )
  for (let after = [0, 0]; ; ) {
    const rows = page.all(...after)
    yield* rows
    if (rows.length < PAGE) return
    const { parent, cookie } = rows[PAGE - 1] as EntryRow
    after = [parent, cookie]
  }
}

const compareInodes = (a: InodeRow, b: InodeRow): number => a.ino - b.ino
const compareEntries = (a: EntryRow, b: EntryRow): number => a.parent - b.parent || a.cookie - b.cookie

/** What two sorted sequences have, side by side. */
function* pairs<T>(
  now: Iterator<T>,
  then: Iterator<T> | undefined,
  compare: (a: T, b: T) => number,
): Generator<[T | undefined, T | undefined]> {
  let a = now.next()
  let b = then?.next()
  while (!a.done || (b && !b.done)) {
    const order = a.done ? 1 : !b || b.done ? -1 : compare(a.value, b.value)
    yield [order <= 0 ? (a.value as T) : undefined, order >= 0 ? (b?.value as T) : undefined]
    if (order <= 0) a = now.next()
    if (order >= 0) b = then?.next()
  }
}
