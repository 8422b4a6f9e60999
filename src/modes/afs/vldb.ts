// The volume location database of a cell: which file server has which volume. It decides where a volume is: whoever moves
// one changes its entry, of the revision that it has read, and if that succeeds the volume is there. What was answered
// survives loss of power.
import type SqliteDatabase from 'better-sqlite3'
import { openAlone } from '../../host/exclusive-database.ts'
import { FsError } from '../../posix/errors.ts'
import { ServiceError } from '../../rpc/ws/index.ts'
import { SERVERS_MAX } from './limits.ts'
import type { VolumeEntry } from './protocol-volumes.ts'
import { baseName, isVolumeName } from './volume-names.ts'
import { ROOT_CELL } from './volume-registry.ts'

const FORMAT = {
  what: 'the volume location database',
  format: 1,
  pragmas: ['synchronous = FULL'],
  schema: `
    CREATE TABLE server (id TEXT PRIMARY KEY, address TEXT NOT NULL UNIQUE) STRICT;
    CREATE TABLE entry (name TEXT PRIMARY KEY, base INTEGER NOT NULL UNIQUE, revision INTEGER NOT NULL,
      places TEXT NOT NULL) STRICT;
    CREATE TABLE counter (next INTEGER NOT NULL) STRICT;
    INSERT INTO counter VALUES (${ROOT_CELL.id});
  `,
}
/** Numbers from one RW volume to the next: its clones have those between. */
export const ID_STEP = 3
const ID_MAX = 2 ** 32 - 1

interface Row {
  readonly name: string
  readonly base: number
  readonly revision: number
  readonly places: string
}

/** Of an entry, by ids of servers, as it is kept: addresses may change. */
interface Places {
  readonly rw: string | null
  readonly ro: readonly string[]
  readonly backup: string | null
  readonly sites: readonly string[]
}

export interface KnownServer {
  readonly id: string
  readonly address: string
}

export class Vldb {
  readonly #database: SqliteDatabase.Database

  /** Throws an Error of one line if it is in use, or of an unknown format. */
  constructor(path: string) {
    this.#database = openAlone(path, FORMAT)
  }

  close(): void {
    this.#database.close()
  }

  /** Throws VL_NOENT. */
  byName(name: string): VolumeEntry {
    const row = this.#row('name = ?', baseName(name))
    if (row === undefined) throw new ServiceError('VL_NOENT', { volume: name })
    return this.#entryOf(row)
  }

  /** By any of its ids. Throws VL_NOENT. */
  byId(id: number): VolumeEntry {
    const row = this.#row('base = ?', baseId(id))
    if (row === undefined) throw new ServiceError('VL_NOENT', { volume: id })
    return this.#entryOf(row)
  }

  list(after: string, limit: number): VolumeEntry[] {
    const rows = this.#database.prepare<[string, number], Row>(
      'SELECT * FROM entry WHERE name > ? ORDER BY name LIMIT ?',
    )
    const addresses = this.#addresses()
    return rows.all(after, limit).map((row) => this.#entryOf(row, addresses))
  }

  servers(): KnownServer[] {
    return this.#database.prepare<[], KnownServer>('SELECT id, address FROM server ORDER BY address').all()
  }

  /** Throws EEXIST if another server has that address, ENOSPC if there are too many. */
  register({ id, address }: KnownServer): void {
    const servers = this.servers()
    const old = servers.find((server) => server.id === id)
    if (servers.some((server) => server.id !== id && server.address === address)) {
      throw new FsError('EEXIST', `another file server of this cell has the address ${address}`)
    }
    if (old === undefined && servers.length >= SERVERS_MAX) throw new FsError('ENOSPC', 'too many file servers')
    if (old?.address === address) return
    this.#database.prepare('REPLACE INTO server (id, address) VALUES (?, ?)').run(id, address)
  }

  /** A number that no volume has had, whose next two numbers are free as well. */
  newId(): number {
    const id = this.#database.prepare<[], number>('SELECT next FROM counter').pluck().get() ?? ROOT_CELL.id
    if (id + ID_STEP > ID_MAX) throw new FsError('ENOSPC', 'no numbers are left')
    this.#database.prepare('UPDATE counter SET next = ?').run(id + ID_STEP)
    return id
  }

  /**
   * Makes an entry (revision 0), changes the one of that revision, or removes it, if it names no volume any more. Returns
   * the new revision. Throws VL_CONFLICT, VL_NOSERVER, EINVAL.
   */
  set(entry: VolumeEntry): number {
    return this.#database.transaction(() => this.#set(entry)).exclusive()
  }

