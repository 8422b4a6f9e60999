// A small file system in memory: files, directories, symlinks, hard links, special nodes, extended attributes. For tests
// of drivers and sessions; it checks no permissions. `audit` tells what a kernel still holds.
import type { AttributeChanges, Attributes, FileSystemStats, Timespec } from '../../src/posix/attributes.ts'
import { EPOCH, timespecFromMs } from '../../src/posix/attributes.ts'
import { FsError } from '../../src/posix/errors.ts'
import {
  direntType,
  isDirectory,
  isSymlink,
  NAME_MAX,
  O_TRUNC,
  RENAME_EXCHANGE,
  RENAME_NOREPLACE,
  S_IFDIR,
  S_IFLNK,
  S_ISGID,
  S_ISUID,
} from '../../src/posix/mode.ts'
import {
  type AbsentEntry,
  type CallContext,
  type DirectorySink,
  type Entry,
  type ExtendedAttributes,
  type FileSystem,
  type Handle,
  type KernelCache,
  type KernelWishes,
  type NewNode,
  type NodeId,
  type Opened,
  type Renaming,
  ROOT_NODE,
} from '../../src/vfs/filesystem.ts'

interface Node {
  attributes: Attributes
  /** As long as the file or longer; zeros beyond its end. */
  content: Buffer
  target: string
  readonly names: Map<string, NodeId>
  parent: NodeId
  readonly xattrs: Map<string, Uint8Array>
}

interface OpenFile {
  readonly node: NodeId
  readonly flags: number
}

export interface MemoryOptions {
  /** How long names may be believed, in milliseconds. */
  readonly nameTtlMs?: number
  /** How long attributes may be believed, in milliseconds. */
  readonly attributesTtlMs?: number
  /** Opens keep the pages that the kernel has cached. */
  readonly keepCache?: boolean
  readonly writebackCache?: boolean
  /** Where time comes from, in milliseconds since the epoch. */
  readonly now?: () => number
}

const BLOCK = 512
const SIZE_MAX = 2 ** 30

export class MemoryFileSystem implements FileSystem {
  readonly wants: KernelWishes
  readonly xattrs: ExtendedAttributes
  /** Given by `attach`. */
  kernel: KernelCache | undefined
  detached = false
  readonly #nodes = new Map<NodeId, Node>()
  readonly #lookups = new Map<NodeId, number>()
  readonly #handles = new Map<Handle, OpenFile>()
  readonly #nameTtlMs: number
  readonly #attributesTtlMs: number
  readonly #keepCache: boolean
  readonly #now: () => Timespec
  #lastNode = ROOT_NODE
  #lastHandle = 0

