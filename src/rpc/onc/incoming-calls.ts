// Calls that come over a connection which this side opened: a server calls back.
import { CredentialReader } from './auth.ts'
import type { Channel, ChannelKind } from './channel.ts'
import type { Peer } from './peer.ts'
import type { OncServer } from './server.ts'

/** Calls in progress, and bytes that have not left: further calls are dropped, and their callers ask again. */
const CALLS_MAX = 256
const BUFFERED_BYTES_MAX = 4 * 1024 * 1024

/** Where answers go, while it is open. */
interface WayBack {
  readonly channel: Channel | undefined
}

export class IncomingCalls {
  readonly #server: OncServer
  readonly #kind: ChannelKind
  readonly #way: WayBack
  #abort = new AbortController()
  #peer: Peer
  #calls = 0

  constructor(server: OncServer, kind: ChannelKind, way: WayBack) {
    this.#server = server
    this.#kind = kind
    this.#way = way
    this.#peer = this.#newPeer()
  }

  /** DecodeError if it is no call. */
  received(message: Buffer): void {
    if (this.#calls >= CALLS_MAX || (this.#way.channel?.bufferedBytes ?? 0) >= BUFFERED_BYTES_MAX) return
    const peer = this.#peer
    const reply = this.#server.answer(message, peer)
    if (!(reply instanceof Promise)) {
      if (reply !== undefined) this.#way.channel?.send(reply)
      return
    }
    this.#calls++
    void reply.then((chunks) => {
      this.#calls--
      // An answer belongs to the connection on which it was asked for.
      if (chunks !== undefined && peer === this.#peer) this.#way.channel?.send(chunks)
    })
  }

  /** The connection is gone: nobody waits for answers any more. */
  lost(): void {
    this.#abort.abort()
    this.#abort = new AbortController()
    this.#peer = this.#newPeer()
  }

  #newPeer(): Peer {
    const { address, transport, messageBytes } = this.#kind
    return {
      address: address.host,
      port: address.port,
      transport,
      signal: this.#abort.signal,
      credentials: new CredentialReader(),
      maxReplyBytes: messageBytes,
    }
  }
}
