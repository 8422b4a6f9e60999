// A client's way to its server: a byte stream, TLS if wanted, WebSocket, and the handshake.
import { randomBytes } from 'node:crypto'
import { isIP } from 'node:net'
import type { Duplex } from 'node:stream'
import { connect as connectTls } from 'node:tls'
import { WebSocket } from 'ws'
import type { Clock } from '../../host/clock.ts'
import { isLoopback } from '../loopback.ts'
import type { Closable, OpeningEvents } from '../reconnecting-channel.ts'
import { type Address, addressName, type OpenByteStream } from '../transport.ts'
import { WsConnection } from './connection.ts'
import { WsError } from './errors.ts'
import type { Incoming } from './frames.ts'
import { ClientHandshake, type ClientIdentity, HandshakeError, type PeerLimits, type ServerFacts } from './handshake.ts'
import { ClosedError, type CloseReason, WsSocket } from './socket.ts'
import { StreamDuplex } from './stream-duplex.ts'
import { readTls, type TlsFiles, type TlsParts } from './tls-files.ts'
import { readToken } from './token.ts'

/** What a WebSocket of ours speaks (RFC 6455 §1.9). */
export const SUBPROTOCOL = 'proteus.1'

/** Before a client tries again whose name another one has taken. */
const REPLACED_MS = 1000

export interface WsChannelOptions {
  /** The file with the token that both sides know. */
  readonly tokenFile?: string
  /** Speaks TLS. The server's certificate must be of `caFile`, if there is one, and name its host. */
  readonly tls?: TlsFiles
}

/** What a client says of itself. */
export interface ClientSurroundings {
  readonly identity: ClientIdentity
  readonly limits: PeerLimits
  readonly clock: Clock
  readonly awake?: { touch(): void } | undefined
  /** There is room for more. */
  drained(): void
}

/** A way to a server, which can be opened again and again. */
export interface WsChannelKind {
  readonly address: Address
  /** The same, for people. */
  readonly peer: string
  /** Events come later, never from within the call. */
  open(client: ClientSurroundings, events: OpeningEvents<Incoming>): ClientChannel
}

/** Over the streams that `open` opens: `link.stream(openTcp(address))`. */
export function wsChannel(
  { host, port }: Address,
  open: OpenByteStream,
  options: WsChannelOptions = {},
): WsChannelKind {
  const address = { host, port }
  const pause = { until: 0 }
  return {
    address,
    peer: addressName(address),
    open: (client, events) => new ClientChannel({ address, open, options, client, pause }, events),
  }
}

interface Way {
  readonly address: Address
  readonly open: OpenByteStream
  readonly options: WsChannelOptions
  readonly client: ClientSurroundings
  /** No connection is opened before, in milliseconds since the epoch. */
  readonly pause: { until: number }
}

export class ClientChannel implements Closable {
  readonly #way: Way
  readonly #events: OpeningEvents<Incoming>
  #socket: WsSocket | undefined
  #connection: WsConnection | undefined
  #facts: ServerFacts | undefined
  #ended = false

  constructor(way: Way, events: OpeningEvents<Incoming>) {
    this.#way = way
    this.#events = events
    void this.#open().catch((error: unknown) => this.#closed(error))
  }

  /** Once it is open. */
  get connection(): WsConnection {
    if (this.#connection === undefined) throw new TypeError('not open')
    return this.#connection
  }

  /** What is known of the server, once it is open. */
  get facts(): ServerFacts {
    if (this.#facts === undefined) throw new TypeError('not open')
    return this.#facts
  }

  close(abruptly = false): void {
    this.#ended = true
    if (abruptly || this.#connection === undefined) (this.#connection ?? this.#socket)?.destroy()
    else this.#connection.close()
  }

  async #open(): Promise<void> {
    const { client, options, pause } = this.#way
    const waitMs = pause.until - client.clock.now()
    if (waitMs > 0) await new Promise<void>((resolve) => client.clock.after(waitMs, resolve))
    const token = options.tokenFile === undefined ? undefined : await readToken(options.tokenFile)
    const stream = await this.#stream()
    if (stream === undefined) return
    const { carrier, below, tls } = stream
    const handshake = new ClientHandshake(client.identity, { token, limits: client.limits, randomBytes })
    const { host, port } = this.#way.address
    const socket = new WebSocket(`ws://${addressName({ host, port })}/`, SUBPROTOCOL, {
      createConnection: () => carrier,
      perMessageDeflate: false,
      autoPong: false,
      skipUTF8Validation: true,
      maxPayload: client.limits.messageBytes,
      ...(tls !== undefined || isLoopback(host) ? { generateMask: noMask } : {}),
    })
    this.#socket = new WsSocket(
      socket,
      { carrier, meter: () => below.meter, clock: client.clock, awake: client.awake },
      {
        message: (fragments) => this.#shake(handshake, Buffer.concat(fragments)),
        left: () => {},
        closed: (error) => this.#closed(error),
      },
    )
    socket.once('open', () => this.#socket?.send(handshake.hello))
  }

  async #stream(): Promise<{ carrier: Duplex; below: StreamDuplex; tls?: TlsParts } | undefined> {
    const { open, options, address } = this.#way
    const tls = options.tls === undefined ? undefined : await readTls(options.tls)
    if (this.#ended) return undefined
    const below = new StreamDuplex(open)
    if (tls === undefined) return { carrier: below, below }
    const { host } = address
    const name = isIP(host) === 0 ? { servername: host } : {}
    const carrier = connectTls({ ...tls, ...name, host, socket: below, minVersion: 'TLSv1.2' })
    // What happens below ends what is above.
    below.on('error', (error) => carrier.destroy(error)).on('close', () => carrier.destroy())
    return { carrier, below, tls }
  }

  #shake(handshake: ClientHandshake, message: Buffer): void {
    try {
      const next = handshake.next(message)
      if ('send' in next) this.#socket?.send(next.send)
      else this.#opened(next)
    } catch (error) {
      const unauthorized = error instanceof HandshakeError && error.unauthorized
      this.#socket?.close(unauthorized ? 'unauthorized' : 'protocol')
      this.#closed(error)
    }
  }

  #opened(facts: ServerFacts): void {
    this.#facts = facts
    const { drained } = this.#way.client
    this.#connection = new WsConnection(
      this.#socket as WsSocket,
      {
        received: (message) => {
          if (!this.#ended) this.#events.received(message)
        },
        drained,
        closed: (error) => this.#closed(error),
      },
      facts.limits,
    )
    this.#events.opened()
  }

  #closed(error: unknown): void {
    if (this.#ended) return
    this.#ended = true
    const { address, client } = this.#way
    const told = isUnauthorized(error) ? new WsError('UNAUTHORIZED', addressName(address), { cause: error }) : error
    // Two of one name would else take it from each other as fast as they can.
    if (isReason(error, 'replaced')) this.#way.pause.until = client.clock.now() + REPLACED_MS
    this.#events.closed(told)
  }
}

/**
 * A masking key of zeros changes nothing, and costs neither side a pass over all bytes. Keys are there so that what a client
 * is made to send cannot look like HTTP to a proxy on the way (RFC 6455 §10.3): there is none within a machine, nor in TLS.
 */
const noMask = (key: Buffer): void => void key.fill(0)

const isUnauthorized = (error: unknown): boolean =>
  (error instanceof HandshakeError && error.unauthorized) || isReason(error, 'unauthorized')

const isReason = (error: unknown, reason: CloseReason): boolean =>
  error instanceof ClosedError && error.reason === reason
