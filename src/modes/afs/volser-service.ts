// The program VOLSER, bound to the volumes of a file server.
import { type Service, service } from '../../rpc/ws/index.ts'
import type { Arrivals } from './arrivals.ts'
import { HOLDERS_MAX } from './limits.ts'
import { VOLSER, type VolserResult } from './protocol-volumes.ts'
import { missedOf } from './queries.ts'
import * as admin from './volume-admin.ts'
import * as clones from './volume-clones.ts'
import { move } from './volume-move.ts'
import type { VolumeParts } from './volume-parts.ts'

export interface VolumeWork {
  readonly parts: VolumeParts
  readonly arrivals: Arrivals
}

/** `ready`: what this server needs for its work, once it knows where it stands in its cell. */
export function volserService(ready: () => Promise<VolumeWork>, now: () => VolumeWork | undefined): Service {
  return service(VOLSER, {
    Create: async (args, { signal }) => admin.create((await ready()).parts, args, signal),
    Delete: async ({ name }, { signal }) => admin.deleteVolume((await ready()).parts, name, signal),
    List: async (args) => admin.list((await ready()).parts, args),
    SetQuota: async (args, { signal }) => admin.setQuota((await ready()).parts, args, signal),
    Release: async ({ name }, { signal }) => clones.release((await ready()).parts, name, signal),
    AddSite: async (args, { signal }) => clones.addSite((await ready()).parts, args, signal),
    RemoveSite: async (args, { signal }) => clones.removeSite((await ready()).parts, args, signal),
    Backup: async ({ name }, { signal }) => clones.backup((await ready()).parts, name, signal),
    Move: async (args, { signal }) => move((await ready()).parts, args, signal),
    Transactions: () => ({ transactions: now()?.parts.transactions.list() ?? [] }),
    Undelivered: async () => undelivered((await ready()).parts),
    BeginArrival: async (args, { peer }) => (await ready()).arrivals.begin(args, peer),
    Receive: async ({ arrival }, { bytes }) => (await ready()).arrivals.receive(arrival, bytes),
    CommitArrival: async (args) => (await ready()).arrivals.commit(args),
    AbortArrival: async ({ arrival }) => (await ready()).arrivals.abort(arrival),
    GetReplica: async ({ id }) => clones.getReplica((await ready()).parts, id),
    ReceiveReplica: async (args, { bytes, signal }) =>
      clones.receiveReplica((await ready()).parts, args, bytes, signal),
    RemoveReplica: async ({ id }) => clones.removeReplica((await ready()).parts, id),
  })
}

function undelivered({ hosted: { registry } }: VolumeParts): VolserResult<'Undelivered'> {
  const missed = [...registry].flatMap(({ name, volume }) => missedOf(volume).map((one) => ({ volume: name, ...one })))
  return { missed: missed.slice(0, HOLDERS_MAX) }
}
