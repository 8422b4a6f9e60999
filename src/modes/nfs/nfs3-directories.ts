// READDIR and READDIRPLUS (RFC 1813 §3.3.16, §3.3.17). Cookies are the volume's own and belong to their entries: a listing
// goes on where it stopped whatever changed meanwhile, so the cookie verifier is one and the same for ever.

import { padded } from '../../codec/xdr-reader.ts'
import { MAY_EXEC, MAY_READ, mayAccess } from '../../posix/credentials.ts'
import { FsError } from '../../posix/errors.ts'
import type { ListedEntry } from '../../store/entries.ts'
import { FILE_HANDLE_BYTES } from './file-handle.ts'
import type { Arguments, Result } from './nfs3.ts'
import { type Caller, type NfsCalls, NfsError, statusOf, type Target } from './nfs3-calls.ts'
import { type Fattr3, NFS3_COOKIEVERFSIZE } from './nfs3-types.ts'

const VERIFIER = Buffer.alloc(NFS3_COOKIEVERFSIZE)

/** Bytes of a result without its entries: status, attributes, verifier, end of the list, eof. */
const RESULT_BYTES = 4 + (4 + 84) + NFS3_COOKIEVERFSIZE + 4 + 4
/** Bytes of an entry without its name: that there is one, fileid, length of the name, cookie. */
const ENTRY_BYTES = 4 + 8 + 4 + 8
/** What READDIRPLUS adds: attributes, and the handle. */
const PLUS_BYTES = 4 + 84 + (4 + 4 + padded(FILE_HANDLE_BYTES))

interface Reading {
  readonly dir: Buffer
  readonly cookie: bigint
  readonly verifier: Buffer
}

/** Opens a directory for a listing from a cookie. */
function begin(calls: NfsCalls, caller: Caller, { dir, cookie, verifier }: Reading): { target: Target; after: number } {
  const target = calls.target(caller, dir)
  const attributes = calls.volume.attributes(target.ino)
  if (cookie !== 0n && (cookie > BigInt(Number.MAX_SAFE_INTEGER) || !verifier.equals(VERIFIER))) {
    throw new NfsError('NFS3ERR_BAD_COOKIE')
  }
  if (!mayAccess(target.who, attributes, MAY_READ)) throw new FsError('EACCES')
  return { target, after: Number(cookie) }
}

const fileidOf = (calls: NfsCalls, { ino, share }: Target, entry: ListedEntry): number =>
  entry.name === '..' ? calls.parentWithin(share, ino, entry.ino) : entry.ino

export function readdir(calls: NfsCalls, caller: Caller, args: Arguments<'READDIR'>): Result<'READDIR'> {
  let target: Target | undefined
  try {
    const reading = begin(calls, caller, args)
    target = reading.target
    const entries: { fileid: number; name: string; cookie: bigint }[] = []
    let room = Math.min(args.count, caller.transferMax) - RESULT_BYTES
    let eof = true
    for (const entry of calls.volume.list(target.ino, reading.after)) {
      room -= ENTRY_BYTES + padded(Buffer.byteLength(entry.name))
      if (room < 0) {
        eof = false
        break
      }
      const fileid = fileidOf(calls, target, entry)
      entries.push({ fileid, name: entry.name, cookie: BigInt(entry.cookie) })
    }
    if (entries.length === 0 && !eof) throw new NfsError('NFS3ERR_TOOSMALL')
    return { status: 'NFS3_OK', directory: calls.after(target), verifier: VERIFIER, entries, eof }
  } catch (error) {
    return { status: statusOf(error), directory: calls.after(target) }
  }
}

export function readdirplus(calls: NfsCalls, caller: Caller, args: Arguments<'READDIRPLUS'>): Result<'READDIRPLUS'> {
  let target: Target | undefined
  try {
    const reading = begin(calls, caller, args)
    target = reading.target
    const entries: {
      fileid: number
      name: string
      cookie: bigint
      attributes: Fattr3 | undefined
      handle: Buffer | undefined
    }[] = []
    let room = Math.min(args.maxcount, caller.transferMax) - RESULT_BYTES
    // Of names, cookies and file ids alone.
    let nameRoom = args.dircount
    // Who may only read the names gets no handles and no attributes with them: LOOKUP would refuse those.
    const searchable = mayAccess(target.who, calls.volume.attributes(target.ino), MAY_EXEC)
    let eof = true
    for (const entry of calls.volume.list(target.ino, reading.after)) {
      const bytes = ENTRY_BYTES + padded(Buffer.byteLength(entry.name))
      room -= bytes + PLUS_BYTES
      // At least one entry comes however small `dircount` is: a client that asks for fewer could never go on.
      if (room < 0 || (nameRoom < bytes && entries.length > 0)) {
        eof = false
        break
      }
      nameRoom -= bytes
      const fileid = fileidOf(calls, target, entry)
      entries.push({
        fileid,
        name: entry.name,
        cookie: BigInt(entry.cookie),
        attributes: searchable ? calls.after({ ino: fileid }) : undefined,
        handle: searchable ? calls.handle(target.share, fileid) : undefined,
      })
    }
    if (entries.length === 0 && !eof) throw new NfsError('NFS3ERR_TOOSMALL')
    return { status: 'NFS3_OK', directory: calls.after(target), verifier: VERIFIER, entries, eof }
  } catch (error) {
    return { status: statusOf(error), directory: calls.after(target) }
  }
}
