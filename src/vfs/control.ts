// The control directory: a wrapper that gives any file system a hidden `.proteus/` in its root, found by name and never
// listed, and virtual extended attributes `user.proteus.*` on its files. Everything else goes straight through.
import type { AttributeChanges, FileSystemStats } from '../posix/attributes.ts'
import { FsError } from '../posix/errors.ts'
import { type NetworkControl, networkFile, type Status, statusFiles, traceFile } from './control-builtin.ts'
import type { ControlFile } from './control-file.ts'
import { CONTROL_NODES, ControlTree } from './control-tree.ts'
import { controlXattrs } from './control-xattrs.ts'
import {
  type AbsentEntry,
  type Allocation,
  type AttributesReply,
  type Awaitable,
  type CallContext,
  type CopyRange,
  type DirectorySink,
  type Entry,
  type ExtendedAttributes,
  type FileSystem,
  type Handle,
  type KeepData,
  type KernelAbilities,
  type KernelCache,
  type KernelWishes,
  type Locks,
  type NewNode,
  type NodeId,
  type Opened,
  type OpenedDirectory,
  type ReadResult,
  type Renaming,
  ROOT_NODE,
} from './filesystem.ts'

export type { NetworkControl, Status } from './control-builtin.ts'
export type { ControlFile, ControlStream } from './control-file.ts'

export const CONTROL_NAME = '.proteus'

/** What a mode tells about itself, mount by mount. */
export interface ControlProvider {
  /** Facts for `status` and `status.json`, under `details`: plain JSON values. */
  status(): Awaitable<Status>
  /** Facts of one node: `{ version: '3' }` is read as the extended attribute `user.proteus.version`. */
  facts?(node: NodeId): Awaitable<Readonly<Record<string, string>>>
  /** Absent: there is no network to set. */
  readonly network?: NetworkControl
  /** The mode's own control files. */
  readonly files?: readonly ControlFile[]
}

export interface ControlOptions {
  readonly mode: string
  /** The directory mounted on, as trace events name it. */
  readonly mount: string
  /** Who made the mount. */
  readonly owner: { readonly uid: number; readonly gid: number }
  /** When the mount was made, in milliseconds since the epoch. */
  readonly createdMs: number
  /** Further facts for the top of `status`, asked each time (the driver, what it cannot do). */
  describe?(): Status
}

/** `inner` with a control directory. It has the optional interfaces that `inner` has, and xattrs if there are facts. */
export function withControlDirectory(
  inner: FileSystem,
  provider: ControlProvider,
  options: ControlOptions,
): FileSystem {
  return new ControlledFileSystem(inner, provider, options)
}

const isReserved = (parent: NodeId, name: string): boolean => parent === ROOT_NODE && name === CONTROL_NAME

/** Names cannot be made, moved or removed inside the control directory. */
function refuseInside(parent: NodeId): void {
  if (parent >= CONTROL_NODES) throw new FsError('EPERM', 'the control directory is fixed')
}

function refuseNew(parent: NodeId, name: string): void {
  refuseInside(parent)
  if (isReserved(parent, name)) throw new FsError('EEXIST', `${CONTROL_NAME} is reserved`)
}

/** Locks, allocation and copies mean nothing on control files. */
function onFilesOnly(nodeOrHandle: number): void {
  if (nodeOrHandle >= CONTROL_NODES) throw new FsError('EOPNOTSUPP')
}

class ControlledFileSystem implements FileSystem {
  readonly #inner: FileSystem
  readonly #tree: ControlTree
  #abilities: KernelAbilities | undefined

  readonly wants?: KernelWishes
  readonly access?: NonNullable<FileSystem['access']>
  readonly createTemporary?: NonNullable<FileSystem['createTemporary']>
  readonly sync?: NonNullable<FileSystem['sync']>
  readonly locks?: Locks
  readonly xattrs?: ExtendedAttributes
  readonly allocation?: Allocation
  readonly copy?: CopyRange

