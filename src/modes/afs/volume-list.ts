// What a file server has, durably: its volumes by number, and who it is itself. A volume's directory counts only if it is
// on this list: data comes first, and goes last. One process at a time has it.
import { randomUUID } from 'node:crypto'
import type SqliteDatabase from 'better-sqlite3'
import { openAlone } from '../../host/exclusive-database.ts'
import type { VolumeType } from './volume-registry.ts'

export interface ListedVolume {
  readonly id: number
  readonly name: string
  readonly type: VolumeType
  /** Whether it is here, the volume location server knows: it was made, moved or deleted, and that was not finished. */
  readonly doubtful: boolean
  /** In milliseconds since the epoch. */
  readonly createdMs: number
}

interface Row extends Omit<ListedVolume, 'doubtful'> {
  readonly doubtful: number
}

const FORMAT = {
  what: 'the list of volumes',
  format: 1,
  pragmas: ['synchronous = FULL'],
  schema: `
    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
    CREATE TABLE volume (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, type TEXT NOT NULL,
      doubtful INTEGER NOT NULL, createdMs INTEGER NOT NULL) STRICT;
  `,
}

export class VolumeList {
  /** Names this server, wherever it listens. */
  readonly serverId: string
  readonly #database: SqliteDatabase.Database

  /** Throws an Error of one line if it is in use, or of an unknown format. */
  constructor(path: string) {
    this.#database = openAlone(path, FORMAT)
    this.serverId = this.#meta('server') ?? randomUUID()
    this.#setMeta('server', this.serverId)
  }

  close(): void {
    this.#database.close()
  }

  /** The cell that this server is of; undefined if it has never heard. */
  get cell(): string | undefined {
    return this.#meta('cell')
  }

  setCell(cell: string): void {
    this.#setMeta('cell', cell)
  }

  all(): ListedVolume[] {
    return this.#database.prepare<[], Row>('SELECT * FROM volume ORDER BY id').all().map(listedOf)
  }

  get(id: number): ListedVolume | undefined {
    const row = this.#database.prepare<[number], Row>('SELECT * FROM volume WHERE id = ?').get(id)
    return row && listedOf(row)
  }

  /** Survives loss of power when this returns. */
  put({ id, name, type, doubtful, createdMs }: ListedVolume): void {
    this.#database
      .prepare('REPLACE INTO volume (id, name, type, doubtful, createdMs) VALUES (?, ?, ?, ?, ?)')
      .run(id, name, type, doubtful ? 1 : 0, Math.floor(createdMs))
  }

  delete(id: number): void {
    this.#database.prepare('DELETE FROM volume WHERE id = ?').run(id)
  }

  #meta(key: string): string | undefined {
    return this.#database.prepare<[string], string>('SELECT value FROM meta WHERE key = ?').pluck().get(key)
  }

  #setMeta(key: string, value: string): void {
    if (this.#meta(key) === value) return
    this.#database.prepare('REPLACE INTO meta (key, value) VALUES (?, ?)').run(key, value)
  }
}

const listedOf = (row: Row): ListedVolume => ({ ...row, doubtful: row.doubtful !== 0 })
