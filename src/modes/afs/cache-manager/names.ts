// Names: walking, making, moving, removing.
import { FsError } from '../../../posix/errors.ts'
import {
  NAME_MAX,
  O_EXCL,
  RENAME_EXCHANGE,
  RENAME_NOREPLACE,
  S_IFBLK,
  S_IFCHR,
  S_IFIFO,
  S_IFMT,
  S_IFSOCK,
} from '../../../posix/mode.ts'
import type { AbsentEntry, Awaitable, CallContext, Entry, NewNode, NodeId, Renaming } from '../../../vfs/filesystem.ts'
import { AFS, type Result } from '../protocol.ts'
import type { Fid, Known, Who } from '../records.ts'
import { askForName, changeNames, fetchEntryStatus, knownNames, namesOf, requireDirectory } from './directories.ts'
import type { CacheManager } from './manager.ts'
import { enterVolume } from './mount-points.ts'
import type { Asked } from './promises.ts'
import { presentAttributes } from './views.ts'
import type { NameEntry, Vnode } from './vnodes.ts'

const { CreateFile, MakeDir, Symlink, MakeNode, Link, Rename, RemoveFile, RemoveDir } = AFS.procedures

/** How long a cell that the DNS does not know is not asked for again. */
const UNKNOWN_CELL_MS = 60_000
/** How often a walk begins again whose directory changes meanwhile. */
const TRIES = 4

/** What is no RW volume nobody changes; the server would say the same. */
function requireChangeable({ volume }: Vnode): void {
  if (volume.type !== 'RW') throw new FsError('EROFS')
}

/** Names that cannot be (RFC 3629 §3: no lone surrogates), before anybody is asked. */
export function checkName(name: string): void {
  if (name.length > NAME_MAX / 3 && Buffer.byteLength(name) > NAME_MAX) throw new FsError('ENAMETOOLONG')
  if (!name.isWellFormed()) throw new FsError('EILSEQ')
}

export function lookup(
  cm: CacheManager,
  context: CallContext,
  parent: NodeId,
  name: string,
): Awaitable<Entry | AbsentEntry> {
  const directory = cm.node(parent).vnode
  checkName(name)
  const names = knownNames(cm, directory)
  if (names === undefined) return walk(cm, context, directory, name)
  const found = names.entries.get(name)
  if (found === undefined) {
    return directory === cm.dynamicRoot?.vnode ? walk(cm, context, directory, name) : absent(cm, directory)
  }
  if (found.type !== 'mountpoint') {
    const vnode = cm.vnode(directory.volume, found)
    if (cm.isValid(vnode)) return entry(cm, directory, vnode)
  }
  return walk(cm, context, directory, name)
}

async function walk(
  cm: CacheManager,
  context: CallContext,
  directory: Vnode,
  name: string,
): Promise<Entry | AbsentEntry> {
  for (let tries = 1; ; tries++) {
    requireDirectory(directory)
    const found = await find(cm, context, directory, name)
    if (found === undefined) {
      if (directory !== cm.dynamicRoot?.vnode) return absent(cm, directory)
      if (!(await cm.dynamicRoot.look(name))) return { node: 0, nameTtlMs: UNKNOWN_CELL_MS }
      continue
    }
    const vnode = cm.vnode(directory.volume, found)
    try {
      if (!cm.isValid(vnode)) await fetchEntryStatus(cm, directory, found, context)
      if (found.type !== 'mountpoint') return entry(cm, directory, vnode)
      return entry(cm, directory, await enterVolume(cm, directory, vnode, context))
    } catch (error) {
      // It went since the names were read.
      if (FsError.from(error).code !== 'ESTALE' || tries === TRIES) throw error
      directory.names = undefined
    }
  }
}

async function find(
  cm: CacheManager,
  context: CallContext,
  directory: Vnode,
  name: string,
): Promise<NameEntry | undefined> {
  try {
    return (await namesOf(cm, directory, context)).entries.get(name)
  } catch (error) {
    if (FsError.from(error).code !== 'EACCES') throw error
    return askForName(cm, directory, name, context)
  }
}

function absent(cm: CacheManager, directory: Vnode): AbsentEntry {
  return { node: 0, nameTtlMs: nameTtlMs(cm, directory) }
}

