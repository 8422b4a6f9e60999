import picocolors from 'picocolors'
import { expect, test } from 'vitest'
import type { LabEvent } from '../../../src/lab/history.ts'
import { describeFailure, narrate, wrap } from '../../../src/lab/narrator.ts'

const ENDED = { kind: 'ended', code: 0, signal: null, stdout: '', stderr: '' } as const
const scenario = 'close-to-open'
const EVENTS: readonly LabEvent[] = [
  { event: 'scenario', mode: 'nfs', scenario, summary: 'what B sees when', options: 'actimeo=2', steps: 4 },
  { event: 'step', scenario, step: 1, atMs: 0, who: 'A', action: 'echo old > note', isCommand: true },
  {
    event: 'seen',
    scenario,
    step: 1,
    atMs: 12,
    durationMs: 12,
    ok: true,
    seen: 'done',
    expected: 'done',
    why: 'close(2) sends what was written to the server and waits until the server has it',
    observation: ENDED,
  },
  { event: 'step', scenario, step: 2, atMs: 12, who: 'server', action: 'kill -9', isCommand: false },
  { event: 'waiting', scenario, step: 2, atMs: 2013, forMs: 2001 },
  {
    event: 'seen',
    scenario,
    step: 2,
    atMs: 3212,
    durationMs: 3200,
    ok: true,
    seen: 'done',
    expected: 'done',
    why: 'no goodbye',
    observation: { kind: 'acted' },
  },
  { event: 'step', scenario, step: 3, atMs: 13_212, action: '10 s pass', isCommand: false },
  { event: 'step', scenario, step: 4, atMs: 13_212, who: 'B', action: 'cat\nnote', isCommand: true },
  {
    event: 'seen',
    scenario,
    step: 4,
    atMs: 13_300,
    durationMs: 88,
    ok: false,
    seen: 'the old value: old',
    expected: 'the new value',
    why: 'open(2) asks',
    observation: ENDED,
  },
  { event: 'end', mode: 'nfs', scenario, ok: false, durationMs: 13_300, passed: 3, steps: 4, failedStep: 4 },
  { event: 'end', mode: 'nfs', scenario, ok: true, durationMs: 1234, passed: 4, steps: 4 },
]

const told = (color: boolean, width: number): string =>
  EVENTS.flatMap((event) => narrate(event, { colors: picocolors.createColors(color), width })).join('\n')

test('tells what the server is told', () => {
  const serverOptions = { 'promise-life': '8', 'break-timeout': '1' }
  const event: LabEvent = { event: 'scenario', mode: 'afs', scenario, summary: 'what', serverOptions, steps: 4 }
  const lines = narrate(event, { colors: picocolors.createColors(false), width: 80 })
  expect(lines[2]).toBe('server options: --promise-life 8 --break-timeout 1')
})

test('tells a timeline', () => {
  expect(told(false, 70)).toMatchInlineSnapshot(`
    "
    nfs/close-to-open  what B sees when
    mount options: actimeo=2

       0.00 s  A       $ echo old > note
                       ✓ done
                       close(2) sends what was written to the server and
                       waits until the server has it
       0.01 s  server  kill -9
                       … 2 s
                       ✓ done (3.2 s)
                       no goodbye
      13.21 s          10 s pass
      13.21 s  B       $ cat
                         note
                       ✗ seen: the old value: old
                       expected: the new value
                       open(2) asks

    ✗ nfs/close-to-open: step 4 of 4 contradicts the semantics of mode nfs

    ✓ nfs/close-to-open: 4 steps as expected, 1.2 s"
  `)
})

test('in colours: good is green, bad is red, each who has one', () => {
  const text = told(true, 200)
  expect(text).toContain('\u001b[32m✓ done\u001b[39m')
  expect(text).toContain('\u001b[31m✗ seen: the old value: old\u001b[39m')
  expect(text).toContain('\u001b[36mA     \u001b[39m')
  expect(text).toContain('\u001b[33mserver\u001b[39m')
})

test('says why a scenario is skipped', () => {
  const event = { event: 'skipped', mode: 'local', scenario: 'mapping', reason: 'no passthrough' } as const
  const options = { colors: picocolors.createColors(false), width: 80 }
  expect(narrate(event, options)).toEqual(['', '- local/mapping is skipped: no passthrough'])
})

test('says that it came too late', () => {
  const event = { event: 'late', mode: 'nfs', scenario: 'stale', step: 2, atMs: 4000, withinSeconds: 3 } as const
  const text =
    '- nfs/stale: this machine is too slow now: step 2 came after more than 3 s, when nothing is promised any more'
  expect(narrate(event, { colors: picocolors.createColors(false), width: 80 })).toEqual(['', text])
})

test('names the step that failed', () => {
  const end = EVENTS.find((event) => event.event === 'end')
  expect(end && describeFailure(end)).toBe('step 4 of 4 contradicts the semantics of mode nfs')
})

test('wraps at spaces, never inside a word', () => {
  expect(wrap('one two three', 7)).toEqual(['one two', 'three'])
  expect(wrap('a-very-long-word b', 4)).toEqual(['a-very-long-word', 'b'])
  expect(wrap('', 4)).toEqual([''])
})
