// What the protocols of this folder need of a network: byte streams and datagrams, narrow enough to be wrapped (Link)
// and to be faked in tests. Below them are TCP and UDP sockets.
import { createSocket, type Socket as UdpSocket } from 'node:dgram'
import { connect, type NetConnectOpts, type OnReadOpts, Socket, type SocketConstructorOpts } from 'node:net'
import { type Addon, addon } from '../host/addon.ts'

export interface ByteStream {
  /** Bytes that were written and have not left this process. */
  readonly bufferedBytes: number
  /** Sends the chunks in order. They must not change until they have left; then `left` is called, if they ever do. */
  write(chunks: readonly Buffer[], left?: () => void): void
  /** No more is received until `resume`. */
  pause(): void
  resume(): void
  /** Ends the stream at once; no event follows. `abruptly`: with a reset, and its port is free again. */
  destroy(abruptly?: boolean): void
}

export interface ByteStreamEvents {
  /** It can be written to. */
  opened(): void
  received(chunk: Buffer): void
  /** What was written has left, after more had gathered than one likes to hold. */
  drained(): void
  /** It is over, or never began. The last event. */
  closed(error?: Error): void
  /** Where the next bytes should go, to save a copy. They may come elsewhere all the same, and fewer. */
  room?(): Buffer | undefined
}

/** Opens a stream; its events come later, never from within the call. */
export type OpenByteStream = (events: ByteStreamEvents) => ByteStream

export interface Datagrams {
  /** Sends the chunks as one datagram, or loses it. They must not change until it has left. */
  send(chunks: readonly Buffer[]): void
  /** No event follows. */
  close(): void
}

export interface DatagramEvents {
  opened(): void
  received(message: Buffer): void
  closed(error?: Error): void
}

/** Opens a socket for datagrams to and from one address; its events come later, never from within the call. */
export type OpenDatagrams = (events: DatagramEvents) => Datagrams

export interface Address {
  readonly host: string
  readonly port: number
}

