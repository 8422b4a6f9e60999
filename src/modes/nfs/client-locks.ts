// Locks of programs on a mount, kept by the server's lock manager (NLM): fcntl, OFD and flock locks exclude programs on
// other clients. The decisions are LockClient's; here they become calls, timers and answers.
//
// A lock is a point of coherence, as in Linux' client: before one is asked for or given back, what was written is on the
// server; when one is granted, nothing that was cached before is believed any more.
//
// The protocol has byte ranges only: flock(2) locks the whole file, as somebody else than the process that uses fcntl(2).
// So they exclude each other, as they do on Linux.
import type { Clock } from '../../host/clock.ts'
import { FsError } from '../../posix/errors.ts'
import type { OpaqueAuth } from '../../rpc/onc/message.ts'
import { overlap } from '../../store/lock-ranges.ts'
import { grantChannel, traceTime } from '../../trace/trace.ts'
import type { Awaitable, CallContext, FileLock, Handle, LockRequest, Locks, NodeId } from '../../vfs/filesystem.ts'
import { LockHandles } from '../../vfs/lock-handles.ts'
import { interruptionOf } from './interruption.ts'
import { LockClient } from './lock-client.ts'
import {
  errnoOfNlm,
  type HeldNlmLock,
  type LockEffect,
  type LockHolder,
  type LockManager,
  type LockManagerEvents,
  type LockOwnerName,
  NLM4_STATS,
  type NlmCall,
  type NlmLock,
  type NlmTested,
  type WaitingNlmLock,
} from './nlm-types.ts'
import type { NfsNode } from './nodes.ts'

/** What locks need of the rest of the client. */
export interface LockedFiles {
  /** FsError if the kernel does not know it. */
  node(id: NodeId): NfsNode
  /** The node of a file handle, if there is one. */
  known(handle: Buffer): NfsNode | undefined
  credential(context: CallContext): OpaqueAuth
  /** What was written is on the server; fails with the error of a write. */
  flush(context: CallContext, node: NfsNode, handle: Handle): Awaitable<void>
  /** Nothing that was cached is believed any more. */
  refresh(context: CallContext, node: NfsNode): Promise<void>
  /** Locks do not need the node any more. */
  unlocked(node: NfsNode): void
}

export interface ClientLocksOptions {
  readonly files: LockedFiles
  readonly clock: Clock
  manager(events: LockManagerEvents): LockManager
}

export interface LostLock extends HeldNlmLock {
  readonly pid: number
  readonly atMs: number
}

/** How long to wait while the server lets in only those who held locks before, in milliseconds. Linux waits 5 s. */
const GRACE_MS = 1000
/** Lost locks that are remembered. */
const MAX_LOST = 100
/** Stands for nobody. */
const NOBODY = 0

export class ClientLocks implements Locks {
  /** The latest ones, the oldest first. */
  readonly lost: LostLock[] = []
  readonly manager: LockManager
  readonly #files: LockedFiles
  readonly #clock: Clock
  readonly #machine: LockClient
  readonly #handles = new LockHandles()
  readonly #holders = new Map<LockOwnerName, LockHolder>()
  /** Nodes with locks. */
  readonly #nodes = new Map<NodeId, NfsNode>()
  readonly #waiting = new Map<number, (error?: FsError) => void>()
  #timerAt = Number.POSITIVE_INFINITY
  #cancelTimer: () => void = () => {}

  constructor({ files, clock, manager }: ClientLocksOptions) {
    this.#files = files
    this.#clock = clock
    this.manager = manager({
      granted: (handle, lock) => {
        const node = files.known(handle)
        if (node === undefined) return false
        this.#needs(node)
        const { accepted, effects } = this.#machine.granted({ ...lock, file: node.id })
        this.#run(effects)
        this.#tidyFile(node.id)
        return accepted
      },
      serverLife: (life) => {
        this.#machine.serverStateIs(life)
        this.#run(this.#machine.serverRestarted(life))
      },
      atStake: () => !this.#machine.idle,
    })
    const pollMs = (times: number): number => this.manager.pollMs(times)
    this.#machine = new LockClient({ now: () => clock.now(), pollMs, graceMs: GRACE_MS })
  }

