// Open files. Whoever opens a file gets the whole of it, in the cache, where the kernel reads and writes it without asking
// (passthrough). What is long can be read while it comes.
import { hostDisk, UTIME_NOW, UTIME_OMIT } from '../../../host/disk.ts'
import type { AttributeChanges } from '../../../posix/attributes.ts'
import { FsError } from '../../../posix/errors.ts'
import { isDirectory, isRegular, O_TRUNC, opensForWrite, S_ISGID, S_ISUID } from '../../../posix/mode.ts'
import type { Awaitable, CallContext, Handle, NodeId, Opened } from '../../../vfs/filesystem.ts'
import type { Fetch } from '../../../vfs/whole-files/fetch.ts'
import type { CachedFile } from '../../../vfs/whole-files/files.ts'
import type { OpenFile as CachedOpen } from '../../../vfs/whole-files/parts.ts'
import type { WholeFileCache } from '../../../vfs/whole-files/whole-file-cache.ts'
import type { Who } from '../records.ts'
import { fetchFile } from './fetches.ts'
import type { CacheManager } from './manager.ts'
import type { Note } from './notes.ts'
import { statOf } from './stat.ts'
import type { Node, Vnode } from './vnodes.ts'

/** From here on an open does not wait for all of the bytes. */
const EARLY_BYTES = 4 * 1024 * 1024
const TRIES = 8

/** What the opens of a node share: one version, or what programs of this mount make of it. */
export class Content {
  readonly opened: CachedOpen
  readonly #cache: WholeFileCache
  /** While the bytes still come. */
  fetch: Fetch | undefined
  opens = 0
  writers = 0
  /** Opens whose reads come here. A mapping of one is of the kernel's page cache: until it is gone nothing is passed through. */
  served = 0
  /** The server has nothing of it but its name. */
  isNew = false
  /** Attributes that go with the next store. */
  pending: AttributeChanges = {}
  /** Somebody wrote who may not leave it set-id bits. */
  losesSetId = false
  storing: Promise<void> | undefined
  /** How often it was stored since it was opened. */
  stores = 0
  /** Whose close(2) stored it last, if nothing has happened since. */
  storedFor: Handle | undefined
  /** Why it could not be stored. */
  failure: FsError | undefined

  constructor(cache: WholeFileCache, opened: CachedOpen, fetch?: Fetch) {
    this.#cache = cache
    this.opened = opened
    this.fetch = fetch
  }

  get file(): CachedFile {
    return this.opened.file
  }

  get version(): number {
    return this.opened.file.version
  }

  /** Programs have written what the server does not have. */
  isChanged(): boolean {
    return this.file.state === 'dirty' && this.#cache.isChanged(this.file)
  }

  /** It was stored while a mapping may have made pages dirty, which hide what is written to them afterwards. */
  mayHideChanges(handle: Handle): boolean {
    return this.stores > 1 || (this.stores === 1 && this.storedFor !== handle)
  }
}

export interface OpenFile {
  readonly node: Node
  readonly content: Content
  readonly writes: boolean
  readonly served: boolean
  /** Of who opened it. */
  readonly who: Who
}

export function open(cm: CacheManager, context: CallContext, id: NodeId, flags: number): Awaitable<Opened> {
  const node = cm.node(id)
  if (opensForWrite(flags) && node.vnode.volume.type !== 'RW') throw new FsError('EROFS')
  const content = readyContent(cm, node)
  if (content !== undefined && content.fetch === undefined) return opened(cm, context, node, content, flags)
  return openLater(cm, context, node, flags)
}

/** What can be opened without asking anybody. */
function readyContent(cm: CacheManager, node: Node): Content | undefined {
  const { vnode, content } = node
  if (vnode.node !== node) return undefined
  if (content !== undefined && content.writers > 0) return content
  if (!cm.isValid(vnode)) return undefined
  const version = vnode.status?.dataVersion
  if (content !== undefined) return content.version === version ? content : undefined
  if (vnode.opening !== undefined || vnode.status?.type !== 'file') return undefined
  if (!isClean(cm.cache.find(vnode.key))) return undefined
  const found = cm.cache.open(vnode.key, version)
  if (found instanceof Promise || typeof found === 'string') {
    // Whoever waits opens it again.
    if (found instanceof Promise) found.then((late) => typeof late === 'string' || late.release()).catch(() => {})
    return undefined
  }
  node.content = new Content(cm.cache, found)
  return node.content
}

/** What could not be stored is kept beside what the server has, and not shown instead. */
const isClean = (file: CachedFile | undefined): file is CachedFile => file !== undefined && file.state !== 'dirty'

async function openLater(cm: CacheManager, context: CallContext, node: Node, flags: number): Promise<Opened> {
  const { vnode } = node
  for (let tries = 0; tries < TRIES; tries++) {
    if (vnode.node !== node) {
      // What the name leads to now is another version: the kernel looks it up again.
      if (node.content !== undefined || vnode.node !== undefined) throw new FsError('ESTALE')
      cm.nodes.present(vnode)
    }
    if (vnode.opening !== undefined) {
      await vnode.opening.catch(() => {})
      continue
    }
    const content = readyContent(cm, node)
    if (content !== undefined) {
      const wait = content.fetch !== undefined && mustBeWhole(content.fetch, flags)
      if (wait) await content.fetch?.whole(context.signal)
      // It may have been closed meanwhile.
      if (node.content === content) return opened(cm, context, node, content, flags)
      continue
    }
    const opening = node.content === undefined ? getReady(cm, context, node, flags) : confirm(cm, context, node)
    vnode.opening = opening
    try {
      const got = await opening
      if (got !== undefined) return opened(cm, context, node, got, flags)
    } finally {
      vnode.opening = undefined
    }
  }
  throw new FsError('EAGAIN', 'the file changes faster than it can be opened')
}

