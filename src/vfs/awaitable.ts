// Values that may be there already or come later: an answer from a cache never waits for the event loop.
import type { Awaitable } from './filesystem.ts'

/** `next` of the value, at once if it is there. */
export function chain<A, B>(value: Awaitable<A>, next: (value: A) => Awaitable<B>): Awaitable<B> {
  return value instanceof Promise ? value.then(next) : next(value)
}
