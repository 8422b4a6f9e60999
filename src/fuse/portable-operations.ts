// libfuse's calls by path, asked of a FileSystem by node and handle.
import { read as readFile } from 'node:fs'
import { promisify } from 'node:util'
import type { Attributes, FileSystemStats } from '../posix/attributes.ts'
import { timespecFromMs } from '../posix/attributes.ts'
import { FsError } from '../posix/errors.ts'
import { O_APPEND } from '../posix/mode.ts'
import type { AttributesReply, CallContext, DirectoryEntry, FileSystem, Handle, NodeId } from '../vfs/filesystem.ts'
import { writeServed } from './backing.ts'
import type { PortableCalls } from './portable-calls.ts'
import type { Paths } from './portable-paths.ts'

const readFrom = promisify(readFile)

/** chown(2)'s "leave it as it is". */
const UNCHANGED = 2 ** 32 - 1
/** The largest number that fuse-native hands back for an open file. */
const FD_MAX = 2 ** 31 - 1

interface OpenFile {
  readonly node: NodeId
  readonly handle: Handle
  /** As given to open(2). */
  readonly flags: number
  /** The local file that holds the content, if that is how it is served. */
  readonly backing: number | undefined
}

export interface PortableOperationsOptions {
  readonly fileSystem: FileSystem
  readonly paths: Paths
  /** Who is asking: always the same, since fuse-native does not tell. */
  readonly context: CallContext
}

export class PortableOperations implements PortableCalls {
  readonly #fs: FileSystem
  readonly #paths: Paths
  readonly #context: CallContext
  readonly #files = new Map<number, OpenFile>()
  #lastFd = 0
  /** Resolved by the first call. */
  readonly initialized: Promise<void>
  #begin: () => void = () => undefined

  constructor({ fileSystem, paths, context }: PortableOperationsOptions) {
    this.#fs = fileSystem
    this.#paths = paths
    this.#context = context
    this.initialized = new Promise((resolve) => {
      this.#begin = resolve
    })
  }

  init(): void {
    this.#begin()
  }

  getattr(path: string): Promise<Attributes> {
    return this.#paths.use(path, async (node) => attributes(await this.#fs.getAttributes(this.#context, node)))
  }

  async fgetattr(_path: string, fd: number): Promise<Attributes> {
    const { node, handle } = this.#file(fd)
    return attributes(await this.#fs.getAttributes(this.#context, node, handle))
  }

  async access(path: string, mask: number): Promise<void> {
    if (this.#fs.access === undefined) throw new FsError('ENOSYS')
    await this.#paths.use(path, (node) => this.#fs.access?.(this.#context, node, mask))
  }

  readlink(path: string): Promise<string> {
    return this.#paths.use(path, (node) => this.#fs.readlink(this.#context, node))
  }

  /** The whole directory: libfuse keeps it for as long as the program has it open. */
  async readdir(path: string): Promise<Omit<DirectoryEntry, 'cookie'>[]> {
    const entries: DirectoryEntry[] = []
    const add = (entry: DirectoryEntry) => entries.push(entry) > 0
    await this.#withDirectory(path, (handle) =>
      this.#fs.readDirectory(this.#context, handle, 0, { wantsEntries: false, add }),
    )
    return entries
  }

  opendir(path: string): Promise<void> {
    return this.#withDirectory(path, () => undefined)
  }

  fsyncdir(path: string, dataOnly: boolean): Promise<void> {
    return this.#withDirectory(path, (handle) => this.#fs.fsyncDirectory(this.#context, handle, dataOnly))
  }

  mknod(path: string, mode: number, rdev: number): Promise<void> {
    return this.#paths.make(path, (parent, name) =>
      this.#fs.makeNode(this.#context, { parent, name, mode, rdev, umask: 0 }),
    )
  }

