// Values that may be there already or come later: an answer from a cache never waits for the event loop.
import type { Awaitable } from './filesystem.ts'

/** `next` of the value, at once if it is there. */
export function chain<A, B>(value: Awaitable<A>, next: (value: A) => Awaitable<B>): Awaitable<B> {
  return value instanceof Promise ? value.then(next) : next(value)
}

/** The result of `call`; if it fails, at once or later, `undo` runs and the failure goes on. */
export function orUndo<T>(call: () => Awaitable<T>, undo: () => void): Awaitable<T> {
  const fail = (error: unknown): never => {
    undo()
    throw error
  }
  try {
    const result = call()
    return result instanceof Promise ? result.catch(fail) : result
  } catch (error) {
    return fail(error)
  }
}
