// A client's calls that are executed once, in progress and answered: they belong to the client, not to its connection.

import type { IncomingCall } from './incoming-call.ts'
import type { KeptAnswersLimits } from './kept-answers.ts'
import { type Known, ReplyCache } from './reply-cache.ts'

export class Replies {
  readonly #cache: ReplyCache
  readonly #inProgress = new Map<number, IncomingCall>()

  constructor(limits: KeptAnswersLimits = {}) {
    this.#cache = new ReplyCache(limits)
  }

  /** Calls in progress. */
  get inProgress(): number {
    return this.#inProgress.size
  }

  /** A call came. `adopt` takes over the one that is in progress already. */
  begin(id: number, floor: number, adopt: (call: IncomingCall) => void): Known {
    const known = this.#cache.begin(id, floor)
    const call = known === 'busy' ? this.#inProgress.get(id) : undefined
    if (call !== undefined) adopt(call)
    return known
  }

  passed(id: number): void {
    this.#cache.passed(id)
  }

  started(call: IncomingCall): void {
    this.#inProgress.set(call.id, call)
  }

  done(id: number, answer: Buffer): void {
    this.#inProgress.delete(id)
    this.#cache.done(id, answer)
  }

  undone(id: number): void {
    this.#inProgress.delete(id)
    this.#cache.forget(id)
  }

  /** The client is forgotten: nobody will ask for answers. */
  abandon(): void {
    for (const call of this.#inProgress.values()) call.abandon()
    this.#inProgress.clear()
  }
}
