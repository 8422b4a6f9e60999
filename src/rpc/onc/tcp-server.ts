// ONC RPC over TCP: a listener, and what bounds its connections together.
import { createServer, type Server, type Socket } from 'node:net'
import { BufferPool } from '../../host/buffer-pool.ts'
import { type Clock, hostClock } from '../../host/clock.ts'
import { type Address, readScratch } from '../transport.ts'
import type { OncServer } from './server.ts'
import { ServerConnection, TCP_LIMITS, type TcpLimits } from './server-connection.ts'

/** A host that is gone without a word is noticed, though nothing is to be sent to it. */
const KEEP_ALIVE_MS = 60_000
/** Memory of large calls that is kept for the next ones. */
const SPARE_CALLS = 8

export interface ListenOptions {
  /** Loopback unless told otherwise. */
  readonly host?: string
  /** 0: one that is free. */
  readonly port?: number
  readonly clock?: Clock
  /** Told of each arrival, so that the event loop stays awake for the next. */
  readonly awake?: { touch(): void }
}

export interface TcpOptions extends ListenOptions {
  readonly limits?: Partial<TcpLimits>
  /** A connection was dropped for what it sent, or there are too many. */
  onDropped?(peer: Address, error: unknown): void
  /** Replies have left: the memory of their chunks is free. Those that share one, some small ones, come as another chunk. */
  onLeft?(chunks: readonly Buffer[]): void
}

/** Listens until it is closed. Rejects if it cannot. */
export async function listenTcp(server: OncServer, options: TcpOptions = {}): Promise<TcpListener> {
  const listener = new TcpListener(server, options)
  await listener.listen()
  return listener
}

export class TcpListener {
  readonly #server: OncServer
  readonly #options: TcpOptions
  readonly #limits: TcpLimits
  readonly #clock: Clock
  readonly #listener: Server
  readonly #memory: BufferPool
  readonly #scratch = readScratch()
  readonly #connections = new Set<ServerConnection>()
  /** Connections that wait for `allCallBytes`. */
  readonly #waiting = new Set<ServerConnection>()
  #callBytes = 0
  #partBytes = 0
  #cancelSweep: () => void = () => {}

  constructor(server: OncServer, options: TcpOptions) {
    this.#server = server
    this.#options = options
    this.#limits = { ...TCP_LIMITS, ...options.limits }
    this.#memory = new BufferPool({ bytes: this.#limits.recordBytes, spare: SPARE_CALLS })
    this.#clock = options.clock ?? hostClock()
    this.#listener = createServer(
      { noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS, pauseOnConnect: true },
      (socket) => this.#accept(socket),
    )
  }

  listen(): Promise<void> {
    const { host = '127.0.0.1', port = 0 } = this.#options
    return new Promise((resolve, reject) => {
      this.#listener.once('error', reject).listen({ host, port, backlog: 1024 }, () => {
        // What accepting may fail with later (too many open files) concerns that connection only.
        this.#listener.off('error', reject).on('error', (error) => this.#options.onDropped?.(this.address, error))
        this.#sweepLater()
        resolve()
      })
    })
  }

  get address(): Address {
    const address = this.#listener.address()
    if (address === null || typeof address === 'string') return { host: '', port: 0 }
    return { host: address.address, port: address.port }
  }

  get connections(): number {
    return this.#connections.size
  }

  /** Bytes that peers made this listener hold: calls in progress and calls that have not come completely. */
  get heldBytes(): number {
    return this.#callBytes + this.#partBytes
  }

  /** Ends all connections. Calls in progress are aborted; what they answer goes nowhere. */
  async close(): Promise<void> {
    this.#cancelSweep()
    const closed = new Promise<void>((resolve) => {
      this.#listener.close(() => resolve())
    })
    for (const connection of [...this.#connections]) connection.drop()
    await closed
  }

  #accept(socket: Socket): void {
    const peer = { host: socket.remoteAddress ?? '', port: socket.remotePort ?? 0 }
    if (this.#connections.size >= this.#limits.connections) {
      socket.on('error', () => {}).destroy()
      this.#options.onDropped?.(peer, new Error('too many connections'))
      return
    }
    const { awake, onLeft } = this.#options
    const connection = new ServerConnection(socket, {
      limits: this.#limits,
      memory: this.#memory,
      scratch: this.#scratch,
      answer: (message, from) => this.#server.answer(message, from),
      now: () => this.#clock.now(),
      touch: () => awake?.touch(),
      room: () => this.#callBytes < this.#limits.allCallBytes,
      wait: () => this.#waiting.add(connection),
      took: (bytes) => this.#took(bytes),
      holds: (bytes) => {
        this.#partBytes += bytes
        return this.#partBytes <= this.#limits.allPartBytes
      },
      ...(onLeft === undefined ? {} : { left: onLeft }),
      dropped: (error) => this.#options.onDropped?.(peer, error),
      ended: () => {
        this.#connections.delete(connection)
        this.#waiting.delete(connection)
      },
    })
    this.#connections.add(connection)
  }

  #took(bytes: number): void {
    this.#callBytes += bytes
    if (bytes > 0 || this.#waiting.size === 0 || this.#callBytes >= this.#limits.allCallBytes) return
    const waiting = [...this.#waiting]
    this.#waiting.clear()
    for (const connection of waiting) connection.proceed()
  }

  #sweepLater(): void {
    const { idleMs } = this.#limits
    this.#cancelSweep = this.#clock.after(idleMs / 4, () => {
      const before = this.#clock.now() - idleMs
      for (const connection of [...this.#connections]) if (connection.idleSince < before) connection.drop()
      this.#sweepLater()
    })
  }
}
