// What operations have changed and the database has not been told yet.
//
// The journal has every operation, so the database may follow later, and many changes need never reach it: a directory
// is written once however many entries it got, a file that came and went not at all. Whoever asks for a row looks here
// first. One row per inode and entry, in its latest state.
import type { Entry } from './entries.ts'
import { type Inode, insertParameters } from './inode.ts'
import type { Parameter } from './journal.ts'
import { SLOTS } from './names.ts'
import {
  DELETE_ENTRY,
  DELETE_INODE,
  INSERT_ENTRY,
  INSERT_INODE,
  TOUCH_DIRECTORY,
  UPDATE_ENTRY,
  UPDATE_INODE,
  UPDATE_LINKS,
} from './schema.ts'

/** What a statement is about, besides its parameters: the inode that it changes, or the name of the entry. */
export type Subject = Inode | string | undefined

interface PendingInode {
  /** Written as it is when its time has come; undefined: deleted. */
  inode: Inode | undefined
  /** The database has a row of it, or (of a directory) entries in it. */
  stored: boolean
}

export interface PendingEntry extends Entry {
  readonly name: string
  readonly type: number
  /** False: removed. */
  readonly live: boolean
  /** The database has a row at this cookie. */
  readonly stored: boolean
}

/** The writes that bring the database up to date; each replaces what is there. */
export interface RowWriter {
  putInode(parameters: readonly Parameter[]): void
  deleteInode(ino: number): void
  putEntry(parent: number, entry: PendingEntry): void
  deleteEntry(parent: number, cookie: number): void
}

/** Entries of a directory by the first cookie of their hash: nearly always one each. */
type Groups = Map<number, PendingEntry[]>

const NONE: readonly PendingEntry[] = []
const groupOf = (cookie: number): number => cookie - (cookie % SLOTS)

export class PendingRows {
  readonly #inodes = new Map<number, PendingInode>()
  readonly #directories = new Map<number, Groups>()

  get empty(): boolean {
    return this.#inodes.size === 0 && this.#directories.size === 0
  }

  /** Whether rows that this statement changes gather here. Of those that do not, the database is told at once. */
  static gathers(statement: number): boolean {
    return statement >= INSERT_INODE && statement <= UPDATE_ENTRY
  }

  /** Takes note of a statement that was journalled. */
  take(statement: number, parameters: readonly Parameter[], subject: Subject): void {
    const numbers = parameters as readonly number[]
    switch (statement) {
      case INSERT_INODE:
        this.putInode(subject as Inode, false)
        break
      case UPDATE_INODE:
      case TOUCH_DIRECTORY:
      case UPDATE_LINKS:
        this.putInode(subject as Inode, true)
        break
      case DELETE_INODE:
        this.#deleteInode(numbers[0] as number)
        break
      case INSERT_ENTRY: {
        const [parent, cookie, name, ino, type] = parameters as readonly [number, number, string, number, number]
        this.#putEntry(parent, { cookie, name, ino, type, live: true, stored: false })
        break
      }
      case UPDATE_ENTRY: {
        const [ino, type, parent, cookie] = numbers as readonly [number, number, number, number]
        this.#putEntry(parent, { cookie, name: subject as string, ino, type, live: true, stored: true })
        break
      }
      case DELETE_ENTRY: {
        const [parent, cookie] = numbers as readonly [number, number]
        this.#putEntry(parent, { cookie, name: '', ino: 0, type: 0, live: false, stored: true })
        break
      }
    }
  }

  /** `stored`: the database has a row of it, unless it is known here to have none. */
  putInode(inode: Inode, stored: boolean): void {
    const pending = this.#inodes.get(inode.ino)
    if (pending) pending.inode = inode
    else this.#inodes.set(inode.ino, { inode, stored })
  }

  #deleteInode(ino: number): void {
    if (this.#inodes.get(ino)?.stored === false) this.#inodes.delete(ino)
    else this.#inodes.set(ino, { inode: undefined, stored: true })
  }

  #putEntry(parent: number, entry: PendingEntry): void {
    const groups: Groups = this.#directories.get(parent) ?? new Map()
    if (groups.size === 0) this.#directories.set(parent, groups)
    const first = groupOf(entry.cookie)
    const group = groups.get(first)
    if (!group) {
      groups.set(first, [entry])
      return
    }
    const at = group.findIndex(({ cookie }) => cookie === entry.cookie)
    const before = group[at]
    if (!before) {
      group.push(entry)
    } else if (entry.live || before.stored) {
      group[at] = { ...entry, stored: before.stored }
    } else {
      group.splice(at, 1)
      if (group.length > 0) return
      groups.delete(first)
      if (groups.size === 0) this.#directories.delete(parent)
    }
  }

  /** An inode whose row is out of date: `{ inode: undefined }` if it is deleted. */
  inode(ino: number): { readonly inode: Inode | undefined } | undefined {
    return this.#inodes.get(ino)
  }

  /** Whether the database knows nothing of a directory yet: all its entries are here. */
  isNewDirectory(ino: number): boolean {
    return this.#inodes.get(ino)?.stored === false
  }

  /** The entries of a hash whose rows are out of date. `first`: the first of its cookies. */
  entries(parent: number, first: number): readonly PendingEntry[] {
    return this.#directories.get(parent)?.get(first) ?? NONE
  }

  /** Whether some entry of a directory is known here to exist. */
  hasEntry(parent: number): boolean {
    for (const group of this.#directories.get(parent)?.values() ?? []) if (group.some(({ live }) => live)) return true
    return false
  }

  hasEntries(parent: number): boolean {
    return this.#directories.has(parent)
  }

  /** Writes the entries of one directory, which are then no longer pending. */
  writeEntries(parent: number, writer: RowWriter): void {
    const directory = this.#inodes.get(parent)
    if (directory) directory.stored = true
    for (const group of this.#directories.get(parent)?.values() ?? []) {
      for (const entry of group) {
        if (entry.live) writer.putEntry(parent, entry)
        else writer.deleteEntry(parent, entry.cookie)
      }
    }
    this.#directories.delete(parent)
  }

  /** Writes everything. `clear` it when that is committed. */
  write(writer: RowWriter): void {
    for (const [ino, { inode }] of this.#inodes) {
      if (inode) writer.putInode(insertParameters(inode))
      else writer.deleteInode(ino)
    }
    for (const parent of this.#directories.keys()) this.writeEntries(parent, writer)
  }

  /** The database was told of all that the journal has. Of inodes more may be known than that (see Metadata.note). */
  wereReplayed(): void {
    this.#directories.clear()
    for (const [ino, pending] of this.#inodes) {
      if (pending.inode) pending.stored = true
      else this.#inodes.delete(ino)
    }
  }

  clear(): void {
    this.#inodes.clear()
    this.#directories.clear()
  }
}
