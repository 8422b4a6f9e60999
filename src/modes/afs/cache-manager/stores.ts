// Stores: at close(2) and fsync(2) the server gets the whole of a file that programs of this mount have changed. The file
// there is the old one or the new one, whatever dies; here it stays until it is stored or given up.
import zlib from 'node:zlib'
import { BufferPool } from '../../../host/buffer-pool.ts'
import { hostDisk } from '../../../host/disk.ts'
import { FsError } from '../../../posix/errors.ts'
import { cacheChannel, traceTime } from '../../../trace/trace.ts'
import type { CachedFile } from '../../../vfs/whole-files/files.ts'
import { AFS } from '../protocol.ts'
import type { Who } from '../records.ts'
import type { Cell } from './cells.ts'
import { type StoredAlso, storedChanges } from './changes.ts'
import { type Content, sizeOf } from './contents.ts'
import type { Caller } from './file-server.ts'
import type { CacheManager } from './manager.ts'
import { type Note, noteClosed } from './notes.ts'
import { statOf } from './stat.ts'
import type { Transfer } from './transfers.ts'
import type { UnstoredFile } from './unstored.ts'
import type { Node, Vnode } from './vnodes.ts'

const { StoreData } = AFS.procedures
const PIECE_BYTES = 256 * 1024
/** What is shorter is read at once, and goes along with the call. */
const SHORT_BYTES = 64 * 1024
/** How often a file is stored again that is written while it is stored. */
const TRIES = 4

export interface StoreOptions {
  readonly who: Who
  /** It survives loss of power when the server has answered. */
  readonly durable: boolean
}

/** Stores what was changed of an open file. Fails with FsError, and then the file is as it was there, and changed here. */
export async function store(
  cm: CacheManager,
  { vnode, content }: Node,
  caller: Caller,
  options: StoreOptions,
): Promise<void> {
  for (let tries = 0; content !== undefined && tries < TRIES; tries++) {
    if (content.storing !== undefined) {
      await content.storing.catch(() => {})
      continue
    }
    if (!content.isChanged()) return
    // Nobody has to hear of it any more.
    if (vnode.removedHere) return
    const storing = storeContent(cm, vnode, content, caller, options)
    content.storing = storing
    try {
      await storing
    } finally {
      content.storing = undefined
    }
  }
}

async function storeContent(
  cm: CacheManager,
  vnode: Vnode,
  content: Content,
  caller: Caller,
  options: StoreOptions,
): Promise<void> {
  const { pending, losesSetId } = content
  content.pending = {}
  content.losesSetId = false
  try {
    // A short one is there at once, or its close has not returned: whoever waited for it may look.
    if (sizeOf(content) > SHORT_BYTES) noteClosed(cm.cache, content.file, true)
    await storeFile(cm, vnode, content.file, caller, {
      ...options,
      fd: content.opened.fd,
      also: { pending, losesSetId },
      stillWritten: () => content.writers > 0,
    })
    if (content.file.state === 'dirty') noteClosed(cm.cache, content.file, false)
    content.isNew = false
    content.stores++
    content.failure = undefined
    cm.unstored.delete(content.file)
  } catch (error) {
    content.failure = FsError.from(error)
    content.pending = { ...pending, ...content.pending }
    content.losesSetId ||= losesSetId
    throw error
  }
}

interface FileStore extends StoreOptions {
  readonly fd: number
  readonly also: StoredAlso
  stillWritten(): boolean
}

async function storeFile(
  cm: CacheManager,
  vnode: Vnode,
  file: CachedFile,
  caller: Caller,
  { who, durable, fd, also, stillWritten }: FileStore,
): Promise<void> {
  const { volume, fid } = vnode
  // Before the stamp, which moves it.
  const { mtime } = statOf(fd)
  const stamp = cm.cache.stampOf(file)
  const base = file.version
  const transfer = cm.transfers.begin('store', vnode.key, stamp.size)
  let ok = false
  const checksum = { value: 0 }
  let sent = 0
  const bytes = () => {
    sent++
    const { size } = stamp
    return size <= SHORT_BYTES ? shortBytes(fd, size, checksum) : () => manyBytes(fd, size, checksum, transfer)
  }
  const args = { who, fid, length: stamp.size, durable, changes: storedChanges(vnode, also, who, mtime) }
  try {
    await cm.change(
      [vnode],
      () => cm.cells.send(volume, StoreData, args, caller, () => ({ bytes: bytes(), length: stamp.size, left })),
      ({ file: known, previousVersion }, asked) => {
        cm.learn(volume, known, asked, true)
        const version = known.status.dataVersion
        const now = { stamp, checksum: checksum.value, stillWritten: stillWritten() }
        cm.cache.stored(file, { version, status: null, ...now })
        // What was sent again may have found our own store there.
        if (previousVersion !== base && (sent === 1 || previousVersion !== base + 1))
          overwrote(cm, vnode, { base, previousVersion })
      },
    )
    ok = true
    transfer.done = stamp.size
  } catch (error) {
    if (FsError.from(error).code === 'ESTALE') cm.gone(vnode)
    throw error
  } finally {
    cm.transfers.end(transfer, ok)
  }
}

