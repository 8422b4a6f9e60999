// How a file server asks where volumes are: the database itself, if it has it, or the cell's first server.
import { ServiceError, type WsPeer } from '../../rpc/ws/index.ts'
import { VL, type VolumeEntry } from './protocol-volumes.ts'
import type { Vldb } from './vldb.ts'

export interface VolumeLocation {
  /** Rejects with VL_NOENT. */
  byName(name: string): Promise<VolumeEntry>
  byId(id: number): Promise<VolumeEntry>
  newId(): Promise<number>
  /** Resolves to the new revision. Rejects with VL_CONFLICT, also if it had been done and is only repeated. */
  set(entry: VolumeEntry): Promise<number>
  /** Addresses of the file servers of the cell. */
  servers(): Promise<string[]>
}

export const localLocation = (vldb: Vldb): VolumeLocation => ({
  byName: async (name) => vldb.byName(name),
  byId: async (id) => vldb.byId(id),
  newId: async () => vldb.newId(),
  set: async (entry) => vldb.set(entry),
  servers: async () => vldb.servers().map(({ address }) => address),
})

export const remoteLocation = (rpc: Pick<WsPeer, 'call'>): VolumeLocation => ({
  byName: (name) => rpc.call(VL.procedures.GetEntryByName, { name }),
  byId: (id) => rpc.call(VL.procedures.GetEntryById, { id }),
  newId: async () => (await rpc.call(VL.procedures.NewIds, undefined)).rw,
  set: async (entry) => (await rpc.call(VL.procedures.SetEntry, entry)).revision,
  servers: async () => {
    const { servers } = await rpc.call(VL.procedures.ListServers, undefined)
    return servers.map(({ address }) => address)
  },
})

export const isConflict = (error: unknown): boolean => error instanceof ServiceError && error.code === 'VL_CONFLICT'
export const isNoEntry = (error: unknown): boolean => error instanceof ServiceError && error.code === 'VL_NOENT'

/**
 * Reads the entry of a volume and changes it, again if somebody else was faster. `edit` returns undefined if nothing is to
 * be changed. Resolves to the entry as it is then.
 */
export async function changeEntry(
  location: VolumeLocation,
  id: number,
  edit: (entry: VolumeEntry) => VolumeEntry | undefined,
): Promise<VolumeEntry> {
  for (;;) {
    const entry = await location.byId(id)
    const wanted = edit(entry)
    if (wanted === undefined) return entry
    try {
      return { ...wanted, revision: await location.set(wanted) }
    } catch (error) {
      if (!isConflict(error)) throw error
    }
  }
}
