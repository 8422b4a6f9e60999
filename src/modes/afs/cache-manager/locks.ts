// Locks. flock(2) is of the whole file and held at the server, with a lease that is extended while this client lives; locks
// of byte ranges hold among the programs of this mount.
import type { Clock } from '../../../host/clock.ts'
import { FsError } from '../../../posix/errors.ts'
import { LockService } from '../../../store/lock-service.ts'
import type { LockTableRequest } from '../../../store/lock-types.ts'
import type { Awaitable, CallContext, FileLock, Handle, LockRequest, Locks } from '../../../vfs/filesystem.ts'
import { LockHandles } from '../../../vfs/lock-handles.ts'
import { LOCK_LEASE_MS } from '../lock-leases.ts'
import { AFS } from '../protocol.ts'
import type { ClientVolume } from './cells.ts'
import type { FileServer } from './file-server.ts'
import type { CacheManager } from './manager.ts'
import type { Node, Vnode } from './vnodes.ts'

const { SetLock, ExtendLock, ReleaseLock } = AFS.procedures
/** How often a lock that somebody else has is asked for, in milliseconds: at first, and at most. */
const AGAIN_MS = { least: 25, most: 1000 } as const
const CLIENT = 'mount'

interface Held {
  readonly vnode: Vnode
  readonly owner: bigint
  exclusive: boolean
}

export class ClientLocks implements Locks {
  readonly #cm: CacheManager
  readonly #clock: Clock
  readonly #service = new LockService()
  readonly #handles = new LockHandles()
  /** Held at the server, by file and owner. */
  readonly #held = new Map<string, Held>()
  readonly #warn: (message: string) => void
  #stopExtending: (() => void) | undefined
  #warned = false
  #closed = false
  /** Leases that ended although this client wanted more. */
  lost = 0

  constructor(cm: CacheManager, clock: Clock, warn: (message: string) => void) {
    this.#cm = cm
    this.#clock = clock
    this.#warn = warn
  }

  /** Held at the server. */
  get size(): number {
    return this.#held.size
  }

  getLock(_context: CallContext, request: LockRequest): FileLock | null {
    return this.#service.table.test(this.#translate(request)) ?? null
  }

  setLock(context: CallContext, request: LockRequest): Awaitable<void> {
    if (request.kind !== 'unlock') this.#handles.asked({ ...request, node: this.#fileOf(request) })
    if (request.flock) return this.#flock(context, request)
    this.#cm.rangeLocks = true
    if (!this.#warned) {
      this.#warned = true
      this.#warn('byte-range locks hold on this mount only: programs on other clients do not see them')
    }
    return this.#service.lock(this.#translate(request), request.wait ? context.signal : undefined)
  }

