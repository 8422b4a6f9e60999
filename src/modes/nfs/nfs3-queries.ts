// The procedures of NFS version 3 that change nothing (RFC 1813 §3.3).
import { read } from 'node:fs'
import { MAY_EXEC, MAY_READ, MAY_WRITE, mayAccess, mayTransfer, ROOT_CREDENTIALS } from '../../posix/credentials.ts'
import { FsError } from '../../posix/errors.ts'
import { isDirectory, isRegular, NAME_MAX, O_RDONLY } from '../../posix/mode.ts'
import { LINK_MAX } from '../../store/create.ts'
import { FILE_SIZE_MAX } from '../../store/set-attributes.ts'
import type { Arguments, Result } from './nfs3.ts'
import { type Caller, type NfsCalls, statusOf, type Target } from './nfs3-calls.ts'
import { ACCESS3, FSF3 } from './nfs3-types.ts'

/** Reads up to this many bytes are done at once, wherever they are: to hand them to another thread costs more. */
const AT_ONCE_BYTES = 64 * 1024
/** What a directory reply is preferred to take, in bytes. */
const DIRECTORY_BYTES = 64 * 1024
/** Times are kept with nanoseconds. */
const TIME_DELTA = { seconds: 0, nseconds: 1 }

export function getattr(calls: NfsCalls, caller: Caller, { object }: Arguments<'GETATTR'>): Result<'GETATTR'> {
  try {
    return { status: 'NFS3_OK', attributes: calls.attributes(calls.target(caller, object).ino) }
  } catch (error) {
    return { status: statusOf(error) }
  }
}

export function lookup(calls: NfsCalls, caller: Caller, { what }: Arguments<'LOOKUP'>): Result<'LOOKUP'> {
  let directory: Target | undefined
  try {
    directory = calls.target(caller, what.dir)
    const ino = calls.find(directory, what.name)
    const object = calls.handle(directory.share, ino)
    return { status: 'NFS3_OK', object, attributes: calls.attributes(ino), directory: calls.after(directory) }
  } catch (error) {
    return { status: statusOf(error), directory: calls.after(directory) }
  }
}

/** Asks something of one node, whose attributes come along, also with an error. */
function asking<R extends object>(calls: NfsCalls, caller: Caller, handle: Buffer, ask: (target: Target) => R) {
  let target: Target | undefined
  try {
    target = calls.target(caller, handle)
    const answer = ask(target)
    return { status: 'NFS3_OK', attributes: calls.after(target), ...answer } as const
  } catch (error) {
    return { status: statusOf(error), attributes: calls.after(target) }
  }
}

/** The bits of ACCESS3 that mean something for a node, and what each needs. */
const NEEDS = [
  [ACCESS3.READ, MAY_READ, 'any'],
  [ACCESS3.LOOKUP, MAY_EXEC, 'directory'],
  [ACCESS3.MODIFY, MAY_WRITE, 'any'],
  [ACCESS3.EXTEND, MAY_WRITE, 'any'],
  [ACCESS3.DELETE, MAY_WRITE, 'directory'],
  [ACCESS3.EXECUTE, MAY_EXEC, 'other'],
] as const

export function access(calls: NfsCalls, caller: Caller, { object, access }: Arguments<'ACCESS'>): Result<'ACCESS'> {
  return asking(calls, caller, object, ({ ino, who, access: { readOnly } }) => {
    const attributes = calls.volume.attributes(ino)
    const kind = isDirectory(attributes.mode) ? 'directory' : 'other'
    let granted = 0
    for (const [bit, mask, where] of NEEDS) {
      if ((access & bit) === 0 || (where !== 'any' && where !== kind)) continue
      if (mask === MAY_WRITE && readOnly) continue
      if (mayAccess(who, attributes, mask)) granted |= bit
    }
    return { access: granted }
  })
}

export function readlink(calls: NfsCalls, caller: Caller, { symlink }: Arguments<'READLINK'>): Result<'READLINK'> {
  return asking(calls, caller, symlink, ({ ino }) => ({ data: calls.volume.readlink(ino) }))
}

/** READ is answered at once for little data, and for what is in memory; for more the event loop does not wait for the disk. */
export function readFile(
  calls: NfsCalls,
  caller: Caller,
  { file, offset, count }: Arguments<'READ'>,
): Result<'READ'> | Promise<Result<'READ'>> {
  let target: Target | undefined
  const failed = (error: unknown): Result<'READ'> => ({ status: statusOf(error), attributes: calls.after(target) })
  try {
    const { volume } = calls
    target = calls.target(caller, file)
    const { ino, who } = target
    const attributes = volume.attributes(ino)
    if (!isRegular(attributes.mode)) throw new FsError('EINVAL')
    if (!mayTransfer(who, attributes, MAY_READ)) throw new FsError('EACCES')
    const { size } = attributes
    const length = Math.max(0, Math.min(count, caller.transferMax, size - offset))
    const data = length <= AT_ONCE_BYTES ? Buffer.allocUnsafe(length) : calls.transfers.take(length)
    const answer = (got: number): Result<'READ'> => ({
      status: 'NFS3_OK',
      attributes: calls.after(target),
      count: got,
      // Less than there was: somebody has truncated it meanwhile.
      eof: got < length || offset + got >= size,
      data: data.subarray(0, got),
    })
    if (length <= AT_ONCE_BYTES) return answer(volume.readUnopened(ino, data, offset))
    const content = volume.openContent(ino, O_RDONLY, ROOT_CREDENTIALS)
    const there = volume.readCached(content, data, offset)
    if (there >= length) {
      volume.closeContent(content)
      return answer(length)
    }
    return new Promise((resolve) => {
      read(content.fd, data, there, length - there, offset + there, (error, got) => {
        volume.closeContent(content)
        resolve(error ? failed(error) : answer(there + got))
      })
    })
  } catch (error) {
    return failed(error)
  }
}

export function fsstat(calls: NfsCalls, caller: Caller, { root }: Arguments<'FSSTAT'>): Result<'FSSTAT'> {
  return asking(calls, caller, root, () => {
    const stats = calls.volume.statfs()
    return {
      tbytes: stats.blocks * stats.blockSize,
      fbytes: stats.freeBlocks * stats.blockSize,
      abytes: stats.availableBlocks * stats.blockSize,
      tfiles: stats.files,
      ffiles: stats.freeFiles,
      afiles: stats.freeFiles,
      invarsec: 0,
    }
  })
}

export function fsinfo(calls: NfsCalls, caller: Caller, { root }: Arguments<'FSINFO'>): Result<'FSINFO'> {
  const { transferMax } = caller
  return asking(calls, caller, root, () => ({
    rtmax: transferMax,
    rtpref: transferMax,
    rtmult: 4096,
    wtmax: transferMax,
    wtpref: transferMax,
    wtmult: 4096,
    dtpref: Math.min(DIRECTORY_BYTES, transferMax),
    maxfilesize: BigInt(FILE_SIZE_MAX),
    timeDelta: TIME_DELTA,
    properties: FSF3.LINK | FSF3.SYMLINK | FSF3.HOMOGENEOUS | FSF3.CANSETTIME,
  }))
}

export function pathconf(calls: NfsCalls, caller: Caller, { object }: Arguments<'PATHCONF'>): Result<'PATHCONF'> {
  return asking(calls, caller, object, () => ({
    linkmax: LINK_MAX,
    nameMax: NAME_MAX,
    noTrunc: true,
    chownRestricted: true,
    caseInsensitive: false,
    casePreserving: true,
  }))
}
