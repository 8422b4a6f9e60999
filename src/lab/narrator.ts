// Tells what happens as a timeline: when, who, what was done, what was seen, whether that is what the semantics say, and
// why. Events in, lines out.
import type picocolors from 'picocolors'
import { seconds } from './expectation.ts'
import type { LabEvent, ScenarioEnd, Started, StepBegun, StepSeen } from './history.ts'
import type { PartName } from './scenario.ts'

export type Colors = ReturnType<typeof picocolors.createColors>

export interface NarratorOptions {
  readonly colors: Colors
  /** Of a line, in characters. */
  readonly width: number
}

/** Before the text of a step: the time, two spaces, the name, two spaces. */
const TIME_WIDTH = 9
const WHO_WIDTH = 6
const INDENT = TIME_WIDTH + 2 + WHO_WIDTH + 2
/** Text gets at least this much, on the narrowest terminal, and at most that: longer lines are hard to read. */
const MIN_TEXT = 30
const MAX_TEXT = 96
/** Steps faster than this need no word about it, in milliseconds. */
const NOTABLE_MS = 1000

export function narrate(event: LabEvent, { colors, width }: NarratorOptions): string[] {
  const textWidth = Math.max(MIN_TEXT, Math.min(MAX_TEXT, width - INDENT))
  const indented = (text: string, paint = (line: string): string => line): string[] =>
    wrap(text, textWidth).map((line) => `${' '.repeat(INDENT)}${paint(line)}`)
  switch (event.event) {
    case 'scenario': {
      const title = `${colors.bold(`${event.mode}/${event.scenario}`)}  ${event.summary}`
      return ['', title, ...describeOptions(event).map((line) => colors.dim(line)), '']
    }
    case 'skipped':
      return ['', colors.yellow(`- ${event.mode}/${event.scenario} is skipped: ${event.reason}`)]
    case 'late': {
      const { mode, scenario, step, withinSeconds } = event
      const took = `step ${step} came after more than ${seconds(withinSeconds * 1000)}, when nothing is promised any more`
      return ['', colors.yellow(`- ${mode}/${scenario}: this machine is too slow now: ${took}`)]
    }
    case 'step':
      return begun(event, colors)
    case 'waiting':
      return indented(`… ${seconds(Math.round(event.forMs / 1000) * 1000)}`, colors.dim)
    case 'seen':
      return [...seen(event, colors, indented), ...indented(event.why, colors.dim)]
    case 'end':
      return ['', endLine(event, colors)]
  }
}

function describeOptions({ options, serverOptions }: Started): string[] {
  const ofServer = Object.entries(serverOptions ?? {}).map(([name, value]) => `--${name} ${value}`)
  return [
    ...(options === undefined ? [] : [`mount options: ${options}`]),
    ...(ofServer.length === 0 ? [] : [`server options: ${ofServer.join(' ')}`]),
  ]
}

function begun({ atMs, who, action, isCommand }: StepBegun, colors: Colors): string[] {
  const time = `${(atMs / 1000).toFixed(2)} s`.padStart(TIME_WIDTH)
  const name = (who ?? '').padEnd(WHO_WIDTH)
  const [first = '', ...rest] = action.split('\n')
  const prompt = isCommand ? colors.dim('$ ') : ''
  const margin = ' '.repeat(INDENT + (isCommand ? 2 : 0))
  return [`${colors.dim(time)}  ${painter(who, colors)(name)}  ${prompt}${first}`, ...rest.map((line) => margin + line)]
}

function seen(
  { ok, seen, expected, durationMs, observation }: StepSeen,
  { green, red, dim }: Colors,
  indented: (text: string, paint?: (line: string) => string) => string[],
): string[] {
  const isNotable = durationMs >= NOTABLE_MS && observation.kind !== 'running'
  const time = isNotable ? dim(` (${seconds(Math.round(durationMs / 100) * 100)})`) : ''
  if (ok) {
    const lines = indented(`✓ ${seen}`, green)
    return [...lines.slice(0, -1), `${lines.at(-1)}${time}`]
  }
  return [...indented(`✗ seen: ${seen}`, red), ...indented(`expected: ${expected}`, red)]
}

function endLine(end: ScenarioEnd, { green, red }: Colors): string {
  const name = `${end.mode}/${end.scenario}`
  const took = `${(end.durationMs / 1000).toFixed(1)} s`
  if (end.ok) return green(`✓ ${name}: ${end.steps} steps as expected, ${took}`)
  return red(`✗ ${name}: ${describeFailure(end)}`)
}

/** Which step it was. */
export function describeFailure({ mode, failedStep, steps }: ScenarioEnd): string {
  return `step ${failedStep} of ${steps} contradicts the semantics of mode ${mode}`
}

function painter(who: PartName | undefined, { cyan, magenta, yellow }: Colors): (text: string) => string {
  if (who === 'A') return cyan
  return who === 'B' ? magenta : yellow
}

/** Breaks at spaces; a word that is too long stays whole. */
export function wrap(text: string, width: number): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line)
      line = word
    } else {
      line = line === '' ? word : `${line} ${word}`
    }
  }
  return [...lines, line]
}
