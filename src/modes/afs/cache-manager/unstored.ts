// Changed files that the server does not have, although nobody has them open any more: a store that failed, or that died
// with an earlier process. They stay in the cache until they are stored or given up.
import type { CachedFile } from '../../../vfs/whole-files/files.ts'
import type { WholeFileCache } from '../../../vfs/whole-files/whole-file-cache.ts'
import { isNote, type Note } from './notes.ts'

export interface UnstoredFile {
  readonly file: CachedFile
  /** Undefined: made by somebody who noted nothing that can be read. */
  readonly note: Note | undefined
  /** Why it is not stored: for people. */
  why: string
  /** It is tried again when the server is heard of. */
  retry: boolean
}

export class Unstored {
  readonly #files = new Map<number, UnstoredFile>()

  /** Those that an earlier process left. */
  constructor(cache: WholeFileCache) {
    for (const file of cache.dirty()) {
      // Truncated on the server first: nobody wrote it.
      if (file.note === null) {
        cache.discard(file)
        continue
      }
      const { damage, doubtful } = file
      if (damage === undefined && !doubtful && cache.cleanIfUnchanged(file)) continue
      const note = isNote(file.note) ? file.note : undefined
      const why = whyLeft(file, note)
      this.#files.set(file.number, { file, note, why: why ?? 'the store was interrupted', retry: why === undefined })
    }
  }

  add(file: CachedFile, why: string, retry: boolean): void {
    const note = isNote(file.note) ? file.note : undefined
    this.#files.set(file.number, { file, note, why, retry: retry && note !== undefined })
  }

  delete(file: CachedFile): void {
    this.#files.delete(file.number)
  }

  /** Of that key. */
  has(key: string): boolean {
    return [...this.#files.values()].some(({ file }) => file.key === key)
  }

  get size(): number {
    return this.#files.size
  }

  [Symbol.iterator](): IterableIterator<UnstoredFile> {
    return this.#files.values()
  }
}

/** Why it is not stored by itself. */
function whyLeft({ damage, doubtful }: CachedFile, note: Note | undefined): string | undefined {
  if (damage !== undefined) return `damaged: ${damage}`
  if (doubtful) return 'the machine stopped before it was on the disk: parts may be lost'
  if (note === undefined) return 'whose it is was not noted'
  return note.closed ? undefined : 'nobody had closed it: it may be half of something'
}
