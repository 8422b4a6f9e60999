// What a scenario is made of, as data: steps on two mounts, what each must show, and why. vocabulary.ts has the words
// to write one.
import type { Expectation } from './expectation.ts'

export const MOUNTS = ['A', 'B'] as const
export type MountName = (typeof MOUNTS)[number]

/** What can be killed: the server, or the process that serves a mount (without a server: every mount). */
export type PartName = 'server' | MountName

interface Reasoned {
  /** One sentence of semantics. */
  readonly why: string
}

interface Expecting extends Reasoned {
  readonly expect: Expectation
}

/** For what a mode promises for a time only. */
interface Timely {
  /**
   * Seconds from the start of the scenario in which it certainly holds. What else is seen later contradicts nothing: the
   * machine was too slow to look in time, and the scenario has to be played again.
   */
  readonly withinSeconds?: number
}

export type Step =
  /** A shell command, to its end. */
  | ({ readonly do: 'run'; readonly on: MountName; readonly command: string } & Expecting & Timely)
  /** The same command again and again, until it shows what is expected. */
  | ({ readonly do: 'until'; readonly on: MountName; readonly command: string } & Expecting)
  /** A shell command in the background, under a name. */
  | ({ readonly do: 'start'; readonly on: MountName; readonly job: string; readonly command: string } & Reasoned)
  /** Until what a job has printed so far is as expected. */
  | ({ readonly do: 'output'; readonly job: string } & Expecting & Timely)
  /** A job has not come to its end after a while. */
  | ({ readonly do: 'waits'; readonly job: string; readonly afterMs: number } & Reasoned)
  /** An empty line for a job to read. */
  | ({ readonly do: 'enter'; readonly job: string } & Reasoned)
  /** A job comes to its end by itself. */
  | ({ readonly do: 'end'; readonly job: string } & Expecting)
  /** Ctrl-C for a job, and its end. */
  | ({ readonly do: 'interrupt'; readonly job: string } & Expecting)
  | ({ readonly do: 'pause'; readonly forMs: number } & Reasoned)
  /** A line for `.proteus/network` of a mount: `up`, `down`, `latency=50ms`. */
  | ({ readonly do: 'network'; readonly on: MountName; readonly setting: string } & Reasoned)
  /**
   * One more server, with these options of `proteus serve`; it ends with the lab. Commands find its `host:port` in a
   * variable of that name, in capitals.
   */
  | ({ readonly do: 'serve'; readonly server: string; readonly options: Readonly<Record<string, string>> } & Reasoned)
  /** kill -9. */
  | ({ readonly do: 'crash'; readonly part: PartName } & Reasoned)
  | ({ readonly do: 'startAgain'; readonly part: PartName } & Reasoned)

export type TimelyStep = Extract<Step, { do: 'run' | 'output' }>

/** What not every machine grants to a mount. */
export type Need = 'passthrough' | 'root'

export interface Scenario {
  /** As on the command line: lower case, with hyphens. */
  readonly name: string
  /** One line: what it shows. */
  readonly summary: string
  /** The mode of each mount, if not both are of the mode that the scenario belongs to. */
  readonly modes?: Readonly<Record<MountName, string>>
  /** Mount options of both mounts, as after `-o`: what makes a mode's time-outs short. */
  readonly options?: string
  /** What the server is told, as by options of `proteus serve`: the value of each. */
  readonly serverOptions?: Readonly<Record<string, string>>
  /** Where one of these is missing, the scenario is skipped with the reason. */
  readonly needs?: readonly Need[]
  /** How long a step may take; default in run-scenario.ts. */
  readonly limitSeconds?: number
  readonly steps: readonly Step[]
}

/** `mode`: the one that the scenario belongs to. */
export const modesOfMounts = ({ modes }: Scenario, mode: string): Readonly<Record<MountName, string>> =>
  modes ?? { A: mode, B: mode }

/**
 * What is wrong with a scenario as a text: words that make no sense in their place. Empty if it can be played. `served`: the
 * mounts that have a server.
 */
export function findMistakes(scenario: Scenario, { served }: { readonly served: readonly MountName[] }): string[] {
  const mistakes: string[] = []
  const running = new Set<string>()
  const down = new Set<PartName>()
  const servers = new Set<string>()
  const hasServer = served.length > 0
  /** The process behind it: mounts of a mode without server are where the files are. */
  const same = (part: PartName): PartName =>
    part === 'server' || served.includes(part) ? part : hasServer ? 'server' : 'A'
  if (!/^[a-z][a-z0-9]*(-[a-z0-9]+)*$/.test(scenario.name)) mistakes.push(`${scenario.name} is not a name`)
  if (scenario.steps.length === 0) mistakes.push('there are no steps')
  if (scenario.serverOptions !== undefined && !hasServer)
    mistakes.push('there is no server that could be told anything')
  for (const [i, step] of scenario.steps.entries()) {
    const wrong = (what: string) => mistakes.push(`step ${i + 1}: ${what}`)
    if (step.why.trim() === '') wrong('it does not say why')
    switch (step.do) {
      case 'start':
        if (running.has(step.job)) wrong(`${step.job} runs already`)
        running.add(step.job)
        break
      case 'output':
      case 'waits':
      case 'enter':
        if (!running.has(step.job)) wrong(`no job ${step.job} runs`)
        break
      case 'end':
      case 'interrupt':
        if (!running.delete(step.job)) wrong(`no job ${step.job} runs`)
        break
      case 'network':
        if (!served.includes(step.on)) wrong('the mode has no network')
        break
      case 'serve':
        if (!hasServer) wrong('the mode has no server')
        if (!/^[a-z]+$/.test(step.server)) wrong(`${step.server} is not a name`)
        if (servers.has(step.server)) wrong(`${step.server} runs already`)
        servers.add(step.server)
        break
      case 'crash':
        if (step.part === 'server' && !hasServer) wrong('the mode has no server')
        if (down.has(same(step.part))) wrong(`${step.part} is dead already`)
        down.add(same(step.part))
        break
      case 'startAgain':
        if (!down.delete(same(step.part))) wrong(`${step.part} is not dead`)
        break
    }
  }
  for (const job of running) mistakes.push(`nobody waits for ${job}`)
  return mistakes
}