/** Last close wins; the loser is not told, but it is counted here. */
function overwrote(cm: CacheManager, { node, key }: Vnode, versions: { base: number; previousVersion: number }): void {
  cm.overwritten++
  if (!cacheChannel.hasSubscribers) return
  const detail = `${key}: a store took the place of version ${versions.previousVersion}, made from ${versions.base}`
  cacheChannel.publish({ time: traceTime(), op: 'conflict', cache: 'data', node: node?.id ?? 0, bytes: 0, detail })
}

const pieces = new BufferPool({ bytes: PIECE_BYTES, spare: 16 })
const left = (piece: Buffer): void => pieces.give(piece)

/** The bytes of a cached file, and their checksum. */
function shortBytes(fd: number, length: number, checksum: { value: number }): Buffer {
  const bytes = Buffer.allocUnsafe(length)
  if (hostDisk.read(fd, bytes, 0) < length) throw shrunk()
  checksum.value = zlib.crc32(bytes)
  return bytes
}

async function* manyBytes(fd: number, length: number, checksum: { value: number }, transfer: Transfer) {
  checksum.value = 0
  for (let at = 0; at < length; ) {
    const piece = pieces.take(PIECE_BYTES).subarray(0, Math.min(PIECE_BYTES, length - at))
    const count = hostDisk.readCached(fd, piece, at)
    if (
      count < piece.length &&
      (await hostDisk.readLater(fd, piece.subarray(count), at + count)) < piece.length - count
    ) {
      throw shrunk()
    }
    checksum.value = zlib.crc32(piece, checksum.value)
    at += piece.length
    transfer.done = at
    yield piece
  }
}

const shrunk = () => new FsError('EAGAIN', 'the file was truncated while it was stored')

/**
 * Stores what was left unstored, also by an earlier process, if nobody else has stored since: whoever closed the file heard
 * of the failure, and may have gone other ways since.
 */
export async function storeLeftBehind(cm: CacheManager): Promise<void> {
  for (const left of [...cm.unstored]) {
    // Of a cell that this mount does not know yet it may hear later.
    if (!left.retry || cellOf(cm, left) === undefined || left.file.opens > 0) continue
    await storeAgain(cm, left).catch(() => {})
  }
}

const cellOf = (cm: CacheManager, { note }: UnstoredFile): Cell | undefined =>
  [...cm.cells].find(({ name }) => name === note?.cell)

/** One of them. Fails with FsError, and it is noted why. EBUSY: somebody else does it. */
export async function storeAgain(cm: CacheManager, left: UnstoredFile): Promise<void> {
  const { file, note } = left
  if (file.opens > 0) throw new FsError('EBUSY', `${file.key} is open, or being stored`)
  const cell = cellOf(cm, left)
  if (note === undefined || cell === undefined) throw new FsError('ENODEV', left.why)
  // Open from here on: whoever comes meanwhile leaves it alone.
  const opened = cm.cache.openDirty(file)
  if (opened === 'damaged') {
    left.why = 'damaged'
    left.retry = false
    throw new FsError('EIO', `${file.key} is damaged`)
  }
  try {
    await finish(cm, { cell, file, note, fd: opened.fd })
    cm.unstored.delete(file)
  } catch (error) {
    const { code, message } = FsError.from(error)
    left.why = message
    left.retry = PASSING.has(code)
    throw error
  } finally {
    opened.release()
  }
}

const NOTHING_ELSE: StoredAlso = { pending: {}, losesSetId: false }
const PASSING: ReadonlySet<string> = new Set(['ETIMEDOUT', 'ENOTCONN', 'ECONNRESET', 'EINTR', 'EAGAIN'])

/** It may be tried again when the server is heard of. */
const isPassing = (error: unknown): boolean => PASSING.has(FsError.from(error).code)

async function finish(
  cm: CacheManager,
  { cell, file, note, fd }: { cell: Cell; file: CachedFile; note: Note; fd: number },
): Promise<void> {
  if (cm.cache.cleanIfUnchanged(file)) return
  const caller: Caller = { who: cm.self }
  const volume = await cm.cells.volume(cell, note.fid.volume, { readOnly: false }, caller)
  const vnode = cm.vnode(volume, note.fid)
  await cm.fetchStatus(vnode, caller)
  const { status } = vnode
  if (status?.dataVersion !== file.version) {
    throw new FsError('ESTALE', `others have stored version ${status?.dataVersion} since ${file.version}`)
  }
  const how = { who: note.who, durable: false, fd, also: NOTHING_ELSE, stillWritten: () => false }
  await storeFile(cm, vnode, file, caller, how)
}

/** After a close: nobody hears of a failure any more. */
export async function storeAtLast(cm: CacheManager, node: Node, who: Who): Promise<void> {
  try {
    await store(cm, node, { who }, { who, durable: false })
  } catch (error) {
    cm.onError(new Error(`${node.vnode.key} was not stored at its last close`, { cause: error }))
  }
}

/** What stays changed after the last close is noted. */
export function keep(cm: CacheManager, { vnode }: Node, { file, failure }: Content): void {
  if (file.state !== 'dirty' || cm.cache.cleanIfUnchanged(file)) return
  if (vnode.removedHere) {
    cm.cache.discard(file)
    return
  }
  noteClosed(cm.cache, file, true)
  cm.unstored.add(file, failure?.message ?? 'the mount ended', failure === undefined || isPassing(failure))
}
