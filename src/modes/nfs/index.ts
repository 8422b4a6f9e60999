// Mode `nfs`: NFS version 3. The server holds the volume; each mount is a client of its own, with its own connection,
// caches and network.
import { KeepAwake } from '../../host/keep-awake.ts'
import { Link } from '../../rpc/link.ts'
import { authSys } from '../../rpc/onc/auth.ts'
import { traceTime } from '../../trace/trace.ts'
import { type Address, authorityOf, type Connection, type Mode, type ModeMount } from '../mode.ts'
import { NfsFileSystem } from './client.ts'
import { controlOf } from './client-facts.ts'
import { ClientState } from './client-state.ts'
import { NfsConnection } from './connection.ts'
import { mountExport, unmountExport } from './mount-protocol.ts'
import { type NfsOptions, parseNfsOptions } from './options.ts'
import { remoteLocks } from './remote-locks.ts'
import { NfsServer } from './server.ts'
import { parseServerOptions, serverOptions } from './server-options.ts'

/** Where NFS servers listen (RFC 1813 §2.1). */
const NFS_PORT = 2049
/** How long the event loop stays awake after an answer of the server, in microseconds. */
const SPIN_US = 100

/** With `nolock`. */
const OWN_LOCKS = ['locks are kept to this mount: programs on other mounts do not see them'] as const

class NfsMounts implements Connection {
  readonly #address: Address
  readonly #options: NfsOptions
  readonly #fileSystems: NfsFileSystem[] = []

  constructor(address: Address, options: NfsOptions) {
    this.#address = address
    this.#options = options
  }

  async mount(): Promise<ModeMount> {
    const options = this.#options
    const [server] = this.#address.hosts
    if (server === undefined) throw new Error('mode nfs needs a server: nfs://host[:port]/export')
    const { host } = server
    const port = options.port ?? server.port ?? NFS_PORT
    const path = `/${this.#address.path}`
    const link = new Link()
    const nfs = { host, port }
    const mount = { host, port: options.mountPort ?? port }
    const credential = authSys({
      stamp: 0,
      machineName: '',
      uid: process.getuid?.() ?? 0,
      gid: process.getgid?.() ?? 0,
      gids: process.getgroups?.() ?? [],
    })
    const mounted = await mountExport({ nfs, mount, path, credential }, link, options)
    const awake = new KeepAwake(SPIN_US)
    const connection = new NfsConnection(nfs, link, {
      transport: options.transport,
      now: traceTime,
      awake,
      hard: !options.soft,
      timeoMs: options.timeoutMs,
      retrans: options.retransmissions,
    })
    const state = new ClientState({ connection, mounted, options, now: traceTime })
    if (options.remoteLocks) state.locks = remoteLocks(state, nfs, awake)
    const fileSystem = new NfsFileSystem(state, () => unmountExport({ mount, path, credential }, link, options))
    this.#fileSystems.push(fileSystem)
    return {
      fileSystem,
      control: controlOf(state, path),
      kernelChecksPermissions: true,
      limitations: options.remoteLocks ? [] : OWN_LOCKS,
    }
  }

  /** Each mount ends its own connection when it is detached, or here, if programs still use it. */
  async close(): Promise<void> {
    await Promise.all(this.#fileSystems.map((fileSystem) => fileSystem.detach()))
  }
}

export const nfsMode: Mode = {
  name: 'nfs',
  summary: 'NFS version 3: attributes and names may be stale for a while, close-to-open consistency, writes at close',
  checkOptions: (options) => void parseNfsOptions(options),
  connect: async (address, options) => new NfsMounts(address, parseNfsOptions(options)),
  serverOptions,
  checkServe: (request) => void parseServerOptions(request),
  async serve(request) {
    const { dataDirectory: directory, host, port, volume } = request
    const settings = parseServerOptions(request)
    const opened = volume === undefined ? {} : { volume }
    const server = await NfsServer.start({ directory, host, port, ...opened, ...settings })
    return {
      url: `nfs://${authorityOf(server)}${settings.exports[0]?.path ?? '/'}`,
      volume: server.volume,
      close: () => server.close(),
    }
  },
}
