// Snapshots and replicas: `.backup` beside the RW volume, `.readonly` on each of its sites. Each takes the place of the one
// before at once.
import fs from 'node:fs'
import { FsError } from '../../posix/errors.ts'
import type { IncomingBytes } from '../../rpc/ws/index.ts'
import type { Volume } from '../../store/volume.ts'
import { ANSWER_MS } from './other-servers.ts'
import { VOLSER, type VolserArguments, type VolserResult, type VolumeInfo } from './protocol-volumes.ts'
import type { Work } from './transactions.ts'
import { ID_STEP } from './vldb.ts'
import { dropClone } from './volume-admin.ts'
import { changeEntry } from './volume-location.ts'
import { backupName, baseName, readOnlyName } from './volume-names.ts'
import { infoOf, reasonOf, requireRw, type VolumeParts } from './volume-parts.ts'
import { ROOT_CELL, type ServedVolume } from './volume-registry.ts'

const { GetReplica, ReceiveReplica, RemoveReplica } = VOLSER.procedures
const SOON = { timeoutMs: ANSWER_MS }

interface Made {
  readonly path: string
  readonly volume: Volume
}

/** A clone in a directory of its own, which `use` puts somewhere; what it does not put anywhere is taken away. */
async function withClone<T>(
  { hosted }: VolumeParts,
  served: ServedVolume,
  id: number,
  use: (made: Made, placed: () => void) => Promise<T>,
): Promise<T> {
  const path = hosted.newPath(id)
  let volume: Volume | undefined
  let isPlaced = false
  try {
    await served.volume.clone(path)
    volume = await hosted.openVolume(path, true)
    return await use({ path, volume }, () => {
      isPlaced = true
    })
  } finally {
    if (!isPlaced) {
      await volume?.close()
      await fs.promises.rm(path, { recursive: true, force: true })
    }
  }
}

export async function backup(parts: VolumeParts, name: string, signal: AbortSignal): Promise<VolumeInfo> {
  const { hosted, location, address, transactions } = parts
  const served = await requireRw(parts, name)
  const id = served.id + 2
  return transactions.run({ operation: 'backup', volume: name, signal }, served.id, async (work) => {
    await work.step('clone')
    return withClone(parts, served, id, async ({ path, volume }, placed) => {
      await work.step('replace')
      work.decide()
      placed()
      const createdMs = parts.now()
      await hosted.replace({ id, name: backupName(name), type: 'BK', doubtful: false, createdMs }, path, volume)
      await changeEntry(location, id, (entry) => ({ ...entry, backup: { id, server: address } }))
      return infoOf(hosted.registry.get(id), parts)
    })
  })
}

export async function release(parts: VolumeParts, name: string, signal: AbortSignal): Promise<VolserResult<'Release'>> {
  const { location, address, transactions } = parts
  const served = await requireRw(parts, name)
  return transactions.run({ operation: 'release', volume: name, signal }, served.id, async (work) => {
    const { sites } = await changeEntry(location, served.id, (entry) =>
      entry.sites.length > 0 ? undefined : { ...entry, sites: [address] },
    )
    await work.step('clone')
    return withClone(parts, served, served.id + 1, (made, placed) =>
      releaseTo(parts, { name, id: served.id + 1, sites, made, placed }, work),
    )
  })
}

interface Releasing {
  readonly name: string
  readonly id: number
  readonly sites: readonly string[]
  readonly made: Made
  readonly placed: () => void
}

/** Other sites first, so that what is here is still the clone that theirs were made of. */
async function releaseTo(parts: VolumeParts, releasing: Releasing, work: Work): Promise<VolserResult<'Release'>> {
  const { hosted, location, address } = parts
  const { name, id, sites, made, placed } = releasing
  const released: string[] = []
  const failed: { server: string; reason: string }[] = []
  for (const site of sites) {
    if (site === address) continue
    await work.step('dump')
    try {
      await sendReplica(parts, { ...releasing, site }, work)
      released.push(site)
    } catch (error) {
      if (work.signal.aborted) throw error
      failed.push({ server: site, reason: reasonOf(error) })
    }
  }
  if (sites.includes(address)) {
    await work.step('replace')
    work.decide()
    placed()
    const listed = { id, name: readOnlyName(name), type: 'RO', doubtful: false, createdMs: parts.now() } as const
    await hosted.replace(listed, made.path, made.volume)
    released.push(address)
  }
  work.decide()
  await changeEntry(location, id, (entry) => {
    const servers = entry.sites.filter((site) => released.includes(site) || entry.ro?.servers.includes(site))
    return { ...entry, ro: servers.length === 0 ? null : { id, servers } }
  })
  return { released, failed }
}

