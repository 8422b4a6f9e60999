// The volumes of a file server beside `root.cell`: their directories, opened and served, replaced by newer clones, and
// taken away when nobody reads them any more.
//
// `<id>` is the directory of an RW volume, and a link to the directory of a clone, which has a name of its own. What the
// list does not name is left over from something that was interrupted, and goes at the next start.
import { randomBytes } from 'node:crypto'
import fs from 'node:fs'
import { hostDisk, syncDirectory } from '../../host/disk.ts'
import { FsError, withFsErrors } from '../../posix/errors.ts'
import { DumpError } from '../../store/dump-records.ts'
import { pointTo, removeReplaced } from '../../store/release.ts'
import { Volume, type VolumeOptions } from '../../store/volume.ts'
import type { Callbacks } from './callbacks.ts'
import { VOLUMES_MAX } from './limits.ts'
import type { AfsLocks } from './locks.ts'
import type { ListedVolume, VolumeList } from './volume-list.ts'
import type { ServedVolume, VolumeRegistry } from './volume-registry.ts'

export interface HostedVolumesOptions {
  /** Absolute. */
  readonly directory: string
  readonly list: VolumeList
  readonly registry: VolumeRegistry
  readonly callbacks: Callbacks
  readonly locks: AfsLocks
  readonly volume: VolumeOptions
  onError(error: Error): void
}

/** Not reached any more, and not gone yet. */
interface Leaving {
  readonly id: number
  readonly volume: Volume | undefined
  readonly gone: Promise<void>
}

const disk = withFsErrors(hostDisk)

export class HostedVolumes {
  readonly list: VolumeList
  readonly registry: VolumeRegistry
  readonly #options: HostedVolumesOptions
  /** Those that are served no more, until they are closed and their data is gone. */
  readonly #leaving = new Set<Leaving>()

  constructor(options: HostedVolumesOptions) {
    this.#options = options
    this.list = options.list
    this.registry = options.registry
  }