  /** In turn among the programs of this mount; whoever's turn it is asks the server. */
  async #flock(context: CallContext, request: LockRequest): Promise<void> {
    const { vnode } = this.#cm.node(request.node)
    const local = this.#translate(request)
    if (request.kind === 'unlock') {
      await this.#release(vnode, request.owner)
      await this.#service.lock(local)
      return
    }
    const before = this.#held.get(keyOf(vnode, request.owner))
    await this.#service.lock(local, request.wait ? context.signal : undefined)
    try {
      await this.#acquire(context, vnode, request)
    } catch (error) {
      // A lock that was to be changed stays as it was.
      if (before === undefined) this.#service.releaseOwner(local.file, local)
      else await this.#service.lock({ ...local, kind: before.exclusive ? 'exclusive' : 'shared', wait: false })
      // Whoever was interrupted may have got it all the same.
      if (before === undefined && FsError.from(error).code !== 'EAGAIN') void this.#releaseThere(vnode, request.owner)
      throw error
    }
  }

  async #acquire(context: CallContext, vnode: Vnode, { owner, kind, wait }: LockRequest): Promise<void> {
    const { cells } = this.#cm
    const exclusive = kind === 'exclusive'
    const args = { fid: vnode.fid, owner: owner.toString(16), exclusive }
    for (let pauseMs: number = AGAIN_MS.least; ; pauseMs = Math.min(2 * pauseMs, AGAIN_MS.most)) {
      try {
        await cells.call(vnode.volume, SetLock, args, context)
        break
      } catch (error) {
        if (!wait || FsError.from(error).code !== 'EAGAIN') throw error
      }
      await this.#pause(pauseMs, context.signal)
    }
    this.#held.set(keyOf(vnode, owner), { vnode, owner, exclusive })
    this.#stopExtending ??= this.#extendLater()
  }

  #pause(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const interrupt = (): void => {
        stop()
        reject(new FsError('EINTR'))
      }
      const stop = this.#clock.after(ms, () => {
        signal.removeEventListener('abort', interrupt)
        resolve()
      })
      if (signal.aborted) interrupt()
      else signal.addEventListener('abort', interrupt, { once: true })
    })
  }

  async #release(vnode: Vnode, owner: bigint): Promise<void> {
    if (this.#held.delete(keyOf(vnode, owner))) await this.#releaseThere(vnode, owner)
  }

  async #releaseThere({ volume, fid }: Vnode, owner: bigint): Promise<void> {
    const args = { fid, owner: owner.toString(16) }
    // Else it ends with its lease.
    await this.#cm.cells.call(volume, ReleaseLock, args, { who: this.#cm.self }).catch(() => {})
  }

  /** A server may have forgotten who holds what: it is asked for again, before others come if possible. */
  async reclaim(server: FileServer): Promise<void> {
    const caller = { who: this.#cm.self }
    await Promise.all(
      [...this.#held.values()].map(async (held) => {
        const { vnode, owner, exclusive } = held
        if (vnode.volume.server !== server) return
        const args = { fid: vnode.fid, owner: owner.toString(16), exclusive }
        try {
          await this.#cm.cells.call(vnode.volume, SetLock, args, caller)
          // It was released meanwhile.
          if (this.#held.get(keyOf(vnode, owner)) !== held) await this.#releaseThere(vnode, owner)
        } catch (error) {
          if (FsError.from(error).code === 'EAGAIN') this.#lost(held, 'the server began anew, and another has it')
        }
      }),
    )
  }

  #lost(held: Held, why: string): void {
    const { vnode, owner } = held
    const key = keyOf(vnode, owner)
    if (this.#held.get(key) !== held) return
    this.#held.delete(key)
    this.lost++
    this.#warn(`a lock of ${vnode.key} was lost: ${why}`)
  }

  #extendLater(): () => void {
    return this.#clock.after(LOCK_LEASE_MS / 3, () => void this.#extendAll())
  }

  async #extendAll(): Promise<void> {
    await this.#extend([...this.#held])
    this.#stopExtending = this.#closed || this.#held.size === 0 ? undefined : this.#extendLater()
  }

  /** Locks do not go along with a volume: what is lost is told now, and not when their leases are over. */
  moved(volume: ClientVolume): void {
    void this.#extend([...this.#held].filter(([, { vnode }]) => vnode.volume === volume))
  }

  async #extend(held: readonly (readonly [string, Held])[]): Promise<void> {
    const caller = { who: this.#cm.self }
    await Promise.all(
      held.map(async ([, one]) => {
        const { vnode, owner } = one
        try {
          await this.#cm.cells.call(vnode.volume, ExtendLock, { fid: vnode.fid, owner: owner.toString(16) }, caller)
        } catch (error) {
          if (FsError.from(error).code !== 'ENOLCK') return
          this.#lost(one, `${vnode.volume.server.name} does not hold it any more`)
        }
      }),
    )
  }

  /** A process closed a descriptor of the file. */
  closed(node: Node, owner: bigint): void {
    const file = fileNumber(node)
    if (this.#handles.closed(file, owner)) this.#end(node, owner)
  }

  /** An open file is gone. */
  released(node: Node, handle: Handle): void {
    for (const owner of this.#handles.released(fileNumber(node), handle)) this.#end(node, owner)
  }

  #end(node: Node, owner: bigint): void {
    const release = this.#release(node.vnode, owner)
    const local = () => this.#service.releaseOwner(fileNumber(node), { client: CLIENT, owner })
    void release.then(local)
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#stopExtending?.()
    await Promise.all([...this.#held.values()].map(({ vnode, owner }) => this.#release(vnode, owner)))
    this.#service.releaseClient(CLIENT)
    this.#handles.clear()
  }

  #fileOf({ node }: LockRequest): number {
    return fileNumber(this.#cm.node(node))
  }

  #translate(request: LockRequest): LockTableRequest {
    const { owner, range, kind, pid, flock, wait } = request
    const file = this.#fileOf(request)
    return { client: CLIENT, owner, file, range, kind, pid, class: flock ? 'flock' : 'range', wait }
  }
}

/** All versions of a file are one for its locks. */
const fileNumber = ({ vnode: { attributes } }: Node): number => attributes?.ino ?? 0

const keyOf = ({ key }: Vnode, owner: bigint): string => `${key}#${owner}`
