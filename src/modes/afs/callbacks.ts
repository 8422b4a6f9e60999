// The callback promises of a file server: given with what clients fetch, ended before somebody else's change is answered,
// and who has to be told that none stands.
//
// The promises are grants (CACHE_READ) of the volume, beside those of other protocols. A holder is a client, and the
// generation of the inode, which is not known any more once it is deleted.
import { FsError } from '../../posix/errors.ts'
import type { WsPeer } from '../../rpc/ws/index.ts'
import { CACHE_READ, type Holder } from '../../store/grant-types.ts'
import type { Notice } from '../../store/notices.ts'
import type { Volume } from '../../store/volume.ts'
import { BreakBatches } from './break-batches.ts'
import { BREAK_MAX } from './limits.ts'
import { promiseLifeMs } from './promise-life.ts'
import { AFSCB } from './protocol.ts'
import type { Fid, Promised } from './records.ts'
import type { ServedVolume, VolumeRegistry } from './volume-registry.ts'

const PROTOCOL = 'afs'
/** Clients that are remembered; one that was forgotten is told that nothing stands. */
const CLIENTS_MAX = 16_384
const TELL_TRIES = 3

export interface CallbacksOptions {
  readonly registry: VolumeRegistry
  /** A client by its id; undefined if it is not known. */
  client(id: string): WsPeer | undefined
  /** How long a client has to answer before it counts as unreachable, in milliseconds. */
  readonly timeoutMs: number
  /** The life of a promise: `promiseLifeMs`. */
  readonly life?: typeof promiseLifeMs
}

/** 'new': it must be told that no promise stands before it is given one. 'missed': the same, for it was out of reach. */
type Standing = 'known' | 'new' | 'missed'

export const clientName = (id: string): string => `${PROTOCOL}:${id}`

export class Callbacks {
  readonly #options: CallbacksOptions
  readonly #batches: BreakBatches
  readonly #standing = new Map<string, Standing>()
  /** Clients that are being told. */
  readonly #telling = new Map<string, Promise<void>>()
  /** How not to serve a volume any more. */
  readonly #stops = new Map<Volume, () => void>()
  /** What the change that is being made has broken already. */
  #broken: ReadonlySet<number> = new Set()

