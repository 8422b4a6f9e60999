// Files on their way, for people who wait for them: `.proteus/status`.

export interface Transfer {
  readonly direction: 'fetch' | 'store'
  readonly key: string
  /** Bytes. */
  readonly length: number
  done: number
  readonly since: number
}

export class Transfers {
  readonly #now: () => number
  readonly #underWay = new Set<Transfer>()
  fetched = 0
  fetchedBytes = 0
  stored = 0
  storedBytes = 0

  constructor(now: () => number) {
    this.#now = now
  }

  begin(direction: Transfer['direction'], key: string, length: number): Transfer {
    const transfer = { direction, key, length, done: 0, since: this.#now() }
    this.#underWay.add(transfer)
    return transfer
  }

  end(transfer: Transfer, ok: boolean): void {
    this.#underWay.delete(transfer)
    if (!ok) return
    if (transfer.direction === 'fetch') {
      this.fetched++
      this.fetchedBytes += transfer.done
    } else {
      this.stored++
      this.storedBytes += transfer.done
    }
  }

  [Symbol.iterator](): IterableIterator<Transfer> {
    return this.#underWay.values()
  }
}
