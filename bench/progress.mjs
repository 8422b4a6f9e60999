// Lines on stderr that say what runs and how long the rest will take.

export class Progress {
  #write
  #now
  #began
  #doneSeconds = 0
  #leftSeconds

  /** `steps` with their nominal `seconds`; `now` in milliseconds. */
  constructor(steps, { write, now }) {
    this.#write = write
    this.#now = now
    this.#began = now()
    this.#leftSeconds = steps.reduce((sum, { seconds }) => sum + seconds, 0)
  }

  begin({ title }) {
    this.#write(`${title} · about ${describe(this.#leftSeconds * this.#pace())} left\n`)
  }

  end({ seconds }) {
    this.#doneSeconds += seconds
    this.#leftSeconds -= seconds
  }

  note(text) {
    this.#write(`${text}\n`)
  }

  /** How much slower this machine is than the nominal one, as far as known. */
  #pace() {
    return this.#doneSeconds === 0 ? 1 : (this.#now() - this.#began) / 1000 / this.#doneSeconds
  }
}

function describe(seconds) {
  return seconds < 90 ? `${Math.ceil(seconds)} s` : `${Math.round(seconds / 60)} min`
}
