// Moving data: reads and writes, directory listings, and what changes or looks for the extents of a file.
import { DecodeError } from '../codec/errors.ts'
import { FsError } from '../posix/errors.ts'
import { O_APPEND } from '../posix/mode.ts'
import { chain, orUndo } from '../vfs/awaitable.ts'
import type { Awaitable } from '../vfs/filesystem.ts'
import { ARGUMENTS } from './arguments.ts'
import { writeServed } from './backing.ts'
import { DirectoryReply } from './directory.ts'
import { MAX_TRANSFER } from './init.ts'
import { clearSetId, forgetEntries } from './opening.ts'
import { optional } from './operation.ts'
import * as P from './protocol.ts'
import { HEADER_BYTES } from './reply.ts'
import type { Request } from './request.ts'
import type { Session } from './session.ts'

export function read(s: Session, q: Request) {
  const { handle, offset, size } = s.in.transfer.at(s.view, ARGUMENTS)
  q.bytes = size
  const fd = s.backing.served(handle)
  if (fd !== undefined) return { fd, offset, length: Math.min(size, MAX_TRANSFER) }
  return s.fileSystem.read(q, handle, offset, Math.min(size, MAX_TRANSFER))
}

export function write(s: Session, q: Request): Awaitable<number> {
  const { handle, offset, size, transferFlags, flags } = s.in.transfer.at(s.view, ARGUMENTS)
  const at = ARGUMENTS + P.TransferIn.size
  if (at + size > q.end) throw new DecodeError('WRITE with less data than announced')
  q.bytes = size
  const data = s.bytes.subarray(at, at + size)
  const fd = s.backing.served(handle)
  const append = (flags & O_APPEND) !== 0
  const { bytes } = s
  const keep = () => s.keep(bytes)
  const written = () =>
    fd === undefined ? s.fileSystem.write(q, handle, offset, data, append, keep) : writeServed(fd, offset, data, append)
  return transferFlags & P.FUSE_WRITE_KILL_SUIDGID ? chain(clearSetId(s, q), written) : written()
}

export function putWritten(s: Session, size: number): number {
  const out = s.out.write.at(s.reply.view, HEADER_BYTES)
  out.size = size
  out.padding = 0
  return HEADER_BYTES + P.WriteOut.size
}

export function readDirectory(wantsEntries: boolean) {
  return (s: Session, q: Request): Awaitable<DirectoryReply> => {
    const { handle, offset, size } = s.in.transfer.at(s.view, ARGUMENTS)
    const sink = new DirectoryReply(Math.min(size, MAX_TRANSFER), wantsEntries)
    return orUndo(
      () => chain(s.fileSystem.readDirectory(q, handle, offset, sink), () => sink),
      () => forgetEntries(s, sink),
    )
  }
}

export function sendDirectory(s: Session, { reply, end }: DirectoryReply, q: Request): number {
  reply.finish(q.unique, end)
  s.send(reply.bytes.subarray(0, end))
  return 0
}

export function fallocate(s: Session, q: Request): Awaitable<void> {
  const { handle, mode, offset, length } = new P.FallocateIn().at(s.view, ARGUMENTS)
  return optional(s.fileSystem.allocation).allocate(q, handle, mode, offset, length)
}

export function lseek(s: Session, q: Request): Awaitable<number> {
  const { handle, offset, whence } = new P.LseekIn().at(s.view, ARGUMENTS)
  const what = whence === 3 ? 'data' : whence === 4 ? 'hole' : undefined
  if (what === undefined) throw new FsError('EINVAL')
  if (offset < 0) throw new FsError('ENXIO')
  return optional(s.fileSystem.allocation).seek(q, handle, offset, what)
}

export function copyFileRange(s: Session, q: Request): Awaitable<number> {
  const args = new P.CopyFileRangeIn().at(s.view, ARGUMENTS)
  const from = { handle: args.handleIn, offset: args.offsetIn }
  const to = { handle: args.handleOut, offset: args.offsetOut }
  // The kernel asks for as much as there may be; one answer moves at most 1 GiB.
  const length = Number(args.length > 0x4000_0000n ? 0x4000_0000n : args.length)
  return optional(s.fileSystem.copy).copyRange(q, from, to, length)
}

export function putCopied(s: Session, bytes: number): number {
  new P.CopyFileRangeOut().at(s.reply.view, HEADER_BYTES).bytes = bytes
  return HEADER_BYTES + P.CopyFileRangeOut.size
}
