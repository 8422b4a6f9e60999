// Keeps the event loop from sleeping for a moment after the last activity. Waking a sleeping process on another CPU
// costs far more than a few idle turns of the loop: a FUSE mount or a server that is asked again within that moment
// answers at once. It serves mounts and sockets alike, and an idle process still sleeps.

import { availableParallelism } from 'node:os'

/** What the policy sees after a sample of activities. */
export interface Sample {
  readonly activities: number
  /** Times the scheduler took the CPU from this process while it was running (getrusage ru_nivcsw). */
  readonly preemptions: number
}

const SAMPLE = 128
const PAUSE = 4096
/** Preemptions per activity from which on others need this CPU: about 1.7 were measured on a shared one, 0 to 0.4 else. */
const CROWDED = 0.8

/**
 * When spinning helps. If whoever asks runs on the same CPU, it can only run by preempting a spinning process: then
 * sleeping is faster. Preemptions tell: more than one per request on one CPU, few on two. While spinning is off,
 * a short sample now and then finds out whether that changed.
 */
export class SpinPolicy {
  spinning = true
  #left = SAMPLE

  /** Counts one activity; true when a sample is complete and `decide` wants its numbers. */
  count(): boolean {
    return --this.#left <= 0
  }

  decide({ activities, preemptions }: Sample): void {
    this.spinning = !this.spinning || preemptions < activities * CROWDED
    this.#left = this.spinning ? SAMPLE : PAUSE
  }
}

export class KeepAwake {
  readonly #windowMs: number
  readonly #policy = new SpinPolicy()
  #until = 0
  #turning = false
  #activities = 0
  #preemptions = 0

  /**
   * `windowUs`: how long to stay awake after the last activity, in microseconds; 0 never spins, nor does a process that
   * may run on one CPU only: who asks it could not run meanwhile.
   */
  constructor(windowUs: number, parallelism = availableParallelism()) {
    this.#windowMs = parallelism > 1 ? windowUs / 1000 : 0
    if (this.#windowMs > 0) this.#preemptions = process.resourceUsage().involuntaryContextSwitches
  }

  /** Something happened: more may follow soon. */
  touch(): void {
    if (this.#windowMs === 0) return
    this.#activities++
    if (this.#policy.count()) this.#decide()
    if (!this.#policy.spinning) return
    this.#until = performance.now() + this.#windowMs
    if (this.#turning) return
    this.#turning = true
    setImmediate(this.#turn)
  }

  #decide(): void {
    const { involuntaryContextSwitches } = process.resourceUsage()
    this.#policy.decide({ activities: this.#activities, preemptions: involuntaryContextSwitches - this.#preemptions })
    this.#preemptions = involuntaryContextSwitches
    this.#activities = 0
  }

  readonly #turn = (): void => {
    if (performance.now() < this.#until) setImmediate(this.#turn)
    else this.#turning = false
  }
}
