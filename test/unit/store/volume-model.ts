// A file system as simple as can be, to compare a volume with: plain objects, no permissions, no disk. And seeded
// random operations on both.
import { FsError } from '../../../src/posix/errors.ts'
import { RENAME_EXCHANGE, RENAME_NOREPLACE, S_IFDIR, S_IFLNK, S_IFREG } from '../../../src/posix/mode.ts'
import type { Volume } from '../../../src/store/volume.ts'
import { random } from '../../support/random.ts'
import { root } from './volume-fixture.ts'

export interface ModelNode {
  readonly ino: number
  mode: number
  content: string
  readonly xattrs: Map<string, string>
  readonly entries: Map<string, ModelNode>
}

const node = (ino: number, mode: number, content = ''): ModelNode => ({
  ino,
  mode,
  content,
  xattrs: new Map(),
  entries: new Map(),
})

/** A regular file that has no name yet. */
export const regularNode = (ino: number, mode: number): ModelNode => node(ino, S_IFREG | mode)

export const isFile = (n: ModelNode) => (n.mode & 0o170000) === S_IFREG
const isDirectory = (n: ModelNode) => (n.mode & 0o170000) === S_IFDIR

/** The state of a model: cheap to copy by replaying, compared as text. */
export class Model {
  readonly root = node(1, S_IFDIR | 0o755)

  directories(): { path: string; node: ModelNode }[] {
    const found: { path: string; node: ModelNode }[] = []
    const walk = (path: string, at: ModelNode) => {
      found.push({ path, node: at })
      for (const [name, child] of at.entries) if (isDirectory(child)) walk(`${path}/${name}`, child)
    }
    walk('', this.root)
    return found
  }

  #links(of: ModelNode): number {
    if (isDirectory(of)) return 2 + [...of.entries.values()].filter(isDirectory).length
    return this.directories().reduce(
      (sum, { node: at }) => sum + [...at.entries.values()].filter((child) => child === of).length,
      0,
    )
  }

  /** The same text as `treeOf` gives for a volume. */
  tree(): string[] {
    const lines: string[] = []
    const walk = (path: string, at: ModelNode) => {
      const size = isDirectory(at) ? 4096 : Buffer.byteLength(at.content)
      const xattrs = [...at.xattrs].map(([name, value]) => `${name}=${Buffer.from(value).toString('hex')}`).sort()
      const content = (at.mode & 0o170000) === S_IFREG ? at.content : ''
      lines.push(`${path} ${at.mode.toString(8)} ${this.#links(at)} 0:0 ${size} 0 ${xattrs.join(',')} ${content}`)
      for (const [name, child] of [...at.entries].sort(([a], [b]) => (a < b ? -1 : 1))) walk(`${path}/${name}`, child)
    }
    walk('', this.root)
    return lines
  }
}

/** One operation: what it does to the volume, and what to the model once the volume has done it. */
interface Operation {
  readonly text: string
  readonly onVolume: (volume: Volume) => unknown
  /** Says which error to expect, or changes the model. `result`: what `onVolume` returned. */
  readonly onModel: (result: unknown) => string | undefined
}

/** Seeded random operations. Each is chosen by looking at the model, and half of them are bound to fail. */
export class Operations {
  readonly model = new Model()
  readonly #random: () => number
  readonly #kinds: number

  /** Without `writes` the content of files stays as it is: it is not undone when an operation fails. */
  constructor(seed: number, options: { readonly writes: boolean } = { writes: true }) {
    this.#random = random(seed)
    this.#kinds = options.writes ? 12 : 11
  }

  /** Does one operation on both. Returns what it was, and throws if they disagree. */
  step(volume: Volume): string {
    const operation = this.next()
    let result: unknown
    let failed: string | undefined
    // The model is asked first where it says which error comes; its change must not happen if the volume fails.
    const before = operation.text
    try {
      result = operation.onVolume(volume)
    } catch (error) {
      if (!(error instanceof FsError)) throw error
      failed = error.code
    }
    if (failed !== undefined && INJECTED.has(failed)) return `${before}: ${failed}`
    const expected = operation.onModel(result)
    if (failed !== expected) throw new Error(`${before}: ${failed ?? 'done'}, but the model says ${expected ?? 'done'}`)
    return before
  }

