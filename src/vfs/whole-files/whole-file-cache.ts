// The whole-file cache: files of a server, whole, on the client's disk. A mode fetches and stores; here they are held,
// opened, bounded, and found again after a restart.
//
//   const cache = await WholeFileCache.open(directory, { limits: { bytes: 1e9, files: 50_000 } })
//   let opened = await cache.open(fid, version)
//   if (!(opened instanceof OpenFile)) {
//     const fetch = cache.fetch(fid, { version, length, status })
//     for await (const piece of pieces) await fetch.write(piece)
//     opened = fetch.open()
//     fetch.commit()
//   }
//   … opened.fd … opened.release()
//
// A version of a file is a file of its own on the disk; one that is replaced while it is open stays until its last
// release. To write: `markDirty`, write through `fd` or the kernel, `stampOf`, read and store it, `stored`.
import { constants } from 'node:fs'
import { type Clock, hostClock } from '../../host/clock.ts'
import { type Disk, hostDisk, syncDirectory } from '../../host/disk.ts'
import { forgetOwner, noteOwner } from '../../host/exclusive-database.ts'
import { FsError, withFsErrors } from '../../posix/errors.ts'
import type { Awaitable } from '../filesystem.ts'
import * as changes from './changes.ts'
import { ChecksumQueue } from './checking.ts'
import { Descriptors } from './descriptors.ts'
import { Fetch, type FetchOptions } from './fetch.ts'
import { type CachedFile, type Damage, type FileRecord, newFile, type Stamp } from './files.ts'
import { CacheIndex } from './index-database.ts'
import { type CacheLimits, type CacheUsage, Ledger } from './ledger.ts'
import { type Miss, Opening } from './opening.ts'
import { type CacheParts, change, dismiss, evict, type OpenFile, pathOf, requireFile, roundedBytes } from './parts.ts'
import { measureDirty, recover } from './recovery.ts'
import { Removals } from './removals.ts'

export interface WholeFileCacheOptions {
  readonly limits: CacheLimits
  readonly disk?: Disk
  readonly clock?: Clock
  /** Files kept open while nobody uses them. Default 512. */
  readonly idleDescriptors?: number
  /** How long a row of the index may wait for others, in milliseconds. Default 500. */
  readonly batchMs?: number
  /** Names the present start of the host. Default: what Linux says. */
  readonly bootId?: string
  /** Told of failures that no caller waits for. Default: they are dropped. */
  readonly onBackgroundError?: (error: Error) => void
  /** A file's content was found to be wrong. A clean one is gone from the cache then; a dirty one stays. */
  readonly onDamage?: (file: CachedFile, damage: Damage) => void
}

export interface FetchRequest extends FetchOptions {
  readonly version: number
  /** The mode's, kept with the file: any JSON value. */
  readonly status?: unknown
}

export class WholeFileCache {
  readonly #parts: CacheParts
  readonly #checksums: ChecksumQueue
  readonly #removals: Removals
  readonly #opening: Opening
  readonly #fetches = new Map<string, Fetch[]>()
  /** How many files were made, and how many of their names are on stable storage. An earlier process may have made some. */
  #namesMade = 1
  #namesSynced = 0
  #closed = false

  private constructor(parts: CacheParts, removals: Removals, options: WholeFileCacheOptions) {
    this.#parts = parts
    this.#removals = removals
    this.#checksums = new ChecksumQueue(parts, options.onBackgroundError ?? (() => {}))
    this.#opening = new Opening(parts, options.onDamage ?? (() => {}))
  }

