// What a mount tells of itself: which server and whether it responds, what it costs, and per file why it may be stale and
// until when (`.proteus/status`, `user.proteus.*`).
import { isRegular } from '../../posix/mode.ts'
import type { ChangeAttributes } from '../../vfs/change-attributes.ts'
import type { ControlProvider, Status } from '../../vfs/control.ts'
import type { NodeId } from '../../vfs/filesystem.ts'
import { NO_FINDINGS } from './append-detector.ts'
import { lockFacts } from './client-locks-facts.ts'
import type { ClientState } from './client-state.ts'
import { NO_WRITES } from './write-types.ts'

const time = (ms: number): string => new Date(ms).toISOString()

const change = ({ size, mtime, ctime }: ChangeAttributes) => ({
  size,
  mtime: `${mtime.sec}.${String(mtime.nsec).padStart(9, '0')}`,
  ctime: `${ctime.sec}.${String(ctime.nsec).padStart(9, '0')}`,
})

export function controlOf(state: ClientState, path: string): ControlProvider {
  return {
    network: state.connection.link,
    status: () => statusOf(state, path),
    facts: (node) => factsOf(state, node),
  }
}

function statusOf(state: ClientState, path: string): Status {
  const { connection, mounted, options, files, nodes, silly, room, locks, appends } = state
  const { peer, transport, state: channel, notRespondingSince, lastError, waiting } = connection.client.status()
  const calls = Object.entries(connection.client.statistics.snapshot())
  return {
    server: `${peer}${path}`,
    transport,
    connection: channel,
    responding: notRespondingSince === undefined,
    ...(notRespondingSince === undefined ? {} : { notRespondingSince: time(notRespondingSince) }),
    ...(lastError === undefined ? {} : { lastError }),
    waiting: waiting.map((call) => ({ ...call, since: time(call.since) })),
    retransmissions: calls.reduce((sum, [, counters]) => sum + counters.retransmissions, 0),
    calls: Object.fromEntries(calls.map(([name, counters]) => [name, counters.calls])),
    network: connection.link.show(),
    retry: options.soft ? 'soft' : 'hard',
    readBytes: mounted.readBytes,
    writeBytes: mounted.writeBytes,
    attributeTimeouts: options.attributeTimeouts,
    closeToOpen: options.closeToOpen,
    lookupcache: options.lookupCaching,
    openFiles: files.size,
    nodesKnownToKernel: nodes.size,
    unwrittenBytes: room.budget.bytes,
    appends,
    locks: locks === undefined ? 'kept to this mount (nolock)' : lockFacts(state, locks),
    removedWhileOpen: silly.all().map(({ name, was }) => `${name} (was ${was})`),
  }
}

function factsOf(state: ClientState, id: NodeId): Record<string, string> {
  const { caches, nodes, silly } = state
  const node = nodes.find(id)
  const facts = caches.attributes.facts(id)
  if (node === undefined) return {}
  const pages = caches.pages.facts(id)
  const removed = silly.ofNode(id)
  const cache = facts && {
    validatedAt: time(facts.validatedAtMs),
    validUntil: time(facts.validUntilMs),
    timeoutMs: facts.timeoutMs,
    believed: facts.believed,
    why: facts.why,
    seen: change(facts.seen),
    ...(removed === undefined ? {} : { removed: `was ${removed.was}; goes with the last close on this mount` }),
    ...(pages === undefined ? {} : { opens: pages.opens, invalidating: pages.invalidating }),
    ...(pages?.cachedUnder === undefined ? {} : { pagesCachedUnder: change(pages.cachedUnder) }),
  }
  return {
    handle: node.handle.toString('hex'),
    ...(cache === undefined ? {} : { cache: JSON.stringify(cache) }),
    ...(isRegular(caches.attributes.known(id)?.attributes.mode ?? 0)
      ? {
          writes: JSON.stringify(node.writes?.facts ?? NO_WRITES),
          appends: JSON.stringify(node.writes?.appends ?? NO_FINDINGS),
        }
      : {}),
    ...(removed === undefined ? {} : { removed: `${removed.name} (was ${removed.was})` }),
  }
}
