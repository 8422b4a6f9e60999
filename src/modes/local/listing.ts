// An open directory: where a listing goes on between two reads of the kernel, which takes few entries at a time.
import type { ListedEntry } from '../../store/entries.ts'
import type { Volume } from '../../store/volume.ts'
import type { NodeId } from '../../vfs/filesystem.ts'

export class Listing {
  readonly node: NodeId
  readonly #volume: Volume
  #entries: Iterator<ListedEntry> | undefined
  /** The entry that comes next; it was read, and the kernel had no room for it. */
  #next: ListedEntry | undefined
  /** Position after the last entry taken, and the directory's state then: entries read ahead are right only in it. */
  #cookie = 0
  #change = -1

  constructor(volume: Volume, node: NodeId) {
    this.#volume = volume
    this.node = node
  }

  /** Goes to `cookie`: for free if the last entry taken stood there and the directory is as it was. */
  seek(cookie: number): void {
    const { change } = this.#volume.changeOf(this.node)
    if (cookie === this.#cookie && change === this.#change) return
    this.#entries = undefined
    this.#next = undefined
    this.#cookie = cookie
    this.#change = change
  }

  /** The next entry, without taking it. */
  peek(): ListedEntry | undefined {
    this.#entries ??= this.#volume.list(this.node, this.#cookie)[Symbol.iterator]()
    this.#next ??= this.#entries.next().value
    return this.#next
  }

  take(): void {
    this.#cookie = this.#next?.cookie ?? this.#cookie
    this.#next = undefined
  }
}
