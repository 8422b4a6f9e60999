// Volumes are made, deleted, limited and listed. What was interrupted is decided by the volume location database: a volume
// whose entry names this server is here, whatever happened, and no other is.
import { FsError } from '../../posix/errors.ts'
import { ServiceError } from '../../rpc/ws/index.ts'
import { ANSWER_MS } from './other-servers.ts'
import {
  VOLSER,
  type VolserArguments,
  type VolserResult,
  type VolumeEntry,
  type VolumeInfo,
} from './protocol-volumes.ts'
import type { Work } from './transactions.ts'
import type { ListedVolume } from './volume-list.ts'
import { changeEntry, isConflict, isNoEntry } from './volume-location.ts'
import { backupName, baseName, isVolumeName } from './volume-names.ts'
import { infoOf, isHere, requireMovable, requireRw, type VolumeParts } from './volume-parts.ts'
import type { ServedVolume } from './volume-registry.ts'

const quotaOf = ({ quotaBytes, quotaInodes }: Omit<VolserArguments<'SetQuota'>, 'name'>) => ({
  bytes: quotaBytes ?? undefined,
  inodes: quotaInodes ?? undefined,
})

export function create(
  parts: VolumeParts,
  { name, ...quota }: VolserArguments<'Create'>,
  signal: AbortSignal,
): Promise<VolumeInfo> {
  if (!isVolumeName(name)) throw new FsError('EINVAL', 'no name of a volume')
  return parts.transactions.run({ operation: 'create', volume: name, signal }, 0, async (work) => {
    const { hosted, location } = parts
    const taken = await location.byName(name).catch((error) => {
      if (!isNoEntry(error)) throw error
    })
    if (taken !== undefined) throw new FsError('EEXIST', `there is a volume ${name}`)
    hosted.requireRoom()
    const id = await location.newId()
    await work.step('make')
    const listed: ListedVolume = { id, name, type: 'RW', doubtful: true, createdMs: parts.now() }
    hosted.list.put(listed)
    try {
      const volume = await hosted.openVolume(hosted.path(id))
      try {
        volume.setQuota(quotaOf(quota))
        await volume.sync()
        await work.step('enter')
        work.decide()
        await enter(parts, { id, name })
      } catch (error) {
        await volume.close()
        throw error
      }
      hosted.list.put({ ...listed, doubtful: false })
      return infoOf(hosted.serve(listed, volume), parts)
    } catch (error) {
      await unlessDecided(parts, id)
      throw error
    }
  })
}

async function enter({ location, address }: VolumeParts, { id, name }: { id: number; name: string }): Promise<void> {
  const entry: VolumeEntry = { name, rw: { id, server: address }, ro: null, backup: null, sites: [], revision: 0 }
  try {
    await location.set(entry)
  } catch (error) {
    if (!isConflict(error)) throw error
    // Asked again after it had been made, or somebody else was faster.
    const { rw } = await location.byName(name)
    if (rw?.id !== id) throw new FsError('EEXIST', `there is a volume ${name}`)
  }
}

/** What was made is taken away, if it is certain that nobody knows of it; else the next start asks. */
async function unlessDecided({ hosted, location }: VolumeParts, id: number): Promise<void> {
  const known = await location.byId(id).then(
    () => true,
    (failure) => !isNoEntry(failure),
  )
  if (known) hosted.registry.setBusy(id, true)
  else hosted.withdraw(id)
}

/** `.backup` goes alone; an RW volume with all of its clones, wherever they are. */
export async function deleteVolume(parts: VolumeParts, name: string, signal: AbortSignal): Promise<void> {
  const { hosted, location, transactions } = parts
  const clone = hosted.registry.findNamed(name)
  if (clone?.type === 'BK') return deleteBackup(parts, clone, signal)
  if (clone?.type === 'RO') throw new FsError('EROFS', 'a replica goes with its site')
  if (name !== baseName(name)) throw new ServiceError('VNOVOL', { volume: 0 })
  const served = await requireRw(parts, name)
  requireMovable(served)
  return transactions.run({ operation: 'delete', volume: name, signal }, served.id, async (work) => {
    const listed = hosted.list.get(served.id)
    if (listed === undefined) throw new ServiceError('VNOVOL', { volume: served.id })
    await work.step('busy')
    hosted.registry.setBusy(served.id, true)
    let replicas: readonly string[]
    try {
      await parts.callbacks.breakAll(served)
      await work.step('enter')
      work.decide()
      hosted.list.put({ ...listed, doubtful: true })
      const entry = await location.byId(served.id)
      replicas = entry.sites
      await changeEntry(location, served.id, (now) => ({ ...now, rw: null, ro: null, backup: null, sites: [] })).catch(
        (error) => {
          if (!isNoEntry(error)) throw error
        },
      )
    } catch (error) {
      // Nothing was decided, or it cannot be known: then it stays busy until the next start.
      if (await isStillHere(parts, served.id)) {
        hosted.list.put({ ...listed, doubtful: false })
        hosted.registry.setBusy(served.id, false)
      }
      throw error
    }
    hosted.withdraw(served.id)
    for (const id of [served.id + 1, served.id + 2]) await dropClone(parts, id)
    await removeReplicas(parts, served.id + 1, replicas, work)
  })
}

