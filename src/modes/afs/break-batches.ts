// Callback breaks on their way: those that one client gets for one change go out in one call. Knows no sockets: `send`
// makes the call.
import type { Fid } from './records.ts'

interface Batch {
  readonly fids: Fid[]
  readonly sent: Promise<void>
}

export interface BreakBatchesOptions {
  /** Resolves when the client has heard of it; rejects if it could not be reached. */
  send(client: string, fids: readonly Fid[]): Promise<void>
  /** Calls back when nothing more will come for the changes of this turn. */
  later(action: () => void): void
  /** The most of one call. */
  readonly limit: number
}

export class BreakBatches {
  readonly #options: BreakBatchesOptions
  /** By client. */
  readonly #open = new Map<string, Batch>()

  constructor(options: BreakBatchesOptions) {
    this.#options = options
  }

  /** Resolves when the client has heard that its promise of `fid` ends; rejects if it has not. */
  add(client: string, fid: Fid): Promise<void> {
    const open = this.#open.get(client)
    if (open !== undefined && open.fids.length < this.#options.limit) {
      open.fids.push(fid)
      return open.sent
    }
    const fids = [fid]
    const sent = new Promise<void>((resolve, reject) => {
      this.#options.later(() => {
        if (this.#open.get(client)?.fids === fids) this.#open.delete(client)
        this.#options.send(client, fids).then(resolve, reject)
      })
    })
    this.#open.set(client, { fids, sent })
    return sent
  }
}
