// `proteus switch`: other semantics on the mounts of a running lab, with the same files.
import { resolve } from 'node:path'
import type { Command } from 'commander'
import { mainUrl, modeOfLab, targetsIn } from '../lab/lab-plan.ts'
import { isRunning, type LabState, readLab, servedMountsOf } from '../lab/lab-state.ts'
import { OpenLab } from '../lab/open-lab.ts'
import { askForSwitch, type SwitchContext, type Switched, type SwitchRequest } from '../lab/switch-channel.ts'
import { realTarget } from '../serving/directories.ts'
import { entangledWith, fuseMountedOf, readMountTable } from '../serving/mount-table.ts'
import { type UsedFile, usedFiles } from '../serving/open-files.ts'
import { isAlive } from '../serving/processes.ts'
import { CliError } from './exit.ts'
import { loadMode, modeNames } from './modes.ts'
import { DAEMON } from './support/daemon-program.ts'
import { mountsOf } from './support/explain-start.ts'
import { resolveMountOptions } from './support/mount-options.ts'
import { dataOption, examples, jsonOption, mountOptionsOption } from './support/options.ts'
import { columns, createOutput, type Output, shown } from './support/output.ts'
import { stopOnSignals } from './support/signals.ts'
import { planSwitch, type SwitchPlan } from './support/switch-plan.ts'
import { describeModes, runSwitch, watchful } from './support/switching.ts'

interface SwitchCommandOptions {
  readonly data: string
  readonly force?: boolean
  readonly options: readonly string[]
  readonly json?: boolean
}

const NOTES = `
Without DIR all mounts of the lab switch. One process has the files: the server of all modes that have one, with the
local mounts beside it. Where that is another process afterwards, local mounts are made anew, also those that stay local.
Mounts of a mode with a server wait for it meanwhile, as if it had crashed, and go on.

If programs have anything open on these mounts it is listed, nothing is changed, and the exit code is 1. With --force
they lose it, as if the server had vanished. If the new mode cannot be started, the mounts are again what they were.

Options of \`up\` stay if the new mode knows them; those of -o come on top.`

export function define(command: Command): void {
  command
    .argument('<mode>', `semantics of the mounts: ${modeNames.join(', ')}`)
    .argument('[dir...]', 'mounts of the lab')
    .addOption(dataOption())
    .option('--force', 'even if programs have files open there')
    .addOption(mountOptionsOption())
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `${examples(
        'proteus switch nfs',
        'proteus switch nfs mount/b -o actimeo=1',
        'proteus switch local --force',
      )}\n${NOTES}`,
    )
    .action(switchMode)
}

async function switchMode(name: string, directories: readonly string[], options: SwitchCommandOptions): Promise<void> {
  const output = createOutput(options.json)
  const force = options.force === true
  const data = resolve(options.data)
  const mode = await loadMode(name)
  const wanted = options.options.length > 0 ? { options: resolveMountOptions(options.options, mode) } : {}
  const lab = readLab(data)
  if (lab === undefined || !isRunning(lab)) {
    throw new CliError(`nothing runs on ${shown(data)}: \`proteus up --mode ${name}\` starts a lab`)
  }
  if (lab.detached && isAlive(lab.owner)) {
    throw new CliError(`another command is at work on the lab on ${shown(data)}: try again`)
  }
  const table = readMountTable()
  const mounted = fuseMountedOf(targetsIn({ mounts: servedMountsOf(lab) }), table)
  const wish = { mode, ...wanted, directories: directories.map((directory) => realTarget(directory, table)) }
  const planned = planSwitch(lab, wish, mounted)
  if (planned === undefined) {
    const wished = wish.directories.length > 0 ? wish.directories : mounted
    output.result({ event: 'unchanged', mode: name, mounts: wished })
    output.line(`${wished.map((path) => shown(path)).join(', ')}: mode ${name} already.`)
    return
  }
  const { plan, moving, dropped } = planned
  await checkSurroundings(lab, planned)
  checkFiles(usedFiles(moving), { force, output })
  for (const option of dropped) output.warn(`mode ${name} has no mount option ${option}: dropped`)

  const aborting = new AbortController()
  const abort = (): void => aborting.abort()
  // Midway there is nothing that could be left as it is: a second signal changes nothing.
  const stop = stopOnSignals({ stop: abort, kill: () => undefined }, output, 'Going back …')
  try {
    const context = { signal: aborting.signal, warn: (text: string) => output.warn(text) }
    const { data: _, ...rest } = plan
    const request = { plan: rest, force }
    const switched = await (lab.detached ? takeOver(lab, request, context) : askForSwitch(data, request, context))
    const { urls, modes, processes, limitations } = switched
    output.result({
      event: 'switched',
      from: modeOfLab(lab),
      mode: modeOfLab(plan),
      modes,
      mounts: moving,
      url: mainUrl(urls),
      urls,
      processes,
      dropped,
    })
    for (const limitation of limitations) output.warn(limitation)
    output.line(`${describeModes(modes)}; the files are the same.`)
  } finally {
    stop.dispose()
  }
}

/** Nobody watches over a lab in the background: this command does, while it switches. */
async function takeOver(lab: LabState, request: SwitchRequest, context: SwitchContext): Promise<Switched> {
  const open = OpenLab.adopt(lab, { program: DAEMON, ...watchful(context.warn) })
  try {
    return await runSwitch(open, request, context)
  } finally {
    if (open.lab.processes.some(isAlive)) open.lab.release()
    else await open.abandon()
  }
}

/** Refuses what would hang or be lost unseen: other mounts of the server, mounts in the mounts. */
async function checkSurroundings(lab: LabState, { plan, moving: targets }: SwitchPlan): Promise<void> {
  const table = readMountTable()
  for (const target of targets) {
    const other = entangledWith(target, table).find((entry) => !targets.includes(entry.target))
    if (other === undefined) continue
    throw new CliError(`${shown(other.target)} is mounted in ${shown(target)}, or shows it: unmount it first`)
  }
  const ending = lab.protocols.filter((mode) => !plan.protocols.includes(mode)).map((mode) => lab.urls[mode] ?? '')
  const clients = (await Promise.all(ending.map(mountsOf))).flat().filter((target) => !targets.includes(target))
  if (clients.length === 0) return
  const names = clients.map((path) => shown(path))
  throw new CliError(
    `${names.join(', ')}: mounted from this lab's server, which is to end: \`proteus unmount ${names[0]}\` first`,
  )
}

function checkFiles(files: readonly UsedFile[], { force, output }: { force: boolean; output: Output }): void {
  if (files.length === 0) return
  output.result({ event: 'in-use', files, lost: force })
  const rows = files.map(({ command, pid, use, path }) => [`${command} (${pid})`, use, shown(path)])
  output.line(force ? 'What is open there is lost to these programs:' : 'Programs use the mounts; nothing is changed:')
  for (const line of columns(rows)) output.line(`  ${line}`)
  if (force) {
    output.line('They get "Transport endpoint is not connected" there until they open it again.')
    return
  }
  const programs = new Set(files.map(({ pid }) => pid)).size
  throw new CliError(
    `${programs} ${programs === 1 ? 'program uses' : 'programs use'} the mounts: close what is open there, or add --force`,
  )
}
