// Plays a scenario on a stage and judges it, step by step: the first contradiction ends it, since what follows builds on
// what did not happen. Every step has a time limit; a step that takes long says so.
import { describeExpectation, isHopeless, judge, judgePrinted, type Observation, seconds } from './expectation.ts'
import type { History, ScenarioEnd } from './history.ts'
import type { MountName, PartName, Scenario, Step, TimelyStep } from './scenario.ts'
import type { Clock, Job, Stage } from './stage.ts'
import { describeAction, describeSeen, expectationOf } from './step-words.ts'

const LIMIT_MS = 20_000
/** How often a step that takes long says that it is still at work, in milliseconds. */
const PROGRESS_MS = 2000
/** Between two tries of what is expected to come with time, in milliseconds. */
const RETRY_MS = 100

const NEVER = new Promise<never>(() => undefined)

export interface RunOptions {
  readonly mode: string
  readonly stage: Stage
  readonly clock: Clock
  readonly history: History
  /** Ends the run: it rejects with the reason. */
  readonly signal: AbortSignal
}

/**
 * Returns how it ended; 'late' if nothing can be said, since a step came too late. What still runs on the stage is left to
 * whoever made it.
 */
export async function runScenario(scenario: Scenario, options: RunOptions): Promise<ScenarioEnd | 'late'> {
  return new Run(scenario, options).play()
}

interface StartedJob {
  readonly job: Job
  readonly on: MountName
  readonly startMs: number
}

class Run {
  readonly #scenario: Scenario
  readonly #options: RunOptions
  readonly #limitMs: number
  readonly #startMs: number
  readonly #jobs = new Map<string, StartedJob>()
  #step = 0
  #stepStartMs = 0
  #saidMs = 0

  constructor(scenario: Scenario, options: RunOptions) {
    this.#scenario = scenario
    this.#options = options
    this.#limitMs = scenario.limitSeconds === undefined ? LIMIT_MS : scenario.limitSeconds * 1000
    this.#startMs = options.clock.now()
  }

  async play(): Promise<ScenarioEnd | 'late'> {
    const { name, summary, options, serverOptions, steps } = this.#scenario
    const { mode, history } = this.#options
    const withOptions = {
      ...(options === undefined ? {} : { options }),
      ...(serverOptions === undefined ? {} : { serverOptions }),
    }
    history.record({ event: 'scenario', mode, scenario: name, summary, ...withOptions, steps: steps.length })
    let failed: number | undefined
    for (const [i, step] of steps.entries()) {
      this.#step = i + 1
      const verdict = await this.#perform(step)
      if (verdict === 'late') return verdict
      if (verdict) continue
      failed = this.#step
      break
    }
    const end: ScenarioEnd = {
      event: 'end',
      mode,
      scenario: name,
      ok: failed === undefined,
      durationMs: this.#atMs(),
      passed: failed === undefined ? steps.length : failed - 1,
      steps: steps.length,
      ...(failed === undefined ? {} : { failedStep: failed }),
    }
    history.record(end)
    return end
  }

