// The entries of directories, as queries: which inode a name leads to, where a new name goes, what comes next.
import { FsError } from '../posix/errors.ts'
import { direntType, S_IFDIR } from '../posix/mode.ts'
import type { Inode } from './inode.ts'
import type { Metadata } from './metadata.ts'
import { DOT_COOKIE, DOT_DOT_COOKIE, freeSlot, type NameHash, SLOTS } from './names.ts'

export interface Entry {
  readonly ino: number
  readonly cookie: number
}

interface Row extends Entry {
  readonly name: string
}

export interface ListedEntry {
  readonly name: string
  readonly ino: number
  /** d_type (dirent.h). */
  readonly type: number
  /** Where the listing goes on after this entry. */
  readonly cookie: number
}

/** Entries read from the database at a time. */
const PAGE = 128

export class Entries {
  readonly #metadata: Metadata
  readonly #hash: NameHash
  readonly #seed: number
  readonly #find
  readonly #group
  readonly #page
  readonly #any
  /** Where the last name that was not found would be: whoever did not find it often makes it next. */
  #missed = { directory: 0, first: 0, version: 0 }

  constructor(metadata: Metadata, hash: NameHash, seed: number) {
    this.#metadata = metadata
    this.#hash = hash
    this.#seed = seed
    const among = 'FROM dirent WHERE parent = ? AND cookie >= ? AND cookie < ?'
    // Arrays: objects are much slower to make.
    this.#find = metadata.query<[number, number, string]>(`SELECT ino, cookie, name ${among}`).raw()
    this.#group = metadata.query<Row>(`SELECT ino, cookie, name ${among}`)
    this.#page = metadata
      .query<[string, number, number, number]>(
        `SELECT name, ino, type, cookie FROM dirent WHERE parent = ? AND cookie > ? ORDER BY cookie LIMIT ${PAGE}`,
      )
      .raw()
    this.#any = metadata.query<number>('SELECT 1 FROM dirent WHERE parent = ? LIMIT 1').pluck()
  }

  find(directory: number, name: string): Entry | undefined {
    const first = this.#hash(name, this.#seed)
    const pending = this.#metadata.pending.entries(directory, first)
    for (const entry of pending) if (entry.live && entry.name === name) return entry
    if (this.#metadata.pending.isNewDirectory(directory)) return undefined
    const row = this.#find.get(directory, first, first + SLOTS)
    if (row === undefined) {
      this.#missed = { directory, first, version: this.#metadata.entriesVersion }
      return undefined
    }
    const stored: Entry | undefined =
      row[2] === name
        ? { ino: row[0], cookie: row[1] }
        : this.#group.all(directory, first, first + SLOTS).find((other) => other.name === name)
    return stored && pending.some(({ cookie }) => cookie === stored.cookie) ? undefined : stored
  }

  /** The cookie for a new entry. Throws EEXIST if there is one of this name. */
  slot(directory: number, name: string): number {
    const first = this.#hash(name, this.#seed)
    const pending = this.#metadata.pending.entries(directory, first)
    const none = this.#metadata.pending.isNewDirectory(directory) || this.#isMissed(directory, first)
    const stored = none ? [] : this.#group.all(directory, first, first + SLOTS)
    if (stored.length === 0 && pending.length === 0) return first
    const group = [
      ...stored.filter(({ cookie }) => !pending.some((entry) => entry.cookie === cookie)),
      ...pending.filter(({ live }) => live),
    ]
    if (group.some((entry) => entry.name === name)) throw new FsError('EEXIST')
    const cookie = freeSlot(
      first,
      group.map((entry) => entry.cookie),
    )
    if (cookie === undefined) throw new FsError('ENOSPC', 'too many names with the same hash')
    return cookie
  }

  /** Whether the database was asked for this hash last, and had nothing. */
  #isMissed(directory: number, first: number): boolean {
    const missed = this.#missed
    return missed.directory === directory && missed.first === first && missed.version === this.#metadata.entriesVersion
  }

  isEmpty(directory: number): boolean {
    if (this.#metadata.pending.hasEntry(directory)) return false
    this.#metadata.settleEntries(directory)
    return this.#any.get(directory) === undefined
  }

  /**
   * The entries after a cookie (0: all), `.` and `..` first. Cookies are an entry's own and grow: what is added or
   * removed meanwhile neither hides nor repeats another entry, and the listing ends.
   */
  *list(directory: Inode, after: number): Generator<ListedEntry> {
    const type = direntType(S_IFDIR)
    if (after < DOT_COOKIE) yield { name: '.', ino: directory.ino, type, cookie: DOT_COOKIE }
    if (after < DOT_DOT_COOKIE) yield { name: '..', ino: directory.parent, type, cookie: DOT_DOT_COOKIE }
    let cookie = Math.max(after, DOT_DOT_COOKIE)
    for (;;) {
      this.#metadata.settleEntries(directory.ino)
      const page = this.#page.all(directory.ino, cookie)
      for (const [name, ino, type, at] of page) {
        cookie = at
        yield { name, ino, type, cookie }
      }
      if (page.length < PAGE) return
    }
  }
}
