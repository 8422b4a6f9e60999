// What all work on the volumes of a file server shares.
import { FsError } from '../../posix/errors.ts'
import { ServiceError } from '../../rpc/ws/index.ts'
import type { Callbacks } from './callbacks.ts'
import type { HostedVolumes } from './hosted-volumes.ts'
import type { OtherServers } from './other-servers.ts'
import type { VolumeEntry, VolumeInfo } from './protocol-volumes.ts'
import type { Transactions, Work } from './transactions.ts'
import type { VolumeLocation } from './volume-location.ts'
import { baseName } from './volume-names.ts'
import { ROOT_CELL, type ServedVolume } from './volume-registry.ts'

export interface VolumeParts {
  readonly hosted: HostedVolumes
  readonly location: VolumeLocation
  readonly others: OtherServers
  readonly transactions: Transactions
  readonly callbacks: Callbacks
  /** How this server is reached. */
  readonly address: string
  now(): number
}

/** The RW volume of that name, which is here. Rejects with VMOVED, VNOVOL, VL_NOENT, VBUSY. */
export async function requireRw({ hosted, location }: VolumeParts, name: string): Promise<ServedVolume> {
  const served = hosted.registry.findNamed(name)
  if (served?.type === 'RW') return hosted.registry.get(served.id)
  if (name !== baseName(name)) throw new FsError('EROFS', `${name} is a clone`)
  const { rw } = await location.byName(name)
  if (rw !== null && hosted.registry.isBusy(rw.id)) throw new ServiceError('VBUSY', { volume: rw.id })
  if (rw === null) throw new ServiceError('VNOVOL', { volume: 0 })
  throw new ServiceError('VMOVED', { volume: rw.id, server: rw.server })
}

/** Its place is the data directory of the cell's first server. */
export function requireMovable({ id }: ServedVolume): void {
  if (id === ROOT_CELL.id) throw new FsError('EPERM', `${ROOT_CELL.name} stays where the cell begins`)
}

export const isHere = (entry: VolumeEntry, address: string): boolean => entry.rw?.server === address

/** An error as one line, for somebody elsewhere. */
export function reasonOf(error: unknown): string {
  if (error instanceof ServiceError) return `${error.code} ${JSON.stringify(error.detail ?? {})}`.slice(0, 256)
  return (error instanceof Error ? error.message : String(error)).split('\n', 1)[0]?.slice(0, 256) ?? ''
}

/** What failed on the way, as the caller hears it; that it was called off, as it is. */
export function failureOf(error: unknown, work: Work, server: string | null): unknown {
  if (error instanceof FsError && error.code === 'EINTR') return error
  return new ServiceError('VOLFAILED', { step: work.currentStep, server, reason: reasonOf(error) })
}

export function infoOf(served: ServedVolume, { hosted, now }: Pick<VolumeParts, 'hosted' | 'now'>): VolumeInfo {
  const { id, name, type, volume } = served
  const { quota, used, grants } = volume
  const { sec } = volume.attributes(volume.root).btime
  const createdMs = hosted.list.get(id)?.createdMs ?? Math.min(sec * 1000, now())
  return {
    ...{ id, name, type, state: hosted.registry.isBusy(id) ? 'busy' : 'online' },
    ...{ usedBytes: used.bytes, usedInodes: used.inodes },
    ...{ quotaBytes: quota.bytes ?? null, quotaInodes: quota.inodes ?? null },
    ...{ createdMs: Math.max(0, Math.floor(createdMs)), promises: grants.table.size },
  }
}
