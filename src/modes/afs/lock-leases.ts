// Locks of whole files with a lease: whoever does not extend it in time loses the lock. Clock and release are given.
import type { Clock } from '../../host/clock.ts'

export const LOCK_LEASE_MS = 5 * 60_000

/** Names a lock: text of its file, client and owner. */
type Key = string

export interface LeasedLock {
  readonly volume: number
  readonly file: number
  readonly client: string
  readonly owner: string
}

export class LockLeases {
  readonly #clock: Clock
  readonly #expired: (lock: LeasedLock) => void
  readonly #leases = new Map<Key, () => void>()

  /** `expired` is called once for each lock whose lease is over. */
  constructor(clock: Clock, expired: (lock: LeasedLock) => void) {
    this.#clock = clock
    this.#expired = expired
  }

  get size(): number {
    return this.#leases.size
  }

  has(lock: LeasedLock): boolean {
    return this.#leases.has(keyOf(lock))
  }

  /** The lock is held for a whole lease from now on. */
  renew(lock: LeasedLock): void {
    const key = keyOf(lock)
    this.#leases.get(key)?.()
    const stop = this.#clock.after(LOCK_LEASE_MS, () => {
      if (this.#leases.get(key) !== stop) return
      this.#leases.delete(key)
      this.#expired(lock)
    })
    this.#leases.set(key, stop)
  }

  /** It is not held any more. */
  end(lock: LeasedLock): void {
    const key = keyOf(lock)
    this.#leases.get(key)?.()
    this.#leases.delete(key)
  }

  /** Its locks are not here any more. */
  endVolume(volume: number): void {
    for (const [key, stop] of this.#leases) {
      if ((JSON.parse(key) as [number])[0] !== volume) continue
      stop()
      this.#leases.delete(key)
    }
  }

  close(): void {
    for (const stop of this.#leases.values()) stop()
    this.#leases.clear()
  }
}

const keyOf = ({ volume, file, client, owner }: LeasedLock): Key => JSON.stringify([volume, file, client, owner])
