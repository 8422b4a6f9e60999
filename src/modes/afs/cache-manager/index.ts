// The client half of mode `afs`: each mount is a cache manager of its own, with its own cache, connections and network.
import { randomUUID } from 'node:crypto'
import { mkdirSync, readFileSync, renameSync, statfsSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { hostClock } from '../../../host/clock.ts'
import { KeepAwake } from '../../../host/keep-awake.ts'
import { Link } from '../../../rpc/link.ts'
import { traceTime } from '../../../trace/trace.ts'
import { Callers } from '../../../vfs/callers.ts'
import { Interruptions } from '../../../vfs/interruption.ts'
import { WholeFileCache } from '../../../vfs/whole-files/whole-file-cache.ts'
import type { Address, Connection, ModeMount, MountPlace } from '../../mode.ts'
import { AFS_PORT } from '../limits.ts'
import type { Who } from '../records.ts'
import { ROOT_CELL } from '../volume-registry.ts'
import { CellDatabase } from './cell-database.ts'
import { type Cell, Cells } from './cells.ts'
import { DynamicRoot } from './dynamic-root.ts'
import { controlOf } from './facts.ts'
import { type Caller, FileServers } from './file-server.ts'
import { AfsFileSystem } from './file-system.ts'
import { ClientLocks } from './locks.ts'
import { CacheManager } from './manager.ts'
import type { AfsOptions } from './options.ts'
import { storeLeftBehind } from './stores.ts'
import type { Vnode } from './vnodes.ts'

/** How long the event loop stays awake after an answer of a server, in microseconds. */
const SPIN_US = 100
/** What a cache takes of the disk if nobody says: at most this many bytes, and at most half of what is free. */
const CACHE_BYTES = 10 * 2 ** 30
const LIMITATIONS = ['byte-range locks hold on this mount only; flock(2) holds everywhere'] as const

export class AfsMounts implements Connection {
  readonly #address: Address
  readonly #options: AfsOptions
  readonly #fileSystems: AfsFileSystem[] = []

  constructor(address: Address, options: AfsOptions) {
    this.#address = address
    this.#options = options
  }

  async mount({ cacheDirectory, target, warn }: MountPlace): Promise<ModeMount> {
    const options = this.#options
    const [server] = this.#address.hosts
    if (server === undefined) throw new Error('mode afs needs a server: afs://host[:port]/volume')
    const address = { host: server.host, port: server.port ?? AFS_PORT }
    const directory = options.cacheDirectory ?? cacheDirectory
    mkdirSync(directory, { recursive: true, mode: 0o700 })
    const cache = await WholeFileCache.open(directory, {
      limits: { bytes: options.cacheBytes ?? defaultBytes(directory), files: options.cacheFiles },
      idleDescriptors: idleDescriptors(),
      onBackgroundError: (error) => warn(`cache: ${error.message}`),
      onDamage: ({ key }, damage) => warn(`the cached copy of ${key} is damaged (${damage})`),
    })
    const link = new Link()
    const clock = hostClock()
    const callers = new Callers<Who>({
      now: traceTime,
      describe: ({ groups, ...user }) => ({ ...user, groups: [...groups] }),
    })
    const self: Who = {
      uid: process.getuid?.() ?? 0,
      gid: process.getgid?.() ?? 0,
      groups: process.getgroups?.() ?? [],
    }
    const whoIs = (caller: Caller): Who => ('who' in caller ? caller.who : callers.of(caller))
    let cm: CacheManager | undefined
    let locks: ClientLocks | undefined
    const servers = new FileServers({
      ...{ id: clientId(directory), link, clock, mount: target, deadMs: options.deadMs },
      awake: new KeepAwake(SPIN_US),
      interruptions: new Interruptions({ clock }),
      tokenFile: options.tokenFile,
      caFile: options.caFile,
      events: {
        broken: (fids) => cm?.broken(fids),
        voided: (from) => {
          cm?.voided(from)
          void locks?.reclaim(from)
        },
        returned: () => {
          if (cm !== undefined) void storeLeftBehind(cm)
        },
      },
    })
    const database = new CellDatabase({ path: options.cellServDb, dns: options.afsdb })
    const cells = new Cells(servers, database)
    const onError = (error: Error) =>
      warn(error.cause instanceof Error ? `${error.message}: ${error.cause.message}` : error.message)
    cm = new CacheManager({
      ...{ servers, cells, cache, self, whoIs, onError },
      now: traceTime,
      statuses: options.statuses,
    })
    const end = async (): Promise<void> => {
      await Promise.all([...servers].map((one) => one.leave()))
      servers.close()
      await cache.close()
    }
    try {
      const caller = { who: self }
      const cell = await cells.of(address, caller)
      const root = options.dynamicRoot
        ? allCells(cm, cell, database)
        : await rootOf(cm, cell, this.#address.path || ROOT_CELL.name, caller)
      cm.nodes.root(root)
      void storeLeftBehind(cm)
      const held = new ClientLocks(cm, clock, warn)
      locks = held
      cm.onMoved = (volume) => held.moved(volume)
      const fileSystem = new AfsFileSystem(cm, locks, end)
      this.#fileSystems.push(fileSystem)
      const url = `afs://${cell.location.name}/${root.volume.name}`
      return {
        fileSystem,
        control: controlOf({ cm, link, locks, url, cacheDirectory: directory }),
        kernelChecksPermissions: true,
        limitations: LIMITATIONS,
      }
    } catch (error) {
      await end()
      throw error
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.#fileSystems.map((fileSystem) => fileSystem.detach()))
  }
}

async function rootOf(cm: CacheManager, cell: Cell, name: string, caller: Caller): Promise<Vnode> {
  const volume = await cm.cells.volume(cell, name, { readOnly: false }, caller)
  const root = cm.vnode(volume, volume.root)
  await cm.fetchStatus(root, caller)
  return root
}

/** The cell of the server that was named, and those of the database. */
function allCells(cm: CacheManager, home: Cell, database: CellDatabase): Vnode {
  const all = new DynamicRoot(cm, home.location, database)
  cm.dynamicRoot = all
  for (const name of [home.name, ...database.names]) all.show(name)
  return all.vnode
}

/** Cached files that stay open for the next open: a fourth of what this process may have open. */
function idleDescriptors(): number {
  const limit = /^Max open files +(\d+)/m.exec(readFileSync('/proc/self/limits', 'latin1'))?.[1]
  return Math.min(4096, Math.floor(Number(limit ?? 1024) / 4))
}

function defaultBytes(directory: string): number {
  const { bavail, bsize } = statfsSync(directory)
  return Math.max(2 ** 20, Math.min(CACHE_BYTES, (bavail * bsize) / 2))
}

/** The name by which servers know this client: it stays with the cache. */
function clientId(directory: string): string {
  const path = `${directory}/client-id`
  try {
    const id = readFileSync(path, 'latin1').trim()
    if (/^[\w.-]{1,200}$/.test(id)) return id
  } catch {
    // There is none yet.
  }
  const id = `${hostname()
    .replace(/[^\w.-]/g, '-')
    .slice(0, 100)}.${randomUUID()}`
  writeFileSync(`${path}.new`, `${id}\n`, { mode: 0o600 })
  renameSync(`${path}.new`, path)
  return id
}
