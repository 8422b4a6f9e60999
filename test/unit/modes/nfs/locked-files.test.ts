import { expect, test } from 'vitest'
import type { ClientState } from '../../../../src/modes/nfs/client-state.ts'
import { lockedFilesOf } from '../../../../src/modes/nfs/locked-files.ts'
import type { NfsNode } from '../../../../src/modes/nfs/nodes.ts'
import { FsError } from '../../../../src/posix/errors.ts'
import type { CallContext } from '../../../../src/vfs/filesystem.ts'
import { settle, TestClock } from '../../rpc/test-clock.ts'

const node = {} as NfsNode
const context = {} as CallContext

test('a granted lock: the pages go last, when the attributes have been asked for and all they led to is on its way', async () => {
  const log: string[] = []
  const clock = new TestClock()
  let known = (): void => {}
  let room = false
  const state = {
    caches: {
      distrust: () => log.push('distrust'),
      async dropPages() {
        log.push('drop')
        return room
      },
    },
    revalidate() {
      log.push('ask')
      return new Promise<void>((_, reject) => {
        known = () => reject(new FsError('ESTALE'))
      })
    },
  } as unknown as ClientState
  const refreshed = lockedFilesOf(state, clock).refresh(context, node)
  await settle()
  expect(log).toEqual(['distrust', 'ask'])
  known()
  await settle()
  expect(log).toEqual(['distrust', 'ask', 'drop'])
  // The kernel had no room for the notification: it is told again.
  room = true
  await clock.pass(10)
  await refreshed
  expect(log).toEqual(['distrust', 'ask', 'drop', 'drop'])
})
