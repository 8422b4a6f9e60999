// Empty content files that wait, open, for new inodes. Making and removing a file is most of what creation and deletion
// cost: so what deleted inodes leave behind is emptied and used again, and what was missing once is made ahead while
// nothing else goes on.
import type { Disk } from '../host/disk.ts'

/** How many are kept, and the largest file that is emptied rather than removed, in bytes. */
const LIMIT = 2048
const EMPTIED_BYTES = 1 << 20
/** futimens(2): the current time, in the place of nanoseconds. */
const UTIME_NOW = 0x3fffffff

/** A content file without an inode. */
export interface SpareContent {
  readonly content: number
  readonly fd: number
}

export interface SpareContentsOptions {
  readonly disk: Disk
  /** Opens a content file as it is removed: without its content. */
  readonly openEmptied: (content: number) => number
  /** Makes the empty file of a content number that nobody had. */
  readonly make: (content: number) => number
  readonly unlink: (content: number) => void
}

export class SpareContents {
  readonly #options: SpareContentsOptions
  readonly #disk: Disk
  /**
   * Descriptors by content number: of deleted inodes' content that is to be emptied, of what was emptied, and of what is
   * durably empty and therefore for new inodes.
   */
  readonly #retired = new Map<number, number>()
  readonly #emptied = new Map<number, number>()
  readonly #spare = new Map<number, number>()
  /** How many were wanted at once. */
  #wanted = 0

  constructor(options: SpareContentsOptions) {
    this.#options = options
    this.#disk = options.disk
  }

  get #kept(): number {
    return this.#retired.size + this.#emptied.size + this.#spare.size
  }

  /** An empty file, as if made now; undefined if there is none. */
  take(): SpareContent | undefined {
    for (const [content, fd] of this.#spare) {
      // One that fails stays, for `remove`.
      this.#disk.utimens(fd, 0, UTIME_NOW, 0, UTIME_NOW)
      this.#spare.delete(content)
      return { content, fd }
    }
    this.#wanted = Math.min(LIMIT, this.#wanted + 1)
    return undefined
  }

  /** The content of a deleted inode. False: it is not kept, and the descriptor is still the caller's. */
  retire({ content, fd }: SpareContent, bytes: number): boolean {
    if (this.#kept >= LIMIT || bytes > EMPTIED_BYTES) return false
    this.#retired.set(content, fd)
    return true
  }

  /** Empties the content of a deleted inode. False: it is not kept here, or has to be removed instead. */
  empty(content: number): boolean {
    const fd = this.#retired.get(content)
    if (fd === undefined) return false
    this.#retired.delete(content)
    try {
      // What outlived the inode at some client, a mapping say, must not see what another inode holds.
      if (!this.#disk.hasWriters(fd)) {
        // Not by `fd`, which stays open: ext4 flushes a file that was emptied at the next close, and that should be now.
        this.#disk.close(this.#options.openEmptied(content))
        this.#emptied.set(content, fd)
        return true
      }
    } catch {
      // It is removed instead.
    }
    this.#disk.close(fd)
    return false
  }

  /**
   * Lets new inodes have what was emptied, as soon as that is durable: else loss of power could show in one file what
   * another held, since a file's number is durable with the journal, and before its content. One file after the other:
   * the first sync makes a journalling host commit them all, and what else is dirty on the host stays so.
   */
  async makeDurable(): Promise<void> {
    for (const [content, fd] of [...this.#emptied]) {
      await this.#disk.sync(fd, true)
      // It may have been given up meanwhile, for want of descriptors.
      if (this.#emptied.get(content) !== fd) continue
      this.#emptied.delete(content)
      this.#spare.set(content, fd)
    }
  }

  /** Whether files should be made ahead. */
  get lacks(): boolean {
    return this.#kept < this.#wanted
  }

  /** Makes up to `count` files ahead. If that fails (the disk is full), no more are wanted for now. */
  supply(count: number, newContent: () => number): void {
    try {
      for (let left = count; left > 0 && this.lacks; left--) {
        const content = newContent()
        this.#spare.set(content, this.#options.make(content))
      }
    } catch {
      this.#wanted = 0
    }
  }

  /** Removes all of them, and closes those that would be: `empty` leaves their removal to the caller. */
  remove(): void {
    for (const fd of this.#retired.values()) this.#disk.close(fd)
    this.#retired.clear()
    this.#wanted = 0
    for (const kept of [this.#emptied, this.#spare]) {
      for (const [content, fd] of kept) {
        kept.delete(content)
        this.#disk.close(fd)
        this.#options.unlink(content)
      }
    }
  }
}
