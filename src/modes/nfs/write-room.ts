// What the files of one mount keep together: programs that write faster than the server takes it wait here until there is
// room again, and what nobody waits for is written back after a while.
import type { Clock } from '../../host/clock.ts'
import { FsError } from '../../posix/errors.ts'
import type { CallContext } from '../../vfs/filesystem.ts'
import type { Interruptions } from '../../vfs/interruption.ts'
import type { FileWrites } from './file-writes.ts'
import { NO_HANDLE } from './write-behind.ts'
import { WriteBudget } from './write-budget.ts'

/** What all files of one mount keep together, in bytes. */
const LIMIT_BYTES = 256 * 1024 * 1024
/** What a program wrote and did not wait for is sent after about this long, as Linux does (dirty_expire_centisecs). */
const WRITE_BACK_MS = 30_000
/** Files written back at once: programs want the server, too. */
const WRITE_BACK_FILES = 4

export class WriteRoom {
  readonly budget: WriteBudget
  readonly #clock: Clock
  readonly #interruptions: Interruptions
  /** Files that keep something, and since when, the oldest first. */
  readonly #files = new Map<FileWrites, number>()
  readonly #waiting = new Set<() => void>()
  #writingBack = false
  #cancel = (): void => {}

  constructor(clock: Clock, interruptions: Interruptions, limitBytes = LIMIT_BYTES) {
    this.#clock = clock
    this.#interruptions = interruptions
    this.budget = new WriteBudget({ limitBytes })
  }

  get files(): Iterable<FileWrites> {
    return this.#files.keys()
  }

  /** The file keeps something. */
  add(file: FileWrites): void {
    if (this.#files.has(file)) return
    this.#files.set(file, this.#clock.now())
    this.#arm()
  }

  /** It keeps nothing any more. */
  delete(file: FileWrites): void {
    this.#files.delete(file)
  }

  /** Nothing is written back any more. */
  close(): void {
    this.#writingBack = true
    this.#cancel()
  }

  /** Resolves when less is kept than now. Fails with EINTR if the caller does not wait any more. */
  async wait(context: CallContext): Promise<void> {
    const freed = waitFor(this.#interruptions, context, (resolve) => {
      this.#waiting.add(resolve)
      return () => this.#waiting.delete(resolve)
    })
    for (const file of this.files) file.relieve()
    await freed
  }

  freed(): void {
    const waiting = [...this.#waiting]
    this.#waiting.clear()
    for (const resume of waiting) resume()
  }

  #arm(): void {
    const [oldest] = this.#files.values()
    if (oldest === undefined || this.#writingBack) return
    this.#writingBack = true
    const delay = Math.max(0, oldest + WRITE_BACK_MS - this.#clock.now())
    this.#cancel = this.#clock.after(delay, () => void this.#writeBack())
  }

  async #writeBack(): Promise<void> {
    const due: FileWrites[] = []
    const before = this.#clock.now() - WRITE_BACK_MS
    for (const [file, since] of this.#files) if (since <= before) due.push(file)
    const files = due.values()
    await Promise.all(Array.from({ length: WRITE_BACK_FILES }, () => this.#writeBackAll(files)))
    this.#writingBack = false
    this.#arm()
  }

  async #writeBackAll(files: Iterable<FileWrites>): Promise<void> {
    for (const file of files) {
      if (!this.#files.has(file)) continue
      // Errors are kept for those who have the file open.
      await Promise.resolve(file.flush(undefined, NO_HANDLE, 'stable')).catch(() => undefined)
      // Written to meanwhile: that is younger.
      if (this.#files.delete(file)) this.#files.set(file, this.#clock.now())
    }
  }
}

/** Waits for something that has no call of its own. `begin` returns how to stop waiting. */
export async function waitFor(
  interruptions: Interruptions,
  context: CallContext | undefined,
  begin: (resolve: () => void, reject: (error: FsError) => void) => () => void,
): Promise<void> {
  let stop = (): void => {}
  let unwatch: (() => void) | undefined
  try {
    await new Promise<void>((resolve, reject) => {
      unwatch = context && interruptions.watch(context, () => reject(new FsError('EINTR')))
      stop = begin(resolve, reject)
    })
  } finally {
    stop()
    unwatch?.()
  }
}