  constructor(inner: FileSystem, provider: ControlProvider, options: ControlOptions) {
    this.#inner = inner
    const { mode, mount, owner, createdMs } = options
    const status = async (): Promise<Status> => ({
      mode,
      mount,
      pid: process.pid,
      since: new Date(createdMs).toISOString(),
      ...options.describe?.(),
      kernel: this.#abilities,
      details: await provider.status(),
    })
    const files = [
      ...statusFiles(status),
      traceFile(mount),
      networkFile(mode, provider.network),
      ...(provider.files ?? []),
    ]
    const tree = new ControlTree({ files, owner, createdMs })
    this.#tree = tree

    const { locks, allocation, copy } = inner
    const access = inner.access?.bind(inner)
    const createTemporary = inner.createTemporary?.bind(inner)
    const xattrs = controlXattrs(inner.xattrs, provider.facts?.bind(provider))
    if (inner.wants) this.wants = inner.wants
    if (inner.sync) this.sync = inner.sync.bind(inner)
    if (xattrs) this.xattrs = xattrs
    if (access) {
      this.access = (context, node, mask) =>
        node >= CONTROL_NODES ? tree.access(context, node, mask) : access(context, node, mask)
    }
    if (createTemporary) {
      this.createTemporary = (context, node, flags) => {
        refuseInside(node.parent)
        return createTemporary(context, node, flags)
      }
    }
    if (locks) {
      this.locks = {
        getLock(context, request) {
          onFilesOnly(request.node)
          return locks.getLock(context, request)
        },
        setLock(context, request) {
          onFilesOnly(request.node)
          return locks.setLock(context, request)
        },
      }
    }
    if (allocation) {
      this.allocation = {
        allocate(context, handle, mode, offset, length) {
          onFilesOnly(handle)
          return allocation.allocate(context, handle, mode, offset, length)
        },
        seek(context, handle, offset, whence) {
          onFilesOnly(handle)
          return allocation.seek(context, handle, offset, whence)
        },
      }
    }
    if (copy) {
      this.copy = {
        copyRange(context, from, to, length) {
          onFilesOnly(from.handle)
          onFilesOnly(to.handle)
          return copy.copyRange(context, from, to, length)
        },
      }
    }
  }

  attach(kernel: KernelCache): void {
    this.#abilities = kernel.can
    this.#inner.attach?.(kernel)
  }

  detach(): Awaitable<void> {
    this.#tree.close()
    return this.#inner.detach?.()
  }

  lookup(context: CallContext, parent: NodeId, name: string): Awaitable<Entry | AbsentEntry> {
    if (parent >= CONTROL_NODES) return this.#tree.lookup(parent, name)
    if (isReserved(parent, name)) return this.#tree.directory
    return this.#inner.lookup(context, parent, name)
  }

  forget(node: NodeId, count: number): void {
    if (node < CONTROL_NODES) this.#inner.forget(node, count)
  }

  getAttributes(context: CallContext, node: NodeId, handle?: Handle): Awaitable<AttributesReply> {
    return node >= CONTROL_NODES ? this.#tree.attributes(node) : this.#inner.getAttributes(context, node, handle)
  }

  setAttributes(
    context: CallContext,
    node: NodeId,
    changes: AttributeChanges,
    handle?: Handle,
  ): Awaitable<AttributesReply> {
    if (node >= CONTROL_NODES) return this.#tree.setAttributes(context, node, changes)
    return this.#inner.setAttributes(context, node, changes, handle)
  }

  readlink(context: CallContext, node: NodeId): Awaitable<string> {
    if (node >= CONTROL_NODES) throw new FsError('EINVAL')
    return this.#inner.readlink(context, node)
  }

  makeNode(context: CallContext, node: NewNode): Awaitable<Entry> {
    refuseNew(node.parent, node.name)
    return this.#inner.makeNode(context, node)
  }

  makeDirectory(context: CallContext, node: NewNode): Awaitable<Entry> {
    refuseNew(node.parent, node.name)
    return this.#inner.makeDirectory(context, node)
  }

