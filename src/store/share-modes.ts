// Share modes: what an open wants to do to a file against what the other opens allow (SMB CREATE, NLM SHARE).
// Pure state; the caller closes what it opened.

/** Bits of access and of sharing, as FILE_SHARE_READ, _WRITE and _DELETE (MS-SMB2 2.2.13). */
export const SHARE_READ = 1
export const SHARE_WRITE = 2
export const SHARE_DELETE = 4

export interface ShareOpen {
  readonly file: number
  readonly client: string
  /** Names this open among all opens of the client. */
  readonly key: bigint | string
  /** What it wants: SHARE_READ, SHARE_WRITE, SHARE_DELETE; 0 for attributes only, which never conflicts. */
  readonly access: number
  /** What it lets others do beside it. */
  readonly allows: number
}

/** The opens of each file that take part in sharing. */
export class ShareModes {
  readonly #opens = new Map<number, Set<ShareOpen>>()

  /** The first open that does not go together with this one: MS-FSA 2.1.5.1.2.2. */
  conflict(open: Omit<ShareOpen, 'key'>): ShareOpen | undefined {
    if (open.access === 0) return undefined
    for (const other of this.#opens.get(open.file) ?? []) {
      if ((open.access & ~other.allows) !== 0 || (other.access & ~open.allows) !== 0) return other
    }
    return undefined
  }

  /** Adds an open, or returns the one that forbids it (then nothing was added). */
  open(open: ShareOpen): ShareOpen | undefined {
    const conflict = this.conflict(open)
    if (conflict === undefined && open.access !== 0) {
      const opens = this.#opens.get(open.file)
      if (opens) opens.add(open)
      else this.#opens.set(open.file, new Set([open]))
    }
    return conflict
  }

  close(which: Pick<ShareOpen, 'file' | 'client' | 'key'>): void {
    this.#remove(which.file, (open) => open.client === which.client && open.key === which.key)
  }

  closeClient(client: string): void {
    for (const file of this.#opens.keys()) this.#remove(file, (open) => open.client === client)
  }

  opensOf(file: number): ShareOpen[] {
    return [...(this.#opens.get(file) ?? [])]
  }

  #remove(file: number, matches: (open: ShareOpen) => boolean): void {
    const opens = this.#opens.get(file)
    if (opens === undefined) return
    for (const open of opens) if (matches(open)) opens.delete(open)
    if (opens.size === 0) this.#opens.delete(file)
  }
}
