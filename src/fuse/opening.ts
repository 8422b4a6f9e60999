// Opening and closing: what the kernel is told about an open file, where its data is, and giving back what the kernel
// holds, or was never told of.
import { O_TRUNC } from '../posix/mode.ts'
import { chain, orUndo } from '../vfs/awaitable.ts'
import type { AbsentEntry, Awaitable, Entry, NodeId, Opened, OpenedDirectory } from '../vfs/filesystem.ts'
import { ARGUMENTS } from './arguments.ts'
import type { DirectoryReply } from './directory.ts'
import * as P from './protocol.ts'
import { HEADER_BYTES } from './reply.ts'
import type { Request } from './request.ts'
import type { Session } from './session.ts'

export function clearSetId(s: Session, q: Request): Awaitable<unknown> {
  return s.fileSystem.setAttributes(q, q.node, { clearSetId: true })
}

export function open(s: Session, q: Request): Awaitable<Opened> {
  const { flags, openFlags } = s.in.open.at(s.view, ARGUMENTS)
  const opened = s.fileSystem.open(q, q.node, flags)
  if ((flags & O_TRUNC) === 0 || (openFlags & P.FUSE_OPEN_KILL_SUIDGID) === 0) return opened
  return chain(opened, (result) =>
    orUndo(
      () => chain(clearSetId(s, q), () => result),
      () => closeOpened(s, result),
    ),
  )
}

export function putOpen(s: Session, node: number, opened: Opened, at = HEADER_BYTES): number {
  const { handle, backing, directIo = false } = opened
  let flags = directIo ? P.FOPEN.DIRECT_IO : 0
  let backingId = 0
  if (backing) ({ flags, backingId } = s.backing.open(node, handle, backing, directIo))
  if (opened.keepCache) flags |= P.FOPEN.KEEP_CACHE
  if (opened.noFlush) flags |= P.FOPEN.NOFLUSH
  if (opened.nonSeekable) flags |= P.FOPEN.STREAM
  return s.reply.putOpen({ handle, flags, backingId }, at)
}

export function putCreated(s: Session, result: { entry: Entry; opened: Opened }): number {
  return putOpen(s, result.entry.node, result.opened, s.reply.putEntry(result.entry))
}

export function putOpenDirectory(s: Session, { handle, cache, keepCache }: OpenedDirectory): number {
  const flags = (cache ? P.FOPEN.CACHE_DIR : 0) | (keepCache ? P.FOPEN.KEEP_CACHE : 0)
  return s.reply.putOpen({ handle, flags, backingId: 0 })
}

export function release(s: Session): Awaitable<void> {
  const { handle, releaseFlags, lockOwner } = s.in.release.at(s.view, ARGUMENTS)
  s.backing.release(handle)
  return s.fileSystem.release(handle, releaseFlags & P.FUSE_RELEASE_FLOCK_UNLOCK ? lockOwner : undefined)
}

export function forget(s: Session, node: NodeId, count: number): void {
  s.backing.forget(node)
  s.fileSystem.forget(node, count)
}

// What follows undoes an answer that could not be given. One that was given needs no undoing: as long as the connection
// lives, the kernel takes a reply to every request that it has let us read. Who asked is not let go before, not even by
// SIGKILL (request_wait_answer in fs/fuse/dev.c waits it out), and then closes and forgets like anybody else. ENOENT, the
// request is not there any more, only comes with the end of the connection, and then the file system is detached.

/** A name that the kernel will not hear of. */
export function forgetEntry(s: Session, entry: Entry | AbsentEntry): void {
  if (entry.node !== 0) s.giveBack(() => forget(s, entry.node, 1))
}

/** The same for the entries of a listing. */
export function forgetEntries(s: Session, listing: DirectoryReply): void {
  for (const node of listing.nodes()) s.giveBack(() => forget(s, node, 1))
}

/** An open file that the kernel will not hear of. */
export function closeOpened(s: Session, { handle }: Opened): void {
  s.backing.release(handle)
  s.giveBack(() => s.fileSystem.release(handle))
}

/** The same for a file that was made. */
export function closeCreated(s: Session, { entry, opened }: { entry: Entry; opened: Opened }): void {
  closeOpened(s, opened)
  forgetEntry(s, entry)
}

export function closeDirectory(s: Session, { handle }: { handle: number }): void {
  s.giveBack(() => s.fileSystem.releaseDirectory(handle))
}
