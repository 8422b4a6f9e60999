// The decisions of the whole-file cache: which file is the current one of a key, which are kept, which make room for
// others. No disk and no clock: events in; out comes which files are gone. Whoever calls removes those, and keeps the
// rows of the others.
import { FsError } from '../../posix/errors.ts'
import type { CachedFile, FileRecord, Stamp } from './files.ts'

export interface CacheLimits {
  readonly bytes: number
  readonly files: number
}

export interface CacheUsage {
  readonly bytes: number
  readonly files: number
  /** Of these, what can be evicted. */
  readonly idleBytes: number
  readonly idleFiles: number
}

/** What the server's copy is now that a changed file was stored. */
export interface Stored {
  readonly version: number
  readonly status: unknown
  /** The file as it was when it was read for the store. */
  readonly stamp: Stamp
  readonly checksum: number | undefined
  /** It was written again since then. */
  readonly changedSince: boolean
  /** It may be written without another word. */
  readonly stillWritten: boolean
}

type Gone = readonly FileRecord[]

const NONE: Gone = []

export class Ledger {
  readonly limits: CacheLimits
  readonly #files = new Map<number, FileRecord>()
  readonly #current = new Map<string, FileRecord>()
  /** What can be evicted: whole, current, not open, not pinned. The least recently used comes first. */
  readonly #idle = new Set<FileRecord>()
  #bytes = 0
  #idleBytes = 0
  #order = 0

  /** `files`: what an earlier process left, the least recently used first. */
  constructor(limits: CacheLimits, files: Iterable<FileRecord> = []) {
    this.limits = limits
    for (const file of files) {
      file.order = ++this.#order
      this.#add(file)
      if (file.current) this.#current.set(file.key, file)
      this.#settle(file)
    }
  }

  get usage(): CacheUsage {
    return {
      bytes: this.#bytes,
      files: this.#files.size,
      idleBytes: this.#idleBytes,
      idleFiles: this.#idle.size,
    }
  }

  current(key: string): FileRecord | undefined {
    return this.#current.get(key)
  }

  file(number: number): FileRecord | undefined {
    return this.#files.get(number)
  }

  files(): IterableIterator<FileRecord> {
    return this.#files.values()
  }

  /** A fetch of `bytes` begins. Throws ENOSPC, and evicts nothing, if there is no room. Returns what was evicted. */
  begin(file: FileRecord, bytes: number): Gone {
    const evicted = this.#makeRoom(bytes, 1)
    file.allocatedBytes = bytes
    file.order = ++this.#order
    this.#add(file)
    return evicted
  }

  /**
   * All of a fetch has arrived: it is the current file, unless something newer has become that meanwhile. A dirty file
   * whose place it takes stays, as one of those that are not current.
   */
  arrived(file: FileRecord, stamp: Stamp, checksum: number): Gone {
    file.state = 'whole'
    file.stamp = stamp
    file.checksum = checksum
    file.verified = true
    const current = this.#current.get(file.key)
    if (current !== undefined && current.order > file.order && current.version >= file.version) {
      return this.#settleAll(file)
    }
    return this.#makeCurrent(file)
  }

  /** The fetch ended early. */
  abandon(file: FileRecord): Gone {
    file.state = 'abandoned'
    return this.#settleAll(file)
  }

