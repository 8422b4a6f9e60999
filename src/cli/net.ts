// `proteus net`: the network between a mount and its servers.
import { writeFileSync } from 'node:fs'
import type { Command } from 'commander'
import { CliError, errorCode } from './exit.ts'
import { controlPath, findMount, readControl } from './support/control-access.ts'
import { examples, jsonOption } from './support/options.ts'
import { createOutput } from './support/output.ts'

interface NetOptions {
  readonly json?: boolean
}

export function define(command: Command): void {
  command
    .argument('<dir>', 'the mount, or anything in it')
    .argument(
      '[setting...]',
      'up, down, reset, latency=50ms,jitter=5ms,bandwidth=10mbit,loss=1%,duplicate=1%,reorder=1%',
    )
    .addOption(jsonOption())
    .addHelpText(
      'after',
      examples('proteus net mount/a', 'proteus net mount/a down', 'proteus net mount/a latency=50ms,jitter=5ms'),
    )
    .action(net)
}

async function net(dir: string, settings: readonly string[], options: NetOptions): Promise<void> {
  const output = createOutput(options.json)
  const mount = findMount(dir)
  // Read first, with a time limit: a mount that answers will also take the setting.
  const before = (await readControl(mount, 'network')).trim()
  if (settings.length > 0) set(mount, settings.join(','), before)
  const network = settings.length > 0 ? (await readControl(mount, 'network')).trim() : before
  output.result({ mount, network })
  output.line(network)
}

function set(mount: string, setting: string, before: string): void {
  try {
    writeFileSync(controlPath(mount, 'network'), `${setting}\n`)
  } catch (error) {
    const code = errorCode(error)
    if (code === 'EOPNOTSUPP' || code === 'ENOTSUP')
      throw new CliError(`${mount} cannot be cut off or delayed: ${before}`)
    if (code === 'EINVAL')
      throw new CliError(`${JSON.stringify(setting)} is no setting of the network: see \`proteus net --help\``)
    if (code === 'EACCES') throw new CliError('only who made the mount may change its network')
    throw error
  }
}
