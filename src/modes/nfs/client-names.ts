// Names: looking them up, making, moving and removing them (RFC 1813 §3.3.3, §3.3.8 to §3.3.15), with what is known
// locally before the server is asked, and with what is known better afterwards.
import { FsError } from '../../posix/errors.ts'
import { isDirectory, S_IFBLK, S_IFCHR, S_IFIFO, S_IFMT, S_IFREG, S_IFSOCK } from '../../posix/mode.ts'
import type { AbsentEntry, Awaitable, CallContext, Entry, NewNode, NodeId, Renaming } from '../../vfs/filesystem.ts'
import type { ClientState } from './client-state.ts'
import { type Caller, failureOf } from './connection.ts'
import { lookAhead } from './look-ahead.ts'
import { type Arguments, NFS3, type Result } from './nfs3.ts'
import { sattr3Of, splitDevice } from './nfs3-attributes.ts'
import type { NfsNode } from './nodes.ts'

const { MKDIR, SYMLINK, MKNOD, CREATE, REMOVE, RMDIR, RENAME, LINK, LOOKUP } = NFS3.procedures

export function lookup(
  state: ClientState,
  context: CallContext,
  parentId: NodeId,
  name: string,
): Awaitable<Entry | AbsentEntry> {
  const { caches, nodes } = state
  const parent = nodes.get(parentId)
  const known = caches.names.lookup(parentId, name, caches.attributes.get(parentId))
  if (known.type === 'absent') return caches.absent(parent)
  const node = known.type === 'node' ? nodes.find(known.node) : undefined
  if (node !== undefined && !node.stale && caches.attributes.get(node.id) !== undefined) {
    const reply = caches.reply(node)
    if (reply !== undefined) {
      node.lookups++
      return caches.entry(parent, node, reply)
    }
  }
  return askName(state, context, parent, name)
}

async function askName(
  state: ClientState,
  context: CallContext,
  parent: NfsNode,
  name: string,
): Promise<Entry | AbsentEntry> {
  const { caches } = state
  let ahead = caches.takeAhead(parent, name)
  if (ahead === undefined && (await lookAhead(state, context, parent))) ahead = caches.takeAhead(parent, name)
  const found = ahead ?? (await state.ask(parent, name, context))
  if (found === undefined) return state.caches.absent(parent)
  const entry = await state.entry(parent, found.object, context, found)
  state.caches.found(parent, name, entry.node, found.directory, found.request)
  return entry
}

/** How a call that makes something is answered. */
type Created = Result<'CREATE'>

/** Runs a call that makes `name`; returns the new entry, counted as a lookup. */
export async function making(
  state: ClientState,
  context: Caller,
  { parent, name }: { readonly parent: NfsNode; readonly name: string },
  make: () => Promise<Created>,
): Promise<Entry> {
  const { caches } = state
  const request = caches.request()
  const change = caches.begin(parent)
  let result: Created | undefined
  try {
    result = await make()
  } finally {
    caches.end(parent, change, result?.directory)
  }
  if (result.status !== 'NFS3_OK') throw failureOf(result)
  const { object, attributes, directory } = result
  // A server need not tell the handle of what it made.
  const found = object === undefined ? await state.ask(parent, name, context) : { object, attributes, request }
  if (found === undefined) throw new FsError('ENOENT')
  const entry = await state.entry(parent, found.object, context, found)
  caches.named(parent, name, entry.node, directory)
  return entry
}

export function makeDirectory(state: ClientState, context: CallContext, node: NewNode): Promise<Entry> {
  const { where, parent, attributes } = begin(state, node)
  return making(state, context, { parent, name: node.name }, () =>
    state.call(parent, MKDIR, { where, attributes }, context),
  )
}

export function makeSymlink(
  state: ClientState,
  context: CallContext,
  { parent: parentId, name, target }: { readonly parent: NodeId; readonly name: string; readonly target: string },
): Promise<Entry> {
  const { where, parent, attributes } = begin(state, { parent: parentId, name, mode: 0o777, umask: 0 })
  return making(state, context, { parent, name }, () =>
    state.call(parent, SYMLINK, { where, attributes, target }, context),
  )
}

