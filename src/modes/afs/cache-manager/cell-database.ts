// How cells are found: a CellServDB file (CellServDB(5) of OpenAFS), and the DNS (RFC 5864), if that is wanted.
import { resolveSrv } from 'node:dns/promises'
import { readFileSync } from 'node:fs'
import { FsError } from '../../../posix/errors.ts'
import type { Address } from '../../../rpc/transport.ts'
import { ModeOptionError } from '../../mode.ts'
import { isCellName } from '../addresses.ts'
import { AFS_PORT } from '../limits.ts'

const CELLS_MAX = 1000
const SERVERS_MAX = 32

/**
 * Cells and the addresses of their volume location servers:
 *
 *     >example.org        # a cell, and what people call it
 *     192.0.2.1:7000      # the name of a server
 *
 * Throws a ModeOptionError of one line for the first line that is wrong.
 */
export function parseCellServDb(text: string): Map<string, Address[]> {
  const cells = new Map<string, Address[]>()
  let servers: Address[] | undefined
  for (const [i, line] of text.split('\n').entries()) {
    const said = line.replace(/#.*/, '').trim()
    const wrong = (why: string) => new ModeOptionError(`CellServDB, line ${i + 1}: ${why}`)
    if (said === '') continue
    if (said.startsWith('>')) {
      const [name = ''] = said.slice(1).trim().split(/\s+/)
      if (!isCellName(name)) throw wrong(`${JSON.stringify(name)} is no name of a cell`)
      if (cells.size >= CELLS_MAX) throw wrong(`more than ${CELLS_MAX} cells`)
      servers = cells.get(name) ?? []
      cells.set(name, servers)
      continue
    }
    const match = /^(?:\[([0-9a-fA-F:.]+)\]|([\w.-]+))(?::(\d{1,5}))?$/.exec(said)
    const host = match?.[1] ?? match?.[2]
    const port = match?.[3] === undefined ? AFS_PORT : Number(match[3])
    if (host === undefined || port < 1 || port > 65_535) throw wrong(`${JSON.stringify(said)} is no address`)
    if (servers === undefined) throw wrong('an address before the first cell')
    if (servers.length >= SERVERS_MAX) throw wrong(`more than ${SERVERS_MAX} servers`)
    servers.push({ host, port })
  }
  return cells
}

export interface CellDatabaseOptions {
  /** Path of a CellServDB; absent: none. */
  readonly path?: string | undefined
  readonly dns: boolean
  /** Records by name. */
  readonly resolve?: (name: string) => Promise<readonly { name: string; port: number; priority: number }[]>
}

export class CellDatabase {
  readonly #cells: ReadonlyMap<string, readonly Address[]>
  readonly #dns: boolean
  readonly #resolve: NonNullable<CellDatabaseOptions['resolve']>

  /** Throws a ModeOptionError if the file cannot be read. */
  constructor({ path, dns, resolve = resolveSrv }: CellDatabaseOptions) {
    this.#cells = path === undefined ? new Map() : parseCellServDb(read(path))
    this.#dns = dns
    this.#resolve = resolve
  }

  /** Those that are known without asking. */
  get names(): string[] {
    return [...this.#cells.keys()]
  }

  /** Where a cell's volume location servers are; none: nobody knows such a cell. ETIMEDOUT: the DNS does not answer. */
  async addressesOf(name: string): Promise<readonly Address[]> {
    const known = this.#cells.get(name)
    if (known !== undefined) return known
    // A name without a dot is no domain, and nobody's cell.
    if (!this.#dns || !isCellName(name) || !name.includes('.')) return []
    try {
      const records = await this.#resolve(`_afs3-vlserver._udp.${name}`)
      const sorted = [...records].sort((a, b) => a.priority - b.priority)
      return sorted.slice(0, SERVERS_MAX).map((record) => ({ host: record.name, port: record.port }))
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? error.code : ''
      if (code === 'ENOTFOUND' || code === 'ENODATA') return []
      throw new FsError('ETIMEDOUT', `the DNS does not tell where ${name} is`, { cause: error })
    }
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    throw new ModeOptionError(`cellservdb=${path}: ${(error as Error).message}`, { cause: error })
  }
}
