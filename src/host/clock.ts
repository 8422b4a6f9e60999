// Time as the rest sees it: what o'clock it is, and how to be called later. Injected, so that tests own it.

export interface Clock {
  /** Milliseconds since the epoch, with a fraction. */
  now(): number
  /** Calls `action` once after `ms`. Returns how to call it off. Does not keep the process alive. */
  after(ms: number, action: () => void): () => void
}

/** How far the process's steady clock may be ahead of the host's before it is set again, in milliseconds. */
const DRIFT_MS = 20
/** A host's clock that goes back by more was set, and is followed. */
const SET_BACK_MS = 1000
/** How often the host's clock is looked at, at most, in milliseconds: it tells no more than whole ones. */
const LOOK_MS = 1

/** The host's clock with the fraction of a millisecond that Date.now() cuts off. Goes back only if it is set back. */
export function hostClock(): Clock {
  let offset = Date.now() - performance.now()
  let last = 0
  let lookedAt = Number.NEGATIVE_INFINITY
  return {
    now() {
      const steady = performance.now()
      if (steady < lookedAt + LOOK_MS) {
        last = Math.max(last, steady + offset)
        return last
      }
      lookedAt = steady
      const host = Date.now()
      let fine = steady + offset
      if (fine < host || fine >= host + DRIFT_MS) {
        offset += host - fine
        fine = host
      }
      if (fine < last && last - fine < SET_BACK_MS) return last
      last = fine
      return fine
    },
    after(ms, action) {
      const timer = setTimeout(action, ms).unref()
      return () => clearTimeout(timer)
    },
  }
}
