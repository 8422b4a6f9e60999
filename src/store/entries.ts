// The entries of directories, as queries: which inode a name leads to, where a new name goes, what comes next.
import { FsError } from '../posix/errors.ts'
import { direntType, S_IFDIR } from '../posix/mode.ts'
import type { Inode } from './inode.ts'
import type { MetadataView } from './metadata.ts'
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

type Row = [string, number, number, number]

const entryOf = ([name, ino, type, cookie]: Row): ListedEntry => ({ name, ino, type, cookie })

export class Entries {
  readonly #metadata: MetadataView
  readonly #hash: NameHash
  readonly #seed: number
  readonly #group
  readonly #page
  readonly #any

  constructor(metadata: MetadataView, hash: NameHash, seed: number) {
    this.#metadata = metadata
    this.#hash = hash
    this.#seed = seed
    // Arrays: objects are much slower to make.
    const rows = (where: string) =>
      metadata.query<Row>(`SELECT name, ino, type, cookie FROM dirent WHERE parent = ? AND ${where}`).raw()
    this.#group = rows('cookie >= ? AND cookie < ?')
    this.#page = rows(`cookie > ? ORDER BY cookie LIMIT ${PAGE}`)
    this.#any = metadata.query<number>('SELECT 1 FROM dirent WHERE parent = ? LIMIT 1').pluck()
  }

  find(directory: number, name: string): Entry | undefined {
    const group = this.#entries(directory, this.#hash(name, this.#seed))
    for (const entry of group) if (entry.name === name) return entry
    return undefined
  }

  /** The cookie for a new entry. Throws EEXIST if there is one of this name. */
  slot(directory: number, name: string): number {
    const first = this.#hash(name, this.#seed)
    const group = this.#entries(directory, first)
    if (group.length === 0) return first
    if (group.some((entry) => entry.name === name)) throw new FsError('EEXIST')
    const cookie = freeSlot(
      first,
      group.map((entry) => entry.cookie),
    )
    if (cookie === undefined) throw new FsError('ENOSPC', 'too many names with the same hash')
    return cookie
  }

  /** The entries of a hash: known, or asked for and known from now on. */
  #entries(directory: number, first: number): readonly ListedEntry[] {
    const { known, pending } = this.#metadata
    const group = known.group(directory, first)
    if (group !== undefined) return group
    const changed = pending.entries(directory, first)
    const live = changed.filter((entry) => entry.live)
    const found = pending.isNewDirectory(directory) ? live : [...live, ...this.#stored(directory, first, changed)]
    known.learn(directory, first, found)
    return found
  }

  /** What the database has of a hash and is not out of date. */
  #stored(directory: number, first: number, changed: readonly Entry[]): ListedEntry[] {
    this.#metadata.requireWhole()
    const stored = this.#group.all(directory, first, first + SLOTS).map(entryOf)
    return changed.length === 0
      ? stored
      : stored.filter(({ cookie }) => !changed.some((other) => other.cookie === cookie))
  }

  isEmpty(directory: number): boolean {
    const known = this.#metadata.known.isEmpty(directory)
    if (known !== undefined) return known
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
    const from = Math.max(after, DOT_DOT_COOKIE)
    const known = this.#metadata.known.list(directory.ino)
    if (known === undefined) yield* this.#listStored(directory.ino, from)
    else for (let at = firstAfter(known, from); at < known.length; at++) yield known[at] as ListedEntry
  }

  *#listStored(directory: number, from: number): Generator<ListedEntry> {
    for (let cookie = from; ; ) {
      this.#metadata.settleEntries(directory)
      const page = this.#page.all(directory, cookie).map(entryOf)
      if (page.length < PAGE && cookie === DOT_DOT_COOKIE) this.#metadata.known.learnAll(directory, page)
      yield* page
      if (page.length < PAGE) return
      cookie = page[PAGE - 1]?.cookie ?? 0
    }
  }
}

/** Where in a list by cookies the first one after `cookie` is. */
function firstAfter(entries: readonly ListedEntry[], cookie: number): number {
  let low = 0
  let high = entries.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((entries[middle] as ListedEntry).cookie > cookie) high = middle
    else low = middle + 1
  }
  return low
}
