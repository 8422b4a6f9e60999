// The content of a clone while it is being made: a hard link to each content file, made when its turn comes or, sooner,
// when the file is about to be changed or removed. What somebody may write or read past the store gets a copy.
import { constants } from 'node:fs'
import type { Disk } from '../host/disk.ts'
import { FsError } from '../posix/errors.ts'
import { type ContentFile, contentPath } from './content-files.ts'
import { copyContent, remove } from './copy-content.ts'

export interface CloneContentsOptions {
  readonly disk: Disk
  /** The directories of content of the volume and of the clone. */
  readonly from: string
  readonly to: string
}

export class CloneContents {
  readonly #options: CloneContentsOptions
  /** What the clone has already. */
  readonly #given = new Set<number>()
  /** Of that, what was copied. */
  readonly #copied = new Set<number>()

  constructor(options: CloneContentsOptions) {
    this.#options = options
  }

  get copied(): number {
    return this.#copied.size
  }

  wasCopied(content: number): boolean {
    return this.#copied.has(content)
  }

  /** Gives the clone content as it is now. `file`: it is open. */
  give(content: number, file: ContentFile | undefined): void {
    if (this.#given.has(content)) return
    const { disk, from } = this.#options
    // A program that reads through the kernel, or has it mapped, shall see what is written later: it keeps the file.
    if (file?.passed && (file.opens > 0 || disk.hasWriters(file.fd))) {
      this.copy(content, file.fd)
      return
    }
    const path = `${from}/${contentPath(content)}`
    try {
      disk.link(path, this.path(content))
    } catch (error) {
      const { code } = FsError.from(error)
      // Loss of power may take a file that was never synced and leave its inode: it is empty.
      if (code === 'ENOENT') disk.close(disk.open(this.path(content), constants.O_WRONLY | constants.O_CREAT, 0o600))
      else if (code === 'EMLINK') this.#copyPath(content, path)
      else throw error
    }
    this.#given.add(content)
  }

  copy(content: number, fd: number): void {
    this.#options.disk.close(copyContent(this.#options.disk, fd, this.path(content)))
    this.#given.add(content)
    this.#copied.add(content)
  }

  #copyPath(content: number, path: string): void {
    const { disk } = this.#options
    const fd = disk.open(path, constants.O_RDONLY)
    try {
      this.copy(content, fd)
    } finally {
      disk.close(fd)
    }
  }

  /** Where the clone has it. */
  path(content: number): string {
    return `${this.#options.to}/${contentPath(content)}`
  }

  /** Takes away what no inode of the clone names. */
  removeUnnamed(isNamed: (content: number) => boolean): void {
    for (const content of this.#given) if (!isNamed(content)) remove(this.#options.disk, this.path(content))
  }
}
