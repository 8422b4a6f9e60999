// What `.proteus/status` tells of the locks of a mount.
import type { ClientLocks } from './client-locks.ts'
import type { ClientState } from './client-state.ts'
import type { HeldNlmLock, WaitingNlmLock } from './nlm-types.ts'

const WHY: Readonly<Record<WaitingNlmLock['state'], string>> = {
  queued: 'an earlier request of the same owner is not answered',
  asking: 'the server has not answered',
  blocked: 'somebody else holds a lock in the way',
  grace: 'the server has restarted and lets those in first who held locks before',
}

const time = (ms: number): string => new Date(ms).toISOString()

export function lockFacts(state: ClientState, { runner }: ClientLocks) {
  const { machine, manager, lost } = runner
  const view = (lock: HeldNlmLock) => ({
    ino: state.caches.attributes.known(lock.file)?.attributes.ino ?? 0,
    bytes: lock.end === Number.POSITIVE_INFINITY ? `${lock.start}-` : `${lock.start}-${lock.end}`,
    kind: lock.exclusive ? 'exclusive' : 'shared',
    by: typeof lock.owner === 'string' ? 'flock' : 'fcntl',
  })
  const withPid = (lock: HeldNlmLock) => ({ ...view(lock), pid: runner.holderOf(lock.owner)?.pid ?? 0 })
  return {
    ...manager.status(),
    held: machine.held().map(withPid),
    waiting: machine.waiting().map((lock) => ({
      ...withPid(lock),
      since: time(lock.sinceMs),
      state: lock.state,
      why: WHY[lock.state],
    })),
    lost: lost.map((lock) => ({ ...view(lock), pid: lock.pid, at: time(lock.atMs) })),
  }
}
