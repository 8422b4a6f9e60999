// `proteus up`: starts a lab, shows its mounts and what to try, and stops it at Ctrl-C.
import { resolve } from 'node:path'
import type { Command } from 'commander'
import { mainUrl, modeOfLab, modesOf, targetsIn } from '../lab/lab-plan.ts'
import { OpenLab } from '../lab/open-lab.ts'
import { listenForSwitch, type SwitchContext, type Switched, type SwitchRequest } from '../lab/switch-channel.ts'
import { realTarget } from '../serving/directories.ts'
import { readMountTable } from '../serving/mount-table.ts'
import { type Driver, describeExit } from '../serving/serving.ts'
import { checkLayout } from '../serving/target.ts'
import { CliError, describeError, usageError } from './exit.ts'
import { loadMode, modeNames } from './modes.ts'
import { DAEMON } from './support/daemon-program.ts'
import { explainStart } from './support/explain-start.ts'
import { resolveLabOptions } from './support/mount-options.ts'
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
import { type StopSignals, stopOnSignals } from './support/signals.ts'
import { protocolsOf } from './support/switch-plan.ts'
import { describeModes, runSwitch, watchful } from './support/switching.ts'

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
    .option('--mode <modes>', `semantics of all mounts, or one for each: ${modeNames.join(', ')}`, 'local')
    .addOption(dataOption())
    .option('--mounts <dirs>', 'where to mount, separated by commas', DEFAULT_MOUNTS)
    .option('--detach', 'return when everything runs; `proteus down` stops it')
    .addOption(driverOption())
    .addOption(mountOptionsOption())
    .addOption(jsonOption())
    .addHelpText(
      'after',
      examples(
        'proteus up',
        'proteus up --data /srv/lab --mounts /mnt/a,/mnt/b --detach',
        'proteus up --mode local,nfs -o actimeo=1  # the same files; the second mount has NFS semantics',
        'proteus up -o ro,noexec',
      ),
    )
    .action(up)
}

