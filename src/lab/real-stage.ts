// The stage of real scenarios: commands on the mounts of a lab, faults in its processes and networks. Looks at mounts
// only through children, which may wait for a mount that does not answer without holding up this process.
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { runChild } from '../serving/child-io.ts'
import { makeDirectory } from '../serving/directories.ts'
import { CONTROL_NAME } from '../vfs/control.ts'
import type { Part } from './lab.ts'
import type { OpenLab } from './open-lab.ts'
import type { MountName, PartName } from './scenario.ts'
import { ShellJob } from './shell-job.ts'
import type { Clock, Job, Stage } from './stage.ts'
import { FIRST } from './vocabulary.ts'

/** How long a mount has to take a line for its network, in milliseconds. */
const NETWORK_MS = 5000
/** How long killed commands have to go; one that the kernel holds goes with its mount. */
const KILL_MS = 2000

export interface RealStageOptions {
  readonly open: OpenLab
  readonly mounts: Readonly<Record<MountName, string>>
  /** Whose scenario it is. */
  readonly mode: string
  /** The lab's directory. */
  readonly data: string
  /** A directory with commands beside the system's. */
  readonly commands: string
}

export class RealStage implements Stage {
  readonly #open: OpenLab
  readonly #mounts: Readonly<Record<MountName, string>>
  readonly #options: RealStageOptions
  /** `host:port` of more servers, by the names of variables. */
  readonly #servers: Record<string, string> = {}
  readonly #jobs: ShellJob[] = []
  readonly #cut = new Set<MountName>()

  constructor(options: RealStageOptions) {
    this.#open = options.open
    this.#mounts = options.mounts
    this.#options = options
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

  async serve(name: string, options: Readonly<Record<string, string>>): Promise<void> {
    const { mode, data } = this.#options
    const { lab } = this.#open
    const first = authorityIn(lab.urls[mode])
    const told = Object.entries(options).map(([option, value]) => ({
      name: option,
      value: value === FIRST ? first : value,
    }))
    const directory = join(data, name)
    makeDirectory(directory, 0o700)
    const urls = await lab.serve({
      ...{ role: 'server', data: directory, host: '127.0.0.1' },
      protocols: [{ mode, port: 0, options: told }],
    })
    this.#servers.FIRST = first
    this.#servers[name.toUpperCase()] = authorityIn(urls[mode])
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
    const { PATH = '/usr/local/bin:/usr/bin:/bin', HOME = '/' } = process.env
    const { commands } = this.#options
    return {
      ...this.#servers,
      PATH: `${commands}:${PATH}`,
      HOME,
      LC_ALL: 'C.UTF-8',
      A: this.#mounts.A,
      B: this.#mounts.B,
    }
  }
}

/** `host:port`. */
function authorityIn(url: string | undefined): string {
  const [, authority] = /^\w+:\/\/([^/]+)/.exec(url ?? '') ?? []
  if (authority === undefined) throw new Error('the lab has no server')
  return authority
}

export const realClock: Clock = {
  now: () => performance.now(),
  sleep: (ms, signal) => delay(ms, undefined, { signal }).catch(() => undefined),
}