  constructor(options: MemoryOptions = {}) {
    const { nameTtlMs = 0, attributesTtlMs = 0, keepCache = false, now = Date.now } = options
    this.#nameTtlMs = nameTtlMs
    this.#attributesTtlMs = attributesTtlMs
    this.#keepCache = keepCache
    this.wants = { writebackCache: options.writebackCache ?? false }
    this.#now = () => timespecFromMs(now())
    this.#nodes.set(ROOT_NODE, this.#newNode(ROOT_NODE, ROOT_NODE, { mode: S_IFDIR | 0o755, uid: 0, gid: 0 }))
    this.xattrs = {
      getXattr: (_context, node, name) => this.#node(node).xattrs.get(name),
      listXattrs: (_context, node) => [...this.#node(node).xattrs.keys()],
      setXattr: (_context, node, name, value, how) => {
        const { xattrs } = this.#node(node)
        if (how === 'create' && xattrs.has(name)) fail('EEXIST')
        if (how === 'replace' && !xattrs.has(name)) fail('ENODATA')
        xattrs.set(name, value)
      },
      removeXattr: (_context, node, name) => {
        if (!this.#node(node).xattrs.delete(name)) fail('ENODATA')
      },
    }
  }

  /** What is held from outside: lookups not yet forgotten, open handles; and nodes that exist. */
  audit(): { lookups: number; handles: number; nodes: number } {
    const lookups = [...this.#lookups.values()].reduce((sum, count) => sum + count, 0)
    return { lookups, handles: this.#handles.size, nodes: this.#nodes.size }
  }

  attach(kernel: KernelCache): void {
    this.kernel = kernel
  }

  detach(): void {
    this.detached = true
  }

  lookup(_context: CallContext, parent: NodeId, name: string): Entry | AbsentEntry {
    const node = this.#directory(parent).names.get(checked(name))
    return node === undefined ? { node: 0, nameTtlMs: this.#nameTtlMs } : this.#entry(node)
  }

  forget(node: NodeId, count: number): void {
    const left = (this.#lookups.get(node) ?? 0) - count
    if (left < 0) throw new Error(`node ${node} was forgotten ${-left} times more often than looked up`)
    if (left > 0) this.#lookups.set(node, left)
    else this.#lookups.delete(node)
    this.#collect(node)
  }

  getAttributes(_context: CallContext, node: NodeId) {
    return { attributes: this.#node(node).attributes, attributesTtlMs: this.#attributesTtlMs }
  }

  setAttributes(context: CallContext, id: NodeId, changes: AttributeChanges) {
    const node = this.#node(id)
    const { mode, uid, gid, size, atime, mtime, clearSetId } = changes
    const now = this.#now()
    if (size !== undefined) this.#resize(node, size)
    const permissions = (mode ?? node.attributes.mode) & (clearSetId ? ~(S_ISUID | S_ISGID) : ~0) & 0o7777
    this.#change(node, {
      mode: (node.attributes.mode & ~0o7777) | permissions,
      ...(uid === undefined ? {} : { uid }),
      ...(gid === undefined ? {} : { gid }),
      ...(atime === undefined ? {} : { atime: atime === 'now' ? now : atime }),
      ...(mtime === undefined ? {} : { mtime: mtime === 'now' ? now : mtime }),
    })
    return this.getAttributes(context, id)
  }

  readlink(_context: CallContext, id: NodeId): string {
    const node = this.#node(id)
    return isSymlink(node.attributes.mode) ? node.target : fail('EINVAL')
  }

  makeNode(context: CallContext, node: NewNode): Entry {
    return this.#make(context, node)
  }

  makeDirectory(context: CallContext, node: NewNode): Entry {
    return this.#make(context, { ...node, mode: S_IFDIR | node.mode })
  }

  makeSymlink(context: CallContext, parent: NodeId, name: string, target: string): Entry {
    return this.#make(context, { parent, name, mode: S_IFLNK | 0o777, umask: 0 }, target)
  }

  link(_context: CallContext, id: NodeId, newParent: NodeId, newName: string): Entry {
    const { names } = this.#directory(newParent)
    if (names.has(checked(newName))) fail('EEXIST')
    const node = this.#node(id)
    if (isDirectory(node.attributes.mode)) fail('EPERM')
    names.set(newName, id)
    this.#change(node, { nlink: node.attributes.nlink + 1 })
    return this.#entry(id)
  }

  unlink(_context: CallContext, parent: NodeId, name: string): void {
    const id = this.#named(parent, name)
    if (isDirectory(this.#node(id).attributes.mode)) fail('EISDIR')
    this.#removeName(parent, name, id)
  }

  removeDirectory(_context: CallContext, parent: NodeId, name: string): void {
    const id = this.#named(parent, name)
    if (this.#directory(id).names.size > 0) fail('ENOTEMPTY')
    this.#removeName(parent, name, id)
  }

  rename(_context: CallContext, { parent, name, newParent, newName, flags }: Renaming): void {
    const id = this.#named(parent, name)
    const target = this.#directory(newParent).names.get(checked(newName))
    if (flags & RENAME_NOREPLACE && target !== undefined) fail('EEXIST')
    if (isDirectory(this.#node(id).attributes.mode) && this.#isBelow(newParent, id)) fail('EINVAL')
    if (target === id) return
    if (flags & RENAME_EXCHANGE) {
      this.#place(parent, name, target ?? fail('ENOENT'))
    } else {
      if (target !== undefined) this.#replaceable(id, target)
      if (target !== undefined) this.#removeName(newParent, newName, target)
      this.#directory(parent).names.delete(name)
    }
    this.#place(newParent, newName, id)
  }

  open(_context: CallContext, id: NodeId, flags: number): Opened {
    const node = this.#node(id)
    if (isDirectory(node.attributes.mode)) fail('EISDIR')
    if (flags & O_TRUNC) this.#resize(node, 0)
    return { handle: this.#handle(id, flags), keepCache: this.#keepCache }
  }

  create(context: CallContext, node: NewNode, flags: number): { entry: Entry; opened: Opened } {
    const entry = this.#make(context, node)
    return { entry, opened: { handle: this.#handle(entry.node, flags), keepCache: this.#keepCache } }
  }

  read(_context: CallContext, handle: Handle, offset: number, length: number): Uint8Array {
    const { content, attributes } = this.#node(this.#opened(handle).node)
    return content.subarray(offset, Math.min(offset + length, attributes.size))
  }

  write(_context: CallContext, handle: Handle, offset: number, data: Uint8Array, append: boolean): number {
    const node = this.#node(this.#opened(handle).node)
    const { size } = node.attributes
    const at = append ? size : offset
    if (at + data.length > size) this.#resize(node, at + data.length)
    node.content.set(data, at)
    this.#change(node, { mtime: this.#now() })
    return data.length
  }

  flush(_context: CallContext, handle: Handle): void {
    this.#opened(handle)
  }

  release(handle: Handle): void {
    const { node } = this.#opened(handle)
    this.#handles.delete(handle)
    this.#collect(node)
  }

  fsync(_context: CallContext, handle: Handle): void {
    this.#opened(handle)
  }

  openDirectory(_context: CallContext, node: NodeId): { handle: Handle } {
    this.#directory(node)
    return { handle: this.#handle(node, 0) }
  }

  readDirectory(_context: CallContext, handle: Handle, cookie: number, sink: DirectorySink): void {
    const { node } = this.#opened(handle)
    const { names, parent } = this.#directory(node)
    const all = [['.', node], ['..', parent], ...names] as const
    for (const [index, [name, id]] of all.entries()) {
      if (index < cookie) continue
      const { ino, mode } = this.#node(id).attributes
      if (!sink.add({ name, ino, type: direntType(mode), cookie: index + 1 })) return
    }
  }

  releaseDirectory(handle: Handle): void {
    this.release(handle)
  }

  fsyncDirectory(_context: CallContext, handle: Handle): void {
    this.#opened(handle)
  }

  statfs(): FileSystemStats {
    const files = this.#nodes.size
    return {
      blockSize: 4096,
      blocks: 1000,
      freeBlocks: 500,
      availableBlocks: 400,
      files,
      freeFiles: 99,
      nameMax: NAME_MAX,
    }
  }

  #make({ uid, gid }: CallContext, { parent, name, mode, umask, rdev }: NewNode, target = ''): Entry {
    const { names } = this.#directory(parent)
    if (names.has(checked(name))) fail('EEXIST')
    const id = ++this.#lastNode
    const permissions = mode & ~umask
    this.#nodes.set(id, this.#newNode(id, parent, { mode: permissions, uid, gid, rdev: rdev ?? 0 }, target))
    names.set(name, id)
    this.#countSubdirectory(parent, mode, 1)
    return this.#entry(id)
  }

  #newNode(ino: NodeId, parent: NodeId, given: Partial<Attributes> & { mode: number }, target = ''): Node {
    const now = this.#now()
    const times = { atime: now, mtime: now, ctime: now, btime: now }
    const size = Buffer.byteLength(target)
    const nlink = isDirectory(given.mode) ? 2 : 1
    const attributes: Attributes = { ...NOTHING, ino, nlink, size, ...times, ...given }
    return { attributes, content: Buffer.alloc(0), target, names: new Map(), parent, xattrs: new Map() }
  }

  #entry(id: NodeId): Entry {
    this.#lookups.set(id, (this.#lookups.get(id) ?? 0) + 1)
    const { attributes } = this.#node(id)
    const ttls = { nameTtlMs: this.#nameTtlMs, attributesTtlMs: this.#attributesTtlMs }
    return { node: id, generation: 0, attributes, ...ttls }
  }

  #handle(node: NodeId, flags: number): Handle {
    this.#handles.set(++this.#lastHandle, { node, flags })
    return this.#lastHandle
  }

  #node(id: NodeId): Node {
    return this.#nodes.get(id) ?? fail('ESTALE')
  }

  #directory(id: NodeId): Node {
    const node = this.#node(id)
    return isDirectory(node.attributes.mode) ? node : fail('ENOTDIR')
  }

  #opened(handle: Handle): OpenFile {
    return this.#handles.get(handle) ?? fail('EBADF')
  }

  #named(parent: NodeId, name: string): NodeId {
    return this.#directory(parent).names.get(checked(name)) ?? fail('ENOENT')
  }

  #change(node: Node, changes: Partial<Attributes>): void {
    node.attributes = { ...node.attributes, ctime: this.#now(), ...changes }
  }

  #resize(node: Node, size: number): void {
    if (size > SIZE_MAX) fail('EFBIG')
    if (size > node.content.length) {
      const content = Buffer.alloc(Math.max(size, 2 * node.content.length))
      node.content.copy(content)
      node.content = content
    } else {
      node.content.fill(0, size, Math.max(size, node.attributes.size))
    }
    this.#change(node, { size, blocks: Math.ceil(size / BLOCK), mtime: this.#now() })
  }

  #place(parent: NodeId, name: string, id: NodeId): void {
    const node = this.#node(id)
    const { mode } = node.attributes
    if (isDirectory(mode) && node.parent !== parent) {
      this.#countSubdirectory(node.parent, mode, -1)
      this.#countSubdirectory(parent, mode, 1)
      node.parent = parent
    }
    this.#directory(parent).names.set(name, id)
    this.#change(node, {})
  }

  #replaceable(id: NodeId, target: NodeId): void {
    const old = this.#node(target)
    const directory = isDirectory(this.#node(id).attributes.mode)
    if (directory && !isDirectory(old.attributes.mode)) fail('ENOTDIR')
    if (!directory && isDirectory(old.attributes.mode)) fail('EISDIR')
    if (old.names.size > 0) fail('ENOTEMPTY')
  }

  #removeName(parent: NodeId, name: string, id: NodeId): void {
    const node = this.#node(id)
    const { mode, nlink } = node.attributes
    this.#directory(parent).names.delete(name)
    this.#countSubdirectory(parent, mode, -1)
    this.#change(node, { nlink: isDirectory(mode) ? 0 : nlink - 1 })
    this.#collect(id)
  }

  #countSubdirectory(parent: NodeId, mode: number, by: number): void {
    const node = this.#node(parent)
    this.#change(node, { mtime: this.#now(), nlink: node.attributes.nlink + (isDirectory(mode) ? by : 0) })
  }

  #isBelow(id: NodeId, above: NodeId): boolean {
    if (id === above) return true
    return id !== ROOT_NODE && this.#isBelow(this.#node(id).parent, above)
  }

  /** A node goes with its last name, lookup and handle. */
  #collect(id: NodeId): void {
    if (this.#nodes.get(id)?.attributes.nlink !== 0 || this.#lookups.has(id)) return
    if (![...this.#handles.values()].some(({ node }) => node === id)) this.#nodes.delete(id)
  }
}

const NOTHING: Attributes = {
  ino: 0,
  mode: 0,
  nlink: 0,
  uid: 0,
  gid: 0,
  rdev: 0,
  size: 0,
  blocks: 0,
  blockSize: 4096,
  atime: EPOCH,
  mtime: EPOCH,
  ctime: EPOCH,
  btime: EPOCH,
}

function fail(code: ConstructorParameters<typeof FsError>[0]): never {
  throw new FsError(code)
}

function checked(name: string): string {
  return Buffer.byteLength(name) > NAME_MAX ? fail('ENAMETOOLONG') : name
}
