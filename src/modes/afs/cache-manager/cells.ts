// Where volumes are: a cell's volume location server tells, a file server that had a volume tells that it has moved, and
// what was learned is kept for as long as it is right.
import { FsError } from '../../../posix/errors.ts'
import { type Address, addressName } from '../../../rpc/transport.ts'
import { type BytesOptions, type Procedure, ServiceError } from '../../../rpc/ws/index.ts'
import { readAddress } from '../addresses.ts'
import { AFS } from '../protocol.ts'
import { VL, type VolumeEntry } from '../protocol-volumes.ts'
import type { Fid } from '../records.ts'
import { baseName } from '../volume-names.ts'
import type { VolumeType } from '../volume-registry.ts'
import type { CellDatabase } from './cell-database.ts'
import type { Caller, FileServer, FileServers } from './file-server.ts'
import type { Scope } from './promises.ts'

/** How often a call goes after a volume that moves, before it gives up. */
const MOVES = 8
/** How often a server is asked again that could not yet tell this client what it has to know. */
const TRIES = 10

export interface Cell {
  readonly name: string
  /** The volume location server. */
  readonly location: FileServer
  readonly volumes: Map<number, ClientVolume>
  /** What the volume location server last told, by the name of the volume: for as long as it does not answer. */
  readonly entries: Map<string, VolumeEntry>
  /** Which of the cells of this mount it is, from 0. */
  readonly index: number
}

/** A volume as this client knows it. */
export interface ClientVolume {
  readonly cell: Cell
  readonly id: number
  readonly name: string
  readonly type: VolumeType
  readonly root: Fid
  /** Where it was last. */
  server: FileServer
  readonly scope: Scope
  /** The directory with the mount point through which it was last come to, for `..`. */
  mountedIn: { readonly ino: number } | undefined
}

/** Whose volumes are asked for: their replicas, if there are any. */
export interface Wish {
  readonly readOnly: boolean
}

const { GetVolumeStatus, SetLock } = AFS.procedures
const { GetCell, GetEntryById, GetEntryByName } = VL.procedures

export class Cells {
  readonly #servers: FileServers
  readonly #database: CellDatabase
  readonly #cells = new Map<string, Cell>()
  /** Questions under way, by cell and volume. */
  readonly #asking = new Map<string, Promise<ClientVolume>>()

  constructor(servers: FileServers, database: CellDatabase) {
    this.#servers = servers
    this.#database = database
  }

  [Symbol.iterator](): IterableIterator<Cell> {
    return this.#cells.values()
  }

  /** A cell by its name: ENODEV if nobody knows it, or what its first servers fail with. */
  async named(name: string, caller: Caller): Promise<Cell> {
    const known = this.#cells.get(name)
    if (known !== undefined) return known
    let failure: unknown = new FsError('ENODEV', `nobody knows the cell ${name}`)
    for (const address of await this.#database.addressesOf(name)) {
      try {
        const cell = await this.of(address, caller)
        if (cell.name === name) return cell
        failure = new FsError('ENODEV', `${addressName(address)} is of the cell ${cell.name}, not ${name}`)
      } catch (error) {
        failure = error
      }
    }
    throw failure
  }

  /** The cell that a server belongs to. */
  async of(address: Address, caller: Caller): Promise<Cell> {
    const server = this.#servers.at(address)
    const { cell: name, servers } = await server.call(GetCell, undefined, caller)
    const known = this.#cells.get(name)
    if (known !== undefined) return known
    // A file server that keeps no entries says who does.
    const [said] = servers
    const location = said === undefined ? server : this.#at(said)
    const cell = { name, location, volumes: new Map(), entries: new Map(), index: this.#cells.size }
    this.#cells.set(name, cell)
    return cell
  }

  /** By name, with `.readonly` or `.backup`, or by number. ENODEV: there is none. */
  volume(cell: Cell, which: string | number, wish: Wish, caller: Caller): Promise<ClientVolume> {
    const key = `${cell.name}/${which}/${wish.readOnly}`
    const asking =
      this.#asking.get(key) ?? this.#find(cell, which, wish, caller).finally(() => this.#asking.delete(key))
    this.#asking.set(key, asking)
    return asking
  }

  async #find(cell: Cell, which: string | number, wish: Wish, caller: Caller): Promise<ClientVolume> {
    const entry = await this.#entry(cell, which, caller)
    const { id, type, servers } = choose(entry, which, wish)
    const known = cell.volumes.get(id)
    if (known !== undefined && servers.includes(known.server.name)) return known
    let failure: unknown
    for (const address of servers) {
      const server = this.#at(address)
      try {
        const { name, root } = await server.call(GetVolumeStatus, { volume: id }, caller)
        if (known !== undefined) {
          this.#moved(known, server)
          return known
        }
        const scope = { voided: 0 }
        const volume = { ...{ cell, id, name, type, root, server, scope }, mountedIn: undefined }
        cell.volumes.set(id, volume)
        return volume
      } catch (error) {
        failure = error
      }
    }
    throw failureOf(failure)
  }

