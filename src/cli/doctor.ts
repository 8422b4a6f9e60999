// `proteus doctor`: what this machine lacks, and how to get it.
import type { Command } from 'commander'
import { EXIT } from './exit.ts'
import { type Check, judge } from './support/checks.ts'
import { examineMachine } from './support/machine.ts'
import { dataOption, examples, jsonOption } from './support/options.ts'
import { columns, createOutput } from './support/output.ts'

interface DoctorOptions {
  readonly data: string
  readonly json?: boolean
}

export function define(command: Command): void {
  command
    .addOption(dataOption())
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `${examples('proteus doctor', 'proteus doctor --json')}\n\nThe exit code is 1 if something is missing without which nothing can be mounted.`,
    )
    .action(doctor)
}

function doctor(options: DoctorOptions): void {
  const output = createOutput(options.json)
  const checks = judge(examineMachine(options.data))
  const { green, yellow, red } = output.colors
  const paint: Record<Check['state'], (text: string) => string> = { ok: green, warn: yellow, missing: red }
  const lines = columns(
    checks.map(({ state, name, detail, fix }) => [state, name, fix === undefined ? detail : `${detail}; ${fix}`]),
  )
  for (const [i, check] of checks.entries()) {
    output.result(check)
    const { length } = check.state
    output.line(`${paint[check.state](check.state)}${lines[i]?.slice(length)}`)
  }
  if (checks.some(({ state }) => state === 'missing')) process.exitCode = EXIT.failed
}
