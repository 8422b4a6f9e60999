// What an earlier process left: rows and files that belong together, and what has to go.
import { damageBy } from './checking.ts'
import type { FileRecord } from './files.ts'
import type { CacheIndex } from './index-database.ts'
import { isKept } from './ledger.ts'
import { type CacheParts, look } from './parts.ts'

export interface Recovered {
  /** The least recently used first. */
  readonly files: readonly FileRecord[]
  /** Rows whose file is missing: nobody needs them. */
  readonly lost: readonly FileRecord[]
  /** Names of files that no row speaks of. */
  readonly strays: readonly string[]
}

/** Goes by the names in the directory alone: whether the content is right is found out at the first open. */
export function recover(index: CacheIndex, names: readonly string[]): Recovered {
  const present = new Set(names)
  const files: FileRecord[] = []
  const lost: FileRecord[] = []
  for (const file of index.load()) {
    const isThere = present.delete(String(file.number))
    if (!isThere && file.state === 'dirty') file.damage = 'missing'
    if (!isKept(file) || (!isThere && file.state !== 'dirty')) lost.push(file)
    else files.push(file)
  }
  return { files, lost, strays: [...present] }
}

/** Dirty files may have grown since their rows were written. One that cannot be opened is damaged, and kept. */
export function measureDirty(parts: CacheParts): void {
  for (const file of parts.ledger.files()) {
    if (file.state !== 'dirty' || file.damage !== undefined) continue
    try {
      parts.descriptors.open(file)
      look(parts, file)
      parts.descriptors.idle(file)
    } catch (error) {
      file.damage = damageBy(error)
    }
  }
}
