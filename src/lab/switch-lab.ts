// Other semantics on the directories of a running lab: its mounts are taken away, its processes end, those of the new
// mode start. What fails on the way is undone: the mode before comes back, on the same directories and the same port.
import { isDeepStrictEqual } from 'node:util'
import { CliError } from '../serving/errors.ts'
import { type Lab, type LabPlan, type LaunchOptions, portOf } from './lab.ts'
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

type Arrangement = Pick<LabPlan, 'mode' | 'options' | 'localTargets'>

/**
 * Which of the plan's mounts are made anew, and whether the process that has the files is, too: it stays if its mode and
 * the mounts in it do. Then those mounts stay, too.
 */
export function movingIn(before: Arrangement, plan: Arrangement & Pick<LabPlan, 'targets'>) {
  const local = plan.localTargets ?? []
  const everything =
    plan.mode !== before.mode ||
    !isDeepStrictEqual(new Set(local), new Set(before.localTargets)) ||
    (local.length > 0 && !isDeepStrictEqual(plan.options, before.options))
  return { everything, targets: everything ? plan.targets : plan.targets.filter((target) => !local.includes(target)) }
}

/** Rejects with an error for people; then the lab is as it was before, or lost. */
export async function switchLab(switching: Switching, options: SwitchOptions): Promise<void> {
  const { lab, before, plan, prepare, use } = switching
  const { force, signal } = options
  const port = before.hasServer && lab.url !== undefined ? portOf(lab.url) : 0
  const { targets, everything } = movingIn(before, plan)
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
    isBroken = ({ role }) => role === 'mount' || everything
    // Mounts that are gone end their processes by themselves.
    await end(({ role }) => role === 'mount', !force)
    if (everything) await end(({ role }) => role === 'server')
    // Who has mounted the server besides finds it again.
    await start(plan, { port: plan.mode === before.mode ? port : 0, ...(signal === undefined ? {} : { signal }) })
  } catch (error) {
    // Whoever stops the lab meanwhile wants no mode at all.
    if (lab.stopping) throw error
    await goBack(error)
    throw signal?.aborted
      ? new CliError(`interrupted: the mounts are ${before.mode}, as before`, { cause: error })
      : error
  }

  async function end(which: (process: LabProcess) => boolean, ending = false): Promise<void> {
    for (const process of await lab.end(which, { graceMs: GRACE_MS, ending })) options.onKilled?.(process)
  }

  async function start(wanted: LabPlan, launch: LaunchOptions): Promise<void> {
    launch.signal?.throwIfAborted()
    const served = lab.processes.flatMap((process) => process.targets)
    for (const target of wanted.targets.filter((one) => !served.includes(one))) {
      const names = await prepare(target)
      if (names.length > 0) options.onHidden?.(target, names)
    }
    use(wanted)
    await lab.launch(wanted, launch)
  }

  async function goBack(cause: unknown): Promise<void> {
    const old = { ...before, targets: plan.targets }
    try {
      await end(isBroken)
      try {
        await start(old, { port })
      } catch {
        // Its port may be somebody else's by now.
        await end(() => true)
        await start(old, {})
      }
    } catch (error) {
      await end(() => true)
      lab.lose()
      const why = [cause, error].map((one) => (one instanceof Error ? one.message : String(one)))
      throw new CliError(`${why[0]}; mode ${before.mode} could not be started again either: ${why[1]}; the lab is over`)
    }
  }
}