  /** fcntl(2) F_GETLK. Who holds a lock on another machine has no process id here: it is told as 0. */
  async getLock(context: CallContext, request: LockRequest): Promise<FileLock | null> {
    const { range } = request
    const node = this.#files.node(request.node)
    const exclusive = request.kind === 'exclusive'
    const owner = nameOf(request)
    const conflicts = (lock: HeldNlmLock): boolean =>
      lock.owner !== owner && overlap(lock, range) && (exclusive || lock.exclusive)
    const ours = this.#machine.held(node.id).find(conflicts)
    if (ours !== undefined) {
      const { start, end } = ours
      return { start, end, exclusive: ours.exclusive, pid: this.pidOf(ours.owner) }
    }
    const lock = { file: node.id, svid: this.#machine.svidOf(owner) ?? NOBODY, range, exclusive }
    const interruption = interruptionOf(context, { clock: this.#clock })
    const { signal } = interruption
    try {
      for (;;) {
        const holder = this.#holders.get(owner) ?? this.#newHolder(context, request)
        const tested = await this.#test(lock, node, holder, signal)
        if (tested.status === NLM4_STATS.NLM4_GRANTED) return null
        if (tested.status === NLM4_STATS.NLM4_DENIED) return tested.lock ?? { ...range, exclusive: true, pid: 0 }
        if (tested.status !== NLM4_STATS.NLM4_DENIED_GRACE_PERIOD) throw new FsError(errnoOfNlm(tested.status))
        await this.#pause(signal)
      }
    } finally {
      interruption.dispose()
    }
  }

  async setLock(context: CallContext, request: LockRequest): Promise<void> {
    const node = this.#files.node(request.node)
    const { kind, range, wait, handle } = request
    const owner = nameOf(request)
    if (kind === 'unlock') {
      await this.#unlock(context, request, node)
      return
    }
    await this.#files.flush(context, node, handle)
    this.#handles.asked(request)
    if (!this.#holders.has(owner)) this.#holders.set(owner, this.#newHolder(context, request))
    this.#needs(node)
    const asked = { file: node.id, owner, range, exclusive: kind === 'exclusive', wait }
    const { id, effects } = this.#machine.lock(asked)
    // Who waits for others is freed by any signal (alarm(2) is how programs limit the wait), else by what ends programs.
    const interruption = wait
      ? { signal: context.signal, dispose() {} }
      : interruptionOf(context, { clock: this.#clock })
    try {
      await this.#over(id, effects, interruption.signal, () => this.#run(this.#machine.interrupt(id)))
    } finally {
      interruption.dispose()
      this.#tidy(node.id, owner)
    }
    await this.#files.refresh(context, node)
  }

  /** A process closed a descriptor of the file; what it wrote is on the server. */
  closed(context: CallContext, id: NodeId, owner: bigint): Awaitable<void> {
    if (this.#handles.closed(id, owner)) return this.#release(context, id, owner)
  }

  /** An open file is gone. */
  released(id: NodeId, handle: Handle): void {
    for (const owner of this.#handles.released(id, handle)) {
      for (const name of [owner, flockName(owner)]) this.#release(undefined, id, name).catch(() => undefined)
    }
  }

  /** The mount is gone: everything is given back, as far as the server answers. */
  async releaseAll(): Promise<void> {
    this.#handles.clear()
    for (const id of [...this.#waiting.keys()]) this.#run(this.#machine.interrupt(id))
    const lanes = new Map(this.held().map((lock) => [`${lock.file} ${typeof lock.owner} ${lock.owner}`, lock]))
    await Promise.allSettled([...lanes.values()].map(({ file, owner }) => this.#release(undefined, file, owner)))
  }

  close(): void {
    this.#cancelTimer()
    this.manager.close()
  }

  held(): HeldNlmLock[] {
    return this.#machine.held()
  }

  waiting(): WaitingNlmLock[] {
    return this.#machine.waiting()
  }

  /** Some file of which something is held or wanted, and who does. */
  anyLocked(): { readonly node: NfsNode; readonly holder: LockHolder } | undefined {
    for (const { file, owner } of [...this.held(), ...this.waiting()]) {
      const node = this.#nodes.get(file)
      const holder = this.#holders.get(owner)
      if (node !== undefined && holder !== undefined) return { node, holder }
    }
    return undefined
  }

  /** 0: nobody knows. */
  pidOf(owner: LockOwnerName): number {
    return this.#holders.get(owner)?.pid ?? 0
  }

  /** Whatever fails, a program hears what Linux' client says: no locks available. */
  async #test(lock: NlmLock, node: NfsNode, holder: LockHolder, signal: AbortSignal): Promise<NlmTested> {
    try {
      return await this.manager.test(lock, node.handle, holder, signal)
    } catch (error) {
      throw new FsError(signal.aborted ? 'EINTR' : 'ENOLCK', 'TEST', { cause: error })
    }
  }

  /** Whoever locks next is to see what was written under the lock. If that fails the lock goes all the same. */
  async #unlock(context: CallContext, request: LockRequest, node: NfsNode): Promise<void> {
    const owner = nameOf(request)
    let failure: FsError | undefined
    try {
      await this.#files.flush(context, node, request.handle)
    } catch (error) {
      failure = FsError.from(error)
      if (failure.code === 'EINTR') throw failure
    }
    await this.#giveBack(context, node.id, owner, this.#machine.unlock(node.id, owner, request.range))
    if (failure !== undefined) throw failure
  }

  async #release(context: CallContext | undefined, file: NodeId, owner: LockOwnerName): Promise<void> {
    await this.#giveBack(context, file, owner, this.#machine.release(file, owner))
  }

  /** Who is interrupted does not wait for the answer; the lock goes all the same. */
  async #giveBack(
    context: CallContext | undefined,
    file: NodeId,
    owner: LockOwnerName,
    { id, effects }: ReturnType<LockClient['unlock']>,
  ): Promise<void> {
    const interruption = context && interruptionOf(context, { clock: this.#clock })
    try {
      await this.#over(id, effects, interruption?.signal, () => this.#settle(id, new FsError('EINTR')))
    } finally {
      interruption?.dispose()
      this.#tidy(file, owner)
    }
  }

  /** Resolves when an operation is over. */
  async #over(id: number, effects: readonly LockEffect[], signal: AbortSignal | undefined, abort: () => void) {
    const over = new Promise<void>((resolve, reject) => {
      this.#waiting.set(id, (error) => (error === undefined ? resolve() : reject(error)))
    })
    this.#run(effects)
    if (signal?.aborted) abort()
    signal?.addEventListener('abort', abort, { once: true })
    try {
      await over
    } finally {
      signal?.removeEventListener('abort', abort)
    }
  }

  #settle(id: number, error?: FsError): void {
    const settle = this.#waiting.get(id)
    this.#waiting.delete(id)
    settle?.(error)
  }

  #run(effects: readonly LockEffect[]): void {
    for (const effect of effects) {
      if (effect.type === 'call') this.#call(effect.call)
      else if (effect.type === 'lost') this.#tellLost(effect.lock)
      else this.#settle(effect.id, effect.error === undefined ? undefined : new FsError(effect.error))
    }
    this.#arm()
  }

  async #call(call: NlmCall): Promise<void> {
    const { cookie, owner, lock } = call
    const node = this.#nodes.get(lock.file)
    const holder = this.#holders.get(owner)
    let status: number | undefined
    try {
      if (node === undefined || holder === undefined) throw new FsError('ENOLCK', 'a lock of nobody')
      status = await this.manager.send(call, node.handle, holder)
    } catch {
      // Whatever the reason, a program hears what Linux' client says: no locks available.
      this.#run(this.#machine.failed(cookie, 'ENOLCK'))
    }
    if (status !== undefined) this.#run(this.#machine.answered(cookie, status))
    this.#tidy(lock.file, owner)
  }

  #arm(): void {
    const at = this.#machine.deadlineMs() ?? Number.POSITIVE_INFINITY
    if (at === this.#timerAt) return
    this.#cancelTimer()
    this.#timerAt = at
    if (at === Number.POSITIVE_INFINITY) return
    this.#cancelTimer = this.#clock.after(Math.max(0, at - this.#clock.now()), () => {
      this.#timerAt = Number.POSITIVE_INFINITY
      this.#run(this.#machine.tick())
    })
  }

  #newHolder(context: CallContext, { pid }: LockRequest): LockHolder {
    return { pid, credential: this.#files.credential(context) }
  }

  /** Forgets a file, and an owner, of which nothing is left. */
  #tidy(file: NodeId, owner: LockOwnerName): void {
    if (this.#machine.svidOf(owner) === undefined) this.#holders.delete(owner)
    this.#tidyFile(file)
  }

  /** As long as there are locks of it. */
  #needs(node: NfsNode): void {
    this.#nodes.set(node.id, node)
    node.locked = true
  }

  #tidyFile(file: NodeId): void {
    const node = this.#nodes.get(file)
    if (node === undefined || this.#machine.isBusy(file)) return
    this.#nodes.delete(file)
    node.locked = false
    this.#files.unlocked(node)
  }

  #tellLost(lock: HeldNlmLock): void {
    this.lost.push({ ...lock, pid: this.pidOf(lock.owner), atMs: this.#clock.now() })
    if (this.lost.length > MAX_LOST) this.lost.shift()
    if (!grantChannel.hasSubscribers) return
    const rights = lock.exclusive ? 'exclusive lock' : 'shared lock'
    const detail = `process ${this.pidOf(lock.owner)}: the server restarted and did not give it back`
    grantChannel.publish({ time: traceTime(), op: 'break', client: 'this mount', node: lock.file, rights, detail })
  }

  /** Fails with EINTR. */
  #pause(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const cancel = this.#clock.after(GRACE_MS, () => {
        signal.removeEventListener('abort', interrupted)
        resolve()
      })
      const interrupted = (): void => {
        cancel()
        reject(new FsError('EINTR'))
      }
      if (signal.aborted) interrupted()
      else signal.addEventListener('abort', interrupted, { once: true })
    })
  }
}

/** An open file may have OFD and flock locks, which are apart. */
const flockName = (owner: bigint): LockOwnerName => `flock ${owner}`

const nameOf = ({ owner, flock }: Pick<LockRequest, 'owner' | 'flock'>): LockOwnerName =>
  flock ? flockName(owner) : owner