async function up(options: UpOptions): Promise<void> {
  const output = createOutput(options.json)
  const data = resolve(options.data)
  const table = readMountTable()
  const targets = parseDirectories(options.mounts).map((path) => realTarget(path, table))
  const arrangement = await arrange(targets, options)
  checkLayout(targets, realTarget(data, table))
  const detached = options.detach === true
  const open = await OpenLab.claim({
    ...arrangement,
    data,
    driver: options.driver,
    detached,
    program: DAEMON,
    ...watchful((text) => output.warn(text)),
  })
  const { lab } = open
  const stop = stopOnSignals(lab, output)
  try {
    await open.start()
    if (detached && stop.requested) {
      await open.close()
      throw new Error('interrupted')
    }
  } catch (error) {
    stop.dispose()
    if (!stop.requested) throw await explainStart(error, `local:${data}`)
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
  const stopListening = detached ? () => undefined : await listen(open, output)
  output.result({
    event: 'ready',
    mode: modeOfLab(arrangement),
    modes: modesOf(arrangement),
    mounts: targets,
    pid: lab.processes[0]?.pid,
    data,
    url: mainUrl(lab.urls),
    urls: lab.urls,
    processes: lab.processes,
  })
  showReady(output, open, detached)
  if (detached) return
  await watch(open, stop, output).finally(stopListening)
  stop.dispose()
}

/** What is mounted where: each mode of `--mode` is loaded, and knows its options. */
async function arrange(targets: readonly string[], { mode: list, options }: UpOptions) {
  const names = list.split(',')
  if (names.length !== 1 && names.length !== targets.length) {
    throw usageError(`--mode has ${names.length} modes for ${targets.length} mounts: one for all, or one for each`)
  }
  const mounts = targets.map((target, i) => ({ target, mode: names[i] ?? names[0] ?? '' }))
  const modes = await Promise.all([...new Set(names)].map(loadMode))
  const served = modes.filter(({ serve }) => serve !== undefined).map(({ name }) => name)
  return { mounts, protocols: protocolsOf(mounts, served), ...resolveLabOptions(options, modes) }
}

/** Takes what `proteus switch` asks. A lab goes without it where there can be no socket. */
function listen(open: OpenLab, output: Output): Promise<() => void> {
  const { data } = open.plan
  return listenForSwitch(data, (request, context) => answerSwitch(open, request, context, output)).catch((error) => {
    output.warn(`\`proteus switch\` will not work, ${shown(data)} takes no sockets: ${describeError(error, false)}`)
    return () => undefined
  })
}

/** `proteus switch` of another terminal: done here, where the lab is. */
async function answerSwitch(
  open: OpenLab,
  request: SwitchRequest,
  context: SwitchContext,
  output: Output,
): Promise<Switched> {
  const from = modeOfLab(open.plan)
  const switched = await runSwitch(open, request, context)
  const { urls, modes, processes, limitations } = switched
  const mode = modeOfLab(open.plan)
  const mounts = targetsIn(open.plan)
  output.result({ event: 'switched', from, mode, modes, mounts, url: mainUrl(urls), urls, processes })
  for (const limitation of limitations) output.warn(limitation)
  output.line(`${describeModes(modes)} (${Object.values(urls).join(' ')})`)
  return switched
}

/** Waits for the end of the lab, however it comes, and cleans up after it. */
async function watch(open: OpenLab, stop: StopSignals, output: Output): Promise<void> {
  const end = await open.lab.ended
  const left = await open.close()
  const cleaned =
    left.length === 0 ? 'the mounts are cleaned' : `still mounted: ${left.map((path) => shown(path)).join(', ')}`
  if (end === 'lost') throw new CliError(`no mode could be started after a switch; ${cleaned}; its log is ${open.log}`)
  if (end !== 'closed') {
    const { role, pid } = end.process
    output.result({ event: 'died', role, pid, exit: end.exit, log: open.log })
    if (stop.requested) throw new CliError(`stopped by force; ${cleaned}`)
    const what = role === 'mount' ? 'the process that serves the mounts' : 'the server'
    const log = shown(open.log)
    throw new CliError(`${what} (${pid}) died: ${describeExit(end.exit)}; ${cleaned}; its log is ${log}`)
  }
  sayStopped(output)
}

function sayStopped(output: Output): void {
  output.result({ event: 'stopped' })
  output.line('Unmounted and stopped.')
}

function showReady(output: Output, { lab, plan }: OpenLab, detached: boolean): void {
  const { bold, cyan, dim } = output.colors
  const proteus = invocation()
  const { data, mounts } = plan
  const isMixed = new Set(mounts.map(({ mode }) => mode)).size > 1
  const paths = mounts.map(({ target }) => shown(target))
  const [a = '', b = a] = paths
  const dataOption = shown(data) === '.proteus-data' ? '' : ` --data ${shown(data)}`
  const other = (mounts[1] ?? mounts[0])?.mode === 'local' ? 'nfs' : 'local'
  output.line(`${bold('Proteus')} ${Object.values(lab.urls).join(' ')}`)
  output.line()
  for (const [i, { mode }] of mounts.entries()) output.line(`  ${cyan(paths[i] ?? '')}${isMixed ? ` (${mode})` : ''}`)
  for (const limitation of new Set(lab.mounts.flatMap(({ limitations }) => limitations))) output.warn(limitation)
  output.line()
  output.line(`All of them show the same files. To try${detached ? '' : ', in another terminal'}:`)
  output.line()
  output.line(`  echo hello > ${a}/note && cat ${b}/note`)
  output.line(`  cat ${a}/.proteus/status`)
  output.line(`  ${proteus} trace ${a} ${dim('# and work there')}`)
  output.line(`  ${proteus} switch ${other} ${b}${dataOption} ${dim('# the same files, other semantics')}`)
  output.line()
  output.line(detached ? `\`${proteus} down${dataOption}\` unmounts and stops.` : 'Ctrl-C unmounts and stops.')
}
