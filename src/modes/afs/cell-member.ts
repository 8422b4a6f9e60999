// A file server as a member of its cell: the first one has the volume location database, the others join by its address,
// and say again who they are whenever they have connected to it anew.
import fs from 'node:fs'
import type { Service, WsChannelOptions, WsClient } from '../../rpc/ws/index.ts'
import type { VolumeOptions } from '../../store/volume.ts'
import { Arrivals } from './arrivals.ts'
import type { Callbacks } from './callbacks.ts'
import { HostedVolumes } from './hosted-volumes.ts'
import type { AfsLocks } from './locks.ts'
import { ANSWER_MS, connectTo, OtherServers } from './other-servers.ts'
import { VL } from './protocol-volumes.ts'
import { Transactions, type TransactionsOptions } from './transactions.ts'
import { vlReferral, vlService } from './vl-service.ts'
import { Vldb } from './vldb.ts'
import { type VolumeWork, volserService } from './volser-service.ts'
import { settle } from './volume-admin.ts'
import { VolumeList } from './volume-list.ts'
import { localLocation, remoteLocation, type VolumeLocation } from './volume-location.ts'
import { reasonOf } from './volume-parts.ts'
import type { VolumeRegistry } from './volume-registry.ts'

export const DEFAULT_CELL = 'localcell'
const HEARTBEAT_MS = 10_000

export interface CellMemberOptions extends TransactionsOptions {
  /** The server's own, absolute. */
  readonly directory: string
  /** The cell's name: of a server that joins, what it must be, if it is given. */
  readonly cell?: string | undefined
  /** `host:port` of the cell's first server; undefined for that one itself. */
  readonly join?: string | undefined
  readonly registry: VolumeRegistry
  readonly callbacks: Callbacks
  readonly locks: AfsLocks
  readonly volume: VolumeOptions
  /** What other servers want to see. */
  readonly ways: WsChannelOptions
  onError(error: Error): void
}

export class CellMember {
  /** Beside AFS. */
  readonly services: readonly Service[]
  readonly #options: CellMemberOptions
  readonly #list: VolumeList
  readonly #vldb: Vldb | undefined
  readonly #hosted: HostedVolumes
  readonly #transactions: Transactions
  #rpc: WsClient | undefined
  #others: OtherServers | undefined
  #address = ''
  #closed = false
  #cell: string
  #work: VolumeWork | undefined
  /** When this server knows which of its volumes are here. */
  readonly #ready: Promise<VolumeWork>
  #isReady: (work: VolumeWork) => void = () => {}

  private constructor(options: CellMemberOptions) {
    const { join, directory, cell, registry, callbacks, locks, volume, onError } = options
    this.#options = options
    fs.mkdirSync(`${directory}/afs`, { recursive: true })
    this.#list = new VolumeList(`${directory}/afs/volumes.db`)
    try {
      this.#vldb = join === undefined ? new Vldb(`${directory}/afs/vldb.db`) : undefined
    } catch (error) {
      this.#list.close()
      throw error
    }
    this.#cell = cell ?? this.#list.cell ?? DEFAULT_CELL
    this.#transactions = new Transactions(options)
    const volumes = `${directory}/afs/volumes`
    this.#hosted = new HostedVolumes({
      directory: volumes,
      list: this.#list,
      registry,
      callbacks,
      locks,
      volume,
      onError,
    })
    this.#ready = new Promise((resolve) => {
      this.#isReady = resolve
    })
    const vldb = this.#vldb
    const self = () => ({ id: this.#list.serverId, address: this.#address })
    this.services = [
      vldb === undefined
        ? vlReferral(() => ({ cell: this.#cell, vlServer: join ?? '' }))
        : vlService({ vldb, self, cell: this.#cell }),
      volserService(
        () => this.#ready,
        () => this.#work,
      ),
    ]
  }

  /** Opens what the server has. Throws an Error of one line if another process has it. */
  static async open(options: CellMemberOptions): Promise<CellMember> {
    const member = new CellMember(options)
    try {
      await member.#hosted.open()
      return member
    } catch (error) {
      await member.close()
      throw error
    }
  }

  get cell(): string {
    return this.#cell
  }

  /**
   * Says in the cell who it is and how it is reached, and asks what is doubtful. A server that has joined before does not
   * wait for a volume location server that does not answer: what it has for certain it serves.
   */
  async join(address: string): Promise<void> {
    this.#address = address
    const { join } = this.#options
    if (join === undefined) return this.#begin()
    const known = this.#list.cell
    const joined = this.#joinBy(join)
    if (known === undefined) await joined
    else joined.catch((error) => this.#failed(join, error))
  }

  #failed(vlServer: string, error: unknown): void {
    if (!this.#closed) this.#options.onError(new Error(`${vlServer}: ${reasonOf(error)}`, { cause: error }))
  }

  async close(): Promise<void> {
    this.#closed = true
    const done = this.#transactions.close()
    this.#rpc?.close()
    this.#others?.close()
    await done
    await this.#hosted.close()
    this.#vldb?.close()
    this.#list.close()
  }

  async #begin(): Promise<void> {
    const vldb = this.#vldb as Vldb
    const { serverId } = this.#list
    vldb.register({ id: serverId, address: this.#address })
    for (const volume of this.#known()) vldb.adopt(volume, serverId)
    this.#list.setCell(this.#cell)
    await this.#settle(localLocation(vldb))
  }

  async #joinBy(vlServer: string): Promise<void> {
    const { ways } = this.#options
    let began = false
    const rpc = connectTo(vlServer, ways, {
      ...{ keep: true, heartbeatMs: HEARTBEAT_MS },
      onEvent: ({ type }) => {
        if (type !== 'connected' || !began) return
        this.#register(rpc).catch((error) => this.#failed(vlServer, error))
      },
    })
    this.#rpc = rpc
    const timeout = this.#list.cell === undefined ? ANSWER_MS : undefined
    await this.#register(rpc, timeout)
    began = true
    await this.#settle(remoteLocation(rpc))
  }

  async #register(rpc: WsClient, timeoutMs?: number): Promise<void> {
    const { serverId: id } = this.#list
    const args = { id, address: this.#address, volumes: this.#known() }
    const timeout = timeoutMs === undefined ? {} : { timeoutMs }
    const { cell: known } = await rpc.call(VL.procedures.GetCell, undefined, timeout)
    const wanted = this.#options.cell ?? this.#list.cell
    if (wanted !== undefined && wanted !== known) throw new Error(`that is cell ${known}, not ${wanted}`)
    await rpc.call(VL.procedures.RegisterServer, args, timeout)
    this.#cell = known
    this.#list.setCell(known)
  }

  async #settle(location: VolumeLocation): Promise<void> {
    const { callbacks, ways, now } = this.#options
    this.#others = new OtherServers(ways, location)
    const parts = {
      ...{ hosted: this.#hosted, location, others: this.#others, transactions: this.#transactions, callbacks },
      ...{ address: this.#address, now },
    }
    await settle(parts)
    this.#work = { parts, arrivals: new Arrivals(parts) }
    this.#isReady(this.#work)
  }

  /** RW volumes that are here for certain. */
  #known(): { id: number; name: string }[] {
    const { registry } = this.#options
    const served = [...registry].filter(({ id, type }) => type === 'RW' && !registry.isBusy(id))
    return served.map(({ id, name }) => ({ id, name }))
  }
}
