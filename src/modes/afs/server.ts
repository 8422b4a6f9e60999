// A file server of mode `afs`: its volumes on one port. What a client was promised is in memory: a server that begins anew
// tells each client so, before it answers it.
import { type Clock, hostClock } from '../../host/clock.ts'
import { KeepAwake } from '../../host/keep-awake.ts'
import type { Credentials } from '../../posix/credentials.ts'
import { type ListenWsOptions, listenWs, type WsListener } from '../../rpc/ws/index.ts'
import { Volume, type VolumeOptions } from '../../store/volume.ts'
import { Callbacks, type CallbacksOptions } from './callbacks.ts'
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
  /** Where the volume is, absolute. */
  readonly directory: string
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
  /** That of the directory, if somebody else has it open, who closes it. */
  readonly opened?: Volume
  /** As whom callers come in. Default: as whoever they say. */
  identify?(who: Who): Credentials
  readonly onError?: (error: Error) => void
}

export class AfsServer {
  readonly host: string
  readonly port: number
  readonly registry: VolumeRegistry
  /** That of the data directory: `root.cell`. */
  readonly volume: Volume
  readonly listener: WsListener
  readonly #callbacks: Callbacks
  readonly #locks: AfsLocks
  readonly #opened: Volume | undefined

  private constructor(
    parts: Pick<AfsServer, 'registry' | 'volume' | 'listener'>,
    { callbacks, locks }: { readonly callbacks: Callbacks; readonly locks: AfsLocks },
    opened: Volume | undefined,
  ) {
    this.registry = parts.registry
    this.volume = parts.volume
    this.listener = parts.listener
    this.host = parts.listener.address.host
    this.port = parts.listener.address.port
    this.#callbacks = callbacks
    this.#locks = locks
    this.#opened = opened
  }

  /** Throws an Error of one line: where it may not listen, or when the volume is in use. */
  static async start(options: AfsServerOptions): Promise<AfsServer> {
    const { directory, clock = hostClock(), onError = () => {}, identify, life, opened } = options
    const volume = opened ?? (await Volume.open(directory, { ...options.volume, clock, onBackgroundError: onError }))
    const registry = new VolumeRegistry()
    registry.add({ ...ROOT_CELL, volume })
    let listener: WsListener | undefined
    const callbacks = new Callbacks({
      ...{ registry, client: (id) => listener?.server.client(id) },
      timeoutMs: options.breakTimeoutMs ?? BREAK_TIMEOUT_MS,
      ...(life === undefined ? {} : { life }),
    })
    const locks = new AfsLocks(registry, clock)
    try {
      for (const served of registry) callbacks.serve(served)
      listener = await listenWs({
        services: [
          afsService(
            {
              registry,
              callbacks,
              chunks: fetchChunks(),
              now: () => clock.now(),
              ...(identify === undefined ? {} : { identify }),
            },
            locks,
          ),
        ],
        ...{ host: options.host ?? '127.0.0.1', port: options.port ?? 0, clock, awake: new KeepAwake(SPIN_US) },
        heartbeatMs: options.heartbeatMs ?? HEARTBEAT_MS,
        ...(options.limits === undefined ? {} : { limits: options.limits }),
        ...(options.tokenFile === undefined ? {} : { tokenFile: options.tokenFile }),
        ...(options.tls === undefined ? {} : { tls: options.tls }),
        onConnected: (client, remembered) => callbacks.connected(client, remembered),
        onError: (error, name) => onError(new Error(`${name} failed`, { cause: error })),
      })
      return new AfsServer({ registry, volume, listener }, { callbacks, locks }, opened)
    } catch (error) {
      callbacks.close()
      locks.close()
      if (volume !== opened) await volume.close()
      throw error
    }
  }

  /** Ends connections, then volumes. A store that is still coming leaves the old file. */
  async close(): Promise<void> {
    this.#callbacks.close()
    this.#locks.close()
    await this.listener.close()
    for (const { volume } of this.registry) if (volume !== this.#opened) await volume.close()
  }
}
