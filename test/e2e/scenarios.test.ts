// Every scenario of the product, on real mounts, as `proteus demo` plays it. Each has a lab of its own, and most of their
// time is spent waiting: several are played at once. What this machine does not grant to a scenario is a reason to skip it.
import { readdirSync } from 'node:fs'
import { describe, test } from 'vitest'
import { modesWithScenarios, scenariosOf } from '../../src/lab/catalogue.ts'
import { Cli, parseLines } from '../support/cli.ts'
import { mountsUnder } from '../support/mounts.ts'

describe.each(modesWithScenarios)('mode %s', (mode) => {
  const scenarios = scenariosOf(mode).map(({ name, steps, needs = [] }) => [name, steps.length, needs] as const)
  test.concurrent.for(scenarios)('%s', { timeout: 120_000 }, async ([name, steps, needs], { expect, skip }) => {
    const cli = new Cli()
    /** Why it was not played. */
    let skipped: string | undefined
    try {
      const { code, stdout, stderr } = await cli.run('demo', mode, name, '--json')
      const all = parseLines(stdout)
      // On a machine that was too slow for it at first the last time counts.
      const events = all.slice(all.findLastIndex(({ event }) => event === 'scenario'))
      expect(events.filter(({ ok }) => ok === false)).toEqual([])
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
      const refusal = all.find(({ event }) => event === 'skipped')
      if (refusal !== undefined) skipped = String(refusal.reason)
      if (skipped === undefined) {
        expect(events[0]).toMatchObject({ event: 'scenario', mode, scenario: name, steps })
        expect(events.filter(({ event }) => event === 'seen').length).toBe(steps)
      } else {
        expect(needs).not.toEqual([])
      }
      const count = skipped === undefined ? { scenarios: 1, skipped: 0 } : { scenarios: 0, skipped: 1 }
      expect(events.at(-1)).toEqual({ event: 'summary', mode, ok: true, ...count, failed: [] })
      expect(mountsUnder(cli.folder)).toEqual([])
      expect(cli.processes()).toEqual([])
      expect(readdirSync(cli.folder)).toEqual([])
    } finally {
      await cli.cleanUp()
    }
    if (skipped === undefined) return
    console.warn(`${mode}/${name} is skipped: ${skipped}`)
    skip(skipped)
  })
})
