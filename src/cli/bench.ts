// `proteus bench`: runs the benchmark in bench/, which takes all further arguments.
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Command } from 'commander'
import { CliError, EXIT } from './exit.ts'
import { examples } from './support/options.ts'

export function define(command: Command): void {
  command
    .argument('[args...]', 'passed on; `proteus bench -- --help` shows them')
    .allowUnknownOption()
    .passThroughOptions()
    .addHelpText('after', examples('proteus bench', 'proteus bench --quick --json', 'proteus bench -- --help'))
    .action(bench)
}

async function bench(args: readonly string[]): Promise<void> {
  const program = fileURLToPath(new URL('../../bench/run.mjs', import.meta.url))
  if (!existsSync(program)) throw new CliError('bench/run.mjs is missing: run this in a checkout of the project')
  // Ctrl-C reaches the benchmark too, which cleans up: this process waits for it.
  const ignore = (): void => undefined
  process.on('SIGINT', ignore)
  const child = spawn(process.execPath, [program, ...args], { stdio: 'inherit' })
  const forward = (name: NodeJS.Signals) => child.kill(name)
  process.on('SIGTERM', forward)
  process.on('SIGHUP', forward)
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on('error', reject)
    child.on('close', resolve)
  })
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.removeAllListeners(name)
  if (code !== 0) process.exitCode = code ?? EXIT.failed
}
