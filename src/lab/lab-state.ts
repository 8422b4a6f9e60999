// `lab.json` in the data directory: what `proteus up` started, so that `proteus down` ends exactly that.
// It is written whole (a new file, renamed over the old), and claimed by linking, which only one process can.
import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { CliError, errorCode } from '../serving/errors.ts'
import { isAlive, type ProcessId } from '../serving/processes.ts'
import { isLayout, isMountSettings, isObject, isStrings } from './lab-check.ts'
import type { LabMount, LabPlan, MountSettings, Urls } from './lab-plan.ts'

export interface LabProcess extends ProcessId {
  readonly role: 'server' | 'mount'
  /** The directories it serves; of a server those that are mounted beside it. */
  readonly targets: readonly string[]
}

export interface LabState {
  readonly version: 2
  /** Data directory, absolute. */
  readonly data: string
  /** All that the lab was started with: also those that are unmounted by now. */
  readonly mounts: readonly LabMount[]
  /** The modes that its server serves; none: it has no server. */
  readonly protocols: readonly string[]
  readonly settings: MountSettings
  /** Where the mounts connect to, as far as it is known. */
  readonly urls: Urls
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

/** The mounts that its processes serve, or died of serving: those that were taken away before a switch are not. */
export function servedMountsOf({ mounts, processes }: Pick<LabState, 'mounts' | 'processes'>): LabMount[] {
  return mounts.filter(({ target }) => processes.some(({ targets }) => targets.includes(target)))
}

/** The state of a lab that follows a plan from now on. Mounts that the plan has not stay as they are. */
export function following(state: LabState, plan: LabPlan): LabState {
  const { protocols, driver, options, modeOptions } = plan
  const mounts = state.mounts.map((mount) => plan.mounts.find(({ target }) => target === mount.target) ?? mount)
  return { ...state, mounts, protocols, settings: { driver, options, modeOptions } }
}

/** What the mounts follow that its processes serve. */
export function planOf(state: Pick<LabState, 'data' | 'protocols' | 'settings' | 'mounts' | 'processes'>): LabPlan {
  const { data, protocols, settings } = state
  return { data, protocols, ...settings, mounts: servedMountsOf(state) }
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

function isLabState(value: unknown): value is LabState {
  return (
    isObject(value) &&
    value.version === 2 &&
    typeof value.data === 'string' &&
    isLayout(value) &&
    isMountSettings(value.settings) &&
    isUrls(value.urls) &&
    isProcessId(value.owner) &&
    typeof value.detached === 'boolean' &&
    Array.isArray(value.processes) &&
    value.processes.every(isLabProcess)
  )
}

const isUrls = (value: unknown): boolean =>
  isObject(value) && Object.entries(value).every(([mode, url]) => typeof url === 'string' && url.startsWith(`${mode}:`))
