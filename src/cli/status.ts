// `proteus status`: the lab on a data directory, its processes and its mounts.
import { resolve } from 'node:path'
import type { Command } from 'commander'
import { mainUrl, modeOfLab, targetsIn } from '../lab/lab-plan.ts'
import { isRunning, type LabState, readLab } from '../lab/lab-state.ts'
import { mountedOn, readMountTable } from '../serving/mount-table.ts'
import { isAlive } from '../serving/processes.ts'
import { targetState } from '../serving/target.ts'
import { describeError, EXIT } from './exit.ts'
import { type MountStatus, readStatus } from './support/control-access.ts'
import { dataOption, examples, jsonOption } from './support/options.ts'
import { columns, createOutput, type Output, shown } from './support/output.ts'

interface StatusOptions {
  readonly data: string
  readonly json?: boolean
}

/** One mount: what it says of itself, or why it says nothing. */
type MountReport = { readonly target: string } & ({ readonly status: MountStatus } | { readonly problem: string })

export function define(command: Command): void {
  command
    .addOption(dataOption())
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `${examples('proteus status', 'proteus status --json')}\n\nThe exit code is 0 if everything that \`up\` started runs and answers.`,
    )
    .action(status)
}

async function status(options: StatusOptions): Promise<void> {
  const output = createOutput(options.json)
  const data = resolve(options.data)
  const state = readLab(data)
  if (state === undefined || !isRunning(state)) {
    process.exitCode = EXIT.failed
    const left = state === undefined ? [] : await staleMounts(state)
    output.result({ running: false, data, stale: left })
    output.line(`Nothing runs on ${shown(data)}${state === undefined ? '' : ' any more'}: \`proteus up\` starts a lab.`)
    if (left.length > 0)
      output.line(
        `Dead mounts are left on ${left.map((path) => shown(path)).join(', ')}: \`proteus down\` cleans them.`,
      )
    return
  }
  const mounts = await Promise.all(targetsIn(state).map(report))
  const processes = state.processes.map((process) => ({ ...process, alive: isAlive(process) }))
  const well = processes.every(({ alive }) => alive) && mounts.every((mount) => 'status' in mount)
  if (!well) process.exitCode = EXIT.failed
  const { urls } = state
  const url = mainUrl(urls)
  output.result({ running: true, well, mode: modeOfLab(state), data, url, urls, processes, mounts })
  show(output, state, processes, mounts)
}

/** Mounts that a killed server left behind. */
async function staleMounts(state: LabState): Promise<string[]> {
  const targets = targetsIn(state)
  const states = await Promise.all(targets.map(targetState))
  return targets.filter((_, i) => states[i] === 'stale')
}

async function report(target: string): Promise<MountReport> {
  if (mountedOn(target, readMountTable()) === undefined) return { target, problem: 'not mounted' }
  try {
    return { target, status: await readStatus(target) }
  } catch (error) {
    return { target, problem: describeError(error, false) }
  }
}

function show(
  output: Output,
  state: LabState,
  processes: readonly (LabState['processes'][number] & { alive: boolean })[],
  mounts: readonly MountReport[],
): void {
  const { bold, green, red } = output.colors
  output.line(`${bold(modeOfLab(state))} lab on ${shown(state.data)}`)
  for (const { role, pid, alive } of processes) {
    output.line(`  ${alive ? green('runs') : red('dead')}  ${role} process ${pid}`)
  }
  const lines = columns(mounts.map((mount) => [shown(mount.target), describeMount(mount, modeOfLab(state))]))
  for (const [i, mount] of mounts.entries()) {
    output.line(`  ${'status' in mount ? green('ok  ') : red('bad ')}  ${lines[i]}`)
  }
}

function describeMount(mount: MountReport, labMode: string): string {
  if ('problem' in mount) return mount.problem
  const { mode } = mount.status
  return `${mode === labMode ? '' : `${mode}, `}since ${mount.status.since}; more in ${shown(mount.target)}/.proteus/status`
}
