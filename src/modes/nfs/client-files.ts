// Files: opening, reading, writing and closing them, and their attributes.

import { constants } from 'node:fs'
import type { AttributeChanges } from '../../posix/attributes.ts'
import { FsError } from '../../posix/errors.ts'
import { O_EXCL, O_TRUNC, opensForRead, opensForWrite, S_ISGID, S_ISUID } from '../../posix/mode.ts'
import { chain } from '../../vfs/awaitable.ts'
import type {
  AttributesReply,
  Awaitable,
  CallContext,
  Entry,
  Handle,
  LentBytes,
  NewNode,
  NodeId,
  Opened,
} from '../../vfs/filesystem.ts'
import { begin, making, removeSilly } from './client-names.ts'
import type { ClientState } from './client-state.ts'
import { type Caller, failureOf } from './connection.ts'
import type { ProgramWrite } from './file-writes.ts'
import { covers, overlay } from './kept-ranges.ts'
import { lookAhead } from './look-ahead.ts'
import { NFS3 } from './nfs3.ts'
import type { NfsNode } from './nodes.ts'
import type { FlushDepth } from './write-types.ts'

const { CREATE, READ } = NFS3.procedures

export function getAttributes(state: ClientState, context: CallContext, id: NodeId): Awaitable<AttributesReply> {
  const node = state.nodes.get(id)
  // Size and times follow from writes only on the server: as Linux does, they are sent first.
  const settled = node.writes?.settle(context)
  return settled === undefined
    ? freshReply(state, context, node)
    : chain(settled, () => freshReply(state, context, node))
}

function freshReply(state: ClientState, context: CallContext, node: NfsNode): Awaitable<AttributesReply> {
  const believed = state.caches.attributes.get(node.id) === undefined ? undefined : state.caches.reply(node)
  return believed ?? askedReply(state, context, node)
}

async function askedReply(state: ClientState, context: CallContext, node: NfsNode): Promise<AttributesReply> {
  const parent = node.parent === undefined ? undefined : state.nodes.find(node.parent)
  if (parent !== undefined && (await lookAhead(state, context, parent))) return freshReply(state, context, node)
  await state.revalidate(node, context)
  return state.reply(node, context)
}

export async function setAttributes(
  state: ClientState,
  context: CallContext,
  id: NodeId,
  changes: AttributeChanges,
): Promise<AttributesReply> {
  const node = state.nodes.get(id)
  const { writes } = node
  const { size } = changes
  if (size === undefined) {
    // The bytes that were written first, since they change the times as well.
    await writes?.settleWrites(context)
    await state.setAttributes(node, changes, context)
  } else {
    state.caches.unfinished.drop(id)
    const send = (): Promise<void> => state.setAttributes(node, changes, context)
    await (writes === undefined ? send() : writes.truncate(context, size, send))
  }
  return state.reply(node, context)
}

/**
 * Set-id bits that somebody who writes may not keep: the server takes them by itself, at each WRITE and SETATTR of a size
 * (and whoever writes may not set the mode). What is left is not to believe them any longer.
 */
export function clearSetId(state: ClientState, id: NodeId): Awaitable<AttributesReply> {
  const node = state.nodes.get(id)
  const known = state.caches.reply(node)
  if (known === undefined) throw new FsError('ESTALE')
  if ((known.attributes.mode & (S_ISUID | S_ISGID)) !== 0) state.caches.distrust(node, 'a write may take set-id bits')
  return { ...known, attributesTtlMs: 0 }
}

export function open(state: ClientState, context: CallContext, id: NodeId, flags: number): Awaitable<Opened> {
  const { caches } = state
  const node = state.nodes.get(id)
  if ((flags & O_TRUNC) !== 0 && opensForWrite(flags)) {
    return setAttributes(state, context, id, { size: 0 }).then(() => opened(state, context, node, flags))
  }
  if (!caches.pages.mustAsk(caches.attributes.get(id) !== undefined)) return opened(state, context, node, flags)
  return state.revalidate(node, context).then(() => opened(state, context, node, flags))
}

/** The attributes of the node are known as an open has to know them. */
function opened(state: ClientState, context: CallContext, node: NfsNode, flags: number): Opened {
  const { caches } = state
  const kept = caches.open(node)
  if (kept === undefined) throw new FsError('ESTALE')
  if (!kept.keepCache) node.cached = false
  const handle = state.nextHandle()
  const writes = opensForWrite(flags)
  const credential = state.connection.credentialOf(context)
  state.files.set(handle, { node, writes, credential, direct: (flags & constants.O_DIRECT) !== 0 })
  if (writes) state.writesOf(node, credential).opened(handle, credential)
  if (state.uncached) return { handle, directIo: true }
  if (opensForRead(flags)) state.openFiles.opened(node, handle, credential)
  return { handle, keepCache: kept.keepCache }
}

