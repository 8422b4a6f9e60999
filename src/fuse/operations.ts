// The opcode table: for each opcode its name, how it is decoded and asked of the file system, and how the answer is
// encoded. What a file system does not implement becomes ENOSYS here and nowhere else.
import { DecodeError } from '../codec/errors.ts'
import { FsError } from '../posix/errors.ts'
import { RENAME_EXCHANGE, RENAME_NOREPLACE } from '../posix/mode.ts'
import type { AbsentEntry, Awaitable, Entry } from '../vfs/filesystem.ts'
import {
  ARGUMENTS,
  attributeChanges,
  createArguments,
  fsyncArguments,
  lastName,
  lockRequest,
  newNode,
  twoNames,
} from './arguments.ts'
import {
  closeCreated,
  closeDirectory,
  closeOpened,
  forget,
  forgetEntry,
  open,
  putCreated,
  putOpen,
  putOpenDirectory,
  release,
} from './opening.ts'
import { command, type Operation, operation, optional, unsupported } from './operation.ts'
import * as P from './protocol.ts'
import { HEADER_BYTES } from './reply.ts'
import type { Request } from './request.ts'
import type { Session } from './session.ts'
import {
  copyFileRange,
  fallocate,
  lseek,
  putCopied,
  putWritten,
  read,
  readDirectory,
  sendDirectory,
  write,
} from './transfers.ts'
import { getXattr, listXattrs, putSized, setXattr } from './xattrs.ts'

/** An operation that answers an entry. */
function entry(name: string, call: (s: Session, q: Request) => Awaitable<Entry | AbsentEntry>): Operation {
  return operation<Entry | AbsentEntry>(name, call, (s, result) => s.reply.putEntry(result), { giveBack: forgetEntry })
}

function getattr(s: Session, q: Request) {
  const args = s.in.getattr.at(s.view, ARGUMENTS)
  return s.fileSystem.getAttributes(q, q.node, args.flags & P.FUSE_GETATTR_FH ? args.handle : undefined)
}

function setattr(s: Session, q: Request) {
  const { changes, handle } = attributeChanges(s)
  return s.fileSystem.setAttributes(q, q.node, changes, handle)
}

function statx(s: Session, q: Request) {
  const args = new P.StatxIn().at(s.view, ARGUMENTS)
  return s.fileSystem.getAttributes(q, q.node, args.getattrFlags & P.FUSE_GETATTR_FH ? args.handle : undefined)
}

function rename(s: Session, q: Request): Awaitable<void> {
  const { newParent } = new P.RenameIn().at(s.view, ARGUMENTS)
  const [name, newName] = twoNames(s, q, ARGUMENTS + P.RenameIn.size)
  return s.fileSystem.rename(q, { parent: q.node, name, newParent, newName, flags: 0 })
}

function rename2(s: Session, q: Request): Awaitable<void> {
  const { newParent, flags } = new P.Rename2In().at(s.view, ARGUMENTS)
  // The kernel lets RENAME_WHITEOUT through, too: that is for the layers of an overlay.
  if (flags !== 0 && flags !== RENAME_NOREPLACE && flags !== RENAME_EXCHANGE) throw new FsError('EINVAL')
  const [name, newName] = twoNames(s, q, ARGUMENTS + P.Rename2In.size)
  return s.fileSystem.rename(q, { parent: q.node, name, newParent, newName, flags })
}

function batchForget(s: Session, q: Request): void {
  const { count: total } = new P.BatchForgetIn().at(s.view, ARGUMENTS)
  const one = new P.ForgetOne()
  const first = ARGUMENTS + P.BatchForgetIn.size
  if (first + total * P.ForgetOne.size > q.end) throw new DecodeError('BATCH_FORGET with fewer nodes than announced')
  for (let i = 0; i < total; i++) {
    one.at(s.view, first + i * P.ForgetOne.size)
    const { node, count } = one
    // A file system that refuses one of them is still told of the others.
    s.giveBack(() => forget(s, node, count))
  }
}

/** Opcode → operation. Numbers after enum fuse_opcode. */
export const OPERATIONS: ReadonlyMap<number, Operation> = new Map<number, Operation>([
  [1, entry('LOOKUP', (s, q) => s.fileSystem.lookup(q, q.node, lastName(s, q, ARGUMENTS)))],
  [
    2,
    command(
      'FORGET',
      (s, q) => {
        const { count } = s.in.forget.at(s.view, ARGUMENTS)
        s.giveBack(() => forget(s, q.node, count))
      },
      { silent: true },
    ),
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
    entry('SYMLINK', (s, q) => {
      const [name, target] = twoNames(s, q, ARGUMENTS)
      return s.fileSystem.makeSymlink(q, q.node, name, target)
    }),
  ],
  [
    8,
    entry('MKNOD', (s, q) => {
      const { mode, rdev, umask } = new P.MknodIn().at(s.view, ARGUMENTS)
      return s.fileSystem.makeNode(q, newNode(s, q, ARGUMENTS + P.MknodIn.size, { mode, rdev, umask }))
    }),
  ],
  [
    9,
    entry('MKDIR', (s, q) => {
      const { mode, umask } = new P.MkdirIn().at(s.view, ARGUMENTS)
      return s.fileSystem.makeDirectory(q, newNode(s, q, ARGUMENTS + P.MkdirIn.size, { mode, umask }))
    }),
  ],
  [10, command('UNLINK', (s, q) => s.fileSystem.unlink(q, q.node, lastName(s, q, ARGUMENTS)))],
  [11, command('RMDIR', (s, q) => s.fileSystem.removeDirectory(q, q.node, lastName(s, q, ARGUMENTS)))],
  [12, command('RENAME', rename)],
  [
    13,
    entry('LINK', (s, q) => {
      const { node } = new P.LinkIn().at(s.view, ARGUMENTS)
      return s.fileSystem.link(q, node, q.node, lastName(s, q, ARGUMENTS + P.LinkIn.size))
    }),
  ],
  [14, operation('OPEN', open, (s, opened, q) => putOpen(s, q.node, opened), { giveBack: closeOpened })],
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
    command('REMOVEXATTR', (s, q) => optional(s.fileSystem.xattrs).removeXattr(q, q.node, lastName(s, q, ARGUMENTS))),
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
  [
    27,
    operation('OPENDIR', (s, q) => s.fileSystem.openDirectory(q, q.node), putOpenDirectory, {
      giveBack: closeDirectory,
    }),
  ],
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
      (s, q) => optional(s.fileSystem.locks).getLock(q, lockRequest(s, q, false)),
      (s, lock) => s.reply.putLock(lock),
    ),
  ],
  [32, command('SETLK', (s, q) => optional(s.fileSystem.locks).setLock(q, lockRequest(s, q, false)))],
  [33, command('SETLKW', (s, q) => optional(s.fileSystem.locks).setLock(q, lockRequest(s, q, true)))],
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
      { giveBack: closeCreated },
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
        if (s.fileSystem.createTemporary === undefined) throw new FsError('ENOSYS')
        const { node, flags } = createArguments(s, q)
        return s.fileSystem.createTemporary(q, node, flags)
      },
      putCreated,
      { giveBack: closeCreated },
    ),
  ],
  [52, operation('STATX', statx, (s, result) => s.reply.putStatx(result))],
  [53, operation('COPY_FILE_RANGE_64', copyFileRange, putCopied)],
])