  next(): Operation {
    const pick = <T>(items: readonly T[]): T => items[Math.floor(this.#random() * items.length)] as T
    const name = () => pick(['a', 'b', 'c', 'd', 'e', 'ü', '長い名前'])
    const directories = this.model.directories()
    const place = () => ({ at: pick(directories), name: name() })
    const { at, name: entry } = place()
    const here = at.node
    const existing = here.entries.get(entry)
    const text = (what: string) => `${what} ${at.path}/${entry}`
    const kind = Math.floor(this.#random() * this.#kinds)
    switch (kind) {
      case 0:
      case 1:
      case 2: {
        const type = pick([S_IFREG, S_IFREG, S_IFDIR, S_IFLNK])
        const mode = type === S_IFLNK ? type | 0o777 : type | 0o640
        return {
          text: text(`create ${type.toString(8)}`),
          onVolume: (volume) => volume.create(here.ino, entry, { mode, target: 'target' }, root),
          onModel: (ino) => {
            if (existing) return 'EEXIST'
            here.entries.set(entry, node(ino as number, mode, type === S_IFLNK ? 'target' : ''))
            return undefined
          },
        }
      }
      case 3:
        return {
          text: text('unlink'),
          onVolume: (volume) => volume.unlink(here.ino, entry, root),
          onModel: () => {
            if (!existing) return 'ENOENT'
            if (isDirectory(existing)) return 'EISDIR'
            here.entries.delete(entry)
            return undefined
          },
        }
      case 4:
        return {
          text: text('rmdir'),
          onVolume: (volume) => volume.removeDirectory(here.ino, entry, root),
          onModel: () => {
            if (!existing) return 'ENOENT'
            if (!isDirectory(existing)) return 'ENOTDIR'
            if (existing.entries.size > 0) return 'ENOTEMPTY'
            here.entries.delete(entry)
            return undefined
          },
        }
      case 5:
      case 6:
      case 7: {
        const to = place()
        const flags = pick([0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE])
        return {
          text: `${text(`rename ${flags}`)} ${to.at.path}/${to.name}`,
          onVolume: (volume) =>
            volume.rename({ parent: here.ino, name: entry, newParent: to.at.node.ino, newName: to.name, flags }, root),
          onModel: () => rename({ here, entry, there: to.at.node, target: to.name, flags }),
        }
      }
      case 8: {
        const to = place()
        const exists = to.at.node.entries.has(to.name)
        return {
          text: `${text('link')} ${to.at.path}/${to.name}`,
          onVolume: (volume) => volume.link(existing?.ino ?? 99_999_999, to.at.node.ino, to.name, root),
          onModel: () => {
            if (!existing) return 'ESTALE'
            if (exists) return 'EEXIST'
            if (isDirectory(existing)) return 'EPERM'
            to.at.node.entries.set(to.name, existing)
            return undefined
          },
        }
      }
      case 9: {
        const mode = pick([0o600, 0o755, 0o1777])
        return {
          text: text(`chmod ${mode.toString(8)}`),
          onVolume: (volume) => volume.setAttributes(existing?.ino ?? 99_999_999, { mode }, root),
          onModel: () => {
            if (!existing) return 'ESTALE'
            existing.mode = (existing.mode & 0o170000) | mode
            return undefined
          },
        }
      }
      case 10: {
        const value = `v${Math.floor(this.#random() * 1000)}`
        const attribute = pick(['trusted.a', 'trusted.b'])
        return {
          text: text(`setxattr ${attribute} ${value}`),
          onVolume: (volume) =>
            volume.setXattr(existing?.ino ?? 99_999_999, attribute, Buffer.from(value), 'either', root),
          onModel: () => {
            if (!existing) return 'ESTALE'
            existing.xattrs.set(attribute, value)
            return undefined
          },
        }
      }
      default: {
        const value = 'x'.repeat(Math.floor(this.#random() * 20))
        return {
          text: text(`write ${value.length}`),
          onVolume: (volume) => {
            const content = volume.openContent(existing?.ino ?? 99_999_999, 0o1001, root)
            try {
              volume.write(content, Buffer.from(value), 0)
            } finally {
              volume.closeContent(content)
            }
          },
          onModel: () => {
            if (!existing) return 'ESTALE'
            if (isDirectory(existing)) return 'EISDIR'
            if ((existing.mode & 0o170000) === S_IFLNK) return 'ELOOP'
            existing.content = value
            return undefined
          },
        }
      }
    }
  }
}

/** Errors that a test injects: the operation must then have done nothing. */
const INJECTED: ReadonlySet<string> = new Set(['ENOSPC', 'EIO'])

function rename(what: {
  here: ModelNode
  entry: string
  there: ModelNode
  target: string
  flags: number
}): string | undefined {
  const { here, entry, there, target, flags } = what
  const from = here.entries.get(entry)
  const to = there.entries.get(target)
  if (!from) return 'ENOENT'
  if (flags === RENAME_NOREPLACE && to) return 'EEXIST'
  if (flags === RENAME_EXCHANGE && !to) return 'ENOENT'
  if (contains(from, there)) return 'EINVAL'
  if (flags === RENAME_EXCHANGE && to) {
    if (contains(to, here)) return 'EINVAL'
    here.entries.set(entry, to)
    there.entries.set(target, from)
    return undefined
  }
  if (to) {
    if (isDirectory(from) && !isDirectory(to)) return 'ENOTDIR'
    if (!isDirectory(from) && isDirectory(to)) return 'EISDIR'
    if (to === from) return undefined
    if (to.entries.size > 0) return 'ENOTEMPTY'
  }
  here.entries.delete(entry)
  there.entries.set(target, from)
  return undefined
}

const contains = (a: ModelNode, b: ModelNode): boolean =>
  a === b || [...a.entries.values()].some((child) => contains(child, b))
