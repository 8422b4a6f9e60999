// Decodes what several opcodes carry: names, new nodes, changes, locks. Everything is read in place, from the bytes of
// the request in work.
import { DecodeError } from '../codec/errors.ts'
import { decodeUtf8, endOfText } from '../codec/text.ts'
import type { AttributeChanges } from '../posix/attributes.ts'
import { FsError } from '../posix/errors.ts'
import { MODE_BITS } from '../posix/mode.ts'
import type { LockRequest, NewNode } from '../vfs/filesystem.ts'
import * as P from './protocol.ts'
import { LOCK_TYPE } from './reply.ts'
import type { Request } from './request.ts'
import type { Session } from './session.ts'

/** Where the arguments begin. */
export const ARGUMENTS = P.InHeader.size

/** The name that is the whole rest of a request. */
export function lastName(s: Session, q: Request, at: number): string {
  if (q.end <= at || s.bytes[q.end - 1] !== 0) throw new DecodeError('name without a terminating NUL')
  const name = decodeUtf8(s.bytes, at, q.end - 1)
  q.name ??= name
  return name
}

/** Two names, one after the other. */
export function twoNames(s: Session, q: Request, at: number): [string, string] {
  const middle = endOfText(s.bytes, at, q.end)
  q.name = decodeUtf8(s.bytes, at, middle)
  return [q.name, lastName(s, q, middle + 1)]
}

export function newNode(s: Session, q: Request, at: number, fields: Pick<NewNode, 'mode' | 'umask' | 'rdev'>): NewNode {
  return { parent: q.node, name: lastName(s, q, at), ...fields }
}

export function createArguments(s: Session, q: Request): { node: NewNode; flags: number } {
  const args = s.in.create.at(s.view, ARGUMENTS)
  const { mode, umask, flags } = args
  return { node: newNode(s, q, ARGUMENTS + P.CreateIn.size, { mode, umask }), flags }
}

/** What a SETATTR changes, and the open file it was asked of. */
export function attributeChanges(s: Session): { changes: AttributeChanges; handle: number | undefined } {
  const args = s.in.setattr.at(s.view, ARGUMENTS)
  const { valid } = args
  const changes: AttributeChanges = {}
  if (valid & P.FATTR.MODE) changes.mode = args.mode & MODE_BITS
  if (valid & P.FATTR.UID) changes.uid = args.uid
  if (valid & P.FATTR.GID) changes.gid = args.gid
  if (valid & P.FATTR.SIZE) changes.size = args.size
  if (valid & P.FATTR.ATIME)
    changes.atime = valid & P.FATTR.ATIME_NOW ? 'now' : { sec: args.atime, nsec: args.atimeNsec }
  if (valid & P.FATTR.MTIME)
    changes.mtime = valid & P.FATTR.MTIME_NOW ? 'now' : { sec: args.mtime, nsec: args.mtimeNsec }
  if (valid & P.FATTR.KILL_SUIDGID) changes.clearSetId = true
  return { changes, handle: valid & P.FATTR.HANDLE ? args.handle : undefined }
}

export function lockRequest(s: Session, q: Request, wait: boolean): LockRequest {
  const args = new P.LockIn().at(s.view, ARGUMENTS)
  const last = BigInt(Number.MAX_SAFE_INTEGER)
  const { type, start, end } = args
  if (start > last) throw new FsError('EOVERFLOW')
  return {
    node: q.node,
    handle: args.handle,
    owner: args.owner,
    // No file reaches an offset that a number cannot hold: an end beyond is the end of any file.
    range: { start: Number(start), end: end > last ? Number.POSITIVE_INFINITY : Number(end) },
    kind: type === LOCK_TYPE.unlock ? 'unlock' : type === LOCK_TYPE.exclusive ? 'exclusive' : 'shared',
    pid: args.pid,
    flock: (args.flags & P.FUSE_LK_FLOCK) !== 0,
    wait,
  }
}

export function fsyncArguments(s: Session) {
  const { handle, flags } = new P.FsyncIn().at(s.view, ARGUMENTS)
  return { handle, dataOnly: (flags & P.FUSE_FSYNC_FDATASYNC) !== 0 }
}
