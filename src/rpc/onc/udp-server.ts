// ONC RPC over UDP: one call and one reply per datagram (RFC 5531 §5). What is too much is lost, as datagrams are: the
// client asks again.
import { createSocket, type RemoteInfo } from 'node:dgram'
import { type Address, closeQuietly } from '../transport.ts'
import { CredentialReader } from './auth.ts'
import type { Peer } from './peer.ts'
import type { OncServer, Reply } from './server.ts'
import type { ListenOptions } from './tcp-server.ts'

/** The most that an IPv4 datagram carries. */
export const DATAGRAM_BYTES = 65_507
/** Senders whose credentials are remembered. */
const PEERS = 256

export interface UdpLimits {
  /** Calls in progress: further ones are dropped. */
  readonly calls: number
  /** Bytes of replies that have not left: further ones are dropped. */
  readonly replyBytes: number
}

export const UDP_LIMITS: UdpLimits = { calls: 256, replyBytes: 4 * 1024 * 1024 }

export interface UdpOptions extends ListenOptions {
  readonly limits?: Partial<UdpLimits>
  /** A datagram was no call, or there are too many. */
  onDropped?(peer: Address, error: unknown): void
}

export interface UdpListener {
  readonly address: Address
  /** Calls in progress are aborted; what they answer goes nowhere. */
  close(): Promise<void>
}

/** Listens until it is closed. Rejects if it cannot. */
export async function listenUdp(server: OncServer, options: UdpOptions = {}): Promise<UdpListener> {
  const { host = '127.0.0.1', port = 0, awake } = options
  const limits = { ...UDP_LIMITS, ...options.limits }
  const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4')
  await new Promise<void>((resolve, reject) => {
    socket.once('error', reject).bind({ address: host, port }, () => {
      socket.off('error', reject)
      resolve()
    })
  })
  const { address, port: bound } = socket.address()
  const local = { host: address, port: bound }
  const abort = new AbortController()
  const peers = new Map<string, Peer>()
  let calls = 0
  let ended = false

  function peerOf(from: RemoteInfo): Peer {
    const name = `${from.address} ${from.port}`
    const known = peers.get(name)
    if (known !== undefined) return known
    const peer: Peer = {
      address: from.address,
      port: from.port,
      transport: 'udp',
      signal: abort.signal,
      credentials: new CredentialReader(),
      maxReplyBytes: DATAGRAM_BYTES,
    }
    peers.set(name, peer)
    for (const oldest of peers.keys()) {
      if (peers.size <= PEERS) break
      peers.delete(oldest)
    }
    return peer
  }

  function send(reply: Reply, { address, port }: Peer): void {
    if (reply === undefined || ended || socket.getSendQueueSize() >= limits.replyBytes) return
    socket.send(reply, port, address, () => {})
  }

  function receive(message: Buffer, from: RemoteInfo): void {
    awake?.touch()
    const dropped = (error: unknown) => options.onDropped?.({ host: from.address, port: from.port }, error)
    if (calls >= limits.calls) {
      dropped(new Error('too many calls'))
      return
    }
    try {
      const peer = peerOf(from)
      const reply = server.answer(message, peer)
      if (!(reply instanceof Promise)) {
        send(reply, peer)
        return
      }
      calls++
      void reply.then((chunks) => {
        calls--
        send(chunks, peer)
      })
    } catch (error) {
      dropped(error)
    }
  }

  socket.on('message', receive).on('error', (error) => options.onDropped?.(local, error))
  return {
    address: local,
    close: async () => {
      if (ended) return
      ended = true
      abort.abort()
      await closeQuietly(socket)
    },
  }
}
