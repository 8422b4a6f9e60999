// chmod, chown, utimes, truncate. What a program does to a file that it writes goes to the server with what it wrote.
import { hostDisk, UTIME_NOW, UTIME_OMIT } from '../../../host/disk.ts'
import { type AttributeChanges, type Timespec, timespecFromMs, withChanges } from '../../../posix/attributes.ts'
import { FsError } from '../../../posix/errors.ts'
import { isRegular } from '../../../posix/mode.ts'
import { withoutPrivileges } from '../../../store/permissions.ts'
import type { AttributesReply, CallContext, NodeId } from '../../../vfs/filesystem.ts'
import { LENGTH_MAX, TIME_MAX } from '../limits.ts'
import { AFS } from '../protocol.ts'
import type { Changes, Who } from '../records.ts'
import type { Content } from './contents.ts'
import type { CacheManager } from './manager.ts'
import { attributesOfNode, presentAttributes } from './views.ts'
import type { Node, Vnode } from './vnodes.ts'

const { StoreStatus } = AFS.procedures

export async function setAttributes(
  cm: CacheManager,
  context: CallContext,
  id: NodeId,
  { clearSetId, ...changes }: AttributeChanges,
): Promise<AttributesReply> {
  const node = cm.node(id)
  const { vnode } = node
  if ((changes.size ?? 0) > LENGTH_MAX) throw new FsError('EFBIG')
  const { content } = node
  const writing = content !== undefined && content.writers > 0
  // Of what is truncated there, or stored, the server takes them by itself.
  if (clearSetId && writing) content.losesSetId = true
  const rest = writing ? setHere(cm, content, changes) : changes
  if (Object.keys(rest).length === 0) return attributesOfNode(cm, node, context)
  if (vnode.removedHere && content !== undefined) setLast(vnode, rest)
  else await setThere(cm, context, node, rest)
  if (vnode.node !== node || vnode.deleted) return attributesOfNode(cm, node, context)
  return presentAttributes(cm, node)
}

/** Of a file that was removed here and is open: the server does not know it any more, and nobody else sees it. */
function setLast(vnode: Vnode, { size: _, ...changes }: AttributeChanges): void {
  const { attributes } = vnode
  if (attributes === undefined) throw new FsError('ESTALE')
  const now = timespecFromMs(Date.now())
  const time = (said: Timespec | 'now' | undefined): Timespec | undefined => (said === 'now' ? now : said)
  const { mode, uid, gid } = changes
  const [atime, mtime] = [time(changes.atime), time(changes.mtime)]
  vnode.attributes = withChanges(attributes, {
    ...(mode === undefined ? {} : { mode: (attributes.mode & ~0o7777) | (mode & 0o7777) }),
    ...(uid === undefined ? {} : { uid }),
    ...(gid === undefined ? {} : { gid }),
    ...(atime === undefined ? {} : { atime }),
    ...(mtime === undefined ? {} : { mtime }),
    ctime: now,
  })
}

/** Of a file that programs write: what is left for the server to hear at once. */
function setHere(cm: CacheManager, content: Content, changes: AttributeChanges): AttributeChanges {
  const { size, ...rest } = changes
  const { fd } = content.opened
  if (size !== undefined) {
    cm.cache.reserve(content.file, size)
    hostDisk.truncate(fd, size)
    // Also if it is as long as before (POSIX.1-2017 ftruncate).
    hostDisk.utimens(fd, 0, UTIME_OMIT, 0, UTIME_NOW)
  }
  if (!content.isChanged()) return rest
  const { mtime, atime, ...access } = rest
  if (mtime !== undefined) {
    const [sec, nsec] = mtime === 'now' ? [0, UTIME_NOW] : [mtime.sec, mtime.nsec]
    hostDisk.utimens(fd, 0, UTIME_OMIT, sec, nsec)
  }
  if (atime !== undefined) content.pending = { ...content.pending, atime }
  // Of a file that nobody knows yet, who may do what need not be told twice.
  if (!content.isNew) return access
  content.pending = { ...content.pending, ...access }
  return {}
}

async function setThere(cm: CacheManager, context: CallContext, node: Node, changes: AttributeChanges): Promise<void> {
  const { vnode } = node
  const { volume, fid, key } = vnode
  if (volume.type !== 'RW') throw new FsError('EROFS')
  const { size, ...others } = changes
  const before = vnode.status?.dataVersion
  const length = size === undefined ? {} : { length: size }
  await cm.change(
    [vnode],
    () =>
      cm.cells.call(
        volume,
        StoreStatus,
        { who: cm.whoIs(context), fid, changes: wireChanges(others), ...length },
        context,
      ),
    ({ file }, asked) => {
      const names = vnode.names
      cm.learn(volume, file, asked, true)
      // Of a directory, its names are the same.
      const { dataVersion, type } = file.status
      if (type === 'directory' && names !== undefined && names.version + 1 === dataVersion) names.version = dataVersion
    },
  )
  const { status } = vnode
  if (size === undefined || before === undefined || status === undefined || !isRegular(vnode.attributes?.mode ?? 0))
    return
  truncateHere(cm, vnode, { before, after: status.dataVersion, size, key })
}

/** The cached copy of what was truncated there is truncated here, and goes on being right. */
function truncateHere(
  cm: CacheManager,
  vnode: Vnode,
  { before, after, size, key }: { before: number; after: number; size: number; key: string },
): void {
  const file = cm.cache.find(key)
  if (file === undefined || file.state !== 'whole' || file.version !== before || after !== before + 1) return
  const opened = cm.cache.open(key, before)
  if (opened instanceof Promise || typeof opened === 'string') return
  try {
    cm.cache.markDirty(file, null)
    hostDisk.truncate(opened.fd, size)
    const stamp = cm.cache.stampOf(file)
    cm.cache.stored(file, { version: after, status: null, stamp })
  } catch (error) {
    cm.onError(new Error(`${vnode.key} could not be truncated in the cache`, { cause: error }))
  } finally {
    opened.release()
  }
}

export function wireChanges({ mode, uid, gid, atime, mtime }: AttributeChanges): Changes {
  return {
    ...(mode === undefined ? {} : { mode: mode & 0o7777 }),
    ...(uid === undefined ? {} : { uid }),
    ...(gid === undefined ? {} : { gid }),
    ...(atime === undefined ? {} : { atime: timeOf(atime) }),
    ...(mtime === undefined ? {} : { mtime: timeOf(mtime) }),
  }
}

/** What goes with the bytes of a file. */
export type StoredAlso = Pick<Content, 'pending' | 'losesSetId'>

/**
 * What may go with a store: the times of a file, and who may do what with it, are its owner's to set. Others who may write
 * it leave that to the server, which takes the set-id bits of what they write.
 */
export function storedChanges({ status }: Vnode, also: StoredAlso, who: Who, mtime: Timespec): Changes {
  const mayDecide = who.uid === 0 || who.uid === status?.uid
  if (!mayDecide) return {}
  const mode = also.losesSetId && status !== undefined ? { mode: withoutPrivileges(status.mode) } : {}
  return { mtime: timeOf(mtime), ...mode, ...wireChanges(also.pending) }
}

/** What no server takes is cut to what one does. */
function timeOf(time: Timespec | 'now'): [number, number] | 'now' {
  return time === 'now' ? time : [Math.max(-TIME_MAX, Math.min(TIME_MAX, time.sec)), time.nsec]
}
