// The root of a client that shows all cells (afsd -dynroot): a directory that no server has, with a mount point for each
// cell that is known, `<cell>` for its replicas and `.<cell>` for what may be changed.

import type { FileSystemStats } from '../../../posix/attributes.ts'
import { NAME_MAX } from '../../../posix/mode.ts'
import type { Status } from '../records.ts'
import { ROOT_CELL } from '../volume-registry.ts'
import type { CellDatabase } from './cell-database.ts'
import type { Cell, ClientVolume } from './cells.ts'
import type { FileServer } from './file-server.ts'
import type { CacheManager } from './manager.ts'
import type { Asked } from './promises.ts'
import type { Vnode } from './vnodes.ts'

/** Of its own among the cells of a mount: the last that `inoOf` can tell apart. */
const CELL_INDEX = 15
const NAME = 'dynroot'
const FOREVER: Asked = { order: Number.MAX_SAFE_INTEGER, at: 0 }

export class DynamicRoot {
  readonly #cm: CacheManager
  readonly #volume: ClientVolume
  readonly #database: CellDatabase
  readonly vnode: Vnode
  #next = 2

  /** `location`: any server of this client's; nothing is ever asked of it here. */
  constructor(cm: CacheManager, location: FileServer, database: CellDatabase) {
    this.#cm = cm
    this.#database = database
    const cell: Cell = { name: NAME, location, volumes: new Map(), entries: new Map(), index: CELL_INDEX }
    const root = { volume: ROOT_CELL.id, vnode: 1, unique: 1 }
    this.#volume = {
      ...{ cell, id: ROOT_CELL.id, name: NAME, type: 'RO', root, server: location },
      ...{ scope: { voided: 0 }, mountedIn: undefined },
    }
    this.vnode = this.#learn(1, statusOf('directory', null))
    this.vnode.names = { version: 1, entries: new Map() }
  }

  /** Nothing takes any room in it. */
  stats(): FileSystemStats {
    return { blockSize: 4096, blocks: 0, freeBlocks: 0, availableBlocks: 0, files: 0, freeFiles: 0, nameMax: NAME_MAX }
  }

  /** A name that is not there may be a cell that the DNS knows. */
  async look(name: string): Promise<boolean> {
    const cell = name.replace(/^\./, '')
    if ((await this.#database.addressesOf(cell)).length === 0) return false
    this.show(cell)
    return true
  }

  /** Shows a cell. Nothing happens if it is shown already. */
  show(cell: string): void {
    const names = this.vnode.names?.entries
    if (names === undefined || names.has(cell)) return
    for (const [name, kind] of [
      [cell, '#'],
      [`.${cell}`, '%'],
    ] as const) {
      const vnode = this.#next++
      this.#learn(vnode, statusOf('mountpoint', `${kind}${cell}:${ROOT_CELL.name}`))
      names.set(name, { vnode, unique: 1, type: 'mountpoint' })
    }
  }

  #learn(vnode: number, status: Status): Vnode {
    const fid = { volume: ROOT_CELL.id, vnode, unique: 1 }
    return this.#cm.learn(this.#volume, { fid, status, callback: { expiresInMs: Number.MAX_SAFE_INTEGER } }, FOREVER)
  }
}

function statusOf(type: Status['type'], target: string | null): Status {
  const time: Status['mtime'] = [Math.floor(Date.now() / 1000), 0]
  const owner = { uid: 0, gid: 0, rdev: 0, blocks: 0 }
  const times = { atime: time, mtime: time, ctime: time, btime: time }
  return {
    ...owner,
    ...times,
    type,
    length: 4096,
    dataVersion: 1,
    change: 1,
    mode: 0o755,
    nlink: 2,
    parent: null,
    target,
  }
}
