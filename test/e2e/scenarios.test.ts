// Every scenario of the product, on real mounts, as `proteus demo` plays it. Each has a lab of its own, and most of their
// time is spent waiting: several are played at once.
import { readdirSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { modesWithScenarios, scenariosOf } from '../../src/lab/catalogue.ts'
import { Cli, parseLines } from '../support/cli.ts'
import { mountsUnder } from '../support/mounts.ts'

describe.each(modesWithScenarios)('mode %s', (mode) => {
  const scenarios = scenariosOf(mode).map(({ name, steps }) => [name, steps.length] as const)
  test.concurrent.each(scenarios)('%s', { timeout: 120_000 }, async (name, steps) => {
    const cli = new Cli()
    try {
      const { code, stdout, stderr } = await cli.run('demo', mode, name, '--json')
      const all = parseLines(stdout)
      // On a machine that was too slow for it at first the last time counts.
      const events = all.slice(all.findLastIndex(({ event }) => event === 'scenario'))
      expect(events.filter(({ ok }) => ok === false)).toEqual([])
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
      expect(events[0]).toMatchObject({ event: 'scenario', mode, scenario: name, steps })
      expect(events.filter(({ event }) => event === 'seen').length).toBe(steps)
      expect(events.at(-1)).toEqual({ event: 'summary', mode, ok: true, scenarios: 1, skipped: 0, failed: [] })
      expect(mountsUnder(cli.folder)).toEqual([])
      expect(cli.processes()).toEqual([])
      expect(readdirSync(cli.folder)).toEqual([])
    } finally {
      await cli.cleanUp()
    }
  })
})
