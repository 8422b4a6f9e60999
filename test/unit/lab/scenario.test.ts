import { describe, expect, test } from 'vitest'
import { loadMode } from '../../../src/cli/modes.ts'
import { modesWithScenarios, scenariosOf } from '../../../src/lab/catalogue.ts'
import { findMistakes, MOUNTS, type MountName, modesOfMounts, type Step } from '../../../src/lab/scenario.ts'
import { A, B, done, FIRST, interrupted, job, serve, server } from '../../../src/lab/vocabulary.ts'

const mistakes = (steps: readonly Step[], hasServer = true) =>
  findMistakes({ name: 'a-name', summary: '', steps }, { served: hasServer ? MOUNTS : [] })

describe('findMistakes', () => {
  test('has nothing against a sound scenario', () => {
    const steps = [
      A.start('one', 'true', 'why'),
      job('one').prints(done, 'why'),
      job('one').waits('why'),
      job('one').enter('why'),
      job('one').ends(done, 'why'),
      A.start('one', 'true', 'why'),
      job('one').interrupt(interrupted, 'why'),
      A.network('down', 'why'),
      server.crash('why'),
      A.crash('why'),
      B.crash('why'),
      A.startAgain('why'),
      server.startAgain('why'),
      serve('second', {}, 'why'),
      serve('third', { join: FIRST }, 'why'),
    ]
    expect(mistakes(steps)).toEqual([])
  })

  const cases: [title: string, steps: Step[], hasServer: boolean, mistake: string][] = [
    ['nothing', [], true, 'there are no steps'],
    ['no reason', [A.run('true', done, ' ')], true, 'step 1: it does not say why'],
    ['a job that never started', [job('x').waits('why')], true, 'step 1: no job x runs'],
    ['Enter for nobody', [job('x').enter('why')], true, 'step 1: no job x runs'],
    ['a job forgotten', [A.start('x', 'true', 'why')], true, 'nobody waits for x'],
    ['life after death', [server.startAgain('why')], true, 'step 1: server is not dead'],
    ['a server where there is none', [server.crash('why')], false, 'step 1: the mode has no server'],
    ['a network where there is none', [A.network('down', 'why')], false, 'step 1: the mode has no network'],
    ['one more server where there is none', [serve('x', {}, 'why')], false, 'step 1: the mode has no server'],
    ['a server twice', [serve('x', {}, 'why'), serve('x', {}, 'why')], true, 'step 2: x runs already'],
    ['a server that no variable could name', [serve('x y', {}, 'why')], true, 'step 1: x y is not a name'],
    ['one process killed twice', [A.crash('why'), B.crash('why')], false, 'step 2: B is dead already'],
  ]
  test.each(cases)('finds %s', (_title, steps, hasServer, mistake) => {
    expect(mistakes(steps, hasServer)).toEqual([mistake])
  })

  test('knows which mount has a network, and which process is behind it', () => {
    const steps = [
      B.network('down', 'why'),
      A.crash('why'),
      server.crash('why'),
      B.crash('why'),
      server.startAgain('why'),
      A.network('up', 'why'),
    ]
    const mixed = { name: 'mixed', summary: '', modes: { A: 'local', B: 'nfs' }, steps }
    expect(findMistakes(mixed, { served: ['B'] })).toEqual([
      'step 3: server is dead already',
      'step 6: the mode has no network',
    ])
    expect(modesOfMounts(mixed, 'nfs')).toEqual(mixed.modes)
    expect(modesOfMounts({ name: 'plain', summary: '', steps }, 'nfs')).toEqual({ A: 'nfs', B: 'nfs' })
  })

  test('finds a job that is started twice, and a bad name', () => {
    const start = A.start('x', 'true', 'why')
    expect(mistakes([start, start, job('x').ends(done, 'why')])).toEqual(['step 2: x runs already'])
    const named = { name: 'Two Words', summary: '', steps: [A.run('true', done, 'why')] }
    expect(findMistakes(named, { served: MOUNTS })).toEqual(['Two Words is not a name'])
  })

  test('finds options for a server where there is none', () => {
    const told = { name: 'a-name', summary: '', serverOptions: { life: '1' }, steps: [A.run('true', done, 'why')] }
    expect(findMistakes(told, { served: MOUNTS })).toEqual([])
    expect(findMistakes(told, { served: [] })).toEqual(['there is no server that could be told anything'])
  })
})

describe.each(modesWithScenarios)('the scenarios of mode %s', (mode) => {
  test('make sense, under names of their own', async () => {
    const { serverOptions = [] } = await loadMode(mode)
    const flags = serverOptions.map((option) => option.flags)
    const scenarios = scenariosOf(mode)
    for (const scenario of scenarios) {
      const modes = modesOfMounts(scenario, mode)
      const hasServer = async (name: MountName) => (await loadMode(modes[name])).serve !== undefined
      const served = (await Promise.all(MOUNTS.map(hasServer))).flatMap((has, i) =>
        has ? [MOUNTS[i] as MountName] : [],
      )
      expect(findMistakes(scenario, { served }), scenario.name).toEqual([])
      for (const name of Object.keys(scenario.serverOptions ?? {}))
        expect(flags, scenario.name).toContainEqual(expect.stringMatching(new RegExp(`^--${name} `)))
      expect(scenario.summary).toMatch(/^[^\n]{1,110}$/)
    }
    expect(new Set(scenarios.map(({ name }) => name)).size).toBe(scenarios.length)
  })
})

test('a mode that is not there has none', () => {
  expect(scenariosOf('toString')).toEqual([])
})
