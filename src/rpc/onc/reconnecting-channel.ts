// A way to a server that is opened when it is wanted, and again when it was lost, at growing intervals.
import type { Clock } from '../../host/clock.ts'
import type { Channel, ChannelKind } from './channel.ts'

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

export interface ReconnectingEvents {
  opened(): void
  /** DecodeError for what makes no sense: on a stream that ends the connection. */
  received(message: Buffer): void
  /** It was closed, or could not be opened. */
  lost(error: unknown): void
  /** Whether it is to be opened again. */
  wanted(): boolean
}

export type ChannelState = 'idle' | 'connecting' | 'open' | 'waiting' | 'closed'

export class ReconnectingChannel {
  readonly #kind: ChannelKind
  readonly #options: ReconnectingOptions
  readonly #events: ReconnectingEvents
  #state: ChannelState = 'idle'
  #channel: Channel | undefined
  /** Attempts since something last came from the server. */
  #attempts = 0
  #cancelTimer: () => void = () => {}

  constructor(kind: ChannelKind, options: ReconnectingOptions, events: ReconnectingEvents) {
    this.#kind = kind
    this.#options = options
    this.#events = events
  }

  get state(): ChannelState {
    return this.#state
  }

  get bufferedBytes(): number {
    return this.#channel?.bufferedBytes ?? 0
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

  /** Sends, if it is open. */
  send(chunks: readonly Buffer[]): boolean {
    if (this.#state !== 'open') return false
    this.#channel?.send(chunks)
    return true
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
    const channel: Channel = this.#kind.open({
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