const mustBeWhole = ({ length }: Fetch, flags: number): boolean => opensForWrite(flags) || length <= EARLY_BYTES

/** Programs have a version open: is it still the present one? */
async function confirm(cm: CacheManager, context: CallContext, node: Node): Promise<Content | undefined> {
  const { vnode } = node
  await cm.fetchStatus(vnode, context)
  const { content } = node
  if (content === undefined || content.version === vnode.status?.dataVersion) return content
  cm.nodes.detach(node)
  throw new FsError('ESTALE')
}

/** Puts the present version of a file in the cache. */
async function getReady(cm: CacheManager, context: CallContext, node: Node, flags: number): Promise<Content> {
  const { vnode } = node
  const truncates = opensForWrite(flags) && (flags & O_TRUNC) !== 0
  const current = cm.cache.find(vnode.key)
  const cached = isClean(current) ? current : undefined
  if ((cached !== undefined || truncates) && !cm.isValid(vnode)) await cm.fetchStatus(vnode, context)
  requireFile(vnode)
  if (cached !== undefined) {
    const found = await cm.cache.open(vnode.key, vnode.status?.dataVersion)
    if (typeof found !== 'string') return adopt(cm, node, found)
  }
  if (truncates) return adopt(cm, node, emptyFile(cm, vnode))
  const { opened, fetch } = await fetchFile(cm, vnode, context)
  if (fetch === undefined) return adopt(cm, node, opened)
  const content = adopt(cm, node, opened, fetch)
  try {
    if (mustBeWhole(fetch, flags)) await fetch.whole(context.signal)
    return content
  } catch (error) {
    drop(cm, node, content)
    throw error
  }
}

function adopt(cm: CacheManager, node: Node, opened: CachedOpen, fetch?: Fetch): Content {
  const content = new Content(cm.cache, opened, fetch)
  node.content = content
  const whole = fetch?.whole()
  if (whole instanceof Promise) {
    whole.then(
      () => {
        content.fetch = undefined
      },
      () => {},
    )
  } else content.fetch = undefined
  return content
}

/** What is about to be truncated need not be fetched. */
function emptyFile(cm: CacheManager, vnode: Vnode): CachedOpen {
  const version = vnode.status?.dataVersion ?? 0
  const fetch = cm.cache.fetch(vnode.key, { version, length: 0 })
  const opened = fetch.open()
  fetch.commit()
  return opened
}

function requireFile({ attributes }: Vnode): void {
  const mode = attributes?.mode ?? 0
  if (isDirectory(mode)) throw new FsError('EISDIR')
  if (!isRegular(mode)) throw new FsError('EINVAL')
}

/** A file that was just made here: nobody else has anything of it. */
export function openNew(cm: CacheManager, context: CallContext, vnode: Vnode, flags: number): Opened {
  const node = cm.nodes.present(vnode)
  const content = adopt(cm, node, emptyFile(cm, vnode))
  content.isNew = true
  return opened(cm, context, node, content, flags & ~O_TRUNC)
}

function opened(cm: CacheManager, context: CallContext, node: Node, content: Content, flags: number): Opened {
  const writes = opensForWrite(flags)
  content.opens++
  try {
    if (writes) beginWriting(cm, context, node.vnode, content, flags)
  } catch (error) {
    content.opens--
    drop(cm, node, content)
    // What was emptied for this open is not what the server has.
    if ((flags & O_TRUNC) !== 0 && content.file.state !== 'dirty') cm.cache.forget(node.vnode.key)
    throw error
  }
  if (writes) {
    content.writers++
    // What is written is not seen here.
    cm.kernel?.breakAttributes(node.id)
  }
  const served = content.fetch !== undefined || content.served > 0
  if (served) content.served++
  const handle = cm.nextHandle()
  cm.files.set(handle, { node, content, writes, served, who: cm.whoIs(context) })
  // Who only reads has nothing to store; the kernel spares us the question.
  // Locks of byte ranges go with any close of their file.
  const noFlush = !writes && !cm.rangeLocks
  if (served) return { handle, directIo: true, noFlush }
  const backing = { fd: content.opened.fd, key: content.file }
  // What may not keep set-id bits is written here, so that they go with the first write.
  const mode = node.vnode.attributes?.mode ?? 0
  const mayLoseBits = writes && (mode & (S_ISUID | S_ISGID)) !== 0
  return mayLoseBits ? { handle, backing, directIo: true } : { handle, backing, noFlush }
}

/** From now on the file may be changed without our hearing of it. */
function beginWriting(cm: CacheManager, context: CallContext, vnode: Vnode, content: Content, flags: number): void {
  const note: Note = { cell: vnode.volume.cell.name, fid: vnode.fid, who: cm.whoIs(context) }
  cm.cache.markDirty(content.file, note)
  if ((flags & O_TRUNC) === 0) return
  hostDisk.truncate(content.opened.fd, 0)
  hostDisk.utimens(content.opened.fd, 0, UTIME_OMIT, 0, UTIME_NOW)
}

/** Nobody has it open any more. */
export function drop(cm: CacheManager, node: Node, content: Content): void {
  if (content.opens > 0 || node.content !== content) return
  node.content = undefined
  content.opened.release()
  cm.nodes.collect(node)
}

export function fileOf(cm: CacheManager, handle: Handle): OpenFile {
  const file = cm.files.get(handle)
  if (file === undefined) throw new FsError('EBADF')
  return file
}

export const sizeOf = ({ opened }: Content): number => statOf(opened.fd).size
