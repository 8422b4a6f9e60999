// Through which open files each lock owner has asked for locks, so that their locks go when they should.
import type { Handle, LockRequest, NodeId } from './filesystem.ts'

export class LockHandles {
  readonly #owners = new Map<NodeId, Map<bigint, Set<Handle>>>()

  asked({ node, owner, handle }: Pick<LockRequest, 'node' | 'owner' | 'handle'>): void {
    const owners = this.#owners.get(node) ?? new Map<bigint, Set<Handle>>()
    this.#owners.set(node, owners.set(owner, (owners.get(owner) ?? new Set()).add(handle)))
  }

  /**
   * A process closed a descriptor of the file: all its fcntl locks on it end (POSIX.1-2017 close). False: it never asked
   * for one.
   */
  closed(node: NodeId, owner: bigint): boolean {
    const owners = this.#owners.get(node)
    const known = owners?.delete(owner) ?? false
    if (owners?.size === 0) this.#owners.delete(node)
    return known
  }

  /**
   * An open file is gone, and with it the locks that it owns: flock and OFD locks. The kernel does not name the owner
   * of the latter; but processes that locked through this file have closed it, so whoever is left is the file itself.
   */
  released(node: NodeId, handle: Handle): bigint[] {
    const gone: bigint[] = []
    for (const [owner, handles] of this.#owners.get(node) ?? []) if (handles.has(handle)) gone.push(owner)
    for (const owner of gone) this.closed(node, owner)
    return gone
  }

  clear(): void {
    this.#owners.clear()
  }
}
