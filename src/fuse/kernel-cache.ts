// Notifications: how a file system makes the kernel of its mount forget.
import { viewOf } from '../codec/record.ts'
import type { FuseDevice } from '../host/addon.ts'
import type { KernelAbilities, KernelCache, NodeId } from '../vfs/filesystem.ts'
import { InvalidateNameOut, InvalidateNodeOut, NOTIFY, OutHeader } from './protocol.ts'

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

  constructor(device: Pick<FuseDevice, 'notify' | 'notifyLater'>, can: KernelAbilities) {
    this.#device = device
    this.can = can
  }

  invalidateAttributes(node: NodeId): boolean {
    // A negative offset: attributes only. The kernel takes no lock that a request in progress could hold.
    const body = InvalidateNodeOut.encode({ node, offset: -1, length: 0 })
    return this.#device.notify(notification(NOTIFY.INVALIDATE_NODE, body))
  }

  async invalidateData(node: NodeId, offset = 0, length = 0): Promise<void> {
    const body = InvalidateNodeOut.encode({ node, offset, length })
    await this.#device.notifyLater(notification(NOTIFY.INVALIDATE_NODE, body))
  }

  async invalidateName(parent: NodeId, name: string): Promise<void> {
    const bytes = Buffer.from(`${name}\0`)
    const body = InvalidateNameOut.encode({ parent, nameLength: bytes.length - 1, flags: 0 })
    await this.#device.notifyLater(notification(NOTIFY.INVALIDATE_NAME, body, bytes))
  }

  invalidateAllNames(): boolean {
    if (!this.can.nameEpochs) return false
    this.#device.notify(INCREMENT_EPOCH)
    return true
  }
}
