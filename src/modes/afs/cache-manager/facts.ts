// What a mount tells of itself: what is believed and until when, what is cached, what is under way and what is not stored
// (`.proteus/status`, `user.proteus.*`).

import type { Link } from '../../../rpc/link.ts'
import type { ControlProvider, Status } from '../../../vfs/control.ts'
import type { NodeId } from '../../../vfs/filesystem.ts'
import { controlFilesOf, unstoredFiles } from './control-files.ts'
import type { ClientLocks } from './locks.ts'
import type { CacheManager } from './manager.ts'
import { pathsOf } from './paths.ts'
import type { Vnode } from './vnodes.ts'

/** Files that a status lists by name. */
const LISTED = 50

export interface FactsOptions {
  readonly cm: CacheManager
  readonly link: Link
  readonly locks: ClientLocks
  /** What is mounted, for people. */
  readonly url: string
  readonly cacheDirectory: string
}

const time = (ms: number): string => new Date(ms).toISOString()

export function controlOf(options: FactsOptions): ControlProvider {
  return {
    network: options.link,
    status: () => statusOf(options),
    facts: (node) => factsOf(options, node),
    files: controlFilesOf(options),
  }
}

function statusOf({ cm, link, locks, url, cacheDirectory }: FactsOptions): Status {
  const { cache, transfers, vnodes } = cm
  let promised = 0
  for (const vnode of vnodes) if (cm.isValid(vnode)) promised++
  const { bytes, files } = cache.usage
  const now = cm.now()
  const pathOf = pathsOf(cm)
  return {
    root: url,
    servers: [...cm.servers].map((server) => {
      const { state, lastError, waiting } = server.client.status()
      return {
        server: server.name,
        connection: state,
        responding: server.lostAt === undefined,
        ...(server.lostAt === undefined ? {} : { notRespondingSince: time(server.lostAt) }),
        ...(server.dead ? { dead: true } : {}),
        ...(lastError === undefined ? {} : { lastError }),
        waiting: waiting.map((call) => ({ ...call, since: time(call.since) })),
        calls: callsOf(server.client.statistics.snapshot()),
      }
    }),
    volumes: [...cm.cells].flatMap((cell) =>
      [...cell.volumes.values()].map(({ name, id, type, server }) => ({
        cell: cell.name,
        name,
        id,
        type,
        server: server.name,
      })),
    ),
    network: link.show(),
    callbacks: { promised, known: vnodes.size, breaks: cm.breaks },
    cache: { directory: cacheDirectory, bytes, files, limitBytes: cache.limits.bytes, limitFiles: cache.limits.files },
    transfers: [...transfers].slice(0, LISTED).map(({ direction, key, length, done, since }) => ({
      ...{ direction, file: pathOf(key), bytes: done, of: length },
      percent: length === 0 ? 100 : Math.floor((100 * done) / length),
      bytesPerSecond: Math.round((1000 * done) / Math.max(1, now - since)),
    })),
    fetched: { files: transfers.fetched, bytes: transfers.fetchedBytes },
    stored: { files: transfers.stored, bytes: transfers.storedBytes },
    overwritten: cm.overwritten,
    unstored: unstoredFiles(cm, cacheDirectory)
      .slice(0, LISTED)
      .map(({ key: _, ...file }) => file),
    openFiles: cm.files.size,
    nodesKnownToKernel: cm.nodes.size,
    locks: { held: locks.size, lost: locks.lost },
  }
}

const callsOf = (counters: Readonly<Record<string, { calls: number }>>): Record<string, number> =>
  Object.fromEntries(Object.entries(counters).map(([name, { calls }]) => [name, calls]))

function factsOf({ cm }: FactsOptions, id: NodeId): Record<string, string> {
  const node = cm.nodes.find(id)
  if (node === undefined) return {}
  const { vnode, content } = node
  const { volume, fid, status } = vnode
  // It is no file of any server.
  if (vnode === cm.dynamicRoot?.vnode) return { volume: volume.name, cell_server: volume.cell.location.name }
  const file = cm.cache.find(vnode.key)
  return {
    fid: `${fid.volume}.${fid.vnode}.${fid.unique}`,
    volume: volume.name,
    cell: volume.cell.name,
    server: volume.server.name,
    cell_server: volume.cell.location.name,
    ...(status === undefined ? {} : { data_version: String(content?.version ?? status.dataVersion) }),
    callback: callbackOf(cm, vnode),
    ...(file === undefined
      ? {}
      : {
          cached: JSON.stringify({
            version: file.version,
            state: file.state,
            bytes: file.stamp.size,
            opens: content?.opens ?? 0,
            writers: content?.writers ?? 0,
          }),
        }),
    ...(vnode.node === node ? {} : { superseded: 'a later version is what the name leads to' }),
  }
}

/** `until` when nobody has to be asked. */
function callbackOf(cm: CacheManager, vnode: Vnode): string {
  const { promise } = vnode
  if (cm.isValid(vnode)) return `promised until ${time(promise.expiresAt)}`
  if (promise.broken > 0 && promise.broken >= promise.given) return 'broken'
  return promise.given === 0 ? 'none' : 'expired'
}
