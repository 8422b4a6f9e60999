// Which names a directory has and has not, as this client saw it. What was seen holds as long as the directory's change
// attributes are those under which it was seen; so one GETATTR of the directory stands for a LOOKUP of each name.
//
// nfs(5), "Directory entry caching": `lookupcache=all` believes names that are there and names that are not,
// `positive` only the former, `none` neither.
import type { AttributeRequest, AttributeUpdate } from '../../vfs/attribute-cache.ts'
import { type ChangeAttributes, sameChange } from '../../vfs/change-attributes.ts'
import type { NodeId, TtlMs } from '../../vfs/filesystem.ts'
import type { LookupCaching } from './options.ts'

/** Stands for a name that does not exist. */
export const ABSENT = 0

export interface NameCacheOptions {
  readonly caching: LookupCaching
  /** Names remembered in all directories together; with the least recently used directories theirs go. Default 262,144. */
  readonly maxNames?: number
}

export type NameAnswer =
  | { readonly type: 'node'; readonly node: NodeId }
  | { readonly type: 'absent' }
  /** Ask the server. */
  | { readonly type: 'unknown' }

interface Name {
  /** Undefined: not known, only that older answers do not count. */
  readonly node: NodeId | typeof ABSENT | undefined
  /** Answers to requests up to this one are older. */
  readonly order: number
}

interface Directory {
  /** The names are right under these. */
  under: ChangeAttributes
  readonly names: Map<string, Name>
}

const UNKNOWN: NameAnswer = { type: 'unknown' }

export class NameCache {
  readonly #caching: LookupCaching
  readonly #maxNames: number
  /** In order of use: the least recently used first. */
  readonly #directories = new Map<NodeId, Directory>()
  #size = 0

  constructor({ caching, maxNames = 262_144 }: NameCacheOptions) {
    this.#caching = caching
    this.#maxNames = maxNames
  }

  /** Names remembered, and directories: an empty one costs something, too. */
  get size(): number {
    return this.#size
  }

  /** `directory`: its attributes that are believed now; undefined: they are not, so nothing about its names is. */
  lookup(parent: NodeId, name: string, directory: ChangeAttributes | undefined): NameAnswer {
    if (this.#caching === 'none' || directory === undefined) return UNKNOWN
    const known = this.#use(parent)
    if (known === undefined || !sameChange(known.under, directory)) return UNKNOWN
    const found = known.names.get(name)
    if (found?.node === undefined) return UNKNOWN
    if (found.node !== ABSENT) return { type: 'node', node: found.node }
    return this.#caching === 'all' ? { type: 'absent' } : UNKNOWN
  }

  /** How long the kernel may believe a name, given how long the attributes of its directory are still believed. */
  ttlMs(directoryTtlMs: TtlMs): { readonly present: TtlMs; readonly absent: TtlMs } {
    return {
      present: this.#caching === 'none' ? 0 : directoryTtlMs,
      absent: this.#caching === 'all' ? directoryTtlMs : 0,
    }
  }

  /**
   * What a LOOKUP or READDIRPLUS found. `directory`: the change attributes that came with the answer; without them
   * nobody could tell how long it holds. Call `update` with the same answer's attributes first.
   */
  learn(
    parent: NodeId,
    name: string,
    found: {
      readonly node: NodeId | typeof ABSENT
      readonly directory: ChangeAttributes | undefined
      readonly request: AttributeRequest
    },
  ): void {
    const { node, directory, request } = found
    if (this.#caching === 'none' || directory === undefined) return
    const known = this.#directories.get(parent)
    if (known === undefined || !sameChange(known.under, directory)) return
    // What we did ourselves after that was asked we know better, even if the directory's clock has not moved since.
    const own = known.names.get(name)
    if (own !== undefined && own.order >= request.order) return
    this.#set(parent, known, name, { node, order: 0 })
  }

  /**
   * We made, removed or renamed a name ourselves and the server agreed. `after`: the change attributes of the directory
   * that came with the answer. `order`: of the latest request sent until now. Call `update` with the same answer first.
   */
  changed(
    parent: NodeId,
    name: string,
    change: {
      readonly node: NodeId | typeof ABSENT
      readonly after: ChangeAttributes | undefined
      readonly order: number
    },
  ): void {
    const known = this.#directories.get(parent)
    if (known === undefined) return
    const { node, after, order } = change
    // The directory may have moved on since, by somebody else who has changed the name again.
    const present = after !== undefined && sameChange(known.under, after)
    this.#set(parent, known, name, { node: present ? node : undefined, order })
  }

  /** The directory's attributes were told. Returns the names that are not to be believed any more: tell the kernel. */
  update({ node, change, from, to }: AttributeUpdate): readonly string[] {
    if (this.#caching === 'none' || change === 'none' || change === 'pending' || to === undefined) return []
    const known = this.#directories.get(node)
    if (change === 'own' && known !== undefined && from !== undefined && sameChange(known.under, from)) {
      known.under = to
      return []
    }
    if (known !== undefined && sameChange(known.under, to)) return []
    this.forget(node)
    this.#directories.set(node, { under: to, names: new Map() })
    this.#size++
    this.#evict(node)
    return known === undefined ? [] : [...known.names.keys()]
  }

  /** The name is not to be believed, whatever the directory says: what it led to is stale. */
  drop(parent: NodeId, name: string): void {
    const known = this.#directories.get(parent)
    if (known === undefined) return
    if (known.names.delete(name)) this.#size--
  }

  /** The directory is gone, or nobody knows it any more. */
  forget(parent: NodeId): void {
    const known = this.#directories.get(parent)
    if (known === undefined) return
    this.#directories.delete(parent)
    this.#size -= known.names.size + 1
  }

  #use(parent: NodeId): Directory | undefined {
    const known = this.#directories.get(parent)
    if (known === undefined) return undefined
    this.#directories.delete(parent)
    this.#directories.set(parent, known)
    return known
  }

  #set(parent: NodeId, known: Directory, name: string, value: Name): void {
    const { names } = known
    if (!names.has(name)) {
      // A directory larger than the whole cache keeps its first names: dropping all of them would help nobody.
      if (names.size + 2 > this.#maxNames) return
      this.#size++
    }
    names.set(name, value)
    this.#use(parent)
    this.#evict(parent)
  }

  #evict(except: NodeId): void {
    for (const parent of this.#directories.keys()) {
      if (this.#size <= this.#maxNames) return
      if (parent !== except) this.forget(parent)
    }
  }
}
