// `proteus demo`: plays scenarios on real mounts, tells what happens and why, and fails when a mode does not do what its
// semantics say.
import { resolve } from 'node:path'
import { type Command, Option } from 'commander'
import { modesWithScenarios, scenariosOf } from '../lab/catalogue.ts'
import { History, type LabEvent, type ScenarioEnd } from '../lab/history.ts'
import { describeFailure, narrate } from '../lab/narrator.ts'
import { type Played, type PlayRequest, play } from '../lab/play.ts'
import { modesOfMounts, type Scenario } from '../lab/scenario.ts'
import { realTarget } from '../serving/directories.ts'
import { readMountTable } from '../serving/mount-table.ts'
import { CliError, EXIT, usageError } from './exit.ts'
import { loadMode } from './modes.ts'
import { DAEMON, MAIN } from './support/daemon-program.ts'
import { resolveLabOptions } from './support/mount-options.ts'
import { examples, invocation, jsonOption } from './support/options.ts'
import { columns, createOutput, type Output, shown } from './support/output.ts'
import { stopOnSignals } from './support/signals.ts'

interface DemoOptions {
  readonly list?: boolean
  readonly data?: string
  readonly keep?: boolean
  readonly json?: boolean
}

/** How often a scenario is played for which the machine is too slow. */
const TRIES = 3
/** Lines are made for this many characters where there is no terminal. */
const DEFAULT_WIDTH = 100

export function define(command: Command): void {
  command
    .argument('[mode]', 'whose scenarios; without it they are listed')
    .argument('[name]', 'one of them; without it all of the mode')
    .option('--list', 'list the scenarios, one line each')
    .addOption(
      new Option('--data <dir>', 'where to put the lab: an empty or new directory (needs a name)').default(
        undefined,
        'a temporary one',
      ),
    )
    .option('--keep', 'leave the lab running afterwards, to look around (needs a name)')
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `${examples(
        'proteus demo',
        'proteus demo local',
        'proteus demo local locks',
        'proteus demo afs callback-break',
        'proteus demo local crash --data /srv/lab --keep',
        'proteus demo local --json | jq -c \'select(.event == "seen")\'',
      )}\n\nThe exit code is 1 if something was seen that contradicts the semantics of the mode.`,
    )
    .action(demo)
}

async function demo(mode: string | undefined, name: string | undefined, options: DemoOptions): Promise<void> {
  const output = createOutput(options.json)
  const chosen = choose(mode, name)
  if (mode === undefined || options.list) {
    list(mode === undefined ? modesWithScenarios : [mode], chosen, output)
    return
  }
  if ((options.keep || options.data !== undefined) && name === undefined)
    throw usageError('--data and --keep are for one scenario: name it')
  if (options.data === '') throw usageError('--data needs a directory')
  await playAll(mode, chosen, options, output)
}

/** The scenarios that the command line asks for. */
function choose(mode: string | undefined, name: string | undefined): readonly Scenario[] {
  if (mode === undefined) return []
  if (!modesWithScenarios.includes(mode))
    throw usageError(
      `mode ${JSON.stringify(mode)} has no scenarios; there are some for ${modesWithScenarios.join(', ')}`,
    )
  const all = scenariosOf(mode)
  if (name === undefined) return all
  const found = all.find((scenario) => scenario.name === name)
  if (found !== undefined) return [found]
  const names = all.map((scenario) => scenario.name).join(', ')
  throw usageError(`mode ${mode} has no scenario ${JSON.stringify(name)}; there are ${names}`)
}

function list(modes: readonly string[], chosen: readonly Scenario[], output: Output): void {
  const { bold, dim } = output.colors
  for (const mode of modes) {
    const scenarios = chosen.length > 0 ? chosen : scenariosOf(mode)
    output.line(bold(mode))
    for (const line of columns(scenarios.map(({ name, summary }) => [`  ${name}`, summary]))) output.line(line)
    for (const { name, summary, steps } of scenarios)
      output.result({ mode, scenario: name, summary, steps: steps.length })
  }
  const [mode = 'local'] = modes
  const name = scenariosOf(mode)[0]?.name ?? ''
  output.line()
  const commands = [`  ${invocation()} demo ${mode} ${name}`, `  ${invocation()} demo ${mode}`]
  const width = Math.max(...commands.map(({ length }) => length)) + 2
  for (const [i, what] of ['# plays one', '# plays all of a mode'].entries())
    output.line((commands[i] ?? '').padEnd(width) + dim(what))
}

