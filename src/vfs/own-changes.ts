// Whether a node that changed was changed by this client alone. A server tells the state before and after each change
// (weak cache consistency, RFC 1813 §2.6): such a link from state to state is ours, and as long as our links make a
// chain from the state that our caches know to the present one, nobody else was there.
//
// Several changes may be under way at once and their answers come in any order, so a link may have to wait for the one
// that leads to it. It waits for those changes that were under way when it came and for no others.
import { compareTimespec } from '../posix/attributes.ts'
import { type ChangeAttributes, sameChange } from './change-attributes.ts'

/**
 * 'none': what is known is still so. 'own': it follows from our changes. 'pending': it may, when answers that are still
 * to come tell so. 'foreign': somebody else changed the node.
 */
export type ChangeVerdict = 'none' | 'own' | 'pending' | 'foreign'

interface Link {
  readonly before: ChangeAttributes
  readonly after: ChangeAttributes
  readonly arrived: number
}

interface Observed {
  readonly state: ChangeAttributes
  readonly arrived: number
}

/** Most states that are remembered as passed, links that wait, and observations that wait. Beyond it is 'foreign'. */
const MAX_REMEMBERED = 256

export class OwnChanges {
  /** Where the chain of our own changes has come to. */
  #current: ChangeAttributes
  /** Changes under way, by the number under which each was sent; numbers only grow. */
  readonly #underWay = new Set<number>()
  #links: Link[] = []
  #observed: Observed[] = []
  /** Where it started again after a change by somebody else. */
  #restartedAt: ChangeAttributes | undefined
  /** States that the chain went through while changes were under way. */
  #passed: ChangeAttributes[]

  constructor(start: ChangeAttributes) {
    this.#current = start
    this.#passed = [start]
  }

  get current(): ChangeAttributes {
    return this.#current
  }

  /** No change is under way: the verdicts are final. */
  get settled(): boolean {
    return this.#underWay.size === 0
  }

  begin(order: number): void {
    this.#underWay.add(order)
  }

  /** A change was answered, with both states or without. `arrived`: the number of the latest request sent until now. */
  end(order: number, link: Omit<Link, 'arrived'> | undefined, arrived: number): void {
    this.#underWay.delete(order)
    if (link !== undefined) this.#links.push({ before: link.before, after: link.after, arrived })
  }

  /** Somebody asked for the attributes, and this was the state. */
  observe(state: ChangeAttributes, arrived: number): void {
    this.#observed.push({ state, arrived })
  }

  /** What came of it. `known`: the newest state that was seen; if somebody else made it, the chain starts there again. */
  judge(known: ChangeAttributes): ChangeVerdict {
    const from = this.#current
    this.#connect()
    if (this.#links.length + this.#observed.length === 0) return sameChange(from, this.#current) ? 'none' : 'own'
    const waiting = [...this.#links, ...this.#observed]
    const oldest = Math.min(...this.#underWay)
    if (waiting.some(({ arrived }) => arrived < oldest) || waiting.length > MAX_REMEMBERED) {
      this.#restart(known)
      return 'foreign'
    }
    return 'pending'
  }

  /** Follows the links as far as they lead. */
  #connect(): void {
    for (;;) {
      const index = this.#links.findIndex(({ before }) => sameChange(before, this.#current))
      const [link] = index < 0 ? [] : this.#links.splice(index, 1)
      if (link === undefined) break
      this.#current = link.after
      this.#passed.push(link.after)
    }
    if (this.#passed.length > MAX_REMEMBERED) this.#passed.splice(0, this.#passed.length - MAX_REMEMBERED)
    if (this.#links.length > 0) this.#links = this.#links.filter((link) => !this.#saysNothing(link))
    if (this.#observed.length > 0) this.#observed = this.#observed.filter(({ state }) => !this.#hasPassed(state))
    if (this.settled && this.#passed.length > 1) this.#passed = [this.#current]
  }

  /**
   * What leads no further than to where the chain has come, or started again, was before. With a coarse clock on the server
   * states repeat: what leads from one that was passed to another is no news either.
   */
  #saysNothing({ before, after }: Link): boolean {
    if (compareTimespec(after.ctime, this.#current.ctime) < 0) return true
    if (this.#restartedAt !== undefined && sameChange(after, this.#restartedAt)) return true
    return this.#hasPassed(before) && this.#hasPassed(after)
  }

  #hasPassed(state: ChangeAttributes): boolean {
    return this.#passed.some((passed) => sameChange(passed, state))
  }

  #restart(state: ChangeAttributes): void {
    this.#current = state
    this.#restartedAt = state
    this.#passed = [state]
    this.#links = []
    this.#observed = []
  }
}
