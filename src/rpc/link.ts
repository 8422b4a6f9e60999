// The network between a client and its servers, whose faults can be set at any time. It wraps streams and sockets on
// the client's side, so it needs no privileges. While it is up and undelayed, what is written and received passes
// straight through.
import { type Clock, hostClock } from '../host/clock.ts'
import { LinkPipe } from './link-pipe.ts'
import { describeLink, type LinkState, PERFECT_LINK, parseLink } from './link-settings.ts'
import type {
  ByteStream,
  ByteStreamEvents,
  DatagramEvents,
  Datagrams,
  OpenByteStream,
  OpenDatagrams,
} from './transport.ts'

/** Bytes that a stream may have under way towards the client; then it is read no further. */
const STREAM_BYTES = 4 * 1024 * 1024
/** Bytes of datagrams under way, in each direction of a socket: beyond, a router would drop them, too. */
const DATAGRAM_BYTES = 1024 * 1024
/** How much later than others a reordered datagram comes, besides twice its own delay. */
const REORDER_MS = 5
/** Connections that were given up while the link was down, and of which the server must not hear yet. */
const LINGERING = 64

export interface LinkOptions {
  readonly clock?: Clock
  /** Numbers from 0 up to 1. */
  readonly random?: () => number
}

/** When a direction has sent all that was given to it. */
interface Line {
  freeAt: number
}

/** What a link has to tell its connections. */
interface Attached {
  changed(before: LinkState): void
}

export class Link {
  readonly clock: Clock
  readonly #random: () => number
  readonly #attached = new Set<Attached>()
  /** Streams that were given up, and whether abruptly. */
  readonly #lingering = new Map<ByteStream, boolean>()
  readonly #out: Line = { freeAt: Number.NEGATIVE_INFINITY }
  readonly #in: Line = { freeAt: Number.NEGATIVE_INFINITY }
  #state = PERFECT_LINK
  #direct = true

  constructor({ clock = hostClock(), random = Math.random }: LinkOptions = {}) {
    this.clock = clock
    this.#random = random
  }

  get state(): LinkState {
    return this.#state
  }

  /** Nothing is delayed, lost or held. */
  get direct(): boolean {
    return this.#direct
  }

