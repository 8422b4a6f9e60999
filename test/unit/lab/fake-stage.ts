// A stage without mounts, and a clock without time: commands do at their times what a script says.
import type { Ended, Printed } from '../../../src/lab/expectation.ts'
import type { MountName, PartName } from '../../../src/lab/scenario.ts'
import type { Clock, Job, Stage } from '../../../src/lab/stage.ts'

/** Time goes on when everybody sleeps: to the moment when the first one wakes. */
export class FakeClock implements Clock {
  #nowMs = 0
  #sleepers: { readonly atMs: number; wake(): void }[] = []
  #pumping = false

  now(): number {
    return this.#nowMs
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const sleeper = { atMs: this.#nowMs + ms, wake: resolve }
      this.#sleepers.push(sleeper)
      signal?.addEventListener('abort', () => {
        this.#sleepers = this.#sleepers.filter((one) => one !== sleeper)
        resolve()
      })
      this.#pump()
    })
  }

  #pump(): void {
    if (this.#pumping) return
    this.#pumping = true
    // After all promises that can go on have gone on.
    setImmediate(() => {
      this.#pumping = false
      const [first] = this.#sleepers.sort((a, b) => a.atMs - b.atMs).splice(0, 1)
      if (first === undefined) return
      this.#nowMs = Math.max(this.#nowMs, first.atMs)
      first.wake()
      this.#pump()
    })
  }
}

/** What a command does, and when, in milliseconds after its start. */
export type Act = { readonly atMs: number } & (
  | { readonly stdout: string }
  | { readonly stderr: string }
  | { readonly code: number }
)

export class FakeJob implements Job {
  printed: Printed = { stdout: '', stderr: '' }
  ended: Ended | undefined
  #waiting: (() => void)[] = []

  constructor(clock: FakeClock, acts: readonly Act[]) {
    for (const act of acts) clock.sleep(act.atMs).then(() => this.#do(act))
  }

  changed(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  enter(): void {
    this.#do({ atMs: 0, stdout: 'entered\n' })
  }

  interrupt(): void {
    this.#end(null, 'SIGINT')
  }

  kill(): void {
    this.#end(null, 'SIGKILL')
  }

  #do(act: Act): void {
    if ('code' in act) {
      this.#end(act.code, null)
      return
    }
    const { stdout, stderr } = this.printed
    this.printed = 'stdout' in act ? { stdout: stdout + act.stdout, stderr } : { stdout, stderr: stderr + act.stderr }
    this.#wake()
  }

  #end(code: number | null, signal: NodeJS.Signals | null): void {
    this.ended ??= { code, signal, ...this.printed }
    this.#wake()
  }

  #wake(): void {
    for (const wake of this.#waiting.splice(0)) wake()
  }
}

/** Commands by their text; each start takes the next of its scripts, and the last one for ever. */
export class FakeStage implements Stage {
  readonly done: string[] = []
  readonly jobs: FakeJob[] = []
  readonly #clock: FakeClock
  readonly #scripts: Readonly<Record<string, readonly (readonly Act[])[]>>
  readonly #starts = new Map<string, number>()

  constructor(clock: FakeClock, scripts: Readonly<Record<string, readonly (readonly Act[])[]>>) {
    this.#clock = clock
    this.#scripts = scripts
  }

  start(on: MountName, command: string): Job {
    const scripts = this.#scripts[command] ?? []
    const start = this.#starts.get(command) ?? 0
    this.#starts.set(command, start + 1)
    this.done.push(`${on}: ${command}`)
    const job = new FakeJob(this.#clock, scripts[Math.min(start, scripts.length - 1)] ?? [])
    this.jobs.push(job)
    return job
  }

  async setNetwork(on: MountName, setting: string): Promise<void> {
    this.done.push(`${on}: network ${setting}`)
    if (setting === 'sideways') throw new Error('Invalid argument')
    // A mount that does not answer.
    if (setting === 'silent') await new Promise(() => undefined)
  }

  async serve(name: string, options: Readonly<Record<string, string>>): Promise<void> {
    this.done.push(`serve ${name} ${JSON.stringify(options)}`)
  }

  async crash(part: PartName): Promise<void> {
    this.done.push(`crash ${part}`)
  }

  async startAgain(part: PartName): Promise<void> {
    this.done.push(`start ${part}`)
  }
}
