// Takes files off the disk: short ones at once, long ones away from the event loop, since freeing them takes long.
import type { Disk } from '../../host/disk.ts'
import { FsError } from '../../posix/errors.ts'
import type { Descriptors } from './descriptors.ts'
import type { FileRecord } from './files.ts'

export interface RemovalsOptions {
  readonly disk: Disk
  readonly descriptors: Descriptors
  readonly path: (number: number) => string
  readonly onBackgroundError: (error: Error) => void
}

const SHORT_BYTES = 1 << 20

/** What cannot be removed is reported, and found again as a stray at the next start. */
export class Removals {
  readonly #options: RemovalsOptions
  #underWay: Promise<void> = Promise.resolve()

  constructor(options: RemovalsOptions) {
    this.#options = options
  }

  remove(files: readonly FileRecord[]): void {
    const { disk, descriptors, path, onBackgroundError } = this.#options
    descriptors.closeAll(files)
    const long: string[] = []
    for (const { number, allocatedBytes } of files) {
      if (allocatedBytes > SHORT_BYTES) {
        long.push(path(number))
        continue
      }
      try {
        disk.unlink(path(number))
      } catch (error) {
        if (!(error instanceof FsError) || error.code !== 'ENOENT') onBackgroundError(error as Error)
      }
    }
    if (long.length > 0) void this.removeNames(long)
  }

  /** Resolves when they are gone, or could not be removed. */
  removeNames(paths: readonly string[]): Promise<void> {
    const { disk, onBackgroundError } = this.#options
    const work = async () => {
      for (const path of paths) await disk.unlinkLater(path).catch(onBackgroundError)
    }
    this.#underWay = this.#underWay.then(work)
    return this.#underWay
  }

  async idle(): Promise<void> {
    await this.#underWay
  }
}
