// A file server of mode `afs`: its volumes on one port, and its place in a cell. What a client was promised is in memory: a
// server that begins anew tells each client so, before it answers it.
import { hostname } from 'node:os'
import { type Clock, hostClock } from '../../host/clock.ts'
import { KeepAwake } from '../../host/keep-awake.ts'
import type { Credentials } from '../../posix/credentials.ts'
import { addressName } from '../../rpc/transport.ts'
import { type ListenWsOptions, listenWs, type WsListener } from '../../rpc/ws/index.ts'
import { Volume, type VolumeOptions } from '../../store/volume.ts'
import { Callbacks, type CallbacksOptions } from './callbacks.ts'
import { CellMember, type CellMemberOptions } from './cell-member.ts'
import { AfsLocks } from './locks.ts'
import type { Who } from './records.ts'
import { afsService } from './services.ts'
import { fetchChunks } from './transfers.ts'
import { ROOT_CELL, VolumeRegistry } from './volume-registry.ts'

/** How long the event loop stays awake after a call, in microseconds. */
const SPIN_US = 100
/** Before a client that does not answer a break counts as unreachable, and whoever waits for it goes on. */
const BREAK_TIMEOUT_MS = 10_000
const HEARTBEAT_MS = 30_000

export interface AfsServerOptions extends Pick<ListenWsOptions, 'tokenFile' | 'tls' | 'limits'> {
  /** Where everything is, absolute: the volume `root.cell` itself, unless this server joins a cell, and `afs/`. */
  readonly directory: string
  /** The cell's name, as it was begun with or 'localcell'. Of a server that joins: what it must be. */
  readonly cell?: string
  /** `host:port` of the cell's first server, whose cell this one is to be in. */
  readonly join?: string
  /** `host:port` by which clients and other servers reach this one. Default: where it listens. */
  readonly address?: string
  /** `root.cell`, if somebody else in this process has it open, and closes it after this server. */
  readonly opened?: Volume | undefined
  /** Called before each step of long work on volumes, which waits for it: for tests. */
  readonly onStep?: CellMemberOptions['onStep']
  /** An IP address. What is not loopback needs `tokenFile`. */
  readonly host?: string
  /** 0: any free port. */
  readonly port?: number
  readonly clock?: Clock
  readonly breakTimeoutMs?: number
  readonly heartbeatMs?: number
  /** How long promises last. */
  readonly life?: CallbacksOptions['life']
  readonly volume?: Omit<VolumeOptions, 'clock' | 'onBackgroundError'>
  /** As whom callers come in. Default: as whoever they say. */
  identify?(who: Who): Credentials
  readonly onError?: (error: Error) => void
}

export class AfsServer {
  readonly host: string
  readonly port: number
  /** How others reach it. */
  readonly address: string
  readonly registry: VolumeRegistry
  /** That of the data directory: undefined on a server that has joined a cell. */
  readonly rootCell: Volume | undefined
  readonly listener: WsListener
  readonly #parts: Pick<OpenParts, 'callbacks' | 'locks' | 'member'>

  private constructor(
    { registry, rootCell, callbacks, locks, member }: OpenParts,
    { listener, address }: { readonly listener: WsListener; readonly address: string },
  ) {
    this.registry = registry
    this.rootCell = rootCell
    this.listener = listener
    this.host = listener.address.host
    this.port = listener.address.port
    this.address = address
    this.#parts = { callbacks, locks, member }
  }

  /**
   * Throws an Error of one line: where it may not listen, when a volume is in use, when the cell that it is to join does not
   * answer or does not want it.
   */
  static async start(options: AfsServerOptions): Promise<AfsServer> {
    const { clock = hostClock(), onError = () => {}, identify } = options
    let listener: WsListener | undefined
    const open = await openAll(options, (id) => listener?.server.client(id))
    const { registry, callbacks, locks, member } = open
    try {
      const served = { registry, callbacks, chunks: fetchChunks(), now: () => clock.now() }
      listener = await listenWs({
        services: [
          afsService({ ...served, ...(identify === undefined ? {} : { identify }) }, locks),
          ...member.services,
        ],
        ...{ host: options.host ?? '127.0.0.1', port: options.port ?? 0, clock, awake: new KeepAwake(SPIN_US) },
        heartbeatMs: options.heartbeatMs ?? HEARTBEAT_MS,
        ...(options.limits === undefined ? {} : { limits: options.limits }),
        ...waysOf(options),
        onConnected: (client, remembered) => callbacks.connected(client, remembered),
        onError: (error, name) => onError(new Error(`${name} failed`, { cause: error })),
      })
      const address = options.address ?? addressOf(listener)
      await member.join(address)
      return new AfsServer(open, { listener, address })
    } catch (error) {
      await closeAll(open, listener)
      throw error
    }
  }

  /** `root.cell`. Throws TypeError on a server that has joined a cell. */
  get volume(): Volume {
    if (this.rootCell === undefined) throw new TypeError('a server that has joined a cell has no root.cell')
    return this.rootCell
  }

  get cell(): string {
    return this.#parts.member.cell
  }

  /** Ends connections, then volumes. A store that is still coming leaves the old file, a volume on its way stays. */
  close(): Promise<void> {
    return closeAll(this.#parts, this.listener)
  }
}

interface OpenParts {
  readonly registry: VolumeRegistry
  readonly rootCell: Volume | undefined
  readonly callbacks: Callbacks
  readonly locks: AfsLocks
  readonly member: CellMember
}

/** All that a server has, open and not listening. */
async function openAll(options: AfsServerOptions, client: CallbacksOptions['client']): Promise<OpenParts> {
  const { directory, join, opened, clock = hostClock(), onError = () => {}, life } = options
  const volumeOptions = { ...options.volume, clock, onBackgroundError: onError }
  const rootCell = join === undefined ? (opened ?? (await Volume.open(directory, volumeOptions))) : undefined
  const registry = new VolumeRegistry()
  const callbacks = new Callbacks({
    ...{ registry, client, timeoutMs: options.breakTimeoutMs ?? BREAK_TIMEOUT_MS },
    ...(life === undefined ? {} : { life }),
  })
  const locks = new AfsLocks(registry, clock)
  try {
    if (rootCell !== undefined) {
      const served = { ...ROOT_CELL, volume: rootCell, ...(opened === undefined ? {} : { isLent: true }) }
      registry.add(served)
      callbacks.serve(served)
    }
    const member = await CellMember.open({
      ...{ directory, join, cell: options.cell, registry, callbacks, locks, volume: volumeOptions, onError },
      ...{ ways: waysOf(options), now: () => clock.now(), onStep: options.onStep },
    })
    return { registry, rootCell, callbacks, locks, member }
  } catch (error) {
    callbacks.close()
    locks.close()
    if (rootCell !== opened) await rootCell?.close()
    throw error
  }
}

async function closeAll(
  { callbacks, locks, member }: Pick<OpenParts, 'callbacks' | 'locks' | 'member'>,
  listener: WsListener | undefined,
): Promise<void> {
  callbacks.close()
  locks.close()
  await listener?.close()
  await member.close()
}

const waysOf = ({ tokenFile, tls }: AfsServerOptions) => ({
  ...(tokenFile === undefined ? {} : { tokenFile }),
  ...(tls === undefined ? {} : { tls }),
})

/** Of a server on all addresses, its host's name. */
function addressOf({ address: { host, port } }: WsListener): string {
  const isAny = host === '0.0.0.0' || host === '::'
  return addressName({ host: isAny ? hostname() : host, port })
}
