// `proteus up`: starts a lab, shows its mounts and what to try, and stops it at Ctrl-C.
import { resolve } from 'node:path'
import type { Command } from 'commander'
import { CliError } from './exit.ts'
import { loadMode, modeNames } from './modes.ts'
import { makeDirectory, realTarget } from './support/directories.ts'
import { explainStart } from './support/explain-start.ts'
import { Lab } from './support/lab.ts'
import { claimLab, type LabState, logPath, readLab, removeLab, writeLab } from './support/lab-state.ts'
import { resolveMountOptions } from './support/mount-options.ts'
import { readMountTable } from './support/mount-table.ts'
import {
  DEFAULT_MOUNTS,
  dataOption,
  driverOption,
  examples,
  invocation,
  jsonOption,
  mountOptionsOption,
  parseDirectories,
} from './support/options.ts'
import { createOutput, type Output, shown } from './support/output.ts'
import { isAlive, type ProcessId, processNow, waitForEnd } from './support/processes.ts'
import { type Driver, describeExit, startServing } from './support/serving.ts'
import { type StopSignals, stopOnSignals } from './support/signals.ts'
import { checkLayout, cleanTargets, prepareTarget } from './support/target.ts'

/** How long a lab that is closing by itself may take before a new one gives up, in milliseconds. */
const ORPHAN_MS = 10_000

interface UpOptions {
  readonly mode: string
  readonly data: string
  readonly mounts: string
  readonly detach?: boolean
  readonly driver: Driver
  readonly options: readonly string[]
  readonly json?: boolean
}

export function define(command: Command): void {
  command
    .option('--mode <mode>', `semantics of the mounts: ${modeNames.join(', ')}`, 'local')
    .addOption(dataOption())
    .option('--mounts <dirs>', 'where to mount, separated by commas', DEFAULT_MOUNTS)
    .option('--detach', 'return when everything runs; `proteus down` stops it')
    .addOption(driverOption())
    .addOption(mountOptionsOption())
    .addOption(jsonOption())
    .addHelpText(
      'after',
      examples('proteus up', 'proteus up --data /srv/lab --mounts /mnt/a,/mnt/b --detach', 'proteus up -o ro,noexec'),
    )
    .action(up)
}

async function up(options: UpOptions): Promise<void> {
  const output = createOutput(options.json)
  const mode = await loadMode(options.mode)
  const data = resolve(options.data)
  const table = readMountTable()
  const targets = parseDirectories(options.mounts).map((path) => realTarget(path, table))
  const flags = resolveMountOptions(options.options)
  checkLayout(targets, realTarget(data, table))
  makeDirectory(data, 0o700)

  const owner = processNow(process.pid)
  if (owner === undefined) throw new CliError('/proc is not mounted: it is needed to tell processes apart')
  const detached = options.detach === true
  const first: LabState = { version: 1, mode: mode.name, data, mounts: targets, owner, detached, processes: [] }
  await waitForOrphans(data)
  if (!claimLab(first)) throw new CliError(describeRunning(data))

  const lab = new Lab({
    start: (spec) =>
      startServing(spec, {
        log: logPath(data),
        onBusy: ({ target, users }) => {
          const who = users.length > 0 ? ` by ${users.join(', ')}` : ''
          output.warn(`${shown(target)} is in use${who}: it is detached, what is open there ends soon`)
        },
      }),
    onChange: ({ processes, url }) => writeLab({ ...first, processes, ...(url === undefined ? {} : { url }) }),
  })
  const stop = stopOnSignals(lab, output)
  const prepared: string[] = []
  try {
    for (const target of targets) {
      const { cleaned } = await prepareTarget(target)
      prepared.push(target)
      if (cleaned) output.warn(`${shown(target)} had a mount whose server had died: cleaned`)
    }
    await lab.start({
      mode: mode.name,
      hasServer: mode.serve !== undefined,
      data,
      targets,
      driver: options.driver,
      options: flags,
    })
    if (detached && stop.requested) {
      await lab.stop()
      throw new Error('interrupted')
    }
  } catch (error) {
    await cleanTargets(prepared)
    removeLab(data, owner)
    stop.dispose()
    if (!stop.requested) throw await explainStart(error, `${mode.name}:${data}`)
    // Whoever waits to go on with a lab in the background has got none; in the foreground this is what was asked for.
    if (detached) throw new CliError('interrupted before it was ready; nothing is left running')
    sayStopped(output)
    return
  }

  // Whoever reads "ready" has a lab, even if Ctrl-C comes between that line and the end of this process.
  if (detached) {
    stop.ignore()
    lab.release()
  }
  output.result({
    event: 'ready',
    mode: mode.name,
    mounts: targets,
    pid: lab.processes[0]?.pid,
    data,
    url: lab.url,
    processes: lab.processes,
  })
  showReady(output, lab, { data, detached })
  if (detached) return
  await watch({ lab, stop, output, data, owner })
  stop.dispose()
}

