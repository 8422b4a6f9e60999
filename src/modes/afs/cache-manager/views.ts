// What stat(2) shows of a node: what the server told, and of a file that programs of this mount write, what they wrote.
import { type AttributeChanges, type Attributes, withChanges } from '../../../posix/attributes.ts'
import { FsError } from '../../../posix/errors.ts'
import { withoutPrivileges } from '../../../store/permissions.ts'
import { type AttributesReply, type Awaitable, ROOT_NODE } from '../../../vfs/filesystem.ts'
import type { Content } from './contents.ts'
import type { Caller } from './file-server.ts'
import type { CacheManager } from './manager.ts'
import { statOf } from './stat.ts'
import type { Node } from './vnodes.ts'

/** Of the present version, whose status was asked for. */
export function presentAttributes(cm: CacheManager, node: Node): AttributesReply {
  const { vnode, content } = node
  const { attributes } = vnode
  if (attributes === undefined) throw new FsError('ESTALE')
  if (content !== undefined && content.writers > 0) {
    return { attributes: written(attributes, content), attributesTtlMs: 0 }
  }
  return { attributes, attributesTtlMs: cm.kernel?.promiseAttributes(node.id, cm.remainingMs(vnode)) ?? 0 }
}

/** Of a node. Whoever has an older version open sees that one. */
export function attributesOfNode(cm: CacheManager, node: Node, caller: Caller): Awaitable<AttributesReply> {
  const { vnode, content } = node
  if (vnode.node !== node && content !== undefined) return older(node)
  if (vnode.deleted) return lastKnown(node)
  if (cm.isValid(vnode)) return presentAttributes(cm, node)
  // The control directory is in the root: it has to be reached when the server is not.
  if (node.id === ROOT_NODE && vnode.volume.server.lostAt !== undefined) return lastKnown(node)
  return ask(cm, node, caller)
}

async function ask(cm: CacheManager, node: Node, caller: Caller): Promise<AttributesReply> {
  const { vnode } = node
  try {
    await cm.fetchStatus(vnode, caller)
  } catch (error) {
    // Whoever has it open goes on, with a server that is gone as with a file that is.
    const keeps = node.content !== undefined || node.id === ROOT_NODE
    if (!keeps || !KEEPS.has(FsError.from(error).code)) throw error
    return lastKnown(node)
  }
  const { content } = node
  if (content !== undefined && content.writers === 0 && content.version !== vnode.status?.dataVersion) {
    cm.nodes.detach(node)
    cm.kernel?.breakAllNames()
    return older(node)
  }
  return presentAttributes(cm, node)
}

const KEEPS: ReadonlySet<string> = new Set(['ESTALE', 'ETIMEDOUT'])

function lastKnown({ vnode: { attributes }, content }: Node): AttributesReply {
  if (attributes === undefined) throw new FsError('ESTALE')
  return { attributes: content === undefined ? attributes : written(attributes, content), attributesTtlMs: 0 }
}

function older({ frozen, content, vnode }: Node): AttributesReply {
  const attributes = frozen ?? vnode.attributes
  if (attributes === undefined || content === undefined) throw new FsError('ESTALE')
  const { size, blocks } = statOf(content.opened.fd)
  // What is still being fetched has the size that it will have.
  const whole = content.fetch?.length ?? size
  return { attributes: withChanges(attributes, { size: whole, blocks }), attributesTtlMs: 0 }
}

/** With what programs wrote and the server does not have. */
function written(attributes: Attributes, content: Content): Attributes {
  if (!content.isChanged()) return attributes
  const { size, blocks, mtime } = statOf(content.opened.fd)
  const { uid, gid, atime, mode: chosen } = content.pending as Exclude<AttributeChanges, 'now'>
  const said = chosen === undefined ? attributes.mode : (attributes.mode & ~0o7777) | chosen
  return withChanges(attributes, {
    ...{ size, blocks, mtime, mode: content.losesSetId ? withoutPrivileges(said) : said },
    ...(uid === undefined ? {} : { uid }),
    ...(gid === undefined ? {} : { gid }),
    ...(atime === undefined || atime === 'now' ? {} : { atime }),
  })
}