/** How long the kernel may believe a name: as long as all names of the directory are promised. */
function nameTtlMs(cm: CacheManager, directory: Vnode): number {
  const { node } = directory
  if (node === undefined || knownNames(cm, directory) === undefined) return 0
  return cm.kernel?.promiseName(node.id, cm.remainingMs(directory)) ?? 0
}

/** What a name leads to. Counts a lookup. */
export function entry(cm: CacheManager, directory: Vnode, vnode: Vnode): Entry {
  const node = cm.nodes.present(vnode)
  const { attributes, attributesTtlMs } = presentAttributes(cm, node)
  node.lookups++
  return { node: node.id, generation: 0, attributes, nameTtlMs: nameTtlMs(cm, directory), attributesTtlMs }
}

type Made = Result<'CreateFile'>

const entryOf = ({ fid: { vnode, unique }, status: { type } }: Known): NameEntry => ({ vnode, unique, type })

/** Permission bits of something new. */
const permissionsOf = ({ mode, umask }: NewNode): number => mode & 0o7777 & ~umask

/** Makes something in a directory, by whatever call does. */
async function make(
  cm: CacheManager,
  context: CallContext,
  { parent, name }: Pick<NewNode, 'parent' | 'name'>,
  call: (place: { who: Who; parent: Fid; name: string }, directory: Vnode) => Promise<Made>,
  also: readonly Vnode[] = [],
): Promise<Entry & { vnode: Vnode }> {
  const directory = cm.node(parent).vnode
  checkName(name)
  requireChangeable(directory)
  let vnode: Vnode | undefined
  await cm.change(
    [directory, ...also],
    () => call({ who: cm.whoIs(context), parent: directory.fid, name }, directory),
    ({ made, parent: known }, asked) => {
      vnode = cm.learn(directory.volume, made, asked, true)
      const { type, dataVersion, nlink } = made.status
      // What is in it is known: nothing.
      if (type === 'directory' && nlink === 2) vnode.names = { version: dataVersion, entries: new Map() }
      changeNames(cm, directory, known, asked, (entries) => entries.set(name, entryOf(made)))
    },
  )
  const found = vnode as unknown as Vnode
  return { ...entry(cm, directory, found), vnode: found }
}

/** A regular file, empty. EEXIST is ESTALE where no O_EXCL is in `flags`: see `FileSystem.create`. */
export async function makeFile(
  cm: CacheManager,
  context: CallContext,
  node: NewNode,
  flags: number,
): Promise<Entry & { vnode: Vnode }> {
  const mode = permissionsOf(node)
  try {
    return await make(cm, context, node, (place, { volume }) =>
      cm.cells.call(volume, CreateFile, { ...place, mode }, context),
    )
  } catch (error) {
    const taken = FsError.from(error).code === 'EEXIST' && (flags & O_EXCL) === 0
    throw taken ? new FsError('ESTALE') : error
  }
}

export function makeNode(cm: CacheManager, context: CallContext, node: NewNode): Promise<Entry> {
  const type = NODE_TYPES[node.mode & S_IFMT]
  if (type === undefined) return makeFile(cm, context, node, O_EXCL)
  const { rdev = 0 } = node
  return make(cm, context, node, (place, { volume }) =>
    cm.cells.call(volume, MakeNode, { ...place, mode: permissionsOf(node), type, rdev }, context),
  )
}

const NODE_TYPES: Readonly<Record<number, 'fifo' | 'socket' | 'char' | 'block'>> = {
  [S_IFIFO]: 'fifo',
  [S_IFSOCK]: 'socket',
  [S_IFCHR]: 'char',
  [S_IFBLK]: 'block',
}

export function makeDirectory(cm: CacheManager, context: CallContext, node: NewNode): Promise<Entry> {
  return make(cm, context, node, (place, { volume }) =>
    cm.cells.call(volume, MakeDir, { ...place, mode: permissionsOf(node) }, context),
  )
}

export async function makeSymlink(
  cm: CacheManager,
  context: CallContext,
  node: { parent: NodeId; name: string; target: string },
): Promise<Entry> {
  const { target } = node
  if (!target.isWellFormed()) throw new FsError('EILSEQ')
  return make(cm, context, node, (place, { volume }) => cm.cells.call(volume, Symlink, { ...place, target }, context))
}

