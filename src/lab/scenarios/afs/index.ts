import type { Scenario } from '../../scenario.ts'
import { besideNfs } from './beside-nfs.ts'
import { callbackBreak } from './callback-break.ts'
import { clientRestart } from './client-restart.ts'
import { fsyncStores } from './fsync-stores.ts'
import { lastCloseWins } from './last-close-wins.ts'
import { locks } from './locks.ts'
import { negativeLookup } from './negative-lookup.ts'
import { partition } from './partition.ts'
import { readOnlyRelease } from './read-only-release.ts'
import { removedWhileOpen } from './removed-while-open.ts'
import { serverRestart } from './server-restart.ts'
import { sessionSemantics } from './session-semantics.ts'
import { undeliveredBreak } from './undelivered-break.ts'
import { unstoredChanges } from './unstored-changes.ts'
import { volumeMove } from './volume-move.ts'
import { warmOpen } from './warm-open.ts'
import { whileItComes } from './while-it-comes.ts'

export const afsScenarios: readonly Scenario[] = [
  // Sessions and promises.
  sessionSemantics,
  fsyncStores,
  callbackBreak,
  warmOpen,
  negativeLookup,
  lastCloseWins,
  whileItComes,
  removedWhileOpen,
  locks,
  // Networks, servers and clients that fail.
  partition,
  undeliveredBreak,
  serverRestart,
  clientRestart,
  unstoredChanges,
  // Volumes.
  volumeMove,
  readOnlyRelease,
  // Other protocols.
  besideNfs,
]
