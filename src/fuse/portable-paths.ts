// From paths to nodes, for a driver that is asked by path: walks FileSystem.lookup from the root, remembers prefixes
// as long as the file system allows, and gives every lookup back as a kernel would.
import { FsError } from '../posix/errors.ts'
import {
  type Awaitable,
  type CallContext,
  type Entry,
  type FileSystem,
  type NodeId,
  ROOT_NODE,
} from '../vfs/filesystem.ts'

export interface PathsOptions {
  readonly fileSystem: Pick<FileSystem, 'lookup' | 'forget'>
  /** Who looks up. */
  readonly context: CallContext
  /** Milliseconds of a monotonic clock. */
  readonly now: () => number
  /** How many paths are remembered at most. */
  readonly limit: number
}

/** A path that was found, and how it was. */
interface Known {
  readonly node: NodeId
  readonly parent: NodeId
  readonly name: string
  readonly expiresMs: number
}

export class Paths {
  readonly #options: PathsOptions
  readonly #held: HeldNodes
  /** By path without the leading slash; the one used longest ago first. */
  readonly #known = new Map<string, Known>()
  /** Counts invalidations: what was looked up before one is not remembered after it. */
  #epoch = 0

  constructor(options: PathsOptions) {
    this.#options = options
    this.#held = new HeldNodes((node, count) => options.fileSystem.forget(node, count))
  }

  /** Calls `work` with the node of `path`, which is not forgotten meanwhile. ENOENT, or what lookup fails with. */
  async use<T>(path: string, work: (node: NodeId) => Awaitable<T>): Promise<T> {
    const node = await this.#walk(components(path))
    try {
      return await work(node)
    } finally {
      this.#held.release(node)
    }
  }

  /** The same with the node of the directory and the last name of `path`. */
  async useParent<T>(path: string, work: (parent: NodeId, name: string) => Awaitable<T>): Promise<T> {
    const names = components(path)
    const name = names.pop()
    if (name === undefined) throw new FsError('EBUSY', 'the root has no name')
    return this.use(`/${names.join('/')}`, (parent) => work(parent, name))
  }

  /** Makes a name: `work` returns its entry, whose lookup is given back when the path is no longer remembered. */
  make(path: string, work: (parent: NodeId, name: string) => Awaitable<Entry>): Promise<void> {
    return this.useParent(path, async (parent, name) => {
      const epoch = this.#epoch
      const entry = await work(parent, name)
      this.#held.adopt(entry.node)
      this.#remember(components(path).join('/'), parent, name, entry, epoch)
      this.#held.release(entry.node)
    })
  }

  /** Keeps a node that is in use (within `use`) until it is released: for open files. */
  retain(node: NodeId): void {
    this.#held.retain(node)
  }

  release(node: NodeId): void {
    this.#held.release(node)
  }

  /** A path, and all below it, may mean something else now. */
  drop(path: string): void {
    const prefix = components(path).join('/')
    this.#dropIf((known) => known === prefix || known.startsWith(`${prefix}/`))
  }

  /** A name in a directory, and all below it, may mean something else now. */
  dropName(parent: NodeId, name: string): void {
    const paths = [...this.#known].filter(([, known]) => known.parent === parent && known.name === name)
    this.#epoch++
    for (const [path] of paths) this.drop(path)
  }

  dropAll(): void {
    this.#dropIf(() => true)
  }

  async #walk(names: readonly string[]): Promise<NodeId> {
    let node: NodeId = ROOT_NODE
    let path = ''
    this.#held.retain(node)
    for (const name of names) {
      path = path === '' ? name : `${path}/${name}`
      const parent = node
      try {
        node = this.#recall(path) ?? (await this.#lookup(path, parent, name))
      } finally {
        this.#held.release(parent)
      }
    }
    return node
  }

  #recall(path: string): NodeId | undefined {
    const known = this.#known.get(path)
    if (known === undefined) return undefined
    this.#known.delete(path)
    if (known.expiresMs <= this.#options.now()) {
      this.#held.release(known.node)
      return undefined
    }
    this.#known.set(path, known)
    this.#held.retain(known.node)
    return known.node
  }

  async #lookup(path: string, parent: NodeId, name: string): Promise<NodeId> {
    const epoch = this.#epoch
    const entry = await this.#options.fileSystem.lookup(this.#options.context, parent, name)
    if (entry.node === 0) throw new FsError('ENOENT')
    this.#held.adopt(entry.node)
    this.#remember(path, parent, name, entry as Entry, epoch)
    return entry.node
  }

  #remember(path: string, parent: NodeId, name: string, { node, nameTtlMs }: Entry, epoch: number): void {
    if (nameTtlMs <= 0 || epoch !== this.#epoch) return
    const before = this.#known.get(path)
    this.#known.delete(path)
    this.#known.set(path, { node, parent, name, expiresMs: this.#options.now() + nameTtlMs })
    this.#held.retain(node)
    if (before !== undefined) this.#held.release(before.node)
    if (this.#known.size <= this.#options.limit) return
    const [oldest] = this.#known.keys()
    if (oldest !== undefined) this.#remove(oldest)
  }

  #dropIf(matches: (path: string) => boolean): void {
    this.#epoch++
    for (const path of this.#known.keys()) if (matches(path)) this.#remove(path)
  }

  #remove(path: string): void {
    const known = this.#known.get(path)
    this.#known.delete(path)
    if (known !== undefined) this.#held.release(known.node)
  }
}

/** Names from the root down. EILSEQ: libfuse hands over bytes, and what is not UTF-8 arrives as U+FFFD. */
function components(path: string): string[] {
  if (path.includes('\ufffd')) throw new FsError('EILSEQ')
  return path.split('/').filter((name) => name !== '')
}

/** Nodes in use. When the last user lets go, all lookups of the node are given back at once. */
class HeldNodes {
  readonly #forget: (node: NodeId, count: number) => void
  readonly #nodes = new Map<NodeId, { users: number; lookups: number }>()

  constructor(forget: (node: NodeId, count: number) => void) {
    this.#forget = forget
  }

  /** A lookup returned `node`: one more lookup to give back, one more user. */
  adopt(node: NodeId): void {
    const held = this.#nodes.get(node)
    if (held === undefined) {
      this.#nodes.set(node, { users: 1, lookups: 1 })
    } else {
      held.users++
      held.lookups++
    }
  }

  /** One more user of a node that is held, or of the root, which needs no lookup. */
  retain(node: NodeId): void {
    const held = this.#nodes.get(node)
    if (held === undefined) this.#nodes.set(node, { users: 1, lookups: 0 })
    else held.users++
  }

  release(node: NodeId): void {
    const held = this.#nodes.get(node)
    if (held === undefined || --held.users > 0) return
    this.#nodes.delete(node)
    if (held.lookups > 0) this.#forget(node, held.lookups)
  }
}
