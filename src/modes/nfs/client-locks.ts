// Locks of programs on a mount, kept by the server's lock manager (NLM): fcntl, OFD and flock locks exclude programs on
// other clients.
//
// A lock is a point of coherence, as in Linux' client: before one is asked for or given back, what was written is on the
// server; when one is granted, nothing that was cached before is believed any more.
//
// The protocol has byte ranges only: flock(2) locks the whole file, as somebody else than the process that uses fcntl(2).
// So they exclude each other, as they do on Linux.
import { FsError } from '../../posix/errors.ts'
import type { OpaqueAuth } from '../../rpc/onc/message.ts'
import { overlap } from '../../store/lock-ranges.ts'
import type { Awaitable, CallContext, FileLock, Handle, LockRequest, Locks, NodeId } from '../../vfs/filesystem.ts'
import { interruptionOf } from '../../vfs/interruption.ts'
import { LockHandles } from '../../vfs/lock-handles.ts'
import type { LockClient } from './lock-client.ts'
import { LockRunner, type LockRunnerOptions } from './lock-runner.ts'
import {
  errnoOfNlm,
  type HeldNlmLock,
  type LockHolder,
  type LockOwnerName,
  NLM4_STATS,
  type NlmLock,
  type NlmTested,
} from './nlm-types.ts'
import type { NfsNode } from './nodes.ts'

/** What locks need of the rest of the client. */
export interface LockedFiles extends Pick<LockRunnerOptions, 'known' | 'unlocked'> {
  /** FsError if the kernel does not know it. */
  node(id: NodeId): NfsNode
  credential(context: CallContext): OpaqueAuth
  /** What was written is on the server; fails with the error of a write. */
  flush(context: CallContext, node: NfsNode, handle: Handle): Awaitable<void>
  /** Nothing that was cached is believed any more. */
  refresh(context: CallContext, node: NfsNode): Promise<void>
}

export interface ClientLocksOptions extends Pick<LockRunnerOptions, 'clock' | 'manager'> {
  readonly files: LockedFiles
}

/** Linux waits 5 s. */
const GRACE_MS = 1000
/** So long whoever is interrupted waits for the server to hear of it: until then it keeps others out. */
const UNDO_MS = 1000
/** Stands for nobody. */
const NOBODY = 0

export class ClientLocks implements Locks {
  /** For status views. */
  readonly runner: LockRunner
  readonly #options: ClientLocksOptions
  readonly #machine: LockClient
  readonly #handles = new LockHandles()

  constructor(options: ClientLocksOptions) {
    const { clock, files, manager } = options
    const { known, unlocked } = files
    this.#options = options
    this.runner = new LockRunner({ clock, graceMs: GRACE_MS, manager, known, unlocked })
    this.#machine = this.runner.machine
  }