/** Makes a fifo, socket or device, or an empty file. */
export function makeNode(state: ClientState, context: CallContext, node: NewNode): Promise<Entry> {
  const { where, parent, attributes } = begin(state, node)
  const special = specialOf(node, attributes)
  return making(state, context, { parent, name: node.name }, () =>
    special === undefined
      ? state.call(parent, CREATE, { where, how: { mode: 'GUARDED', attributes } }, context)
      : state.call(parent, MKNOD, { where, what: special }, context),
  )
}

function specialOf(
  { mode, rdev = 0 }: NewNode,
  attributes: ReturnType<typeof sattr3Of>,
): Arguments<'MKNOD'>['what'] | undefined {
  switch (mode & S_IFMT) {
    case S_IFIFO:
      return { type: 'NF3FIFO', attributes }
    case S_IFSOCK:
      return { type: 'NF3SOCK', attributes }
    case S_IFCHR:
      return { type: 'NF3CHR', attributes, spec: splitDevice(rdev) }
    case S_IFBLK:
      return { type: 'NF3BLK', attributes, spec: splitDevice(rdev) }
    case S_IFREG:
    case 0:
      return undefined
  }
  throw new FsError('EINVAL')
}

/** Where something is made, and with what permission bits. */
export function begin(state: ClientState, { parent: id, name, mode, umask }: NewNode) {
  const parent = state.nodes.get(id)
  return { parent, where: { dir: parent.handle, name }, attributes: sattr3Of({ mode: mode & 0o7777 & ~umask }) }
}

export async function link(
  state: ClientState,
  context: CallContext,
  { node: id, newParent, newName }: { readonly node: NodeId; readonly newParent: NodeId; readonly newName: string },
): Promise<Entry> {
  const { caches, nodes } = state
  const node = nodes.get(id)
  const parent = nodes.get(newParent)
  const request = caches.request()
  const change = caches.begin(parent)
  let result: Result<'LINK'> | undefined
  try {
    const args = { file: node.handle, link: { dir: parent.handle, name: newName } }
    result = await state.call(node, LINK, args, context)
  } finally {
    caches.end(parent, change, result?.directory)
  }
  if (result.status !== 'NFS3_OK') throw failureOf(result)
  caches.attributes.renamed(id, 'it got another name')
  const entry = await state.entry(parent, node.handle, context, { attributes: result.attributes, request })
  caches.named(parent, newName, id, result.directory)
  return entry
}

export async function removeDirectory(
  state: ClientState,
  context: CallContext,
  parentId: NodeId,
  name: string,
): Promise<void> {
  // The last close of a removed file comes before this, but its silly name may still be on its way out.
  while (state.removing.size > 0) await Promise.all(state.removing)
  const parent = state.nodes.get(parentId)
  await removing(state, parent, name, () =>
    state.call(parent, RMDIR, { object: { dir: parent.handle, name } }, context),
  )
}

export async function unlink(state: ClientState, context: CallContext, parentId: NodeId, name: string): Promise<void> {
  const parent = state.nodes.get(parentId)
  const victim = await whatIs(state, context, parent, name)
  if (victim !== undefined && (await putAside(state, context, { parent, name, node: victim }))) return
  await remove(state, context, parent, name)
  if (victim !== undefined) state.caches.attributes.renamed(victim.id, 'one of its names was removed')
}

function remove(state: ClientState, caller: Caller, parent: NfsNode, name: string): Promise<void> {
  return removing(state, parent, name, () =>
    state.call(parent, REMOVE, { object: { dir: parent.handle, name } }, caller),
  )
}

async function removing(
  { caches }: ClientState,
  parent: NfsNode,
  name: string,
  call: () => Promise<Result<'REMOVE'>>,
): Promise<void> {
  const change = caches.begin(parent)
  let result: Result<'REMOVE'> | undefined
  try {
    result = await call()
  } finally {
    caches.end(parent, change, result?.directory)
  }
  // What is not there any more is not to be believed either.
  if (result.status === 'NFS3ERR_NOENT') caches.dropName(parent, name)
  if (result.status !== 'NFS3_OK') throw failureOf(result)
  caches.named(parent, name, 0, result.directory)
}

