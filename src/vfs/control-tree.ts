// The inside of `.proteus/`: one directory of control files, with nodes and handles in a range of their own.
//
// Text is made when a file is opened, and one open reads one text. Writing is by lines: a complete line takes effect
// in the write(2) that ends it, so that `echo down > network` itself reports the error (shells ignore close's); a last
// line without a newline (`printf down > network`) takes effect in flush, and its error is close(2)'s.
import type { AttributeChanges, Attributes } from '../posix/attributes.ts'
import { timespecFromMs } from '../posix/attributes.ts'
import { MAY_READ, MAY_WRITE, mayAccess } from '../posix/credentials.ts'
import { FsError } from '../posix/errors.ts'
import { direntType, isDirectory, O_ACCMODE, O_NONBLOCK, O_RDONLY, O_WRONLY, S_IFDIR, S_IFREG } from '../posix/mode.ts'
import { type ControlFile, type ControlStream, isStream } from './control-file.ts'
import {
  type AbsentEntry,
  type CallContext,
  type DirectorySink,
  type Entry,
  type Handle,
  type NodeId,
  type Opened,
  ROOT_NODE,
} from './filesystem.ts'

/** Nodes and handles from here on are the control directory's; those of file systems stay below. */
export const CONTROL_NODES = 2 ** 51

/** Names and attributes never change. */
const TTL_MS = 60_000
/** Longest line that may be written, in bytes. */
const MAX_LINE_BYTES = 64 * 1024
const NEWLINE = 10

export interface ControlTreeOptions {
  readonly files: readonly ControlFile[]
  /** Whom the control files belong to: who made the mount. */
  readonly owner: { readonly uid: number; readonly gid: number }
  /** Time stamp of everything, in milliseconds since the epoch. */
  readonly createdMs: number
}

/** One open control file. */
interface OpenFile {
  readonly file: ControlFile
  readonly nonBlocking: boolean
  readonly content: Uint8Array | ControlStream
  /** Bytes written after the last newline. */
  pending: Buffer
}

const NOTHING = Buffer.alloc(0)

export class ControlTree {
  readonly #files: readonly ControlFile[]
  /** The directory first, then the files in order: index is node - CONTROL_NODES. */
  readonly #entries: readonly Entry[]
  readonly #open = new Map<Handle, OpenFile>()
  #nextHandle = CONTROL_NODES

  constructor(options: ControlTreeOptions) {
    this.#files = options.files
    const directory = entryOf(options, 0, S_IFDIR | 0o555)
    this.#entries = [directory, ...options.files.map((file, i) => entryOf(options, i + 1, S_IFREG | modeOf(file)))]
  }

  /** The entry of the directory itself. */
  get directory(): Entry {
    return this.#entry(CONTROL_NODES)
  }

  lookup(parent: NodeId, name: string): Entry | AbsentEntry {
    if (parent !== CONTROL_NODES) throw new FsError('ENOTDIR')
    const index = this.#files.findIndex((file) => file.name === name)
    return this.#entries[index + 1 || -1] ?? { node: 0, nameTtlMs: TTL_MS }
  }

  attributes(node: NodeId): { attributes: Attributes; attributesTtlMs: number } {
    return this.#entry(node)
  }

  /**
   * Truncation is what a shell's `>` does before it writes, and set-id bits are cleared when somebody other than root
   * does. Both mean nothing here; all else is fixed.
   */
  setAttributes(context: CallContext, node: NodeId, changes: AttributeChanges) {
    const { size, clearSetId, mode, uid, gid } = changes
    const isWrite = size !== undefined || clearSetId === true
    if (!isWrite || mode !== undefined || uid !== undefined || gid !== undefined) {
      throw new FsError('EPERM', 'attributes of control files are fixed')
    }
    this.access(context, node, MAY_WRITE)
    return this.attributes(node)
  }

  access(context: CallContext, node: NodeId, mask: number): void {
    const { attributes } = this.#entry(node)
    const who = { uid: context.uid, gid: context.gid, groups: [] }
    if (!mayAccess(who, attributes, mask)) throw new FsError('EACCES')
  }

