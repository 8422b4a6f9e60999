// An NFS server: a volume, its exports, and the programs on one port, over TCP and UDP.
//
// It is stateless: whatever a client needs to go on after a restart (file handles) comes out of the volume and the key
// beside it. What tells clients of a restart is the write verifier, another one each time.
import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { join } from 'node:path'
import { BufferPool } from '../../host/buffer-pool.ts'
import { KeepAwake } from '../../host/keep-awake.ts'
import { FsError } from '../../posix/errors.ts'
import { PORTMAP_PORT } from '../../rpc/onc/portmap.ts'
import { portmapServices, type Registered } from '../../rpc/onc/portmapper.ts'
import { OncServer } from '../../rpc/onc/server.ts'
import type { Service } from '../../rpc/onc/service.ts'
import { type ListenOptions, listenTcp, type TcpListener, type TcpOptions } from '../../rpc/onc/tcp-server.ts'
import { listenUdp, type UdpListener } from '../../rpc/onc/udp-server.ts'
import { Volume } from '../../store/volume.ts'
import { writeDurably } from './durable-file.ts'
import { Export, type ExportOptions } from './exports.ts'
import { FileHandles, KEY_BYTES } from './file-handle.ts'
import type { ExportedTree, NfsServerParts } from './nfs3-calls.ts'
import { NFS3_WRITEVERFSIZE, TRANSFER_MAX } from './nfs3-types.ts'
import { LockServer, type LockServerOptions } from './nlm-server.ts'
import { DEFAULT_EXPORTS } from './server-options.ts'
import { mount3Service, nfs3Service } from './services.ts'

type Listener = TcpListener | UdpListener

const KEY_FILE = 'nfs.key'
/** How long the event loop stays awake after a call, in microseconds. */
const SPIN_US = 100
/** Memory of READs that is kept for the next ones. */
const SPARE_TRANSFERS = 16
/** Ports tried until one is free for TCP and UDP. */
const PORT_TRIES = 20

export interface NfsServerOptions {
  /** Where the volume is and the key is kept, absolute. */
  readonly directory: string
  /** An IP address. */
  readonly host: string
  /** 0: any that is free for TCP and UDP. */
  readonly port: number
  readonly exports?: readonly ExportOptions[]
  /** Where a portmapper tells clients our port; 0: on any port. Absent: there is none. */
  readonly portmap?: number
  readonly locking?: Omit<LockServerOptions, 'onError'>
  /** That of the directory, if somebody else has it open, who closes it. */
  readonly volume?: Volume
  readonly onError?: (error: Error) => void
}

export class NfsServer {
  readonly host: string
  readonly port: number
  readonly rpc: OncServer
  readonly locking: LockServer
  /** Where the portmapper listens, if there is one. */
  readonly portmapPort: number | undefined
  readonly volume: Volume
  readonly #listeners: readonly Listener[]
  readonly #closeVolume: () => Promise<void>

  private constructor(
    { volume, rpc, locking }: Pick<NfsServer, 'volume' | 'rpc' | 'locking'>,
    [tcp, ...others]: readonly [Listener, ...Listener[]],
    closeVolume: () => Promise<void>,
  ) {
    this.volume = volume
    this.#closeVolume = closeVolume
    this.rpc = rpc
    this.locking = locking
    this.#listeners = [tcp, ...others]
    this.host = tcp.address.host
    this.port = tcp.address.port
    this.portmapPort = others[1]?.address.port
  }

  static async start(options: NfsServerOptions): Promise<NfsServer> {
    const { directory, host, onError = () => {} } = options
    if (isIP(host) === 0) throw new Error(`${JSON.stringify(host)} is no IP address to listen on`)
    const volume = options.volume ?? (await Volume.open(directory, { onBackgroundError: onError }))
    const closeVolume = async () => {
      if (volume !== options.volume) await volume.close()
    }
    let locking: LockServer | undefined
    try {
      const parts = serverParts(volume, keyOf(directory), options.exports ?? DEFAULT_EXPORTS)
      locking = new LockServer(parts, directory, { ...options.locking, onError })
      const rpc = nfsPrograms(parts, onError, locking.services)
      const awake = new KeepAwake(SPIN_US)
      const onLeft = (chunks: readonly Buffer[]) => {
        for (const chunk of chunks) parts.transfers.give(chunk)
      }
      const listeners = await listen(rpc, { host, port: options.port, awake, onLeft })
      try {
        const all = [...listeners, ...(await portmapper(rpc, listeners[0], options.portmap))] as const
        return new NfsServer({ volume, rpc, locking }, all, closeVolume)
      } catch (error) {
        await closeAll(listeners)
        throw error
      }
    } catch (error) {
      locking?.close()
      await closeVolume()
      throw error
    }
  }

