// Inodes in memory: the recently used ones, and those that must stay (open content, or no name).
import type { Inode } from './inode.ts'

/**
 * Keeps about `limit` inodes. Two generations instead of a list in order of use: a hit in the young one costs one
 * lookup and moves nothing.
 */
export class InodeCache {
  readonly #half: number
  #young = new Map<number, Inode>()
  #old = new Map<number, Inode>()

  constructor(limit: number) {
    this.#half = Math.max(1, limit >> 1)
  }

  get(ino: number): Inode | undefined {
    const young = this.#young.get(ino)
    if (young) return young
    const old = this.#old.get(ino)
    if (old) this.add(old)
    return old
  }

  add(inode: Inode): void {
    this.#young.set(inode.ino, inode)
    if (this.#young.size > this.#half) this.#age()
  }

  delete(ino: number): void {
    this.#young.delete(ino)
    this.#old.delete(ino)
  }

  unnamed(): Inode[] {
    const all = new Set([...this.#young.values(), ...this.#old.values()])
    return [...all].filter((inode) => inode.unnamed !== undefined)
  }

  clear(): void {
    this.#young.clear()
    this.#old.clear()
  }

  #age(): void {
    const kept = new Map<number, Inode>()
    for (const inode of this.#old.values()) {
      if (inode.file !== undefined || inode.unnamed !== undefined) kept.set(inode.ino, inode)
    }
    this.#old = this.#young
    this.#young = kept
    for (const ino of kept.keys()) this.#old.delete(ino)
  }
}
