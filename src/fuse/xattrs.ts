// Extended attributes: the kernel asks for the size first, then for as much as it has room for.
import { DecodeError } from '../codec/errors.ts'
import { decodeUtf8, endOfText } from '../codec/text.ts'
import { errnoNumber, FsError } from '../posix/errors.ts'
import { chain } from '../vfs/awaitable.ts'
import type { Awaitable } from '../vfs/filesystem.ts'
import { ARGUMENTS, lastName } from './arguments.ts'
import { optional } from './operation.ts'
import * as P from './protocol.ts'
import { HEADER_BYTES } from './reply.ts'
import type { Request } from './request.ts'
import type { Session } from './session.ts'

interface Sized {
  /** Bytes that the caller has room for; 0 asks for the size only. */
  readonly room: number
  readonly value: Uint8Array | undefined
}

function sized(s: Session, value: (s: Session) => Awaitable<Uint8Array | undefined>): Awaitable<Sized> {
  const { size: room } = new P.XattrSize().at(s.view, ARGUMENTS)
  return chain(value(s), (value) => ({ room, value }))
}

export function putSized(s: Session, { room, value }: Sized): number {
  if (value === undefined) return -errnoNumber('ENODATA')
  if (room === 0) {
    const out = new P.XattrSize().at(s.reply.view, HEADER_BYTES)
    out.size = value.length
    out.padding = 0
    return HEADER_BYTES + P.XattrSize.size
  }
  if (value.length > room) return -errnoNumber('ERANGE')
  return s.reply.putBytes(value)
}

export function getXattr(s: Session, q: Request): Awaitable<Sized> {
  const name = lastName(s, q, ARGUMENTS + P.XattrSize.size)
  return sized(s, () => optional(s.fileSystem.xattrs).getXattr(q, q.node, name))
}

export function listXattrs(s: Session, q: Request): Awaitable<Sized> {
  const pack = (names: readonly string[]) => Buffer.from(names.map((name) => `${name}\0`).join(''))
  return sized(s, () => chain(optional(s.fileSystem.xattrs).listXattrs(q, q.node), pack))
}

export function setXattr(s: Session, q: Request): Awaitable<void> {
  const { size, flags } = new P.SetxattrIn().at(s.view, ARGUMENTS)
  const at = ARGUMENTS + P.SetxattrIn.size
  const nul = endOfText(s.bytes, at, q.end)
  if (nul + 1 + size > q.end) throw new DecodeError('SETXATTR with less data than announced')
  const value = Uint8Array.prototype.slice.call(s.bytes, nul + 1, nul + 1 + size)
  // XATTR_CREATE and XATTR_REPLACE: to want both is to want what cannot be.
  const how = (['either', 'create', 'replace'] as const)[flags]
  if (how === undefined) throw new FsError('EINVAL')
  return optional(s.fileSystem.xattrs).setXattr(q, q.node, decodeUtf8(s.bytes, at, nul), value, how)
}
