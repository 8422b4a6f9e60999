// The locks of one mount at its server: what client-locks.ts and lock-manager-client.ts need of the rest of the client.
import { randomBytes } from 'node:crypto'
import { hostname } from 'node:os'
import type { KeepAwake } from '../../host/keep-awake.ts'
import type { Address } from '../../rpc/transport.ts'
import { ClientLocks } from './client-locks.ts'
import type { ClientState } from './client-state.ts'
import { channelTo } from './connection.ts'
import { LockManagerClient } from './lock-manager-client.ts'
import { lockedFilesOf } from './locked-files.ts'
import { NFS3 } from './nfs3.ts'

/** `server`: where NFS is served. */
export function remoteLocks(state: ClientState, { host, port }: Address, awake: KeepAwake): ClientLocks {
  const { connection, options } = state
  const { link } = connection
  const { clock } = link
  // Waits on the network are the link's; over UDP nobody would be called back, so locks always go over TCP.
  const managing = {
    clock,
    callerName: `${hostname()}-${process.pid}-${randomBytes(6).toString('hex')}`,
    channel: (at: number) => channelTo({ host, port: at }, 'tcp', link),
    port,
    client: {
      awake,
      ...(options.soft ? { hard: false, timeoMs: options.timeoutMs, retrans: options.retransmissions } : {}),
    },
    /** The write verifier, which is another one after a restart (RFC 1813 §3.3.21). */
    async lifeSign(): Promise<string | undefined> {
      const locked = locks.runner.anyLocked()
      if (locked === undefined) return undefined
      const args = { file: locked.node.handle, offset: 0, count: 1 }
      const result = await state.call(locked.node, NFS3.procedures.COMMIT, args, locked.holder)
      return result.status === 'NFS3_OK' ? result.verifier.toString('hex') : undefined
    },
  }
  const locks = new ClientLocks({
    files: lockedFilesOf(state, clock),
    clock,
    manager: (events) => new LockManagerClient(managing, events),
  })
  return locks
}
