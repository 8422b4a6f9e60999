// `proteus down`: ends exactly what `proteus up` started on a data directory.
import { resolve } from 'node:path'
import type { Command } from 'commander'
import { targetsIn } from '../lab/lab-plan.ts'
import { type LabState, readLab, removeLab } from '../lab/lab-state.ts'
import { type Ending, endProcess, isAlive, signal, waitForEnd } from '../serving/processes.ts'
import { cleanTargets } from '../serving/target.ts'
import { CliError, usageError } from './exit.ts'
import { dataOption, examples, jsonOption } from './support/options.ts'
import { createOutput, type Output, shown } from './support/output.ts'

/** How long a process has to close in peace unless the user says otherwise, in seconds. */
const GRACE_SECONDS = '15'

interface DownOptions {
  readonly data: string
  readonly timeout: number
  readonly json?: boolean
}

export function define(command: Command): void {
  command
    .addOption(dataOption())
    .option('--timeout <seconds>', 'how long to wait before killing', parseSeconds, parseSeconds(GRACE_SECONDS))
    .addOption(jsonOption())
    .addHelpText('after', examples('proteus down', 'proteus down --data /srv/lab --timeout 60'))
    .action(down)
}

function parseSeconds(text: string): number {
  if (!/^\d{1,5}$/.test(text)) throw usageError('--timeout needs a number of seconds')
  return Number(text)
}

async function down(options: DownOptions): Promise<void> {
  const output = createOutput(options.json)
  const data = resolve(options.data)
  const state = readLab(data)
  if (state === undefined) {
    output.result({ event: 'stopped', data, processes: [] })
    output.line(`Nothing runs on ${shown(data)}.`)
    return
  }
  const endings = await endLab(state, options.timeout * 1000, output)
  const left = await cleanTargets(targetsIn(state))
  removeLab(data, state.owner)
  output.result({ event: 'stopped', data, processes: endings })
  if (left.length > 0) throw new CliError(`still mounted: ${left.map((path) => shown(path)).join(', ')}`)
  const gone = targetsIn(state).map((path) => shown(path))
  output.line(`Stopped; the mounts are gone: ${gone.join(', ')}`)
}

/** Ends all processes of a lab, whatever state they are in. */
async function endLab(state: LabState, graceMs: number, output: Output): Promise<{ pid: number; ending: Ending }[]> {
  const before = state.processes.filter(isAlive)
  // An `up` that watches over the lab closes it in order, also one that is just starting it.
  signal(state.owner, 'SIGTERM')
  await waitForEnd(state.owner, graceMs)

  // What it may have started after we looked counts too.
  const processes = (readLab(state.data) ?? state).processes
  const endings: { pid: number; ending: Ending }[] = []
  for (const role of ['mount', 'server'] as const) {
    const group = processes.filter((process) => process.role === role)
    const ended = await Promise.all(group.map((process) => endProcess(process, graceMs)))
    for (const [i, ending] of ended.entries()) {
      const process = group[i]
      if (process === undefined) continue
      if (ending === 'killed')
        output.warn(`process ${process.pid} (${role}) did not close within ${graceMs / 1000} s: killed`)
      const closedByOwner = ending === 'gone' && before.some(({ pid }) => pid === process.pid)
      endings.push({ pid: process.pid, ending: closedByOwner ? 'closed' : ending })
    }
  }
  await endProcess(state.owner, graceMs)
  return endings
}
