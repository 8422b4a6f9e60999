// The scenarios there are, mode by mode, in the order in which they are told.
import type { Scenario } from './scenario.ts'
import { afsScenarios } from './scenarios/afs/index.ts'
import { localScenarios } from './scenarios/local/index.ts'
import { nfsScenarios } from './scenarios/nfs/index.ts'

const CATALOGUE: Readonly<Record<string, readonly Scenario[]>> = {
  local: localScenarios,
  nfs: nfsScenarios,
  afs: afsScenarios,
}

export const modesWithScenarios: readonly string[] = Object.keys(CATALOGUE)

/** In order; empty for a mode without any. */
export function scenariosOf(mode: string): readonly Scenario[] {
  return Object.hasOwn(CATALOGUE, mode) ? (CATALOGUE[mode] ?? []) : []
}
