// The nodes that the kernel of one mount knows: how often it has looked up each and not yet given back (FORGET), and
// under which generation. A node id may come again only for another generation.
import type { NodeId } from './filesystem.ts'

interface KnownNode {
  readonly generation: number
  lookups: number
}

export class NodeTable {
  readonly #nodes = new Map<NodeId, KnownNode>()

  get size(): number {
    return this.#nodes.size
  }

  has(node: NodeId): boolean {
    return this.#nodes.has(node)
  }

  /** Counts one more lookup. True if the kernel did not know the node before. */
  lookedUp(node: NodeId, generation: number): boolean {
    const known = this.#nodes.get(node)
    if (known === undefined) {
      this.#nodes.set(node, { generation, lookups: 1 })
      return true
    }
    if (known.generation !== generation) {
      throw new Error(`node ${node} is known with generation ${known.generation}, not ${generation}`)
    }
    known.lookups++
    return false
  }

  /** Counts `count` lookups less. True if the kernel does not know the node any more. */
  forget(node: NodeId, count: number): boolean {
    const known = this.#nodes.get(node)
    if (known === undefined) return false
    known.lookups -= count
    return known.lookups <= 0 && this.#nodes.delete(node)
  }

  /** The mount is gone: all nodes are forgotten. Returns those that were known. */
  clear(): NodeId[] {
    const nodes = [...this.#nodes.keys()]
    this.#nodes.clear()
    return nodes
  }
}