export async function link(
  cm: CacheManager,
  context: CallContext,
  { node, newParent, newName }: { node: NodeId; newParent: NodeId; newName: string },
): Promise<Entry> {
  const file = cm.node(node).vnode
  const place = { parent: newParent, name: newName }
  return make(
    cm,
    context,
    place,
    (where, { volume }) => {
      if (volume !== file.volume) throw new FsError('EXDEV')
      return cm.cells.call(volume, Link, { ...where, fid: file.fid }, context)
    },
    [file],
  )
}

export function unlink(cm: CacheManager, context: CallContext, parent: NodeId, name: string): Promise<void> {
  return remove(cm, context, { parent, name }, RemoveFile)
}

export function removeDirectory(cm: CacheManager, context: CallContext, parent: NodeId, name: string): Promise<void> {
  const { volume, names } = cm.node(parent).vnode
  // A mount point looks like a directory, and is removed as what it is by `proteus afs mountpoint --remove`.
  if (names?.entries.get(name)?.type === 'mountpoint')
    throw new FsError('EBUSY', `a volume is mounted there: ${volume.name}`)
  return remove(cm, context, { parent, name }, RemoveDir)
}

async function remove(
  cm: CacheManager,
  context: CallContext,
  { parent, name }: { parent: NodeId; name: string },
  procedure: typeof RemoveFile,
): Promise<void> {
  const directory = cm.node(parent).vnode
  checkName(name)
  requireChangeable(directory)
  const { volume, fid } = directory
  const victim = victimOf(cm, directory, name)
  await cm.change(
    victim === undefined ? [directory] : [directory, victim],
    () => cm.cells.call(volume, procedure, { who: cm.whoIs(context), parent: fid, name }, context),
    ({ removed, fid: removedFid, parent: known }, asked) => {
      changeNames(cm, directory, known, asked, (entries) => entries.delete(name))
      lost(cm, directory, { fid: removedFid, removed }, asked)
    },
  )
}

function victimOf(cm: CacheManager, { names, volume }: Vnode, name: string): Vnode | undefined {
  const known = names?.entries.get(name)
  return known && cm.vnode(volume, known)
}

/** Something lost a name: it has others, or is gone. */
function lost(
  cm: CacheManager,
  { volume }: Vnode,
  { fid, removed }: { fid: Fid; removed: Known | null },
  asked: Asked,
): void {
  if (removed !== null) {
    cm.learn(volume, removed, asked, true)
    return
  }
  const vnode = cm.vnode(volume, fid)
  vnode.removedHere = true
  cm.gone(vnode)
}

export async function rename(cm: CacheManager, context: CallContext, renaming: Renaming): Promise<void> {
  const { parent, name, newParent, newName, flags } = renaming
  const from = cm.node(parent).vnode
  const to = cm.node(newParent).vnode
  checkName(name)
  checkName(newName)
  requireChangeable(from)
  if (from.volume !== to.volume) throw new FsError('EXDEV')
  const { volume } = from
  const how = flags === RENAME_NOREPLACE ? 'noReplace' : flags === RENAME_EXCHANGE ? 'exchange' : 'replace'
  const places = { from: { parent: from.fid, name }, to: { parent: to.fid, name: newName } }
  const touched = [victimOf(cm, from, name), victimOf(cm, to, newName)].filter((vnode) => vnode !== undefined)
  await cm.change(
    [...new Set([from, to, ...touched])],
    () => cm.cells.call(volume, Rename, { who: cm.whoIs(context), ...places, how }, context),
    ({ moved, from: knownFrom, to: knownTo, replaced }, asked) => {
      cm.learn(volume, moved, asked, true)
      const left = how === 'exchange' ? replaced?.removed : undefined
      const leave = (entries: Map<string, NameEntry>) => {
        if (left) entries.set(name, entryOf(left))
        else entries.delete(name)
      }
      const arrive = (entries: Map<string, NameEntry>) => entries.set(newName, entryOf(moved))
      if (from === to) {
        changeNames(cm, from, knownTo, asked, (entries) => {
          leave(entries)
          arrive(entries)
        })
      } else {
        changeNames(cm, from, knownFrom, asked, leave)
        changeNames(cm, to, knownTo, asked, arrive)
      }
      if (replaced !== null) lost(cm, to, replaced, asked)
    },
  )
}
