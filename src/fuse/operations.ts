// The opcode table: for each opcode its name, how it is decoded and asked of the file system, and how the answer is
// encoded. What a file system does not implement becomes ENOSYS or EOPNOTSUPP here and nowhere else.
import { DecodeError } from '../codec/errors.ts'
import { decodeUtf8, endOfText } from '../codec/text.ts'
import type { AttributeChanges } from '../posix/attributes.ts'
import { errnoNumber, FsError } from '../posix/errors.ts'
import { MODE_BITS, O_APPEND, O_TRUNC } from '../posix/mode.ts'
import { chain } from '../vfs/awaitable.ts'
import type { Awaitable, Entry, LockRequest, NewNode, Opened } from '../vfs/filesystem.ts'
import { writeServed } from './backing.ts'
import { DirectoryReply } from './directory.ts'
import { MAX_TRANSFER } from './init.ts'
import * as P from './protocol.ts'
import { HEADER_BYTES, LOCK_TYPE } from './reply.ts'
import type { Request } from './request.ts'
import type { Session } from './session.ts'

/** How an opcode is served. `R` is what the file system answers. */
export interface Operation<R = unknown> {
  readonly name: string
  /** Decodes the arguments and asks the file system. */
  readonly call: (s: Session, q: Request) => Awaitable<R>
  /**
   * Writes the body into the session's reply; returns the message's length, 0 if the reply was sent already, or a
   * negative errno.
   */
  readonly encode: (s: Session, result: R, q: Request) => number
  /** The kernel expects no reply. */
  readonly silent?: boolean
  /** A promise may still read the request's bytes. */
  readonly keepsBytes?: boolean
}

const ARGUMENTS = P.InHeader.size

const empty = (): number => HEADER_BYTES
const entry = (s: Session, result: Parameters<Session['reply']['putEntry']>[0]): number => s.reply.putEntry(result)

function operation<R>(
  name: string,
  call: Operation<R>['call'],
  encode: Operation<R>['encode'],
  options: Partial<Operation<R>> = {},
): Operation {
  return { name, call, encode, ...options } as unknown as Operation
}

/** An operation that answers nothing but success. */
function command(
  name: string,
  call: (s: Session, q: Request) => Awaitable<void>,
  options: Partial<Operation<void>> = {},
): Operation {
  return operation<void>(name, call, empty, options)
}

function unsupported(name: string, errno: 'ENOSYS' | 'ENOTTY'): Operation {
  return command(name, () => {
    throw new FsError(errno)
  })
}

/** The optional group of a file system, or the error that tells the kernel not to ask again. */
function group<T>(value: T | undefined, errno: 'ENOSYS' | 'EOPNOTSUPP'): T {
  if (value === undefined) throw new FsError(errno)
  return value
}

/** The name that is the whole rest of a request. */
function lastName(s: Session, q: Request, at: number): string {
  if (q.end <= at || s.bytes[q.end - 1] !== 0) throw new DecodeError('name without a terminating NUL')
  const name = decodeUtf8(s.bytes, at, q.end - 1)
  q.name ??= name
  return name
}

/** Two names, one after the other. */
function twoNames(s: Session, q: Request, at: number): [string, string] {
  const middle = endOfText(s.bytes, at, q.end)
  q.name = decodeUtf8(s.bytes, at, middle)
  return [q.name, lastName(s, q, middle + 1)]
}

function newNode(s: Session, q: Request, at: number, fields: Pick<NewNode, 'mode' | 'umask' | 'rdev'>): NewNode {
  return { parent: q.node, name: lastName(s, q, at), ...fields }
}

function setattr(s: Session, q: Request) {
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
  return s.fileSystem.setAttributes(q, q.node, changes, valid & P.FATTR.HANDLE ? args.handle : undefined)
}

function getattr(s: Session, q: Request) {
  const args = s.in.getattr.at(s.view, ARGUMENTS)
  return s.fileSystem.getAttributes(q, q.node, args.flags & P.FUSE_GETATTR_FH ? args.handle : undefined)
}

function statx(s: Session, q: Request) {
  const args = new P.StatxIn().at(s.view, ARGUMENTS)
  return s.fileSystem.getAttributes(q, q.node, args.getattrFlags & P.FUSE_GETATTR_FH ? args.handle : undefined)
}

