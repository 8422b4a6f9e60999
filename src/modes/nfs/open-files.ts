// What programs of one mount have open for reading. Reads within the known size are answered from the kernel's pages and
// never get here, so nobody would notice that the attributes, under which these pages are right, have run out: Linux'
// client asks at the next read, this one asks when they run out. A change that is found takes the pages back, as with
// any answer (caches.ts). Mapped files count: the kernel keeps a file open as long as it is mapped.
import type { Clock } from '../../host/clock.ts'
import type { OpaqueAuth } from '../../rpc/onc/message.ts'
import type { Handle, NodeId } from '../../vfs/filesystem.ts'
import type { NfsNode } from './nodes.ts'
import { Revalidations } from './revalidations.ts'

/** Files that are asked for at the same time. */
const AT_ONCE = 8
/** After how long a server that takes no calls is looked at again, in milliseconds. */
const SILENCE_MS = 1000

export interface OpenFilesOptions {
  /** That of the attributes' timeouts. */
  readonly clock: Clock
  /** How long the attributes are still believed, in milliseconds. */
  readonly remainingMs: (node: NfsNode) => number
  /** GETATTR in somebody's name. */
  readonly ask: (node: NfsNode, credential: OpaqueAuth) => Promise<void>
  /** How many calls the server may be given at once: none where they would only wait with others. */
  readonly limit: () => number
  /** How long a file is left alone when asking failed, in milliseconds. */
  readonly failedMs: number
}

interface Readers {
  readonly node: NfsNode
  /** Of who opened it, by handle. */
  readonly credentials: Map<Handle, OpaqueAuth>
}

export class OpenFiles {
  readonly #options: OpenFilesOptions
  readonly #readers = new Map<NodeId, Readers>()
  readonly #revalidations: Revalidations
  /** When to look again at those that the server is not given now. */
  #againAt = Number.POSITIVE_INFINITY
  #timerAt = Number.POSITIVE_INFINITY
  #cancelTimer = (): void => {}

  constructor(options: OpenFilesOptions) {
    this.#options = options
    this.#revalidations = new Revalidations({ remainingMs: (id) => this.#remainingMs(id) })
  }

  /** Somebody can read it through `handle`. */
  opened(node: NfsNode, handle: Handle, credential: OpaqueAuth): void {
    let readers = this.#readers.get(node.id)
    if (readers === undefined) {
      readers = { node, credentials: new Map() }
      this.#readers.set(node.id, readers)
    }
    readers.credentials.set(handle, credential)
    this.#watch(node)
  }

  released(node: NfsNode, handle: Handle): void {
    const readers = this.#readers.get(node.id)
    if (readers === undefined) return
    readers.credentials.delete(handle)
    if (readers.credentials.size > 0) return
    this.#readers.delete(node.id)
    this.#revalidations.drop(node.id)
    this.#arm()
  }

  /** Bytes of it are given to the kernel, or come from there. */
  cached(node: NfsNode): void {
    node.cached = true
    if (this.#readers.has(node.id)) this.#watch(node)
  }

  #watch(node: NfsNode): void {
    this.#revalidations.watch(node.id, this.#options.clock.now())
    this.#arm()
  }

  #remainingMs(id: NodeId): number | undefined {
    const node = this.#readers.get(id)?.node
    return node?.cached ? this.#options.remainingMs(node) : undefined
  }

  #look(): void {
    const { clock, limit } = this.#options
    const now = clock.now()
    for (const id of this.#revalidations.take(now, Math.min(limit(), AT_ONCE))) void this.#ask(id)
    // Otherwise the next answer leads here.
    const stuck = this.#revalidations.overdue && this.#revalidations.asking === 0
    this.#againAt = stuck ? now + SILENCE_MS : Number.POSITIVE_INFINITY
    this.#arm()
  }

  async #ask(id: NodeId): Promise<void> {
    const { clock, ask, failedMs } = this.#options
    let restMs: number | undefined
    try {
      const readers = this.#readers.get(id)
      const [credential] = readers?.credentials.values() ?? []
      if (readers !== undefined && credential !== undefined) await ask(readers.node, credential)
    } catch {
      // Who reads past the pages will hear of it. What is in the pages is the newest that there is to know.
      restMs = failedMs
    }
    this.#revalidations.answered(id, clock.now(), restMs)
    this.#look()
  }

  /** One timer for all files. */
  #arm(): void {
    const { clock } = this.#options
    const at = Math.min(
      this.#revalidations.nextMs,
      this.#revalidations.overdue ? this.#againAt : Number.POSITIVE_INFINITY,
    )
    if (at === this.#timerAt) return
    this.#cancelTimer()
    this.#timerAt = at
    this.#cancelTimer =
      at === Number.POSITIVE_INFINITY ? () => {} : clock.after(Math.max(0, at - clock.now()), this.#onTimer)
  }

  readonly #onTimer = (): void => {
    this.#timerAt = Number.POSITIVE_INFINITY
    this.#look()
  }
}