  /** fcntl(2) F_GETLK. Who holds a lock on another machine has no process id here: it is told as 0. */
  async getLock(context: CallContext, request: LockRequest): Promise<FileLock | null> {
    const { files, clock } = this.#options
    const { range, pid } = request
    const node = files.node(request.node)
    const exclusive = request.kind === 'exclusive'
    const owner = nameOf(request)
    const ours = this.#conflicting(node.id, owner, { ...range, exclusive })
    if (ours !== undefined) return ours
    const holder = this.runner.holderOf(owner) ?? { pid, credential: files.credential(context) }
    const interruption = interruptionOf(context, { clock })
    try {
      for (;;) {
        const lock = { file: node.id, svid: this.#machine.svidOf(owner) ?? NOBODY, range, exclusive }
        const tested = await this.#test(lock, node, holder, interruption.signal)
        if (tested.status === NLM4_STATS.NLM4_GRANTED) return null
        if (tested.status === NLM4_STATS.NLM4_DENIED) return tested.lock ?? { ...range, exclusive: true, pid: 0 }
        if (tested.status !== NLM4_STATS.NLM4_DENIED_GRACE_PERIOD) throw new FsError(errnoOfNlm(tested.status))
        await orInterrupted(interruption.signal, (resolve) => clock.after(GRACE_MS, resolve))
      }
    } finally {
      interruption.dispose()
    }
  }

  async setLock(context: CallContext, request: LockRequest): Promise<void> {
    const { files, clock } = this.#options
    const { kind, range, wait, pid } = request
    const node = files.node(request.node)
    if (kind === 'unlock') {
      await this.#unlock(context, request, node)
      return
    }
    await files.flush(context, node, request.handle)
    this.#handles.asked(request)
    const owner = nameOf(request)
    this.runner.needs(node, owner, { pid, credential: files.credential(context) })
    const file = node.id
    const { id, effects } = this.#machine.lock({ file, owner, range, exclusive: kind === 'exclusive', wait })
    // Who waits for others is freed by any signal (alarm(2) is how programs limit the wait), else by what ends programs.
    const interruption = wait ? { signal: context.signal, dispose() {} } : interruptionOf(context, { clock })
    const { signal } = interruption
    try {
      await this.runner.over({ id, file, owner, effects, signal, abort: () => this.runner.interrupt(id) })
    } catch (error) {
      if (signal.aborted) await this.runner.undone(file, owner, UNDO_MS)
      throw error
    } finally {
      interruption.dispose()
    }
    await files.refresh(context, node)
  }

  /** A process closed a descriptor of the file; what it wrote is on the server. */
  closed(context: CallContext, file: NodeId, owner: bigint): Awaitable<void> {
    if (this.#handles.closed(file, owner)) return this.#giveBack(context, file, owner)
  }

  /** An open file is gone. */
  released(file: NodeId, handle: Handle): void {
    for (const owner of this.#handles.released(file, handle)) {
      for (const name of [owner, flockName(owner)]) this.#giveBack(undefined, file, name).catch(() => undefined)
    }
  }

  /** The mount is gone: everything is given back, as far as the server answers. */
  async releaseAll(): Promise<void> {
    this.#handles.clear()
    this.runner.interruptAll()
    for (const { file, owner } of this.#machine.held()) this.#giveBack(undefined, file, owner).catch(() => undefined)
    await this.runner.idle()
  }

  close(): void {
    this.runner.close()
  }

  /** Whoever locks next is to see what was written under the lock. If that fails the lock goes all the same. */
  async #unlock(context: CallContext, request: LockRequest, node: NfsNode): Promise<void> {
    let failure: FsError | undefined
    try {
      await this.#options.files.flush(context, node, request.handle)
    } catch (error) {
      failure = FsError.from(error)
      if (failure.code === 'EINTR') throw failure
    }
    await this.#giveBack(context, node.id, nameOf(request), request.range)
    if (failure !== undefined) throw failure
  }

  /** Who is interrupted does not wait for the answer; the lock goes all the same. Without a range it is all there is. */
  async #giveBack(
    context: CallContext | undefined,
    file: NodeId,
    owner: LockOwnerName,
    range?: LockRequest['range'],
  ): Promise<void> {
    const interruption = context && interruptionOf(context, { clock: this.#options.clock })
    const machine = this.#machine
    const { id, effects } = range === undefined ? machine.release(file, owner) : machine.unlock(file, owner, range)
    const signal = interruption?.signal
    try {
      await this.runner.over({ id, file, owner, effects, signal, abort: () => this.runner.leave(id) })
    } finally {
      interruption?.dispose()
    }
  }

  /** A lock of this mount that is in the way. */
  #conflicting(
    file: NodeId,
    owner: LockOwnerName,
    wanted: LockRequest['range'] & { readonly exclusive: boolean },
  ): FileLock | undefined {
    const conflicts = (lock: HeldNlmLock): boolean =>
      lock.owner !== owner && overlap(lock, wanted) && (wanted.exclusive || lock.exclusive)
    const lock = this.#machine.held(file).find(conflicts)
    if (lock === undefined) return undefined
    const { start, end, exclusive } = lock
    return { start, end, exclusive, pid: this.runner.holderOf(lock.owner)?.pid ?? 0 }
  }

  /** Whatever fails, a program hears what Linux' client says: no locks available. */
  async #test(lock: NlmLock, node: NfsNode, holder: LockHolder, signal: AbortSignal): Promise<NlmTested> {
    try {
      return await orInterrupted<NlmTested>(signal, (resolve, reject) => {
        this.runner.manager.test(lock, node.handle, holder, signal).then(resolve, reject)
      })
    } catch (error) {
      throw new FsError(signal.aborted ? 'EINTR' : 'ENOLCK', 'TEST', { cause: error })
    }
  }
}

/** Waits for something, or fails with EINTR. */
async function orInterrupted<T = void>(
  signal: AbortSignal,
  begin: (resolve: (value: T) => void, reject: (error: unknown) => void) => unknown,
): Promise<T> {
  let interrupted = (): void => {}
  try {
    return await new Promise<T>((resolve, reject) => {
      interrupted = () => reject(new FsError('EINTR'))
      if (signal.aborted) interrupted()
      else signal.addEventListener('abort', interrupted)
      begin(resolve, reject)
    })
  } finally {
    signal.removeEventListener('abort', interrupted)
  }
}

/** An open file may have OFD and flock locks, which are apart. */
const flockName = (owner: bigint): LockOwnerName => `flock ${owner}`

const nameOf = ({ owner, flock }: Pick<LockRequest, 'owner' | 'flock'>): LockOwnerName =>
  flock ? flockName(owner) : owner
