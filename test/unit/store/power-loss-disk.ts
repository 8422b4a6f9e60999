// A disk that can lose power: it knows what was synced, and makes the directory that would be found afterwards, in
// which everything else is there or not as chance will have it, sector by sector and name by name.
import fs from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { type Disk, hostDisk } from '../../../src/host/disk.ts'

const SECTOR = 512

export class PowerLossDisk {
  readonly #directory: string
  /** Bytes of files as they were when they were last synced. */
  readonly #synced = new Map<string, Buffer>()
  /** Names that are known to be on stable storage, and the last bytes of those that were removed since. */
  #names = new Set<string>()
  readonly #removed = new Map<string, Buffer>()
  /**
   * Names that lead to another file since a rename that may not be durable: what they led to, and the names that were
   * made just before, which a journalling file system keeps with the rename.
   */
  readonly #renamed = new Map<string, { synced: Buffer | undefined; now: Buffer; with: string[] }>()
  #linked: string[] = []
  readonly disk: Disk

  constructor(directory: string) {
    this.#directory = directory
    this.disk = {
      ...hostDisk,
      sync: (fd, dataOnly) => this.#sync(fd, dataOnly),
      syncFileSystem: async () => this.everythingIsDurable(),
      unlink: (path) => {
        this.#removed.set(path, fs.readFileSync(path))
        hostDisk.unlink(path)
      },
      link: (path, newPath) => {
        hostDisk.link(path, newPath)
        // Another name of the same bytes: what is synced of one is of the other.
        const synced = this.#synced.get(path)
        if (synced) this.#synced.set(newPath, synced)
        this.#linked.push(newPath)
      },
      rename: (path, newPath) => this.#rename(path, newPath),
      unlinkLater: async (path) => {
        this.#removed.set(path, fs.readFileSync(path))
        hostDisk.unlink(path)
      },
    }
  }

  everythingIsDurable(isIncluded: (path: string) => boolean = () => true): void {
    this.#names = new Set(this.#files().filter(isIncluded))
    this.#removed.clear()
    this.#renamed.clear()
    this.#linked = []
    this.#synced.clear()
    for (const path of this.#names) this.#synced.set(path, fs.readFileSync(path))
  }

  /** Makes in `target` what is found after power was lost now. */
  lose(target: string, chance: () => number): void {
    for (const entry of fs.readdirSync(this.#directory, { recursive: true, withFileTypes: true })) {
      const path = join(entry.parentPath, entry.name)
      if (entry.isDirectory()) fs.mkdirSync(join(target, relative(this.#directory, path)), { recursive: true })
    }
    const present = new Set(this.#files())
    /** Renames that happened or not, and the names that come with those that did. */
    const undone = new Map([...this.#renamed].filter(() => chance() < 0.5))
    const certain = new Set(
      [...this.#renamed].filter(([path]) => !undone.has(path)).flatMap(([, { with: names }]) => names),
    )
    for (const path of new Set([...this.#names, ...present])) {
      const survives = present.has(path) && (this.#names.has(path) || certain.has(path)) ? true : chance() < 0.5
      if (!survives) continue
      const before = undone.get(path)
      if (before) {
        fs.writeFileSync(join(target, relative(this.#directory, path)), mix(before.synced, before.now, chance))
        continue
      }
      const now = present.has(path) ? fs.readFileSync(path) : (this.#removed.get(path) ?? Buffer.alloc(0))
      fs.writeFileSync(join(target, relative(this.#directory, path)), mix(this.#synced.get(path), now, chance))
    }
  }

  #rename(path: string, newPath: string): void {
    if (fs.statSync(path).isDirectory()) {
      hostDisk.rename(path, newPath)
      const moved = (name: string) => (name.startsWith(`${path}/`) ? newPath + name.slice(path.length) : name)
      this.#names = new Set([...this.#names].map(moved))
      for (const [name, bytes] of [...this.#synced]) {
        this.#synced.delete(name)
        this.#synced.set(moved(name), bytes)
      }
      return
    }
    const replaces = fs.existsSync(newPath)
    const now = replaces ? fs.readFileSync(newPath) : Buffer.alloc(0)
    const earlier = this.#renamed.get(newPath)
    const before = earlier ?? { synced: this.#synced.get(newPath), now, with: [] }
    hostDisk.rename(path, newPath)
    const synced = this.#synced.get(path)
    this.#synced.delete(path)
    if (synced) this.#synced.set(newPath, synced)
    else this.#synced.delete(newPath)
    if (replaces) this.#renamed.set(newPath, { ...before, with: [...before.with, ...this.#linked] })
    this.#linked = []
  }

  async #sync(fd: number, dataOnly: boolean): Promise<void> {
    const path = fs.readlinkSync(`/proc/self/fd/${fd}`)
    if (fs.fstatSync(fd).isDirectory()) {
      const before = this.#files().filter((name) => dirname(name) === path)
      await hostDisk.sync(fd, dataOnly)
      for (const name of [...this.#names]) {
        if (dirname(name) === path && !before.includes(name)) this.#names.delete(name)
      }
      for (const name of before) this.#names.add(name)
      for (const name of [...this.#renamed.keys()]) if (dirname(name) === path) this.#renamed.delete(name)
      return
    }
    // What is written while the sync runs may or may not be covered: only this is certain.
    const bytes = path.endsWith(' (deleted)') ? undefined : fs.readFileSync(path)
    await hostDisk.sync(fd, dataOnly)
    if (bytes) this.#synced.set(path, bytes)
  }

  #files(): string[] {
    return fs
      .readdirSync(this.#directory, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name))
  }
}

/** A file of which some sectors are as they were synced, others as they were last. */
function mix(synced: Buffer | undefined, now: Buffer, chance: () => number): Buffer {
  const old = synced ?? Buffer.alloc(0)
  if (old.equals(now)) return now
  const length = chance() < 0.5 ? now.length : old.length
  const bytes = Buffer.alloc(length)
  for (let at = 0; at < length; at += SECTOR) {
    // A file that was cut off is so or is not: where it went on before, nothing else appears by itself.
    const from = at >= now.length || chance() < 0.5 ? old : now
    from.subarray(at, at + SECTOR).copy(bytes, at)
  }
  return bytes
}
