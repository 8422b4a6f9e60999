// What a client may believe, and until when: the callback promises that it was given. Pure, but for the clock that is read.
//
// Calls, breaks and own changes are put in one order. What comes with an answer is believed if nothing that speaks against
// it came since the call was *made*: a break of that fid, a word that nothing stands any more, the answer to a change of our
// own. So neither a break that overtakes an answer nor one that is overtaken by it leaves anything behind.
import type { Promised } from '../records.ts'

/** When a call was made. */
export interface Asked {
  readonly order: number
  /** In milliseconds: the life of what is promised counts from here. */
  readonly at: number
}

/** What ends all promises of one origin at once: a volume that may have missed breaks. */
export interface Scope {
  voided: number
}

/** Of one fid. */
export interface CallbackPromise {
  /** In milliseconds; 0: nothing is promised. */
  expiresAt: number
  /** The call that it came with. */
  given: number
  /** The last break. */
  broken: number
  /** The last answer to a change of our own. */
  changed: number
  /** Changes of our own that are not answered. */
  changing: number
  /** The counter of changes (Status.change) that is known. */
  change: number
}

/**
 * What has become of what an answer says. 'older': something newer is known already. 'once': it is true for this answer.
 * 'promised': the server tells before it changes.
 */
export type Learned = 'older' | 'once' | 'promised'

export class Promises {
  readonly #now: () => number
  #order = 0
  /** Calls without an answer, the oldest first. */
  readonly #underWay = new Set<Asked>()
  /** Breaks of what nothing is kept of: an answer that is under way may be about it. */
  readonly #strays = new Map<string, number>()

  constructor(now: () => number) {
    this.#now = now
  }

  /** Of what happened last. */
  get order(): number {
    return this.#order
  }

  /** When the oldest call without an answer was made; Infinity if there is none. */
  get oldestUnderWay(): number {
    const [oldest] = this.#underWay
    return oldest?.order ?? Number.POSITIVE_INFINITY
  }

  /** A promise about `key`, of which nothing is kept so far. */
  create(key: string): CallbackPromise {
    return { expiresAt: 0, given: 0, broken: this.#strays.get(key) ?? 0, changed: 0, changing: 0, change: 0 }
  }

  /** A call is made; `answered` has to follow, whatever becomes of it. */
  asked(): Asked {
    const asked = { order: ++this.#order, at: this.#now() }
    this.#underWay.add(asked)
    return asked
  }

  answered(asked: Asked): void {
    this.#underWay.delete(asked)
    if (this.#strays.size === 0) return
    const oldest = this.oldestUnderWay
    for (const [key, order] of this.#strays) if (order < oldest) this.#strays.delete(key)
  }

  isValid({ expiresAt, given, broken }: CallbackPromise, { voided }: Scope): boolean {
    return expiresAt > this.#now() && given > broken && given > voided
  }

  /** For how long, in milliseconds; 0: not at all. */
  remainingMs(promise: CallbackPromise, scope: Scope): number {
    return this.isValid(promise, scope) ? promise.expiresAt - this.#now() : 0
  }

  /** The server tells that it changes. */
  break(key: string, promise: CallbackPromise | undefined): void {
    const order = ++this.#order
    if (promise !== undefined) promise.broken = order
    else if (this.#underWay.size > 0) this.#strays.set(key, order)
  }

  /** Nothing is kept about `key` any more. What is under way may bring it back, and is no newer for that. */
  forget(key: string, { broken, changed }: CallbackPromise): void {
    if (this.#underWay.size > 0) this.#strays.set(key, Math.max(broken, changed))
  }

  /** No promise of that origin stands. */
  void(scope: Scope): void {
    scope.voided = ++this.#order
  }

  /** A change of our own is asked for: `ended` follows. Others may still believe what is known; nothing new is until then. */
  changing(promise: CallbackPromise): void {
    promise.changing++
  }

  /** `failed`: nobody knows what became of it. What its answer said was learned before. */
  ended(promise: CallbackPromise, failed: boolean): void {
    promise.changing--
    promise.changed = ++this.#order
    if (failed) promise.expiresAt = 0
  }

  /** An answer says what `change` and `callback` are. `own`: it is the answer to a change of our own. */
  learn(
    promise: CallbackPromise,
    scope: Scope,
    { asked, change, callback, own }: { asked: Asked; change: number; callback: Promised; own: boolean },
  ): Learned {
    const current = this.isValid(promise, scope)
    if (change < promise.change && (current || promise.changing > 0)) return 'older'
    promise.change = change
    const { order, at } = asked
    const fresh = order > promise.broken && order > scope.voided && (own || order > promise.changed)
    if (!fresh) return current ? 'promised' : 'once'
    if (callback === null) {
      promise.expiresAt = 0
      return 'once'
    }
    const expiresAt = at + callback.expiresInMs
    promise.expiresAt = current ? Math.max(promise.expiresAt, expiresAt) : expiresAt
    promise.given = Math.max(promise.given, order)
    return this.isValid(promise, scope) ? 'promised' : 'once'
  }
}
