// One scenario from an empty directory to an empty directory: opens a lab of its own, plays, takes everything away,
// whatever happens in between.
import { mkdirSync, mkdtempSync, readdirSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { makeDirectory } from '../serving/directories.ts'
import { CliError } from '../serving/errors.ts'
import { readMountTable } from '../serving/mount-table.ts'
import { shown } from '../serving/shown.ts'
import { stackedFileSystem } from '../serving/stacked.ts'
import type { History, ScenarioEnd } from './history.ts'
import { type LabRequest, OpenLab } from './open-lab.ts'
import { RealStage, realClock } from './real-stage.ts'
import { runScenario } from './run-scenario.ts'
import { findMistakes, MOUNTS, modesOfMounts, type Scenario } from './scenario.ts'

/** How long a lab has to close in peace before it is killed, in milliseconds. */
const CLOSE_MS = 10_000

export interface PlayRequest
  extends Pick<LabRequest, 'protocols' | 'driver' | 'options' | 'modeOptions' | 'serverOptions' | 'program'> {
  readonly scenario: Scenario
  /** Whose scenario it is. */
  readonly mode: string
  /** The program of the command line, which commands know as `proteus`. */
  readonly main: string
  /** Where the lab is to be, absolute; empty or not there. Absent: in a temporary directory, which goes with it. */
  readonly directory?: string
  /** The lab goes on when the scenario is over. */
  readonly keep: boolean
  readonly history: History
  /** Ends it. */
  readonly signal: AbortSignal
  /** The lab can be killed from now on. */
  onLab(kill: () => void): void
}

export interface Played {
  /** Absent: it was skipped, or nothing can be said. */
  readonly end?: ScenarioEnd
  /** A step came too late: it may be played again. */
  readonly late?: true
  /** The lab that goes on. */
  readonly kept?: { readonly data: string; readonly mounts: readonly string[] }
}

export async function play(request: PlayRequest): Promise<Played> {
  const { scenario, mode, protocols, signal, keep } = request
  const modes = modesOfMounts(scenario, mode)
  const served = MOUNTS.filter((name) => protocols.includes(modes[name]))
  const mistakes = findMistakes(scenario, { served })
  if (mistakes.length > 0) throw new Error(`scenario ${mode}/${scenario.name}: ${mistakes.join('; ')}`)
  signal.throwIfAborted()
  const data = makePlace(request.directory)
  const mounts = { A: join(data, 'a'), B: join(data, 'b') }
  let kept = false
  try {
    const { driver, options, modeOptions, serverOptions = {}, program } = request
    const planned = MOUNTS.map((name) => ({ target: mounts[name], mode: modes[name] }))
    const plan = { data, mounts: planned, protocols, driver, options, modeOptions, serverOptions }
    const open = await OpenLab.claim({ ...plan, program, detached: keep })
    request.onLab(() => open.lab.kill())
    const stop = () => void open.lab.stop()
    signal.addEventListener('abort', stop)
    try {
      await open.start()
    } finally {
      signal.removeEventListener('abort', stop)
    }
    const stage = new RealStage({ open, mounts, mode, data, commands: makeCommands(data, request.main) })
    try {
      const { history } = request
      const reason = whyNot(scenario, open, data)
      if (reason !== undefined) {
        history.record({ event: 'skipped', mode, scenario: scenario.name, reason })
        return {}
      }
      const how = await runScenario(scenario, { mode, stage, clock: realClock, history, signal })
      const ended: Played = how === 'late' ? { late: true } : { end: how }
      if (!keep || ended.late) return ended
      await stage.clear()
      signal.throwIfAborted()
      open.lab.release()
      kept = true
      return { ...ended, kept: { data, mounts: Object.values(mounts) } }
    } finally {
      if (!kept) await close(open, stage)
    }
  } finally {
    if (!kept && request.directory === undefined) remove(data)
  }
}

/** What the scenario needs and this lab has not got; undefined if it can be played. */
function whyNot({ needs = [] }: Scenario, { lab }: OpenLab, data: string): string | undefined {
  if (needs.includes('root') && process.getuid?.() !== 0) return 'it needs root, who alone can act as other users'
  if (!needs.includes('passthrough')) return undefined
  const stacked = stackedFileSystem(data)
  if (stacked !== undefined) return `it needs passthrough, and ${shown(data)} is on ${stacked}`
  if (lab.mounts.every(({ abilities }) => abilities.passthrough)) return undefined
  return 'it needs passthrough, which `proteus doctor` says how to get'
}

function makePlace(directory: string | undefined): string {
  if (directory === undefined) return realpathSync(mkdtempSync(join(tmpdir(), 'proteus-demo-')))
  makeDirectory(directory, 0o700)
  if (readdirSync(directory).length === 0) return directory
  throw new CliError(`${shown(directory)} is not empty, and a scenario starts with nothing: choose another directory`)
}

/** A directory with a command `proteus`: this one. */
function makeCommands(data: string, main: string): string {
  const directory = join(data, 'bin')
  mkdirSync(directory)
  const quoted = [process.execPath, main].map((word) => `'${word.replaceAll("'", "'\\''")}'`)
  writeFileSync(join(directory, 'proteus'), `#!/bin/sh\nexec ${quoted.join(' ')} "$@"\n`, { mode: 0o755 })
  return directory
}

/** In peace if that can be had soon; what hangs is killed. */
async function close(open: OpenLab, stage: RealStage): Promise<void> {
  await stage.clear()
  const late = new AbortController()
  delay(CLOSE_MS, undefined, { signal: late.signal }).then(
    () => open.lab.kill(),
    () => undefined,
  )
  const left = await open.close().finally(() => late.abort())
  if (left.length > 0) throw new CliError(`still mounted: ${left.map((path) => shown(path)).join(', ')}`)
}

/** Never through a mount: that would remove what is mounted. */
function remove(data: string): void {
  const isMounted = readMountTable().some(({ target }) => target.startsWith(`${data}/`))
  if (!isMounted) rmSync(data, { recursive: true, force: true, maxRetries: 3 })
}
