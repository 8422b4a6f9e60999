// chmod, chown, utimes, truncate. What a program does to a file that it writes goes to the server with what it wrote.
import { hostDisk } from '../../../host/disk.ts'
import type { AttributeChanges, Timespec } from '../../../posix/attributes.ts'
import { FsError } from '../../../posix/errors.ts'
import { isRegular, S_ISGID, S_ISUID, S_IXGRP } from '../../../posix/mode.ts'
import type { AttributesReply, CallContext, NodeId } from '../../../vfs/filesystem.ts'
import { AFS } from '../protocol.ts'
import type { Changes } from '../records.ts'
import type { Content } from './contents.ts'
import type { CacheManager } from './manager.ts'
import { attributesOfNode, presentAttributes } from './views.ts'
import type { Node, Vnode } from './vnodes.ts'

const { StoreStatus } = AFS.procedures
const UTIME_NOW = 0x3fffffff
const UTIME_OMIT = 0x3ffffffe

export async function setAttributes(
  cm: CacheManager,
  context: CallContext,
  id: NodeId,
  { clearSetId, ...changes }: AttributeChanges,
): Promise<AttributesReply> {
  const node = cm.node(id)
  const { vnode } = node
  if (clearSetId) {
    const mode = await withoutSetId(cm, context, vnode, changes.mode)
    if (mode !== undefined) changes.mode = mode
  }
  const rest = node.content !== undefined && node.content.writers > 0 ? setHere(cm, node.content, changes) : changes
  if (Object.keys(rest).length === 0) return attributesOfNode(cm, node, context)
  await setThere(cm, context, node, rest)
  if (vnode.node !== node) return attributesOfNode(cm, node, context)
  return presentAttributes(cm, node)
}

/** The mode without what a writer may not keep; undefined if it stays as it is. */
async function withoutSetId(
  cm: CacheManager,
  context: CallContext,
  vnode: Vnode,
  wanted: number | undefined,
): Promise<number | undefined> {
  if (!cm.isValid(vnode)) await cm.fetchStatus(vnode, context)
  const mode = wanted ?? vnode.status?.mode ?? 0
  const cleared = mode & ~S_ISUID & ~((mode & S_IXGRP) !== 0 ? S_ISGID : 0)
  return cleared === mode ? wanted : cleared
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

const timeOf = (time: Timespec | 'now'): [number, number] | 'now' => (time === 'now' ? time : [time.sec, time.nsec])