/** The node that a name leads to, if it may be one that somebody has open; the server is asked only then. */
async function whatIs(
  state: ClientState,
  context: Caller,
  parent: NfsNode,
  name: string,
): Promise<NfsNode | undefined> {
  const { caches, nodes } = state
  const known = caches.names.lookup(parent.id, name, caches.attributes.get(parent.id))
  if (known.type === 'node') return nodes.find(known.node)
  if (known.type === 'absent' || state.files.size === 0) return undefined
  const found = await state.ask(parent, name, context)
  return found && nodes.known(found.object)
}

interface NamedNode {
  readonly parent: NfsNode
  readonly name: string
  readonly node: NfsNode
}

/** Renames a name that is about to go, if its file is open: true. False: it may go. */
async function putAside(state: ClientState, context: CallContext, { parent, name, node }: NamedNode): Promise<boolean> {
  const { caches, silly } = state
  const attributes = caches.attributes.known(node.id)?.attributes
  if (attributes === undefined) return false
  for (;;) {
    const decision = silly.decide({
      parent: parent.id,
      name,
      node: node.id,
      fileId: BigInt(attributes.ino),
      isDirectory: isDirectory(attributes.mode),
      opens: caches.pages.openCount(node.id),
    })
    if (decision.type === 'remove') return false
    if (decision.type === 'busy') throw new FsError('EBUSY', 'it is removed already, and still open')
    // A RENAME would silently replace what is there.
    const what = { dir: parent.handle, name: decision.name }
    const taken = await state.call(parent, LOOKUP, { what }, context)
    if (taken.status === 'NFS3_OK') continue
    await renameCall(state, context, { parent, name, newParent: parent, newName: decision.name, node })
    silly.renamed({ parent: parent.id, name, node: node.id }, decision.name)
    return true
  }
}

/** The last program that had a removed file open has closed it. */
export function removeSilly(state: ClientState, node: NfsNode, caller: Caller): void {
  const file = state.silly.lastClosed(node.id)
  const parent = file && state.nodes.find(file.parent)
  if (file === undefined || parent === undefined) return
  // Nobody is left to hear of an error: the name stays behind as an orphan.
  const removal = remove(state, caller, parent, file.name)
    .catch(() => undefined)
    .finally(() => state.removing.delete(removal))
  state.removing.add(removal)
}

export async function rename(state: ClientState, context: CallContext, renaming: Renaming): Promise<void> {
  const { nodes, silly } = state
  // The protocol has neither (RFC 1813 §3.3.14).
  if (renaming.flags !== 0) throw new FsError('EINVAL', 'NFS version 3 has no rename with flags')
  const { name, newName } = renaming
  const parent = nodes.get(renaming.parent)
  const newParent = nodes.get(renaming.newParent)
  const node = await whatIs(state, context, parent, name)
  const victim = await whatIs(state, context, newParent, newName)
  if (victim !== undefined && victim !== node) {
    await putAside(state, context, { parent: newParent, name: newName, node: victim })
  }
  await renameCall(state, context, { parent, name, newParent, newName, node })
  silly.moved(renaming.parent, name)
  if (victim !== undefined && victim !== node)
    state.caches.attributes.renamed(victim.id, 'one of its names was removed')
}

interface RenameCall {
  readonly parent: NfsNode
  readonly name: string
  readonly newParent: NfsNode
  readonly newName: string
  /** What is renamed, if that is known. */
  readonly node: NfsNode | undefined
}

async function renameCall(
  state: ClientState,
  context: Caller,
  { parent, name, newParent, newName, node }: RenameCall,
): Promise<void> {
  const { caches } = state
  const from = caches.begin(parent)
  const to = parent === newParent ? undefined : caches.begin(newParent)
  let result: Result<'RENAME'> | undefined
  try {
    const args = { from: { dir: parent.handle, name }, to: { dir: newParent.handle, name: newName } }
    result = await state.call(parent, RENAME, args, context)
  } finally {
    caches.end(parent, from, result?.fromDirectory)
    if (to !== undefined) caches.end(newParent, to, result?.toDirectory)
  }
  if (result.status !== 'NFS3_OK') throw failureOf(result)
  caches.named(parent, name, 0, result.fromDirectory)
  if (node === undefined) caches.dropName(newParent, newName)
  else {
    caches.named(newParent, newName, node.id, result.toDirectory)
    // Its ctime moves, and the number of links when both names were its own.
    caches.attributes.renamed(node.id, 'it was renamed')
  }
}
