// The calls of libfuse 2 as npm fuse-native 2.2.6 passes them on: one table of names, arguments and answers.
import type { Attributes, FileSystemStats } from '../posix/attributes.ts'
import { FsError } from '../posix/errors.ts'
import type { Awaitable, DirectoryEntry } from '../vfs/filesystem.ts'
import { direntRecord, fromWords, STAT_WORDS, STATFS_WORDS, statfsRecord, statRecord } from './portable-records.ts'

/**
 * What libfuse calls. Paths begin with a slash. `fd` is the number that `open` returned, 1 to 2^31 - 1; times are
 * milliseconds since the epoch. Buffers are valid until the result is settled. ENOSYS: libfuse need not ask again.
 */
export interface PortableCalls {
  /** The first call: kernel and libfuse have agreed. */
  init(): Awaitable<void>
  getattr(path: string): Awaitable<Attributes>
  fgetattr(path: string, fd: number): Awaitable<Attributes>
  access(path: string, mask: number): Awaitable<void>
  readlink(path: string): Awaitable<string>
  readdir(path: string): Awaitable<readonly Omit<DirectoryEntry, 'cookie'>[]>
  mknod(path: string, mode: number, rdev: number): Awaitable<void>
  mkdir(path: string, mode: number): Awaitable<void>
  unlink(path: string): Awaitable<void>
  rmdir(path: string): Awaitable<void>
  symlink(target: string, path: string): Awaitable<void>
  rename(from: string, to: string): Awaitable<void>
  link(from: string, to: string): Awaitable<void>
  chmod(path: string, mode: number): Awaitable<void>
  /** An id of 2^32 - 1 stays as it is. */
  chown(path: string, uid: number, gid: number): Awaitable<void>
  truncate(path: string, size: number): Awaitable<void>
  ftruncate(path: string, fd: number, size: number): Awaitable<void>
  utimens(path: string, atimeMs: number, mtimeMs: number): Awaitable<void>
  open(path: string, flags: number): Awaitable<number>
  /** Number of bytes put into the buffer; fewer than fit only at the end of the file. */
  read(path: string, fd: number, into: Buffer, offset: number): Awaitable<number>
  write(path: string, fd: number, data: Buffer, offset: number): Awaitable<number>
  flush(path: string, fd: number): Awaitable<void>
  release(path: string, fd: number): Awaitable<void>
  fsync(path: string, fd: number, dataOnly: boolean): Awaitable<void>
  /** Whether the directory may be read; it is not held open. */
  opendir(path: string): Awaitable<void>
  fsyncdir(path: string, dataOnly: boolean): Awaitable<void>
  statfs(path: string): Awaitable<FileSystemStats>
  getxattr(path: string, name: string): Awaitable<Uint8Array>
  listxattr(path: string): Awaitable<readonly string[]>
  /** `flags`: XATTR_CREATE 1, XATTR_REPLACE 2. */
  setxattr(path: string, name: string, value: Buffer, flags: number): Awaitable<void>
  removexattr(path: string, name: string): Awaitable<void>
}

export type CallName = keyof PortableCalls

/** What comes from libfuse: paths, numbers, and buffers over its own memory. */
export type Argument = string | number | Buffer
/** The result, 0 or bytes, and what goes with it. */
export type Answer = readonly [result: number, ...values: unknown[]]

/** How a call is passed on and answered. */
export interface Call {
  /** As fuse_kernel.h names it, without FUSE_. */
  readonly operation: string
  readonly answer: (calls: PortableCalls, ...args: Argument[]) => Promise<Answer>
  /** What goes with an error: fuse-native reads it all the same, and takes its buffers back. */
  readonly withError: (...args: Argument[]) => readonly unknown[]
  /** Which argument is the number of bytes to move. */
  readonly bytesAt?: number
}

function call<Args extends Argument[]>(
  operation: string,
  answer: (calls: PortableCalls, ...args: Args) => Promise<Answer>,
  withError: Call['withError'] = () => [],
): Call {
  return { operation, answer, withError } as unknown as Call
}

/** A call that answers nothing but success. */
function command<Args extends Argument[]>(
  operation: string,
  run: (calls: PortableCalls, ...args: Args) => Awaitable<void>,
): Call {
  return call<Args>(operation, async (calls, ...args) => {
    await run(calls, ...args)
    return [0]
  })
}

/** The memory of all buffers among the arguments. */
const buffers = (args: readonly Argument[]) => args.flatMap((arg) => (typeof arg === 'object' ? [arg.buffer] : []))

const noStat = () => [new Uint32Array(STAT_WORDS)]

/** READ and WRITE have the same arguments. */
type Transfer = [path: string, fd: number, buffer: Buffer, length: number, low: number, high: number]

