// Where a server's lock manager is: at the NFS port if it is there, else where the portmapper says.
import type { Clock } from '../../host/clock.ts'
import type { ChannelKind } from '../../rpc/onc/channel.ts'
import { OncClient, type OncClientOptions } from '../../rpc/onc/client.ts'
import { OncError, type OncFailure } from '../../rpc/onc/errors.ts'
import { PORTMAP_PORT } from '../../rpc/onc/portmap.ts'
import { portOf } from '../../rpc/onc/portmap-client.ts'
import { NLM4 } from './nlm4.ts'

export interface FindOptions {
  readonly clock: Clock
  /** The way to a port of the server, over TCP. */
  channel(port: number): ChannelKind
  /** Where NFS is served. */
  readonly port: number
}

/** How long a portmapper may take to answer. */
const PORTMAP_MS = 5000

export class LockManagerFinder {
  readonly #options: FindOptions
  readonly #optionsOf: (client: () => OncClient) => OncClientOptions
  readonly #clients = new Set<OncClient>()

  /** `optionsOf`: of a client that is being made, which is there when its first event comes. */
  constructor(options: FindOptions, optionsOf: (client: () => OncClient) => OncClientOptions) {
    this.#options = options
    this.#optionsOf = optionsOf
  }

  /** A client of the lock manager; undefined if there is none. Fails with OncError if nobody answers. */
  async find(): Promise<OncClient | undefined> {
    const { port } = this.#options
    return (await this.#at(port)) ?? (await this.#at(await this.#mappedPort()))
  }

  /** All that were found, or are looked for. */
  close(): void {
    for (const client of this.#clients) client.close()
  }

  async #at(port: number | undefined): Promise<OncClient | undefined> {
    if (port === undefined) return undefined
    const client: OncClient = new OncClient(
      this.#options.channel(port),
      this.#optionsOf(() => client),
    )
    this.#clients.add(client)
    let served: true | undefined
    try {
      served = await ifServed(client.call(NLM4.procedures.NULL, undefined).then(() => true))
    } finally {
      if (!served) this.#drop(client)
    }
    return served && client
  }

  async #mappedPort(): Promise<number | undefined> {
    const { channel, clock } = this.#options
    const portmapper = new OncClient(channel(PORTMAP_PORT), { clock, hard: false, timeoMs: PORTMAP_MS, retrans: 0 })
    this.#clients.add(portmapper)
    try {
      return await portOf(portmapper, NLM4, 'tcp')
    } finally {
      this.#drop(portmapper)
    }
  }

  #drop(client: OncClient): void {
    client.close()
    this.#clients.delete(client)
  }
}

const UNAVAILABLE: readonly OncFailure[] = ['PROG_UNAVAIL', 'PROG_MISMATCH', 'PROC_UNAVAIL']

/** Undefined: the server does not serve that. */
export async function ifServed<R>(call: Promise<R>): Promise<R | undefined> {
  try {
    return await call
  } catch (error) {
    if (error instanceof OncError && UNAVAILABLE.includes(error.reason)) return undefined
    throw error
  }
}
