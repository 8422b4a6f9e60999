// `proteus serve`: a mode's server alone, in the foreground.
import { resolve } from 'node:path'
import type { Command } from 'commander'
import { logPath } from '../lab/lab-state.ts'
import { makeDirectory } from '../serving/directories.ts'
import { signal } from '../serving/processes.ts'
import { describeExit, startServing } from '../serving/serving.ts'
import { CliError, usageError } from './exit.ts'
import { loadMode } from './modes.ts'
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

export function define(command: Command): void {
  command
    .argument('<mode>', 'whose server')
    .addOption(dataOption())
    .option('--host <address>', 'where to listen', '127.0.0.1')
    .option('--port <number>', '0: any free port', parsePort, 0)
    .addOption(jsonOption())
    .addHelpText('after', examples('proteus serve nfs --data /srv/export', 'proteus up  # what to do for mode local'))
    .action(serve)
}

function parsePort(text: string): number {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : -1
  if (port < 0 || port > 65_535) throw usageError('--port needs a number from 0 to 65535')
  return port
}

async function serve(name: string, { data: directory, host, port, json }: ServeOptions): Promise<void> {
  const output = createOutput(json)
  const mode = await loadMode(name)
  if (mode.serve === undefined) {
    throw usageError(
      `mode ${name} has no server: one process holds the volume and serves its mounts; use \`proteus up\``,
    )
  }
  const data = resolve(directory)
  makeDirectory(data, 0o700)
  const serving = startServing(
    { role: 'server', mode: name, data, host, port },
    { program: DAEMON, log: logPath(data) },
  )
  const stop = stopOnSignals(
    { stop: () => signal(serving.id, 'SIGTERM'), kill: () => signal(serving.id, 'SIGKILL') },
    output,
  )
  try {
    const { url } = await serving.ready
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