const isStillHere = ({ location, address }: VolumeParts, id: number): Promise<boolean> =>
  location.byId(id).then(
    (entry) => isHere(entry, address),
    () => false,
  )

/** A server that cannot be reached hears of it when it begins next. */
async function removeReplicas(parts: VolumeParts, id: number, sites: readonly string[], work: Work): Promise<void> {
  for (const site of sites) {
    if (site === parts.address) continue
    work.currentStep = 'replicas'
    const remove = parts.others.use(site, (server) =>
      server.call(VOLSER.procedures.RemoveReplica, { id }, { timeoutMs: ANSWER_MS }),
    )
    await remove.catch(() => {})
  }
}

async function deleteBackup(parts: VolumeParts, { id, name }: ServedVolume, signal: AbortSignal): Promise<void> {
  const volume = name.slice(0, -backupName('').length)
  await parts.transactions.run({ operation: 'delete', volume, signal }, id, async () => {
    await changeEntry(parts.location, id, (entry) => ({ ...entry, backup: null }))
    await dropClone(parts, id)
  })
}

/** A clone that is here goes, and who was promised something of it is told. */
export async function dropClone({ hosted, callbacks }: VolumeParts, id: number): Promise<void> {
  const served = hosted.registry.find(id)
  if (served !== undefined) {
    hosted.registry.setBusy(id, true)
    await callbacks.breakAll(served)
  }
  if (served !== undefined || hosted.list.get(id) !== undefined) hosted.withdraw(id)
}

export async function setQuota(
  parts: VolumeParts,
  { name, ...quota }: VolserArguments<'SetQuota'>,
  signal: AbortSignal,
): Promise<VolumeInfo> {
  const served = await requireRw(parts, name)
  return parts.transactions.run({ operation: 'quota', volume: name, signal }, served.id, async () => {
    served.volume.setQuota(quotaOf(quota))
    await served.volume.sync()
    return infoOf(served, parts)
  })
}

export function list(parts: VolumeParts, { after, limit }: VolserArguments<'List'>): VolserResult<'List'> {
  const { registry, list } = parts.hosted
  const doubtful = list.all().filter(({ id }) => registry.find(id) === undefined)
  const volumes = [...registry].map((served) => infoOf(served, parts))
  for (const { id, name, type, createdMs } of doubtful) volumes.push({ ...UNKNOWN, id, name, type, createdMs })
  const page = volumes.filter(({ id }) => id > after).sort((a, b) => a.id - b.id)
  const most = Math.max(1, limit)
  return { volumes: page.slice(0, most), next: page.length > most ? (page[most - 1]?.id ?? null) : null }
}

/** Of what is not open. */
const UNKNOWN: Omit<VolumeInfo, 'id' | 'name' | 'type' | 'createdMs'> = {
  ...{ state: 'doubtful' as const, usedBytes: 0, usedInodes: 0, quotaBytes: null, quotaInodes: null, promises: 0 },
}

/**
 * At a start: what is doubtful is here if its entry says so, and then nobody can take it elsewhere any more who began to
 * before; clones that the entry does not name go.
 */
export async function settle(parts: VolumeParts): Promise<void> {
  const { hosted, location, address } = parts
  for (const listed of hosted.list.all()) {
    const { id, type } = listed
    const entry = await location.byId(id).catch((error) => {
      if (!isNoEntry(error)) throw error
      return undefined
    })
    if (type === 'RW') {
      if (!listed.doubtful) continue
      const decided = entry && (await changeEntry(location, id, (now) => (isHere(now, address) ? now : undefined)))
      if (decided && isHere(decided, address)) {
        hosted.list.put({ ...listed, doubtful: false })
        await hosted.start(listed)
      } else hosted.withdraw(id, decided?.rw?.server)
    } else {
      const wanted = type === 'RO' ? entry?.sites.includes(address) : entry?.backup?.server === address
      if (!wanted) await dropClone(parts, id)
    }
  }
}
