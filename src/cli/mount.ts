// `proteus mount`: one URL on one directory.
import { homedir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import type { Command } from 'commander'
import { logPath } from '../lab/lab-state.ts'
import type { Address } from '../modes/mode.ts'
import { makeDirectory, realTarget } from '../serving/directories.ts'
import { readMountTable } from '../serving/mount-table.ts'
import { signal } from '../serving/processes.ts'
import { type Driver, describeExit, startServing } from '../serving/serving.ts'
import { checkLayout, cleanTargets, prepareTarget } from '../serving/target.ts'
import { CliError } from './exit.ts'
import { loadMode } from './modes.ts'
import { DAEMON } from './support/daemon-program.ts'
import { explainStart } from './support/explain-start.ts'
import { resolveMountOptions } from './support/mount-options.ts'
import { driverOption, examples, jsonOption, mountOptionsOption } from './support/options.ts'
import { createOutput, shown } from './support/output.ts'
import { stopOnSignals } from './support/signals.ts'
import { parseUrl } from './support/url.ts'

interface MountCommandOptions {
  readonly foreground?: boolean
  readonly driver: Driver
  readonly options: readonly string[]
  readonly log?: string
  readonly json?: boolean
}

export function define(command: Command): void {
  command
    .argument('<url>', 'what to mount: local:DIR, nfs://host[:port]/export, …')
    .argument('<dir>', 'where; made if it is missing')
    .option('--foreground', 'stay until Ctrl-C, which unmounts')
    .option('--log <file>', 'where the serving process writes its log')
    .addOption(driverOption())
    .addOption(mountOptionsOption())
    .addOption(jsonOption())
    .addHelpText(
      'after',
      examples(
        'proteus mount local:/srv/data /mnt/data',
        'proteus mount local:data mnt -o ro --foreground',
        'proteus mount nfs://127.0.0.1:2049/export mnt -o soft,actimeo=3',
      ),
    )
    .action(mount)
}

async function mount(url: string, dir: string, options: MountCommandOptions): Promise<void> {
  const output = createOutput(options.json)
  const address = parseUrl(url, process.cwd())
  const mode = await loadMode(address.mode)
  const table = readMountTable()
  const target = realTarget(dir, table)
  const { flags, modeOptions } = resolveMountOptions(options.options, mode)
  checkLayout([target], address.directory && realTarget(address.directory, table))
  const log = options.log === undefined ? defaultLog(address) : resolve(options.log)
  const { cleaned } = await prepareTarget(target)
  if (cleaned) output.warn(`${shown(target)} had a mount whose server had died: cleaned`)
  makeDirectory(dirname(log), 0o700)

  const absolute = address.directory === undefined ? url : `${address.mode}:${address.directory}`
  const { driver } = options
  const spec = { role: 'mount', url: absolute, targets: [target], driver, options: flags, modeOptions } as const
  const serving = startServing(spec, { program: DAEMON, log })
  const stop = stopOnSignals(
    { stop: () => signal(serving.id, 'SIGTERM'), kill: () => signal(serving.id, 'SIGKILL') },
    output,
  )
  try {
    const { mounts } = await serving.ready
    if (!options.foreground) {
      if (stop.requested) {
        await serving.exited
        throw new Error('interrupted')
      }
      stop.ignore()
      serving.release()
    }
    for (const limitation of mounts.flatMap(({ limitations }) => limitations)) output.warn(limitation)
    output.result({ event: 'ready', mode: address.mode, mounts: [target], pid: serving.id.pid, url: absolute, log })
    output.line(`${absolute} is mounted on ${shown(target)}`)
    if (!options.foreground) return
    output.line('Ctrl-C unmounts and stops.')
    const exit = await serving.exited
    if (exit.code !== 0) throw new CliError(`the serving process died: ${describeExit(exit)}; its log is ${shown(log)}`)
    output.result({ event: 'stopped' })
  } catch (error) {
    await cleanTargets([target])
    if (!stop.requested) throw await explainStart(error, absolute)
    // Whoever waits to go on in the background has got nothing.
    if (!options.foreground) throw new CliError('interrupted before it was mounted')
  } finally {
    stop.dispose()
  }
}

/** Beside the data if it is here, else where XDG puts the state of programs. */
function defaultLog({ directory }: Address): string {
  if (directory !== undefined) return logPath(directory)
  return join(process.env.XDG_STATE_HOME || join(homedir(), '.local/state'), 'proteus', 'mount.log')
}
