// A way to a server that is opened when it is wanted, and again when it was lost, at growing intervals.
import type { Clock } from '../host/clock.ts'

/** Before the second attempt in a row, the third, …: doubled each time. The first one does not wait. */
const FIRST_WAIT_MS = 50
const LONGEST_WAIT_MS = 5000

export interface ReconnectingOptions {
  readonly clock: Clock
  /** Numbers from 0 up to 1. */
  readonly random: () => number
  /** How long to wait for a connection before it is tried anew. */
  readonly connectMs: number
}

/** What it opens: at least, it can be ended. */
export interface Closable {
  /** No event follows. `abruptly`: a connection is reset. */
  close(abruptly?: boolean): void
}

export interface OpeningEvents<Message> {
  opened(): void
  received(message: Message): void
  /** The last event. */
  closed(error?: unknown): void
}

/** The way to the server. Events come later, never from within the call. */
export interface Opens<Message, C extends Closable> {
  open(events: OpeningEvents<Message>): C
}

export interface ReconnectingEvents<Message> {
  opened(): void
  /** DecodeError for what makes no sense: on a stream that ends the connection. */
  received(message: Message): void
  /** It was closed, or could not be opened. */
  lost(error: unknown): void
  /** Whether it is to be opened again. */
  wanted(): boolean
}

export type ChannelState = 'idle' | 'connecting' | 'open' | 'waiting' | 'closed'

export class ReconnectingChannel<Message, C extends Closable> {
  readonly #kind: Opens<Message, C>
  readonly #options: ReconnectingOptions
  readonly #events: ReconnectingEvents<Message>
  #state: ChannelState = 'idle'
  #channel: C | undefined
  /** Attempts since something last came from the server. */
  #attempts = 0
  #cancelTimer: () => void = () => {}

  constructor(kind: Opens<Message, C>, options: ReconnectingOptions, events: ReconnectingEvents<Message>) {
    this.#kind = kind
    this.#options = options
    this.#events = events
  }

  get state(): ChannelState {
    return this.#state
  }

  /** What is open now. */
  get channel(): C | undefined {
    return this.#state === 'open' ? this.#channel : undefined
  }

  /** Opens it, if it is not open or about to be. */
  want(): void {
    if (this.#state !== 'idle') return
    const wait = this.#attempts === 0 ? 0 : Math.min(FIRST_WAIT_MS * 2 ** (this.#attempts - 1), LONGEST_WAIT_MS)
    this.#attempts++
    if (wait === 0) {
      this.#open()
      return
    }
    this.#state = 'waiting'
    // Clients that lost one server together should not come back together.
    this.#later(wait * (0.5 + this.#options.random() / 2), () => this.#open())
  }

  /** Gives up the connection, which seems to lead nowhere, and tries another one. */
  renew(error: unknown): void {
    if (this.#state !== 'open' && this.#state !== 'connecting') return
    // Reset: the next connection needs its port.
    this.#channel?.close(true)
    this.#lost(error)
  }

  close(): void {
    this.#cancelTimer()
    this.#channel?.close()
    this.#channel = undefined
    this.#state = 'closed'
  }

  #open(): void {
    this.#state = 'connecting'
    this.#later(this.#options.connectMs, () => this.renew(new Error('no connection in time')))
    const channel: C = this.#kind.open({
      opened: () => {
        if (this.#channel !== channel) return
        this.#cancelTimer()
        this.#state = 'open'
        this.#events.opened()
      },
      received: (message) => {
        if (this.#channel !== channel) return
        this.#events.received(message)
        this.#attempts = 0
      },
      closed: (error) => {
        if (this.#channel === channel) this.#lost(error)
      },
    })
    this.#channel = channel
  }

  #lost(error: unknown): void {
    this.#cancelTimer()
    this.#channel = undefined
    this.#state = 'idle'
    this.#events.lost(error)
    if (this.#state === 'idle' && this.#events.wanted()) this.want()
  }

  #later(ms: number, action: () => void): void {
    this.#cancelTimer()
    this.#cancelTimer = this.#options.clock.after(ms, action)
  }
}
