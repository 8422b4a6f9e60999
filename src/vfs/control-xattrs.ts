// Virtual extended attributes: `user.proteus.NAME` is one fact of a file, `user.proteus` all of them as JSON.
// They are not listed, so that `cp -a`, `rsync -X` and tar do not carry facts of one file over to another.
import { FsError } from '../posix/errors.ts'
import { CONTROL_NODES } from './control-tree.ts'
import type { Awaitable, ExtendedAttributes, NodeId } from './filesystem.ts'

const ALL = 'user.proteus'
const PREFIX = 'user.proteus.'
const CAPABILITY = 'security.capability'

const isVirtual = (name: string): boolean => name.startsWith(ALL) && (name === ALL || name.startsWith(PREFIX))

type Facts = (node: NodeId) => Awaitable<Readonly<Record<string, string>>>

/** `inner` with facts; undefined if there are neither. A file system with facts only has no other attributes. */
export function controlXattrs(
  inner: ExtendedAttributes | undefined,
  facts: Facts | undefined,
): ExtendedAttributes | undefined {
  if (inner === undefined && facts === undefined) return undefined

  /** The real attributes of a node; throws for those that have none. */
  const real = (node: NodeId): ExtendedAttributes => {
    if (inner === undefined || node >= CONTROL_NODES) throw new FsError('EOPNOTSUPP')
    return inner
  }
  const getFact = async (node: NodeId, name: string): Promise<Uint8Array | undefined> => {
    const all = node >= CONTROL_NODES ? {} : ((await facts?.(node)) ?? {})
    if (name === ALL) return Buffer.from(JSON.stringify(all))
    const key = name.slice(PREFIX.length)
    const value = Object.hasOwn(all, key) ? all[key] : undefined
    return value === undefined ? undefined : Buffer.from(value)
  }

  return {
    getXattr(context, node, name) {
      if (isVirtual(name)) return getFact(node, name)
      // The kernel asks for it at the first write to each file: where there are none, that is no error.
      if (inner === undefined && name === CAPABILITY) return undefined
      return real(node).getXattr(context, node, name)
    },
    listXattrs(context, node) {
      return inner === undefined || node >= CONTROL_NODES ? [] : inner.listXattrs(context, node)
    },
    setXattr(context, node, name, value, how) {
      if (isVirtual(name)) throw new FsError('EPERM', 'facts cannot be set')
      return real(node).setXattr(context, node, name, value, how)
    },
    removeXattr(context, node, name) {
      if (isVirtual(name)) throw new FsError('EPERM', 'facts cannot be removed')
      return real(node).removeXattr(context, node, name)
    },
  }
}
