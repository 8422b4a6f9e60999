// Random changes of a tree on the mount and on a native directory alike: results, errors and trees are equal
// (support/fsstress.py).
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'vitest'
import type { Capability } from '../support/capabilities.ts'
import { onEachTarget } from '../support/each-target.ts'
import { seed } from '../support/random.ts'
import { run as runProgram } from '../support/run.ts'
import { agrees } from '../support/scripts.ts'
import { scratch, type Target } from '../support/targets.ts'

/** What a target must have for an operation. */
const requirements: Record<string, Capability> = {
  noreplace: 'renameFlags',
  exchange: 'renameFlags',
  xattr: 'xattrs',
  getxattr: 'xattrs',
}

function options({ missing }: Target, run: number): string[] {
  const without = Object.keys(requirements).filter((name) => missing[requirements[name] as Capability] !== undefined)
  const users = missing.otherUsers === undefined && missing.callers === undefined ? ['--users'] : []
  return ['--seed', String(run), '--operations', '2500', '--without', without.join(','), ...users]
}

async function stress(target: Target, run: number, mounts: readonly string[]): Promise<void> {
  const reference = join(scratch('fsstress'), 'reference')
  mkdirSync(reference)
  const folders = mounts.map((mount) => join(mount, `stress${run}`))
  await runProgram('mkdir', [folders[0] as string])
  await runProgram('chmod', ['777', folders[0] as string, reference])
  await agrees('fsstress.py', [...options(target, run), reference, ...folders])
}

onEachTarget('fsstress on one mount', { mounts: 1 }, (mounts) => {
  for (const run of [seed(), seed() + 1]) test(`seed ${run}`, () => stress(mounts.target, run, [mounts.a]))
})

onEachTarget('fsstress on two mounts by turns', { mounts: 2, needs: ['coherence'] }, (mounts) => {
  for (const run of [seed() + 2, seed() + 3])
    test(`seed ${run}`, () => stress(mounts.target, run, [mounts.a, mounts.b]))
})
