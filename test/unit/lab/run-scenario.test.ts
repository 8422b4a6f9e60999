import { describe, expect, test } from 'vitest'
import { History } from '../../../src/lab/history.ts'
import { runScenario } from '../../../src/lab/run-scenario.ts'
import type { Step } from '../../../src/lab/scenario.ts'
import {
  A,
  B,
  done,
  FIRST,
  fails,
  interrupted,
  job,
  newValue,
  oldValue,
  pause,
  prints,
  serve,
  server,
  within,
} from '../../../src/lab/vocabulary.ts'
import { type Act, FakeClock, FakeStage } from './fake-stage.ts'

interface Played {
  readonly stage: FakeStage
  readonly clock: FakeClock
  readonly history: History
  readonly end: ReturnType<typeof runScenario>
}

function play(
  steps: readonly Step[],
  scripts: Readonly<Record<string, readonly (readonly Act[])[]>> = {},
  { signal = new AbortController().signal, limitSeconds = 10 } = {},
): Played {
  const clock = new FakeClock()
  const stage = new FakeStage(clock, scripts)
  const history = new History()
  const scenario = { name: 'test', summary: 'a test', limitSeconds, steps }
  return { stage, clock, history, end: runScenario(scenario, { mode: 'fake', stage, clock, history, signal }) }
}

const seen = ({ history }: Played) => history.events.flatMap((event) => (event.event === 'seen' ? [event] : []))
const waited = ({ history }: Played) =>
  history.events.flatMap((event) => (event.event === 'waiting' ? [event.forMs] : []))

const says = (text: string, atMs = 10): Act[] => [
  { atMs, stdout: `${text}\n` },
  { atMs: atMs + 1, code: 0 },
]

