// The locks of one mount as a view of the volume's lock table: fcntl, OFD and flock exclude across all mounts.
import type { LockService } from '../../store/lock-service.ts'
import type { LockOwner, LockTableRequest } from '../../store/lock-types.ts'
import type { Awaitable, CallContext, FileLock, Handle, LockRequest, Locks, NodeId } from '../../vfs/filesystem.ts'
import { LockHandles } from '../../vfs/lock-handles.ts'

export class LocalLocks implements Locks {
  readonly #service: LockService
  /** Names the mount: lock owners are only unique within one. */
  readonly #client: string
  readonly #handles = new LockHandles()

  constructor(service: LockService, client: string) {
    this.#service = service
    this.#client = client
  }

  getLock(_context: CallContext, request: LockRequest): FileLock | null {
    return this.#service.table.test(this.#translate(request)) ?? null
  }

  setLock(context: CallContext, request: LockRequest): Awaitable<void> {
    if (request.kind !== 'unlock') this.#handles.asked(request)
    // An abort signal costs something to make: only who may wait needs one.
    return this.#service.lock(this.#translate(request), request.wait ? context.signal : undefined)
  }

  /** A process closed a descriptor of the file. */
  closed(node: NodeId, owner: bigint): void {
    if (this.#handles.closed(node, owner)) this.#service.releaseOwner(node, this.#owner(owner))
  }

  /** An open file is gone. */
  released(node: NodeId, handle: Handle): void {
    for (const owner of this.#handles.released(node, handle)) this.#service.releaseOwner(node, this.#owner(owner))
  }

  releaseAll(): void {
    this.#service.releaseClient(this.#client)
    this.#handles.clear()
  }

  #owner(owner: bigint): LockOwner {
    return { client: this.#client, owner }
  }

  #translate({ node, owner, range, kind, pid, flock, wait }: LockRequest): LockTableRequest {
    return { client: this.#client, owner, file: node, range, kind, pid, class: flock ? 'flock' : 'range', wait }
  }
}