  /** Of a volume that a server has and nobody knows: an entry, unless its name or number is another's. */
  adopt({ id, name }: { readonly id: number; readonly name: string }, server: string): void {
    if (!isVolumeName(name) || id % ID_STEP !== ROOT_CELL.id % ID_STEP || id < ROOT_CELL.id) return
    if (this.#row('base = ? OR name = ?', id, name) !== undefined) return
    const places: Places = { rw: server, ro: [], backup: null, sites: [] }
    this.#database.transaction(() => this.#insert(name, id, places)).exclusive()
  }

  #set(entry: VolumeEntry): number {
    const base = checkEntry(entry)
    const row = this.#row('name = ?', entry.name)
    if ((row?.revision ?? 0) !== entry.revision || (row !== undefined && base !== undefined && row.base !== base)) {
      throw new ServiceError('VL_CONFLICT', { name: entry.name })
    }
    if (base === undefined) {
      this.#database.prepare('DELETE FROM entry WHERE name = ?').run(entry.name)
      return 0
    }
    const places: Places = {
      rw: entry.rw && this.#serverId(entry.rw.server),
      ro: (entry.ro?.servers ?? []).map((address) => this.#serverId(address)),
      backup: entry.backup && this.#serverId(entry.backup.server),
      sites: entry.sites.map((address) => this.#serverId(address)),
    }
    if (row === undefined) return this.#insert(entry.name, base, places)
    const revision = row.revision + 1
    this.#database
      .prepare('UPDATE entry SET revision = ?, places = ? WHERE name = ?')
      .run(revision, JSON.stringify(places), entry.name)
    return revision
  }

  #insert(name: string, base: number, places: Places): number {
    if (this.#row('base = ?', base) !== undefined) throw new ServiceError('VL_CONFLICT', { name })
    // A name that was there before begins with another revision than it had: what was meant for the old one is refused.
    const revision = 1 + Math.floor(Math.random() * 2 ** 40)
    this.#database.prepare('INSERT INTO entry VALUES (?, ?, ?, ?)').run(name, base, revision, JSON.stringify(places))
    // Of a database that was lost: numbers go on behind those that there are.
    this.#database.prepare('UPDATE counter SET next = max(next, ?)').run(base + ID_STEP)
    return revision
  }

  #row(where: string, ...values: (string | number)[]): Row | undefined {
    return this.#database.prepare<unknown[], Row>(`SELECT * FROM entry WHERE ${where}`).get(...values)
  }

  /** By ids of servers. */
  #addresses(): Map<string, string> {
    return new Map(this.servers().map(({ id, address }) => [id, address]))
  }

  #entryOf({ name, base, revision, places: text }: Row, addresses = this.#addresses()): VolumeEntry {
    const places = JSON.parse(text) as Places
    const of = (id: string) => addresses.get(id) ?? ''
    const site = (id: number, server: string | null) => (server === null ? null : { id, server: of(server) })
    return {
      ...{ name, revision, rw: site(base, places.rw), backup: site(base + 2, places.backup) },
      ro: places.ro.length === 0 ? null : { id: base + 1, servers: places.ro.map(of) },
      sites: places.sites.map(of),
    }
  }

  #serverId(address: string): string {
    const id = this.#database.prepare<[string], string>('SELECT id FROM server WHERE address = ?').pluck().get(address)
    if (id === undefined) throw new ServiceError('VL_NOSERVER', { server: address })
    return id
  }
}

/** The id of the RW volume that a volume belongs to. */
export const baseId = (id: number): number => id - ((((id - ROOT_CELL.id) % ID_STEP) + ID_STEP) % ID_STEP)

/** The id of the RW volume, by any of them; undefined if the entry has none. Throws EINVAL. */
function checkEntry({ name, rw, ro, backup }: VolumeEntry): number | undefined {
  if (!isVolumeName(name)) throw new FsError('EINVAL', 'no name of a volume')
  const bases = [rw?.id, ro && ro.id - 1, backup && backup.id - 2].filter((id) => id !== null && id !== undefined)
  const [base] = bases
  if (bases.some((id) => id !== base)) throw new FsError('EINVAL', 'ids that do not belong together')
  if (base !== undefined && baseId(base) !== base) throw new FsError('EINVAL', 'the id of no RW volume')
  return base
}
