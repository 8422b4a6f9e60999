// Connections to the other file servers of the cell, made when they are needed and kept while something is done there.
import { type Address, openTcp } from '../../rpc/transport.ts'
import type { WsChannelOptions } from '../../rpc/ws/index.ts'
import { ServiceError, WsClient, type WsClientOptions, wsChannel } from '../../rpc/ws/index.ts'
import { readAddress } from './addresses.ts'
import type { VolumeLocation } from './volume-location.ts'

/** For what is answered without much work. */
export const ANSWER_MS = 30_000
/** Between signs of life, of a server that something is sent to. */
const HEARTBEAT_MS = 10_000

/** `host:port` in its parts. Throws VL_NOSERVER if it is none. */
export function parseAddress(text: string): Address {
  const address = readAddress(text)
  if (address === undefined) throw new ServiceError('VL_NOSERVER', { server: text })
  return address
}

export const connectTo = (address: string, ways: WsChannelOptions, options: WsClientOptions = {}): WsClient =>
  new WsClient(wsChannel(parseAddress(address), openTcp(parseAddress(address)), ways), options)

export class OtherServers {
  readonly #ways: WsChannelOptions
  readonly #location: VolumeLocation
  readonly #clients = new Set<WsClient>()

  constructor(ways: WsChannelOptions, location: VolumeLocation) {
    this.#ways = ways
    this.#location = location
  }

  /** Dials only what the volume location server knows. Rejects with VL_NOSERVER, or why there is no connection. */
  async use<T>(address: string, body: (server: WsClient) => Promise<T>): Promise<T> {
    const servers = await this.#location.servers()
    if (!servers.includes(address)) throw new ServiceError('VL_NOSERVER', { server: address })
    const { client, connected } = connecting(address, this.#ways)
    this.#clients.add(client)
    try {
      await connected
      return await body(client)
    } finally {
      this.#clients.delete(client)
      client.close()
    }
  }

  close(): void {
    for (const client of this.#clients) client.close()
  }
}

/** A client that is tried once: a server that is not there is not waited for. `services`: what it serves on the connection. */
export function connecting(
  address: string,
  ways: WsChannelOptions,
  services: WsClientOptions['services'] = [],
): { readonly client: WsClient; readonly connected: Promise<void> } {
  let connect: () => void = () => {}
  let fail: (error: unknown) => void = () => {}
  const connected = new Promise<void>((resolve, reject) => {
    connect = resolve
    fail = reject
  })
  const client = connectTo(address, ways, {
    ...{ keep: true, heartbeatMs: HEARTBEAT_MS, connectMs: ANSWER_MS, services },
    onEvent: (event) => {
      if (event.type === 'connected') connect()
      else if (event.type === 'disconnected') fail(event.error)
    },
  })
  connected.catch(() => {})
  return { client, connected }
}
