// A host with ONC RPC servers at its ports, without a network. A port without a server is silent.
import { CredentialReader } from '../../../../src/rpc/onc/auth.ts'
import type { ChannelEvents, ChannelKind } from '../../../../src/rpc/onc/channel.ts'
import { REPLY } from '../../../../src/rpc/onc/message.ts'
import type { Peer } from '../../../../src/rpc/onc/peer.ts'
import type { OncServer } from '../../../../src/rpc/onc/server.ts'

const MESSAGE_BYTES = 65_536

export class FakeHost {
  /** Ports, in the order in which connections to them were opened. */
  readonly opened: number[] = []
  readonly replies: Buffer[] = []
  readonly #servers = new Map<number, OncServer>()
  #connections = new Set<ChannelEvents>()

  serve(port: number, server: OncServer): void {
    this.#servers.set(port, server)
  }

  /** All connections die; new ones can be made. */
  breakAll(): void {
    const connections = this.#connections
    this.#connections = new Set()
    for (const events of connections) events.closed(new Error('broken'))
  }

  /** To all clients that are connected, as a server that calls back; what they answer is in `replies`. */
  callBack(message: Buffer): void {
    for (const events of this.#connections) events.received(message)
  }

  channel(port: number): ChannelKind {
    const address = '192.0.2.1'
    return {
      transport: 'tcp',
      address: { host: address, port },
      peer: `${address}:${port}`,
      messageBytes: MESSAGE_BYTES,
      open: (events) => {
        this.opened.push(port)
        this.#connections.add(events)
        queueMicrotask(() => events.opened())
        const peer: Peer = {
          address,
          port: 1000,
          transport: 'tcp',
          signal: new AbortController().signal,
          credentials: new CredentialReader(),
          maxReplyBytes: MESSAGE_BYTES,
        }
        return {
          bufferedBytes: 0,
          send: (chunks) => void this.#answer(port, events, peer, Buffer.concat(chunks)),
          close: () => this.#connections.delete(events),
        }
      },
    }
  }

  async #answer(port: number, events: ChannelEvents, peer: Peer, message: Buffer): Promise<void> {
    if (message.readUInt32BE(4) === REPLY) {
      this.replies.push(message)
      return
    }
    const reply = await this.#servers.get(port)?.answer(message, peer)
    if (reply !== undefined && this.#connections.has(events)) events.received(Buffer.concat(reply))
  }
}