  async close(): Promise<void> {
    const closed = closeAll(this.#listeners)
    this.locking.close()
    await closed
    await this.#closeVolume()
  }
}

/** What the procedures work on. Throws an Error of one line for a mistake in the exports. */
export function serverParts(volume: Volume, key: Uint8Array, options: readonly ExportOptions[]): NfsServerParts {
  const exports = new Map<number, ExportedTree>()
  const paths = new Set<string>()
  for (const share of options.map((share) => new Export(share))) {
    if (paths.has(share.path)) throw new Error(`two exports have the path ${share.path}`)
    if (exports.has(share.id)) throw new Error(`the export ${share.path} needs another path: its number is taken`)
    paths.add(share.path)
    exports.set(share.id, treeOf(volume, share))
  }
  return {
    volume,
    handles: new FileHandles(key),
    exports,
    fsid: BigInt(`0x${volume.id.slice(0, 16)}`),
    verifier: randomBytes(NFS3_WRITEVERFSIZE),
    transfers: new BufferPool({ bytes: TRANSFER_MAX, spare: SPARE_TRANSFERS }),
  }
}

/** MOUNT, NFS and others that stand beside them, bytes in and bytes out. */
export function nfsPrograms(
  parts: NfsServerParts,
  onError: (error: Error) => void,
  beside: readonly Service[] = [],
): OncServer {
  return new OncServer([nfs3Service(parts), mount3Service(parts), ...beside], {
    onError: (error, name) => onError(new Error(`${name} failed`, { cause: error })),
  })
}

/** Listens on one port over TCP and UDP. A free one is free for TCP: where it is not for UDP, another is tried. */
async function listen(
  rpc: OncServer,
  options: ListenOptions & Pick<TcpOptions, 'onLeft'>,
): Promise<[TcpListener, UdpListener]> {
  for (let tries = 1; ; tries++) {
    const tcp = await listenTcp(rpc, options)
    try {
      return [tcp, await listenUdp(rpc, { ...options, port: tcp.address.port })]
    } catch (error) {
      await tcp.close()
      const taken = (error as NodeJS.ErrnoException).code === 'EADDRINUSE'
      if (!taken || options.port !== 0 || tries === PORT_TRIES) throw error
    }
  }
}

const closeAll = (listeners: readonly Listener[]) => Promise.all(listeners.map((listener) => listener.close()))

/** A portmapper that tells where `listener` has the programs of `rpc`, on the same address. */
async function portmapper(rpc: OncServer, { address }: Listener, port?: number): Promise<readonly Listener[]> {
  if (port === undefined) return []
  const registered: Registered[] = [{ programs: rpc.programs, ...address }]
  const own = portmapServices(registered)
  registered.push({ programs: own.map(({ program }) => program), host: address.host, port: port || PORTMAP_PORT })
  try {
    return await listen(new OncServer(own), { host: address.host, port })
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    const why = { EADDRINUSE: 'another portmapper (rpcbind) is there', EACCES: 'ports below 1024 are for root' }[
      code ?? ''
    ]
    throw why === undefined ? error : new Error(`no portmapper on port ${port}: ${why}`, { cause: error })
  }
}

/** The directory that an export shows. Throws an Error of one line if there is none. */
function treeOf(volume: Volume, share: Export): ExportedTree {
  try {
    return { share, root: volume.resolve(volume.root, share.directory) }
  } catch (error) {
    const why = FsError.from(error).code
    throw new Error(`export ${share.path}: the volume has no directory ${share.directory} (${why})`)
  }
}

/** The key of file handles, made with the first start. It must not be lost: clients' handles would go stale. */
function keyOf(directory: string): Buffer {
  const path = join(directory, KEY_FILE)
  if (existsSync(path)) {
    const key = readFileSync(path)
    if (key.length !== KEY_BYTES) throw new Error(`${path} is damaged: it has ${key.length} bytes, not ${KEY_BYTES}`)
    return key
  }
  const key = randomBytes(KEY_BYTES)
  writeDurably(path, key)
  return key
}
