// The locks of one mount as a view of the volume's lock table: fcntl, OFD and flock exclude across all mounts.
import type { LockService } from '../../store/lock-service.ts'
import type { LockOwner, LockTableRequest } from '../../store/lock-types.ts'
import type { Awaitable, CallContext, FileLock, Handle, LockRequest, Locks, NodeId } from '../../vfs/filesystem.ts'

export class LocalLocks implements Locks {
  readonly #service: LockService
  /** Names the mount: lock owners are only unique within one. */
  readonly #client: string
  /** Through which open files each owner has asked for locks on a node. */
  readonly #owners = new Map<NodeId, Map<bigint, Set<Handle>>>()

  constructor(service: LockService, client: string) {
    this.#service = service
    this.#client = client
  }

  getLock(_context: CallContext, request: LockRequest): FileLock | null {
    return this.#service.table.test(this.#translate(request)) ?? null
  }

  setLock(context: CallContext, request: LockRequest): Awaitable<void> {
    if (request.kind !== 'unlock') this.#remember(request)
    // An abort signal costs something to make: only who may wait needs one.
    return this.#service.lock(this.#translate(request), request.wait ? context.signal : undefined)
  }

  #remember({ node, owner, handle }: LockRequest): void {
    const owners = this.#owners.get(node) ?? new Map<bigint, Set<Handle>>()
    this.#owners.set(node, owners.set(owner, (owners.get(owner) ?? new Set()).add(handle)))
  }

  /** A process closed a descriptor of the file: all its fcntl locks on it end (POSIX.1-2017 close). */
  closed(node: NodeId, owner: bigint): void {
    const owners = this.#owners.get(node)
    if (owners?.delete(owner)) this.#service.releaseOwner(node, this.#owner(owner))
    if (owners?.size === 0) this.#owners.delete(node)
  }

  /**
   * An open file is gone, and with it the locks that it owns: flock and OFD locks. The kernel does not name the owner
   * of the latter; but processes that locked through this file have closed it, so whoever is left is the file itself.
   */
  released(node: NodeId, handle: Handle): void {
    const owners = this.#owners.get(node)
    if (owners === undefined) return
    for (const [owner, handles] of owners) if (handles.has(handle)) this.closed(node, owner)
  }

  releaseAll(): void {
    this.#service.releaseClient(this.#client)
    this.#owners.clear()
  }

  #owner(owner: bigint): LockOwner {
    return { client: this.#client, owner }
  }

  #translate({ node, owner, range, kind, pid, flock, wait }: LockRequest): LockTableRequest {
    return { client: this.#client, owner, file: node, range, kind, pid, class: flock ? 'flock' : 'range', wait }
  }
}
