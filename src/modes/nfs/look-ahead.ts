// Attributes for who lists a directory from the kernel's cache and then asks for each name (`ls -l`): a few READDIRPLUS
// stand for a LOOKUP or GETATTR of each, as in Linux' NFS client (`nfs_readdir_handle_cache_misses` in fs/nfs/dir.c).
import type { CallContext } from '../../vfs/filesystem.ts'
import { listFrom, NO_VERIFIER } from './client-directories.ts'
import type { ClientState } from './client-state.ts'
import type { NfsNode } from './nodes.ts'

/** READDIRPLUS for one directory: beyond, names are asked for one by one. */
const MAX_CALLS = 16

/** Has the server tell of all names of a directory, if many were asked for one by one. True: it is worth looking again. */
export async function lookAhead(state: ClientState, context: CallContext, directory: NfsNode): Promise<boolean> {
  // With `lookupcache=none` a name is asked for each time.
  if (state.options.lookupCaching === 'none' || !state.caches.listings.missed(directory.id)) return false
  const sweep = state.sweeps.get(directory.id) ?? sweepOnce(state, context, directory)
  state.sweeps.set(directory.id, sweep)
  await sweep
  return true
}

/** A failure is left to those who ask for themselves. */
function sweepOnce(state: ClientState, context: CallContext, directory: NfsNode): Promise<void> {
  return sweep(state, context, directory)
    .catch(() => undefined)
    .finally(() => state.sweeps.delete(directory.id))
}

async function sweep(state: ClientState, context: CallContext, directory: NfsNode): Promise<void> {
  const { caches, nodes } = state
  caches.ahead.begin(directory.id)
  for (let calls = 0, cookie = 0n, verifier: Buffer = NO_VERIFIER; calls < MAX_CALLS; calls++) {
    const answer = await listFrom(state, context, directory, { cookie, verifier, plus: true })
    const { directory: under, request } = answer
    for (const { name, attributes, handle } of answer.entries) {
      if (attributes === undefined || handle === undefined || under === undefined || name === '.' || name === '..')
        continue
      const node = nodes.known(handle)
      if (node !== undefined) caches.learn(node, attributes, request)
      const found = { attributes, directory: under, request }
      caches.ahead.put(directory.id, name, { object: node?.handle ?? Buffer.from(handle), ...found })
    }
    if (answer.eof) return
    cookie = answer.entries.at(-1)?.cookie ?? 0n
    verifier = answer.verifier
  }
}