/** What has changed since the replica there, if that was made of the one that is here; else the whole. */
async function sendReplica(
  parts: VolumeParts,
  { name, id, made, site }: Releasing & { readonly site: string },
  work: Work,
): Promise<void> {
  const older = parts.hosted.registry.find(id)?.volume
  await parts.others.use(site, async (server) => {
    const { snapshot } = await server.call(GetReplica, { id }, { ...SOON, signal: work.signal })
    // Of one that came from elsewhere, when the volume was there, nothing can be told apart.
    const isBase = older?.origin !== undefined && older.snapshot === snapshot
    const since = isBase ? older : undefined
    const bytes = work.counted(made.volume.dump(since === undefined ? {} : { since }))
    const args = { id, name: readOnlyName(name), since: since === undefined ? null : snapshot }
    await server.call(ReceiveReplica, args, { bytes, signal: work.signal })
  })
}

export async function addSite(
  parts: VolumeParts,
  { name, server }: VolserArguments<'AddSite'>,
  signal: AbortSignal,
): Promise<void> {
  const { id } = await requireRw(parts, name)
  await parts.transactions.run({ operation: 'sites', volume: name, signal }, id, async () => {
    await changeEntry(parts.location, id, (entry) => {
      if (entry.sites.includes(server)) throw new FsError('EEXIST', `${server} is a site of ${name} already`)
      return { ...entry, sites: [...entry.sites, server] }
    })
  })
}

export async function removeSite(
  parts: VolumeParts,
  { name, server }: VolserArguments<'RemoveSite'>,
  signal: AbortSignal,
): Promise<void> {
  const { id } = await requireRw(parts, name)
  await parts.transactions.run({ operation: 'sites', volume: name, signal }, id, async () => {
    await changeEntry(parts.location, id, (entry) => {
      if (!entry.sites.includes(server)) throw new FsError('ENOENT', `${server} is no site of ${name}`)
      const servers = entry.ro?.servers.filter((one) => one !== server) ?? []
      const sites = entry.sites.filter((one) => one !== server)
      return { ...entry, sites, ro: servers.length === 0 ? null : { id: id + 1, servers } }
    })
    if (server === parts.address) await dropClone(parts, id + 1)
    // One that cannot be reached hears of it when it begins next.
    else await parts.others.use(server, (other) => other.call(RemoveReplica, { id: id + 1 }, SOON)).catch(() => {})
  })
}

export function getReplica({ hosted }: VolumeParts, id: number): VolserResult<'GetReplica'> {
  const volume = hosted.registry.find(id)?.volume
  // A clone of a volume that was here: nothing can be added to it.
  return { snapshot: volume === undefined || volume.origin !== undefined ? null : (volume.snapshot ?? null) }
}

export function receiveReplica(
  parts: VolumeParts,
  { id, name, since }: VolserArguments<'ReceiveReplica'>,
  bytes: IncomingBytes,
  signal: AbortSignal,
): Promise<void> {
  const { hosted } = parts
  const volume = baseName(name)
  if ((id - ROOT_CELL.id) % ID_STEP !== 1 || name !== readOnlyName(volume)) throw new FsError('EINVAL', 'no replica')
  return parts.transactions.run({ operation: 'receive', volume: name, signal }, id, async (work) => {
    const base = hosted.registry.find(id)?.volume
    if (since !== null && (base?.snapshot !== since || base.origin !== undefined)) {
      throw new FsError('EINVAL', 'changes since a replica that is not here')
    }
    const path = hosted.newPath(id)
    await work.step('receive')
    await hosted.restore(path, work.counted(bytes), since === null ? undefined : fs.realpathSync(hosted.path(id)))
    let restored: Volume | undefined
    try {
      restored = await hosted.openVolume(path, true)
      await work.step('replace')
    } catch (error) {
      await restored?.close()
      await fs.promises.rm(path, { recursive: true, force: true })
      throw error
    }
    work.decide()
    // Of a volume of that name that was deleted while this server was out of reach.
    const stale = hosted.registry.findNamed(name)
    if (stale !== undefined && stale.id !== id) await dropClone(parts, stale.id)
    await hosted.replace({ id, name, type: 'RO', doubtful: false, createdMs: parts.now() }, path, restored)
  })
}

export async function removeReplica(parts: VolumeParts, id: number): Promise<void> {
  const served = parts.hosted.registry.find(id)
  if ((id - ROOT_CELL.id) % ID_STEP !== 1 || served === undefined) return
  await parts.transactions.run({ operation: 'sites', volume: served.name }, id, () => dropClone(parts, id))
}