describe('runScenario', () => {
  test('plays the steps in order and records them', async () => {
    const played = play([A.run('write', done, 'one'), B.run('read', newValue, 'two')], {
      write: [[{ atMs: 5, code: 0 }]],
      read: [says('new')],
    })
    expect(await played.end).toEqual({
      event: 'end',
      mode: 'fake',
      scenario: 'test',
      ok: true,
      durationMs: 16,
      passed: 2,
      steps: 2,
    })
    expect(played.stage.done).toEqual(['A: write', 'B: read'])
    expect(played.history.events.map(({ event }) => event)).toEqual(['scenario', 'step', 'seen', 'step', 'seen', 'end'])
    expect(seen(played)[1]).toEqual({
      event: 'seen',
      scenario: 'test',
      step: 2,
      atMs: 16,
      durationMs: 11,
      ok: true,
      seen: 'the new value: new',
      expected: 'the new value',
      why: 'two',
      observation: { kind: 'ended', code: 0, signal: null, stdout: 'new\n', stderr: '' },
    })
  })

  test('ends at the first contradiction and names the step', async () => {
    const steps = [A.run('read', oldValue, 'stale'), B.run('read', oldValue, 'stale'), A.run('never', done, 'no')]
    const played = play(steps, { read: [says('old'), says('new')] })
    expect(await played.end).toMatchObject({ ok: false, failedStep: 2, passed: 1, steps: 3 })
    expect(played.stage.done).not.toContain('A: never')
    expect(seen(played)[1]).toMatchObject({ ok: false, seen: 'the new value: new', expected: 'the old value' })
  })

  test('a command that takes too long is killed, and says so meanwhile', async () => {
    const played = play([A.run('hang', done, 'why')], {}, { limitSeconds: 5 })
    expect(await played.end).toMatchObject({ ok: false, failedStep: 1, durationMs: 5000 })
    expect(waited(played)).toEqual([2000, 4000])
    expect(seen(played)[0]).toMatchObject({ seen: 'still waiting after 5 s' })
    expect(played.stage.jobs[0]?.ended).toMatchObject({ signal: 'SIGKILL' })
  })

  test('jobs are read from, waited for, found waiting, answered, and interrupted', async () => {
    const steps = [
      A.start('reader', 'follow', 'goes on'),
      job('reader').prints(prints('one'), 'at first'),
      job('reader').prints(prints('one\ntwo'), 'later'),
      job('reader').waits('it has no end'),
      job('reader').enter('it may have a question'),
      job('reader').prints(prints('one\ntwo\nentered'), 'it has read a line'),
      job('reader').interrupt(interrupted, 'until Ctrl-C'),
      B.start('other', 'echo', 'short'),
      job('other').ends(prints('text'), 'by itself'),
    ]
    const played = play(steps, {
      follow: [
        [
          { atMs: 10, stdout: 'one\n' },
          { atMs: 50, stdout: 'two\n' },
        ],
      ],
      echo: [says('text', 3000)],
    })
    expect(await played.end).toMatchObject({ ok: true })
    expect(seen(played).map((event) => [event.atMs, event.seen])).toEqual([
      [0, 'goes on in the background'],
      [10, 'one'],
      [50, 'one ⏎ two'],
      [1050, 'still waiting after 1.1 s, having printed one ⏎ two'],
      [1050, 'done'],
      [1050, 'one ⏎ two ⏎ entered'],
      [1050, 'ended by Ctrl-C'],
      [1050, 'goes on in the background'],
      [4051, 'text'],
    ])
    const who = played.history.events.flatMap((event) => (event.event === 'step' ? [event.who] : []))
    expect(who).toEqual(['A', 'A', 'A', 'A', 'A', 'A', 'A', 'B', 'B'])
  })

  describe('what holds for a time only', () => {
    const steps = [A.run('ask', oldValue, 'good for 3 s'), within(3, B.run('look', oldValue, 'still stale'))]
    const look = (atMs: number, text: string) => play(steps, { ask: [says('old')], look: [says(text, atMs)] })

    test('is a contradiction if something else is seen in time', async () => {
      expect(await look(2900, 'new').end).toMatchObject({ ok: false, failedStep: 2 })
    })

    test('shows nothing if something else is seen later', async () => {
      const played = look(3100, 'new')
      expect(await played.end).toBe('late')
      expect(played.history.events.at(-1)).toEqual({
        event: 'late',
        mode: 'fake',
        scenario: 'test',
        step: 2,
        atMs: 3112,
        withinSeconds: 3,
      })
    })

    test('may hold for longer', async () => {
      expect(await look(3100, 'old').end).toMatchObject({ ok: true })
    })

    test('is looked at while a job goes on, too', async () => {
      const steps = [A.start('x', 'follow', 'why'), within(3, job('x').prints(prints('old\nold'), 'why'))]
      const played = play(steps, {
        follow: [
          [
            { atMs: 5, stdout: 'old\n' },
            { atMs: 9, stdout: 'new\n' },
          ],
        ],
      })
      expect(await played.end).toMatchObject({ ok: false, failedStep: 2, durationMs: 9 })
    })
  })

  test('a job that ends although it should wait is a contradiction', async () => {
    const played = play([A.start('x', 'echo', 'why'), job('x').waits('why')], { echo: [says('text')] })
    expect(await played.end).toMatchObject({ ok: false, failedStep: 2 })
  })

  test('a job that prints the wrong thing and ends is a contradiction at once', async () => {
    const played = play([A.start('x', 'echo', 'why'), job('x').prints(prints('more'), 'why')], { echo: [says('text')] })
    expect(await played.end).toMatchObject({ ok: false, durationMs: 10 })
  })

  test('what is expected to come with time is tried again, as long as a step may take', async () => {
    const comes = play([B.until('read', newValue, 'after the time-out')], {
      read: [says('old'), says('old'), says('new')],
    })
    expect(await comes.end).toMatchObject({ ok: true, durationMs: 3 * 11 + 2 * 100 })
    expect(seen(comes)[0]).toMatchObject({ seen: 'the new value: new' })
    expect(comes.history.events[1]).toMatchObject({ action: 'read  # until it shows the new value' })
    const never = play([B.until('read', newValue, 'why')], { read: [says('old')] }, { limitSeconds: 1 })
    expect(await never.end).toMatchObject({ ok: false })
    expect(seen(never)[0]).toMatchObject({ seen: 'the old value: old' })
  })

  test('faults go to the stage; one that is refused, or never answered, is a contradiction', async () => {
    const steps = [
      A.network('down', 'cut'),
      server.crash('kill -9'),
      server.startAgain('again'),
      B.crash('kill -9'),
      B.startAgain('again'),
      serve('second', { join: FIRST }, 'more'),
      pause(2.5, 'a time-out'),
    ]
    const played = play(steps)
    expect(await played.end).toMatchObject({ ok: true, durationMs: 2500 })
    expect(played.stage.done).toEqual([
      'A: network down',
      'crash server',
      'start server',
      'crash B',
      'start B',
      'serve second {"join":"$FIRST"}',
    ])

    const refused = play([A.network('sideways', 'why')])
    expect(await refused.end).toMatchObject({ ok: false })
    expect(seen(refused)[0]).toMatchObject({ seen: 'Invalid argument', expected: 'done' })
    const silent = play([A.network('silent', 'why')])
    expect(await silent.end).toMatchObject({ ok: false })
    expect(seen(silent)[0]).toMatchObject({ seen: 'not done after 10 s' })
  })

  test('errors are expected by their names', async () => {
    const lost: Act[] = [
      { atMs: 1, stderr: 'cat: note: Stale file handle\n' },
      { atMs: 2, code: 1 },
    ]
    expect(await play([A.run('read', fails('ESTALE'), 'why')], { read: [lost] }).end).toMatchObject({ ok: true })
    expect(await play([A.run('read', fails('ENOENT'), 'why')], { read: [lost] }).end).toMatchObject({ ok: false })
  })

  test('an interrupted run rejects with the reason, whatever it does', async () => {
    const reason = new Error('Ctrl-C')
    for (const step of [
      A.run('hang', done, 'why'),
      pause(100, 'why'),
      A.network('silent', 'why'),
      A.until('never', newValue, 'why'),
    ]) {
      const abort = new AbortController()
      const played = play([step], { never: [says('old')] }, { signal: abort.signal, limitSeconds: 100 })
      played.clock.sleep(500).then(() => abort.abort(reason))
      await expect(played.end).rejects.toBe(reason)
      expect(played.clock.now()).toBeLessThan(1000)
    }
  })
})
