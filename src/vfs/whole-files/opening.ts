// Opening what is in the cache: after a start, only once its content was seen to be right.
import { FsError } from '../../posix/errors.ts'
import type { Awaitable } from '../filesystem.ts'
import { damageBy, damageOf } from './checking.ts'
import type { CachedFile, Damage, FileRecord } from './files.ts'
import { type CacheParts, change, type OpenFile, openFile, requireFile } from './parts.ts'

/** Why there is nothing to open. `damaged`: there was; if it was clean it is forgotten now, and can be fetched again. */
export type Miss = 'absent' | 'other version' | 'damaged'

export class Opening {
  readonly #parts: CacheParts
  readonly #onDamage: (file: CachedFile, damage: Damage) => void
  /** Checks under way: all who open a file wait for the same one. */
  readonly #checks = new Map<FileRecord, Promise<Damage | undefined>>()

  constructor(parts: CacheParts, onDamage: (file: CachedFile, damage: Damage) => void) {
    this.#parts = parts
    this.#onDamage = onDamage
  }

  open(key: string, version: number | undefined): Awaitable<OpenFile | Miss> {
    const file = this.#parts.ledger.current(key)
    if (file === undefined) return 'absent'
    if (version !== undefined && file.version !== version) return 'other version'
    if (file.damage !== undefined) return 'damaged'
    if (file.verified || file.state === 'dirty') return this.#openFile(file)
    return this.#check(file).then((damage) => (damage === undefined ? this.open(key, version) : 'damaged'))
  }

  openDirty(file: CachedFile): OpenFile | 'damaged' {
    const record = requireFile(this.#parts, file)
    if (record.state !== 'dirty') throw new FsError('EINVAL', 'the file is not dirty')
    return record.damage === undefined ? this.#openFile(record) : 'damaged'
  }

  /** Resolves when no check is under way. */
  async idle(): Promise<void> {
    await Promise.allSettled(this.#checks.values())
  }

  #openFile(file: FileRecord): OpenFile | 'damaged' {
    try {
      return openFile(this.#parts, file)
    } catch (error) {
      this.#damaged(file, damageBy(error))
      return 'damaged'
    }
  }

  #check(file: FileRecord): Promise<Damage | undefined> {
    const known = this.#checks.get(file)
    if (known) return known
    const check = damageOf(this.#parts, file)
      .then((damage) => {
        if (damage === undefined) file.verified = true
        else this.#damaged(file, damage)
        return damage
      })
      .finally(() => this.#checks.delete(file))
    this.#checks.set(file, check)
    return check
  }

  #damaged(file: FileRecord, damage: Damage): void {
    file.damage = damage
    if (file.state !== 'dirty') change(this.#parts, file, () => this.#parts.ledger.forget(file))
    this.#onDamage(file, damage)
  }
}