export async function create(
  state: ClientState,
  context: CallContext,
  node: NewNode,
  flags: number,
): Promise<{ entry: Entry; opened: Opened }> {
  const entry = await ((flags & O_EXCL) === 0
    ? createUnchecked(state, context, node, flags)
    : createExclusive(state, context, node, flags))
  try {
    return { entry, opened: opened(state, context, state.nodes.get(entry.node), flags) }
  } catch (error) {
    state.nodes.forget(entry.node, 1)
    throw error
  }
}

function createUnchecked(state: ClientState, context: CallContext, node: NewNode, flags: number): Promise<Entry> {
  const { parent, where, attributes } = begin(state, node)
  const size = (flags & O_TRUNC) === 0 ? undefined : 0
  const how = { mode: 'UNCHECKED', attributes: { ...attributes, size } } as const
  return making(state, context, { parent, name: node.name }, () => state.call(parent, CREATE, { where, how }, context))
}

/** Only one of those who try makes it, however often a call is repeated; mode and times are set afterwards (§3.3.8). */
async function createExclusive(state: ClientState, context: CallContext, node: NewNode, flags: number): Promise<Entry> {
  const { parent, where } = begin(state, node)
  const how = { mode: 'EXCLUSIVE', verifier: state.createVerifiers.next() } as const
  const { name } = node
  const entry = await making(state, context, { parent, name }, () =>
    state.call(parent, CREATE, { where, how }, context),
  )
  try {
    const made = state.nodes.get(entry.node)
    const mode = node.mode & 0o7777 & ~node.umask
    const changes = { mode, atime: 'now', mtime: 'now' } as const
    // A write takes set-id bits away: they must have been there before. Without a write, nothing may ever come after.
    const late = opensForWrite(flags) && (mode & (S_ISUID | S_ISGID)) === 0 && !state.options.synchronous
    if (late) {
      state.writesOf(made, state.connection.credentialOf(context)).made(changes)
      return { ...entry, ...state.caches.lateReply(parent, made, entry) }
    }
    await state.setAttributes(made, changes, context)
    return { ...entry, ...(await state.reply(made, context)) }
  } catch (error) {
    state.nodes.forget(entry.node, 1)
    throw error
  }
}

export function read(
  state: ClientState,
  context: CallContext,
  handle: Handle,
  { offset, length }: { readonly offset: number; readonly length: number },
): Awaitable<Uint8Array | LentBytes> {
  const { node, direct } = state.openFile(handle)
  const unfinished = direct ? undefined : state.caches.unfinishedBytes(node, offset, length)
  if (unfinished !== undefined) return unfinished
  const { writes } = node
  if (writes === undefined || writes.idle) return readServer(state, context, node, { offset, length })
  const before = writes.kept(offset, length)
  if (covers(before, offset, length)) {
    state.openFiles.cached(node)
    return overlay({ offset, bytes: NOTHING }, before)
  }
  // By the time of the answer these may be on the server for good, and their memory somebody else's.
  const kept = before.map((piece) => ({ offset: piece.offset, bytes: Buffer.from(piece.bytes) }))
  return readServer(state, context, node, { offset, length }).then((lent) => {
    const all = overlay({ offset, bytes: lent.bytes }, kept, writes.kept(offset, length))
    // Between the server's end of the file and ours are zeros.
    const there = Math.min(length, Math.max(0, writes.end - offset))
    if (all === lent.bytes && all.length >= there) return lent
    const padded = all.length >= there ? all : new Uint8Array(there)
    if (padded !== all) padded.set(all)
    lent.release()
    return padded
  })
}

const NOTHING = new Uint8Array(0)

interface Range {
  readonly offset: number
  readonly length: number
}

/** As many READs as it takes, at once: `rsize` may be smaller than what the kernel asks for. */
async function readServer(state: ClientState, caller: Caller, node: NfsNode, range: Range): Promise<LentBytes> {
  const { readBytes } = state.mounted
  if (range.length <= readBytes) return readAll(state, caller, node, range)
  const parts: Promise<LentBytes>[] = []
  for (let at = 0; at < range.length; at += readBytes) {
    const length = Math.min(readBytes, range.length - at)
    parts.push(readAll(state, caller, node, { offset: range.offset + at, length }))
  }
  const pieces = await Promise.all(parts)
  // Behind a short piece is the end of the file.
  const short = pieces.findIndex(({ bytes }) => bytes.length < readBytes)
  return joined(short < 0 ? pieces : pieces.slice(0, short + 1))
}

