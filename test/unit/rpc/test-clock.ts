// A clock that goes on when the test says so.
import type { Clock } from '../../../src/host/clock.ts'

export class TestClock implements Clock {
  #now = 1_700_000_000_000
  #timers: { at: number; action: () => void }[] = []

  now(): number {
    return this.#now
  }

  after(ms: number, action: () => void): () => void {
    const timer = { at: this.#now + ms, action }
    this.#timers.push(timer)
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer)
    }
  }

  get timers(): number {
    return this.#timers.length
  }

  /** Lets time pass: timers run in order, each at its time. */
  advance(ms: number): void {
    const end = this.#now + ms
    for (let next = this.#next(end); next !== undefined; next = this.#next(end)) {
      const timer = next
      this.#timers = this.#timers.filter((other) => other !== timer)
      this.#now = Math.max(this.#now, timer.at)
      timer.action()
    }
    this.#now = end
  }

  /** The timer that is due first, up to `end`; of several the one that was set first. */
  #next(end: number) {
    const due = this.#timers.filter(({ at }) => at <= end)
    return due.sort((a, b) => a.at - b.at)[0]
  }

  /** Lets time pass in steps, and promises and ticks run in between. */
  async pass(ms: number, step = ms): Promise<void> {
    for (let left = ms; left > 0; left -= step) {
      this.advance(Math.min(step, left))
      await settle()
    }
  }
}

/** Lets everything run that waits for no timer and no network. */
export const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