/** A lab whose `up` was killed closes by itself; that may take a moment. */
async function waitForOrphans(data: string): Promise<void> {
  const old = readLab(data)
  if (old === undefined || old.detached || isAlive(old.owner)) return
  await Promise.all(old.processes.map((process) => waitForEnd(process, ORPHAN_MS)))
}

interface Watched {
  readonly lab: Lab
  readonly stop: StopSignals
  readonly output: Output
  readonly data: string
  readonly owner: ProcessId
}

/** Waits for the end of the lab, however it comes, and cleans up after it. */
async function watch({ lab, stop, output, data, owner }: Watched): Promise<void> {
  const end = await lab.ended
  await lab.stop()
  const left = await cleanTargets(lab.mounts.map(({ target }) => target))
  removeLab(data, owner)
  if (end !== 'closed') {
    const { role, pid } = end.process
    output.result({ event: 'died', role, pid, exit: end.exit, log: logPath(data) })
    const cleaned =
      left.length === 0 ? 'the mounts are cleaned' : `still mounted: ${left.map((path) => shown(path)).join(', ')}`
    if (stop.requested) throw new CliError(`stopped by force; ${cleaned}`)
    const what = role === 'mount' ? 'the process that serves the mounts' : 'the server'
    const log = shown(logPath(data))
    throw new CliError(`${what} (${pid}) died: ${describeExit(end.exit)}; ${cleaned}; its log is ${log}`)
  }
  sayStopped(output)
}

function sayStopped(output: Output): void {
  output.result({ event: 'stopped' })
  output.line('Unmounted and stopped.')
}

function describeRunning(data: string): string {
  const state = readLab(data)
  const stop = `\`proteus down --data ${shown(data)}\` stops it`
  if (state === undefined || state.processes.length === 0) return `a lab is being started on ${shown(data)}: ${stop}`
  const mounts = state.mounts.map((path) => shown(path)).join(', ')
  const pids = state.processes.map(({ pid }) => pid).join(', ')
  return `a ${state.mode} lab runs on ${shown(data)} already, mounted on ${mounts} (process ${pids}): ${stop}`
}

function showReady(output: Output, lab: Lab, { data, detached }: { data: string; detached: boolean }): void {
  const { bold, cyan, dim } = output.colors
  const proteus = invocation()
  const paths = lab.mounts.map(({ target }) => shown(target))
  const [a = '', b = a] = paths
  output.line(`${bold('Proteus')} ${lab.url}`)
  output.line()
  for (const path of paths) output.line(`  ${cyan(path)}`)
  for (const limitation of new Set(lab.mounts.flatMap(({ limitations }) => limitations))) output.warn(limitation)
  output.line()
  output.line(`All of them show the same files. To try${detached ? '' : ', in another terminal'}:`)
  output.line()
  output.line(`  echo hello > ${a}/note && cat ${b}/note`)
  output.line(`  cat ${a}/.proteus/status`)
  output.line(`  ${proteus} trace ${a} ${dim('# and work there')}`)
  output.line()
  const dataOption = shown(data) === '.proteus-data' ? '' : ` --data ${shown(data)}`
  output.line(detached ? `\`${proteus} down${dataOption}\` unmounts and stops.` : 'Ctrl-C unmounts and stops.')
}
