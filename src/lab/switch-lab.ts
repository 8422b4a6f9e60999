// Other semantics on the directories of a running lab: its mounts are taken away, its processes end, those of the new
// plan start. What fails on the way is undone: the mode before comes back, on the same directories and the same ports.
import { isDeepStrictEqual } from 'node:util'
import { CliError } from '../serving/errors.ts'
import type { Lab, LaunchOptions } from './lab.ts'
import {
  besideIn,
  isSameSet,
  type LabMount,
  type LabPlan,
  modeOfLab,
  modesOf,
  optionsOf,
  portsOf,
  targetsIn,
} from './lab-plan.ts'
import type { LabProcess } from './lab-state.ts'

/** How long a process has to close in peace, in milliseconds. An NFS client may wait 5 s for its server. */
const GRACE_MS = 15_000

export interface SwitchOptions {
  /** Also mounts in use: programs lose what they have open there. */
  readonly force: boolean
  /** Takes an unused mount away. Rejects, with nothing changed, if it is in use or does not answer. */
  unmount(target: string): Promise<void>
  /** Once it is aborted the lab goes back to where it was, unless everything is there already. */
  readonly signal?: AbortSignal
  /** Programs wrote something into a directory itself, while it had no mount, which now lies under the mount. */
  onHidden?(target: string, names: readonly string[]): void
  /** A process did not close in time. */
  onKilled?(process: LabProcess): void
}

export interface Switching {
  readonly lab: Lab
  readonly before: LabPlan
  readonly plan: LabPlan
  /** Makes a directory ready to be mounted on. Returns the names in it. */
  prepare(target: string): Promise<readonly string[]>
  /** The plan that the lab follows from now on. */
  use(plan: LabPlan): void
}

export interface Moving {
  /** The mounts that are made anew. */
  readonly targets: readonly string[]
  /** The process that has the volume is another afterwards. */
  readonly restarts: boolean
}

type Arrangement = Pick<LabPlan, 'mounts' | 'protocols' | 'options' | 'modeOptions'>

/**
 * What has to move: mounts whose mode or options change, and those in the process that has the volume, if that does not
 * stay. A mount that has a process of its own outlives a restart of its server, as it outlives a crash.
 */
export function movingIn(before: Arrangement, plan: Arrangement): Moving {
  const beside = besideIn(plan)
  const isSameOptions = isDeepStrictEqual(plan.options, before.options)
  const restarts =
    !isSameSet(plan.protocols, before.protocols) ||
    !isSameSet(beside, besideIn(before)) ||
    (beside.length > 0 && !isSameOptions)
  const modes = modesOf(before)
  const isMoving = ({ target, mode }: LabMount): boolean =>
    mode !== modes[target] ||
    !isSameOptions ||
    !isDeepStrictEqual(optionsOf(plan, mode), optionsOf(before, mode)) ||
    (restarts && !plan.protocols.includes(mode))
  return { restarts, targets: targetsIn({ mounts: plan.mounts.filter(isMoving) }) }
}

/** Rejects with an error for people; then the lab is as it was before, or lost. */
export async function switchLab(switching: Switching, options: SwitchOptions): Promise<void> {
  const { lab, before, plan, prepare, use } = switching
  const { force, signal } = options
  const ports = portsOf(lab.urls)
  const { targets, restarts } = movingIn(before, plan)
  const isMoving = (process: LabProcess): boolean => process.targets.some((target) => targets.includes(target))
  /** Processes that a way back has to replace. */
  let isBroken = (_process: LabProcess): boolean => false
  try {
    for (const target of force ? [] : targets) {
      signal?.throwIfAborted()
      await options.unmount(target)
      const known = isBroken
      isBroken = (process) => process.targets.includes(target) || known(process)
    }
    signal?.throwIfAborted()
    isBroken = (process) => (process.role === 'server' ? restarts : isMoving(process))
    // Mounts that are gone end their processes by themselves.
    await end((process) => process.role === 'mount' && isMoving(process), !force)
    if (restarts) await end(({ role }) => role === 'server')
    // Whoever has mounted the server besides, and the mounts that stay, find it again.
    await start(plan, { ports, ...(signal === undefined ? {} : { signal }) })
  } catch (error) {
    // Whoever stops the lab meanwhile wants no mode at all.
    if (lab.stopping) throw error
    await goBack(error)
    throw signal?.aborted
      ? new CliError(`interrupted: the mounts are ${modeOfLab(before)}, as before`, { cause: error })
      : error
  }

  async function end(which: (process: LabProcess) => boolean, ending = false): Promise<void> {
    for (const process of await lab.end(which, { graceMs: GRACE_MS, ending })) options.onKilled?.(process)
  }

  async function start(wanted: LabPlan, launch: LaunchOptions): Promise<void> {
    launch.signal?.throwIfAborted()
    const served = lab.processes.flatMap((process) => process.targets)
    for (const target of targetsIn(wanted).filter((one) => !served.includes(one))) {
      const names = await prepare(target)
      if (names.length > 0) options.onHidden?.(target, names)
    }
    use(wanted)
    await lab.launch(wanted, launch)
  }

  async function goBack(cause: unknown): Promise<void> {
    const wanted = targetsIn(plan)
    const old = { ...before, mounts: before.mounts.filter(({ target }) => wanted.includes(target)) }
    try {
      await end(isBroken)
      try {
        await start(old, { ports })
      } catch {
        // A port may be somebody else's by now.
        await end(() => true)
        await start(old, {})
      }
    } catch (error) {
      await end(() => true)
      lab.lose()
      const why = [cause, error].map((one) => (one instanceof Error ? one.message : String(one)))
      throw new CliError(
        `${why[0]}; mode ${modeOfLab(before)} could not be started again either: ${why[1]}; the lab is over`,
      )
    }
  }
}
