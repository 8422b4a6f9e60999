// The procedures of NFS version 3 that change names and attributes (RFC 1813 §3.3). What they answer survives the death
// of the server at once, and loss of power as soon as the volume's journal is synced.
import type { AttributeChanges } from '../../posix/attributes.ts'
import { inGroup, ROOT_CREDENTIALS } from '../../posix/credentials.ts'
import { FsError } from '../../posix/errors.ts'
import { isDirectory, isRegular, MODE_BITS, S_IFDIR, S_IFLNK, S_IFREG } from '../../posix/mode.ts'
import type { NewNodeOptions } from '../../store/create.ts'
import type { Arguments, Result } from './nfs3.ts'
import { changesOf, isDevice, joinDevice, typeBits } from './nfs3-attributes.ts'
import { type Caller, type NfsCalls, NfsError, statusOf, type Target } from './nfs3-calls.ts'
import type { WccAttr } from './nfs3-types.ts'

type Where = Arguments<'CREATE'>['where']
type Created = Result<'CREATE'>

export function setattr(
  calls: NfsCalls,
  caller: Caller,
  { object, changes, guard }: Arguments<'SETATTR'>,
): Result<'SETATTR'> {
  let target: Target | undefined
  let before: WccAttr | undefined
  try {
    target = calls.changeable(caller, object)
    before = calls.before(target.ino)
    const { seconds, nseconds } = before.ctime
    if (guard !== undefined && (guard.seconds !== seconds || guard.nseconds !== nseconds)) {
      throw new NfsError('NFS3ERR_NOT_SYNC')
    }
    setAttributes(calls, target, target.ino, changesOf(changes))
    return { status: 'NFS3_OK', wcc: calls.wcc(target, before) }
  } catch (error) {
    return { status: statusOf(error), wcc: calls.wcc(target, before) }
  }
}

function setAttributes({ volume }: NfsCalls, { who }: Target, ino: number, changes: AttributeChanges): void {
  if (Object.keys(changes).length === 0) return
  // As with WRITE (RFC 1813 §4.4): the owner may have the file open for writing whatever its mode is by now.
  volume.setAttributes(ino, changes, who, { handleIsOpenForWrite: volume.attributes(ino).uid === who.uid })
}

/** Makes something new in a directory; `make` returns its inode number. */
function creating(calls: NfsCalls, caller: Caller, { dir }: Where, make: (target: Target) => number): Created {
  let target: Target | undefined
  let before: WccAttr | undefined
  try {
    target = calls.changeable(caller, dir)
    before = calls.before(target.ino)
    const ino = make(target)
    const object = calls.handle(target.share, ino)
    return { status: 'NFS3_OK', object, attributes: calls.attributes(ino), directory: calls.wcc(target, before) }
  } catch (error) {
    return { status: statusOf(error), directory: calls.wcc(target, before) }
  }
}

/** Makes a node; what SETATTR would do to it besides its mode is done at once. */
function make(
  calls: NfsCalls,
  target: Target,
  name: string,
  node: NewNodeOptions,
  { mode, uid, gid, ...rest }: AttributeChanges,
): number {
  const { volume } = calls
  const { who } = target
  const ino = volume.create(target.ino, name, { ...node, mode: node.mode | ((mode ?? 0) & MODE_BITS) }, who)
  const changes: AttributeChanges = { ...rest }
  // Clients name the owner whom they believe to be, also where they come in as somebody else: only root is asked whom
  // it shall belong to, and others to which of their groups.
  const owned = volume.attributes(ino)
  if (uid !== undefined && uid !== owned.uid && who.uid === 0) changes.uid = uid
  if (gid !== undefined && gid !== owned.gid && (who.uid === 0 || inGroup(who, gid))) changes.gid = gid
  // A change of owner takes the set-id bits away.
  if (mode !== undefined && (changes.uid !== undefined || changes.gid !== undefined)) changes.mode = mode
  try {
    setAttributes(calls, target, ino, changes)
  } catch (error) {
    // Who is told that it failed must not find it.
    if (isDirectory(node.mode)) volume.removeDirectory(target.ino, name, ROOT_CREDENTIALS)
    else volume.unlink(target.ino, name, ROOT_CREDENTIALS)
    throw error
  }
  return ino
}

export function create(calls: NfsCalls, caller: Caller, { where, how }: Arguments<'CREATE'>): Result<'CREATE'> {
  const { name } = where
  return creating(calls, caller, where, (target) => {
    const existing = calls.volume.lookup(target.ino, name, target.who)
    if (how.mode === 'EXCLUSIVE') return createExclusive(calls, target, name, how.verifier, existing)
    const changes = changesOf(how.attributes)
    if (existing === undefined) return make(calls, target, name, { mode: S_IFREG }, changes)
    if (how.mode === 'GUARDED') throw new FsError('EEXIST')
    if (!isRegular(calls.volume.modeOf(existing))) throw new FsError('EEXIST')
    // Who finds it there may only ask for another size (§3.3.8): O_TRUNC.
    if (changes.size !== undefined) setAttributes(calls, target, existing, { size: changes.size })
    return existing
  })
}

/**
 * The verifier is kept in the times of the new file, which the client sets next: so a retransmission, and one after the
 * server was restarted, finds the file that the first one made.
 */
