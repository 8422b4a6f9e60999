// Takes files off the disk, away from the event loop.
import type { Disk } from '../../host/disk.ts'
import type { Descriptors } from './descriptors.ts'
import type { FileRecord } from './files.ts'

export interface RemovalsOptions {
  readonly disk: Disk
  readonly descriptors: Descriptors
  readonly path: (number: number) => string
  readonly onBackgroundError: (error: Error) => void
}

/** What cannot be removed is reported, and found again as a stray at the next start. */
export class Removals {
  readonly #options: RemovalsOptions
  #underWay: Promise<void> = Promise.resolve()

  constructor(options: RemovalsOptions) {
    this.#options = options
  }

  remove(files: readonly FileRecord[]): void {
    if (files.length === 0) return
    const { descriptors, path } = this.#options
    descriptors.closeAll(files)
    void this.removeNames(files.map(({ number }) => path(number)))
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
