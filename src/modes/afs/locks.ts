// SetLock, ExtendLock, ReleaseLock on the locks of the volume. They are of the class that NLM's locks are of, so programs on
// an nfs mount and on an afs mount exclude each other.
import type { Clock } from '../../host/clock.ts'
import { FsError } from '../../posix/errors.ts'
import { WHOLE_FILE } from '../../store/lock-ranges.ts'
import type { AfsCalls, Caller } from './afs-calls.ts'
import { clientName } from './callbacks.ts'
import { type LeasedLock, LOCK_LEASE_MS, LockLeases } from './lock-leases.ts'
import type { Arguments, Result } from './protocol.ts'
import type { Fid } from './records.ts'
import type { ServedVolume, VolumeRegistry } from './volume-registry.ts'

export class AfsLocks {
  readonly #registry: VolumeRegistry
  readonly #leases: LockLeases

  constructor(registry: VolumeRegistry, clock: Clock) {
    this.#registry = registry
    this.#leases = new LockLeases(clock, (lock) => this.#release(lock))
  }

  async set(calls: AfsCalls, { id }: Caller, args: Arguments<'SetLock'>): Promise<Result<'SetLock'>> {
    const { fid, owner, exclusive } = args
    const { served, ino } = calls.target(fid)
    const lock = lockOf(fid, id, owner)
    await served.volume.locks.lock({
      ...{ file: ino, client: lock.client, owner, range: WHOLE_FILE, class: 'range', pid: 0, wait: false },
      kind: exclusive ? 'exclusive' : 'shared',
    })
    this.#leases.renew(lock)
    return { expiresInMs: LOCK_LEASE_MS }
  }

  extend(calls: AfsCalls, { id }: Caller, { fid, owner }: Arguments<'ExtendLock'>): Result<'ExtendLock'> {
    calls.target(fid)
    const lock = lockOf(fid, id, owner)
    if (!this.#leases.has(lock)) throw new FsError('ENOLCK', 'its lease is over')
    this.#leases.renew(lock)
    return { expiresInMs: LOCK_LEASE_MS }
  }

  /** Also of a file that is deleted. */
  release({ id }: Caller, { fid, owner }: Arguments<'ReleaseLock'>): void {
    this.#registry.get(fid.volume)
    const lock = lockOf(fid, id, owner)
    if (!this.#leases.has(lock)) return
    this.#leases.end(lock)
    this.#release(lock)
  }

  /** Of a volume that is not here any more: who extends one is told ENOLCK, here and where it is now. */
  leave({ id }: ServedVolume): void {
    this.#leases.endVolume(id)
  }

  close(): void {
    this.#leases.close()
  }

  #release({ volume: id, file, client, owner }: LeasedLock): void {
    for (const { id: served, volume } of this.#registry) {
      if (served === id) volume.locks.releaseOwner(file, { client, owner })
    }
  }
}

const lockOf = ({ volume, vnode }: Fid, id: string, owner: string): LeasedLock => ({
  ...{ volume, file: vnode, client: clientName(id), owner },
})
