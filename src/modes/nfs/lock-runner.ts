// LockClient at work: its effects become calls of the lock manager, timers, and answers to who waits; and what it needs
// to know of owners and files is kept as long as it needs them.
import type { Clock } from '../../host/clock.ts'
import { FsError } from '../../posix/errors.ts'
import { grantChannel, traceTime } from '../../trace/trace.ts'
import type { NodeId } from '../../vfs/filesystem.ts'
import { LockClient } from './lock-client.ts'
import type {
  HeldNlmLock,
  LockEffect,
  LockHolder,
  LockManager,
  LockManagerEvents,
  LockOwnerName,
  NlmCall,
} from './nlm-types.ts'
import type { NfsNode } from './nodes.ts'

export interface LockRunnerOptions {
  readonly clock: Clock
  /** How long to wait while the server lets in only those who held locks before, in milliseconds. */
  readonly graceMs: number
  manager(events: LockManagerEvents): LockManager
  /** The node of a file handle, if there is one. */
  known(handle: Buffer): NfsNode | undefined
  /** Locks do not need the node any more. */
  unlocked(node: NfsNode): void
}

export interface LostLock extends HeldNlmLock {
  readonly pid: number
  readonly atMs: number
}

export interface Operation {
  readonly id: number
  readonly file: NodeId
  readonly owner: LockOwnerName
  readonly effects: readonly LockEffect[]
  /** Whoever asked does not wait any more. */
  readonly signal: AbortSignal | undefined
  /** Then, if the operation is not over: what to do about it. */
  abort(): void
}

/** Lost locks that are remembered. */
const MAX_LOST = 100

export class LockRunner {
  readonly machine: LockClient
  readonly manager: LockManager
  /** The latest ones, the oldest first. */
  readonly lost: LostLock[] = []
  readonly #options: LockRunnerOptions
  readonly #holders = new Map<LockOwnerName, LockHolder>()
  /** Nodes with locks. */
  readonly #nodes = new Map<NodeId, NfsNode>()
  readonly #waiting = new Map<number, (error?: FsError) => void>()
  #idle: (() => void)[] = []
  readonly #undoing = new Set<() => void>()
  #timerAt = Number.POSITIVE_INFINITY
  #cancelTimer: () => void = () => {}

