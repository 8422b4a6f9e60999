import type { Scenario } from '../../scenario.ts'
import { closeToOpen } from './close-to-open.ts'
import { deadlock } from './deadlock.ts'
import { estale } from './estale.ts'
import { exclusiveCreateOnce } from './exclusive-create-once.ts'
import { handlesSurvive } from './handles-survive.ts'
import { hardPartition } from './hard-partition.ts'
import { locks } from './locks.ts'
import { locksAfterRestart } from './locks-after-restart.ts'
import { lookupcachePositive } from './lookupcache-positive.ts'
import { lostAppend } from './lost-append.ts'
import { negativeEntry } from './negative-entry.ts'
import { noCloseToOpen } from './no-close-to-open.ts'
import { noLocks } from './no-locks.ts'
import { serverKilledWhileWriting } from './server-killed-while-writing.ts'
import { sillyOrphan } from './silly-orphan.ts'
import { sillyRename } from './silly-rename.ts'
import { softPartition } from './soft-partition.ts'
import { staleOpenFile } from './stale-open-file.ts'
import { staleStat } from './stale-stat.ts'
import { whoeverYouSay } from './whoever-you-say.ts'
import { whyStale } from './why-stale.ts'
import { writtenAtClose } from './written-at-close.ts'

export const nfsScenarios: readonly Scenario[] = [
  staleStat,
  whyStale,
  closeToOpen,
  noCloseToOpen,
  staleOpenFile,
  writtenAtClose,
  negativeEntry,
  lookupcachePositive,
  sillyRename,
  sillyOrphan,
  estale,
  lostAppend,
  serverKilledWhileWriting,
  handlesSurvive,
  locks,
  noLocks,
  deadlock,
  locksAfterRestart,
  hardPartition,
  softPartition,
  exclusiveCreateOnce,
  whoeverYouSay,
]
