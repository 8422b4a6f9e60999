// Attributes of a file that an exclusive CREATE made: it cannot say them (RFC 1813 §3.3.8), so a SETATTR has to follow.
// Whoever made the file goes on, mostly to write and close it or to set more attributes; the server is told together with
// the next thing that it has to hear of the file, or soon.
import type { AttributeChanges } from '../../posix/attributes.ts'
import type { Awaitable } from '../../vfs/filesystem.ts'

/** Milliseconds after which the server is told although nothing else was to be said. */
const SOON_MS = 20

export interface LateAttributesOptions {
  /** Sends a SETATTR, which takes these along. */
  send(): Promise<void>
  /** `Clock.after`. */
  after(ms: number, action: () => void): () => void
  /** The server was told, or refused. */
  onSettled(): void
}

export class LateAttributes {
  readonly #options: LateAttributesOptions
  #unset: AttributeChanges | undefined
  /** A SETATTR is about to say them. */
  #taken = false
  #underWay: Promise<void> | undefined
  /** Of a SETATTR that nobody waited for. */
  #error: unknown
  #cancel = (): void => {}

  constructor(options: LateAttributesOptions) {
    this.#options = options
  }

  /** What the server has not confirmed: what it tells of the file until then is not what the file is to be. */
  get unset(): AttributeChanges | undefined {
    return this.#unset
  }

  /** The SETATTR that was sent for these alone; never rejects. */
  get underWay(): Promise<void> | undefined {
    return this.#underWay
  }

  /** Nothing is to be waited for, and nothing to be heard of. */
  get settled(): boolean {
    return this.#unset === undefined && this.#error === undefined
  }

  put(changes: AttributeChanges): void {
    this.#unset = changes
    this.#taken = false
    this.#cancel()
    this.#cancel = this.#options.after(SOON_MS, () => this.#send())
  }

  /** For a SETATTR: what it has to say besides. It says `given` or `put` when it is over. */
  take(): AttributeChanges | undefined {
    if (this.#taken || this.#unset === undefined) return undefined
    this.#taken = true
    this.#cancel()
    return this.#unset
  }

  given(): void {
    this.#unset = undefined
    this.#taken = false
  }

  /** The server is to know them. Fails with the error of a SETATTR that nobody has heard of. */
  settle(): Awaitable<void> {
    this.#send()
    if (this.#underWay !== undefined) return this.#underWay.then(() => this.#report())
    this.#report()
  }

  #send(): void {
    if (this.#unset === undefined || this.#taken) return
    this.#underWay = this.#options
      .send()
      .catch((error) => {
        this.given()
        this.#cancel()
        this.#error = error
      })
      .then(() => {
        this.#underWay = undefined
        this.#options.onSettled()
      })
  }

  #report(): void {
    const error = this.#error
    if (error === undefined) return
    this.#error = undefined
    throw error
  }
}
