// What all calls of the NFS server share: who calls, which inode a handle means, and what an error is answered with.

import type { BufferPool } from '../../host/buffer-pool.ts'
import { type Credentials, ROOT_CREDENTIALS } from '../../posix/credentials.ts'
import { FsError } from '../../posix/errors.ts'
import { isDot } from '../../store/names.ts'
import type { Volume } from '../../store/volume.ts'
import type { Access, Export } from './exports.ts'
import type { FileHandles } from './file-handle.ts'
import { fattr3Of, wccAttrOf } from './nfs3-attributes.ts'
import type { Fattr3, WccAttr, WccData } from './nfs3-types.ts'
import { type NfsErrorName, statusName, statusOfErrno } from './status-map.ts'

/** Who calls. */
export interface Caller {
  /** IP address. */
  readonly address: string
  /** What AUTH_SYS claims; undefined with AUTH_NONE. */
  readonly credentials: Credentials | undefined
  /** What the transport can carry in one reply beside the headers, in bytes. */
  readonly transferMax: number
}

/** An error of the protocol that is no errno. */
export class NfsError extends Error {
  override readonly name = 'NfsError'
  readonly status: NfsErrorName

  constructor(status: NfsErrorName) {
    super(status)
    this.status = status
  }
}

/** What an error is answered with. A defect of ours is none of the protocol's: it is thrown on, reported, SYSTEM_ERR. */
export function statusOf(error: unknown): NfsErrorName {
  if (error instanceof NfsError) return error.status
  if (error instanceof TypeError || error instanceof RangeError) throw error
  return statusName(statusOfErrno(FsError.from(error).code)) as NfsErrorName
}

/** What a handle means for its caller. */
export interface Target {
  readonly ino: number
  readonly share: Export
  readonly access: Access
  /** As whom the caller comes in. */
  readonly who: Credentials
}

export interface NfsServerParts {
  readonly volume: Volume
  readonly handles: FileHandles
  /** By id. */
  readonly exports: ReadonlyMap<number, ExportedTree>
  /** Identifies the volume to clients. */
  readonly fsid: bigint
  /** Another one after each restart: tells clients to send again what was not committed (RFC 1813 §4.8). */
  readonly verifier: Buffer
  /** Memory for data that is read. It comes back when a reply has left. */
  readonly transfers: BufferPool
}

/** An export, and the directory that it shows. */
export interface ExportedTree {
  readonly share: Export
  readonly root: number
}

export class NfsCalls {
  readonly volume: Volume
  readonly verifier: Buffer
  readonly transfers: BufferPool
  readonly #parts: NfsServerParts
  /** The roots of exports that have a name. */
  readonly #namedRoots: ReadonlySet<number>

  constructor(parts: NfsServerParts) {
    this.volume = parts.volume
    this.verifier = parts.verifier
    this.transfers = parts.transfers
    this.#parts = parts
    const roots = [...parts.exports.values()].map(({ root }) => root)
    this.#namedRoots = new Set(roots.filter((root) => root !== parts.volume.root))
  }

  /** Throws BADHANDLE for one that we never gave out, STALE if what it meant is gone, ACCES for whom it is not meant. */
  target(caller: Caller, bytes: Buffer): Target {
    const handle = this.#parts.handles.decode(bytes)
    if (handle === undefined) throw new NfsError('NFS3ERR_BADHANDLE')
    const tree = this.#parts.exports.get(handle.exportId)
    if (tree === undefined || this.volume.generation(handle.ino) !== handle.generation) throw new FsError('ESTALE')
    const { share } = tree
    const access = share.accessOf(caller.address)
    if (access === undefined) throw new FsError('EACCES')
    return { ino: handle.ino, share, access, who: access.admit(caller.credentials) }
  }

  /** A target that is going to be changed: throws ROFS where nothing may be. */
  changeable(caller: Caller, bytes: Buffer): Target {
    const target = this.target(caller, bytes)
    if (target.access.readOnly) throw new FsError('EROFS')
    return target
  }

  handle(share: Export, ino: number): Buffer {
    return this.#parts.handles.encode({ exportId: share.id, ino, generation: this.volume.generation(ino) })
  }

  /** The inode that a name leads to. Nothing leads out of an export. */
  find({ ino, share, who }: Target, name: string): number {
    const found = this.volume.lookup(ino, name, who)
    if (found === undefined) throw new FsError('ENOENT')
    return name === '..' ? this.parentWithin(share, ino, found) : found
  }

  /**
   * Where `..` of a directory leads: not out of the export, be it that the directory is its root, or that somebody moved
   * it away whom another export lets do so.
   */
  parentWithin(share: Export, ino: number, parent: number): number {
    const root = this.#parts.exports.get(share.id)?.root
    if (root === this.volume.root) return parent
    for (let at = ino; at !== root; ) {
      const above = this.volume.lookup(at, '..', ROOT_CREDENTIALS)
      if (above === undefined || above === at) return ino
      at = above
    }
    return ino === root ? ino : parent
  }

  /** Throws EBUSY for a name of the root of an export, which must neither go nor move: clients have it mounted. */
  requireNoRoot({ ino, who }: Target, name: string): void {
    if (this.#namedRoots.size === 0 || isDot(name)) return
    const found = this.volume.lookup(ino, name, who)
    if (found !== undefined && this.#namedRoots.has(found)) throw new FsError('EBUSY')
  }

  attributes(ino: number): Fattr3 {
    return fattr3Of(this.volume.attributes(ino), this.#parts.fsid)
  }

  /** Attributes that go along with an answer, if they can be had. */
  after(target: Pick<Target, 'ino'> | undefined): Fattr3 | undefined {
    if (target === undefined) return undefined
    try {
      return this.attributes(target.ino)
    } catch {
      return undefined
    }
  }

  /** What a client compares with its cache, taken before a change. */
  before(ino: number): WccAttr {
    return wccAttrOf(this.volume.attributes(ino))
  }

  wcc(target: Pick<Target, 'ino'> | undefined, before: WccAttr | undefined): WccData {
    return { before, after: this.after(target) }
  }
}
