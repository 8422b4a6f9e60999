import { describe, expect, test } from 'vitest'
import { findErrno } from '../../../src/lab/errno-messages.ts'
import {
  describeExpectation,
  describeObservation,
  type Expectation,
  isHopeless,
  judge,
  judgePrinted,
  type Observation,
} from '../../../src/lab/expectation.ts'
import { done, either, fails, interrupted, matches, newValue, oldValue, prints } from '../../../src/lab/vocabulary.ts'

const ended = (code: number | null, stdout = '', stderr = '', signal: NodeJS.Signals | null = null): Observation => ({
  kind: 'ended',
  code,
  signal,
  stdout,
  stderr,
})
const running: Observation = { kind: 'running', forMs: 1020, stdout: 'locked\n', stderr: '' }
const stale = ended(1, '', 'cat: note: Stale file handle\n')
const waits: Expectation = { kind: 'waits' }

describe('judge', () => {
  const cases: [expected: Expectation, meets: Observation[], contradicts: Observation[]][] = [
    [done, [ended(0), ended(0, 'text'), { kind: 'acted' }], [ended(1), running, { kind: 'impossible', message: 'x' }]],
    [oldValue, [ended(0, 'old\n'), ended(0, 'old')], [ended(0, 'new\n'), ended(1, 'old\n'), ended(0, 'old \n')]],
    [prints(''), [ended(0, '\n')], [ended(0, 'x')]],
    [matches(/^v\d$/m, 'a version'), [ended(0, 'v1\nv2\n')], [ended(0, 'w'), ended(1, 'v1')]],
    [fails('ESTALE'), [stale], [ended(0, '', 'Stale file handle'), ended(1, '', 'No such file or directory'), running]],
    [fails(), [stale, ended(7)], [ended(0), ended(null, '', '', 'SIGKILL')]],
    [interrupted, [ended(null, '', '', 'SIGINT'), ended(130)], [ended(0), ended(null, '', '', 'SIGTERM'), running]],
    [waits, [running], [ended(0)]],
    [either(oldValue, fails('ESTALE')), [ended(0, 'old'), stale], [ended(0, 'new')]],
  ]
  test.each(cases)('%j', (expected, meets, contradicts) => {
    for (const seen of meets) expect(judge(expected, seen), JSON.stringify(seen)).toBe(true)
    for (const seen of contradicts) expect(judge(expected, seen), JSON.stringify(seen)).toBe(false)
  })

  test('of what is printed so far', () => {
    const printed = { stdout: 'old\n', stderr: '' }
    expect(judgePrinted(either(newValue, oldValue), printed)).toBe(true)
    expect(judgePrinted(newValue, printed)).toBe(false)
    expect(judgePrinted(done, printed)).toBe(false)
    expect(judgePrinted(fails('EIO'), { stdout: '', stderr: 'x: Input/output error' })).toBe(true)
  })
})

test('what cannot become what is expected any more is not waited for', () => {
  const hopeless = (expected: Expectation, stdout: string) => isHopeless(expected, { stdout, stderr: '' })
  expect(hopeless(prints('old\nnew'), 'old\nn')).toBe(false)
  expect(hopeless(prints('old\nnew'), 'old\nold\n')).toBe(true)
  expect(hopeless(either(oldValue, newValue), 'ne')).toBe(false)
  expect(hopeless(either(oldValue, newValue), 'x')).toBe(true)
  expect(hopeless(matches(/x/, 'an x'), 'y')).toBe(false)
})

test('errors are known by name and by text', () => {
  expect(findErrno("OSError: [Errno 35] Resource deadlock avoided: 'x'")).toBe('EDEADLK')
  expect(findErrno('Error: ENOSPC: no space left')).toBe('ENOSPC')
  expect(findErrno('EIOU')).toBeUndefined()
})

describe('in words', () => {
  const cases: [seen: Observation, expected: Expectation, text: string][] = [
    [ended(0, 'old\n'), newValue, 'the old value: old'],
    [ended(0, 'new'), newValue, 'the new value: new'],
    [ended(0, 'a\nb\n'), prints('a\nb', 'two lines'), 'two lines: a ⏎ b'],
    [ended(0), prints('', 'nothing'), 'nothing'],
    [ended(0), newValue, 'done'],
    [stale, oldValue, 'ESTALE: cat: note: Stale file handle'],
    [ended(3), oldValue, 'exit code 3'],
    [ended(2, '', 'first\nlast\n'), oldValue, 'exit code 2: last'],
    [ended(null, '', '', 'SIGINT'), interrupted, 'ended by Ctrl-C'],
    [ended(null, 'x', '', 'SIGKILL'), interrupted, 'ended by SIGKILL, having printed x'],
    [running, waits, 'still waiting after 1 s, having printed locked'],
    [{ kind: 'impossible', message: 'no way' }, done, 'no way'],
  ]
  test.each(cases)('%j', (seen, expected, text) => {
    expect(describeObservation(seen, expected)).toBe(text)
  })

  test('long texts lose their middle', () => {
    expect(describeObservation(ended(0, 'x'.repeat(1000)), done)).toMatch(/^x{100} … x{100}$/)
  })

  test('expectations', () => {
    expect(describeExpectation(either(oldValue, newValue, fails('ENOENT'), fails(), prints('a\nb')))).toBe(
      'the old value or the new value or ENOENT or a failure or a ⏎ b',
    )
    expect([done, interrupted, waits, matches(/x/, 'an x')].map(describeExpectation)).toEqual([
      'done',
      'ended by Ctrl-C',
      'still waiting',
      'an x',
    ])
  })
})
