// The clients of a server of typed services: who they are, how they come and go, and what is kept of them. No sockets here
// but those it is given.
import { randomBytes, randomUUID } from 'node:crypto'
import { type Clock, hostClock } from '../../host/clock.ts'
import { Statistics } from '../statistics.ts'
import { WsConnection } from './connection.ts'
import { WindowBudget } from './credits.ts'
import { type ClientFacts, HandshakeError, ServerHandshake } from './handshake.ts'
import { WS_LIMITS, type WsLimits } from './limits.ts'
import type { WsPeer } from './peer.ts'
import { RemoteClient, type ServerSurroundings } from './remote-client.ts'
import { type Service, ServiceTable } from './service.ts'
import { ClosedError, type WsSocket, type WsSocketEvents } from './socket.ts'
import type { Token } from './token.ts'

export interface WsServerOptions {
  readonly services: readonly Service[]
  readonly limits?: Partial<WsLimits>
  readonly clock?: Clock
  /** Asks clients for a sign of life so often, and drops those that give none. Never, if it is not given. */
  readonly heartbeatMs?: number
  /** A client is there. `remembered`: it was before, and what it was promised still stands. */
  onConnected?(client: WsPeer, remembered: boolean): void
  /** It is not there any more. */
  onDisconnected?(client: WsPeer): void
  /** A connection was dropped for what it did. */
  onDropped?(peer: string, error: unknown): void
  /** A handler failed other than by an answer. The caller is told EIO. */
  onError?(error: unknown, procedure: string): void
}

export class WsServer {
  readonly statistics = new Statistics()
  readonly limits: WsLimits
  /** Another one for each life of the server. */
  readonly instance = randomUUID()
  readonly clock: Clock
  readonly #options: WsServerOptions
  readonly #around: ServerSurroundings
  readonly #token: Token | undefined
  /** Those that are connected, and those that may come back: who left first, first. */
  readonly #clients = new Map<string, RemoteClient>()
  /** Those that have not said who they are, and how not to wait for it any more. */
  readonly #handshakes = new Map<WsSocket, () => void>()
  #cancelSweep = () => {}
  #closed = false

  constructor(options: WsServerOptions, token?: Token) {
    const { clock = hostClock(), services, heartbeatMs, onError } = options
    this.limits = { ...WS_LIMITS, ...options.limits }
    this.clock = clock
    this.#options = options
    this.#token = token
    this.#around = {
      ...{ services: new ServiceTable(services), statistics: this.statistics, clock, limits: this.limits, heartbeatMs },
      ...{ load: { calls: 0, maxCalls: this.limits.allCalls }, budget: new WindowBudget(this.limits.allWindowsBytes) },
      ...(onError === undefined ? {} : { onError }),
    }
    this.#sweepLater()
  }

  /** Clients that are known, connected or not. */
  get clients(): Iterable<WsPeer> {
    return this.#clients.values()
  }

  client(id: string): WsPeer | undefined {
    return this.#clients.get(id)
  }

  /** Calls in progress, of all clients. */
  get calls(): number {
    return this.#around.load.calls
  }

  /** Room for one more that has not said who it is. */
  get acceptsHandshakes(): boolean {
    return this.#handshakes.size < this.limits.handshakes
  }

  /** It has not said yet who it is. */
  isStranger(socket: WsSocket): boolean {
    return this.#handshakes.has(socket)
  }

  /** Somebody has connected: how the socket is opened is the caller's. Returns what its events mean. */
  accept(open: (events: WsSocketEvents) => WsSocket, name: string, closed: () => void): WsSocket {
    const { limits, instance, clock } = this
    const { calls, messageBytes } = limits
    const handshake = new ServerHandshake({
      ...{ token: this.#token, instance, randomBytes, limits: { calls, messageBytes } },
    })
    const over = (error: unknown) => {
      cancel()
      this.#handshakes.delete(socket)
      if (error !== undefined) this.#options.onDropped?.(name, error)
      closed()
    }
    const socket: WsSocket = open({
      message: (fragments) => {
        try {
          const next = handshake.next(Buffer.concat(fragments))
          if ('send' in next) socket.send(next.send)
          else {
            cancel()
            this.#handshakes.delete(socket)
            this.#welcome({ socket, name, closed, handshake }, next)
          }
        } catch (error) {
          socket.close(error instanceof HandshakeError && error.unauthorized ? 'unauthorized' : 'protocol')
          over(error)
        }
      },
      left: () => {},
      closed: () => over(undefined),
    })
    const cancel = clock.after(limits.handshakeMs, () => {
      socket.destroy()
      over(new HandshakeError('it did not say in time who it is'))
    })
    this.#handshakes.set(socket, cancel)
    return socket
  }

  /** Ends all connections, and forgets everybody. Calls in progress are aborted. */
  close(): void {
    this.#closed = true
    this.#cancelSweep()
    for (const [socket, cancel] of this.#handshakes) {
      cancel()
      socket.destroy()
    }
    for (const client of this.#clients.values()) client.forget('goingAway')
    this.#clients.clear()
  }

  #welcome({ socket, name, closed, handshake }: Welcomed, facts: ClientFacts): void {
    const known = this.#clients.get(facts.client)
    const remembered = known?.session === facts.session
    if (known !== undefined && !remembered) this.#forget(known)
    const client = remembered ? known : new RemoteClient(facts, this.#around)
    const { queueBytes } = this.limits
    const connection = new WsConnection(
      socket,
      {
        received: (message) => client.received(message),
        drained: () => client.drained(),
        closed: (error) => {
          client.lost(connection)
          if (!(error instanceof ClosedError)) this.#options.onDropped?.(name, error)
        },
      },
      { messageBytes: facts.limits.messageBytes, queueBytes },
    )
    socket.send(handshake.welcome(remembered))
    this.#clients.set(facts.client, client)
    client.opened(connection, name, facts, () => {
      this.#left(client)
      closed()
    })
    this.#options.onConnected?.(client, remembered)
    this.#makeRoom()
  }

  /** A client is not connected any more: it goes behind those that left before. */
  #left(client: RemoteClient): void {
    if (this.#clients.get(client.id) === client) {
      this.#clients.delete(client.id)
      this.#clients.set(client.id, client)
    }
    this.#options.onDisconnected?.(client)
  }

  #forget(client: RemoteClient): void {
    client.forget('replaced')
    if (this.#clients.get(client.id) === client) this.#clients.delete(client.id)
  }

  #makeRoom(): void {
    if (this.#clients.size <= this.limits.clients) return
    for (const client of this.#clients.values()) {
      if (client.connected) continue
      this.#forget(client)
      return
    }
  }

  #sweepLater(): void {
    const { rememberMs } = this.limits
    this.#cancelSweep = this.clock.after(rememberMs / 4, () => {
      if (this.#closed) return
      const before = this.clock.now() - rememberMs
      for (const client of [...this.#clients.values()]) {
        if ((client.goneSince ?? Infinity) <= before) this.#forget(client)
      }
      this.#sweepLater()
    })
  }
}

interface Welcomed {
  readonly socket: WsSocket
  readonly name: string
  readonly closed: () => void
  readonly handshake: ServerHandshake
}
