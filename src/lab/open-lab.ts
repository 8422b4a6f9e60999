// A lab from nothing to ready, and back to nothing: its claim on the data directory, its processes, its mounts.
// `proteus up` and the scenarios of `proteus demo` open their labs here.
import { makeDirectory } from '../serving/directories.ts'
import { CliError } from '../serving/errors.ts'
import { isAlive, type ProcessId, processNow, waitForEnd } from '../serving/processes.ts'
import { adoptServing, type StartOptions, startServing } from '../serving/serving.ts'
import { shown } from '../serving/shown.ts'
import { cleanTargets, prepareTarget } from '../serving/target.ts'
import { Lab, type Part } from './lab.ts'
import { type LabPlan, modeOfLab, mountSpec, portsOf, serverSpec, targetsIn } from './lab-plan.ts'
import {
  claimLab,
  following,
  type LabState,
  logPath,
  planOf,
  readLab,
  removeLab,
  takeOver,
  writeLab,
} from './lab-state.ts'
import { type SwitchOptions, switchLab } from './switch-lab.ts'

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

/** What a command that takes over a running lab brings along. */
export type AdoptRequest = Pick<LabRequest, 'program' | 'onBusy' | 'onCleaned'>

export class OpenLab {
  readonly lab: Lab
  readonly log: string
  readonly #request: Pick<LabRequest, 'onCleaned'>
  readonly #owner: ProcessId
  /** The directories that are mounted on by now, or were. */
  readonly #prepared: string[]
  #plan: LabPlan
  #switching: Promise<void> | undefined

  private constructor(request: AdoptRequest, plan: LabPlan, first: LabState) {
    const { program, onBusy } = request
    this.#request = request
    this.#owner = first.owner
    this.#plan = plan
    this.#prepared = first.processes.length > 0 ? [...targetsIn(first)] : []
    this.log = logPath(plan.data)
    const options = { program, log: this.log, ...(onBusy === undefined ? {} : { onBusy }) }
    this.lab = new Lab({
      start: (spec) => startServing(spec, options),
      onChange: ({ processes, urls }) => writeLab({ ...following(first, this.#plan), processes, urls }),
    })
  }

  /** Makes the data directory and claims it; fails with a message for people if a lab runs there. Starts nothing. */
  static async claim(request: LabRequest): Promise<OpenLab> {
    const { data, mounts, protocols, driver, options, modeOptions, detached } = request
    makeDirectory(data, 0o700)
    const owner = processNow(process.pid)
    if (owner === undefined) throw new CliError('/proc is not mounted: it is needed to tell processes apart')
    const first: LabState = {
      version: 2,
      data,
      mounts,
      protocols,
      settings: { driver, options, modeOptions },
      urls: {},
      owner,
      detached,
      processes: [],
    }
    await waitForOrphans(data)
    if (!claimLab(first)) throw new CliError(describeRunning(data))
    return new OpenLab(request, request, first)
  }

  /** Takes over a lab that goes on without its owner. Fails with a message for people if somebody else has it. */
  static adopt(old: LabState, request: AdoptRequest): OpenLab {
    const owner = processNow(process.pid)
    const state = owner && takeOver(old, owner)
    if (state === undefined) {
      throw new CliError(`another command is at work on the lab on ${shown(old.data)}: try again`)
    }
    const plan = planOf(state)
    const open = new OpenLab(request, plan, state)
    const adopted = state.processes.filter(isAlive).map((process) => {
      const { role, targets } = process
      const spec = role === 'mount' ? mountSpec(plan, targets, state.urls) : serverSpec(plan, portsOf(state.urls))
      return adoptServing(process, spec)
    })
    open.lab.adopt(adopted, state.urls)
    return open
  }

  get isSwitching(): boolean {
    return this.#switching !== undefined
  }

  /** How the lab is now. */
  get plan(): LabPlan {
    return this.#plan
  }

  /** Mounts. If that fails, nothing of the lab is left. */
  async start(): Promise<void> {
    try {
      await this.#prepare(targetsIn(this.#plan))
      await this.lab.start(this.#plan)
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

  /**
   * Other semantics on the same directories. If that fails, the lab is as it was before, or over if not even that can be
   * had; either way the error is one for people.
   */
  async switchTo(plan: LabPlan, options: SwitchOptions): Promise<void> {
    if (this.#switching !== undefined) throw new CliError('the lab is being switched already')
    const { lab } = this
    const prepare = async (target: string): Promise<readonly string[]> => {
      // Programs that go on meanwhile must not keep the mounts from coming back.
      const { cleaned, hidden } = await prepareTarget(target, { mayHide: true })
      if (cleaned) this.#request.onCleaned?.(target)
      return hidden
    }
    const use = (used: LabPlan): void => {
      this.#plan = used
    }
    this.#switching = lab.whileSwitching(() => switchLab({ lab, before: this.#plan, plan, prepare, use }, options))
    try {
      await this.#switching
    } finally {
      this.#switching = undefined
    }
  }

  /** Stops everything in peace. Returns the mounts that could not be taken away. */
  async close(): Promise<string[]> {
    await this.lab.stop()
    if (this.#switching !== undefined) {
      await this.#switching.catch(() => undefined)
      await this.lab.stop()
    }
    return this.abandon()
  }

  /** Cleans up after processes that have ended. Returns the mounts that could not be taken away. */
  async abandon(): Promise<string[]> {
    const left = await cleanTargets(this.#prepared)
    removeLab(this.#plan.data, this.#owner)
    return left
  }

  async #prepare(targets: readonly string[]): Promise<void> {
    for (const target of targets) {
      const { cleaned } = await prepareTarget(target)
      if (!this.#prepared.includes(target)) this.#prepared.push(target)
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
  const mounts = targetsIn(state)
    .map((path) => shown(path))
    .join(', ')
  const pids = state.processes.map(({ pid }) => pid).join(', ')
  return `a ${modeOfLab(state)} lab runs on ${shown(data)} already, mounted on ${mounts} (process ${pids}): ${stop}`
}
