// How commands reach a cell: one of its servers is named, or found from a lab or from a path in a mount; that one says who
// knows where volumes are, and only whom that one names is dialled after that.
import { resolve } from 'node:path'
import { type Command, Option } from 'commander'
import { addon } from '../../host/addon.ts'
import { readLab } from '../../lab/lab-state.ts'
import { AFS_PORT } from '../../modes/afs/limits.ts'
import { connecting } from '../../modes/afs/other-servers.ts'
import { AFSCB } from '../../modes/afs/protocol.ts'
import { VL, type VolumeEntry } from '../../modes/afs/protocol-volumes.ts'
import { addressName } from '../../rpc/transport.ts'
import { service, type WsChannelOptions, type WsClient } from '../../rpc/ws/index.ts'
import { CliError, errorCode, usageError } from '../exit.ts'
import { findMount, readStatus } from '../support/control-access.ts'
import { dataOption, jsonOption } from '../support/options.ts'
import { shown } from '../support/output.ts'
import { parseUrl } from '../support/url.ts'
import { failureOf } from './failures.ts'

export interface ConnectionOptions {
  readonly server?: string
  readonly data: string
  readonly tokenFile?: string
  readonly caFile?: string
  readonly json?: boolean
}

/** Adds a command to `proteus afs`, with the options of all. */
export type AddCommand = (name: string, summary: string) => Command

/** Options of every command of `proteus afs`. */
export const addConnectionOptions = (command: Command): Command =>
  command
    .addOption(new Option('--server <url>', 'a server of the cell: afs://host:port, or a path in an afs mount'))
    .addOption(dataOption())
    .addOption(new Option('--token-file <file>', 'the token that the servers want'))
    .addOption(new Option('--ca-file <file>', "speak TLS, with servers' certificates of this CA"))
    .addOption(jsonOption())

const ANSWER = { timeoutMs: 30_000 }
/** Whoever asks a file server has to hear that no promise stands. A command keeps nothing: that is all. */
const KEEPS_NOTHING = service(AFSCB, { Probe: () => {}, CallBack: () => {}, InitCallBackState: () => {} })

/** A cell at work: calls go to its servers by address. */
export class CellConnection {
  readonly cell: string
  readonly location: WsClient
  readonly #ways: WsChannelOptions
  readonly #clients: Map<string, WsClient>

  private constructor(
    cell: string,
    { location, clients, ways }: { location: WsClient; clients: Map<string, WsClient>; ways: WsChannelOptions },
  ) {
    this.cell = cell
    this.location = location
    this.#clients = clients
    this.#ways = ways
  }

  static async open(address: string, ways: WsChannelOptions): Promise<CellConnection> {
    const clients = new Map<string, WsClient>()
    try {
      const asked = await dial(address, ways, clients)
      const { cell, servers } = await asked.call(VL.procedures.GetCell, undefined, ANSWER)
      const [first = address] = servers
      return new CellConnection(cell, { location: await dial(first, ways, clients), clients, ways })
    } catch (error) {
      for (const client of clients.values()) client.close()
      throw failureOf(error, address)
    }
  }

  /** A file server of the cell, as its location server names it. */
  server(address: string): Promise<WsClient> {
    return dial(address, this.#ways, this.#clients)
  }

  entry(name: string): Promise<VolumeEntry> {
    return this.location.call(VL.procedures.GetEntryByName, { name }, ANSWER)
  }

  /** The server that has the RW volume. */
  async serverOf(name: string): Promise<WsClient> {
    const { rw } = await this.entry(name)
    if (rw === null) throw new CliError(`of ${name} there are only replicas left`)
    return this.server(rw.server)
  }

  close(): void {
    for (const client of this.#clients.values()) client.close()
  }
}

async function dial(address: string, ways: WsChannelOptions, clients: Map<string, WsClient>): Promise<WsClient> {
  const open = clients.get(address)
  if (open !== undefined) return open
  const { client, connected } = connecting(address, ways, [KEEPS_NOTHING])
  clients.set(address, client)
  try {
    await connected
  } catch (error) {
    clients.delete(address)
    client.close()
    if (errorCode(error) === 'EACCES') throw failureOf(error, address)
    throw new CliError(
      `nothing answers at ${address}${errorCode(error) === undefined ? '' : ` (${errorCode(error)})`}`,
      {
        cause: error,
      },
    )
  }
  return client
}

/** Runs `body` with the cell that the options mean. `path`: a file in a mount, whose cell it is to be. */
export async function withCell<T>(
  options: ConnectionOptions,
  body: (cell: CellConnection) => Promise<T>,
  path?: string,
): Promise<T> {
  const address = path === undefined ? await addressOf(options) : await cellServerOf(path)
  const ways: WsChannelOptions = {
    ...(options.tokenFile === undefined ? {} : { tokenFile: options.tokenFile }),
    ...(options.caFile === undefined ? {} : { tls: { caFile: options.caFile } }),
  }
  const cell = await CellConnection.open(address, ways)
  try {
    return await body(cell)
  } finally {
    cell.close()
  }
}

async function addressOf({ server, data }: ConnectionOptions): Promise<string> {
  if (server === undefined) return labAddress(resolve(data))
  if (/^[a-z][a-z0-9]*:/.test(server)) return urlAddress(server)
  return cellServerOf(server)
}

function urlAddress(url: string): string {
  const { mode, hosts } = parseUrl(url, '/')
  const [host, second] = hosts
  if (mode !== 'afs' || host === undefined || second !== undefined) {
    throw usageError(`${url} is no afs://host:port`)
  }
  return addressName({ host: host.host, port: host.port ?? AFS_PORT })
}

function labAddress(data: string): string {
  const lab = readLab(data)
  const url = lab?.urls?.afs
  if (url === undefined) {
    const found = lab === undefined ? 'nothing runs' : 'a lab without afs runs'
    throw new CliError(
      `${found} on ${shown(data)}: --server afs://host:port, or a path in an afs mount, names the cell`,
    )
  }
  return urlAddress(url)
}

const cellServerOf = (path: string): Promise<string> => attributeOf(path, 'cell_server')

/** What the mount says of a file. A mount that does not answer is found out first: the kernel would wait for it. */
export async function attributeOf(path: string, name: 'fid' | 'server' | 'cell' | 'cell_server'): Promise<string> {
  const { mode } = await readStatus(findMount(path))
  if (mode !== 'afs') throw new CliError(`${path} is in a mount of mode ${mode}, not afs`)
  try {
    return Buffer.from(addon().getXattr(path, `user.proteus.${name}`)).toString()
  } catch (error) {
    const code = errorCode(error)
    if (code === 'ENOENT') throw new CliError(`${path}: no such file or directory`)
    if (code === 'EACCES') throw new CliError(`${path}: its facts are for those who may read it`)
    throw new CliError(`${path}: the mount does not say which file of which server it is`, { cause: error })
  }
}
