// Streams and sockets without a network: what the other end does is up to the test.
import type {
  ByteStream,
  ByteStreamEvents,
  DatagramEvents,
  Datagrams,
  OpenByteStream,
  OpenDatagrams,
} from '../../../src/rpc/transport.ts'

/** A stream as the other end sees it. */
export class FakeStream implements ByteStream {
  readonly events: ByteStreamEvents
  readonly written: Buffer[] = []
  bufferedBytes = 0
  paused = false
  destroyed = false

  constructor(events: ByteStreamEvents) {
    this.events = events
  }

  get text(): string {
    return Buffer.concat(this.written).toString()
  }

  write(chunks: readonly Buffer[]): void {
    this.written.push(...chunks)
  }

  pause(): void {
    this.paused = true
  }

  resume(): void {
    this.paused = false
  }

  destroy(): void {
    this.destroyed = true
  }
}

/** Keeps the streams that were opened, in order. Whoever opened one waits for `events.opened()`. */
export class FakeNetwork {
  readonly streams: FakeStream[] = []
  readonly open: OpenByteStream = (events) => {
    const stream = new FakeStream(events)
    this.streams.push(stream)
    return stream
  }

  get last(): FakeStream {
    const stream = this.streams.at(-1)
    if (stream === undefined) throw new Error('no stream was opened')
    return stream
  }
}

export class FakeDatagrams implements Datagrams {
  readonly sent: Buffer[] = []
  events: DatagramEvents | undefined
  closed = false
  readonly open: OpenDatagrams = (events) => {
    this.events = events
    return this
  }

  send(chunks: readonly Buffer[]): void {
    this.sent.push(Buffer.concat(chunks))
  }

  close(): void {
    this.closed = true
  }
}
