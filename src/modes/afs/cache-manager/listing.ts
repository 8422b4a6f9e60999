// Listing a directory: whoever opens one lists what was in it then. Positions are those of that list.
import { direntType, S_IFDIR } from '../../../posix/mode.ts'
import type { Awaitable, CallContext, DirectorySink } from '../../../vfs/filesystem.ts'
import { BULK_MAX } from '../limits.ts'
import { direntTypeOf, inoOf } from './attributes.ts'
import { fetchStatuses, knownNames, namesOf, requireDirectory } from './directories.ts'
import type { CacheManager } from './manager.ts'
import { entry } from './names.ts'
import type { NameEntry, Names, Node, Vnode } from './vnodes.ts'

/** `.` and `..` come first. */
const DOTS = 2
/** About what one entry takes of the reader's buffer at least: how many statuses are worth asking for. */
const PAGE = 128

export class Listing {
  readonly #cm: CacheManager
  readonly #node: Node
  #entries: readonly (readonly [string, NameEntry])[] | undefined

  constructor(cm: CacheManager, node: Node) {
    this.#cm = cm
    this.#node = node
  }

  read(context: CallContext, cookie: number, sink: DirectorySink): Awaitable<void> {
    const { vnode } = this.#node
    requireDirectory(vnode)
    if (this.#entries !== undefined && cookie > 0) return this.#list(context, cookie, sink)
    const names = knownNames(this.#cm, vnode)
    if (names !== undefined) {
      this.#begin(names)
      return this.#list(context, cookie, sink)
    }
    return this.#ask(context, cookie, sink)
  }

  async #ask(context: CallContext, cookie: number, sink: DirectorySink): Promise<void> {
    const { vnode } = this.#node
    // Who works in a directory that was removed finds nothing in it.
    this.#begin(vnode.deleted ? undefined : await namesOf(this.#cm, vnode, context))
    return this.#list(context, cookie, sink)
  }

  #begin(names: Names | undefined): void {
    this.#entries = names === undefined ? [] : [...names.entries]
  }

  #list(context: CallContext, cookie: number, sink: DirectorySink): Awaitable<void> {
    if (!sink.wantsEntries) return this.#add(cookie, sink)
    const unknown = this.#unknown(cookie)
    if (unknown.length === 0) return this.#add(cookie, sink)
    // What is gone by then is listed all the same: it was there when the directory was opened.
    return fetchStatuses(this.#cm, unknown, context).then(() => this.#add(cookie, sink))
  }

  /** Of what comes next, those whose status has to be asked for. */
  #unknown(cookie: number): Vnode[] {
    const { volume } = this.#node.vnode
    const from = Math.max(0, cookie - DOTS)
    const next = (this.#entries ?? []).slice(from, from + PAGE)
    const vnodes = next
      .filter(([, { type }]) => type !== 'mountpoint')
      .map(([, found]) => this.#cm.vnode(volume, found))
    if (!vnodes.some((vnode) => !this.#cm.isValid(vnode))) return []
    // One call for as many as it takes.
    const more = (this.#entries ?? []).slice(from + PAGE, from + BULK_MAX)
    for (const [, found] of more) if (found.type !== 'mountpoint') vnodes.push(this.#cm.vnode(volume, found))
    return vnodes.filter((vnode) => !this.#cm.isValid(vnode))
  }

  #add(cookie: number, sink: DirectorySink): void {
    const cm = this.#cm
    const { vnode } = this.#node
    const { volume } = vnode
    const entries = this.#entries ?? []
    if (cookie < 1 && !sink.add({ name: '.', ino: this.#ino, type: direntType(S_IFDIR), cookie: 1 })) return
    if (cookie < 2 && !sink.add({ name: '..', ino: this.#parentIno, type: direntType(S_IFDIR), cookie: 2 })) return
    for (let i = Math.max(0, cookie - DOTS); i < entries.length; i++) {
      const [name, found] = entries[i] as readonly [string, NameEntry]
      const dirent = { name, ino: inoOf(volume, found.vnode), type: direntTypeOf(found.type), cookie: i + DOTS + 1 }
      const full = sink.wantsEntries ? this.#full(found) : undefined
      if (sink.add(dirent, full)) continue
      if (full !== undefined) cm.nodes.forget(full.node, 1)
      return
    }
  }

  #full(found: NameEntry) {
    if (found.type === 'mountpoint') return undefined
    const child = this.#cm.vnode(this.#node.vnode.volume, found)
    return this.#cm.isValid(child) ? entry(this.#cm, this.#node.vnode, child) : undefined
  }

  get #ino(): number {
    const { volume, fid } = this.#node.vnode
    return inoOf(volume, fid.vnode)
  }

  get #parentIno(): number {
    const { volume, fid, status } = this.#node.vnode
    if (fid.vnode === volume.root.vnode) return volume.mountedIn?.ino ?? this.#ino
    return inoOf(volume, status?.parent?.vnode ?? fid.vnode)
  }
}
