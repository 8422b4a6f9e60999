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
  readonly #hash: NameHash
  readonly #seed: number
  readonly #find
  readonly #group
  readonly #page
  readonly #any

  constructor(metadata: Metadata, hash: NameHash, seed: number) {
    this.#hash = hash
    this.#seed = seed
    const among = 'FROM dirent WHERE parent = ? AND cookie >= ? AND cookie < ?'
    this.#find = metadata.query<Entry>(`SELECT ino, cookie ${among} AND name = ?`)
    this.#group = metadata.query<{ cookie: number; name: string }>(`SELECT cookie, name ${among}`)
    this.#page = metadata.query<ListedEntry>(
      `SELECT name, ino, type, cookie FROM dirent WHERE parent = ? AND cookie > ? ORDER BY cookie LIMIT ${PAGE}`,
    )
    this.#any = metadata.query<number>('SELECT 1 FROM dirent WHERE parent = ? LIMIT 1').pluck()
  }

  find(directory: number, name: string): Entry | undefined {
    const first = this.#hash(name, this.#seed)
    return this.#find.get(directory, first, first + SLOTS, name)
  }

  /** The cookie for a new entry. Throws EEXIST if there is one of this name. */
  slot(directory: number, name: string): number {
    const first = this.#hash(name, this.#seed)
    const group = this.#group.all(directory, first, first + SLOTS)
    if (group.length === 0) return first
    if (group.some((entry) => entry.name === name)) throw new FsError('EEXIST')
    const cookie = freeSlot(
      first,
      group.map((entry) => entry.cookie),
    )
    if (cookie === undefined) throw new FsError('ENOSPC', 'too many names with the same hash')
    return cookie
  }

  isEmpty(directory: number): boolean {
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
      const page = this.#page.all(directory.ino, cookie)
      yield* page
      const last = page.at(-1)
      if (!last || page.length < PAGE) return
      cookie = last.cookie
    }
  }
}
