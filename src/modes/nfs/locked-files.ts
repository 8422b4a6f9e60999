// What a lock means for the caches of a file: it is a point of coherence (see client-locks.ts).
import type { Clock } from '../../host/clock.ts'
import type { LockedFiles } from './client-locks.ts'
import type { ClientState } from './client-state.ts'

/** How soon, and how often, the kernel is told again to drop pages when it had no room to hear of it. */
const AGAIN_MS = 10
const TRIES = 500

export function lockedFilesOf(state: ClientState, clock: Clock): LockedFiles {
  const { caches, connection, nodes } = state
  const pause = (): Promise<void> => new Promise((resolve) => clock.after(AGAIN_MS, resolve))
  return {
    node: (id) => nodes.get(id),
    known: (handle) => nodes.known(handle),
    credential: (context) => connection.credentialOf(context),
    flush: (context, node, handle) => node.writes?.flush(context, handle, 'stable'),
    async refresh(context, node) {
      caches.distrust(node, 'a lock was granted: others may have written before')
      // The lock is granted even if nobody knows what the file is like: whoever reads it will hear of that.
      await state.revalidate(node, context).catch(() => undefined)
      // All pages, whatever the attributes say: of two changes in one tick of the server's clock they tell one. A request
      // for a lock holds nothing in the kernel for which dropping pages would have to wait. It is the last notification
      // before the answer, behind those that the attributes led to: one that came later could meet the program's GETATTR,
      // whose answer the kernel would then not believe, and read on with the old size.
      for (let tries = 0; tries < TRIES && !(await caches.dropPages(node)); tries++) await pause()
    },
    unlocked: (node) => nodes.collect(node),
  }
}