  /**
   * Opens the cache in `directory`, making it if there is none, and removes what a crash left. Throws an Error of one line
   * if another process has it open, or if it is of an unknown format.
   */
  static async open(directory: string, options: WholeFileCacheOptions): Promise<WholeFileCache> {
    const disk = withFsErrors(options.disk ?? hostDisk)
    const clock = options.clock ?? hostClock()
    const { limits, batchMs = 500, idleDescriptors = 512, onBackgroundError = () => {} } = options
    disk.makeDirectory(`${directory}/files`)
    const path = (number: number) => pathOf(directory, number)
    const descriptors = new Descriptors({ disk, path, limit: idleDescriptors })
    const removals = new Removals({ disk, descriptors, path, onBackgroundError })
    const onGone = (files: readonly FileRecord[]) => removals.remove(files)
    const index = new CacheIndex({ directory, disk, clock, batchMs, onBackgroundError, onGone })
    try {
      noteOwner(directory)
      const { files, lost, strays } = recover(index, disk.list(`${directory}/files`))
      index.remove(lost)
      await removals.removeNames(strays.map((name) => `${directory}/files/${name}`))
      const parts = { directory, disk, clock, ledger: new Ledger(limits, files), index, descriptors }
      const { bootId = disk.bootId() } = options
      const restarted = index.boot !== bootId
      measureDirty(parts, restarted)
      if (restarted) index.setBoot(bootId)
      evict(parts, parts.ledger.shrink())
      // The names of the database and its log: what is synced later is of no use without them.
      await syncDirectory(disk, directory)
      return new WholeFileCache(parts, removals, options)
    } catch (error) {
      await index.close()
      throw error
    }
  }

  /** What opens of `key` get, if it is of the version asked for. */
  find(key: string): CachedFile | undefined {
    return this.#parts.ledger.current(key)
  }

  files(): IterableIterator<CachedFile> {
    return this.#parts.ledger.files()
  }

  get limits(): CacheLimits {
    return this.#parts.ledger.limits
  }

  get usage(): CacheUsage {
    return this.#parts.ledger.usage
  }

  /**
   * Opens the current file of `key`, if it is `version` (undefined: whatever it is). A file that was there before the cache
   * was opened is read once to compare its checksum. Throws FsError if the host fails.
   */
  open(key: string, version?: number): Awaitable<OpenFile | Miss> {
    return this.#opening.open(key, version)
  }

  /** Opens a dirty file, which need not be current. */
  openDirty(file: CachedFile): OpenFile | 'damaged' {
    return this.#opening.openDirty(file)
  }

