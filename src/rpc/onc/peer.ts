// The other side of a server's transport, as calls see it.
import type { CredentialReader } from './auth.ts'

export interface Peer {
  readonly address: string
  readonly port: number
  readonly transport: 'tcp' | 'udp'
  /** Aborted when the peer is gone, or the server. */
  readonly signal: AbortSignal
  /** What its credentials mean. */
  readonly credentials: CredentialReader
  /** The most bytes of a reply that the transport carries. */
  readonly maxReplyBytes: number
}

export const peerName = ({ address, port }: Pick<Peer, 'address' | 'port'>): string =>
  address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
