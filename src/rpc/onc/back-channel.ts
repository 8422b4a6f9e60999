// The way back over a connection that the other side opened: what an OncClient needs to call whoever calls us. Calls and
// replies of both directions share the stream; which is which, each message says itself (RFC 5531 §9, msg_type).
import type { Address } from '../transport.ts'
import type { Channel, ChannelEvents, ChannelKind } from './channel.ts'
import { REPLY } from './message.ts'
import { peerName } from './peer.ts'
import type { RecordConnection } from './record-connection.ts'

export class BackChannel implements ChannelKind {
  readonly transport = 'tcp'
  readonly address: Address
  readonly messageBytes: number
  readonly #records: () => Pick<RecordConnection, 'send' | 'bufferedBytes'>
  #events: ChannelEvents | undefined
  #used = false
  #ended = false

  constructor(address: Address, messageBytes: number, records: () => Pick<RecordConnection, 'send' | 'bufferedBytes'>) {
    this.address = address
    this.messageBytes = messageBytes
    this.#records = records
  }

  get peer(): string {
    const { host: address, port } = this.address
    return peerName({ address, port })
  }

  /** Somebody wants to call. */
  get isOpen(): boolean {
    return this.#events !== undefined
  }

  /** Closes the one that was open before. Of a connection that is gone it fails, as one to a server that is gone. */
  open(events: ChannelEvents): Channel {
    this.#close(new Error('somebody else calls back over this connection'))
    if (!this.#ended) this.#events = events
    this.#used = true
    process.nextTick(() => {
      if (this.#events === events) events.opened()
      else if (this.#ended) events.closed(new Error('the connection is gone'))
    })
    const records = this.#records()
    return {
      get bufferedBytes() {
        return records.bufferedBytes
      },
      send: (chunks) => records.send(chunks),
      // The connection is not ours to end.
      close: () => {
        if (this.#events === events) this.#events = undefined
      },
    }
  }

  /** A message came: false if it is none for us. A reply may come when nobody waits for it any more. */
  received(message: Buffer): boolean {
    if (!this.#used || message.length < 8 || message.readUInt32BE(4) !== REPLY) return false
    this.#events?.received(message)
    return true
  }

  /** The connection is gone. */
  end(): void {
    this.#ended = true
    this.#close(new Error('the connection is gone'))
  }

  #close(error: Error): void {
    const events = this.#events
    this.#events = undefined
    events?.closed(error)
  }
}
