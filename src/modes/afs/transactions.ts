// Long work on the volumes of a file server: one at a time on each volume, open to view, and to be called off until it is
// decided.
import { randomBytes } from 'node:crypto'
import { FsError } from '../../posix/errors.ts'
import { ServiceError } from '../../rpc/ws/index.ts'
import { TRANSACTIONS_MAX } from './limits.ts'
import type { Transaction } from './protocol-volumes.ts'

export type Operation = Transaction['operation']

export interface WorkOptions {
  readonly operation: Operation
  /** The name of the RW volume. */
  readonly volume: string
  readonly server?: string
  /** Aborted when whoever asked for it does not want it any more. */
  readonly signal?: AbortSignal
}

export interface TransactionsOptions {
  now(): number
  /** Called before each step, which waits for it. What it throws, the step fails with. */
  onStep?: ((operation: Operation, step: string) => void | Promise<void>) | undefined
}

/** One of them, as those see it who do it. */
export class Work {
  readonly id = randomBytes(8).toString('hex')
  readonly options: WorkOptions
  readonly sinceMs: number
  readonly signal: AbortSignal
  currentStep = 'begin'
  bytes = 0
  readonly #onStep: TransactionsOptions['onStep']
  #decided = false

  constructor(options: WorkOptions, { now, onStep }: TransactionsOptions, closed: AbortSignal) {
    this.options = options
    this.sinceMs = now()
    this.signal = options.signal === undefined ? closed : AbortSignal.any([options.signal, closed])
    this.#onStep = onStep
  }

  /** It goes on to a step of that name, unless it was called off: EINTR. */
  async step(name: string): Promise<void> {
    this.currentStep = name
    await this.#onStep?.(this.options.operation, name)
    if (this.signal.aborted && !this.#decided) throw new FsError('EINTR', 'called off')
  }

  /** From here on it is finished, whatever who asked for it wants. */
  decide(): void {
    this.#decided = true
  }

  /** Counts what a dump sends, and ends it when it is called off. */
  async *counted(dump: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const chunk of dump) {
      if (this.signal.aborted) throw new FsError('EINTR', 'called off')
      this.bytes += chunk.length
      yield chunk
    }
  }
}

export class Transactions {
  readonly #options: TransactionsOptions
  readonly #running = new Map<string, { readonly work: Work; readonly done: Promise<unknown> }>()
  readonly #closed = new AbortController()

  constructor(options: TransactionsOptions) {
    this.#options = options
  }

  /** Throws VBUSY if something is being done with that volume, or too much at once. */
  run<T>(options: WorkOptions, id: number, body: (work: Work) => Promise<T>): Promise<T> {
    if (this.#closed.signal.aborted) throw new FsError('EIO', 'the server ends')
    if (this.#running.has(options.volume) || this.#running.size >= TRANSACTIONS_MAX) {
      throw new ServiceError('VBUSY', { volume: id })
    }
    const work = new Work(options, this.#options, this.#closed.signal)
    const done = body(work).finally(() => this.#running.delete(options.volume))
    this.#running.set(options.volume, { work, done })
    return done
  }

  list(): Transaction[] {
    const now = this.#options.now()
    return [...this.#running.values()].map(({ work: { id, options, currentStep, bytes, sinceMs } }) => ({
      ...{ id, operation: options.operation, volume: options.volume, step: currentStep, bytes },
      ...{ server: options.server ?? null, sinceMs: Math.max(0, Math.floor(now - sinceMs)) },
    }))
  }

  /** Calls everything off, and resolves when it has ended. */
  async close(): Promise<void> {
    this.#closed.abort()
    await Promise.allSettled([...this.#running.values()].map(({ done }) => done))
  }
}
