// The volumes of a file server: which it has, and where those went that it had.
import { ServiceError } from '../../rpc/ws/index.ts'
import type { Volume } from '../../store/volume.ts'

export type VolumeType = 'RW' | 'RO' | 'BK'

export interface ServedVolume {
  /** 32 bits, the same on every server. */
  readonly id: number
  readonly name: string
  readonly type: VolumeType
  readonly volume: Volume
  /** Somebody else in this process has opened it, and closes it. */
  readonly isLent?: boolean
}

/** The first number that OpenAFS gives; and the volume that a cell's name space begins with. */
export const ROOT_CELL = { id: 536_870_912, name: 'root.cell', type: 'RW' } as const

export class VolumeRegistry {
  readonly #served = new Map<number, ServedVolume>()
  readonly #byName = new Map<string, ServedVolume>()
  readonly #moved = new Map<number, string>()
  readonly #busy = new Set<number>()

  /** Throws TypeError if there is one of that number or name. */
  add(served: ServedVolume): void {
    if (this.#served.has(served.id) || this.#byName.has(served.name)) throw new TypeError(`a second ${served.name}`)
    this.#served.set(served.id, served)
    this.#byName.set(served.name, served)
    this.#moved.delete(served.id)
  }

  /** A newer clone is served in its place from now on. Returns the one before, if there was one. */
  replace(served: ServedVolume): ServedVolume | undefined {
    const old = this.#served.get(served.id)
    this.remove(served.id)
    this.add(served)
    return old
  }

  /** It is served no more. `server`: where it is now, if that is known. */
  remove(id: number, server?: string): void {
    const served = this.#served.get(id)
    if (served !== undefined) this.#byName.delete(served.name)
    this.#served.delete(id)
    this.#busy.delete(id)
    if (server !== undefined) this.#moved.set(id, server)
  }

  /** While it is moved, or whether it is here is not known, callers are told to come again. */
  setBusy(id: number, busy: boolean): void {
    if (busy) this.#busy.add(id)
    else this.#busy.delete(id)
  }

  /** Throws ServiceError: VNOVOL, VMOVED, VBUSY. */
  get(id: number): ServedVolume {
    const served = this.#served.get(id)
    if (served === undefined) {
      if (this.#busy.has(id)) throw new ServiceError('VBUSY', { volume: id })
      const server = this.#moved.get(id)
      throw server === undefined
        ? new ServiceError('VNOVOL', { volume: id })
        : new ServiceError('VMOVED', { volume: id, server })
    }
    if (this.#busy.has(id)) throw new ServiceError('VBUSY', { volume: id })
    return served
  }

  /** Whether callers find it, and not another one in its place. */
  serves(served: ServedVolume): boolean {
    return this.#served.get(served.id) === served && !this.#busy.has(served.id)
  }

  isBusy(id: number): boolean {
    return this.#busy.has(id)
  }

  /** Also while it is busy. */
  find(id: number): ServedVolume | undefined {
    return this.#served.get(id)
  }

  findNamed(name: string): ServedVolume | undefined {
    return this.#byName.get(name)
  }

  /** Throws ServiceError: VNOVOL of no number. */
  named(name: string): ServedVolume {
    const served = this.#byName.get(name)
    if (served === undefined) throw new ServiceError('VNOVOL', { volume: 0 })
    return this.get(served.id)
  }

  [Symbol.iterator](): IterableIterator<ServedVolume> {
    return this.#served.values()
  }
}
