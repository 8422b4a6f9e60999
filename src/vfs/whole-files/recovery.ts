// What an earlier process left: rows and files that belong together, and what has to go.
import { damageBy } from './checking.ts'
import { type FileRecord, sameStamp } from './files.ts'
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

/**
 * Dirty files may have grown since their rows were written. One that cannot be opened is damaged, and kept. `restarted`: the
 * host was; then what was not synced is in doubt.
 */
export function measureDirty(parts: CacheParts, restarted: boolean): void {
  for (const file of parts.ledger.files()) {
    if (file.state !== 'dirty' || file.damage !== undefined) continue
    try {
      parts.descriptors.open(file)
      const stamp = look(parts, file)
      parts.descriptors.idle(file)
      if (!restarted || (file.synced !== undefined && sameStamp(stamp, file.synced))) continue
      file.doubtful = true
      parts.index.save(file)
    } catch (error) {
      file.damage = damageBy(error)
    }
  }
}
