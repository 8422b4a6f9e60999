// A step in words.
import { describeExpectation, describeObservation, type Expectation, type Observation, seconds } from './expectation.ts'
import type { Step } from './scenario.ts'
import { done } from './vocabulary.ts'

/** What was seen. */
export function describeSeen(step: Step, seen: Observation, ok: boolean): string {
  if (step.do === 'start') return 'goes on in the background'
  if (step.do === 'output' && ok) return describeExpectation(step.expect)
  return describeObservation(seen, expectationOf(step))
}

/** A step without one is to be done. */
export function expectationOf(step: Step): Expectation {
  if ('expect' in step) return step.expect
  return step.do === 'waits' ? { kind: 'waits' } : done
}

/** What is done. */
export function describeAction(step: Step): string {
  switch (step.do) {
    case 'run':
      return step.command
    case 'until':
      return `${step.command}  # until it shows ${describeExpectation(step.expect)}`
    case 'start':
      return `${step.command} &`
    case 'output':
      return `what ${step.job} prints`
    case 'waits':
      return `${step.job}, after ${seconds(step.afterMs)}`
    case 'end':
      return `${step.job} comes to its end`
    case 'enter':
      return `Enter for ${step.job}`
    case 'interrupt':
      return `Ctrl-C for ${step.job}`
    case 'pause':
      return `${seconds(step.forMs)} pass`
    case 'network':
      return `network ${step.setting}`
    case 'serve':
      return `one more server: $${step.server.toUpperCase()}`
    case 'crash':
      return 'kill -9'
    case 'startAgain':
      return 'starts again'
  }
}
