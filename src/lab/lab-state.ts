// `lab.json` in the data directory: what `proteus up` started, so that `proteus down` ends exactly that.
// It is written whole (a new file, renamed over the old), and claimed by linking, which only one process can.
import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ModeOption } from '../modes/mode.ts'
import { CliError, errorCode } from '../serving/errors.ts'
import { isAlive, type ProcessId } from '../serving/processes.ts'
import type { Driver, MountFlags } from '../serving/serving.ts'

/** How the mounts of a lab are made: what another mode's are to have in common with them. */
export interface MountSettings {
  readonly driver: Driver
  readonly options: MountFlags
  readonly modeOptions: readonly ModeOption[]
}

export interface LabProcess extends ProcessId {
  readonly role: 'server' | 'mount'
  /** The directories it serves; of a server those that are `local` beside it. */
  readonly targets: readonly string[]
}

export interface LabState {
  readonly version: 1
  readonly mode: string
  /** Data directory, absolute. */
  readonly data: string
  /** Absolute. */
  readonly mounts: readonly string[]
  readonly settings: MountSettings
  /** Where the mounts connect to, once it is known. */
  readonly url?: string
  /** The `up` that started the lab, or the last `switch` of one that goes on without its `up`. */
  readonly owner: ProcessId
  /** The lab goes on without its owner. Otherwise its processes close by themselves when the owner is gone. */
  readonly detached: boolean
  /** In the order of their start. */
  readonly processes: readonly LabProcess[]
}

const labPath = (data: string): string => join(data, 'lab.json')
export const logPath = (data: string): string => join(data, 'proteus.log')

export function isRunning(state: LabState): boolean {
  return isAlive(state.owner) || state.processes.some(isAlive)
}

/** The mounts that are `local` beside a server of the lab's mode. */
export function localTargetsOf(state: Pick<LabState, 'processes'>): readonly string[] {
  return state.processes.find(({ role }) => role === 'server')?.targets ?? []
}

/** The directories that its processes serve, or died of serving: those whose mounts were taken away before a switch are not. */
export function servedTargetsOf({ mounts, processes }: Pick<LabState, 'mounts' | 'processes'>): string[] {
  return mounts.filter((target) => processes.some(({ targets }) => targets.includes(target)))
}

/** What is written there, running or not; undefined if there is nothing. */
export function readLab(data: string): LabState | undefined {
  let text: string
  try {
    text = readFileSync(labPath(data), 'utf8')
  } catch (error) {
    if (errorCode(error) === 'ENOENT' || errorCode(error) === 'ENOTDIR') return undefined
    throw error
  }
  const state = parseLab(text)
  if (state === undefined) throw new CliError(`${labPath(data)} is damaged: remove it if nothing runs on it any more`)
  return state
}

/** Writes the first state of a lab; false if somebody else's is there. A lab whose processes are all gone is replaced. */
export function claimLab(state: LabState): boolean {
  // First of all: when there is no room for it, the old one must stay, which names the mounts that are left to clean.
  const draft = writeDraft(state)
  try {
    const old = readLab(state.data)
    if (old !== undefined && (isRunning(old) || !takeAway(old))) return false
    linkSync(draft, labPath(state.data))
    return true
  } catch (error) {
    if (errorCode(error) === 'EEXIST') return false
    throw error
  } finally {
    rmSync(draft, { force: true })
  }
}

/**
 * Makes the lab of `old` that of `owner`; the new state, or undefined if the lab is not as in `old` any more. Only one
 * process can: whoever has moved the old file away.
 */
export function takeOver(old: LabState, owner: ProcessId): LabState | undefined {
  const state = { ...old, owner }
  const draft = writeDraft(state)
  try {
    if (isAlive(old.owner) || !takeAway(old)) return undefined
    linkSync(draft, labPath(old.data))
    return state
  } catch (error) {
    if (errorCode(error) === 'EEXIST') return undefined
    throw error
  } finally {
    rmSync(draft, { force: true })
  }
}

export function writeLab(state: LabState): void {
  renameSync(writeDraft(state), labPath(state.data))
}

/** Removes the state that `owner` wrote, and nobody else's. */
export function removeLab(data: string, owner: ProcessId): void {
  const state = readLab(data)
  if (state !== undefined && isSame(state.owner, owner)) rmSync(labPath(data), { force: true })
}

/** Removes what `old` was read from. False if by now it is somebody else's, who must not lose it. */
function takeAway(old: LabState): boolean {
  const aside = `${labPath(old.data)}.${process.pid}.old`
  try {
    renameSync(labPath(old.data), aside)
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return true
    throw error
  }
  const taken = parseLab(readFileSync(aside, 'utf8'))
  const isTheirs = taken !== undefined && !isSame(taken.owner, old.owner)
  try {
    if (isTheirs) linkSync(aside, labPath(old.data))
  } catch (error) {
    if (errorCode(error) !== 'EEXIST') throw error
  }
  rmSync(aside, { force: true })
  return !isTheirs
}

const isSame = (a: ProcessId, b: ProcessId): boolean => a.pid === b.pid && a.startTime === b.startTime

function writeDraft(state: LabState): string {
  const draft = `${labPath(state.data)}.${process.pid}`
  try {
    writeFileSync(draft, `${JSON.stringify(state, null, 2)}\n`)
    return draft
  } catch (error) {
    rmSync(draft, { force: true })
    const code = errorCode(error)
    if (code !== 'ENOSPC' && code !== 'EDQUOT') throw error
    throw new CliError(`there is no room for ${draft}: make some on the file system that it is on`, { cause: error })
  }
}

/** Undefined unless it is a whole and sound state. */
export function parseLab(text: string): LabState | undefined {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined
  }
  return isLabState(value) ? value : undefined
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null
const isStrings = (value: unknown): boolean => Array.isArray(value) && value.every((item) => typeof item === 'string')

function isProcessId(value: unknown): boolean {
  // Process 1 and "my own group" (0 and below) are never ours to signal.
  return (
    isObject(value) &&
    Number.isSafeInteger(value.pid) &&
    (value.pid as number) > 1 &&
    Number.isSafeInteger(value.startTime)
  )
}

function isLabProcess(value: unknown): boolean {
  return (
    isProcessId(value) &&
    isObject(value) &&
    (value.role === 'server' || value.role === 'mount') &&
    isStrings(value.targets)
  )
}

export function isMountSettings(value: unknown): value is MountSettings {
  return (
    isObject(value) &&
    (value.driver === 'kernel' || value.driver === 'portable') &&
    isObject(value.options) &&
    Array.isArray(value.modeOptions) &&
    value.modeOptions.every(isModeOption)
  )
}

const isModeOption = (value: unknown): boolean =>
  isObject(value) && typeof value.name === 'string' && (value.value === undefined || typeof value.value === 'string')

function isLabState(value: unknown): value is LabState {
  return (
    isObject(value) &&
    value.version === 1 &&
    typeof value.mode === 'string' &&
    typeof value.data === 'string' &&
    isStrings(value.mounts) &&
    isMountSettings(value.settings) &&
    (value.url === undefined || typeof value.url === 'string') &&
    isProcessId(value.owner) &&
    typeof value.detached === 'boolean' &&
    Array.isArray(value.processes) &&
    value.processes.every(isLabProcess)
  )
}