async function playAll(
  name: string,
  scenarios: readonly Scenario[],
  { data, keep = false }: DemoOptions,
  output: Output,
): Promise<void> {
  const abort = new AbortController()
  let kill = (): void => undefined
  const stop = stopOnSignals({ stop: () => abort.abort(), kill: () => kill() }, output)
  const history = new History((event) => tell(event, output))
  const ends: ScenarioEnd[] = []
  try {
    for (const scenario of scenarios) {
      const modes = await Promise.all([...new Set(Object.values(modesOfMounts(scenario, name)))].map(loadMode))
      const played = await playInTime({
        scenario,
        mode: name,
        protocols: modes.filter(({ serve }) => serve !== undefined).map((mode) => mode.name),
        driver: 'kernel',
        ...resolveLabOptions([scenario.options ?? ''], modes),
        serverOptions: {
          [name]: Object.entries(scenario.serverOptions ?? {}).map(([name, value]) => ({ name, value })),
        },
        program: DAEMON,
        main: MAIN,
        ...(data === undefined ? {} : { directory: realTarget(data, readMountTable()) }),
        keep,
        history,
        signal: abort.signal,
        onLab: (killLab) => {
          kill = killLab
        },
      })
      if (played.end !== undefined) ends.push(played.end)
      sayWhatIsLeft(played, output, data)
    }
  } catch (error) {
    if (!stop.requested) throw error
    throw new CliError('interrupted; nothing is left running', { cause: error })
  } finally {
    stop.dispose()
  }
  conclude(name, { ends, skipped: scenarios.length - ends.length }, output)
}

/** Again, if the machine was too slow, but not in a directory that is not empty any more. */
async function playInTime(request: PlayRequest): Promise<Played> {
  for (let tries = 1; ; tries++) {
    const played = await play(request)
    if (!played.late || tries === TRIES || request.directory !== undefined) return played
  }
}

function tell(event: LabEvent, output: Output): void {
  output.result(event)
  const width = process.stdout.columns ?? DEFAULT_WIDTH
  for (const line of narrate(event, { colors: output.colors, width })) output.line(line)
}

function sayWhatIsLeft({ kept }: Played, output: Output, directory: string | undefined): void {
  if (kept !== undefined) {
    const data = shown(kept.data)
    output.result({ event: 'kept', ...kept })
    output.line(`\nThe lab goes on: ${kept.mounts.map((path) => shown(path)).join(', ')}`)
    output.line(`\`${invocation()} down --data ${data}\` stops it.`)
  } else if (directory !== undefined) {
    output.line(`\nThe data is in ${shown(resolve(directory))}.`)
  }
}

interface Outcome {
  readonly ends: readonly ScenarioEnd[]
  readonly skipped: number
}

function conclude(mode: string, { ends, skipped }: Outcome, output: Output): void {
  const failed = ends.filter(({ ok }) => !ok)
  output.result({
    event: 'summary',
    mode,
    ok: failed.length === 0,
    scenarios: ends.length,
    skipped,
    failed: failed.map(({ scenario, failedStep }) => ({ scenario, step: failedStep })),
  })
  if (failed.length === 0) {
    const but = skipped === 0 ? '' : `, ${skipped} skipped`
    if (ends.length > 1)
      output.line(output.colors.green(`\n✓ ${ends.length} scenarios of mode ${mode} as expected${but}`))
    return
  }
  const which = failed.map((end) => `${end.scenario}: ${describeFailure(end)}`)
  throw new CliError(which.join('; '), { exitCode: EXIT.failed })
}
