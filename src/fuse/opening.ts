// Opening and closing: what the kernel is told about an open file, and where its data is.
import { O_TRUNC } from '../posix/mode.ts'
import { chain } from '../vfs/awaitable.ts'
import type { Awaitable, Entry, Opened } from '../vfs/filesystem.ts'
import { ARGUMENTS } from './arguments.ts'
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
  return chain(opened, (result) => chain(clearSetId(s, q), () => result))
}

export function putOpen(s: Session, node: number, opened: Opened, at = HEADER_BYTES): number {
  const { handle, backing } = opened
  let flags = opened.directIo ? P.FOPEN.DIRECT_IO : 0
  let backingId = 0
  if (backing) ({ flags, backingId } = s.backing.open(node, handle, backing))
  if (opened.keepCache) flags |= P.FOPEN.KEEP_CACHE
  if (opened.nonSeekable) flags |= P.FOPEN.STREAM
  return s.reply.putOpen({ handle, flags, backingId }, at)
}

export function putCreated(s: Session, result: { entry: Entry; opened: Opened }): number {
  return putOpen(s, result.entry.node, result.opened, s.reply.putEntry(result.entry))
}

export function putOpenDirectory(s: Session, opened: { handle: number; keepCache?: boolean }): number {
  const flags = opened.keepCache ? P.FOPEN.CACHE_DIR | P.FOPEN.KEEP_CACHE : 0
  return s.reply.putOpen({ handle: opened.handle, flags, backingId: 0 })
}

export function release(s: Session): Awaitable<void> {
  const { handle, releaseFlags, lockOwner } = s.in.release.at(s.view, ARGUMENTS)
  s.backing.release(handle)
  return s.fileSystem.release(handle, releaseFlags & P.FUSE_RELEASE_FLOCK_UNLOCK ? lockOwner : undefined)
}