function clearSetId(s: Session, q: Request): Awaitable<unknown> {
  return s.fileSystem.setAttributes(q, q.node, { clearSetId: true })
}

function open(s: Session, q: Request): Awaitable<Opened> {
  const { flags, openFlags } = s.in.open.at(s.view, ARGUMENTS)
  const opened = s.fileSystem.open(q, q.node, flags)
  if ((flags & O_TRUNC) === 0 || (openFlags & P.FUSE_OPEN_KILL_SUIDGID) === 0) return opened
  return chain(opened, (result) => chain(clearSetId(s, q), () => result))
}

function putOpen(s: Session, node: number, opened: Opened, at = HEADER_BYTES): number {
  const { handle, backing } = opened
  let flags = opened.directIo ? P.FOPEN.DIRECT_IO : 0
  let backingId = 0
  if (backing) ({ flags, backingId } = s.backing.open(node, handle, backing))
  if (opened.keepCache) flags |= P.FOPEN.KEEP_CACHE
  if (opened.nonSeekable) flags |= P.FOPEN.STREAM
  return s.reply.putOpen({ handle, flags, backingId }, at)
}

function putCreated(s: Session, result: { entry: Entry; opened: Opened }): number {
  return putOpen(s, result.entry.node, result.opened, s.reply.putEntry(result.entry))
}

function createArguments(s: Session, q: Request): { node: NewNode; flags: number } {
  const args = s.in.create.at(s.view, ARGUMENTS)
  const { mode, umask, flags } = args
  return { node: newNode(s, q, ARGUMENTS + P.CreateIn.size, { mode, umask }), flags }
}

function read(s: Session, q: Request) {
  const { handle, offset, size } = s.in.transfer.at(s.view, ARGUMENTS)
  q.bytes = size
  const fd = s.backing.served(handle)
  if (fd !== undefined) return { fd, offset, length: Math.min(size, MAX_TRANSFER) }
  return s.fileSystem.read(q, handle, offset, Math.min(size, MAX_TRANSFER))
}

function write(s: Session, q: Request): Awaitable<number> {
  const { handle, offset, size, transferFlags, flags } = s.in.transfer.at(s.view, ARGUMENTS)
  const at = ARGUMENTS + P.TransferIn.size
  if (at + size > q.end) throw new DecodeError('WRITE with less data than announced')
  q.bytes = size
  const data = s.bytes.subarray(at, at + size)
  const fd = s.backing.served(handle)
  const append = (flags & O_APPEND) !== 0
  const written = () =>
    fd === undefined ? s.fileSystem.write(q, handle, offset, data, append) : writeServed(fd, offset, data, append)
  return transferFlags & P.FUSE_WRITE_KILL_SUIDGID ? chain(clearSetId(s, q), written) : written()
}

function putWritten(s: Session, size: number): number {
  const out = s.out.write.at(s.reply.view, HEADER_BYTES)
  out.size = size
  out.padding = 0
  return HEADER_BYTES + P.WriteOut.size
}

function readDirectory(wantsEntries: boolean) {
  return (s: Session, q: Request): Awaitable<DirectoryReply> => {
    const { handle, offset, size } = s.in.transfer.at(s.view, ARGUMENTS)
    const sink = new DirectoryReply(Math.min(size, MAX_TRANSFER), wantsEntries)
    return chain(s.fileSystem.readDirectory(q, handle, offset, sink), () => sink)
  }
}

function sendDirectory(s: Session, { reply, end }: DirectoryReply, q: Request): number {
  reply.finish(q.unique, end)
  s.send(reply.bytes.subarray(0, end))
  return 0
}

function lockRequest(s: Session, q: Request, wait: boolean): LockRequest {
  const args = new P.LockIn().at(s.view, ARGUMENTS)
  const position = (value: bigint): number =>
    value > BigInt(Number.MAX_SAFE_INTEGER) ? Number.POSITIVE_INFINITY : Number(value)
  const { type } = args
  return {
    node: q.node,
    handle: args.handle,
    owner: args.owner,
    range: { start: position(args.start), end: position(args.end) },
    kind: type === LOCK_TYPE.unlock ? 'unlock' : type === LOCK_TYPE.exclusive ? 'exclusive' : 'shared',
    pid: args.pid,
    flock: (args.flags & P.FUSE_LK_FLOCK) !== 0,
    wait,
  }
}