function transfer(operation: string, name: 'read' | 'write'): Call {
  const moved = call<Transfer>(
    operation,
    async (calls, path, fd, buffer, _length, low, high) => {
      const bytes = await calls[name](path, fd, buffer, fromWords(low, high))
      return [bytes, bytes, buffer.buffer]
    },
    (...args) => [0, ...buffers(args)],
  )
  return { ...moved, bytesAt: 3 }
}

/** An extended attribute, or its size for a caller without a buffer. */
function sized(value: Uint8Array, into: Buffer): Answer {
  if (into.length > 0) {
    if (value.length > into.length) throw new FsError('ERANGE')
    into.set(value)
  }
  return [value.length, into.buffer]
}

/** libfuse's name → how it is passed on. `create` is left out: it comes without flags, so that the kernel's way of
 * making a file and then opening it (MKNOD, OPEN) says more. */
export const CALLS: { readonly [name in CallName]: Call } = {
  init: command('INIT', (c) => c.init()),
  getattr: call('GETATTR', async (c, path: string) => [0, statRecord(await c.getattr(path))], noStat),
  fgetattr: call('GETATTR', async (c, path: string, fd: number) => [0, statRecord(await c.fgetattr(path, fd))], noStat),
  access: command('ACCESS', (c, path: string, mask: number) => c.access(path, mask)),
  readlink: call(
    'READLINK',
    async (c, path: string) => [0, await c.readlink(path)],
    () => [''],
  ),
  readdir: call(
    'READDIR',
    async (c, path: string) => {
      const entries = await c.readdir(path)
      return [0, entries.map(({ name }) => name), entries.map(({ type, ino }) => direntRecord(type, ino))]
    },
    () => [[], []],
  ),
  mknod: command('MKNOD', (c, path: string, mode: number, rdev: number) => c.mknod(path, mode, rdev)),
  mkdir: command('MKDIR', (c, path: string, mode: number) => c.mkdir(path, mode)),
  unlink: command('UNLINK', (c, path: string) => c.unlink(path)),
  rmdir: command('RMDIR', (c, path: string) => c.rmdir(path)),
  symlink: command('SYMLINK', (c, target: string, path: string) => c.symlink(target, path)),
  rename: command('RENAME', (c, from: string, to: string) => c.rename(from, to)),
  link: command('LINK', (c, from: string, to: string) => c.link(from, to)),
  chmod: command('SETATTR', (c, path: string, mode: number) => c.chmod(path, mode)),
  chown: command('SETATTR', (c, path: string, uid: number, gid: number) => c.chown(path, uid, gid)),
  truncate: command('SETATTR', (c, path: string, low: number, high: number) => c.truncate(path, fromWords(low, high))),
  ftruncate: command('SETATTR', (c, path: string, fd: number, low: number, high: number) =>
    c.ftruncate(path, fd, fromWords(low, high)),
  ),
  utimens: command('SETATTR', (c, path: string, aLow: number, aHigh: number, mLow: number, mHigh: number) =>
    c.utimens(path, fromWords(aLow, aHigh), fromWords(mLow, mHigh)),
  ),
  open: call(
    'OPEN',
    async (c, path: string, flags: number) => [0, await c.open(path, flags)],
    () => [0],
  ),
  read: transfer('READ', 'read'),
  write: transfer('WRITE', 'write'),
  flush: command('FLUSH', (c, path: string, fd: number) => c.flush(path, fd)),
  release: command('RELEASE', (c, path: string, fd: number) => c.release(path, fd)),
  fsync: command('FSYNC', (c, path: string, dataOnly: number, fd: number) => c.fsync(path, fd, dataOnly !== 0)),
  opendir: call(
    'OPENDIR',
    async (c, path: string) => {
      await c.opendir(path)
      return [0, 0]
    },
    () => [0],
  ),
  fsyncdir: command('FSYNCDIR', (c, path: string, dataOnly: number) => c.fsyncdir(path, dataOnly !== 0)),
  statfs: call(
    'STATFS',
    async (c, path: string) => [0, statfsRecord(await c.statfs(path))],
    () => [new Uint32Array(STATFS_WORDS)],
  ),
  getxattr: call(
    'GETXATTR',
    async (c, path: string, name: string, into: Buffer) => sized(await c.getxattr(path, name), into),
    (...args) => buffers(args),
  ),
  listxattr: call(
    'LISTXATTR',
    async (c, path: string, into: Buffer) => {
      const names = await c.listxattr(path)
      return sized(Buffer.from(names.map((name) => `${name}\0`).join('')), into)
    },
    (...args) => buffers(args),
  ),
  setxattr: call(
    'SETXATTR',
    async (c, path: string, name: string, value: Buffer, _position: number, flags: number) => {
      await c.setxattr(path, name, value, flags)
      return [0, value.buffer]
    },
    (...args) => buffers(args),
  ),
  removexattr: command('REMOVEXATTR', (c, path: string, name: string) => c.removexattr(path, name)),
}