  /** Serves what is here for certain; what is doubtful is busy until somebody decides. */
  async open(): Promise<void> {
    fs.mkdirSync(this.#options.directory, { recursive: true })
    const listed = this.list.all()
    this.#removeLeftovers(listed)
    for (const volume of listed) {
      if (volume.doubtful) this.registry.setBusy(volume.id, true)
      else await this.start(volume)
    }
  }

  /** Throws ENOSPC. */
  requireRoom(): void {
    if (this.list.all().length >= VOLUMES_MAX) throw new FsError('ENOSPC', 'too many volumes')
  }

  path(id: number): string {
    return `${this.#options.directory}/${id}`
  }

  /** For a clone of that number, a volume that arrives, …: a name that nothing has, and that is nothing if it is left. */
  newPath(id: number): string {
    return `${this.path(id)}.${randomBytes(6).toString('hex')}`
  }

  /** Resolves when there is nothing here any more of a volume that was served: nobody reads it, and its data is gone. */
  async whenGone(id: number): Promise<void> {
    await Promise.all([...this.#leaving].map((leaving) => (leaving.id === id ? leaving.gone : undefined)))
  }

  /** Makes a volume of a dump in `path`. Rejects with EINVAL if it is none, or not what `base` can be changed by. */
  async restore(path: string, dump: AsyncIterable<Uint8Array>, base: string | undefined): Promise<void> {
    try {
      await Volume.restore(path, dump, base === undefined ? {} : { base })
    } catch (error) {
      throw error instanceof DumpError ? new FsError('EINVAL', error.message, { cause: error }) : error
    }
  }

  openVolume(path: string, readOnly = false): Promise<Volume> {
    return Volume.open(path, { ...this.#options.volume, readOnly })
  }

  /** Opens and serves what is on the list. One that is damaged does not keep the others from being served. */
  async start(listed: ListedVolume): Promise<void> {
    try {
      this.serve(listed, await this.openVolume(this.path(listed.id), listed.type !== 'RW'))
    } catch (cause) {
      this.#failed(`${listed.name} cannot be served`, cause)
    }
  }

  serve({ id, name, type }: Pick<ListedVolume, 'id' | 'name' | 'type'>, volume: Volume): ServedVolume {
    const served = { id, name, type, volume }
    this.registry.setBusy(id, false)
    this.registry.add(served)
    this.#options.callbacks.serve(served)
    return served
  }

  /** A directory that is whole and durable becomes the RW volume's. */
  async moveIn(path: string, id: number): Promise<void> {
    await fs.promises.rm(this.path(id), { recursive: true, force: true })
    disk.rename(path, this.path(id))
    await syncDirectory(disk, this.#options.directory)
  }

  /**
   * A clone in a directory of its own takes the place of an older one, for all who come from now on; who is reading the
   * older one reads it to its end. Resolves when everybody has heard who was promised to.
   */
  async replace(listed: ListedVolume, path: string, volume: Volume): Promise<void> {
    const { callbacks } = this.#options
    await pointTo(disk, this.path(listed.id), path)
    this.list.put(listed)
    const { id, name, type } = listed
    const served = { id, name, type, volume }
    const old = this.registry.replace(served)
    callbacks.serve(served)
    if (old === undefined) return
    await callbacks.breakAll(old)
    this.#leave(old, () => removeReplaced(this.path(id)))
  }

  /** It is served no more; `server`: where it is now. The data goes when nobody reads it. Its promises have been ended. */
  withdraw(id: number, server?: string): void {
    const served = this.registry.find(id)
    this.registry.remove(id, server)
    this.list.delete(id)
    if (served === undefined) this.#end(id, undefined, this.#removeData(id))
    else this.#leave(served, () => this.#removeData(id))
  }

  /** All that is still read ends, then all volumes close. */
  async close(): Promise<void> {
    for (const { volume, isLent } of this.registry) if (!isLent) await volume.close()
    for (const { volume, gone } of [...this.#leaving]) {
      await volume?.close()
      await gone
    }
  }

  #leave(served: ServedVolume, after: () => Promise<void>): void {
    const { callbacks, locks } = this.#options
    const { volume } = served
    callbacks.leave(served)
    if (served.type === 'RW') locks.leave(served)
    this.#end(served.id, volume, volume.closeWhenUnread().then(after))
  }

  #end(id: number, volume: Volume | undefined, ended: Promise<void>): void {
    const gone = ended
      .catch((cause) => this.#failed(`volume ${id} was not taken away whole`, cause))
      .finally(() => this.#leaving.delete(leaving))
    const leaving: Leaving = { id, volume, gone }
    this.#leaving.add(leaving)
  }

  /** The directory, or the link and the directories of clones. */
  async #removeData(id: number): Promise<void> {
    const { directory } = this.#options
    const own = (name: string) => name === String(id) || name.startsWith(`${id}.`)
    for (const name of fs.readdirSync(directory).filter(own)) {
      await fs.promises.rm(`${directory}/${name}`, { recursive: true, force: true })
    }
  }

  #removeLeftovers(listed: readonly ListedVolume[]): void {
    const { directory } = this.#options
    const keep = new Set(listed.map(({ id }) => String(id)))
    for (const { id, type } of listed) {
      const target = type === 'RW' ? undefined : linkTarget(this.path(id))
      if (target !== undefined) keep.add(target)
    }
    for (const name of fs.readdirSync(directory)) {
      if (!keep.has(name)) fs.rmSync(`${directory}/${name}`, { recursive: true, force: true })
    }
  }

  #failed(what: string, cause: unknown): void {
    const reason = cause instanceof Error ? cause.message : String(cause)
    this.#options.onError(new Error(`${what}: ${reason}`, { cause }))
  }
}

function linkTarget(path: string): string | undefined {
  try {
    return fs.readlinkSync(path)
  } catch {
    return undefined
  }
}
