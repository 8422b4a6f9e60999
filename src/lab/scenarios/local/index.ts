import type { Scenario } from '../../scenario.ts'
import { appends } from './appends.ts'
import { crash } from './crash.ts'
import { deadlock } from './deadlock.ts'
import { locks } from './locks.ts'
import { mapping } from './mapping.ts'
import { replaced } from './replaced.ts'
import { seenAtOnce } from './seen-at-once.ts'
import { unlinked } from './unlinked.ts'

export const localScenarios: readonly Scenario[] = [
  seenAtOnce,
  locks,
  deadlock,
  appends,
  replaced,
  mapping,
  unlinked,
  crash,
]
