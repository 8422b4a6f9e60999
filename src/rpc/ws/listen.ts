// Typed services over WebSocket: a listener. Whoever does not ask for this protocol gets a short error of HTTP.
import {
  createServer,
  type IncomingMessage,
  type Server,
  type ServerOptions,
  type ServerResponse,
  STATUS_CODES,
} from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { isIP, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { type WebSocket, WebSocketServer } from 'ws'
import { FsError } from '../../posix/errors.ts'
import { isLoopback } from '../loopback.ts'
import { type Address, acceptedTcp, addressName, readScratch } from '../transport.ts'
import { SUBPROTOCOL } from './client-channel.ts'
import { WsServer, type WsServerOptions } from './server.ts'
import { type Meter, WsSocket } from './socket.ts'
import { StreamDuplex } from './stream-duplex.ts'
import { readTls, type TlsFiles } from './tls-files.ts'
import { readToken } from './token.ts'

export interface ListenWsOptions extends WsServerOptions {
  /** An IP address; loopback unless told otherwise. Without a token it may be no other. */
  readonly host?: string
  /** 0: one that is free. */
  readonly port?: number
  /** The file with the token that clients must know. */
  readonly tokenFile?: string
  /** Speaks TLS. With `caFile`, clients need a certificate of it. */
  readonly tls?: TlsFiles & Required<Pick<TlsFiles, 'certFile' | 'keyFile'>>
  /** Told of each arrival, so that the event loop stays awake for the next. */
  readonly awake?: { touch(): void }
}

/** A host that is gone without a word is noticed, though nothing is to be sent to it. */
const KEEP_ALIVE_MS = 60_000
const HEADER_BYTES = 8 * 1024
const HTTP_TIMEOUT_MS = 10_000
/** What somebody may send before it has said who it is, with what HTTP wants. */
const STRANGER_BYTES = 64 * 1024
/** One that was there before closes, or a browser asks for something: they are let in to be told so. */
const SPARE_CONNECTIONS = 64

/** Listens until it is closed. Rejects with FsError: EINVAL for a host that it may not listen on, else what went wrong. */
export async function listenWs(options: ListenWsOptions): Promise<WsListener> {
  const { host = '127.0.0.1', port = 0, tokenFile } = options
  if (isIP(host) === 0) throw new FsError('EINVAL', `an IP address to listen on, not ${JSON.stringify(host)}`)
  if (tokenFile === undefined && !isLoopback(host)) {
    throw new FsError('EINVAL', `a server on ${host} needs a token: without one, whoever reaches it may do anything`)
  }
  const token = tokenFile === undefined ? undefined : await readToken(tokenFile)
  const http = await httpServer(options)
  const listener = new WsListener(http, new WsServer(options, token), options)
  try {
    await listener.listen(host, port)
  } catch (error) {
    await listener.close()
    throw FsError.from(error)
  }
  return listener
}

async function httpServer({ tls }: ListenWsOptions): Promise<Server> {
  const options: ServerOptions = {
    ...{ noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS, maxHeaderSize: HEADER_BYTES },
    ...{ headersTimeout: HTTP_TIMEOUT_MS, requestTimeout: HTTP_TIMEOUT_MS, connectionsCheckingInterval: 1000 },
  }
  if (tls === undefined) return createServer(options)
  const wantsCertificates = tls.caFile === undefined ? {} : { requestCert: true, rejectUnauthorized: true }
  return createTlsServer({ ...options, ...(await readTls(tls)), ...wantsCertificates, minVersion: 'TLSv1.2' })
}

/** The stream below a WebSocket. */
interface Carrier {
  readonly stream: Duplex
  meter(): Meter
}

export class WsListener {
  readonly server: WsServer
  readonly #http: Server
  readonly #options: ListenWsOptions
  readonly #upgrades: WebSocketServer
  #connections = 0

  constructor(http: Server, server: WsServer, options: ListenWsOptions) {
    this.server = server
    this.#http = http
    this.#options = options
    this.#upgrades = new WebSocketServer({
      ...{ noServer: true, clientTracking: false, perMessageDeflate: false, skipUTF8Validation: true },
      autoPong: false,
      maxPayload: server.limits.messageBytes,
      handleProtocols: () => SUBPROTOCOL,
    })
    http.maxConnections = server.limits.connections + SPARE_CONNECTIONS
    http
      .on('request', (request, response) => this.#answer(request, response))
      .on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) => this.#upgrade(request, socket, head))
      .on('drop', (peer) =>
        this.#dropped(addressName({ host: peer?.remoteAddress ?? '', port: peer?.remotePort ?? 0 })),
      )
  }

  get address(): Address {
    const address = this.#http.address()
    if (address === null || typeof address === 'string') return { host: '', port: 0 }
    return { host: address.address, port: address.port }
  }

  get connections(): number {
    return this.#connections
  }

  /** @internal */
  listen(host: string, port: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#http.once('error', reject).listen({ host, port, backlog: 1024 }, () => {
        // What accepting may fail with later (too many open files) concerns that connection only.
        this.#http
          .off('error', reject)
          .on('error', (error) => this.#options.onDropped?.(addressName(this.address), error))
        resolve()
      })
    })
  }

  /** Ends all connections. Calls in progress are aborted; what they answer goes nowhere. */
  async close(): Promise<void> {
    this.server.close()
    const closed = new Promise<void>((resolve) => {
      this.#http.close(() => resolve())
    })
    this.#http.closeAllConnections()
    this.#sockets.forEach((socket) => {
      socket.destroy()
    })
    await closed
  }

  readonly #sockets = new Set<Duplex>()
  readonly #scratch = readScratch()

  #answer(request: IncomingMessage, response: ServerResponse): void {
    request.resume()
    response
      .writeHead(426, { 'content-type': 'text/plain', connection: 'upgrade, close', upgrade: 'websocket' })
      .end('This server speaks WebSocket.\n')
  }

  #upgrade(request: IncomingMessage, socket: Socket, head: Buffer): void {
    socket.on('error', () => {})
    const name = addressName({ host: socket.remoteAddress ?? '', port: socket.remotePort ?? 0 })
    const { limits } = this.server
    const refusal = refusalOf(request)
    if (refusal !== undefined) {
      refuse(socket, refusal)
      return
    }
    if (this.#connections >= limits.connections || !this.server.acceptsHandshakes) {
      refuse(socket, 503)
      this.#dropped(name)
      return
    }
    // What is wrong with the request besides, `ws` answers itself.
    const carrier = this.#carrierOf(socket)
    this.#upgrades.handleUpgrade(request, carrier.stream, head, (webSocket) => this.#accept(webSocket, carrier, name))
  }

  /** What is not encrypted is read to where it stays, and sent past Node's streams if it is little. */
  #carrierOf(socket: Socket): Carrier {
    if (this.#options.tls !== undefined) return { stream: socket, meter: () => socket }
    const stream = new StreamDuplex((events) => acceptedTcp(socket, events, this.#scratch))
    stream.on('error', () => {})
    return { stream, meter: () => stream.meter }
  }

  #accept(webSocket: WebSocket, { stream: socket, meter }: Carrier, name: string): void {
    this.#connections++
    this.#sockets.add(socket)
    socket.once('close', () => this.#sockets.delete(socket))
    const { awake } = this.#options
    const { clock } = this.server
    const accepted = this.server.accept(
      (events) => new WsSocket(webSocket, { carrier: socket, meter, clock, awake }, events),
      name,
      () => {
        this.#connections--
      },
    )
    const guard = () => {
      if (!this.server.isStranger(accepted)) socket.off('data', guard)
      else if (meter().bytesRead > STRANGER_BYTES) socket.destroy()
    }
    socket.on('data', guard)
  }

  #dropped(name: string): void {
    this.#options.onDropped?.(name, new Error('too many connections'))
  }
}

/** Why a request is none for us, as a status of HTTP. */
function refusalOf({ url, headers }: IncomingMessage): number | undefined {
  if (headers.upgrade?.toLowerCase() !== 'websocket') return 426
  if (url !== '/') return 404
  // Browsers say from where they were told to ask (RFC 6455 §10.2): no page has any business here.
  if (headers.origin !== undefined) return 403
  const protocols = (headers['sec-websocket-protocol'] ?? '').split(',').map((protocol) => protocol.trim())
  return protocols.includes(SUBPROTOCOL) ? undefined : 400
}

function refuse(socket: Duplex, status: number): void {
  const text = `${STATUS_CODES[status]}\n`
  const headers = [`HTTP/1.1 ${status} ${STATUS_CODES[status]}`, 'connection: close', 'content-type: text/plain']
  socket.end(`${headers.join('\r\n')}\r\ncontent-length: ${text.length}\r\n\r\n${text}`, () => socket.destroy())
}