  constructor(options: LockRunnerOptions) {
    const { clock, graceMs } = options
    this.#options = options
    this.manager = options.manager({
      granted: (handle, lock) => this.#granted(handle, lock),
      serverLife: (life) => {
        this.machine.serverStateIs(life)
        this.#run(this.machine.serverRestarted(life))
        // What was to be taken back went with the old server.
        for (const owner of [...this.#holders.keys()]) this.#tidyOwner(owner)
        for (const file of [...this.#nodes.keys()]) this.#tidyFile(file)
      },
      atStake: () => !this.machine.idle,
    })
    const pollMs = (times: number): number => this.manager.pollMs(times)
    this.machine = new LockClient({ now: () => clock.now(), pollMs, graceMs })
  }

  /** To be told before an owner asks for a lock of a file. */
  needs(node: NfsNode, owner: LockOwnerName, holder: LockHolder): void {
    if (!this.#holders.has(owner)) this.#holders.set(owner, holder)
    this.#needs(node)
  }

  holderOf(owner: LockOwnerName): LockHolder | undefined {
    return this.#holders.get(owner)
  }

  /** Some file of which something is held or wanted, and who does. */
  anyLocked(): { readonly node: NfsNode; readonly holder: LockHolder } | undefined {
    for (const { file, owner } of [...this.machine.held(), ...this.machine.waiting()]) {
      const node = this.#nodes.get(file)
      const holder = this.#holders.get(owner)
      if (node !== undefined && holder !== undefined) return { node, holder }
    }
    return undefined
  }

  /** Resolves when an operation is over. Fails with FsError. */
  async over({ id, file, owner, effects, signal, abort }: Operation): Promise<void> {
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
      this.#tidy(file, owner)
    }
  }

  /** What has not been granted is not wanted any more. */
  interrupt(id: number): void {
    this.#run(this.machine.interrupt(id))
  }

  /** Resolves when the server has heard that a request was interrupted, or `patienceMs` have passed. */
  async undone(file: NodeId, owner: LockOwnerName, patienceMs: number): Promise<void> {
    if (!this.machine.isUndoing(file, owner)) return
    await new Promise<void>((resolve) => {
      const over = (): void => {
        cancel()
        this.#undoing.delete(look)
        resolve()
      }
      const look = (): void => {
        if (!this.machine.isUndoing(file, owner)) over()
      }
      const cancel = this.#options.clock.after(patienceMs, over)
      this.#undoing.add(look)
    })
  }

  interruptAll(): void {
    for (const id of [...this.#waiting.keys()]) this.interrupt(id)
  }

  /** It goes on, but who asked for it fails with EINTR. */
  leave(id: number): void {
    this.#settle(id, new FsError('EINTR'))
  }

  /** Resolves when nothing is held, wanted or under way. */
  async idle(): Promise<void> {
    if (!this.machine.idle) await new Promise<void>((resolve) => this.#idle.push(resolve))
  }

  close(): void {
    this.#cancelTimer()
    this.manager.close()
  }

  #granted(handle: Buffer, lock: Parameters<LockManagerEvents['granted']>[1]): boolean {
    const node = this.#options.known(handle)
    if (node === undefined) return false
    this.#needs(node)
    const { accepted, effects } = this.machine.granted({ ...lock, file: node.id })
    this.#run(effects)
    this.#tidyFile(node.id)
    return accepted
  }

  #run(effects: readonly LockEffect[]): void {
    for (const effect of effects) {
      if (effect.type === 'call') this.#call(effect.call)
      else if (effect.type === 'lost') this.#tellLost(effect.lock)
      else this.#settle(effect.id, effect.error === undefined ? undefined : new FsError(effect.error))
    }
    this.#arm()
    for (const look of this.#undoing) look()
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
      this.#run(this.machine.failed(cookie, 'ENOLCK'))
    }
    if (status !== undefined) this.#run(this.machine.answered(cookie, status))
    this.#tidy(lock.file, owner)
  }

  #settle(id: number, error?: FsError): void {
    const settle = this.#waiting.get(id)
    this.#waiting.delete(id)
    settle?.(error)
  }

  #arm(): void {
    const at = this.machine.deadlineMs() ?? Number.POSITIVE_INFINITY
    if (at === this.#timerAt) return
    this.#cancelTimer()
    this.#timerAt = at
    if (at === Number.POSITIVE_INFINITY) return
    const { clock } = this.#options
    this.#cancelTimer = clock.after(Math.max(0, at - clock.now()), () => {
      this.#timerAt = Number.POSITIVE_INFINITY
      this.#run(this.machine.tick())
    })
  }

  /** As long as there are locks of it. */
  #needs(node: NfsNode): void {
    this.#nodes.set(node.id, node)
    node.locked = true
  }

  /** Forgets a file, and an owner, of which nothing is left. */
  #tidy(file: NodeId, owner: LockOwnerName): void {
    this.#tidyOwner(owner)
    this.#tidyFile(file)
  }

  #tidyOwner(owner: LockOwnerName): void {
    if (this.machine.svidOf(owner) === undefined) this.#holders.delete(owner)
  }

  #tidyFile(file: NodeId): void {
    const node = this.#nodes.get(file)
    if (node === undefined || this.machine.isBusy(file)) return
    this.#nodes.delete(file)
    node.locked = false
    this.#options.unlocked(node)
    if (this.machine.idle) for (const resolve of this.#idle.splice(0)) resolve()
  }

  #tellLost(lock: HeldNlmLock): void {
    const pid = this.#holders.get(lock.owner)?.pid ?? 0
    this.lost.push({ ...lock, pid, atMs: this.#options.clock.now() })
    if (this.lost.length > MAX_LOST) this.lost.shift()
    if (!grantChannel.hasSubscribers) return
    const rights = lock.exclusive ? 'exclusive lock' : 'shared lock'
    const detail = `process ${pid}: the server restarted and did not give it back`
    grantChannel.publish({ time: traceTime(), op: 'break', client: 'this mount', node: lock.file, rights, detail })
  }
}
