// `proteus trace`: the events of a mount, one line each, as they come.
import { createInterface } from 'node:readline'
import type { Command } from 'commander'
import { streamFileInChild } from '../serving/child-io.ts'
import { formatTrace, type TraceRecord } from '../trace/trace.ts'
import { CliError } from './exit.ts'
import { controlPath, describeFailure, findMount, readStatus } from './support/control-access.ts'
import { examples, jsonOption } from './support/options.ts'
import { createOutput } from './support/output.ts'

interface TraceOptions {
  readonly json?: boolean
}

export function define(command: Command): void {
  command
    .argument('<dir>', 'the mount, or anything in it')
    .addOption(jsonOption())
    .addHelpText('after', examples('proteus trace mount/a', "proteus trace mount/a --json | jq -c 'select(.error)'"))
    .action(trace)
}

async function trace(dir: string, options: TraceOptions): Promise<void> {
  const output = createOutput(options.json)
  const mount = findMount(dir)
  await readStatus(mount)
  const child = streamFileInChild(controlPath(mount, 'trace'))
  // However this process ends, the child must not stay behind, waiting for an event.
  process.on('exit', () => child.kill('SIGKILL'))
  let stopped = false
  const stop = (): void => {
    stopped = true
    child.kill('SIGKILL')
  }
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(name, stop)

  let problem = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    problem += text
  })
  const exited = new Promise<number | null>((resolve) => child.on('close', resolve))
  for await (const line of createInterface({ input: child.stdout })) {
    // The end of a mount may cut a line.
    const record = parse(line)
    if (record === undefined) continue
    output.result(record)
    output.line(formatTrace(record))
  }
  const code = await exited
  if (stopped || code === 0 || /not connected|connection abort/.test(problem)) return
  throw new CliError(describeFailure(mount, problem))
}

function parse(line: string): TraceRecord | undefined {
  try {
    return JSON.parse(line) as TraceRecord
  } catch {
    return undefined
  }
}