  makeSymlink(context: CallContext, parent: NodeId, name: string, target: string): Awaitable<Entry> {
    refuseNew(parent, name)
    return this.#inner.makeSymlink(context, parent, name, target)
  }

  link(context: CallContext, node: NodeId, newParent: NodeId, newName: string): Awaitable<Entry> {
    refuseInside(node)
    refuseNew(newParent, newName)
    return this.#inner.link(context, node, newParent, newName)
  }

  unlink(context: CallContext, parent: NodeId, name: string): Awaitable<void> {
    refuseInside(parent)
    if (isReserved(parent, name)) throw new FsError('EISDIR')
    return this.#inner.unlink(context, parent, name)
  }

  removeDirectory(context: CallContext, parent: NodeId, name: string): Awaitable<void> {
    refuseInside(parent)
    if (isReserved(parent, name)) throw new FsError('EBUSY')
    return this.#inner.removeDirectory(context, parent, name)
  }

  rename(context: CallContext, renaming: Renaming): Awaitable<void> {
    const { parent, name, newParent, newName } = renaming
    refuseInside(parent)
    refuseInside(newParent)
    if (isReserved(parent, name) || isReserved(newParent, newName)) throw new FsError('EBUSY')
    return this.#inner.rename(context, renaming)
  }

  open(context: CallContext, node: NodeId, flags: number): Awaitable<Opened> {
    return node >= CONTROL_NODES ? this.#tree.open(context, node, flags) : this.#inner.open(context, node, flags)
  }

  create(context: CallContext, node: NewNode, flags: number): Awaitable<{ entry: Entry; opened: Opened }> {
    refuseNew(node.parent, node.name)
    return this.#inner.create(context, node, flags)
  }

  read(context: CallContext, handle: Handle, offset: number, length: number): Awaitable<ReadResult> {
    return handle >= CONTROL_NODES
      ? this.#tree.read(context, handle, offset, length)
      : this.#inner.read(context, handle, offset, length)
  }

  write(
    context: CallContext,
    handle: Handle,
    offset: number,
    data: Uint8Array,
    append: boolean,
    keep?: KeepData,
  ): Awaitable<number> {
    return handle >= CONTROL_NODES
      ? this.#tree.write(context, handle, data)
      : this.#inner.write(context, handle, offset, data, append, keep)
  }

  flush(context: CallContext, handle: Handle, lockOwner: bigint): Awaitable<void> {
    return handle >= CONTROL_NODES ? this.#tree.flush(context, handle) : this.#inner.flush(context, handle, lockOwner)
  }

  release(handle: Handle, flockOwner?: bigint): Awaitable<void> {
    return handle >= CONTROL_NODES ? this.#tree.release(handle) : this.#inner.release(handle, flockOwner)
  }

  fsync(context: CallContext, handle: Handle, dataOnly: boolean): Awaitable<void> {
    if (handle < CONTROL_NODES) return this.#inner.fsync(context, handle, dataOnly)
  }

  openDirectory(context: CallContext, node: NodeId): Awaitable<OpenedDirectory> {
    return node >= CONTROL_NODES ? this.#tree.openDirectory(node) : this.#inner.openDirectory(context, node)
  }

  readDirectory(context: CallContext, handle: Handle, cookie: number, sink: DirectorySink): Awaitable<void> {
    return handle >= CONTROL_NODES
      ? this.#tree.readDirectory(cookie, sink)
      : this.#inner.readDirectory(context, handle, cookie, sink)
  }

  releaseDirectory(handle: Handle): Awaitable<void> {
    if (handle < CONTROL_NODES) return this.#inner.releaseDirectory(handle)
  }

  fsyncDirectory(context: CallContext, handle: Handle, dataOnly: boolean): Awaitable<void> {
    if (handle < CONTROL_NODES) return this.#inner.fsyncDirectory(context, handle, dataOnly)
  }

  statfs(context: CallContext, node: NodeId): Awaitable<FileSystemStats> {
    return this.#inner.statfs(context, node >= CONTROL_NODES ? ROOT_NODE : node)
  }
}
