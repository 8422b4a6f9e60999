// Random reads, writes, truncations, mappings and holes on one file, against a model in memory (support/fsx.py).
import { join } from 'node:path'
import { test } from 'vitest'
import type { Capability } from '../support/capabilities.ts'
import { onEachTarget } from '../support/each-target.ts'
import { seed } from '../support/random.ts'
import { agrees } from '../support/scripts.ts'
import type { Target } from '../support/targets.ts'

/** What a target must have for an operation. */
const requirements: Record<string, Capability> = {
  punch: 'fallocate',
  zero: 'fallocate',
  allocate: 'fallocate',
  map_read: 'sharedMmap',
  map_write: 'sharedMmap',
}

const without = ({ missing }: Target): string =>
  Object.keys(requirements)
    .filter((operation) => missing[requirements[operation] as Capability] !== undefined)
    .join(',')

const operations = 2500

onEachTarget('fsx on one mount', { mounts: 1 }, (mounts) => {
  for (const run of [seed(), seed() + 1]) {
    test(`seed ${run}`, async () => {
      const args = ['--seed', run, '--operations', operations, '--without', without(mounts.target)]
      await agrees('fsx.py', [...args, join(mounts.a, `one${run}`)])
    })
  }
})

onEachTarget('fsx on two mounts by turns', { mounts: 2, needs: ['coherence'] }, (mounts) => {
  for (const run of [seed() + 2, seed() + 3]) {
    test(`seed ${run}`, async () => {
      const args = ['--seed', run, '--operations', operations, '--without', without(mounts.target)]
      const files = [mounts.a, mounts.b].map((mount) => join(mount, `two${run}`))
      await agrees('fsx.py', [...args, ...files])
    })
  }
})
