// Files that are removed while a program of this client has them open. POSIX lets the program go on; an NFS server does
// not know who has what open and would forget the file. So the client renames it to a name that nobody looks for, as all
// NFS clients do, and removes that when the last program closes it: a "silly rename".
//
// A client that dies leaves such names behind: orphans.ts.
import type { NodeId } from '../../vfs/filesystem.ts'

/** `.nfs`, the file id in 16 hex digits, a counter in 8: as Linux' client writes it. */
const SILLY_NAME = /^\.nfs([0-9a-f]{16})([0-9a-f]{8})$/

export interface SillyName {
  readonly fileId: bigint
  readonly counter: number
}

/** Undefined: it is not the name of a silly rename. */
export function parseSillyName(name: string): SillyName | undefined {
  const match = SILLY_NAME.exec(name)
  if (match === null) return undefined
  return { fileId: BigInt(`0x${match[1]}`), counter: Number.parseInt(match[2] ?? '', 16) }
}

export function formatSillyName({ fileId, counter }: SillyName): string {
  const hex = (value: bigint | number, digits: number) => value.toString(16).padStart(digits, '0')
  return `.nfs${hex(BigInt.asUintN(64, fileId), 16)}${hex(counter >>> 0, 8)}`
}

/** A name that is about to go, and what it leads to. */
export interface Victim {
  readonly parent: NodeId
  readonly name: string
  readonly node: NodeId
  readonly fileId: bigint
  readonly isDirectory: boolean
  /** Open files of the node on this mount. */
  readonly opens: number
}

export type RemovalDecision =
  /** Nobody has it open: REMOVE it, or let the RENAME replace it. */
  | { readonly type: 'remove' }
  /** RENAME it to `name` in the same directory; if that exists, ask again. Then call `renamed`. */
  | { readonly type: 'rename'; readonly name: string }
  /** EBUSY: it is such a name itself, and the file is still open. */
  | { readonly type: 'busy' }

/** A name that this client made. */
export interface SillyFile {
  readonly parent: NodeId
  readonly name: string
  readonly node: NodeId
  /** What it was called. */
  readonly was: string
}

export class SillyRenames {
  readonly #files = new Map<NodeId, SillyFile>()
  #counter: number

  /** `counter`: where to begin, so that a client that was restarted does not meet its own old names one by one. */
  constructor({ counter = 0 }: { readonly counter?: number } = {}) {
    this.#counter = counter >>> 0
  }

  /** Files that are removed and still open. */
  all(): SillyFile[] {
    return [...this.#files.values()]
  }

  ofNode(node: NodeId): SillyFile | undefined {
    return this.#files.get(node)
  }

  /** What is to be done with a name that a program unlinks, or renames another over. */
  decide({ parent, name, node, fileId, isDirectory, opens }: Victim): RemovalDecision {
    if (isDirectory || opens === 0) return { type: 'remove' }
    const silly = this.#files.get(node)
    if (silly !== undefined && silly.parent === parent && silly.name === name) return { type: 'busy' }
    // One name of it stays until the last close: the others may go.
    if (silly !== undefined) return { type: 'remove' }
    this.#counter = (this.#counter + 1) >>> 0
    return { type: 'rename', name: formatSillyName({ fileId, counter: this.#counter }) }
  }

  /** The server has renamed a victim to the name that `decide` gave. */
  renamed({ parent, name, node }: Pick<Victim, 'parent' | 'name' | 'node'>, to: string): void {
    this.#files.set(node, { parent, name: to, node, was: name })
  }

  /**
   * A program renamed a silly name to another one by hand, and the server agreed: the file has a name again, and keeps
   * it. (Also for one that replaced it.)
   */
  moved(parent: NodeId, name: string): void {
    for (const file of this.#files.values()) {
      if (file.parent === parent && file.name === name) this.#files.delete(file.node)
    }
  }

  /** The last open file of a node is closed: the name that is to be removed now, if there is one. */
  lastClosed(node: NodeId): SillyFile | undefined {
    const file = this.#files.get(node)
    this.#files.delete(node)
    return file
  }
}
