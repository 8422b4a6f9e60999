// What all calls of the file server share: which inode a fid means, who asks, and what is answered of an inode.
import type { BufferPool } from '../../host/buffer-pool.ts'
import type { Credentials } from '../../posix/credentials.ts'
import { FsError } from '../../posix/errors.ts'
import { isDirectory } from '../../posix/mode.ts'
import type { WsContext } from '../../rpc/ws/index.ts'
import type { Callbacks } from './callbacks.ts'
import type { Fid, Known, Who } from './records.ts'
import { fidOf, statusOf } from './status.ts'
import type { ServedVolume, VolumeRegistry } from './volume-registry.ts'

export interface AfsServerParts {
  readonly registry: VolumeRegistry
  readonly callbacks: Callbacks
  readonly chunks: BufferPool
  /** In milliseconds since the epoch. */
  now(): number
  /** As whom a caller comes in: squashing. Default: as whoever it says. */
  identify?(who: Who): Credentials
}

/** Who calls: the id of a client. */
export type Caller = Pick<WsContext['peer'], 'id'>

/** What a fid means. */
export interface Target {
  readonly served: ServedVolume
  readonly ino: number
}

/** How often a change is tried whose names lead elsewhere each time that its breaks have been heard. */
const TRIES = 16

export class AfsCalls {
  readonly registry: VolumeRegistry
  readonly callbacks: Callbacks
  /** Memory for what is fetched. */
  readonly chunks: BufferPool
  /** A chunk is not needed any more. */
  readonly giveChunk: (chunk: Buffer) => void
  readonly #identify: (who: Who) => Credentials

  constructor({ registry, callbacks, identify, chunks }: AfsServerParts) {
    this.registry = registry
    this.callbacks = callbacks
    this.chunks = chunks
    this.giveChunk = (chunk) => chunks.give(chunk)
    this.#identify = identify ?? (({ uid, gid, groups }) => ({ uid, gid, groups }))
  }

  credentials(who: Who): Credentials {
    return this.#identify(who)
  }

  /** Throws VNOVOL, VMOVED, VBUSY; ESTALE if it leads to nothing any more, or never did. */
  target(fid: Fid): Target {
    const served = this.registry.get(fid.volume)
    if (served.volume.generation(fid.vnode) !== fid.unique) throw new FsError('ESTALE')
    return { served, ino: fid.vnode }
  }

  /** A target that is going to be changed: EROFS in a volume that may not be. */
  changeable(fid: Fid): Target {
    const target = this.target(fid)
    if (target.served.type !== 'RW') throw new FsError('EROFS')
    return target
  }

  /** The same, of a directory: ENOTDIR. */
  changeableDirectory(fid: Fid): Target {
    const target = this.changeable(fid)
    if (!isDirectory(target.served.volume.modeOf(target.ino))) throw new FsError('ENOTDIR')
    return target
  }

  /** Status and promise, in this order of events: promised first, so that nothing gets lost in between. */
  known(served: ServedVolume, ino: number, { id }: Caller): Known {
    const fid = fidOf(served, ino)
    const callback = this.callbacks.promise(served, id, fid)
    return { fid, status: statusOf(served, ino), callback }
  }

  /** What is left of an inode that lost a name. */
  left(served: ServedVolume, ino: number, caller: Caller): Known | null {
    try {
      return this.known(served, ino, caller)
    } catch (error) {
      if (FsError.from(error).code === 'ESTALE') return null
      throw error
    }
  }

  /**
   * Makes a change: `files` says which inodes it is about, and is asked again when the others have been told of those. If
   * names lead elsewhere by then, they are told of that.
   */
  change<R>(served: ServedVolume, caller: Caller, files: () => readonly number[], make: () => R): Promise<R> {
    return this.whileServed(served, () => this.#change(served, caller, files, make))
  }

  /** What fails because its volume has gone fails with where it went, or with VBUSY while that is being decided. */
  async whileServed<R>(served: ServedVolume, body: () => Promise<R>): Promise<R> {
    try {
      return await body()
    } catch (error) {
      if (!this.registry.serves(served)) this.registry.get(served.id)
      throw error
    }
  }

  async #change<R>(served: ServedVolume, caller: Caller, files: () => readonly number[], make: () => R): Promise<R> {
    for (let tries = 0; tries < TRIES; tries++) {
      const inodes = files()
      const fids = inodes.map((ino) => fidOf(served, ino))
      const done = await this.callbacks.change(served, caller.id, fids, () => {
        this.registry.get(served.id)
        const now = files()
        if (now.length !== inodes.length || now.some((ino, i) => ino !== inodes[i])) return undefined
        return { result: make() }
      })
      if (done !== undefined) return done.result
    }
    throw new FsError('EAGAIN', 'names change faster than clients hear of it')
  }
}
