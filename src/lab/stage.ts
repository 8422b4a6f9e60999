// What a scenario is played on: two mounts where commands run, and parts that break. The real one is real-stage.ts.
import type { Ended, Printed } from './expectation.ts'
import type { MountName, PartName } from './scenario.ts'

/** A command at work. */
export interface Job {
  /** What it has printed so far. */
  readonly printed: Printed
  /** How it came to its end; undefined before. */
  readonly ended: Ended | undefined
  /** Resolves when it has printed more or ended since this was called. */
  changed(): Promise<void>
  /** An empty line on its standard input. */
  enter(): void
  /** SIGINT, as Ctrl-C: to the command and all that it has started. */
  interrupt(): void
  /** SIGKILL, to all of them. */
  kill(): void
}

export interface Stage {
  start(on: MountName, command: string): Job
  /** Writes a line to `.proteus/network`. Rejects if it is refused. */
  setNetwork(on: MountName, setting: string): Promise<void>
  /** One more server, of the mode that the scenario belongs to. */
  serve(name: string, options: Readonly<Record<string, string>>): Promise<void>
  /** kill -9. */
  crash(part: PartName): Promise<void>
  startAgain(part: PartName): Promise<void>
}

export interface Clock {
  /** Milliseconds from any point. */
  now(): number
  /** Resolves after a time, or when `signal` aborts. */
  sleep(ms: number, signal: AbortSignal): Promise<void>
}
