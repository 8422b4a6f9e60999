// What happened, in order: the events that a scenario leaves, for narrators, `--json` and whoever looks later.
// Plain data. Times are milliseconds since the start of the scenario.
import type { Observation } from './expectation.ts'
import type { PartName } from './scenario.ts'

export interface Started {
  readonly event: 'scenario'
  readonly mode: string
  readonly scenario: string
  readonly summary: string
  readonly options?: string
  readonly serverOptions?: Readonly<Record<string, string>>
  readonly steps: number
}

/** A step begins. */
export interface StepBegun {
  readonly event: 'step'
  readonly scenario: string
  /** From 1. */
  readonly step: number
  readonly atMs: number
  /** A mount or the server; absent when nobody does anything. */
  readonly who?: PartName
  /** The command, or what is done, in words. */
  readonly action: string
  /** The action is a shell command. */
  readonly isCommand: boolean
}

/** A step goes on for long. */
export interface StepWaiting {
  readonly event: 'waiting'
  readonly scenario: string
  readonly step: number
  readonly atMs: number
  readonly forMs: number
}

export interface StepSeen {
  readonly event: 'seen'
  readonly scenario: string
  readonly step: number
  readonly atMs: number
  readonly durationMs: number
  readonly ok: boolean
  /** In words, as are these. */
  readonly seen: string
  readonly expected: string
  readonly why: string
  readonly observation: Observation
}

export interface ScenarioEnd {
  readonly event: 'end'
  readonly mode: string
  readonly scenario: string
  readonly ok: boolean
  readonly durationMs: number
  /** How many steps were as expected. */
  readonly passed: number
  readonly steps: number
  /** The step that contradicts the semantics; those after it were not done. */
  readonly failedStep?: number
}

/** A step came too late to see what the mode promises for a time only. Nothing is shown by that; the scenario is over. */
export interface TooLate {
  readonly event: 'late'
  readonly mode: string
  readonly scenario: string
  readonly step: number
  readonly atMs: number
  readonly withinSeconds: number
}

/** The scenario cannot be played on this machine. */
export interface Skipped {
  readonly event: 'skipped'
  readonly mode: string
  readonly scenario: string
  readonly reason: string
}

export type LabEvent = Started | Skipped | TooLate | StepBegun | StepWaiting | StepSeen | ScenarioEnd

/** Takes events and keeps them. */
export class History {
  readonly events: LabEvent[] = []
  readonly #tell: (event: LabEvent) => void

  constructor(tell: (event: LabEvent) => void = () => undefined) {
    this.#tell = tell
  }

  record(event: LabEvent): void {
    this.events.push(event)
    this.#tell(event)
  }
}
