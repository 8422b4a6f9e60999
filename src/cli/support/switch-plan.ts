// What `proteus switch` is to do to a lab, from what the lab is and what was asked. Pure.
import type { LabPlan } from '../../lab/lab.ts'
import type { LabState } from '../../lab/lab-state.ts'
import { type Mode, type ModeOption, ModeOptionError } from '../../modes/mode.ts'
import { CliError, usageError } from '../exit.ts'
import { checkModeOptions, type ParsedMountOptions } from './mount-options.ts'
import { shown } from './output.ts'

export interface SwitchWish {
  readonly mode: Mode
  /** Of `-o`; undefined if there was none. */
  readonly options?: ParsedMountOptions
  /** Absolute; none: all mounts. */
  readonly directories: readonly string[]
}

export interface SwitchPlan {
  readonly plan: LabPlan
  /** Options of the mounts before that the new mode does not know, as `-o` writes them. */
  readonly dropped: readonly string[]
}

type Lab = Pick<LabState, 'mode' | 'data' | 'mounts' | 'settings'>

/** Undefined: everything is as it is wished already. `mounted`: those of the lab's directories that have a mount. */
export function planSwitch(lab: Lab, wish: SwitchWish, mounted: readonly string[]): SwitchPlan | undefined {
  const { mode, options, directories } = wish
  const isSame = mode.name === lab.mode
  checkDirectories(lab, directories)
  if (isSame && options === undefined) return undefined
  checkAll(lab, directories, mounted)
  if (mounted.length === 0) throw new CliError('the lab has no mount any more: `proteus down` ends it')
  const { driver, options: flags, modeOptions } = lab.settings
  const kept = isSame ? modeOptions : modeOptions.filter((option) => knows(mode, option))
  const all = [...kept, ...(options?.modeOptions ?? [])]
  checkModeOptions(mode, all)
  return {
    plan: {
      mode: mode.name,
      hasServer: mode.serve !== undefined,
      data: lab.data,
      targets: mounted,
      driver,
      options: { ...flags, ...options?.flags },
      modeOptions: all,
    },
    dropped: modeOptions.filter((option) => !kept.includes(option)).map(describeOption),
  }
}

const names = (paths: readonly string[]): string => paths.map((path) => shown(path)).join(', ')

function checkDirectories({ mounts }: Lab, directories: readonly string[]): void {
  const foreign = directories.find((path) => !mounts.includes(path))
  if (foreign !== undefined) throw usageError(`${shown(foreign)} is not a mount of this lab: it has ${names(mounts)}`)
}

/** One process may hold the volume, and there is one volume: its mounts have one mode. */
function checkAll({ mode }: Lab, directories: readonly string[], mounted: readonly string[]): void {
  const rest = mounted.filter((path) => !directories.includes(path))
  if (directories.length === 0 || rest.length === 0) return
  throw usageError(
    `${names(rest)} cannot stay ${mode} alone: one process holds the files, so all mounts of a lab switch together`,
  )
}

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
