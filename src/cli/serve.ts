// `proteus serve`: a mode's server alone, in the foreground.
import { resolve } from 'node:path'
import { type Command, Option } from 'commander'
import { mainUrl } from '../lab/lab-plan.ts'
import { logPath } from '../lab/lab-state.ts'
import { type Mode, type ModeOption, ModeOptionError, type ServeRequest, type ServerOption } from '../modes/mode.ts'
import { makeDirectory } from '../serving/directories.ts'
import { signal } from '../serving/processes.ts'
import { describeExit, startServing } from '../serving/serving.ts'
import { CliError, usageError } from './exit.ts'
import { loadMode, modeNames } from './modes.ts'
import { DAEMON } from './support/daemon-program.ts'
import { dataOption, examples, jsonOption } from './support/options.ts'
import { createOutput } from './support/output.ts'
import { stopOnSignals } from './support/signals.ts'

interface ServeOptions {
  readonly data: string
  readonly host: string
  readonly port: number
  readonly json?: boolean
}

/** A mode's server has options of its own: those of the mode that is named on the line. */
export async function define(command: Command, args: readonly string[]): Promise<void> {
  const name = args.find((arg) => modeNames.includes(arg))
  const { serverOptions = [] } = name === undefined ? {} : await loadMode(name)
  const given: ModeOption[] = []
  command
    .argument('<mode>', 'whose server')
    .addOption(dataOption())
    .option('--host <address>', 'where to listen', '127.0.0.1')
    .option('--port <number>', '0: any free port', parsePort, 0)
    .addOption(jsonOption())
  for (const option of serverOptions) command.addOption(collecting(option, given))
  const own = serverOptions.flatMap((option) => option.examples).map((example) => `proteus serve ${name} ${example}`)
  const more = [
    'proteus serve nfs --help  # what the server of a mode may be told',
    'proteus up  # what to do for mode local',
  ]
  command
    .addHelpText('after', examples('proteus serve nfs --data /srv/export', ...(own.length > 0 ? own : more)))
    .action((mode: string, options: ServeOptions) => serve(mode, options, given))
}

/** Keeps the order in which options of a mode are given, and how often. */
function collecting({ flags, summary, isPath }: ServerOption, given: ModeOption[]): Option {
  const option = new Option(flags, summary)
  const name = option.name()
  return option.preset('').argParser((value) => {
    given.push(value === '' ? { name } : { name, value: isPath ? resolve(value) : value })
    return value
  })
}

function parsePort(text: string): number {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : -1
  if (port < 0 || port > 65_535) throw usageError('--port needs a number from 0 to 65535')
  return port
}

function check(mode: Mode, request: ServeRequest): void {
  try {
    mode.checkServe?.(request)
  } catch (error) {
    if (error instanceof ModeOptionError) throw usageError(error.message)
    throw error
  }
}

async function serve(
  name: string,
  { data: directory, host, port, json }: ServeOptions,
  options: readonly ModeOption[],
): Promise<void> {
  const output = createOutput(json)
  const mode = await loadMode(name)
  if (mode.serve === undefined) {
    throw usageError(
      `mode ${name} has no server: one process holds the volume and serves its mounts; use \`proteus up\``,
    )
  }
  const data = resolve(directory)
  check(mode, { dataDirectory: data, host, port, options })
  makeDirectory(data, 0o700)
  const serving = startServing(
    { role: 'server', protocols: [{ mode: name, port, options }], data, host },
    { program: DAEMON, log: logPath(data) },
  )
  const stop = stopOnSignals(
    { stop: () => signal(serving.id, 'SIGTERM'), kill: () => signal(serving.id, 'SIGKILL') },
    output,
  )
  try {
    const { urls } = await serving.ready
    const url = mainUrl(urls)
    output.result({ event: 'ready', mode: name, url, pid: serving.id.pid, data })
    output.line(`Serving ${url}; Ctrl-C stops.`)
    const exit = await serving.exited
    if (exit.code !== 0) throw new CliError(`the server died: ${describeExit(exit)}; its log is ${logPath(data)}`)
    output.result({ event: 'stopped' })
  } catch (error) {
    if (!stop.requested) throw error
  } finally {
    stop.dispose()
  }
}
