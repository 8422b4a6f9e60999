// Files that are written here. Programs write them through the kernel without asking, so what was written is found out
// by looking at the file's length and mtime.
import { FsError } from '../../posix/errors.ts'
import { type CachedFile, type FileRecord, type Stamp, sameStamp } from './files.ts'
import { type CacheParts, change, evict, look, openFile, requireFile, roundedBytes, takeStamp } from './parts.ts'

/** What a store has made of a file. */
export interface StoredVersion {
  /** The data version that the server has given it. */
  readonly version: number
  readonly status: unknown
  /** What `stampOf` said before the content was read for the store. */
  readonly stamp: Stamp
  /** CRC-32 (zlib.crc32) of what was stored, if it was taken on the way: saves reading the file once more. */
  readonly checksum?: number | undefined
  /** Programs go on writing it: it stays dirty until `cleanIfUnchanged`, although nothing is changed yet. */
  readonly stillWritten?: boolean
}

/** When this returns, the file is on record as dirty with `note`. If it throws, the file must not be written. */
export function markDirty(parts: CacheParts, cached: CachedFile, note: unknown): void {
  const file = requireFile(parts, cached)
  const { ledger, index } = parts
  const before = { state: file.state, note: file.note }
  if (before.state === 'dirty' && note === undefined) return
  change(parts, file, () => {
    ledger.dirty(file, note ?? before.note)
    return []
  })
  try {
    index.flush()
  } catch (error) {
    file.note = before.note
    if (before.state === 'whole') change(parts, file, () => ledger.undirty(file))
    throw error
  }
}

/** The file as it is now; any later write is seen as a difference from this. */
export function stampOf(parts: CacheParts, cached: CachedFile): Stamp {
  return looking(parts, requireFile(parts, cached), takeStamp)
}

/** Whether the file is not what it was when it last was whole. */
export function isChanged(parts: CacheParts, cached: CachedFile): boolean {
  const file = requireFile(parts, cached)
  return !sameStamp(looking(parts, file, look), file.stamp)
}

/** Makes a dirty file clean that was not written after all; false if it was. */
export function cleanIfUnchanged(parts: CacheParts, cached: CachedFile): boolean {
  const file = requireFile(parts, cached)
  if (file.state !== 'dirty') return true
  if (!sameStamp(looking(parts, file, look), file.stamp)) return false
  change(parts, file, () => parts.ledger.undirty(file))
  return true
}

/**
 * The server has what the file was at `stamp`. Returns whether that is all there is: false, it was written again since
 * then, or may be, and is still dirty. It is current again if something else had become so.
 */
export function stored(parts: CacheParts, cached: CachedFile, { stamp, ...rest }: StoredVersion): boolean {
  const file = requireFile(parts, cached)
  if (file.state !== 'dirty') throw new FsError('EINVAL', 'the file was not dirty')
  const changedSince = !sameStamp(looking(parts, file, look), stamp)
  const { version, status = null, checksum, stillWritten = false } = rest
  change(parts, file, () => parts.ledger.stored(file, { version, status, stamp, checksum, changedSince, stillWritten }))
  // If it does not get there, a restart finds the file still to be stored, which the mode has to be able to tell.
  parts.index.flushInBackground()
  return !changedSince && !stillWritten
}

/** Makes room for a file to grow to `bytes`. Throws ENOSPC, and evicts nothing, if there cannot be so much. */
export function reserve(parts: CacheParts, cached: CachedFile, bytes: number): void {
  evict(parts, parts.ledger.grow(requireFile(parts, cached), roundedBytes(bytes)))
}

/** Resolves when the file's bytes and its row survive loss of power. */
export async function sync(parts: CacheParts, cached: CachedFile, syncDirectory: () => Promise<void>): Promise<void> {
  const file = requireFile(parts, cached)
  const opened = openFile(parts, file)
  try {
    const stamp = takeStamp(parts, file)
    // The mtime, too: a restart goes by it.
    await parts.disk.sync(opened.fd, false)
    await syncDirectory()
    file.synced = stamp
    if (parts.ledger.file(file.number)) parts.index.save(file)
  } finally {
    opened.release()
  }
  await parts.index.sync()
}

function looking(parts: CacheParts, file: FileRecord, how: typeof look): Stamp {
  const opened = openFile(parts, file)
  try {
    const stamp = how(parts, file)
    // What was written without asking may have made it too much.
    evict(parts, parts.ledger.shrink())
    return stamp
  } finally {
    opened.release()
  }
}
