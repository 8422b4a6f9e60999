// A file system for tests of wrappers: one root with one file `note`, and a list of the calls that reached it.
import { type Attributes, EPOCH } from '../../../src/posix/attributes.ts'
import type { CallContext, DirectoryEntry, DirectorySink, Entry, FileSystem } from '../../../src/vfs/filesystem.ts'

export const NOTE_NODE = 2

const attributes = (ino: number, mode: number): Attributes => ({
  ino,
  mode,
  nlink: 1,
  uid: 0,
  gid: 0,
  rdev: 0,
  size: 0,
  blocks: 0,
  blockSize: 4096,
  atime: EPOCH,
  mtime: EPOCH,
  ctime: EPOCH,
  btime: EPOCH,
})

export function noteEntry(): Entry {
  return {
    node: NOTE_NODE,
    generation: 1,
    attributes: attributes(NOTE_NODE, 0o100644),
    nameTtlMs: 0,
    attributesTtlMs: 0,
  }
}

/** Methods that take a context get it as the first argument; `calls` has the method and the other arguments. */
export class RecordedFileSystem implements FileSystem {
  readonly calls: [method: string, ...args: unknown[]][] = []
  readonly #opened = { handle: 7 }

  lookup = (_: CallContext, ...args: unknown[]) => this.#answer('lookup', args, noteEntry())
  forget = (...args: unknown[]) => this.#answer('forget', args, undefined)
  getAttributes = (_: CallContext, ...args: unknown[]) => this.#answer('getAttributes', args, this.#attributes())
  setAttributes = (_: CallContext, ...args: unknown[]) => this.#answer('setAttributes', args, this.#attributes())
  readlink = (_: CallContext, ...args: unknown[]) => this.#answer('readlink', args, 'target')
  makeNode = (_: CallContext, ...args: unknown[]) => this.#answer('makeNode', args, noteEntry())
  makeDirectory = (_: CallContext, ...args: unknown[]) => this.#answer('makeDirectory', args, noteEntry())
  makeSymlink = (_: CallContext, ...args: unknown[]) => this.#answer('makeSymlink', args, noteEntry())
  link = (_: CallContext, ...args: unknown[]) => this.#answer('link', args, noteEntry())
  unlink = (_: CallContext, ...args: unknown[]) => this.#answer('unlink', args, undefined)
  removeDirectory = (_: CallContext, ...args: unknown[]) => this.#answer('removeDirectory', args, undefined)
  rename = (_: CallContext, ...args: unknown[]) => this.#answer('rename', args, undefined)
  open = (_: CallContext, ...args: unknown[]) => this.#answer('open', args, this.#opened)
  create = (_: CallContext, ...args: unknown[]) =>
    this.#answer('create', args, { entry: noteEntry(), opened: this.#opened })
  read = (_: CallContext, ...args: unknown[]) => this.#answer('read', args, Buffer.from('text'))
  write = (_: CallContext, ...args: unknown[]) => this.#answer('write', args, 4)
  flush = (_: CallContext, ...args: unknown[]) => this.#answer('flush', args, undefined)
  release = (...args: unknown[]) => this.#answer('release', args, undefined)
  fsync = (_: CallContext, ...args: unknown[]) => this.#answer('fsync', args, undefined)
  openDirectory = (_: CallContext, ...args: unknown[]) => this.#answer('openDirectory', args, this.#opened)
  readDirectory = (_: CallContext, handle: number, cookie: number, sink: DirectorySink) => {
    sink.add({ name: 'note', ino: NOTE_NODE, type: 8, cookie: 1 })
    return this.#answer('readDirectory', [handle, cookie], undefined)
  }
  releaseDirectory = (...args: unknown[]) => this.#answer('releaseDirectory', args, undefined)
  fsyncDirectory = (_: CallContext, ...args: unknown[]) => this.#answer('fsyncDirectory', args, undefined)
  statfs = (_: CallContext, ...args: unknown[]) =>
    this.#answer('statfs', args, {
      blockSize: 4096,
      blocks: 1,
      freeBlocks: 1,
      availableBlocks: 1,
      files: 1,
      freeFiles: 1,
      nameMax: 255,
    })

  #attributes() {
    return { attributes: attributes(NOTE_NODE, 0o100644), attributesTtlMs: 0 }
  }

  #answer<T>(method: string, args: unknown[], result: T): T {
    this.calls.push([method, ...args])
    return result
  }
}

/** Keeps what it is given, up to `room` entries. */
export class ListingSink implements DirectorySink {
  readonly wantsEntries = true
  readonly entries: DirectoryEntry[] = []
  readonly full: (Entry | undefined)[] = []
  readonly #room: number

  constructor(room = Number.POSITIVE_INFINITY) {
    this.#room = room
  }

  add(entry: DirectoryEntry, full?: Entry): boolean {
    if (this.entries.length >= this.#room) return false
    this.entries.push(entry)
    this.full.push(full)
    return true
  }
}

export function callContext(uid = 0, signal: AbortSignal = new AbortController().signal): CallContext {
  return { uid, gid: uid, pid: 4711, signal }
}