/** Up to here the detour through Node's streams costs more than sending does. */
const SMALL_BYTES = 16 * 1024
/** For people, and as it stands in URLs. */
export const addressName = ({ host, port }: Address): string =>
  host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`

/** A stream over a socket, connected or connecting. */
export class SocketStream implements ByteStream {
  readonly #socket: Socket
  readonly #trySend: Addon['trySend'] | undefined

  constructor(socket: Socket, events: ByteStreamEvents) {
    this.#socket = socket
    this.#trySend = trySend()
    let failure: Error | undefined
    socket
      .on('connect', () => events.opened())
      .on('data', (chunk: Buffer) => events.received(chunk))
      .on('drain', () => events.drained())
      .on('error', (error) => {
        failure = error
      })
      .on('close', () => events.closed(failure))
  }

  get bufferedBytes(): number {
    return this.#socket.writableLength
  }

  write(chunks: readonly Buffer[], left?: () => void): void {
    const message = small(chunks)
    if (message === undefined) {
      this.#queue(chunks, left)
      return
    }
    const sent = this.#sendNow(message)
    if (sent < message.length) this.#queue([message.subarray(sent)], left)
    else left?.()
  }

  #queue(chunks: readonly Buffer[], left: (() => void) | undefined): void {
    const socket = this.#socket
    const last = chunks.length - 1
    const done = left === undefined ? undefined : (error?: Error | null) => error || left()
    if (last > 0) socket.cork()
    for (const [index, chunk] of chunks.entries()) {
      if (index === last && done !== undefined) socket.write(chunk, done)
      else socket.write(chunk)
    }
    if (last > 0) socket.uncork()
  }

  /** Past the stream, if nothing waits in it: how many bytes left. Errors are found by the stream, which gets the rest. */
  #sendNow(bytes: Buffer): number {
    const socket: Socket & { readonly _handle?: { readonly fd?: number } | null } = this.#socket
    if (this.#trySend === undefined || socket.connecting || !socket.writable || socket.writableLength > 0) return 0
    const fd = socket._handle?.fd ?? -1
    return fd < 0 ? 0 : this.#trySend(fd, bytes)
  }

  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    this.#socket.resume()
  }

  destroy(abruptly = false): void {
    this.#socket.removeAllListeners()
    // What a socket has to say after its end interests nobody, but an error without a listener ends the process.
    this.#socket.on('error', () => {})
    // One that is connecting would be reset only once it is connected.
    if (abruptly && !this.#socket.connecting) this.#socket.resetAndDestroy()
    else this.#socket.destroy()
  }
}

/** Chunks as one, if they are little: to copy them costs less than to let a stream send several. */
function small(chunks: readonly Buffer[]): Buffer | undefined {
  const [first] = chunks
  if (first === undefined || first.length > SMALL_BYTES) return undefined
  if (chunks.length === 1) return first
  const bytes = chunks.reduce((sum, { length }) => sum + length, 0)
  return bytes > SMALL_BYTES ? undefined : Buffer.concat(chunks as Buffer[], bytes)
}

/** Without the addon the stream does it. */
function trySend(): Addon['trySend'] | undefined {
  try {
    return addon().trySend
  } catch {
    return undefined
  }
}

/** What is read at once if nobody says where. */
const READ_BYTES = 64 * 1024

/** Where streams read to that have no place for it yet: what comes is copied from there at once, so all can share it. */
export const readScratch = (): Buffer => Buffer.allocUnsafeSlow(READ_BYTES)

/**
 * Reads to where the receiver wants it; else into `scratch`, or into blocks that are never written to twice: those save a
 * copy and cost each stream a block.
 */
function readInto(events: ByteStreamEvents, scratch?: Buffer): OnReadOpts {
  let block = Buffer.alloc(0)
  let asked = false
  return {
    buffer() {
      // The first time is before the stream exists for whoever opens it.
      const room = asked ? events.room?.() : undefined
      asked = true
      if (room !== undefined) return room
      if (scratch !== undefined) return scratch
      if (block.length < READ_BYTES / 4) block = Buffer.allocUnsafeSlow(READ_BYTES)
      return block
    },
    callback(length, buffer) {
      const read = Buffer.from(buffer.buffer, buffer.byteOffset, length)
      const chunk = buffer === scratch ? Buffer.from(read) : read
      if (buffer === block) block = block.subarray(length)
      events.received(chunk)
      return true
    },
  }
}

export interface TcpOpenOptions {
  /** The port that the first connection comes from, if it can be had; else any. */
  readonly localPort?: number
}

/** Attempts to come from a port that is taken: the connection before may need a moment to vanish. */
const PORT_ATTEMPTS = 3

/**
 * Opens TCP connections to an address. A later connection comes from the port of the one before, if that can be had:
 * the server knows by it that a call is a repetition (the duplicate request cache).
 */
export function openTcp({ host, port }: Address, options: TcpOpenOptions = {}): OpenByteStream {
  let { localPort } = options
  let attempts = 0
  return (events) => {
    const onread = readInto(events)
    const to: NetConnectOpts = { host, port, noDelay: true, keepAlive: true, onread }
    const socket = connect(localPort === undefined ? to : { ...to, localPort })
    return new SocketStream(socket, {
      opened() {
        attempts = 0
        localPort = socket.localPort
        events.opened()
      },
      received: (chunk) => events.received(chunk),
      drained: () => events.drained(),
      closed(error) {
        const code = error !== undefined && 'code' in error ? error.code : undefined
        const taken = code === 'EADDRINUSE' || code === 'EADDRNOTAVAIL' || code === 'EACCES'
        if (taken && ++attempts >= PORT_ATTEMPTS) localPort = undefined
        events.closed(error)
      },
    })
  }
}

/**
 * A stream over a connection that a listener accepted. It is read to where the receiver wants it, as
 * those are that were opened here. Node has an option for that, but not where it makes the sockets of a listener: so
 * another socket takes over what this one stands for.
 */
export function acceptedTcp(accepted: Socket, events: ByteStreamEvents, scratch: Buffer): ByteStream {
  const inner = accepted as unknown as { _handle?: { reading?: boolean; readStop?(): void } | null }
  const handle = inner._handle
  if (!handle) {
    const stream = new SocketStream(accepted, events)
    accepted.resume()
    return stream
  }
  inner._handle = null
  // Whoever had it before may have begun to read; it is the new socket's to do so.
  handle.readStop?.()
  handle.reading = false
  // Its end is of no interest to anybody: it has nothing to close.
  accepted.on('error', () => {}).destroy()
  return new SocketStream(new Socket({ handle, onread: readInto(events, scratch) } as SocketConstructorOpts), events)
}

/** Opens UDP sockets that are connected to an address: the kernel drops what comes from others. */
export function openUdp({ host, port }: Address): OpenDatagrams {
  return (events) => {
    const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4')
    socket
      .on('connect', () => events.opened())
      .on('message', (message) => events.received(message))
      .on('error', (error) => {
        // Nobody listens there, now: the datagram is lost, as others are.
        if ('code' in error && error.code === 'ECONNREFUSED') return
        void closeQuietly(socket)
        events.closed(error)
      })
    socket.connect(port, host)
    return {
      send: (chunks) => {
        // A send that fails loses the datagram; its error comes as an event, too, unless there is a callback.
        socket.send(chunks as Buffer[], () => {})
      },
      close: () => void closeQuietly(socket),
    }
  }
}

/** Closes a socket whose errors interest nobody any more. */
export function closeQuietly(socket: UdpSocket): Promise<void> {
  socket.removeAllListeners()
  socket.on('error', () => {})
  return new Promise((resolve) => {
    socket.close(() => resolve())
  })
}