function joined(pieces: readonly LentBytes[]): LentBytes {
  const bytes = Buffer.concat(pieces.map((piece) => piece.bytes))
  for (const piece of pieces) piece.release()
  return { bytes, release() {} }
}

/** A server may give less than it was asked for, and only `eof` says that there is no more. */
async function readAll(
  state: ClientState,
  caller: Caller,
  node: NfsNode,
  { offset, length }: Range,
): Promise<LentBytes> {
  const { client } = state.connection
  let read: LentBytes | undefined
  for (;;) {
    const request = state.caches.request()
    const there = read?.bytes.length ?? 0
    const args = { file: node.handle, offset: offset + there, count: length - there }
    const result = await state.call(node, READ, args, caller)
    state.caches.learn(node, result.attributes, request)
    if (result.status !== 'NFS3_OK') throw failureOf(result)
    const { data, eof } = result
    const bytes = data.subarray(0, args.count)
    const more = { bytes, release: () => client.release(bytes) }
    read = read === undefined ? more : joined([read, more])
    if (eof || bytes.length === 0 || there + bytes.length >= length) break
  }
  state.openFiles.cached(node)
  return read
}

export function write(
  state: ClientState,
  context: CallContext,
  handle: Handle,
  write: ProgramWrite,
): Awaitable<number> {
  const { node } = state.openFile(handle)
  if (!write.append) return writeAt(state, context, handle, write)
  // The protocol cannot append (RFC 1813 §3.3.7): it goes to where the file ends as far as this client knows.
  const end = state.caches.size(node)
  if (end !== undefined) return appendAt(state, context, handle, write, end)
  return state
    .revalidate(node, context)
    .then(() => appendAt(state, context, handle, write, state.caches.shown(node)?.size ?? write.offset))
}

/** `write.offset`: where the kernel believes the end to be, and has put the bytes. */
function appendAt(
  state: ClientState,
  context: CallContext,
  handle: Handle,
  write: ProgramWrite,
  end: number,
): Awaitable<number> {
  if (end !== write.offset) state.caches.dropPages(state.openFile(handle).node)
  return writeAt(state, context, handle, { ...write, offset: end })
}

function writeAt(state: ClientState, context: CallContext, handle: Handle, write: ProgramWrite): Awaitable<number> {
  const { node, credential } = state.openFile(handle)
  const writes = state.writesOf(node, credential)
  state.openFiles.cached(node)
  const taken = writes.write(context, write)
  if (!state.options.synchronous) return taken
  return chain(taken, (count) => chain(writes.flush(context, handle, 'committed'), () => count))
}

export function flush(state: ClientState, context: CallContext, handle: Handle, depth: FlushDepth): Awaitable<void> {
  const { node, writes, credential } = state.openFile(handle)
  if (depth === 'committed' && node.unconfirmed) return state.writesOf(node, credential).flush(context, handle, depth)
  if (writes || depth === 'committed') return node.writes?.flush(context, handle, depth)
}

/** One close(2): what was written is on the server, and then the locks of `lockOwner` go, whatever came of it. */
export function close(state: ClientState, context: CallContext, handle: Handle, lockOwner: bigint): Awaitable<void> {
  const { locks } = state
  if (locks === undefined) return flush(state, context, handle, 'stable')
  const { node } = state.openFile(handle)
  const unlock = (): Awaitable<void> => locks.closed(context, node.id, lockOwner)
  let flushed: Awaitable<void>
  try {
    flushed = flush(state, context, handle, 'stable')
  } catch (error) {
    flushed = Promise.reject(error)
  }
  if (flushed === undefined) return unlock()
  return Promise.resolve(flushed).then(unlock, async (error) => {
    await unlock()
    throw error
  })
}

export function release(state: ClientState, handle: Handle): void {
  const { node, writes, credential } = state.openFile(handle)
  state.files.delete(handle)
  state.locks?.released(node.id, handle)
  state.caches.pages.close(node.id)
  state.openFiles.released(node, handle)
  if (writes) node.writes?.closed(handle)
  if (node.writes?.isOver) node.writes = undefined
  if (state.caches.pages.openCount(node.id) === 0) removeSilly(state, node, { credential })
}
