// The procedures that change attributes and names. Each tells those first who were promised, then makes the change in one
// turn, and answers with what is new.
import type { Credentials } from '../../posix/credentials.ts'
import { FsError } from '../../posix/errors.ts'
import { S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFREG, S_IFSOCK } from '../../posix/mode.ts'
import type { NewNodeOptions } from '../../store/create.ts'
import type { AfsCalls, Caller, Target } from './afs-calls.ts'
import type { Arguments, Result } from './protocol.ts'
import { changesOf, fidOf, MOUNT_POINT_MODE } from './status.ts'

type Place = Pick<Arguments<'RemoveFile'>, 'parent' | 'name' | 'who'>
type Made = Result<'CreateFile'>

/** RENAME_NOREPLACE, RENAME_EXCHANGE of renameat2(2). */
const RENAME_FLAGS = { replace: 0, noReplace: 1, exchange: 2 } as const
const NODE_TYPES = { fifo: S_IFIFO, socket: S_IFSOCK, char: S_IFCHR, block: S_IFBLK } as const

export function storeStatus(
  calls: AfsCalls,
  caller: Caller,
  { who, fid, changes, length }: Arguments<'StoreStatus'>,
): Promise<Result<'StoreStatus'>> {
  const { served, ino } = calls.changeable(fid)
  return calls.change(
    served,
    caller,
    () => [ino],
    () => {
      const size = length === undefined ? {} : { size: length }
      calls.changeable(fid)
      served.volume.setAttributes(ino, { ...changesOf(changes), ...size }, calls.credentials(who))
      return { file: calls.known(served, ino, caller) }
    },
  )
}

export const createFile = (calls: AfsCalls, caller: Caller, { mode, ...place }: Arguments<'CreateFile'>) =>
  making(calls, caller, place, { mode: S_IFREG | mode })

export const makeDir = (calls: AfsCalls, caller: Caller, { mode, ...place }: Arguments<'MakeDir'>) =>
  making(calls, caller, place, { mode: S_IFDIR | mode })

export const symlink = (calls: AfsCalls, caller: Caller, { target, ...place }: Arguments<'Symlink'>) =>
  making(calls, caller, place, { mode: S_IFLNK | 0o777, target })

export function makeNode(calls: AfsCalls, caller: Caller, args: Arguments<'MakeNode'>): Promise<Made> {
  const { mode, type, rdev, ...place } = args
  // As the host does (mknod(2)): devices are made by root only.
  const isDevice = type === 'char' || type === 'block'
  if (isDevice && calls.credentials(place.who).uid !== 0) throw new FsError('EPERM')
  return making(calls, caller, place, { mode: NODE_TYPES[type] | mode, ...(isDevice ? { rdev } : {}) })
}

export function makeMountPoint(
  calls: AfsCalls,
  caller: Caller,
  { volume, readWrite, ...place }: Arguments<'MakeMountPoint'>,
): Promise<Made> {
  if (!/^[\w.-]+$/.test(volume)) throw new FsError('EINVAL', 'no name of a volume')
  return making(calls, caller, place, { mode: MOUNT_POINT_MODE, target: `${readWrite ? '%' : '#'}${volume}` })
}

function making(calls: AfsCalls, caller: Caller, { who, parent, name }: Place, node: NewNodeOptions): Promise<Made> {
  const { served, ino } = calls.changeableDirectory(parent)
  return calls.change(
    served,
    caller,
    () => [ino],
    () => {
      calls.changeableDirectory(parent)
      const made = served.volume.create(ino, name, node, calls.credentials(who))
      return { made: calls.known(served, made, caller), parent: calls.known(served, ino, caller) }
    },
  )
}

export function link(calls: AfsCalls, caller: Caller, args: Arguments<'Link'>): Promise<Result<'Link'>> {
  const { who, parent, name, fid } = args
  const directory = calls.changeableDirectory(parent)
  const { served } = directory
  const file = calls.changeable(fid)
  if (file.served !== served) throw new FsError('EXDEV')
  return calls.change(
    served,
    caller,
    () => [directory.ino, file.ino],
    () => {
      calls.changeableDirectory(parent)
      calls.changeable(fid)
      served.volume.link(file.ino, directory.ino, name, calls.credentials(who))
      return { made: calls.known(served, file.ino, caller), parent: calls.known(served, directory.ino, caller) }
    },
  )
}

export function removeFile(calls: AfsCalls, caller: Caller, place: Arguments<'RemoveFile'>) {
  return removing(calls, caller, place, ({ served, ino }, who) => served.volume.unlink(ino, place.name, who))
}

export function removeDir(calls: AfsCalls, caller: Caller, place: Arguments<'RemoveDir'>) {
  return removing(calls, caller, place, ({ served, ino }, who) => served.volume.removeDirectory(ino, place.name, who))
}

function removing(
  calls: AfsCalls,
  caller: Caller,
  { who, parent, name }: Place,
  remove: (directory: Target, who: Credentials) => void,
): Promise<Result<'RemoveFile'>> {
  const directory = calls.changeableDirectory(parent)
  const { served, ino } = directory
  const as = calls.credentials(who)
  const find = () => served.volume.lookup(ino, name, as)
  return calls.change(
    served,
    caller,
    () => [ino, ...some(find())],
    () => {
      calls.changeableDirectory(parent)
      const victim = find()
      const fid = victim === undefined ? undefined : fidOf(served, victim)
      remove(directory, as)
      if (victim === undefined || fid === undefined) throw new FsError('ENOENT')
      const removed = left(calls, caller, { served, ino: victim }, fid)
      return { removed, fid, parent: calls.known(served, ino, caller) }
    },
  )
}

/** Of what is gone nothing is promised any more. */
function left(calls: AfsCalls, caller: Caller, { served, ino }: Target, fid: ReturnType<typeof fidOf>) {
  const known = calls.left(served, ino, caller)
  if (known === null || known.status.nlink === 0) {
    served.volume.grants.release(ino, calls.callbacks.holder(caller.id, fid))
    return null
  }
  return known
}

export async function rename(
  calls: AfsCalls,
  caller: Caller,
  { who, from, to, how }: Arguments<'Rename'>,
): Promise<Result<'Rename'>> {
  const source = calls.changeableDirectory(from.parent)
  const target = calls.changeableDirectory(to.parent)
  const { served } = source
  const { volume } = served
  if (target.served !== served) throw new FsError('EXDEV')
  const as = calls.credentials(who)
  const find = () => ({ moved: volume.lookup(source.ino, from.name, as), old: volume.lookup(target.ino, to.name, as) })
  return calls.change(
    served,
    caller,
    () => {
      const { moved, old } = find()
      return [...new Set([source.ino, target.ino, ...some(moved), ...some(old)])]
    },
    () => {
      calls.changeableDirectory(from.parent)
      calls.changeableDirectory(to.parent)
      const { moved, old } = find()
      const replacedFid = old === undefined || old === moved ? undefined : fidOf(served, old)
      const places = { parent: source.ino, name: from.name, newParent: target.ino, newName: to.name }
      volume.rename({ ...places, flags: RENAME_FLAGS[how] }, as)
      if (moved === undefined) throw new FsError('ENOENT')
      const replaced =
        replacedFid === undefined
          ? null
          : { fid: replacedFid, removed: left(calls, caller, { served, ino: replacedFid.vnode }, replacedFid) }
      return {
        moved: calls.known(served, moved, caller),
        from: calls.known(served, source.ino, caller),
        to: calls.known(served, target.ino, caller),
        replaced,
      }
    },
  )
}

const some = (ino: number | undefined): number[] => (ino === undefined ? [] : [ino])
