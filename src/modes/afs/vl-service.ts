// The program VL: all of it on the cell's first server, which has the database; elsewhere only who that is.
import { FsError } from '../../posix/errors.ts'
import { type Service, service, type WsPeer } from '../../rpc/ws/index.ts'
import { readAddress } from './addresses.ts'
import { VL } from './protocol-volumes.ts'
import type { Vldb } from './vldb.ts'
import { ID_STEP } from './vldb.ts'

export interface VlServiceOptions {
  readonly vldb: Vldb
  /** This server's own id and address, once they are known. */
  self(): { readonly id: string; readonly address: string }
  readonly cell: string
}

export function vlService({ vldb, self, cell }: VlServiceOptions): Service {
  /** Over whose connection each server said last who it is. */
  const registered = new Map<string, WsPeer>()
  return service(VL, {
    GetCell: () => ({ cell, servers: [self().address] }),
    GetEntryByName: ({ name }) => vldb.byName(name),
    GetEntryById: ({ id }) => vldb.byId(id),
    ListEntries: ({ after, limit }) => {
      const most = Math.max(1, limit)
      const entries = vldb.list(after, most)
      return { entries, next: entries.length < most ? null : (entries.at(-1)?.name ?? null) }
    },
    ListServers: () => ({
      servers: vldb.servers().map((server) => ({
        ...server,
        connected: server.id === self().id || registered.get(server.id)?.connected === true,
      })),
    }),
    RegisterServer: ({ id, address, volumes }, { peer }) => {
      if (!readAddress(address)) throw new FsError('EINVAL', `${JSON.stringify(address)} is no host:port`)
      vldb.register({ id, address })
      registered.set(id, peer)
      for (const volume of volumes) vldb.adopt(volume, id)
      return { cell }
    },
    NewIds: () => {
      const rw = vldb.newId()
      return { rw, ro: rw + 1, backup: rw + ID_STEP - 1 }
    },
    SetEntry: (entry) => ({ revision: vldb.set(entry) }),
  })
}

/** On a server that has joined. */
export const vlReferral = (known: () => { readonly cell: string; readonly vlServer: string }): Service =>
  service(VL, {
    GetCell: () => ({ cell: known().cell, servers: [known().vlServer] }),
  })
