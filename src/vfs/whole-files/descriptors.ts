// Descriptors of cached files. They stay open after the last release, so that the next open costs no system call.
import { constants } from 'node:fs'
import type { Disk } from '../../host/disk.ts'
import { FsError } from '../../posix/errors.ts'
import type { FileRecord } from './files.ts'

export interface DescriptorsOptions {
  readonly disk: Disk
  readonly path: (number: number) => string
  /** Files kept open while nobody uses them. */
  readonly limit: number
}

export class Descriptors {
  readonly #options: DescriptorsOptions
  /** Open and not used, the longest unused first. */
  readonly #idle = new Set<FileRecord>()

  constructor(options: DescriptorsOptions) {
    this.#options = options
  }

  /** `file.fd` is open, and stays so until `idle` or `close`. Throws FsError. */
  open(file: FileRecord, flags: number = constants.O_RDWR): void {
    if (file.fd >= 0) {
      this.#idle.delete(file)
      return
    }
    const { disk, path } = this.#options
    try {
      file.fd = disk.open(path(file.number), flags)
    } catch (error) {
      const { code } = FsError.from(error)
      if ((code !== 'EMFILE' && code !== 'ENFILE') || this.#idle.size === 0) throw error
      this.#closeIdle(0)
      file.fd = disk.open(path(file.number), flags)
    }
  }

  /** Nobody uses the descriptor for now. */
  idle(file: FileRecord): void {
    if (file.fd < 0) return
    this.#idle.add(file)
    this.#closeIdle(this.#options.limit)
  }

  close(file: FileRecord): void {
    this.#idle.delete(file)
    if (file.fd < 0) return
    this.#options.disk.close(file.fd)
    file.fd = -1
  }

  closeAll(files: Iterable<FileRecord>): void {
    for (const file of files) this.close(file)
  }

  #closeIdle(limit: number): void {
    for (const file of this.#idle) {
      if (this.#idle.size <= limit) break
      this.close(file)
    }
  }
}
