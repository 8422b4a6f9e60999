// Notifications: how a file system makes the kernel of its mount forget, and remember.
//
// What takes a lock in the kernel that a request in progress may hold goes out from a thread of its own (`notifyLater`):
// the request could not be answered while this thread waits. Only what takes none is written at once (`notify`).
import { viewOf } from '../codec/record.ts'
import type { FuseDevice } from '../host/addon.ts'
import { FsError } from '../posix/errors.ts'
import type { KernelAbilities, KernelCache, NodeId } from '../vfs/filesystem.ts'
import { MAX_TRANSFER } from './init.ts'
import {
  DeleteOut,
  FUSE_EXPIRE_ONLY,
  InvalidateNameOut,
  InvalidateNodeOut,
  NOTIFY,
  OutHeader,
  StoreOut,
} from './protocol.ts'

const HEADER = OutHeader.size

/** A notification message: fuse_out_header with the code in `error` and unique 0, then the body. */
export function notification(code: number, ...body: Uint8Array[]): Buffer {
  const message = Buffer.concat([new Uint8Array(HEADER), ...body])
  const header = new OutHeader().at(viewOf(message), 0)
  header.length = message.length
  header.error = code
  return message
}

const INCREMENT_EPOCH = notification(NOTIFY.INCREMENT_EPOCH)

export class DeviceKernelCache implements KernelCache {
  readonly can: KernelAbilities
  readonly #device: Pick<FuseDevice, 'notify' | 'notifyLater'>
  readonly #expireOnly: boolean

  /** `expireOnly`: the kernel has agreed to expire names without dropping them. */
  constructor(device: Pick<FuseDevice, 'notify' | 'notifyLater'>, can: KernelAbilities, expireOnly: boolean) {
    this.#device = device
    this.can = can
    this.#expireOnly = expireOnly
  }

  invalidateAttributes(node: NodeId): boolean {
    // A negative offset: attributes only. The kernel takes no lock that a request in progress could hold.
    const body = InvalidateNodeOut.encode({ node, offset: -1, length: 0 })
    return this.#device.notify(notification(NOTIFY.INVALIDATE_NODE, body))
  }

  async invalidateData(node: NodeId, offset = 0, length = 0): Promise<void> {
    const body = InvalidateNodeOut.encode({ node, offset, length })
    await this.#later(notification(NOTIFY.INVALIDATE_NODE, body))
  }

  invalidateName(parent: NodeId, name: string): Promise<void> {
    return this.#dropName(parent, name, 0)
  }

  expireName(parent: NodeId, name: string): Promise<void> {
    // A kernel that has not agreed may ignore the flag or refuse it. To drop the name is more than was asked, not less.
    return this.#dropName(parent, name, this.#expireOnly ? FUSE_EXPIRE_ONLY : 0)
  }

  #dropName(parent: NodeId, name: string, flags: number): Promise<void> {
    const bytes = Buffer.from(`${name}\0`)
    const body = InvalidateNameOut.encode({ parent, nameLength: bytes.length - 1, flags })
    return this.#aboutName(notification(NOTIFY.INVALIDATE_NAME, body, bytes))
  }

  deleted(parent: NodeId, child: NodeId, name: string): Promise<void> {
    const bytes = Buffer.from(`${name}\0`)
    const body = DeleteOut.encode({ parent, child, nameLength: bytes.length - 1 })
    return this.#aboutName(notification(NOTIFY.DELETE, body, bytes))
  }

  async store(node: NodeId, offset: number, bytes: Uint8Array): Promise<boolean> {
    // Messages of at most 1 MiB that end with a page, one after the other: no more than one copy waits.
    for (let at = 0; at < bytes.length; ) {
      const end = Math.min(bytes.length, at + MAX_TRANSFER - ((offset + at) % MAX_TRANSFER))
      const part = bytes.subarray(at, end)
      const body = StoreOut.encode({ node, offset: offset + at, size: part.length })
      if (!(await this.#later(notification(NOTIFY.STORE, body, part)))) return false
      at = end
    }
    return true
  }

  invalidateAllNames(): boolean {
    if (!this.can.nameEpochs) return false
    this.#device.notify(INCREMENT_EPOCH)
    return true
  }

  /** False: the kernel does not know the object. Fails with FsError. */
  async #later(message: Uint8Array): Promise<boolean> {
    try {
      return await this.#device.notifyLater(message)
    } catch (error) {
      throw FsError.from(error)
    }
  }

  /** Resolves when the kernel does not believe the name any more. */
  async #aboutName(message: Uint8Array): Promise<void> {
    try {
      await this.#later(message)
    } catch (error) {
      const { code } = error as FsError
      // DELETE of what is in use. Before it refused, the kernel has dropped the name.
      if (code === 'ENOTEMPTY' || code === 'EBUSY') return
      // Too many wait. To take back all names needs no waiting. What a removed name led to stays in the kernel's memory,
      // and if it is a file keeps its space, until the name is asked for or memory is short.
      if (code === 'ENOBUFS' && this.invalidateAllNames()) return
      throw error
    }
  }
}
