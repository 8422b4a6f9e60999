// Volumes that come from another file server: the whole, what has changed since, and the moment from which they are here.
// That moment is the change of the volume's entry; only this server makes it, and only if the entry is still as the other
// one has read it. An arrival ends with the connection over which it was begun.
import { randomUUID } from 'node:crypto'
import fs from 'node:fs'
import { FsError } from '../../posix/errors.ts'
import { type IncomingBytes, ServiceError, type WsPeer } from '../../rpc/ws/index.ts'
import type { Volume } from '../../store/volume.ts'
import type { VolserArguments } from './protocol-volumes.ts'
import type { Work } from './transactions.ts'
import { isConflict, isNoEntry } from './volume-location.ts'
import { isHere, type VolumeParts } from './volume-parts.ts'

interface Arrival {
  readonly id: number
  readonly name: string
  /** What has come so far: a volume that nobody has opened. */
  path: string | undefined
  readonly work: Work
  /** It is over: another call about it may come too late. */
  readonly end: (error?: unknown) => void
  /** It receives, or commits: calls about it come one at a time. */
  busy: boolean
}

export class Arrivals {
  readonly #parts: VolumeParts
  readonly #arrivals = new Map<string, Arrival>()

  constructor(parts: VolumeParts) {
    this.#parts = parts
  }

  async begin({ id, name }: VolserArguments<'BeginArrival'>, peer: WsPeer): Promise<{ readonly arrival: string }> {
    const { hosted, location, transactions } = this.#parts
    const entry = await location.byId(id)
    if (entry.name !== name || entry.rw?.id !== id) throw new FsError('EINVAL', 'no volume that could come')
    hosted.requireRoom()
    await hosted.whenGone(id)
    if (hosted.registry.find(id) !== undefined || hosted.list.get(id) !== undefined) throw new FsError('EEXIST')
    const arrival = randomUUID()
    await new Promise<void>((resolve, reject) => {
      const received = transactions.run({ operation: 'receive', volume: name, signal: peer.signal }, id, (work) => {
        return new Promise<void>((end) => {
          this.#arrivals.set(arrival, { id, name, path: undefined, work, busy: false, end: () => end() })
          work.signal.addEventListener('abort', () => this.#calledOff(arrival), { once: true })
          resolve()
        })
      })
      received.catch(reject)
    })
    if (peer.signal.aborted) this.#calledOff(arrival)
    return { arrival }
  }

  async receive(name: string, bytes: IncomingBytes): Promise<void> {
    await this.#use(name, async (arrival) => {
      const { path: base, work } = arrival
      const path = this.#parts.hosted.newPath(arrival.id)
      await work.step(base === undefined ? 'receive' : 'changes')
      await this.#parts.hosted.restore(path, work.counted(bytes), base)
      arrival.path = path
      if (base !== undefined) await fs.promises.rm(base, { recursive: true, force: true })
    })
  }

  async commit({ arrival: which, revision }: VolserArguments<'CommitArrival'>): Promise<void> {
    await this.#use(which, async (arrival) => {
      const { id, name, path, work } = arrival
      const { hosted, now } = this.#parts
      if (path === undefined) throw new FsError('EINVAL', 'nothing has come')
      await work.step('commit')
      const listed = { id, name, type: 'RW', doubtful: true, createdMs: now() } as const
      work.decide()
      hosted.list.put(listed)
      hosted.registry.setBusy(id, true)
      let volume: Volume | undefined
      let isDecided = false
      try {
        await hosted.moveIn(path, id)
        arrival.path = undefined
        volume = await hosted.openVolume(hosted.path(id))
        await work.step('enter')
        isDecided = true
        await this.#enter(id, revision)
      } catch (error) {
        await volume?.close()
        // Once it was asked for, only the entry itself tells; if it cannot be read the next start does.
        if (!isDecided || (await this.#isElsewhere(id))) hosted.withdraw(id)
        throw error
      }
      // It is here, whatever happens.
      await work.step('serve').catch(() => {})
      hosted.list.put({ ...listed, doubtful: false })
      hosted.serve(listed, volume)
      this.#end(which)
    })
  }

  /** Nothing of it stays. */
  async abort(which: string): Promise<void> {
    const arrival = this.#arrivals.get(which)
    if (arrival?.busy === false) await this.#discard(which)
  }

  async #enter(id: number, revision: number): Promise<void> {
    const { location, address } = this.#parts
    const entry = await location.byId(id)
    if (isHere(entry, address)) return
    if (entry.revision !== revision) throw new ServiceError('VL_CONFLICT', { name: entry.name })
    try {
      await location.set({ ...entry, rw: { id, server: address }, backup: null })
    } catch (error) {
      // Asked again after it was done, that is the answer, too.
      if (!isConflict(error) || !isHere(await location.byId(id), address)) throw error
    }
  }

  /** For certain: nothing that this server has asked for is on its way any more. */
  #isElsewhere(id: number): Promise<boolean> {
    const { location, address } = this.#parts
    return location.byId(id).then((entry) => !isHere(entry, address), isNoEntry)
  }

  async #use(which: string, body: (arrival: Arrival) => Promise<void>): Promise<void> {
    const arrival = this.#arrivals.get(which)
    if (arrival === undefined) throw new FsError('ENOENT', 'no such arrival')
    if (arrival.busy) throw new ServiceError('VBUSY', { volume: arrival.id })
    arrival.busy = true
    try {
      await body(arrival)
    } catch (error) {
      await this.#discard(which)
      throw error
    } finally {
      arrival.busy = false
      if (arrival.work.signal.aborted) await this.#discard(which)
    }
  }

  #calledOff(which: string): void {
    // What is under way finds out by itself.
    if (this.#arrivals.get(which)?.busy === false) void this.#discard(which)
  }

  async #discard(which: string): Promise<void> {
    const path = this.#arrivals.get(which)?.path
    if (path !== undefined) await fs.promises.rm(path, { recursive: true, force: true }).catch(() => {})
    this.#end(which)
  }

  #end(which: string): void {
    this.#arrivals.get(which)?.end()
    this.#arrivals.delete(which)
  }
}
