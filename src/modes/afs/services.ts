// The program AFS, bound to volumes. Before a client is answered it knows where it stands with its promises.
import { type Service, service, type WsContext } from '../../rpc/ws/index.ts'
import { AfsCalls, type AfsServerParts, type Caller } from './afs-calls.ts'
import { clientName } from './callbacks.ts'
import * as changes from './changes.ts'
import type { AfsLocks } from './locks.ts'
import { AFS, type Arguments } from './protocol.ts'
import * as queries from './queries.ts'
import { fetchData, storeData } from './transfers.ts'

export function afsService(parts: AfsServerParts, locks: AfsLocks): Service {
  const calls = new AfsCalls(parts)
  const { callbacks, registry } = parts
  /** A handler from a function of the procedures. */
  const bind =
    <A, R>(serve: (calls: AfsCalls, caller: Caller, args: A) => R | Promise<R>) =>
    (args: A, { peer }: WsContext): R | Promise<R> => {
      const told = callbacks.admit(peer)
      if (told === undefined) return serve(calls, peer, args)
      return told.then(() => serve(calls, peer, args))
    }
  return service(AFS, {
    Probe: bind(() => undefined),
    GetTime: bind(() => ({ nowMs: parts.now() })),
    FetchStatus: bind(queries.fetchStatus),
    BulkStatus: bind(queries.bulkStatus),
    FetchData: bind(fetchData),
    FetchDirectory: bind(queries.fetchDirectory),
    Lookup: bind(queries.lookup),
    Readlink: bind(queries.readlink),
    StoreData: async (args, { peer, bytes }) => {
      await callbacks.admit(peer)
      return storeData(calls, peer, args, bytes)
    },
    StoreStatus: bind(changes.storeStatus),
    CreateFile: bind(changes.createFile),
    MakeDir: bind(changes.makeDir),
    Symlink: bind(changes.symlink),
    MakeNode: bind(changes.makeNode),
    Link: bind(changes.link),
    Rename: bind(changes.rename),
    RemoveFile: bind(changes.removeFile),
    RemoveDir: bind(changes.removeDir),
    MakeMountPoint: bind(changes.makeMountPoint),
    SetLock: bind((...call) => locks.set(...call)),
    ExtendLock: bind((...call) => locks.extend(...call)),
    ReleaseLock: bind((_calls, caller, args: Arguments<'ReleaseLock'>) => locks.release(caller, args)),
    GiveUpCallBacks: ({ fids }, { peer }) => {
      for (const fid of fids) registry.get(fid.volume).volume.grants.release(fid.vnode, callbacks.holder(peer.id, fid))
    },
    GiveUpAllCallBacks: (_nothing, { peer }) => {
      for (const { volume } of registry) volume.grants.releaseClient(clientName(peer.id))
    },
    GetVolumeStatus: bind(queries.getVolumeStatus),
    GetHolders: bind(queries.getHolders),
  })
}
