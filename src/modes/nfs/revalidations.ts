// Which open files are to be asked for, and when: those of which programs may be reading pages that the kernel has, as
// soon as their attributes are not believed any more. Pure: it is told the time, and tells whom to ask.
import type { NodeId } from '../../vfs/filesystem.ts'

/** Files that are due within this time are looked at together, in milliseconds. */
const TOGETHER_MS = 100
/** A file is not asked for again sooner, however short its attributes are believed, in milliseconds. */
const REST_MS = 500

export interface RevalidationsOptions {
  /** How long a node's attributes are still believed, in milliseconds. Undefined: no pages depend on them. */
  readonly remainingMs: (node: NodeId) => number | undefined
}

export class Revalidations {
  readonly #remainingMs: RevalidationsOptions['remainingMs']
  /** When to look at each. */
  readonly #waiting = new Map<NodeId, number>()
  readonly #due = new Set<NodeId>()
  readonly #asking = new Set<NodeId>()
  /** None of those that wait is due before. */
  #nextMs = Number.POSITIVE_INFINITY

  constructor({ remainingMs }: RevalidationsOptions) {
    this.#remainingMs = remainingMs
  }

  /** When to `take` again; infinity: not before `watch`. */
  get nextMs(): number {
    return this.#nextMs
  }

  /** Some are due, and there was no room to ask. */
  get overdue(): boolean {
    return this.#due.size > 0
  }

  get asking(): number {
    return this.#asking.size
  }

  /** The kernel got bytes of it, under the attributes that are known now. `restMs`: it is left alone at least so long. */
  watch(node: NodeId, nowMs: number, restMs = REST_MS): void {
    if (this.#due.has(node) || this.#asking.has(node)) return
    const remaining = this.#remainingMs(node)
    if (remaining === undefined) return
    const at = Math.ceil((nowMs + Math.max(remaining, restMs)) / TOGETHER_MS) * TOGETHER_MS
    // A change that was found meanwhile has made the timeout short again.
    if (at >= (this.#waiting.get(node) ?? Number.POSITIVE_INFINITY)) return
    this.#waiting.set(node, at)
    this.#nextMs = Math.min(this.#nextMs, at)
  }

  /** Nobody reads it any more. */
  drop(node: NodeId): void {
    this.#due.delete(node)
    if (this.#waiting.delete(node) && this.#waiting.size === 0) this.#nextMs = Number.POSITIVE_INFINITY
  }

  /** Whom to ask for now, so that no more than `limit` are under way. Each is `answered` later. */
  take(nowMs: number, limit: number): NodeId[] {
    if (this.#nextMs <= nowMs) this.#collect(nowMs)
    const taken: NodeId[] = []
    for (const node of this.#due) {
      if (this.#asking.size >= limit) break
      this.#due.delete(node)
      // Somebody else has asked meanwhile, or nothing depends on it any more.
      if (this.#remainingMs(node) !== 0) {
        this.watch(node, nowMs)
        continue
      }
      this.#asking.add(node)
      taken.push(node)
    }
    return taken
  }

  /** Whatever the answer was, if there was one. */
  answered(node: NodeId, nowMs: number, restMs?: number): void {
    this.#asking.delete(node)
    this.watch(node, nowMs, restMs)
  }

  #collect(nowMs: number): void {
    this.#nextMs = Number.POSITIVE_INFINITY
    for (const [node, at] of this.#waiting) {
      if (at > nowMs) {
        this.#nextMs = Math.min(this.#nextMs, at)
        continue
      }
      this.#waiting.delete(node)
      this.#due.add(node)
    }
  }
}