  /** Of the volume location server; as last heard, if it does not answer. */
  async #entry({ location, entries }: Cell, which: string | number, caller: Caller): Promise<VolumeEntry> {
    try {
      const entry = await (typeof which === 'number'
        ? location.call(GetEntryById, { id: which }, caller)
        : location.call(GetEntryByName, { name: which }, caller))
      entries.set(entry.name, entry)
      return entry
    } catch (error) {
      const last = typeof which === 'number' ? withId(entries.values(), which) : entries.get(baseName(which))
      if (isSilence(error) && last !== undefined) return last
      throw failureOf(error, `no volume ${which}`)
    }
  }

  /** A server whose address another one told. */
  #at(text: string): FileServer {
    const address = readAddress(text)
    if (address === undefined) throw new FsError('EIO', `no address: ${text}`)
    return this.#servers.at(address)
  }

  #moved(volume: ClientVolume, server: FileServer): void {
    if (volume.server === server) return
    volume.server = server
    this.onMoved(volume)
  }

  /** Promises of the server that had it before are worth nothing. */
  onMoved: (volume: ClientVolume) => void = () => {}

  /** A call about what is in a volume, of the server that has it. Fails with FsError. */
  call<A, R>(
    volume: ClientVolume,
    procedure: Procedure<A, R, false, false>,
    args: NoInfer<A>,
    caller: Caller,
  ): Promise<R> {
    // A lock that another has is no reason to ask again.
    const early = procedure.number !== SetLock.number
    return this.#follow(volume, caller, (server) => server.call(procedure, args, caller), early)
  }

  send<A, R>(
    volume: ClientVolume,
    procedure: Procedure<A, R, true, false>,
    args: NoInfer<A>,
    caller: Caller,
    bytes: () => Pick<BytesOptions, 'bytes' | 'length' | 'left'>,
  ): Promise<R> {
    return this.#follow(volume, caller, (server) => server.send(procedure, args, caller, bytes))
  }

  receive<A, R>(volume: ClientVolume, procedure: Procedure<A, R, false, true>, args: NoInfer<A>, caller: Caller) {
    return this.#follow(volume, caller, (server) => server.receive(procedure, args, caller))
  }

  async #follow<R>(
    volume: ClientVolume,
    caller: Caller,
    call: (server: FileServer) => Promise<R>,
    mayBeEarly = true,
  ): Promise<R> {
    for (let moves = 0, tries = 0; ; ) {
      const { server } = volume
      try {
        return await call(server)
      } catch (error) {
        const silent = isSilence(error)
        if ((silent || error instanceof ServiceError) && ++moves < MOVES) {
          await this.#locate(volume, server, caller)
          // What is gone and nowhere else is waited for no longer.
          if (silent && volume.server === server) throw error
        } else if (!mayBeEarly || !isEarly(error) || ++tries >= TRIES) throw failureOf(error)
      }
    }
  }

  /** A volume whose server is dead may have been moved before, or have replicas. ETIMEDOUT: it is nowhere else. */
  async requireServer(volume: ClientVolume, caller: Caller): Promise<void> {
    const { server } = volume
    if (!server.dead) return
    await this.#locate(volume, server, caller)
    volume.server.requireAlive()
  }

  /** The volume is not where it was, or nobody answers there. */
  async #locate(volume: ClientVolume, from: FileServer, caller: Caller): Promise<void> {
    if (volume.server !== from) return
    const { cell, id, type } = volume
    const entry = await this.#entry(cell, id, caller)
    const { servers } = choose(entry, id, { readOnly: type === 'RO' })
    // The next replica of those that there are.
    const next = servers[(servers.indexOf(from.name) + 1) % servers.length]
    if (next === undefined) throw new FsError('ENODEV', `volume ${volume.name} is nowhere`)
    this.#moved(volume, this.#at(next))
  }
}

/** Which of the volumes of an entry is meant. */
function choose(
  { name, rw, ro, backup }: VolumeEntry,
  which: string | number,
  { readOnly }: Wish,
): { readonly id: number; readonly type: VolumeType; readonly servers: readonly string[] } {
  const wants = (site: { id: number } | null, suffix: string): boolean =>
    typeof which === 'number' ? site?.id === which : which === `${name}${suffix}`
  if (backup !== null && wants(backup, '.backup')) return { id: backup.id, type: 'BK', servers: [backup.server] }
  const replicated = ro !== null && ro.servers.length > 0
  if (replicated && (wants(ro, '.readonly') || (readOnly && typeof which === 'string'))) return { ...ro, type: 'RO' }
  if (rw !== null && wants(rw, '')) return { id: rw.id, type: 'RW', servers: [rw.server] }
  throw new FsError('ENODEV', `no volume ${which}`)
}

const withId = (entries: Iterable<VolumeEntry>, id: number): VolumeEntry | undefined =>
  [...entries].find(({ rw, ro, backup }) => rw?.id === id || ro?.id === id || backup?.id === id)

/** A server is dead. */
const isSilence = (error: unknown): boolean => error instanceof FsError && error.code === 'ETIMEDOUT'

const isEarly = (error: unknown): boolean => error instanceof FsError && error.code === 'EAGAIN'

function failureOf(error: unknown, why?: string): FsError {
  if (error instanceof ServiceError) return new FsError('ENODEV', why ?? error.code, { cause: error })
  return FsError.from(error)
}
