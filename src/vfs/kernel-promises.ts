// What the kernel of one mount has been told and may still believe: names and attributes. When another mount changes
// one of them, the promise is taken back before the change is answered, so all mounts show the same at once.
//
// Names are taken back all together: the kernel counts epochs, and a name from an earlier epoch is looked up again.
// That needs no lock inside the kernel. Taking back a single name does: it locks the directory, and two mounts that
// remove names in each other's directories at the same time would wait for each other.
import type { KernelCache, NodeId, TtlMs } from './filesystem.ts'

/** How soon to repeat an invalidation for a node that the kernel did not know: it may be just about to. */
const REPEAT_MS = 20

export class KernelPromises {
  readonly #kernel: KernelCache
  /** Directories of which the kernel has been told a name in this epoch, present or absent. */
  readonly #directories = new Set<NodeId>()
  readonly #attributes = new Set<NodeId>()

  constructor(kernel: KernelCache) {
    this.#kernel = kernel
  }

  /** The kernel is told a name in `directory`, true for `ttlMs` unless we say otherwise: how long it may believe it. */
  promiseName(directory: NodeId, ttlMs: TtlMs = Number.POSITIVE_INFINITY): TtlMs {
    if (!this.#kernel.can.nameEpochs || ttlMs <= 0) return 0
    this.#directories.add(directory)
    return ttlMs
  }

  /** The same of the attributes of `node`, which change only with our knowledge. */
  promiseAttributes(node: NodeId, ttlMs: TtlMs = Number.POSITIVE_INFINITY): TtlMs {
    if (!this.#kernel.can.invalidation || ttlMs <= 0) return 0
    this.#attributes.add(node)
    return ttlMs
  }

  /** A name in `directory` appeared, went or now means something else. */
  breakNames(directory: NodeId): void {
    if (this.#directories.has(directory)) this.breakAllNames()
  }

  breakAllNames(): void {
    if (this.#directories.size === 0) return
    this.#directories.clear()
    this.#kernel.invalidateAllNames()
  }

  /**
   * A name is gone for good. The kernel does not believe it any more, but it keeps what it led to, and with it the
   * space of a deleted file, until it is told the name itself. That may wait for a lock: nobody waits for it here.
   */
  dropName(directory: NodeId, name: string): void {
    this.#kernel.invalidateName(directory, name).catch(() => {
      // The mount is going, and the kernel forgets everything anyway.
    })
  }

  /** Nothing that the kernel was told is true for certain any more. */
  breakAll(): void {
    this.breakAllNames()
    for (const node of [...this.#attributes]) this.breakAttributes(node)
  }

  /** The attributes of `node` changed, or may now change without our knowledge. */
  breakAttributes(node: NodeId): void {
    if (!this.#attributes.delete(node)) return
    if (this.#kernel.invalidateAttributes(node)) return
    // The kernel has forgotten the node, or it has not yet taken in the reply that introduces it.
    setTimeout(() => this.#kernel.invalidateAttributes(node), REPEAT_MS).unref()
  }

  /** The kernel does not know the node any more. */
  forget(node: NodeId): void {
    this.#attributes.delete(node)
    this.#directories.delete(node)
  }
}
