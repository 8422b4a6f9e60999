// One direction of one connection through a link: what enters comes out when the link says.
import type { Clock } from '../host/clock.ts'

interface Packet {
  dueAt: number
  readonly bytes: number
  readonly deliver: () => void
}

/**
 * A queue of packets by the time at which they arrive. It is on hold while the link is down, or whoever receives wants
 * no more.
 */
export class LinkPipe {
  readonly #clock: Clock
  readonly #packets: Packet[] = []
  #bytes = 0
  #held = false
  #cancelTimer: (() => void) | undefined
  #timerAt = Number.POSITIVE_INFINITY
  /** Called each time that the queue has run empty. */
  onEmpty: () => void = () => {}

  constructor(clock: Clock) {
    this.#clock = clock
  }

  get empty(): boolean {
    return this.#packets.length === 0
  }

  /** Bytes under way. */
  get bytes(): number {
    return this.#bytes
  }

  get lastDueAt(): number {
    return this.#packets.at(-1)?.dueAt ?? Number.NEGATIVE_INFINITY
  }

  push(bytes: number, dueAt: number, deliver: () => void): void {
    let index = this.#packets.length
    while (index > 0 && (this.#packets[index - 1]?.dueAt ?? 0) > dueAt) index--
    this.#packets.splice(index, 0, { dueAt, bytes, deliver })
    this.#bytes += bytes
    this.#arm()
  }

  hold(held: boolean): void {
    this.#held = held
    this.#arm()
  }

  /** Gives all packets new times, in their order. */
  plan(dueAt: (bytes: number) => number): void {
    let earliest = Number.NEGATIVE_INFINITY
    for (const packet of this.#packets) {
      earliest = Math.max(earliest, dueAt(packet.bytes))
      packet.dueAt = earliest
    }
    this.#arm()
  }

  clear(): void {
    this.#packets.length = 0
    this.#bytes = 0
    this.#arm()
  }

  #arm(): void {
    const at = this.#held ? Number.POSITIVE_INFINITY : (this.#packets[0]?.dueAt ?? Number.POSITIVE_INFINITY)
    if (at === this.#timerAt) return
    this.#cancelTimer?.()
    this.#cancelTimer = undefined
    this.#timerAt = at
    if (at === Number.POSITIVE_INFINITY) return
    this.#cancelTimer = this.#clock.after(Math.max(0, at - this.#clock.now()), () => this.#deliver())
  }

  #deliver(): void {
    this.#timerAt = Number.POSITIVE_INFINITY
    this.#cancelTimer = undefined
    const now = this.#clock.now()
    let delivered = false
    // Whoever receives may hold or clear the pipe.
    for (let next = this.#packets[0]; next !== undefined && !this.#held && next.dueAt <= now; next = this.#packets[0]) {
      this.#packets.shift()
      this.#bytes -= next.bytes
      delivered = true
      next.deliver()
    }
    this.#arm()
    if (delivered && this.empty) this.onEmpty()
  }
}
