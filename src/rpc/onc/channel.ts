// How a client's messages travel: as records of a stream, or as datagrams.
import { DecodeError } from '../../codec/errors.ts'
import { BufferPool } from '../../host/buffer-pool.ts'
import type { OpeningEvents } from '../reconnecting-channel.ts'
import type { Address, OpenByteStream, OpenDatagrams } from '../transport.ts'
import { peerName } from './peer.ts'
import { MARK_BYTES } from './record-assembler.ts'
import { RecordConnection } from './record-connection.ts'

export interface Channel {
  /** Bytes that were sent and have not left. */
  readonly bufferedBytes: number
  send(chunks: readonly Buffer[]): void
  /** Ends it; no event follows. `abruptly`: a connection is reset. */
  close(abruptly?: boolean): void
}

/** Messages are views: who keeps one copies it. */
export type ChannelEvents = OpeningEvents<Buffer>

/** A way to a server, which can be opened again and again. */
export interface ChannelKind {
  readonly transport: 'tcp' | 'udp'
  readonly address: Address
  /** The same, for people. */
  readonly peer: string
  /** The most bytes of a message. */
  readonly messageBytes: number
  /** Events come later, never from within the call. */
  open(events: ChannelEvents): Channel
  /** Nobody uses the message any more that `part` is a part of: its memory may be used for another one. */
  release?(part: Uint8Array): void
}

const RECORD_BYTES = 1024 * 1024 + 64 * 1024
/** Memory of large messages that is kept for the next: as many as Linux' readahead lets be under way, and some. */
const SPARE_RECORDS = 8
const DATAGRAM_BYTES = 65_507

/** Messages as records of the streams that `open` opens: `link.stream(openTcp(address))`. */
export function tcpChannel({ host, port }: Address, open: OpenByteStream, messageBytes = RECORD_BYTES): ChannelKind {
  const pool = new BufferPool({ bytes: messageBytes + MARK_BYTES, spare: SPARE_RECORDS })
  return {
    transport: 'tcp',
    address: { host, port },
    peer: peerName({ address: host, port }),
    messageBytes,
    open(events) {
      const stream = open({
        opened: () => events.opened(),
        received: (chunk) => records.received(chunk),
        drained: () => {},
        room: () => records.room(),
        closed: (error) => events.closed(error),
      })
      const records = new RecordConnection(
        stream,
        {
          record: (message) => events.received(message),
          ready: () => true,
          failed: (error) => {
            records.destroy()
            events.closed(error)
          },
        },
        messageBytes,
        { pool, ahead: true },
      )
      return {
        get bufferedBytes() {
          return records.bufferedBytes
        },
        send: (chunks) => records.send(chunks),
        close: (abruptly) => records.destroy(abruptly),
      }
    },
    release: (part) => pool.give(part),
  }
}

/** Messages as datagrams of the sockets that `open` opens: `link.datagrams(openUdp(address))`. */
export function udpChannel({ host, port }: Address, open: OpenDatagrams): ChannelKind {
  return {
    transport: 'udp',
    address: { host, port },
    peer: peerName({ address: host, port }),
    messageBytes: DATAGRAM_BYTES,
    open(events) {
      const datagrams = open({
        opened: () => events.opened(),
        received(message) {
          try {
            events.received(message)
          } catch (error) {
            // Whoever sent this, it was no reply: as if it had been lost.
            if (!(error instanceof DecodeError)) throw error
          }
        },
        closed: (error) => events.closed(error),
      })
      return { bufferedBytes: 0, send: (chunks) => datagrams.send(chunks), close: () => datagrams.close() }
    },
  }
}
