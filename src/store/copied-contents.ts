// Content that was copied because a clone names it, until the copy is durable.
//
// The copy takes the place of the old file by rename(2), so whoever is killed leaves one of both, whole. Loss of power
// could leave the new name and not yet what the copy holds, while the old content may have been synced long ago: so
// that keeps a second name (`7.before`) until the copy is durable. Which of both is right when a volume is opened after
// a crash depends on whether power was lost (Disk.bootId): the copy has all that was acknowledged, the old content
// all that was synced. The names come into the directory in this order, and host file systems with a journal keep it.
import { constants } from 'node:fs'
import type { Disk } from '../host/disk.ts'
import { FsError } from '../posix/errors.ts'
import { copyContent, remove } from './copy-content.ts'

const BEFORE = '.before'
const COPY = '.copy'
/** Copies synced at a time. */
const SYNCED_TOGETHER = 16

export class CopiedContents {
  readonly #disk: Disk
  /** By the content file's path, those that keep their old content; each copy is an object of its own. */
  readonly #unsettled = new Map<string, object>()

  /** Called with the path of a content file whose directory was changed, and has to be synced before it is durable. */
  readonly #changed: (path: string) => void

  constructor(disk: Disk, changed: (path: string) => void) {
    this.#disk = disk
    this.#changed = changed
  }

  /** Makes the file `path`, open as `fd`, another file with the same bytes and times. Returns its descriptor. */
  copy(path: string, fd: number): number {
    const copyFd = copyContent(this.#disk, fd, path + COPY)
    try {
      // What is kept already is what was durable last.
      if (!this.#unsettled.has(path)) {
        remove(this.#disk, path + BEFORE)
        this.#disk.link(path, path + BEFORE)
      }
      this.#disk.rename(path + COPY, path)
    } catch (error) {
      this.#disk.close(copyFd)
      remove(this.#disk, path + COPY)
      throw FsError.from(error)
    }
    this.#unsettled.set(path, {})
    this.#changed(path)
    return copyFd
  }

  /** `sync` makes the file `path` durable, which may be copied meanwhile. */
  async sync(path: string, sync: () => Promise<void>): Promise<void> {
    for (;;) {
      const copy = this.#unsettled.get(path)
      await sync()
      if (this.#unsettled.get(path) !== copy) continue
      if (copy !== undefined) this.#settled(path)
      return
    }
  }

  /** `sync` makes all files durable. True: it has to be done once more. */
  async syncAll(sync: () => Promise<void>): Promise<boolean> {
    const copies = [...this.#unsettled]
    await sync()
    for (const [path, copy] of copies) if (this.#unsettled.get(path) === copy) this.#settled(path)
    return copies.length > 0
  }

  /** Makes all copies durable, some at a time. */
  async settle(): Promise<void> {
    const paths = [...this.#unsettled.keys()]
    for (let from = 0; from < paths.length; from += SYNCED_TOGETHER) {
      const settled = paths
        .slice(from, from + SYNCED_TOGETHER)
        .map((path) => this.sync(path, () => this.#syncPath(path)))
      await Promise.allSettled(settled)
      await Promise.all(settled)
    }
  }

  async #syncPath(path: string): Promise<void> {
    let fd: number
    try {
      fd = this.#disk.open(path, constants.O_RDONLY)
    } catch (error) {
      // The file was deleted.
      if (FsError.from(error).code === 'ENOENT') return
      throw error
    }
    try {
      await this.#disk.sync(fd, true)
    } finally {
      this.#disk.close(fd)
    }
  }

  #settled(path: string): void {
    this.#unsettled.delete(path)
    // Were it there again after loss of power, it would be taken for what was synced last.
    remove(this.#disk, path + BEFORE)
    this.#changed(path)
  }

  /** Decides between what copies were made of in `directory` and the copies. */
  recover(directory: string, powerWasLost: boolean): void {
    for (const name of this.#disk.list(directory)) {
      if (!name.endsWith(BEFORE)) continue
      const path = `${directory}/${name}`
      if (powerWasLost) this.#disk.rename(path, path.slice(0, -BEFORE.length))
      else this.#disk.unlink(path)
    }
  }
}
