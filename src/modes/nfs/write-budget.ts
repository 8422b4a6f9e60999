// How many bytes the files of one mount may keep together that are not on the server for good.

export class WriteBudget {
  readonly #limitBytes: number
  #bytes = 0

  constructor({ limitBytes }: { readonly limitBytes: number }) {
    this.#limitBytes = limitBytes
  }

  get bytes(): number {
    return this.#bytes
  }

  /** Files should send what they have, and have it committed. */
  get pressed(): boolean {
    return this.#bytes * 2 >= this.#limitBytes
  }

  /** Programs that write have to wait. */
  get full(): boolean {
    return this.#bytes >= this.#limitBytes
  }

  /** A file keeps so many bytes more, or fewer. */
  add(bytes: number): void {
    this.#bytes += bytes
  }
}
