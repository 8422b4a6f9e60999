// Open files whose content is a local file. The kernel reads and writes it itself (passthrough) where it can;
// otherwise the session serves the same handle from the descriptor, uncached, so that all mounts stay coherent.
import { fstatSync, writeSync } from 'node:fs'
import type { FuseDevice } from '../host/addon.ts'
import { FsError } from '../posix/errors.ts'
import type { Handle, NodeId, Opened } from '../vfs/filesystem.ts'
import { FOPEN } from './protocol.ts'

type Backing = NonNullable<Opened['backing']>
type BackingDevice = Pick<FuseDevice, 'openBacking' | 'closeBacking'>

/** How many backing files the kernel is left to know after their last close: the next open is the cheaper for it. */
const IDLE_LIMIT = 4096

/** A backing file that the kernel knows: one per node, shared by all opens. */
interface Registered {
  readonly node: NodeId
  readonly id: number
  readonly key: object
  opens: number
}

export class BackingFiles {
  readonly #device: BackingDevice
  readonly #onRefused: (error: Error) => void
  readonly #registered = new Map<NodeId, Registered>()
  /** What serves each open handle: the kernel, or this descriptor. */
  readonly #handles = new Map<Handle, Registered | { readonly fd: number }>()
  /** Registered and not open, the longest unused first. */
  readonly #idle = new Set<Registered>()
  #passthrough: boolean

  /** `onRefused` is told once if the kernel refuses a backing file; from then on the session serves. */
  constructor(device: BackingDevice, passthrough: boolean, onRefused: (error: Error) => void) {
    this.#device = device
    this.#passthrough = passthrough
    this.#onRefused = onRefused
  }

  /** What to tell the kernel about a new open of `node`. `directIo`: the file system is asked for each read and write. */
  open(node: NodeId, handle: Handle, { fd, key }: Backing, directIo: boolean): { flags: number; backingId: number } {
    let file = this.#registered.get(node)
    if (file !== undefined && file.key !== key) {
      if (file.opens > 0) throw new FsError('EIO', 'this node has another backing file: a new one needs a new node')
      this.#unregister(file)
      file = undefined
    }
    file ??= this.#register(node, fd, key)
    if (file === undefined) {
      if (!directIo) this.#handles.set(handle, { fd })
      return { flags: FOPEN.DIRECT_IO | FOPEN.PARALLEL_DIRECT_WRITES, backingId: 0 }
    }
    if (file.opens++ === 0) this.#idle.delete(file)
    this.#handles.set(handle, file)
    return { flags: FOPEN.PASSTHROUGH | (directIo ? FOPEN.DIRECT_IO : 0), backingId: file.id }
  }

  #register(node: NodeId, fd: number, key: object): Registered | undefined {
    if (!this.#passthrough) return undefined
    try {
      const file = { node, id: this.#device.openBacking(fd), key, opens: 0 }
      this.#registered.set(node, file)
      return file
    } catch (error) {
      // Not privileged, or the content lies on a stacked file system: true for every file, so do not ask again.
      this.#passthrough = false
      this.#onRefused(error as Error)
      return undefined
    }
  }

  #unregister(file: Registered): void {
    this.#idle.delete(file)
    this.#registered.delete(file.node)
    this.#device.closeBacking(file.id)
  }

  release(handle: Handle): void {
    const file = this.#handles.get(handle)
    if (file === undefined) return
    this.#handles.delete(handle)
    if ('fd' in file || --file.opens > 0) return
    this.#idle.add(file)
    if (this.#idle.size <= IDLE_LIMIT) return
    for (const oldest of this.#idle) {
      this.#unregister(oldest)
      return
    }
  }

  /** The kernel forgets `node`: what it keeps open of a file that is deleted takes space. */
  forget(node: NodeId): void {
    const file = this.#registered.get(node)
    if (file?.opens === 0) this.#unregister(file)
  }

  /** The descriptor of a handle that the session has to serve itself. */
  served(handle: Handle): number | undefined {
    const file = this.#handles.get(handle)
    return file !== undefined && 'fd' in file ? file.fd : undefined
  }
}

/**
 * Writes to a served file; an append goes to the end, whatever the kernel believed the end to be. Fails with FsError: no
 * space, for instance, is an answer and no defect.
 */
export function writeServed(fd: number, offset: number, data: Uint8Array, append: boolean): number {
  try {
    const at = append ? fstatSync(fd).size : offset
    return writeSync(fd, data, 0, data.length, at)
  } catch (error) {
    throw FsError.from(error)
  }
}
