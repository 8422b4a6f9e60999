// Programs that write faster than the server takes it wait here until there is room again.
import { FsError } from '../../posix/errors.ts'
import type { CallContext } from '../../vfs/filesystem.ts'
import type { FileWrites } from './file-writes.ts'
import { interruptionOf } from './interruption.ts'
import { WriteBudget } from './write-budget.ts'

/** What all files of one mount keep together, in bytes. */
const LIMIT_BYTES = 256 * 1024 * 1024

export class WriteRoom {
  readonly budget: WriteBudget
  /** Files that keep something. */
  readonly files = new Set<FileWrites>()
  readonly #waiting = new Set<() => void>()

  constructor(limitBytes = LIMIT_BYTES) {
    this.budget = new WriteBudget({ limitBytes })
  }

  /** Resolves when less is kept than now. Fails with EINTR if the caller does not wait any more. */
  async wait(context: CallContext): Promise<void> {
    const freed = waitFor(context, (resolve) => {
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
}

/** Waits for something that has no call of its own. `begin` returns how to stop waiting. */
export async function waitFor(
  context: CallContext | undefined,
  begin: (resolve: () => void, reject: (error: FsError) => void) => () => void,
): Promise<void> {
  const interruption = context && interruptionOf(context)
  let stop = (): void => {}
  try {
    await new Promise<void>((resolve, reject) => {
      interruption?.signal.addEventListener('abort', () => reject(new FsError('EINTR')))
      if (interruption?.signal.aborted) reject(new FsError('EINTR'))
      else stop = begin(resolve, reject)
    })
  } finally {
    stop()
    interruption?.dispose()
  }
}