  constructor(options: CallbacksOptions) {
    this.#options = options
    this.#batches = new BreakBatches({
      send: (client, fids) => this.#break(client, fids),
      later: queueMicrotask,
      limit: BREAK_MAX,
    })
  }

  /** Sends the breaks of a volume from now on, also for what others change in it. */
  serve(served: ServedVolume): void {
    const { volume, id } = served
    const stopSending = volume.recalls.serve(PROTOCOL, async ({ client, file, key }): Promise<'acknowledged'> => {
      await this.#batches.add(client.slice(PROTOCOL.length + 1), { volume: id, vnode: file, unique: Number(key) })
      return 'acknowledged'
    })
    const stopWatching = volume.watch((notice) => this.#noticed(served, notice))
    this.#stops.set(volume, () => {
      stopSending()
      stopWatching()
    })
  }

  /** Sends no more breaks of a volume, which is closed or moved. */
  leave({ volume }: ServedVolume): void {
    this.#stops.get(volume)?.()
    this.#stops.delete(volume)
  }

  close(): void {
    for (const stop of this.#stops.values()) stop()
    this.#stops.clear()
  }

  /**
   * Ends every promise of a volume: it moves, goes, or a newer one has taken its place. Resolves when all have been told,
   * or are known not to have been. Whoever calls this takes care that no new ones are given.
   */
  async breakAll({ volume: { grants } }: ServedVolume): Promise<void> {
    const files = new Set<number>()
    for (const id of this.#standing.keys()) {
      for (const { file } of grants.table.grantsOfClient(clientName(id))) files.add(file)
    }
    const timeoutMs = 2 * this.#options.timeoutMs
    const told = [...files].map((file) => grants.before({ file, kind: 'write', client: '', wait: true, timeoutMs }))
    await Promise.allSettled(told)
  }

  /** A client is there. `remembered`: it is the same as before. */
  connected(peer: WsPeer, remembered: boolean): void {
    if (!remembered || !this.#standing.has(peer.id)) {
      this.#setStanding(peer.id, 'new')
      for (const { volume } of this.#options.registry) volume.grants.releaseClient(clientName(peer.id))
    }
    // If that fails it is told when it asks for something.
    this.admit(peer)?.catch(() => {})
  }

  /**
   * A client is heard of: undefined, or to be waited for before it is answered, so that it knows where it stands. Rejects
   * with EAGAIN if it cannot be told: an answer would make it believe that all it keeps is good.
   */
  admit(peer: WsPeer): Promise<void> | undefined {
    return this.#standing.get(peer.id) === 'known' ? undefined : this.#admit(peer)
  }

  async #admit(peer: WsPeer): Promise<void> {
    for (let tries = 0; tries < TELL_TRIES; tries++) {
      // Another call may have begun to tell it, over a connection that is gone by now: then it is told again.
      const telling = this.#telling.get(peer.id) ?? this.#tell(peer).finally(() => this.#telling.delete(peer.id))
      this.#telling.set(peer.id, telling)
      await telling
      if (this.#standing.get(peer.id) === 'known') return
    }
    throw new FsError('EAGAIN', `${peer.id} does not answer when it is told to discard what it keeps`)
  }

  /** Promises to tell `client` before the file changes; null if that cannot be promised now. */
  promise({ volume, type }: ServedVolume, client: string, fid: Fid): Promised {
    if (this.#standing.get(client) !== 'known') return null
    const { grants } = volume
    const holders = grants.table.holdersOf(fid.vnode) + 1
    const expiresInMs = (this.#options.life ?? promiseLifeMs)(holders, type)
    const { rights } = grants.acquire({
      file: fid.vnode,
      client: clientName(client),
      key: String(fid.unique),
      rights: CACHE_READ,
      expiresAt: grants.now() + expiresInMs,
    })
    return (rights & CACHE_READ) === 0 ? null : { expiresInMs }
  }

  holder(client: string, { unique }: Pick<Fid, 'unique'>): Holder {
    return { client: clientName(client), key: String(unique) }
  }

  /**
   * Makes a change of these files, once all others who were promised have been told, or are known not to have been. `make`
   * does it in one turn of the event loop. The client's own promises stay.
   */
  async change<R>({ volume }: ServedVolume, client: string, files: readonly Fid[], make: () => R): Promise<R> {
    const operations = files.map((fid) => ({
      ...({ file: fid.vnode, ...this.holder(client, fid), kind: 'write', wait: true } as const),
      timeoutMs: 2 * this.#options.timeoutMs,
    }))
    return volume.grants.duringAll(operations, () => {
      this.#broken = new Set(files.map(({ vnode }) => vnode))
      try {
        return make()
      } finally {
        this.#broken = new Set()
      }
    })
  }

  /** Somebody changed something: those who were promised are told, and nobody waits for it. */
  #noticed({ volume }: ServedVolume, notice: Notice): void {
    const file = notice.kind === 'name' ? notice.parent : notice.ino
    if (this.#broken.has(file)) return
    void volume.grants.before({ file, kind: 'write', client: '', wait: false })
  }

  async #break(id: string, fids: readonly Fid[]): Promise<void> {
    const peer = this.#options.client(id)
    try {
      if (peer === undefined) throw new Error(`${id} is not known any more`)
      await peer.call(AFSCB.procedures.CallBack, { fids: [...fids] }, { timeoutMs: this.#options.timeoutMs })
    } catch (error) {
      if (this.#standing.get(id) === 'known') this.#setStanding(id, 'missed')
      throw error
    }
  }

  /** Until it has heard of it, it is promised nothing. */
  async #tell(peer: WsPeer): Promise<void> {
    try {
      await peer.call(AFSCB.procedures.InitCallBackState, undefined, { timeoutMs: this.#options.timeoutMs })
    } catch {
      return
    }
    for (const { volume } of this.#options.registry) volume.grants.clientReturned(clientName(peer.id))
    this.#setStanding(peer.id, 'known')
  }

  #setStanding(id: string, standing: Standing): void {
    this.#standing.delete(id)
    this.#standing.set(id, standing)
    if (this.#standing.size <= CLIENTS_MAX) return
    for (const other of this.#standing.keys()) {
      if (this.#options.client(other)?.connected) continue
      this.#standing.delete(other)
      return
    }
  }
}
