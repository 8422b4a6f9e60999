// What `proteus switch` is to do to a lab, from what the lab is and what was asked. Pure.
//
// One process has the files of a lab. Without a server that one serves all mounts. With one, the others are processes of
// their own, and `local` mounts are in the server's process. So a lab has `local` mounts and those of one other mode.
import { isDeepStrictEqual } from 'node:util'
import type { LabPlan } from '../../lab/lab.ts'
import { type LabState, localTargetsOf } from '../../lab/lab-state.ts'
import { movingIn } from '../../lab/switch-lab.ts'
import { type Mode, type ModeOption, ModeOptionError } from '../../modes/mode.ts'
import { CliError, usageError } from '../exit.ts'
import { checkModeOptions, type ParsedMountOptions } from './mount-options.ts'
import { shown } from './output.ts'

/** The mode whose mounts can be beside a server. */
const LOCAL = 'local'

export interface SwitchWish {
  readonly mode: Mode
  /** Of `-o`; undefined if there was none. */
  readonly options?: ParsedMountOptions
  /** Absolute; none: all mounts. */
  readonly directories: readonly string[]
}

export interface SwitchPlan {
  readonly plan: LabPlan
  /** The mounts that are made anew: also some that keep their mode, if their process does not stay. */
  readonly moving: readonly string[]
  /** Options of the mounts before that the new mode does not know, as `-o` writes them. */
  readonly dropped: readonly string[]
}

type Lab = Pick<LabState, 'mode' | 'data' | 'mounts' | 'settings' | 'processes'>

/** Undefined: everything is as it is wished already. `mounted`: those of the lab's directories that have a mount. */
export function planSwitch(lab: Lab, wish: SwitchWish, mounted: readonly string[]): SwitchPlan | undefined {
  const { mode, options } = wish
  const wished = wish.directories.length > 0 ? wish.directories : mounted
  const foreign = wished.find((path) => !lab.mounts.includes(path))
  if (foreign !== undefined) {
    throw usageError(`${shown(foreign)} is not a mount of this lab: it has ${names(lab.mounts)}`)
  }
  const gone = wished.filter((path) => !mounted.includes(path))
  if (gone.length > 0) throw new CliError(`${names(gone)}: nothing is mounted there any more`)
  if (mounted.length === 0) throw new CliError('the lab has no mount any more: `proteus down` ends it')

  const wasLocal = localTargetsOf(lab)
  const modeOf = (target: string): string => (wasLocal.includes(target) ? LOCAL : lab.mode)
  if (options === undefined && wished.every((target) => modeOf(target) === mode.name)) return undefined
  const after = new Map(mounted.map((target) => [target, wished.includes(target) ? mode.name : modeOf(target)]))
  const serverMode = serverModeOf(after, mode.name)
  const name = serverMode ?? LOCAL
  const rest = mounted.filter((target) => !wished.includes(target))

  const { driver, options: flags, modeOptions } = lab.settings
  checkModeOptions(mode, options?.modeOptions ?? [])
  const kept = name === lab.mode ? modeOptions : modeOptions.filter((option) => knows(mode, option))
  const all = [...kept, ...(options?.modeOptions ?? [])]
  if (name === mode.name) checkModeOptions(mode, all)
  const plan: LabPlan = {
    mode: name,
    hasServer: serverMode !== undefined,
    data: lab.data,
    targets: mounted,
    localTargets: serverMode === undefined ? [] : mounted.filter((target) => after.get(target) === LOCAL),
    driver,
    options: { ...flags, ...options?.flags },
    modeOptions: all,
  }
  checkCommonOptions(lab, plan, rest)
  return {
    plan,
    moving: movingIn({ mode: lab.mode, options: flags, localTargets: wasLocal }, plan).targets,
    dropped: modeOptions.filter((option) => !kept.includes(option)).map(describeOption),
  }
}

export const modeIn = (plan: LabPlan, target: string): string =>
  plan.localTargets?.includes(target) ? LOCAL : plan.mode

function serverModeOf(modes: ReadonlyMap<string, string>, wished: string): string | undefined {
  const served = [...modes].filter(([, mode]) => mode !== LOCAL)
  const other = served.filter(([, mode]) => mode !== wished).map(([target]) => target)
  if (wished !== LOCAL && other.length > 0) {
    throw usageError(
      `${names(other)} cannot stay what it is: a lab has one server, beside which mounts can be ${LOCAL}`,
    )
  }
  return served[0]?.[1]
}

/** Options are one set for all mounts of a lab, as far as they concern them. */
function checkCommonOptions({ settings }: Lab, plan: LabPlan, rest: readonly string[]): void {
  const concerned = isDeepStrictEqual(plan.options, settings.options)
    ? isDeepStrictEqual(plan.modeOptions, settings.modeOptions)
      ? []
      : rest.filter((target) => modeIn(plan, target) === plan.mode && plan.hasServer)
    : rest
  if (concerned.length > 0) throw usageError(`these options would hold for ${names(concerned)}, too: name all, or none`)
}

const names = (paths: readonly string[]): string => paths.map((path) => shown(path)).join(', ')

function knows(mode: Mode, option: ModeOption): boolean {
  try {
    if (mode.checkOptions === undefined) return false
    mode.checkOptions([option])
    return true
  } catch (error) {
    if (error instanceof ModeOptionError) return false
    throw error
  }
}

const describeOption = ({ name, value }: ModeOption): string => (value === undefined ? name : `${name}=${value}`)
