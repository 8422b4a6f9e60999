// What a server remembers of one client, so that a call which must not be executed twice is not, over however many
// connections it comes: the duplicate request cache of ONC RPC, with what a client that counts its calls makes possible.
// Its ids only grow, so a call is known to be new; and it says up to where it has all answers, so those go at once.
// A pure state machine.
import { KeptAnswers, type KeptAnswersLimits } from './kept-answers.ts'

export const REPLY_CACHE_LIMITS: Required<KeptAnswersLimits> = { entries: 1024, bytes: 1024 * 1024 }

/**
 * `new`: execute it. `busy`: it is being executed, its answer will come. `forgotten`: it came before, and what became of it
 * is not known any more. Else the answer.
 */
export type Known = 'new' | 'busy' | 'forgotten' | Buffer

export class ReplyCache {
  readonly #answers: KeptAnswers<number>
  /** Calls that came before and were not executed to an end: they may be executed when they come again. */
  readonly #undone = new Set<number>()
  readonly #entries: number
  #highest = 0

  constructor(limits: KeptAnswersLimits = {}) {
    const all = { ...REPLY_CACHE_LIMITS, ...limits }
    this.#entries = all.entries
    this.#answers = new KeptAnswers(all)
  }

  get entries(): number {
    return this.#answers.entries
  }

  get bytes(): number {
    return this.#answers.bytes
  }

  /** A call came, of which the client says that it has all answers to calls below `floor`. */
  begin(id: number, floor: number): Known {
    this.#acknowledge(floor)
    if (id > this.#highest) this.#highest = id
    else if (!this.#undone.delete(id)) {
      const known = this.#answers.begin(id)
      if (known !== 'new') return known
      this.#answers.forget(id)
      return 'forgotten'
    }
    return this.#answers.begin(id) as 'new'
  }

  /** A call came that may be executed as often as it comes. */
  passed(id: number): void {
    this.#highest = Math.max(this.#highest, id)
  }

  /** The call was executed and answered so. */
  done(id: number, answer: Buffer): void {
    this.#answers.done(id, [answer])
  }

  /** The call was not executed: if it comes again, it is new. */
  forget(id: number): void {
    this.#answers.forget(id)
    this.#undone.add(id)
    for (const oldest of this.#undone) {
      if (this.#undone.size <= this.#entries) break
      this.#undone.delete(oldest)
    }
  }

  #acknowledge(floor: number): void {
    this.#answers.drop((id) => id < floor)
    for (const id of this.#undone) if (id < floor) this.#undone.delete(id)
  }
}