  /**
   * Begins to fetch a version of `key`. Throws FsError: ENOSPC if it does not fit (then nothing is evicted), EBUSY if this
   * version is being fetched (see `fetching`). A fetch of another version goes on for those who have it open.
   */
  fetch(key: string, { version, status, ...options }: FetchRequest): Fetch {
    if (this.#closed) throw new FsError('EBADF', 'the cache is closed')
    if (this.fetching(key, version)) throw new FsError('EBUSY', 'a fetch of this version is under way')
    const { length } = options
    if (!Number.isSafeInteger(length) || length < 0) throw new FsError('EINVAL', `a length of ${length} bytes`)
    const { ledger, index, descriptors } = this.#parts
    const file = newFile({ number: index.nextNumber(), key, version, status })
    evict(this.#parts, ledger.begin(file, roundedBytes(length)))
    try {
      descriptors.open(file, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL)
    } catch (error) {
      dismiss(this.#parts, ledger.abandon(file))
      throw error
    }
    this.#namesMade++
    const fetch: Fetch = new Fetch(this.#parts, file, options, () => this.#ended(fetch))
    const others = this.#fetches.get(key)
    if (others) others.push(fetch)
    else this.#fetches.set(key, [fetch])
    return fetch
  }

  /** The fetch of `key` that is under way: of `version`, or the one that began last. */
  fetching(key: string, version?: number): Fetch | undefined {
    const fetches = this.#fetches.get(key)
    return version === undefined ? fetches?.at(-1) : fetches?.find(({ file }) => file.version === version)
  }

  #ended(fetch: Fetch): void {
    const { key } = fetch.file
    const others = this.#fetches.get(key)?.filter((other) => other !== fetch) ?? []
    if (others.length > 0) this.#fetches.set(key, others)
    else this.#fetches.delete(key)
  }

  /**
   * Before the first byte of an open file may change: it is dirty from now on, and `note` (any JSON value) is kept with it;
   * both survive the death of the process. Throws FsError if that cannot be written; then the file must not be changed.
   */
  markDirty(file: CachedFile, note?: unknown): void {
    changes.markDirty(this.#parts, file, note)
  }

  /**
   * Files with changes that were not stored, current or not, also of earlier processes: look at `damage` and `doubtful`
   * before you store one of those.
   */
  dirty(): CachedFile[] {
    return [...this.#parts.ledger.files()].filter(({ state }) => state === 'dirty')
  }

  /** Whether the file is not what it was when it last was whole: a look at its length and mtime. */
  isChanged(file: CachedFile): boolean {
    return changes.isChanged(this.#parts, file)
  }

  /** Makes a dirty file clean that was not written after all; false if it was. */
  cleanIfUnchanged(file: CachedFile): boolean {
    return changes.cleanIfUnchanged(this.#parts, file)
  }

  /** Before a file is read to be stored: any later write is seen as a difference from this. */
  stampOf(file: CachedFile): Stamp {
    return changes.stampOf(this.#parts, file)
  }

  /**
   * The server has what the file was at `stamp`: it is clean, and current, with the new version. Returns false if it was
   * written again since then, or may be at
   * any moment; it is of the new version and still dirty. On record when this returns, if that can be.
   */
  stored(file: CachedFile, version: changes.StoredVersion): boolean {
    const isClean = changes.stored(this.#parts, file, version)
    if (isClean && version.checksum === undefined) this.#checksums.add(file as FileRecord)
    return isClean
  }

  /** Makes room for a file to grow to `bytes`. Throws ENOSPC, and evicts nothing, if there cannot be so much. */
  reserve(file: CachedFile, bytes: number): void {
    changes.reserve(this.#parts, file, bytes)
  }

  /** Resolves when what was written to a file, and that it is dirty, survives loss of power. */
  sync(file: CachedFile): Promise<void> {
    return changes.sync(this.#parts, file, () => this.#syncNames())
  }

  /** Notes another status of the same content, on record within `batchMs`. */
  setStatus(file: CachedFile, status: unknown): void {
    const record = requireFile(this.#parts, file)
    record.status = status ?? null
    this.#parts.index.save(record)
  }

  /** Whether the file of `key`, and the versions that replace it, are kept whatever room is needed. */
  pin(key: string, pinned: boolean): void {
    const file = this.#parts.ledger.current(key)
    if (!file) return
    this.#parts.ledger.pin(file, pinned)
    this.#parts.index.save(file)
  }

  /** Opens of `key` find nothing any more. Those who have it open keep it. Throws EBUSY if it is dirty. */
  forget(key: string): void {
    const file = this.#parts.ledger.current(key)
    if (file) change(this.#parts, file, () => this.#parts.ledger.forget(file))
  }

  /** Gives up a file, changes that were not stored and all. */
  discard(file: CachedFile): void {
    const record = requireFile(this.#parts, file)
    change(this.#parts, record, () => this.#parts.ledger.discard(record))
  }

  /** When this returns, all that was done survives the death of the process. Throws FsError. */
  flush(): void {
    this.#parts.index.flush()
  }

  /** Resolves when checksums of stored files are taken, and files that are gone have left the disk. */
  async settled(): Promise<void> {
    await this.#checksums.idle()
    await this.#removals.idle()
  }

  /** Gives up fetches; descriptors of open files are closed. Rejects with FsError if the index could not be written. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    const { index, descriptors, ledger, directory } = this.#parts
    const ending = [...this.#fetches.values()].flat().map((fetch) => {
      const { writing } = fetch
      fetch.abort('the cache is closed')
      return writing
    })
    await Promise.allSettled([...ending, this.#opening.idle(), this.#checksums.close()])
    // Or the host's next start would leave them in doubt. What cannot be synced is.
    await Promise.allSettled(
      this.dirty()
        .filter(({ damage }) => !damage)
        .map((file) => this.sync(file)),
    )
    try {
      await index.close()
    } finally {
      await this.#removals.idle()
      descriptors.closeAll(ledger.files())
      forgetOwner(directory)
    }
  }

  async #syncNames(): Promise<void> {
    const made = this.#namesMade
    if (made === this.#namesSynced) return
    await syncDirectory(this.#parts.disk, `${this.#parts.directory}/files`)
    this.#namesSynced = Math.max(this.#namesSynced, made)
  }
}
