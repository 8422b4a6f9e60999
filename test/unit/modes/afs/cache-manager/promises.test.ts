// What the client believes: never what a server has told is over, on a network that does everything that networks do.
import { expect, test } from 'vitest'
import {
  type Asked,
  type CallbackPromise,
  Promises,
  type Scope,
} from '../../../../../src/modes/afs/cache-manager/promises.ts'
import type { Known } from '../../../../../src/modes/afs/records.ts'
import { seed } from '../../../../support/random.ts'
import { TestClock } from '../../../rpc/test-clock.ts'
import { type Judgement, simulate } from '../promise-simulation.ts'

/** Uses `Promises` as the cache manager does. */
class RealClient implements Judgement<Asked> {
  readonly #promises: Promises
  readonly #scope: Scope = { voided: 0 }
  readonly #kept = new Map<number, CallbackPromise>()

  constructor(clock: TestClock) {
    this.#promises = new Promises(() => clock.now())
  }

  #of(vnode: number): CallbackPromise {
    const known = this.#kept.get(vnode) ?? this.#promises.create(`${vnode}`)
    this.#kept.set(vnode, known)
    return known
  }

  broken(vnode: number): void {
    this.#promises.break(`${vnode}`, this.#kept.get(vnode))
  }

  discarded(): void {
    this.#promises.void(this.#scope)
  }

  asked(): Asked {
    return this.#promises.asked()
  }

  answered(vnode: number, asked: Asked, known: Known | undefined): void {
    this.#learn(vnode, asked, known, false)
    this.#promises.answered(asked)
  }

  changes(vnode: number): Asked {
    this.#promises.changing(this.#of(vnode))
    return this.#promises.asked()
  }

  changed(vnode: number, asked: Asked, known: Known | undefined): void {
    this.#learn(vnode, asked, known, true)
    this.#promises.answered(asked)
    this.#promises.ended(this.#of(vnode), known === undefined)
  }

  #learn(vnode: number, asked: Asked, known: Known | undefined, own: boolean): void {
    if (known === undefined) return
    const { status, callback } = known
    this.#promises.learn(this.#of(vnode), this.#scope, { asked, change: status.change, callback, own })
  }

  /** While a change of its own is under way, programs here may be shown what was before: none of them was answered yet. */
  *believed(): Iterable<readonly [number, number]> {
    for (const [vnode, promise] of this.#kept) {
      if (promise.changing === 0 && this.#promises.isValid(promise, this.#scope)) yield [vnode, promise.change]
    }
  }

  /** What nobody changes may go at any time. */
  dropSome(pick: () => number): void {
    for (const [vnode, promise] of this.#kept) {
      if (promise.changing > 0 || pick() < 0.5) continue
      this.#promises.forget(`${vnode}`, promise)
      this.#kept.delete(vnode)
    }
  }
}

test.each(Array.from({ length: 40 }, (_, i) => seed() + i))('nothing stale is believed, seed %i', async (from) => {
  const { failures, checked } = await simulate(from, (clock) => new RealClient(clock))
  expect(failures).toEqual([])
  expect(checked).toBeGreaterThan(100)
})

test('a break that overtakes the answer to a call, of something that was not known before', () => {
  const promises = new Promises(() => 0)
  const scope = { voided: 0 }
  const asked = promises.asked()
  promises.break('f', undefined)
  const promise = promises.create('f')
  const callback = { expiresInMs: 1000 }
  expect(promises.learn(promise, scope, { asked, change: 1, callback, own: false })).toBe('once')
  expect(promises.isValid(promise, scope)).toBe(false)
  promises.answered(asked)
  const again = promises.asked()
  expect(promises.learn(promise, scope, { asked: again, change: 2, callback, own: false })).toBe('promised')
})

test('what is older is not learned, and a promise counts from when the call was made', () => {
  const clock = new TestClock()
  const promises = new Promises(() => clock.now())
  const scope = { voided: 0 }
  const promise = promises.create('f')
  const callback = { expiresInMs: 1000 }
  const [first, second] = [promises.asked(), promises.asked()]
  clock.advance(400)
  expect(promises.learn(promise, scope, { asked: second, change: 5, callback, own: false })).toBe('promised')
  expect(promises.remainingMs(promise, scope)).toBe(600)
  expect(promises.learn(promise, scope, { asked: first, change: 4, callback, own: false })).toBe('older')
  expect(promise.change).toBe(5)
  clock.advance(600)
  expect(promises.remainingMs(promise, scope)).toBe(0)
})
