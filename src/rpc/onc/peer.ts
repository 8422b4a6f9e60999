// The other side of a server's transport, as calls see it.
import { addressName } from '../transport.ts'
import type { CredentialReader } from './auth.ts'
import type { ChannelKind } from './channel.ts'

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
  /** For an OncClient that calls the peer over the connection on which it calls; one at a time. Over UDP there is none. */
  readonly back?: ChannelKind
}

export const peerName = ({ address, port }: Pick<Peer, 'address' | 'port'>): string =>
  addressName({ host: address, port })