  retain(file: FileRecord): void {
    if (file.opens++ === 0 && this.#idle.delete(file)) this.#idleBytes -= file.allocatedBytes
  }

  release(file: FileRecord, nowMs: number): Gone {
    file.lastUseMs = nowMs
    return --file.opens > 0 ? NONE : this.#settleAll(file)
  }

  /** The file may be written from now on. Throws EBUSY if it is not whole yet. */
  dirty(file: FileRecord, note: unknown): void {
    if (file.state !== 'whole' && file.state !== 'dirty') throw new FsError('EBUSY', 'the file is not whole')
    file.state = 'dirty'
    file.note = note
    this.#settle(file)
  }

  /** Nothing was written after all. */
  undirty(file: FileRecord): Gone {
    file.state = 'whole'
    file.note = null
    return this.#settleAll(file)
  }

  /** The server has the file as `version`. It is the current one from now on, unless there is a later version already. */
  stored(file: FileRecord, { version, status, stamp, checksum, changedSince, stillWritten }: Stored): Gone {
    file.version = version
    file.status = status
    file.order = ++this.#order
    file.verified = true
    if (!changedSince) {
      file.doubtful = false
      file.stamp = stamp
      file.checksum = checksum
      if (!stillWritten) {
        file.state = 'whole'
        file.note = null
      }
    }
    const current = this.#current.get(file.key)
    return current !== undefined && current.version > version ? this.#settleAll(file) : this.#makeCurrent(file)
  }

  /** No open gets it any more. Throws EBUSY if it is dirty. */
  forget(file: FileRecord): Gone {
    if (file.state === 'dirty') throw new FsError('EBUSY', 'the file has changes that were not stored')
    return this.#giveUp(file)
  }

  /** Gives up the changes of a dirty file, and the file with them. */
  discard(file: FileRecord): Gone {
    if (file.state === 'dirty') file.state = 'abandoned'
    return this.#giveUp(file)
  }

  /** The file was found to take `bytes`. */
  measure(file: FileRecord, bytes: number): void {
    if (!this.#files.has(file.number)) return
    this.#bytes += bytes - file.allocatedBytes
    if (this.#idle.has(file)) this.#idleBytes += bytes - file.allocatedBytes
    file.allocatedBytes = bytes
  }

  /** Makes room for an open file to take `bytes`, which it is taken to do from now on. Throws ENOSPC, and evicts nothing. */
  grow(file: FileRecord, bytes: number): Gone {
    if (bytes <= file.allocatedBytes) return NONE
    const evicted = this.#makeRoom(bytes - file.allocatedBytes, 0)
    this.measure(file, bytes)
    return evicted
  }

  /** Evicts what is over the limits, as far as there is something to evict. */
  shrink(): Gone {
    return this.#evict(0, 0)
  }

  pin(file: FileRecord, pinned: boolean): void {
    file.pinned = pinned
    this.#settle(file)
  }

  #makeRoom(bytes: number, files: number): Gone {
    const { limits } = this
    const heldBytes = this.#bytes - this.#idleBytes
    const heldFiles = this.#files.size - this.#idle.size
    if (heldBytes + bytes > limits.bytes || heldFiles + files > limits.files) {
      const what = `${heldBytes} of ${limits.bytes} bytes, ${heldFiles} of ${limits.files} files`
      throw new FsError('ENOSPC', `no room for ${bytes} bytes in the cache: ${what} are open, changed or pinned`)
    }
    return this.#evict(bytes, files)
  }

  #evict(bytes: number, files: number): Gone {
    const { limits } = this
    const evicted: FileRecord[] = []
    for (const file of this.#idle) {
      if (this.#bytes + bytes <= limits.bytes && this.#files.size + files <= limits.files) break
      evicted.push(...this.#giveUp(file))
    }
    return evicted
  }

  #makeCurrent(file: FileRecord): Gone {
    const before = this.#current.get(file.key)
    file.current = true
    this.#current.set(file.key, file)
    if (before === undefined || before === file) return this.#settleAll(file)
    before.current = false
    file.pinned = before.pinned
    return this.#settleAll(file, before)
  }

  #giveUp(file: FileRecord): Gone {
    if (this.#current.get(file.key) === file) this.#current.delete(file.key)
    file.current = false
    return this.#settleAll(file)
  }

  #add(file: FileRecord): void {
    this.#files.set(file.number, file)
    this.#bytes += file.allocatedBytes
  }

  #settleAll(...files: FileRecord[]): Gone {
    return files.filter((file) => this.#settle(file))
  }

  /** Puts a file where it belongs after a change. True: nobody needs it any more. */
  #settle(file: FileRecord): boolean {
    const { state, current, opens, pinned } = file
    const idle = state === 'whole' && current && opens === 0 && !pinned
    if (idle !== this.#idle.has(file)) {
      if (idle) this.#idle.add(file)
      else this.#idle.delete(file)
      this.#idleBytes += idle ? file.allocatedBytes : -file.allocatedBytes
    }
    if (current || opens > 0 || state === 'fetching' || state === 'dirty') return false
    if (this.#files.delete(file.number)) this.#bytes -= file.allocatedBytes
    return true
  }
}

/** What of a file an earlier process can have left: what is current, and what is dirty. */
export const isKept = ({ state, current }: CachedFile): boolean => state === 'dirty' || (state === 'whole' && current)