  /** The state in the words that `set` takes. With `set`, what `.proteus/network` shows and takes (NetworkControl). */
  show(): string {
    return describeLink(this.#state)
  }

  /** `down`, `up`, `latency=50ms,loss=1%`, `reset`: see `parseLink`. FsError EINVAL for what is no setting. */
  set(line: string): void {
    this.change(parseLink(line))
  }

  change(settings: Partial<LinkState>): void {
    const before = this.#state
    this.#state = { ...before, ...settings }
    const { up, latencyMs, jitterMs, bytesPerSecond, loss, duplicate, reorder } = this.#state
    this.#direct =
      up && latencyMs + jitterMs + loss + duplicate + reorder === 0 && bytesPerSecond === Number.POSITIVE_INFINITY
    for (const line of [this.#out, this.#in]) line.freeAt = Number.NEGATIVE_INFINITY
    for (const attached of [...this.#attached]) attached.changed(before)
    if (!up) return
    for (const [stream, abruptly] of this.#lingering) stream.destroy(abruptly)
    this.#lingering.clear()
  }

  /** The same streams, through this link. */
  stream(open: OpenByteStream): OpenByteStream {
    return (events) => new LinkStream(this, open, events)
  }

  /** The same datagrams, through this link. */
  datagrams(open: OpenDatagrams): OpenDatagrams {
    return (events) => new LinkDatagrams(this, open, events)
  }

  /** @internal */
  attach(attached: Attached): void {
    this.#attached.add(attached)
  }

  /** @internal */
  detach(attached: Attached): void {
    this.#attached.delete(attached)
  }

  /** @internal Whether a part of all packets contains this one. */
  happens(part: number): boolean {
    return part > 0 && this.#random() < part
  }

  /** @internal When a packet that is sent now arrives. */
  arrival(direction: 'out' | 'in', bytes: number): number {
    const { latencyMs, jitterMs, bytesPerSecond } = this.#state
    const line = direction === 'out' ? this.#out : this.#in
    line.freeAt = Math.max(line.freeAt, this.clock.now()) + (bytes / bytesPerSecond) * 1000
    return line.freeAt + latencyMs + (jitterMs > 0 ? this.#random() * jitterMs : 0)
  }

  /** @internal How long a reordered packet is kept back: long enough for later ones to overtake it. */
  setback(): number {
    return 2 * (this.#state.latencyMs + this.#state.jitterMs) + REORDER_MS
  }

  /** @internal Ends a stream, of which the other side hears only when the link is up. */
  abandon(stream: ByteStream, abruptly: boolean): void {
    if (this.#state.up) {
      stream.destroy(abruptly)
      return
    }
    this.#lingering.set(stream, abruptly)
    if (this.#lingering.size <= LINGERING) return
    for (const [oldest] of this.#lingering) {
      this.#lingering.delete(oldest)
      oldest.destroy()
      break
    }
  }
}

/** A stream through a link: late, slow or silent, but in order and complete, as TCP makes it. */
class LinkStream implements ByteStream {
  readonly #link: Link
  readonly #events: ByteStreamEvents
  readonly #out: LinkPipe
  readonly #in: LinkPipe
  #inner: ByteStream | undefined
  #paused = false
  #destroyed = false
  /** What was written is under way here. */
  #late = false

  constructor(link: Link, open: OpenByteStream, events: ByteStreamEvents) {
    this.#link = link
    this.#events = events
    this.#out = new LinkPipe(link.clock)
    this.#in = new LinkPipe(link.clock)
    this.#out.onEmpty = () => {
      if (this.#late) this.#drained()
    }
    this.#in.onEmpty = () => this.#settle()
    this.#settle()
    link.attach(this)
    // Asking for a connection is a packet, too, and so is the answer.
    this.#send(0, () => {
      this.#inner = open({
        opened: () => this.#receive(0, () => events.opened()),
        received: (chunk) => {
          if (link.direct && this.#in.empty && !this.#paused) events.received(chunk)
          else this.#receive(chunk.length, () => events.received(chunk))
        },
        drained: () => this.#drained(),
        // What is under way here comes first, and belongs there.
        room: () => (link.direct && this.#in.empty && !this.#destroyed ? events.room?.() : undefined),
        closed: (error) =>
          this.#receive(0, () => {
            this.#end()
            events.closed(error)
          }),
      })
      this.#settle()
    })
  }

  get bufferedBytes(): number {
    return this.#out.bytes + (this.#inner?.bufferedBytes ?? 0)
  }

  write(chunks: readonly Buffer[], left?: () => void): void {
    if (this.#link.direct && this.#out.empty) {
      this.#inner?.write(chunks, left)
      return
    }
    this.#late = true
    // As a socket does, it takes a copy: a network that is slow does not keep the sender's memory.
    for (const chunk of chunks) {
      const copy = Buffer.from(chunk)
      this.#send(chunk.length, () => this.#inner?.write([copy]))
    }
    left?.()
  }

  pause(): void {
    this.#paused = true
    this.#settle()
  }

  resume(): void {
    this.#paused = false
    this.#settle()
  }

  destroy(abruptly = false): void {
    if (this.#destroyed) return
    this.#end()
    if (this.#inner !== undefined) this.#link.abandon(this.#inner, abruptly)
  }

  changed(before: LinkState): void {
    // What was under way when the link went down is sent again when it is up: TCP's retransmission, without its delay.
    if (!before.up && this.#link.state.up) {
      this.#out.plan((bytes) => this.#link.arrival('out', bytes))
      this.#in.plan((bytes) => this.#link.arrival('in', bytes))
    }
    this.#settle()
  }

  #send(bytes: number, deliver: () => void): void {
    if (this.#link.direct && this.#out.empty) deliver()
    else this.#out.push(bytes, Math.max(this.#link.arrival('out', bytes), this.#out.lastDueAt), deliver)
  }

  #receive(bytes: number, deliver: () => void): void {
    if (this.#destroyed) return
    if (this.#link.direct && this.#in.empty && !this.#paused) {
      deliver()
      return
    }
    this.#in.push(bytes, Math.max(this.#link.arrival('in', bytes), this.#in.lastDueAt), deliver)
    this.#settle()
  }

  #drained(): void {
    if (this.#destroyed || !this.#out.empty) return
    this.#late = false
    this.#events.drained()
  }

  /** Holds the pipes while nothing may pass, and stops reading while too much is under way. */
  #settle(): void {
    const { up } = this.#link.state
    this.#out.hold(!up)
    this.#in.hold(!up || this.#paused)
    if (!up || this.#paused || this.#in.bytes >= STREAM_BYTES) this.#inner?.pause()
    else this.#inner?.resume()
  }

  #end(): void {
    this.#destroyed = true
    this.#link.detach(this)
    this.#out.clear()
    this.#in.clear()
  }
}

/** Datagrams through a link: lost, doubled, late and out of order. */
class LinkDatagrams implements Datagrams {
  readonly #link: Link
  readonly #inner: Datagrams
  readonly #out: LinkPipe
  readonly #in: LinkPipe

  constructor(link: Link, open: OpenDatagrams, events: DatagramEvents) {
    this.#link = link
    this.#out = new LinkPipe(link.clock)
    this.#in = new LinkPipe(link.clock)
    link.attach(this)
    this.#inner = open({
      opened: () => events.opened(),
      received: (message) => this.#pass('in', message.length, () => events.received(message)),
      closed: (error) => {
        this.#end()
        events.closed(error)
      },
    })
  }

  send(chunks: readonly Buffer[]): void {
    if (this.#link.direct && this.#out.empty) {
      this.#inner.send(chunks)
      return
    }
    const bytes = chunks.reduce((sum, { length }) => sum + length, 0)
    this.#pass('out', bytes, () => this.#inner.send(chunks))
  }

  close(): void {
    this.#end()
    this.#inner.close()
  }

  changed(): void {
    if (this.#link.state.up) return
    this.#out.clear()
    this.#in.clear()
  }

  #pass(direction: 'out' | 'in', bytes: number, deliver: () => void): void {
    const { up, loss, duplicate, reorder } = this.#link.state
    const pipe = direction === 'out' ? this.#out : this.#in
    if (this.#link.direct && pipe.empty) {
      deliver()
      return
    }
    if (!up || this.#link.happens(loss)) return
    for (let copies = this.#link.happens(duplicate) ? 2 : 1; copies > 0; copies--) {
      if (pipe.bytes + bytes > DATAGRAM_BYTES) return
      const setback = this.#link.happens(reorder) ? this.#link.setback() : 0
      pipe.push(bytes, this.#link.arrival(direction, bytes) + setback, deliver)
    }
  }

  #end(): void {
    this.#link.detach(this)
    this.#out.clear()
    this.#in.clear()
  }
}
