// A lab from nothing to ready, and back to nothing: its claim on the data directory, its processes, its mounts.
// `proteus up` and the scenarios of `proteus demo` open their labs here.
import { makeDirectory } from '../serving/directories.ts'
import { CliError } from '../serving/errors.ts'
import { isAlive, type ProcessId, processNow, waitForEnd } from '../serving/processes.ts'
import { type StartOptions, startServing } from '../serving/serving.ts'
import { shown } from '../serving/shown.ts'
import { cleanTargets, prepareTarget } from '../serving/target.ts'
import { Lab, type LabPlan, type Part } from './lab.ts'
import { claimLab, type LabState, logPath, readLab, removeLab, writeLab } from './lab-state.ts'

/** How long a lab that is closing by itself may take before a new one gives up, in milliseconds. */
const ORPHAN_MS = 10_000

export interface LabRequest extends LabPlan {
  /** The lab is to go on without this process, once it has been released. */
  readonly detached: boolean
  /** The program of serving processes. */
  readonly program: string
  /** A mount was in use when it was to end. */
  readonly onBusy?: StartOptions['onBusy']
  /** A stale mount was taken off a directory. */
  onCleaned?(target: string): void
}

export class OpenLab {
  readonly lab: Lab
  readonly log: string
  readonly #request: LabRequest
  readonly #owner: ProcessId
  readonly #prepared: string[] = []

  private constructor(request: LabRequest, first: LabState) {
    const { data, program, onBusy } = request
    this.#request = request
    this.#owner = first.owner
    this.log = logPath(data)
    const options = { program, log: this.log, ...(onBusy === undefined ? {} : { onBusy }) }
    this.lab = new Lab({
      start: (spec) => startServing(spec, options),
      onChange: ({ processes, url }) => writeLab({ ...first, processes, ...(url === undefined ? {} : { url }) }),
    })
  }

  /** Makes the data directory and claims it; fails with a message for people if a lab runs there. Starts nothing. */
  static async claim(request: LabRequest): Promise<OpenLab> {
    const { mode, data, targets, detached } = request
    makeDirectory(data, 0o700)
    const owner = processNow(process.pid)
    if (owner === undefined) throw new CliError('/proc is not mounted: it is needed to tell processes apart')
    const first: LabState = { version: 1, mode, data, mounts: targets, owner, detached, processes: [] }
    await waitForOrphans(data)
    if (!claimLab(first)) throw new CliError(describeRunning(data))
    return new OpenLab(request, first)
  }

  /** Mounts. If that fails, nothing of the lab is left. */
  async start(): Promise<void> {
    try {
      await this.#prepare(this.#request.targets)
      await this.lab.start(this.#request)
    } catch (error) {
      await this.abandon()
      throw error
    }
  }

  /** Starts a process again that `lab.crash` has killed; what it left on its mounts is cleaned. */
  async startAgain(part: Part): Promise<void> {
    for (const target of this.lab.targetsOf(part)) await prepareTarget(target)
    await this.lab.startAgain(part)
  }

  /** Stops everything in peace. Returns the mounts that could not be taken away. */
  async close(): Promise<string[]> {
    await this.lab.stop()
    return this.abandon()
  }

  /** Cleans up after processes that have ended. Returns the mounts that could not be taken away. */
  async abandon(): Promise<string[]> {
    const left = await cleanTargets(this.#prepared)
    removeLab(this.#request.data, this.#owner)
    return left
  }

  async #prepare(targets: readonly string[]): Promise<void> {
    for (const target of targets) {
      const { cleaned } = await prepareTarget(target)
      this.#prepared.push(target)
      if (cleaned) this.#request.onCleaned?.(target)
    }
  }
}

/** A lab whose owner was killed closes by itself; that may take a moment. */
async function waitForOrphans(data: string): Promise<void> {
  const old = readLab(data)
  if (old === undefined || old.detached || isAlive(old.owner)) return
  await Promise.all(old.processes.map((process) => waitForEnd(process, ORPHAN_MS)))
}

function describeRunning(data: string): string {
  const state = readLab(data)
  const stop = `\`proteus down --data ${shown(data)}\` stops it`
  if (state === undefined || state.processes.length === 0) return `a lab is being started on ${shown(data)}: ${stop}`
  const mounts = state.mounts.map((path) => shown(path)).join(', ')
  const pids = state.processes.map(({ pid }) => pid).join(', ')
  return `a ${state.mode} lab runs on ${shown(data)} already, mounted on ${mounts} (process ${pids}): ${stop}`
}
