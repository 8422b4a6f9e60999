// A program that mounts one file system in memory on one or more directories through the portable driver, to be run by
// a test with an IPC channel: memory-daemon NAME_TTL_MS NEW_FOLDER DIRECTORY...
//
// It says `ready` (or `failed`), then answers the commands `unmount` and `report`, and says `closed` when a mount is
// gone. It ends when its parent does.
import { closeSync, constants, fstatSync, mkdirSync, openSync } from 'node:fs'
import { join } from 'node:path'
import type { MountedFileSystem } from '../../src/fuse/mount.ts'
import { mountPortable } from '../../src/fuse/portable.ts'
import { fuseChannel } from '../../src/trace/trace.ts'
import type { CallContext, Entry, Handle, NewNode, NodeId, Opened, ReadResult } from '../../src/vfs/filesystem.ts'
import { MemoryFileSystem, type MemoryOptions } from './memory-fs.ts'

/** What the parent may send. `target` is a directory of the command line. */
export type MemoryCommand = { readonly command: 'unmount'; readonly target: string } | { readonly command: 'report' }

export type MemoryMessage =
  | { readonly type: 'ready' }
  | { readonly type: 'failed'; readonly message: string }
  | { readonly type: 'unmounted'; readonly error: string | null }
  | { readonly type: 'closed'; readonly target: string }
  | { readonly type: 'report'; readonly report: MemoryReport }

export interface MemoryReport {
  readonly lookups: number
  readonly handles: number
  readonly nodes: number
  readonly detached: boolean
  /** What went to onError. */
  readonly errors: readonly string[]
  /** Calls seen by the trace, as `OPERATION path`. */
  readonly traced: readonly string[]
}

/**
 * Some names have a meaning. Files `local-…` have a backing file, files `range-…` are read by ranges of one;
 * looking up `defect` throws a TypeError; the target of a symlink to `nothing` is not even text.
 */
class PeculiarFileSystem extends MemoryFileSystem {
  readonly #folder: string
  readonly #kinds = new Map<NodeId, 'local' | 'range'>()
  readonly #local = new Map<Handle, { readonly fd: number; readonly kind: 'local' | 'range' }>()

  /** `folder`: for the local files. */
  constructor(folder: string, options: MemoryOptions) {
    super(options)
    this.#folder = folder
    mkdirSync(folder)
  }

  override lookup(context: CallContext, parent: NodeId, name: string) {
    if (name === 'defect') throw new TypeError('a defect in the file system')
    return super.lookup(context, parent, name)
  }

  override readlink(context: CallContext, node: NodeId): string {
    const target = super.readlink(context, node)
    return target === 'nothing' ? (undefined as unknown as string) : target
  }

  override makeNode(context: CallContext, node: NewNode): Entry {
    const entry = super.makeNode(context, node)
    const kind = /^(local|range)-/.exec(node.name)?.[1]
    if (kind === 'local' || kind === 'range') this.#kinds.set(entry.node, kind)
    return entry
  }

  override getAttributes(context: CallContext, node: NodeId) {
    const reply = super.getAttributes(context, node)
    if (!this.#kinds.has(node)) return reply
    const fd = this.#openLocal(node)
    const { size } = fstatSync(fd)
    closeSync(fd)
    return { ...reply, attributes: { ...reply.attributes, size } }
  }

  override open(context: CallContext, node: NodeId, flags: number): Opened {
    const opened = super.open(context, node, flags)
    const kind = this.#kinds.get(node)
    if (kind === undefined) return opened
    const fd = this.#openLocal(node)
    this.#local.set(opened.handle, { fd, kind })
    // What is read by ranges is written where it is read from, too; only reading goes through the file system.
    const forReading = kind === 'range' && (flags & 3) === 0
    return forReading ? opened : { ...opened, backing: { fd, key: this } }
  }

  override read(context: CallContext, handle: Handle, offset: number, length: number): ReadResult & Uint8Array {
    const local = this.#local.get(handle)
    const found = local === undefined ? super.read(context, handle, offset, length) : { fd: local.fd, offset, length }
    return found as ReadResult & Uint8Array
  }

  override release(handle: Handle): void {
    const local = this.#local.get(handle)
    if (local !== undefined) closeSync(local.fd)
    this.#local.delete(handle)
    super.release(handle)
  }

  #openLocal(node: NodeId): number {
    return openSync(join(this.#folder, String(node)), constants.O_RDWR | constants.O_CREAT)
  }
}

const [nameTtlMs, folder = '', ...targets] = process.argv.slice(2)
const fileSystem = new PeculiarFileSystem(folder, { nameTtlMs: Number(nameTtlMs) })
const mounts = new Map<string, MountedFileSystem>()
const errors: string[] = []
const traced: string[] = []
fuseChannel.subscribe(({ op, name }) => traced.push(`${op} ${name}`))

function say(message: MemoryMessage): void {
  process.send?.(message)
}

async function mountAll(): Promise<void> {
  for (const target of targets) {
    const mounted = await mountPortable({
      fileSystem,
      target,
      driver: 'portable',
      source: 'proteus:memory,\\test',
      options: { allowOther: true },
      onError: (error) => errors.push(error.message),
    })
    mounts.set(target, mounted)
    mounted.closed.then(() => say({ type: 'closed', target }))
  }
  say({ type: 'ready' })
}

async function unmount(target: string): Promise<void> {
  try {
    await mounts.get(target)?.unmount()
    say({ type: 'unmounted', error: null })
  } catch (error) {
    say({ type: 'unmounted', error: (error as { code?: string }).code ?? String(error) })
  }
}

process.on('message', (command: MemoryCommand) => {
  if (command.command === 'unmount') unmount(command.target)
  else say({ type: 'report', report: { ...fileSystem.audit(), detached: fileSystem.detached, errors, traced } })
})
process.on('disconnect', () => process.exit())
mountAll().catch((error: Error) => say({ type: 'failed', message: error.message }))