  async open(context: CallContext, node: NodeId, flags: number): Promise<Opened> {
    const file = this.#files[node - CONTROL_NODES - 1]
    if (file === undefined) throw new FsError(node === CONTROL_NODES ? 'EISDIR' : 'ENOENT')
    const how = flags & O_ACCMODE
    const reads = how !== O_WRONLY
    const writes = how !== O_RDONLY
    this.access(context, node, (reads ? MAY_READ : 0) | (writes ? MAY_WRITE : 0))
    // The superuser passes every permission check, but not one of these.
    if ((reads && file.read === undefined) || (writes && file.write === undefined)) throw new FsError('EACCES')
    const content = reads && file.read ? await file.read(context) : NOTHING
    const handle = this.#nextHandle++
    this.#open.set(handle, {
      file,
      nonBlocking: (flags & O_NONBLOCK) !== 0,
      content: typeof content === 'string' ? Buffer.from(content) : content,
      pending: NOTHING,
    })
    // Asked for each time: there is no size to believe, and the next open has another text.
    return isStream(content) ? { handle, directIo: true, nonSeekable: true } : { handle, directIo: true }
  }

  async read(context: CallContext, handle: Handle, offset: number, length: number): Promise<Uint8Array> {
    const { content, nonBlocking } = this.#opened(handle)
    if (!isStream(content)) return content.subarray(offset, offset + length)
    let bytes = content.take(length)
    while (bytes.length === 0 && length > 0 && !content.ended) {
      if (nonBlocking) throw new FsError('EAGAIN')
      await content.ready(context.signal)
      bytes = content.take(length)
    }
    return bytes
  }

  async write(context: CallContext, handle: Handle, data: Uint8Array): Promise<number> {
    const open = this.#opened(handle)
    const bytes = Buffer.concat([open.pending, data])
    const complete = bytes.lastIndexOf(NEWLINE) + 1
    if (bytes.length - complete > MAX_LINE_BYTES) {
      open.pending = NOTHING
      throw new FsError('EMSGSIZE', `a line in a control file has at most ${MAX_LINE_BYTES} bytes`)
    }
    open.pending = bytes.subarray(complete)
    await this.#apply(context, open.file, bytes.subarray(0, complete))
    return data.length
  }

  /** One close(2). Shells close duplicates of a descriptor before they write: then nothing is pending. */
  async flush(context: CallContext, handle: Handle): Promise<void> {
    const open = this.#opened(handle)
    const rest = open.pending
    open.pending = NOTHING
    await this.#apply(context, open.file, rest)
  }

  release(handle: Handle): void {
    const content = this.#open.get(handle)?.content
    if (content !== undefined && isStream(content)) content.close()
    this.#open.delete(handle)
  }

  openDirectory(node: NodeId): { handle: Handle } {
    if (!isDirectory(this.#entry(node).attributes.mode)) throw new FsError('ENOTDIR')
    return { handle: this.#nextHandle++ }
  }

  readDirectory(cookie: number, sink: DirectorySink): void {
    const names = ['.', '..', ...this.#files.map((file) => file.name)]
    for (let at = cookie; at < names.length; at++) {
      const name = names[at] ?? ''
      const entry = at >= 2 ? this.#entries[at - 1] : undefined
      const ino = entry?.node ?? (at === 0 ? CONTROL_NODES : ROOT_NODE)
      const type = direntType(entry?.attributes.mode ?? S_IFDIR)
      if (!sink.add({ name, ino, type, cookie: at + 1 }, entry)) return
    }
  }

  /** The mount is gone: whoever still reads a stream comes to its end. */
  close(): void {
    for (const handle of [...this.#open.keys()]) this.release(handle)
  }

  async #apply(context: CallContext, file: ControlFile, bytes: Uint8Array): Promise<void> {
    if (bytes.length === 0) return
    for (const line of decode(bytes).split('\n')) if (line !== '') await file.write?.(line, context)
  }

  #entry(node: NodeId): Entry {
    const entry = this.#entries[node - CONTROL_NODES]
    if (entry === undefined) throw new FsError('ESTALE')
    return entry
  }

  #opened(handle: Handle): OpenFile {
    const open = this.#open.get(handle)
    if (open === undefined) throw new FsError('EBADF')
    return open
  }
}

function modeOf(file: ControlFile): number {
  return file.mode ?? (file.read ? (file.write ? 0o644 : 0o444) : 0o200)
}

function entryOf({ owner, createdMs }: ControlTreeOptions, index: number, mode: number): Entry {
  const node = CONTROL_NODES + index
  const time = timespecFromMs(createdMs)
  const attributes: Attributes = {
    ino: node,
    mode,
    nlink: isDirectory(mode) ? 2 : 1,
    uid: owner.uid,
    gid: owner.gid,
    rdev: 0,
    size: 0,
    blocks: 0,
    blockSize: 4096,
    atime: time,
    mtime: time,
    ctime: time,
    btime: time,
  }
  return { node, generation: 1, attributes, nameTtlMs: TTL_MS, attributesTtlMs: TTL_MS }
}

function decode(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (cause) {
    throw new FsError('EILSEQ', 'control files take UTF-8', { cause })
  }
}
