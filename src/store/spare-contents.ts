// Empty content files that wait, open, for new inodes. Making and removing a file is most of what creation and deletion
// cost: so what deleted inodes leave behind is emptied and used again, and what was missing once is made ahead while
// nothing else goes on.
import { type Disk, UTIME_NOW } from '../host/disk.ts'

/** How many are kept, and the largest file that is emptied rather than removed, in bytes. */
const LIMIT = 2048
const EMPTIED_BYTES = 1 << 20
/** Files synced at a time. */
const SYNCED_TOGETHER = 16
/** futimens(2): the current time, in the place of nanoseconds. */

/** A content file without an inode. */
export interface SpareContent {
  readonly content: number
  readonly fd: number
}

/** What a deleted inode leaves. */
export interface RetiredContent extends SpareContent {
  /** Others than this process may have it open or mapped. */
  readonly shared: boolean
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
   * By content number: deleted inodes' content that is to be emptied, and the descriptors of what was emptied, and of
   * what is durably empty and therefore for new inodes.
   */
  readonly #retired = new Map<number, RetiredContent>()
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
  retire(retired: RetiredContent, bytes: number): boolean {
    if (this.#kept >= LIMIT || bytes > EMPTIED_BYTES) return false
    this.#retired.set(retired.content, retired)
    return true
  }

  /** Empties the content of a deleted inode. False: it is not kept here, or has to be removed instead. */
  empty(content: number): boolean {
    const retired = this.#retired.get(content)
    if (retired === undefined) return false
    const { fd, shared } = retired
    this.#retired.delete(content)
    try {
      // What outlived the inode at some client, a mapping say, must not see what another inode holds.
      if (!shared || !this.#disk.hasWriters(fd)) {
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
   * another held, since a file's number is durable with the journal, and before its content. File by file, since what else
   * is dirty on the host shall stay so. The first sync makes a journalling host commit them all; the others are then
   * quick, and share what it costs to hand them to other threads.
   */
  async makeDurable(): Promise<void> {
    const emptied = [...this.#emptied]
    for (let from = 0, to = 1; from < emptied.length; from = to, to += SYNCED_TOGETHER) {
      const synced = emptied.slice(from, to).map(([content, fd]) => this.#makeDurable(content, fd))
      // None may still be under way when this ends, however it does.
      await Promise.allSettled(synced)
      await Promise.all(synced)
    }
  }

  async #makeDurable(content: number, fd: number): Promise<void> {
    // It may be given up meanwhile, for want of descriptors.
    const isKept = () => this.#emptied.get(content) === fd
    try {
      await this.#disk.sync(fd, true)
    } catch (error) {
      if (isKept()) throw error
    }
    if (!isKept()) return
    this.#emptied.delete(content)
    this.#spare.set(content, fd)
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
    for (const { fd } of this.#retired.values()) this.#disk.close(fd)
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
