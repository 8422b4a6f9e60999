// The server keeps its promises (promise-simulation.ts), to clients that do no more than what docs/architecture.md says that
// they have to.
import { expect, test } from 'vitest'
import type { Known } from '../../../../src/modes/afs/records.ts'
import { seed } from '../../../support/random.ts'
import type { TestClock } from '../../rpc/test-clock.ts'
import { type Judgement, simulate } from './promise-simulation.ts'

interface Call {
  readonly at: number
  /** How often it had been told of the file, and of all. */
  readonly times: number
  readonly discarded: number
}

class SimpleClient implements Judgement<Call> {
  readonly #clock: TestClock
  readonly #cache = new Map<number, { readonly change: number; readonly until: number }>()
  readonly #broken = new Map<number, number>()
  #discarded = 0
  /** Changes that it has not been answered. */
  readonly #underway = new Map<number, number>()

  constructor(clock: TestClock) {
    this.#clock = clock
  }

  discarded(): void {
    this.#discarded++
    this.#cache.clear()
  }

  broken(vnode: number): void {
    this.#broken.set(vnode, this.#times(vnode) + 1)
    this.#cache.delete(vnode)
  }

  #times(vnode: number): number {
    return this.#broken.get(vnode) ?? 0
  }

  #changing(vnode: number): number {
    return this.#underway.get(vnode) ?? 0
  }

  asked(vnode: number): Call {
    return { at: this.#clock.now(), times: this.#times(vnode), discarded: this.#discarded }
  }

  /** Keeps what the answer promises, unless it was told of it since the call was made, or changes it itself. */
  answered(vnode: number, { at, times, discarded }: Call, known: Known | undefined): void {
    const untold = this.#times(vnode) === times && this.#discarded === discarded
    if (!known?.callback || !untold || this.#changing(vnode) > 0) return
    this.#cache.set(vnode, { change: known.status.change, until: at + known.callback.expiresInMs })
  }

  /** Until the answer is there, nobody knows what the file is, and what was asked for meanwhile is not kept. */
  changes(vnode: number): Call {
    this.#underway.set(vnode, this.#changing(vnode) + 1)
    this.broken(vnode)
    return this.asked(vnode)
  }

  changed(vnode: number, call: Call, known: Known | undefined): void {
    this.#underway.set(vnode, this.#changing(vnode) - 1)
    this.answered(vnode, call, known)
    this.#broken.set(vnode, this.#times(vnode) + 1)
  }

  *believed(): Iterable<readonly [number, number]> {
    for (const [vnode, { change, until }] of this.#cache) if (until > this.#clock.now()) yield [vnode, change]
  }
}

test.each(Array.from({ length: 12 }, (_, i) => seed() + i))('seed %i', async (from) => {
  const { failures, checked } = await simulate(from, (clock) => new SimpleClient(clock))
  expect(failures).toEqual([])
  expect(checked).toBeGreaterThan(100)
})
