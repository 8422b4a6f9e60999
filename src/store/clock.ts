// Time as the store sees it: what o'clock it is, and how to be called later. Injected, so that tests own it.

export interface Clock {
  /** Milliseconds since the epoch, with a fraction. */
  now(): number
  /** Calls `action` once after `ms`. Returns how to call it off. Does not keep the process alive. */
  after(ms: number, action: () => void): () => void
}

/** How far the process's steady clock may run from the host's before it is set again, in milliseconds. */
const DRIFT_MS = 2

/** The host's clock with the fraction of a millisecond that Date.now() cuts off. */
export function hostClock(): Clock {
  let offset = Date.now() - performance.now()
  return {
    now() {
      const host = Date.now()
      const fine = performance.now() + offset
      if (fine >= host && fine < host + DRIFT_MS) return fine
      offset = host - performance.now()
      return host
    },
    after(ms, action) {
      const timer = setTimeout(action, ms).unref()
      return () => clearTimeout(timer)
    },
  }
}