  /** False: what was seen contradicts the semantics. 'late': it would have, in time. */
  async #perform(step: Step): Promise<boolean | 'late'> {
    const { history, clock } = this.#options
    const who = this.#whoActs(step)
    const at = { scenario: this.#scenario.name, step: this.#step }
    this.#stepStartMs = this.#saidMs = clock.now()
    history.record({
      event: 'step',
      ...at,
      atMs: this.#atMs(),
      ...(who === undefined ? {} : { who }),
      action: describeAction(step),
      isCommand: 'command' in step,
    })
    const expect = expectationOf(step)
    const observation = await this.#observe(step)
    const ok = step.do === 'output' ? isPrinted(step, observation) : judge(expect, observation)
    if (!ok && this.#isLate(step)) {
      const { withinSeconds } = step
      history.record({ event: 'late', mode: this.#options.mode, ...at, atMs: this.#atMs(), withinSeconds })
      return 'late'
    }
    history.record({
      event: 'seen',
      ...at,
      atMs: this.#atMs(),
      durationMs: clock.now() - this.#stepStartMs,
      ok,
      seen: describeSeen(step, observation, ok),
      expected: describeExpectation(expect),
      why: step.why,
      observation,
    })
    return ok
  }

  async #observe(step: Step): Promise<Observation> {
    const { stage } = this.#options
    switch (step.do) {
      case 'run':
        return this.#toEnd(stage.start(step.on, step.command))
      case 'until':
        return this.#tryUntil(step)
      case 'start':
        this.#jobs.set(step.job, {
          job: stage.start(step.on, step.command),
          on: step.on,
          startMs: this.#options.clock.now(),
        })
        return { kind: 'acted' }
      case 'output':
        return this.#watch(step.job, this.#limitMs, (job) => {
          return judgePrinted(step.expect, job.printed) || isHopeless(step.expect, job.printed)
        })
      case 'waits':
        return this.#watch(step.job, step.afterMs)
      case 'end':
        return this.#watch(step.job, this.#limitMs)
      case 'enter':
        this.#job(step.job).job.enter()
        return { kind: 'acted' }
      case 'interrupt':
        this.#job(step.job).job.interrupt()
        return this.#watch(step.job, this.#limitMs)
      case 'pause':
        await this.#within(NEVER, step.forMs)
        return { kind: 'acted' }
      case 'network':
        return this.#act(stage.setNetwork(step.on, step.setting))
      case 'serve':
        return this.#act(stage.serve(step.server, step.options))
      case 'crash':
        return this.#act(stage.crash(step.part))
      case 'startAgain':
        return this.#act(stage.startAgain(step.part))
    }
  }

  async #tryUntil(step: Extract<Step, { do: 'until' }>): Promise<Observation> {
    let last: Observation | undefined
    for (;;) {
      const seen = await this.#toEnd(this.#options.stage.start(step.on, step.command))
      // The time may be over in the middle of a try: then the one before tells more.
      if (seen.kind === 'running') return last ?? seen
      if (judge(step.expect, seen) || this.#leftMs() <= 0) return seen
      last = seen
      await this.#within(NEVER, RETRY_MS)
    }
  }

  /** A command in the foreground; one that takes too long is killed. */
  async #toEnd(job: Job): Promise<Observation> {
    const seen = await this.#follow(job, this.#options.clock.now(), Math.max(0, this.#leftMs()))
    if (seen.kind === 'running') job.kill()
    return seen
  }

  #watch(name: string, limitMs: number, enough?: (job: Job) => boolean): Promise<Observation> {
    const { job, startMs } = this.#job(name)
    return this.#follow(job, startMs, limitMs, enough)
  }

  /** Until the end of a job, or what is enough, or for so long. */
  async #follow(job: Job, startMs: number, limitMs: number, enough?: (job: Job) => boolean): Promise<Observation> {
    const untilMs = this.#options.clock.now() + limitMs
    while (job.ended === undefined && !enough?.(job)) {
      // Asked for first: what changes from here on is not missed.
      const changed = job.changed()
      if ((await this.#within(changed, untilMs - this.#options.clock.now())) === 'late') break
    }
    if (job.ended !== undefined) return { kind: 'ended', ...job.ended }
    return { kind: 'running', forMs: this.#options.clock.now() - startMs, ...job.printed }
  }

  async #act(action: Promise<void>): Promise<Observation> {
    try {
      if ((await this.#within(action, this.#limitMs)) === 'in time') return { kind: 'acted' }
      return { kind: 'impossible', message: `not done after ${seconds(this.#limitMs)}` }
    } catch (error) {
      if (this.#options.signal.aborted) throw error
      return { kind: 'impossible', message: error instanceof Error ? error.message : String(error) }
    }
  }

  /** Waits for something, but not longer than a time, and tells of long waits. Rejects when the run is ended. */
  async #within(something: Promise<unknown>, limitMs: number): Promise<'in time' | 'late'> {
    const { clock, signal } = this.#options
    const untilMs = clock.now() + limitMs
    const over = new AbortController()
    const both = AbortSignal.any([signal, over.signal])
    const settled = something.then(() => true)
    // It may fail when nobody waits for it any more.
    settled.catch(() => undefined)
    try {
      for (;;) {
        signal.throwIfAborted()
        const nowMs = clock.now()
        if (nowMs >= untilMs) return 'late'
        const sayMs = this.#saidMs + PROGRESS_MS
        const asleep = clock.sleep(Math.min(untilMs, Math.max(sayMs, nowMs)) - nowMs, both).then(() => false)
        if (await Promise.race([settled, asleep])) return 'in time'
        this.#sayWaiting()
      }
    } finally {
      over.abort()
    }
  }

  #sayWaiting(): void {
    const { clock, history, signal } = this.#options
    const nowMs = clock.now()
    if (signal.aborted || nowMs < this.#saidMs + PROGRESS_MS) return
    this.#saidMs = nowMs
    const forMs = nowMs - this.#stepStartMs
    history.record({ event: 'waiting', scenario: this.#scenario.name, step: this.#step, atMs: this.#atMs(), forMs })
  }

  #whoActs(step: Step): PartName | undefined {
    if ('on' in step) return step.on
    if ('part' in step) return step.part
    return 'job' in step ? this.#job(step.job).on : undefined
  }

  #job(name: string): StartedJob {
    const found = this.#jobs.get(name)
    if (found === undefined) throw new Error(`no job ${name}`)
    return found
  }

  #isLate(step: Step): step is TimelyStep & { readonly withinSeconds: number } {
    return 'withinSeconds' in step && step.withinSeconds !== undefined && this.#atMs() > step.withinSeconds * 1000
  }

  /** What is left of the step's time. */
  #leftMs(): number {
    return this.#stepStartMs + this.#limitMs - this.#options.clock.now()
  }

  #atMs(): number {
    return this.#options.clock.now() - this.#startMs
  }
}

/** What a job has printed counts as long as it goes on or has come to a good end. */
function isPrinted(step: Extract<Step, { do: 'output' }>, seen: Observation): boolean {
  return (seen.kind === 'running' || seen.kind === 'ended') && judgePrinted(step.expect, seen)
}