interface Sized {
  /** Bytes that the caller has room for; 0 asks for the size only. */
  readonly room: number
  readonly value: Uint8Array | undefined
}

function sized(s: Session, value: (s: Session) => Awaitable<Uint8Array | undefined>): Awaitable<Sized> {
  const { size: room } = new P.XattrSize().at(s.view, ARGUMENTS)
  return chain(value(s), (value) => ({ room, value }))
}

function putSized(s: Session, { room, value }: Sized): number {
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

function getXattr(s: Session, q: Request): Awaitable<Sized> {
  const name = lastName(s, q, ARGUMENTS + P.XattrSize.size)
  return sized(s, () => group(s.fileSystem.xattrs, 'ENOSYS').getXattr(q, q.node, name))
}

function listXattrs(s: Session, q: Request): Awaitable<Sized> {
  const pack = (names: readonly string[]) => Buffer.from(names.map((name) => `${name}\0`).join(''))
  return sized(s, () => chain(group(s.fileSystem.xattrs, 'ENOSYS').listXattrs(q, q.node), pack))
}

function setXattr(s: Session, q: Request): Awaitable<void> {
  const { size, flags } = new P.SetxattrIn().at(s.view, ARGUMENTS)
  const at = ARGUMENTS + P.SetxattrIn.size
  const nul = endOfText(s.bytes, at, q.end)
  if (nul + 1 + size > q.end) throw new DecodeError('SETXATTR with less data than announced')
  const value = Uint8Array.prototype.slice.call(s.bytes, nul + 1, nul + 1 + size)
  const how = flags === 1 ? 'create' : flags === 2 ? 'replace' : 'either'
  return group(s.fileSystem.xattrs, 'ENOSYS').setXattr(q, q.node, decodeUtf8(s.bytes, at, nul), value, how)
}

function forget(s: Session, node: number, count: number): void {
  s.backing.forget(node)
  s.fileSystem.forget(node, count)
}

function batchForget(s: Session, q: Request): void {
  const { count } = new P.BatchForgetIn().at(s.view, ARGUMENTS)
  const one = new P.ForgetOne()
  const first = ARGUMENTS + P.BatchForgetIn.size
  if (first + count * P.ForgetOne.size > q.end) throw new DecodeError('BATCH_FORGET with fewer nodes than announced')
  for (let i = 0; i < count; i++) {
    one.at(s.view, first + i * P.ForgetOne.size)
    forget(s, one.node, one.count)
  }
}

function fallocate(s: Session, q: Request): Awaitable<void> {
  const { handle, mode, offset, length } = new P.FallocateIn().at(s.view, ARGUMENTS)
  return group(s.fileSystem.allocation, 'EOPNOTSUPP').allocate(q, handle, mode, offset, length)
}

function lseek(s: Session, q: Request): Awaitable<number> {
  const { handle, offset, whence } = new P.LseekIn().at(s.view, ARGUMENTS)
  const what = whence === 3 ? 'data' : whence === 4 ? 'hole' : undefined
  if (what === undefined) throw new FsError('EINVAL')
  return group(s.fileSystem.allocation, 'ENOSYS').seek(q, handle, offset, what)
}

function copyFileRange(s: Session, q: Request): Awaitable<number> {
  const args = new P.CopyFileRangeIn().at(s.view, ARGUMENTS)
  const from = { handle: args.handleIn, offset: args.offsetIn }
  const to = { handle: args.handleOut, offset: args.offsetOut }
  // The kernel asks for as much as there may be; one answer moves at most 1 GiB.
  const length = Number(args.length > 0x4000_0000n ? 0x4000_0000n : args.length)
  return group(s.fileSystem.copy, 'ENOSYS').copyRange(q, from, to, length)
}

function putCopied(s: Session, bytes: number): number {
  new P.CopyFileRangeOut().at(s.reply.view, HEADER_BYTES).bytes = bytes
  return HEADER_BYTES + P.CopyFileRangeOut.size
}

function rename(s: Session, q: Request): Awaitable<void> {
  const { newParent } = new P.RenameIn().at(s.view, ARGUMENTS)
  const [name, newName] = twoNames(s, q, ARGUMENTS + P.RenameIn.size)
  return s.fileSystem.rename(q, { parent: q.node, name, newParent, newName, flags: 0 })
}

function rename2(s: Session, q: Request): Awaitable<void> {
  const { newParent, flags } = new P.Rename2In().at(s.view, ARGUMENTS)
  const [name, newName] = twoNames(s, q, ARGUMENTS + P.Rename2In.size)
  return s.fileSystem.rename(q, { parent: q.node, name, newParent, newName, flags })
}

function release(s: Session): Awaitable<void> {
  const { handle, releaseFlags, lockOwner } = s.in.release.at(s.view, ARGUMENTS)
  s.backing.release(handle)
  return s.fileSystem.release(handle, releaseFlags & P.FUSE_RELEASE_FLOCK_UNLOCK ? lockOwner : undefined)
}

function fsyncArguments(s: Session) {
  const { handle, flags } = new P.FsyncIn().at(s.view, ARGUMENTS)
  return { handle, dataOnly: (flags & P.FUSE_FSYNC_FDATASYNC) !== 0 }
}

function putOpenDirectory(s: Session, opened: { handle: number; keepCache?: boolean }): number {
  const flags = opened.keepCache ? P.FOPEN.CACHE_DIR | P.FOPEN.KEEP_CACHE : 0
  return s.reply.putOpen({ handle: opened.handle, flags, backingId: 0 })
}

/** Opcode → operation. Numbers after enum fuse_opcode. */
export const OPERATIONS: ReadonlyMap<number, Operation> = new Map<number, Operation>([
  [1, operation('LOOKUP', (s, q) => s.fileSystem.lookup(q, q.node, lastName(s, q, ARGUMENTS)), entry)],
  [
    2,
    command('FORGET', (s, q) => forget(s, q.node, new P.ForgetIn().at(s.view, ARGUMENTS).count), {
      silent: true,
    }),
  ],
  [3, operation('GETATTR', getattr, (s, result) => s.reply.putAttributes(result))],
  [4, operation('SETATTR', setattr, (s, result) => s.reply.putAttributes(result))],
  [
    5,
    operation(
      'READLINK',
      (s, q) => s.fileSystem.readlink(q, q.node),
      (s, target) => s.reply.putBytes(Buffer.from(target)),
    ),
  ],
  [
    6,
    operation(
      'SYMLINK',
      (s, q) => {
        const [name, target] = twoNames(s, q, ARGUMENTS)
        return s.fileSystem.makeSymlink(q, q.node, name, target)
      },
      entry,
    ),
  ],
  [
    8,
    operation(
      'MKNOD',
      (s, q) => {
        const { mode, rdev, umask } = new P.MknodIn().at(s.view, ARGUMENTS)
        return s.fileSystem.makeNode(q, newNode(s, q, ARGUMENTS + P.MknodIn.size, { mode, rdev, umask }))
      },
      entry,
    ),
  ],
  [
    9,
    operation(
      'MKDIR',
      (s, q) => {
        const { mode, umask } = new P.MkdirIn().at(s.view, ARGUMENTS)
        return s.fileSystem.makeDirectory(q, newNode(s, q, ARGUMENTS + P.MkdirIn.size, { mode, umask }))
      },
      entry,
    ),
  ],
  [10, command('UNLINK', (s, q) => s.fileSystem.unlink(q, q.node, lastName(s, q, ARGUMENTS)))],
  [11, command('RMDIR', (s, q) => s.fileSystem.removeDirectory(q, q.node, lastName(s, q, ARGUMENTS)))],
  [12, command('RENAME', rename)],
  [
    13,
    operation(
      'LINK',
      (s, q) => {
        const { node } = new P.LinkIn().at(s.view, ARGUMENTS)
        return s.fileSystem.link(q, node, q.node, lastName(s, q, ARGUMENTS + P.LinkIn.size))
      },
      entry,
    ),
  ],
  [14, operation('OPEN', open, (s, opened, q) => putOpen(s, q.node, opened))],
  [15, operation('READ', read, (s, result, q) => s.sendData(q, result))],
  [16, operation('WRITE', write, putWritten, { keepsBytes: true })],
  [
    17,
    operation(
      'STATFS',
      (s, q) => s.fileSystem.statfs(q, q.node),
      (s, stats) => s.reply.putStatfs(stats),
    ),
  ],
  [18, command('RELEASE', release)],
  [
    20,
    command('FSYNC', (s, q) => {
      const { handle, dataOnly } = fsyncArguments(s)
      return s.fileSystem.fsync(q, handle, dataOnly)
    }),
  ],
  [21, command('SETXATTR', setXattr)],
  [22, operation('GETXATTR', getXattr, putSized)],
  [23, operation('LISTXATTR', listXattrs, putSized)],
  [
    24,
    command('REMOVEXATTR', (s, q) =>
      group(s.fileSystem.xattrs, 'ENOSYS').removeXattr(q, q.node, lastName(s, q, ARGUMENTS)),
    ),
  ],
  [
    25,
    command('FLUSH', (s, q) => {
      const { handle, lockOwner } = s.in.flush.at(s.view, ARGUMENTS)
      return s.fileSystem.flush(q, handle, lockOwner)
    }),
  ],
  [
    26,
    operation(
      'INIT',
      (s) => s.initialize(),
      (s, agreement) => s.putInit(agreement),
    ),
  ],
  [27, operation('OPENDIR', (s, q) => s.fileSystem.openDirectory(q, q.node), putOpenDirectory)],
  [28, operation('READDIR', readDirectory(false), sendDirectory)],
  [29, command('RELEASEDIR', (s) => s.fileSystem.releaseDirectory(s.in.release.at(s.view, ARGUMENTS).handle))],
  [
    30,
    command('FSYNCDIR', (s, q) => {
      const { handle, dataOnly } = fsyncArguments(s)
      return s.fileSystem.fsyncDirectory(q, handle, dataOnly)
    }),
  ],
  [
    31,
    operation(
      'GETLK',
      (s, q) => group(s.fileSystem.locks, 'ENOSYS').getLock(q, lockRequest(s, q, false)),
      (s, lock) => s.reply.putLock(lock),
    ),
  ],
  [32, command('SETLK', (s, q) => group(s.fileSystem.locks, 'ENOSYS').setLock(q, lockRequest(s, q, false)))],
  [33, command('SETLKW', (s, q) => group(s.fileSystem.locks, 'ENOSYS').setLock(q, lockRequest(s, q, true)))],
  [
    34,
    command('ACCESS', (s, q) => {
      if (s.fileSystem.access === undefined) throw new FsError('ENOSYS')
      return s.fileSystem.access(q, q.node, new P.AccessIn().at(s.view, ARGUMENTS).mask)
    }),
  ],
  [
    35,
    operation(
      'CREATE',
      (s, q) => {
        const { node, flags } = createArguments(s, q)
        return s.fileSystem.create(q, node, flags)
      },
      putCreated,
    ),
  ],
  [36, command('INTERRUPT', (s) => s.interrupt(new P.InterruptIn().at(s.view, ARGUMENTS).unique), { silent: true })],
  [37, unsupported('BMAP', 'ENOSYS')],
  [38, command('DESTROY', () => undefined)],
  [39, unsupported('IOCTL', 'ENOTTY')],
  [40, unsupported('POLL', 'ENOSYS')],
  [42, command('BATCH_FORGET', batchForget, { silent: true })],
  [43, command('FALLOCATE', fallocate)],
  [44, operation('READDIRPLUS', readDirectory(true), sendDirectory)],
  [45, command('RENAME2', rename2)],
  [
    46,
    operation('LSEEK', lseek, (s, offset) => {
      new P.LseekOut().at(s.reply.view, HEADER_BYTES).offset = offset
      return HEADER_BYTES + P.LseekOut.size
    }),
  ],
  [47, operation('COPY_FILE_RANGE', copyFileRange, putWritten)],
  [
    50,
    command('SYNCFS', (s, q) => {
      if (s.fileSystem.sync === undefined) throw new FsError('ENOSYS')
      return s.fileSystem.sync(q)
    }),
  ],
  [
    51,
    operation(
      'TMPFILE',
      (s, q) => {
        if (s.fileSystem.createTemporary === undefined) throw new FsError('EOPNOTSUPP')
        const { node, flags } = createArguments(s, q)
        return s.fileSystem.createTemporary(q, node, flags)
      },
      putCreated,
    ),
  ],
  [52, operation('STATX', statx, (s, result) => s.reply.putStatx(result))],
  [53, operation('COPY_FILE_RANGE_64', copyFileRange, putCopied)],
])
