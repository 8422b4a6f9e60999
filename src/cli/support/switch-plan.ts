// What `proteus switch` is to do to a lab, from what the lab is and what was asked. Pure.
import { isDeepStrictEqual } from 'node:util'
import { type LabMount, type LabPlan, modesOf, optionsOf, targetsIn } from '../../lab/lab-plan.ts'
import { type LabState, planOf } from '../../lab/lab-state.ts'
import { movingIn } from '../../lab/switch-lab.ts'
import type { Mode, ModeOption } from '../../modes/mode.ts'
import { CliError, usageError } from '../exit.ts'
import { checkModeOptions, knowsOption, type ParsedMountOptions } from './mount-options.ts'
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
  /** The mounts that are made anew: also some that keep their mode, if their process does not stay. */
  readonly moving: readonly string[]
  /** Options of the mounts before that the new mode does not know, as `-o` writes them. */
  readonly dropped: readonly string[]
}

type Lab = Pick<LabState, 'data' | 'mounts' | 'protocols' | 'settings' | 'processes'>

/** Undefined: everything is as it is wished already. `mounted`: those of the lab's directories that have a mount. */
export function planSwitch(lab: Lab, wish: SwitchWish, mounted: readonly string[]): SwitchPlan | undefined {
  const { mode, options } = wish
  const before = planOf(lab)
  const wished = wishedOf(lab, wish, mounted)
  const modes = modesOf(before)
  // Somebody was killed between the end of a server and its new beginning.
  const lacksServer = before.protocols.length > 0 && !lab.processes.some(({ role }) => role === 'server')
  const isAsWished = options === undefined && wished.every((target) => modes[target] === mode.name)
  if (isAsWished && !lacksServer) return undefined

  const mounts = mounted.map((target) => ({
    target,
    mode: wished.includes(target) ? mode.name : (modes[target] ?? mode.name),
  }))
  const protocols = protocolsOf(mounts, [...before.protocols, ...(mode.serve === undefined ? [] : [mode.name])])
  const { modeOptions, dropped } = mixOptions(before, mounts, wish)
  const plan: LabPlan = {
    ...before,
    mounts,
    protocols,
    options: { ...before.options, ...options?.flags },
    modeOptions,
  }
  checkCommonOptions(before, plan, { mode: mode.name, wished })
  const { targets: moving, restarts } = movingIn(before, plan)
  return moving.length === 0 && !restarts && !lacksServer
    ? undefined
    : { plan, moving, dropped: dropped.map(describeOption) }
}

/** The mounts that are meant. */
function wishedOf(lab: Lab, { directories }: SwitchWish, mounted: readonly string[]): readonly string[] {
  const wished = directories.length > 0 ? directories : mounted
  const foreign = wished.find((path) => !targetsIn(lab).includes(path))
  if (foreign !== undefined) {
    throw usageError(`${shown(foreign)} is not a mount of this lab: it has ${names(targetsIn(lab))}`)
  }
  const gone = wished.filter((path) => !mounted.includes(path))
  if (gone.length > 0) throw new CliError(`${names(gone)}: nothing is mounted there any more`)
  if (mounted.length === 0) throw new CliError('the lab has no mount any more: `proteus down` ends it')
  return wished
}

/** Those of the modes with a server that mounts need. */
export function protocolsOf(mounts: readonly LabMount[], served: readonly string[]): readonly string[] {
  const used = new Set(mounts.map(({ mode }) => mode))
  const protocols = [...new Set(served)].filter((name) => used.has(name))
  if (protocols.length > 0 || used.size === 1) return protocols
  throw usageError(`${[...used].join(' and ')} cannot be in one lab: neither has a server for the files of both`)
}

/** A mode that was there keeps its options, another inherits those that it knows; the wish comes on top. */
function mixOptions(before: LabPlan, mounts: readonly LabMount[], { mode, options }: SwitchWish) {
  const used = new Set(mounts.map((mount) => mount.mode))
  const all = Object.entries(before.modeOptions)
  const inherited = before.mounts.some((mount) => mount.mode === mode.name)
    ? optionsOf(before, mode.name)
    : all.flatMap(([, theirs]) => theirs.filter((option) => knowsOption(mode, option)))
  const own = [...inherited, ...(options?.modeOptions ?? [])]
  checkModeOptions(mode, own)
  const staying = all.filter(([name]) => used.has(name) && name !== mode.name)
  return {
    modeOptions: Object.fromEntries([...staying, ...(own.length > 0 ? [[mode.name, own] as const] : [])]),
    dropped: all.flatMap(([name, theirs]) => (used.has(name) ? [] : theirs.filter((option) => !own.includes(option)))),
  }
}

/** Options are one set for all mounts of a mode, and those that mount(8) knows, for all mounts of a lab. */
function checkCommonOptions(
  before: LabPlan,
  plan: LabPlan,
  { mode, wished }: { readonly mode: string; readonly wished: readonly string[] },
): void {
  const isForAll = !isDeepStrictEqual(plan.options, before.options)
  const isForMode = !isDeepStrictEqual(optionsOf(plan, mode), optionsOf(before, mode))
  const concerned = plan.mounts.filter(
    (mount) => !wished.includes(mount.target) && (isForAll || (isForMode && mount.mode === mode)),
  )
  if (concerned.length === 0) return
  throw usageError(`these options would hold for ${names(targetsIn({ mounts: concerned }))}, too: name all, or none`)
}

const names = (paths: readonly string[]): string => paths.map((path) => shown(path)).join(', ')

const describeOption = ({ name, value }: ModeOption): string => (value === undefined ? name : `${name}=${value}`)
