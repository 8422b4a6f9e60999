// Group commit: callers who come while the work is under way share one further run of it.

export class GroupedCall {
  readonly #work: () => Promise<void>
  #running: Promise<void> | undefined
  #next: Promise<void> | undefined

  constructor(work: () => Promise<void>) {
    this.#work = work
  }

  get busy(): boolean {
    return this.#running !== undefined
  }

  /** Resolves when a run of the work that began after this call has ended. */
  call(): Promise<void> {
    if (!this.#running) return this.#run()
    // What runs now may have begun before the caller's change: only the next run is known to cover it.
    this.#next ??= this.#running
      .catch(() => {})
      .then(() => {
        this.#next = undefined
        return this.#run()
      })
    return this.#next
  }

  #run(): Promise<void> {
    const running = this.#work().finally(() => {
      if (this.#running === running) this.#running = undefined
    })
    this.#running = running
    return running
  }
}