function createExclusive(
  { volume }: NfsCalls,
  target: Target,
  name: string,
  verifier: Buffer,
  existing: number | undefined,
): number {
  // Not every file system of the host knows times after 2038.
  const atime = { sec: verifier.readUInt32BE(0) & 0x7fff_ffff, nsec: 0 }
  const mtime = { sec: verifier.readUInt32BE(4) & 0x7fff_ffff, nsec: 0 }
  if (existing === undefined) {
    const ino = volume.create(target.ino, name, { mode: S_IFREG | 0o600 }, target.who)
    volume.setAttributes(ino, { atime, mtime }, target.who)
    return ino
  }
  const found = volume.attributes(existing)
  const same = isRegular(found.mode) && found.atime.sec === atime.sec && found.mtime.sec === mtime.sec
  if (!same) throw new FsError('EEXIST')
  return existing
}

export function mkdir(calls: NfsCalls, caller: Caller, { where, attributes }: Arguments<'MKDIR'>): Result<'MKDIR'> {
  return creating(calls, caller, where, (target) =>
    make(calls, target, where.name, { mode: S_IFDIR }, changesOf(attributes)),
  )
}

export function symlink(
  calls: NfsCalls,
  caller: Caller,
  { where, attributes, target: text }: Arguments<'SYMLINK'>,
): Result<'SYMLINK'> {
  return creating(calls, caller, where, (target) => {
    const { uid, gid } = changesOf(attributes)
    const changes = { ...(uid === undefined ? {} : { uid }), ...(gid === undefined ? {} : { gid }) }
    return make(calls, target, where.name, { mode: S_IFLNK | 0o777, target: text }, changes)
  })
}

export function mknod(calls: NfsCalls, caller: Caller, { where, what }: Arguments<'MKNOD'>): Result<'MKNOD'> {
  return creating(calls, caller, where, (target) => {
    if (!('attributes' in what)) throw new NfsError('NFS3ERR_BADTYPE')
    const device = 'spec' in what ? { rdev: joinDevice(what.spec) } : {}
    if ('spec' in what && !isDevice(what.spec)) throw new FsError('EINVAL')
    // As the host does (mknod(2)): devices are made by root only.
    if ('spec' in what && target.who.uid !== 0) throw new FsError('EPERM')
    return make(calls, target, where.name, { mode: typeBits(what.type), ...device }, changesOf(what.attributes))
  })
}

export function remove(calls: NfsCalls, caller: Caller, { object }: Arguments<'REMOVE'>): Result<'REMOVE'> {
  return removing(calls, caller, object, ({ ino, who }) => calls.volume.unlink(ino, object.name, who))
}

export function rmdir(calls: NfsCalls, caller: Caller, { object }: Arguments<'RMDIR'>): Result<'RMDIR'> {
  return removing(calls, caller, object, (target) => {
    calls.requireNoRoot(target, object.name)
    calls.volume.removeDirectory(target.ino, object.name, target.who)
  })
}

function removing(calls: NfsCalls, caller: Caller, { dir }: Where, act: (target: Target) => void): Result<'REMOVE'> {
  let target: Target | undefined
  let before: WccAttr | undefined
  try {
    target = calls.changeable(caller, dir)
    before = calls.before(target.ino)
    act(target)
    return { status: 'NFS3_OK', directory: calls.wcc(target, before) }
  } catch (error) {
    return { status: statusOf(error), directory: calls.wcc(target, before) }
  }
}

export function rename(calls: NfsCalls, caller: Caller, { from, to }: Arguments<'RENAME'>): Result<'RENAME'> {
  let source: Target | undefined
  let target: Target | undefined
  let beforeSource: WccAttr | undefined
  let beforeTarget: WccAttr | undefined
  const wcc = () => ({
    fromDirectory: calls.wcc(source, beforeSource),
    toDirectory: calls.wcc(target, beforeTarget),
  })
  try {
    source = calls.changeable(caller, from.dir)
    target = calls.changeable(caller, to.dir)
    beforeSource = calls.before(source.ino)
    beforeTarget = calls.before(target.ino)
    if (source.share !== target.share) throw new FsError('EXDEV')
    calls.requireNoRoot(source, from.name)
    calls.requireNoRoot(target, to.name)
    const renaming = { parent: source.ino, name: from.name, newParent: target.ino, newName: to.name }
    calls.volume.rename(renaming, source.who)
    return { status: 'NFS3_OK', ...wcc() }
  } catch (error) {
    return { status: statusOf(error), ...wcc() }
  }
}

export function link(calls: NfsCalls, caller: Caller, { file, link }: Arguments<'LINK'>): Result<'LINK'> {
  let source: Target | undefined
  let target: Target | undefined
  let before: WccAttr | undefined
  const rest = () => ({ attributes: calls.after(source), directory: calls.wcc(target, before) })
  try {
    source = calls.changeable(caller, file)
    target = calls.changeable(caller, link.dir)
    before = calls.before(target.ino)
    if (source.share !== target.share) throw new FsError('EXDEV')
    calls.volume.link(source.ino, target.ino, link.name, source.who)
    return { status: 'NFS3_OK', ...rest() }
  } catch (error) {
    return { status: statusOf(error), ...rest() }
  }
}
