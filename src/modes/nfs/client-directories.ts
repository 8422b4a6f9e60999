// Listing a directory: READDIRPLUS when the kernel wants attributes along with the names, else READDIR (RFC 1813 §3.3.16,
// §3.3.17). One answer of the server fills several of ours.
import { direntType, S_IFDIR } from '../../posix/mode.ts'
import type { AttributeRequest } from '../../vfs/attribute-cache.ts'
import type { CallContext, DirectorySink, Entry } from '../../vfs/filesystem.ts'
import type { ClientState } from './client-state.ts'
import { failureOf } from './connection.ts'
import { NFS3 } from './nfs3.ts'
import { changeOf, typeBits } from './nfs3-attributes.ts'
import { type Fattr3, NFS3_COOKIEVERFSIZE } from './nfs3-types.ts'
import type { NfsNode } from './nodes.ts'

const { READDIR, READDIRPLUS } = NFS3.procedures
export const NO_VERIFIER = Buffer.alloc(NFS3_COOKIEVERFSIZE)
/** After which a directory that stays open is looked at: by then its attributes came with the names. */
const FIRST_RECHECK_MS = 1000
/** Stands for cookies beyond what a position may be: servers choose all 64 bits as they like. */
const FIRST_ALIAS = 2 ** 52
/** d_type of what is not known (DT_UNKNOWN). */
const UNKNOWN_TYPE = 0

interface Listed {
  readonly name: string
  readonly fileid: number
  readonly cookie: bigint
  readonly attributes?: Fattr3 | undefined
  readonly handle?: Buffer | undefined
}

interface Answer {
  readonly entries: readonly Listed[]
  readonly eof: boolean
  readonly verifier: Buffer
  readonly directory: Fattr3 | undefined
  readonly request: AttributeRequest
}

interface From {
  /** 0: from the start. */
  readonly cookie: bigint
  readonly verifier: Buffer
  readonly plus: boolean
}

/** What one READDIR or READDIRPLUS tells. */
export async function listFrom(
  state: ClientState,
  context: CallContext,
  node: NfsNode,
  { plus, ...from }: From,
): Promise<Answer> {
  const { directoryBytes } = state.mounted
  const request = state.caches.request()
  const reading = { dir: node.handle, ...from }
  const result = plus
    ? await state.call(node, READDIRPLUS, { ...reading, dircount: directoryBytes, maxcount: directoryBytes }, context)
    : await state.call(node, READDIR, { ...reading, count: directoryBytes }, context)
  state.caches.learn(node, result.directory, request)
  if (result.status !== 'NFS3_OK') throw failureOf(result)
  const { entries, eof, directory } = result
  // A server that has neither entries nor an end would be asked for ever.
  return { entries, eof: eof || entries.length === 0, verifier: Buffer.from(result.verifier), directory, request }
}

export class DirectoryListing {
  readonly node: NfsNode
  readonly #state: ClientState
  #verifier: Buffer = NO_VERIFIER
  #answer: Answer | undefined
  /** The next entry of the answer, and the position that it follows. */
  #next = 0
  #position = 0
  readonly #aliases: bigint[] = []
  readonly #aliasOf = new Map<bigint, number>()

  /** Calls off the next look at what the kernel has cached. */
  #recheck: () => void

  constructor(state: ClientState, node: NfsNode) {
    this.#state = state
    this.node = node
    this.#recheck = this.#watch(FIRST_RECHECK_MS)
  }

  /** It may be listed from the start again, and a change by somebody else has to show when the attributes are not believed. */
  #watch(afterMs: number): () => void {
    const { connection, caches } = this.#state
    return connection.link.clock.after(afterMs, () => {
      this.#recheck = this.#watch(caches.recheckListing(this.node))
    })
  }

  close(): void {
    this.#recheck()
    this.#state.caches.listings.close(this.node.id)
  }

  async read(context: CallContext, position: number, sink: DirectorySink): Promise<void> {
    const { node } = this
    const { caches } = this.#state
    // From the start, or from where nobody has been yet: what was answered before is of no use.
    if (position === 0 || position !== this.#position) this.#answer = undefined
    this.#position = position
    for (let added = 0; ; ) {
      this.#answer ??= await this.#ask(context, sink.wantsEntries)
      const { entries, eof, directory } = this.#answer
      caches.listings.answered(node.id, directory && changeOf(directory))
      for (; this.#next < entries.length; this.#next++) {
        const listed = entries[this.#next] as Listed
        if (!this.#add(sink, listed, this.#answer)) return
        this.#position = this.#positionOf(listed.cookie)
        added++
      }
      // What fits into one answer of the server is enough: the kernel asks again when it wants more.
      if (eof || added > 0) return
      this.#answer = undefined
    }
  }

  #add(sink: DirectorySink, listed: Listed, answer: Answer): boolean {
    const { name, fileid, cookie, attributes } = listed
    const entry = sink.wantsEntries ? this.#entry(listed, answer) : undefined
    const type = attributes === undefined ? typeOf(name) : direntType(typeBits(attributes.type))
    const taken = sink.add({ name, ino: fileid, type, cookie: this.#positionOf(cookie) }, entry)
    if (!taken && entry !== undefined) this.#state.nodes.forget(entry.node, 1)
    return taken
  }

  /** The entry of a name that was listed with all that there is to know of it. Counts a lookup. */
  #entry({ name, attributes, handle }: Listed, { directory, request }: Answer): Entry | undefined {
    if (attributes === undefined || handle === undefined || name === '.' || name === '..') return undefined
    const { nodes, caches } = this.#state
    const node = nodes.lookedUp(handle)
    caches.learn(node, attributes, request)
    caches.found(this.node, name, node.id, directory, request)
    const reply = caches.reply(node)
    if (reply !== undefined) {
      caches.listings.told(this.node.id, reply.attributesTtlMs)
      return caches.entry(this.node, node, reply)
    }
    nodes.forget(node.id, 1)
    return undefined
  }

  async #ask(context: CallContext, plus: boolean): Promise<Answer> {
    const cookie = this.#cookieAt(this.#position)
    const verifier = cookie === 0n ? NO_VERIFIER : this.#verifier
    const answer = await listFrom(this.#state, context, this.node, { cookie, verifier, plus })
    this.#verifier = answer.verifier
    this.#next = 0
    return answer
  }

  #positionOf(cookie: bigint): number {
    if (cookie < BigInt(FIRST_ALIAS)) return Number(cookie)
    let alias = this.#aliasOf.get(cookie)
    if (alias === undefined) {
      alias = FIRST_ALIAS + this.#aliases.length
      this.#aliases.push(cookie)
      this.#aliasOf.set(cookie, alias)
    }
    return alias
  }

  #cookieAt(position: number): bigint {
    return this.#aliases[position - FIRST_ALIAS] ?? BigInt(position)
  }
}

const typeOf = (name: string): number => (name === '.' || name === '..' ? direntType(S_IFDIR) : UNKNOWN_TYPE)
