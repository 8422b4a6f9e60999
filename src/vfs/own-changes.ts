// Whether a node that changed was changed by this client alone. A server tells the state before and after each change
// (weak cache consistency, RFC 1813 §2.6): such a link from state to state is ours, and as long as our links make a
// chain from the state that our caches know to the present one, nobody else was there.
//
// Several changes may be under way at once and their answers come in any order, so a link may have to wait for the one
// that leads to it. It waits for those changes that were under way when it came and for no others.
import { compareTimespec } from '../posix/attributes.ts'
import { type ChangeAttributes, changeAttributes, sameChange } from './change-attributes.ts'

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
/** Mostly one change is under way, and its answer follows from what is known: nothing is taken for the rest until then. */
const NOTHING: readonly never[] = []

export class OwnChanges {
  /** Where the chain of our own changes has come to. */
  #current: ChangeAttributes
  /** Changes under way, by the number under which each was sent; numbers only grow. */
  #underWay: number[] = []
  #links: readonly Link[] = NOTHING
  #observed: readonly Observed[] = NOTHING
  /** Where it started again after a change by somebody else. */
  #restartedAt: ChangeAttributes | undefined
  /** States that the chain went through before the present one, while changes were under way. */
  #passed: readonly ChangeAttributes[] = NOTHING

  constructor(start: ChangeAttributes) {
    this.#current = start
  }

  get current(): ChangeAttributes {
    return this.#current
  }

  /** No change is under way: the verdicts are final. */
  get settled(): boolean {
    return this.#underWay.length === 0
  }

  begin(order: number): void {
    this.#underWay.push(order)
  }

  /** A change was answered, with both states or without. `arrived`: the number of the latest request sent until now. */
  end(order: number, link: Omit<Link, 'arrived'> | undefined, arrived: number): void {
    const at = this.#underWay.indexOf(order)
    if (at >= 0) this.#underWay.splice(at, 1)
    if (link === undefined) return
    if (this.#links.length === 0 && sameChange(link.before, this.#current)) this.#moveTo(link.after)
    else this.#links = [...this.#links, { before: link.before, after: link.after, arrived }]
  }

  /** Somebody asked for the attributes, and this was the state. */
  observe(state: ChangeAttributes, arrived: number): void {
    if (!this.#hasPassed(state)) this.#observed = [...this.#observed, { state, arrived }]
  }

  /**
   * What came of it since `from`, which was the current state then. `known`: the newest state that was seen; if somebody
   * else made it, the chain starts there again.
   */
  judge(from: ChangeAttributes, known: ChangeAttributes): ChangeVerdict {
    this.#connect()
    const waiting = this.#links.length + this.#observed.length
    if (waiting > MAX_REMEMBERED || (waiting > 0 && this.#waitsInVain())) {
      this.#restart(changeAttributes(known))
      return 'foreign'
    }
    if (waiting > 0) return 'pending'
    return sameChange(from, this.#current) ? 'none' : 'own'
  }

  /** What led to a state that was seen must have been under way then; all that was has been answered. */
  #waitsInVain(): boolean {
    const oldest = Math.min(...this.#underWay)
    return [...this.#links, ...this.#observed].some(({ arrived }) => arrived < oldest)
  }

  /** Follows the links as far as they lead. */
  #connect(): void {
    for (;;) {
      const next = this.#links.find(({ before }) => sameChange(before, this.#current))
      if (next === undefined) break
      this.#links = this.#links.filter((link) => link !== next)
      this.#moveTo(next.after)
    }
    if (this.#links.length > 0) this.#links = this.#links.filter((link) => !this.#saysNothing(link))
    if (this.#observed.length > 0) this.#observed = this.#observed.filter(({ state }) => !this.#hasPassed(state))
    if (this.settled) this.#passed = NOTHING
  }

  #moveTo(state: ChangeAttributes): void {
    const passed = [...this.#passed, this.#current]
    this.#passed = passed.length < MAX_REMEMBERED ? passed : passed.slice(1 - MAX_REMEMBERED)
    this.#current = state
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
    return sameChange(this.#current, state) || this.#passed.some((passed) => sameChange(passed, state))
  }

  #restart(state: ChangeAttributes): void {
    this.#current = state
    this.#restartedAt = state
    this.#passed = NOTHING
    this.#links = NOTHING
    this.#observed = NOTHING
  }
}
