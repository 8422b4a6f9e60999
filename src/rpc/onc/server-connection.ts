// One TCP connection to a server: calls in, replies out in the order in which they are ready, and what bounds both.
import type { Socket } from 'node:net'
import type { BufferPool } from '../../host/buffer-pool.ts'
import { acceptedTcp } from '../transport.ts'
import { CredentialReader } from './auth.ts'
import { BackChannel } from './back-channel.ts'
import type { Peer } from './peer.ts'
import { RecordConnection } from './record-connection.ts'
import type { OncServer, Reply } from './server.ts'

const MIB = 1024 * 1024

export interface TcpLimits {
  /** Further connections are closed at once. */
  readonly connections: number
  /** The most bytes of a call or a reply: 1 MiB of data and what stands around it. */
  readonly recordBytes: number
  /** Of one connection: calls in progress, and their bytes. Beyond, it is not read. */
  readonly calls: number
  readonly callBytes: number
  /** Replies of one connection that it has not taken. Beyond, it is not read. */
  readonly replyBytes: number
  /** Of all connections together: bytes of calls in progress. Beyond, none is read that has one. */
  readonly allCallBytes: number
  /** Of all connections together: bytes of calls that have not come completely. Who goes beyond is dropped. */
  readonly allPartBytes: number
  /** A connection that completes no call for so long is closed. */
  readonly idleMs: number
}

export const TCP_LIMITS: TcpLimits = {
  connections: 4096,
  recordBytes: MIB + 64 * 1024,
  calls: 256,
  callBytes: 16 * MIB,
  replyBytes: 4 * MIB,
  allCallBytes: 256 * MIB,
  allPartBytes: 128 * MIB,
  idleMs: 6 * 60_000,
}

/** What a connection needs of its listener. */
export interface Surroundings {
  readonly limits: TcpLimits
  /** For calls that are large. */
  readonly memory: BufferPool
  /** See `readScratch`. */
  readonly scratch: Buffer
  answer(message: Buffer, peer: Peer): ReturnType<OncServer['answer']>
  now(): number
  touch(): void
  /** Whether all connections together leave room for another call. */
  room(): boolean
  /** Calls `proceed` when there is room. */
  wait(): void
  /** Calls in progress have so many bytes more. */
  took(bytes: number): void
  /** Incomplete calls have so many bytes more; false if that is too much. */
  holds(bytes: number): boolean
  /** Chunks of replies have left. */
  left?(chunks: readonly Buffer[]): void
  dropped(error: unknown): void
  ended(): void
}

export class ServerConnection {
  readonly #around: Surroundings
  readonly #abort = new AbortController()
  readonly #peer: Peer
  readonly #records: RecordConnection
  readonly #back: BackChannel
  #calls = 0
  #callBytes = 0
  #heldBytes = 0
  #lastCallAt: number
  #ended = false

  constructor(socket: Socket, around: Surroundings) {
    this.#around = around
    this.#lastCallAt = around.now()
    const [address, port] = [socket.remoteAddress ?? '', socket.remotePort ?? 0]
    this.#back = new BackChannel({ host: address, port }, around.limits.recordBytes, () => this.#records)
    this.#peer = {
      address,
      port,
      transport: 'tcp',
      signal: this.#abort.signal,
      credentials: new CredentialReader(),
      maxReplyBytes: around.limits.recordBytes,
      back: this.#back,
    }
    const stream = acceptedTcp(
      socket,
      {
        opened: () => {},
        received: (chunk) => this.#received(chunk),
        drained: () => this.proceed(),
        room: () => this.#records.room(),
        closed: () => this.drop(),
      },
      around.scratch,
    )
    this.#records = new RecordConnection(
      stream,
      {
        record: (message) => this.#record(message),
        ready: () => this.#ready(),
        failed: (error) => {
          this.drop()
          around.dropped(error)
        },
        ...(around.left === undefined ? {} : { left: around.left }),
      },
      around.limits.recordBytes,
      { pool: around.memory },
    )
  }

  /** Since when no call came; Infinity while one is in progress, or the connection is kept for calls back. */
  get idleSince(): number {
    return this.#calls > 0 || this.#back.isOpen ? Number.POSITIVE_INFINITY : this.#lastCallAt
  }

  /** Goes on reading, if it may. */
  proceed(): void {
    if (this.#ended) return
    this.#records.proceed()
    this.#weigh()
  }

  drop(): void {
    if (this.#ended) return
    this.#ended = true
    this.#records.destroy()
    this.#around.holds(-this.#heldBytes)
    this.#abort.abort()
    this.#back.end()
    this.#around.ended()
  }

  #received(chunk: Buffer): void {
    this.#around.touch()
    this.#records.received(chunk)
    this.#weigh()
  }

  /** Tells the listener how much is held here. */
  #weigh(): void {
    if (this.#ended || this.#records.heldBytes === this.#heldBytes) return
    const more = this.#records.heldBytes - this.#heldBytes
    this.#heldBytes += more
    if (this.#around.holds(more) || more < 0) return
    this.drop()
    this.#around.dropped(new Error('too many incomplete calls'))
  }

  #ready(): boolean {
    const { limits } = this.#around
    if (this.#ended || this.#calls >= limits.calls || this.#callBytes >= limits.callBytes) return false
    if (this.#records.bufferedBytes >= limits.replyBytes) return false
    if (this.#calls === 0 || this.#around.room()) return true
    this.#around.wait()
    return false
  }

  #record(message: Buffer): void {
    this.#lastCallAt = this.#around.now()
    if (this.#back.received(message)) return
    const reply = this.#around.answer(message, this.#peer)
    if (!(reply instanceof Promise)) {
      this.#reply(message, reply)
      return
    }
    this.#count(1, message.length)
    void reply.then((chunks) => {
      this.#reply(message, chunks)
      this.#lastCallAt = this.#around.now()
      this.#count(-1, -message.length)
      this.proceed()
    })
  }

  #reply(message: Buffer, chunks: Reply): void {
    if (chunks !== undefined) this.#records.send(chunks)
    // Whoever needed more of the call than its handler did has copied it.
    const needed = chunks?.some(({ buffer }) => buffer === message.buffer)
    if (!needed) this.#around.memory.give(message)
  }

  #count(calls: number, bytes: number): void {
    this.#calls += calls
    this.#callBytes += bytes
    this.#around.took(bytes)
  }
}
