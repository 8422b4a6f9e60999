// Mode `local`: POSIX semantics without a network. One process holds the volume and serves all of its mounts.
import { Volume } from '../../store/volume.ts'
import type { Connection, Mode, ModeMount } from '../mode.ts'
import { LocalFileSystem } from './client.ts'
import { LocalLocks } from './locks.ts'

class LocalConnection implements Connection {
  readonly #volume: Volume
  readonly #mounts = new Set<LocalFileSystem>()
  #nextMount = 1

  constructor(volume: Volume) {
    this.#volume = volume
  }

  mount(): ModeMount {
    const name = `mount-${this.#nextMount++}`
    const fileSystem = new LocalFileSystem(this.#volume, new LocalLocks(this.#volume.locks, name), this.#mounts)
    return {
      fileSystem,
      kernelChecksPermissions: true,
      control: {
        status: () => ({ volume: this.#volume.id, mounts: this.#mounts.size, ...fileSystem.status() }),
        facts: (node) => this.#facts(node),
      },
    }
  }

  /** What `info FILE` and `user.proteus.*` tell. */
  #facts(node: number): Record<string, string> {
    const { change, dataVersion } = this.#volume.changeOf(node)
    const content = this.#volume.contentPath(node)
    return {
      inode: String(node),
      generation: String(this.#volume.generation(node)),
      change: String(change),
      data_version: String(dataVersion),
      ...(content === undefined ? {} : { content }),
      locks: JSON.stringify(
        this.#volume.locks.table.locksOf(node).map(({ owner, ...lock }) => ({ ...lock, owner: String(owner) })),
      ),
    }
  }

  /** Whoever opened the volume closes it. */
  async close(): Promise<void> {}
}

export const localMode: Mode = {
  name: 'local',
  summary: 'POSIX semantics, no network: what happens on one mount is seen at once on all',
  async connect({ directory }) {
    if (directory === undefined) throw new Error('mode local needs a data directory: local:DIR')
    const volume = await Volume.open(directory)
    const connection = new LocalConnection(volume)
    return { mount: () => connection.mount(), close: () => volume.close() }
  },
  connectBeside: (volume) => new LocalConnection(volume),
}
