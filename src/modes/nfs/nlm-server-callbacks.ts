// How a lock server calls its clients: over the connection on which a client says that it takes calls; else where the
// portmapper of its machine says that the program is.
import type { Clock } from '../../host/clock.ts'
import { tcpChannel, udpChannel } from '../../rpc/onc/channel.ts'
import { OncClient } from '../../rpc/onc/client.ts'
import type { Peer } from '../../rpc/onc/peer.ts'
import { portOf } from '../../rpc/onc/portmap-client.ts'
import type { Procedure } from '../../rpc/onc/program.ts'
import { type Address, openTcp, openUdp } from '../../rpc/transport.ts'

export type Transport = Peer['transport']

export interface CallbacksOptions {
  readonly clock: Clock
  /** How long a call over a connection waits for its answer. */
  readonly callMs: number
  readonly portmapPort: number
}

/** Machines that are called at a time without a connection of theirs; more are not, now. */
const CALLS_MAX = 64
/** Each of these waits twice as long as the one before. */
const UDP_RETRY = { hard: false, timeoMs: 1000, retrans: 2 } as const

export class Callbacks {
  readonly #options: CallbacksOptions
  readonly #clients = new Set<OncClient>()
  #closed = false

  constructor(options: CallbacksOptions) {
    this.#options = options
  }

  /** A client over the connection that this peer has opened; undefined over UDP. */
  over({ back }: Peer): OncClient | undefined {
    const { clock, callMs } = this.#options
    return back && new OncClient(back, { clock, keep: true, hard: false, timeoMs: callMs, retrans: 0 })
  }

  /** Calls a machine at the port where it serves this program. Rejects if it does not, or does not answer. */
  async call<A, R>(host: string, transport: Transport, procedure: Procedure<A, R>, args: A): Promise<R> {
    const { program, version } = procedure
    const portmapper = { host, port: this.#options.portmapPort }
    const sought = { number: program, version }
    const port = await this.#once(portmapper, 'udp', (client) => portOf(client, sought, transport))
    if (port === undefined) throw new Error(`${host} does not serve ${procedure.name}`)
    return await this.#once({ host, port }, transport, (client) => client.call(procedure, args))
  }

  close(): void {
    this.#closed = true
    for (const client of this.#clients) client.close()
  }

  async #once<T>(address: Address, transport: Transport, ask: (client: OncClient) => Promise<T>): Promise<T> {
    if (this.#closed || this.#clients.size >= CALLS_MAX) throw new Error('too many calls back')
    const { clock, callMs } = this.#options
    const client =
      transport === 'tcp'
        ? new OncClient(tcpChannel(address, openTcp(address)), { clock, hard: false, timeoMs: callMs, retrans: 0 })
        : new OncClient(udpChannel(address, openUdp(address)), { clock, ...UDP_RETRY })
    this.#clients.add(client)
    try {
      return await ask(client)
    } finally {
      client.close()
      this.#clients.delete(client)
    }
  }
}
