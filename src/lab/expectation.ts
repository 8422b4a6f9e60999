// What a step expects, what it has seen, and whether that is the same. Pure.
import { findErrno, type SpokenErrno } from './errno-messages.ts'

export type Expectation =
  /** Exit code 0. */
  | { readonly kind: 'done' }
  /** Exit code 0, and this on standard output, without the last newline. `name`: what that is, as in "the old value". */
  | { readonly kind: 'prints'; readonly text: string; readonly name?: string }
  /** Exit code 0, and standard output matches. */
  | { readonly kind: 'matches'; readonly pattern: RegExp; readonly name: string }
  /** Another exit code, and messages that tell of this error; without one: whatever the messages say. */
  | { readonly kind: 'fails'; readonly errno?: SpokenErrno }
  /** Ended by Ctrl-C. */
  | { readonly kind: 'interrupted' }
  /** Not at its end yet. */
  | { readonly kind: 'waits' }
  | { readonly kind: 'either'; readonly of: readonly Expectation[] }

export interface Printed {
  readonly stdout: string
  readonly stderr: string
}

export interface Ended extends Printed {
  /** Null if a signal ended it. */
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

export type Observation =
  | ({ readonly kind: 'ended' } & Ended)
  /** A command that goes on. */
  | ({ readonly kind: 'running'; readonly forMs: number } & Printed)
  /** Something that is not a command was done. */
  | { readonly kind: 'acted' }
  /** The step itself could not be done. */
  | { readonly kind: 'impossible'; readonly message: string }

/** Exit code of a shell whose command SIGINT has ended. */
const SIGINT_CODE = 130

const trimmed = (text: string): string => text.replace(/\n+$/, '')

/** Whether what was seen is what the semantics say. */
export function judge(expected: Expectation, seen: Observation): boolean {
  if (expected.kind === 'either') return expected.of.some((one) => judge(one, seen))
  if (seen.kind === 'acted') return expected.kind === 'done'
  if (seen.kind === 'impossible') return false
  if (seen.kind === 'running') return expected.kind === 'waits'
  switch (expected.kind) {
    case 'done':
      return seen.code === 0
    case 'prints':
    case 'matches':
      return seen.code === 0 && judgePrinted(expected, seen)
    case 'fails':
      return (
        seen.code !== 0 && seen.signal === null && (expected.errno === undefined || errnoOf(seen) === expected.errno)
      )
    case 'interrupted':
      return seen.signal === 'SIGINT' || seen.code === SIGINT_CODE
    case 'waits':
      return false
  }
}

/** Whether what a command has printed so far is what is expected, whatever becomes of the command. */
export function judgePrinted(expected: Expectation, { stdout, stderr }: Printed): boolean {
  switch (expected.kind) {
    case 'prints':
      return trimmed(stdout) === expected.text
    case 'matches':
      return expected.pattern.test(stdout)
    case 'fails':
      return expected.errno !== undefined && errnoOf({ stdout, stderr }) === expected.errno
    case 'either':
      return expected.of.some((one) => judgePrinted(one, { stdout, stderr }))
    default:
      return false
  }
}

/** Whether it is of no use to wait: what a command has printed is something else, and does not go away. */
export function isHopeless(expected: Expectation, { stdout }: Printed): boolean {
  switch (expected.kind) {
    case 'prints':
      return !expected.text.startsWith(trimmed(stdout))
    case 'either':
      return expected.of.every((one) => isHopeless(one, { stdout, stderr: '' }))
    default:
      return false
  }
}

/** Standard output counts too: a program may print the error that it has caught. */
const errnoOf = ({ stdout, stderr }: Printed): SpokenErrno | undefined => findErrno(stderr) ?? findErrno(stdout)

export function describeExpectation(expected: Expectation): string {
  switch (expected.kind) {
    case 'done':
      return 'done'
    case 'prints':
      return expected.name ?? oneLine(expected.text)
    case 'matches':
      return expected.name
    case 'fails':
      return expected.errno ?? 'a failure'
    case 'interrupted':
      return 'ended by Ctrl-C'
    case 'waits':
      return 'still waiting'
    case 'either':
      return expected.of.map(describeExpectation).join(' or ')
  }
}

/** `expected` lends its name to what was seen if it is the same. */
export function describeObservation(seen: Observation, expected?: Expectation): string {
  switch (seen.kind) {
    case 'acted':
      return 'done'
    case 'impossible':
      return seen.message
    case 'running':
      return `still waiting after ${seconds(Math.round(seen.forMs / 100) * 100)}${printed(seen)}`
    case 'ended':
      return describeEnded(seen, expected)
  }
}

function describeEnded(seen: Ended & { readonly kind: 'ended' }, expected: Expectation | undefined): string {
  const { code, signal } = seen
  if (signal === 'SIGINT' || code === SIGINT_CODE) return 'ended by Ctrl-C'
  if (signal !== null) return `ended by ${signal}${printed(seen)}`
  if (code !== 0) return describeFailure(seen)
  const text = trimmed(seen.stdout)
  const name = nameOf(text, expected)
  if (text === '') return name ?? 'done'
  return name === undefined ? oneLine(text) : `${name}: ${oneLine(text)}`
}

function describeFailure(seen: Ended): string {
  const said = trimmed(seen.stderr).split('\n').at(-1) || trimmed(seen.stdout).split('\n').at(-1) || ''
  const errno = errnoOf(seen)
  return [errno ?? `exit code ${seen.code}`, said].filter((part) => part !== '').join(': ')
}

/** What the text is called by what was expected, or by anything: `old` and `new` are always the values. */
function nameOf(text: string, expected: Expectation | undefined): string | undefined {
  if (text === OLD) return 'the old value'
  if (text === NEW) return 'the new value'
  if (expected?.kind === 'prints' && expected.text === text) return expected.name
  return undefined
}

export const OLD = 'old'
export const NEW = 'new'

function printed(seen: Printed): string {
  const text = trimmed(seen.stdout) || trimmed(seen.stderr)
  return text === '' ? '' : `, having printed ${oneLine(text)}`
}

const MAX_QUOTED = 200

/** Lines become one; a long text loses its middle. */
function oneLine(text: string): string {
  const line = text.replaceAll('\n', ' ⏎ ')
  if (line.length <= MAX_QUOTED) return line
  return `${line.slice(0, MAX_QUOTED / 2)} … ${line.slice(-MAX_QUOTED / 2)}`
}

export function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(ms < 10_000 && ms % 1000 !== 0 ? 1 : 0)} s`
}
