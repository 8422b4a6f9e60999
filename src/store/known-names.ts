// Names in memory: the entries of the directories that are in use, so that the database is asked once for each, or never
// for directories that were made here. The volume is open in one process, so what an operation changes is all that changes;
// whether the database was told of it already makes no difference here.

import { isDirectory } from '../posix/mode.ts'
import type { ListedEntry } from './entries.ts'
import type { Inode } from './inode.ts'
import type { Parameter } from './journal.ts'
import { SLOTS } from './names.ts'
import type { Subject } from './pending-rows.ts'
import { DELETE_ENTRY, DELETE_INODE, INSERT_ENTRY, INSERT_INODE, UPDATE_ENTRY } from './schema.ts'

const NONE: readonly ListedEntry[] = []
/** Directories up to this size are listed from memory: their entries are put in order anew after each change. */
const LISTED_MOST = 1024

const groupOf = (cookie: number): number => cookie - (cookie % SLOTS)

interface KnownDirectory {
  /** Entries by the first cookie of their hash; an empty group says that there is none. */
  readonly groups: Map<number, readonly ListedEntry[]>
  /** All entries are here: then groups that are not are empty, and none that is here is. */
  complete: boolean
  /** In the order of cookies, if somebody wanted them so since the last change. */
  listed: readonly ListedEntry[] | undefined
}

/**
 * Keeps about `limit` groups, of which nearly each is one name. Two generations of directories, as of inodes: a directory
 * goes as a whole.
 */
export class KnownNames {
  readonly #half: number
  #young = new Map<number, KnownDirectory>()
  #old = new Map<number, KnownDirectory>()
  /** Groups that came to the young generation since it began. */
  #added = 0

  constructor(limit: number) {
    this.#half = Math.max(1, limit >> 1)
  }

  /** The entries whose hash has `first` as its first cookie; undefined: not known here. */
  group(parent: number, first: number): readonly ListedEntry[] | undefined {
    const directory = this.#directory(parent)
    if (directory === undefined) return undefined
    return directory.groups.get(first) ?? (directory.complete ? NONE : undefined)
  }

  /** Whether a directory has no entries; undefined: not known here. */
  isEmpty(parent: number): boolean | undefined {
    const directory = this.#directory(parent)
    return directory?.complete ? directory.groups.size === 0 : undefined
  }

  /** All entries of a directory in the order of cookies; undefined: not known here, or too many to keep in order. */
  list(parent: number): readonly ListedEntry[] | undefined {
    const directory = this.#directory(parent)
    if (!directory?.complete || directory.groups.size > LISTED_MOST) return undefined
    directory.listed ??= [...directory.groups.values()].flat().sort((a, b) => a.cookie - b.cookie)
    return directory.listed
  }

  /** What the volume has of a hash, as was just found out. */
  learn(parent: number, first: number, entries: readonly ListedEntry[]): void {
    let directory = this.#directory(parent)
    if (directory === undefined) {
      directory = { groups: new Map(), complete: false, listed: undefined }
      this.#young.set(parent, directory)
    }
    this.#put(parent, directory, first, entries)
  }

  /** All that a directory has. */
  learnAll(parent: number, entries: readonly ListedEntry[]): void {
    this.#forget(parent)
    this.#young.set(parent, { groups: new Map(), complete: true, listed: undefined })
    for (const entry of entries) this.#insert(parent, entry)
  }

  /** Takes note of a statement that was journalled (see PendingRows.take). */
  take(statement: number, parameters: readonly Parameter[], subject: Subject): void {
    switch (statement) {
      case INSERT_INODE: {
        const { ino, attributes } = subject as Inode
        if (isDirectory(attributes.mode)) this.learnAll(ino, NONE)
        break
      }
      case DELETE_INODE:
        this.#forget(parameters[0] as number)
        break
      case INSERT_ENTRY: {
        const [parent, cookie, name, ino, type] = parameters as readonly [number, number, string, number, number]
        this.#insert(parent, { cookie, name, ino, type })
        break
      }
      case UPDATE_ENTRY: {
        const [ino, type, parent, cookie] = parameters as readonly [number, number, number, number]
        this.#insert(parent, { cookie, name: subject as string, ino, type })
        break
      }
      case DELETE_ENTRY: {
        const [parent, cookie] = parameters as readonly [number, number]
        this.#replace(parent, cookie, [])
        break
      }
    }
  }

  #insert(parent: number, entry: ListedEntry): void {
    this.#replace(parent, entry.cookie, [entry])
  }

  /** Puts `instead` where an entry with this cookie was, if it is known what stood there. */
  #replace(parent: number, cookie: number, instead: readonly ListedEntry[]): void {
    const directory = this.#directory(parent)
    if (directory === undefined) return
    const first = groupOf(cookie)
    const group = directory.groups.get(first) ?? (directory.complete ? NONE : undefined)
    if (group === undefined) return
    const others = group.length === 0 ? group : group.filter((other) => other.cookie !== cookie)
    this.#put(parent, directory, first, others.length === 0 ? instead : [...others, ...instead])
  }

  #put(parent: number, directory: KnownDirectory, first: number, entries: readonly ListedEntry[]): void {
    directory.listed = undefined
    if (entries.length === 0 && directory.complete) {
      directory.groups.delete(first)
      return
    }
    const { size } = directory.groups
    directory.groups.set(first, entries)
    if (directory.groups.size === size) return
    this.#added++
    // One that is alone too large would never go.
    if (directory.groups.size > this.#half) this.#forget(parent)
    else if (this.#added > this.#half) this.#age()
  }

  #directory(ino: number): KnownDirectory | undefined {
    const young = this.#young.get(ino)
    if (young !== undefined) return young
    const old = this.#old.get(ino)
    if (old === undefined) return undefined
    this.#old.delete(ino)
    this.#young.set(ino, old)
    this.#added += old.groups.size
    return old
  }

  #forget(ino: number): void {
    this.#young.delete(ino)
    this.#old.delete(ino)
  }

  #age(): void {
    this.#old = this.#young
    this.#young = new Map()
    this.#added = 0
  }
}
