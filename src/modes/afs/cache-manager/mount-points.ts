// Mount points: a place in a volume where another one appears. Who walks over it comes to the root of that volume.
import { FsError } from '../../../posix/errors.ts'
import { ROOT_NODE } from '../../../vfs/filesystem.ts'
import { inoOf } from './attributes.ts'
import type { Caller } from './file-server.ts'
import type { CacheManager } from './manager.ts'
import type { Vnode } from './vnodes.ts'

/** The root of the volume that a mount point names. ENODEV: there is no such volume; ELOOP: it is above. */
export async function enterVolume(
  cm: CacheManager,
  directory: Vnode,
  mountPoint: Vnode,
  caller: Caller,
): Promise<Vnode> {
  const target = mountPoint.status?.target ?? ''
  const [, kind, cellName, name] = /^([#%])(?:([^:]+):)?([\w.-]+)$/.exec(target) ?? []
  if (name === undefined) throw new FsError('ENODEV', 'a mount point that names no volume')
  const cell = cellName === undefined ? directory.volume.cell : await cm.cells.named(cellName, caller)
  // Inside a replica all is read from replicas, but where a mount point says otherwise.
  const readOnly = kind === '#' && directory.volume.type === 'RO'
  const volume = await cm.cells.volume(cell, name, { readOnly }, caller)
  volume.mountedIn = { ino: inoOf(directory.volume, directory.fid.vnode) }
  const root = cm.vnode(volume, volume.root)
  // Below itself the kernel would not have it: for other directories it says the same.
  if (root.node?.id === ROOT_NODE) throw new FsError('ELOOP', `${name} is what is mounted`)
  if (!cm.isValid(root)) await cm.fetchStatus(root, caller)
  return root
}
