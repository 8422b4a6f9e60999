// The stage of real scenarios: commands on the mounts of a lab, faults in its processes and networks. Looks at mounts
// only through children, which may wait for a mount that does not answer without holding up this process.
import { mkdirSync, writeFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { runChild } from '../serving/child-io.ts'
import { CONTROL_NAME } from '../vfs/control.ts'
import type { Part } from './lab.ts'
import type { OpenLab } from './open-lab.ts'
import type { MountName, PartName } from './scenario.ts'
import { ShellJob } from './shell-job.ts'
import type { Clock, Job, Stage } from './stage.ts'

/** Where people have programs that they installed, before those of the system. */
const DEFAULT_PATH = '/usr/local/bin:/usr/bin:/bin'

/** A directory for $PATH in which `proteus` is the program that these arguments start. */
export function makeTools(directory: string, command: readonly string[]): void {
  mkdirSync(directory, { mode: 0o700 })
  const words = command.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(' ')
  writeFileSync(`${directory}/proteus`, `#!/bin/sh\nexec ${words} "$@"\n`, { mode: 0o700 })
}

/** How long a mount has to take a line for its network, in milliseconds. */
const NETWORK_MS = 5000
/** How long killed commands have to go; one that the kernel holds goes with its mount. */
const KILL_MS = 2000

export class RealStage implements Stage {
  readonly #open: OpenLab
  readonly #mounts: Readonly<Record<MountName, string>>
  readonly #tools: string
  readonly #jobs: ShellJob[] = []
  readonly #cut = new Set<MountName>()

  /** `tools`: a directory of programs for commands. */
  constructor(open: OpenLab, mounts: Readonly<Record<MountName, string>>, tools: string) {
    this.#open = open
    this.#mounts = mounts
    this.#tools = tools
  }

  start(on: MountName, command: string): Job {
    const job = new ShellJob(command, { directory: this.#mounts[on], env: this.#environment() })
    this.#jobs.push(job)
    return job
  }

  async setNetwork(on: MountName, setting: string): Promise<void> {
    const file = `${this.#mounts[on]}/${CONTROL_NAME}/network`
    // printf is the shell's own: the error of its write(2) is the answer.
    const result = await runChild('sh', ['-c', 'printf "%s\\n" "$2" > "$1"', 'sh', file, setting], NETWORK_MS)
    if (result.status === 'timeout') throw new Error(`${file} does not answer`)
    if (result.status === 'failed') throw new Error(result.stderr.trim())
    if (setting === 'up') this.#cut.delete(on)
    else this.#cut.add(on)
  }

  crash(part: PartName): Promise<void> {
    return this.#open.lab.crash(this.#part(part))
  }

  startAgain(part: PartName): Promise<void> {
    return this.#open.startAgain(this.#part(part))
  }

  /** Ends all commands, and mends the networks, so that the mounts can close in peace. */
  async clear(): Promise<void> {
    for (const job of this.#jobs) job.kill()
    await Promise.race([Promise.all(this.#jobs.map((job) => job.closed)), delay(KILL_MS, undefined, { ref: false })])
    await Promise.allSettled([...this.#cut].map((on) => this.setNetwork(on, 'up')))
  }

  #part(name: PartName): Part {
    return name === 'server' ? name : { mount: this.#mounts[name] }
  }

  /** The same for everybody, with messages in English. */
  #environment(): Record<string, string> {
    const { PATH = DEFAULT_PATH, HOME = '/' } = process.env
    return { PATH: `${this.#tools}:${PATH}`, HOME, LC_ALL: 'C.UTF-8', A: this.#mounts.A, B: this.#mounts.B }
  }
}

export const realClock: Clock = {
  now: () => performance.now(),
  sleep: (ms, signal) => delay(ms, undefined, { signal }).catch(() => undefined),
}