  mkdir(path: string, mode: number): Promise<void> {
    return this.#paths.make(path, (parent, name) =>
      this.#fs.makeDirectory(this.#context, { parent, name, mode, umask: 0 }),
    )
  }

  async symlink(target: string, path: string): Promise<void> {
    if (target.includes('\ufffd')) throw new FsError('EILSEQ')
    await this.#paths.make(path, (parent, name) => this.#fs.makeSymlink(this.#context, parent, name, target))
  }

  link(from: string, to: string): Promise<void> {
    return this.#paths.use(from, (node) =>
      this.#paths.make(to, (parent, name) => this.#fs.link(this.#context, node, parent, name)),
    )
  }

  unlink(path: string): Promise<void> {
    return this.#removing([path], () =>
      this.#paths.useParent(path, (parent, name) => this.#fs.unlink(this.#context, parent, name)),
    )
  }

  rmdir(path: string): Promise<void> {
    return this.#removing([path], () =>
      this.#paths.useParent(path, (parent, name) => this.#fs.removeDirectory(this.#context, parent, name)),
    )
  }

  rename(from: string, to: string): Promise<void> {
    return this.#removing([from, to], () =>
      this.#paths.useParent(from, (parent, name) =>
        this.#paths.useParent(to, (newParent, newName) =>
          this.#fs.rename(this.#context, { parent, name, newParent, newName, flags: 0 }),
        ),
      ),
    )
  }

  chmod(path: string, mode: number): Promise<void> {
    return this.#change(path, { mode: mode & 0o7777 })
  }

  chown(path: string, uid: number, gid: number): Promise<void> {
    return this.#change(path, { ...(uid === UNCHANGED ? {} : { uid }), ...(gid === UNCHANGED ? {} : { gid }) })
  }

  truncate(path: string, size: number): Promise<void> {
    return this.#change(path, { size })
  }

  async ftruncate(_path: string, fd: number, size: number): Promise<void> {
    const { node, handle } = this.#file(fd)
    await this.#fs.setAttributes(this.#context, node, { size }, handle)
  }

  utimens(path: string, atimeMs: number, mtimeMs: number): Promise<void> {
    return this.#change(path, { atime: timespecFromMs(atimeMs), mtime: timespecFromMs(mtimeMs) })
  }

  open(path: string, flags: number): Promise<number> {
    return this.#paths.use(path, async (node) => {
      const { handle, backing, directIo } = await this.#fs.open(this.#context, node, flags)
      // An open file keeps its node, as in a kernel.
      this.#paths.retain(node)
      const fd = this.#freeFd()
      this.#files.set(fd, { node, handle, flags, backing: directIo ? undefined : backing?.fd })
      return fd
    })
  }

  async read(_path: string, fd: number, into: Buffer, offset: number): Promise<number> {
    const { handle, backing } = this.#file(fd)
    if (backing !== undefined) return readRange(backing, into, offset)
    const found = await this.#fs.read(this.#context, handle, offset, into.length)
    if ('fd' in found) return readRange(found.fd, into.subarray(0, found.length), found.offset)
    const bytes = found instanceof Uint8Array ? found : found.bytes
    into.set(bytes)
    if ('release' in found) found.release()
    return bytes.length
  }

  async write(_path: string, fd: number, data: Buffer, offset: number): Promise<number> {
    const { handle, backing, flags } = this.#file(fd)
    const append = (flags & O_APPEND) !== 0
    if (backing !== undefined) return writeServed(backing, offset, data, append)
    return this.#fs.write(this.#context, handle, offset, data, append)
  }

  /** Who closes is not known: no lock owner's locks end here, and none were ever set. */
  async flush(_path: string, fd: number): Promise<void> {
    await this.#fs.flush(this.#context, this.#file(fd).handle, 0n)
  }

  async release(_path: string, fd: number): Promise<void> {
    const { node, handle } = this.#file(fd)
    this.#files.delete(fd)
    try {
      await this.#fs.release(handle)
    } finally {
      this.#paths.release(node)
    }
  }

  async fsync(_path: string, fd: number, dataOnly: boolean): Promise<void> {
    await this.#fs.fsync(this.#context, this.#file(fd).handle, dataOnly)
  }

  statfs(path: string): Promise<FileSystemStats> {
    return this.#paths.use(path, (node) => this.#fs.statfs(this.#context, node))
  }

  async getxattr(path: string, name: string): Promise<Uint8Array> {
    const value = await this.#paths.use(path, (node) => this.#xattrs.getXattr(this.#context, node, name))
    if (value === undefined) throw new FsError('ENODATA')
    return value
  }

  listxattr(path: string): Promise<readonly string[]> {
    return this.#paths.use(path, (node) => this.#xattrs.listXattrs(this.#context, node))
  }

  setxattr(path: string, name: string, value: Buffer, flags: number): Promise<void> {
    const how = flags === 1 ? 'create' : flags === 2 ? 'replace' : 'either'
    // The bytes are libfuse's; what is stored is a copy.
    const copy = Uint8Array.from(value)
    return this.#paths.use(path, (node) => this.#xattrs.setXattr(this.#context, node, name, copy, how))
  }

  removexattr(path: string, name: string): Promise<void> {
    return this.#paths.use(path, (node) => this.#xattrs.removeXattr(this.#context, node, name))
  }

  get #xattrs() {
    if (this.#fs.xattrs === undefined) throw new FsError('ENOSYS')
    return this.#fs.xattrs
  }

  #file(fd: number): OpenFile {
    const file = this.#files.get(fd)
    if (file === undefined) throw new FsError('EBADF')
    return file
  }

  #freeFd(): number {
    do this.#lastFd = (this.#lastFd % FD_MAX) + 1
    while (this.#files.has(this.#lastFd))
    return this.#lastFd
  }

  async #change(path: string, changes: Parameters<FileSystem['setAttributes']>[2]): Promise<void> {
    await this.#paths.use(path, (node) => this.#fs.setAttributes(this.#context, node, changes))
  }

  /** Paths whose names go, or mean something else, whether or not `work` says so. */
  async #removing(paths: readonly string[], work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } finally {
      for (const path of paths) this.#paths.drop(path)
    }
  }

  #withDirectory(path: string, work: (handle: Handle) => void | Promise<void>): Promise<void> {
    return this.#paths.use(path, async (node) => {
      const { handle } = await this.#fs.openDirectory(this.#context, node)
      try {
        await work(handle)
      } finally {
        await this.#fs.releaseDirectory(handle)
      }
    })
  }
}

const attributes = (reply: AttributesReply): Attributes => reply.attributes

/** Fills `into` from a local file; less only at its end. */
async function readRange(fd: number, into: Buffer, offset: number): Promise<number> {
  let done = 0
  while (done < into.length) {
    const { bytesRead } = await readFrom(fd, into, done, into.length - done, offset + done)
    if (bytesRead === 0) break
    done += bytesRead
  }
  return done
}
