// What all operations of one mount share, and the calls that several of them make.
import { randomBytes } from 'node:crypto'
import type { AttributeChanges } from '../../posix/attributes.ts'
import { FsError } from '../../posix/errors.ts'
import type { OpaqueAuth } from '../../rpc/onc/message.ts'
import type { Procedure } from '../../rpc/onc/program.ts'
import { cacheChannel, traceTime } from '../../trace/trace.ts'
import type { AttributesReply, Entry, Handle, NodeId } from '../../vfs/filesystem.ts'
import { type AppendFindings, addFindings, NO_FINDINGS } from './append-detector.ts'
import { ClientCaches } from './caches.ts'
import type { ClientLocks } from './client-locks.ts'
import { type Caller, failureOf, type NfsConnection } from './connection.ts'
import { CreateVerifiers } from './create-verifiers.ts'
import { FileWrites } from './file-writes.ts'
import type { Mounted } from './mount-protocol.ts'
import { NFS3, type Result } from './nfs3.ts'
import { sattr3Of } from './nfs3-attributes.ts'
import type { Fattr3 } from './nfs3-types.ts'
import { type NfsNode, NfsNodes } from './nodes.ts'
import { OpenFiles } from './open-files.ts'
import type { NfsOptions } from './options.ts'
import { SillyRenames } from './silly-rename.ts'
import type { NfsStatusName } from './status-map.ts'
import { WriteRoom } from './write-room.ts'

export interface OpenFile {
  readonly node: NfsNode
  /** Of who opened it. */
  readonly credential: OpaqueAuth
  readonly writes: boolean
  /** O_DIRECT: reads are of what the server has. */
  readonly direct: boolean
}

export interface ClientStateOptions {
  readonly connection: NfsConnection
  readonly mounted: Mounted
  readonly options: NfsOptions
  readonly now: () => number
}

interface AnyResult {
  readonly status: NfsStatusName
}

/** WRITEs of one file at once. Datagrams beyond what fits into the buffer of the server's socket are lost. */
const MAX_UNDER_WAY = { tcp: 16, udp: 2 } as const

const { GETATTR, SETATTR, LOOKUP } = NFS3.procedures

export class ClientState {
  readonly connection: NfsConnection
  readonly mounted: Mounted
  readonly options: NfsOptions
  readonly caches: ClientCaches
  readonly nodes: NfsNodes
  readonly room: WriteRoom
  /** Those that programs read from the kernel's pages. */
  readonly openFiles: OpenFiles
  readonly createVerifiers = new CreateVerifiers(randomBytes(CreateVerifiers.seedBytes))
  readonly silly = new SillyRenames({ counter: randomBytes(4).readUInt32LE() })
  readonly files = new Map<Handle, OpenFile>()
  /** Silly names that are being removed: a directory is empty only after that. */
  readonly removing = new Set<Promise<void>>()
  /** Directories that are being looked through (look-ahead.ts). */
  readonly sweeps = new Map<NodeId, Promise<void>>()
  /** Of all files of this mount. */
  appends = NO_FINDINGS
  /** Absent with `nolock`. */
  locks: ClientLocks | undefined
  #nextHandle = 1

  constructor({ connection, mounted, options, now }: ClientStateOptions) {
    this.connection = connection
    this.mounted = mounted
    this.room = new WriteRoom(connection.link.clock, connection.interruptions)
    this.options = options
    this.caches = new ClientCaches({ ...options, now, blockSize: mounted.writeBytes })
    this.nodes = new NfsNodes(mounted.handle, (node) => this.caches.forget(node))
    this.caches.learn(this.nodes.root, mounted.attributes, this.caches.request())
    this.openFiles = new OpenFiles({
      clock: { now, after: (ms, action) => connection.link.clock.after(ms, action) },
      remainingMs: ({ id }) => this.caches.attributes.ttlMs(id),
      ask: (node, credential) => this.revalidate(node, { credential }),
      limit: () => connection.limit,
      failedMs: options.attributeTimeouts.file.maxMs,
    })
    this.caches.onPagesStayed = (node) => this.openFiles.cached(node)
  }

  /** Attributes of files are never believed, so neither are pages. */
  get uncached(): boolean {
    return this.options.attributeTimeouts.file.minMs === 0
  }

  nextHandle(): Handle {
    return this.#nextHandle++
  }

  openFile(handle: Handle): OpenFile {
    const file = this.files.get(handle)
    if (file === undefined) throw new FsError('EBADF')
    return file
  }

  /** A call about a node: if the server does not know its handle any more, that is remembered. */
  async call<A, R extends AnyResult>(node: NfsNode, procedure: Procedure<A, R>, args: A, caller: Caller): Promise<R> {
    const result = await this.connection.call(procedure, args, caller)
    if (result.status === 'NFS3ERR_STALE' || result.status === 'NFS3ERR_BADHANDLE') this.caches.stale(node)
    return result
  }

  /** GETATTR (RFC 1813 §3.3.1). */
  async revalidate(node: NfsNode, caller: Caller): Promise<void> {
    const request = this.caches.request()
    const result = await this.call(node, GETATTR, { object: node.handle }, caller)
    if (result.status !== 'NFS3_OK') throw failureOf(result)
    this.caches.learn(node, result.attributes, request)
  }

  /** SETATTR (RFC 1813 §3.3.2). What a file that was just made still lacks is set along with it. */
  async setAttributes(node: NfsNode, changes: AttributeChanges, caller: Caller): Promise<void> {
    const { caches } = this
    const late = node.writes?.late
    const lacking = late?.take()
    const change = caches.begin(node)
    let result: Result<'SETATTR'> | undefined
    try {
      const all = lacking === undefined ? changes : { ...lacking, ...changes }
      const args = { object: node.handle, changes: sattr3Of(all), guard: undefined }
      result = await this.call(node, SETATTR, args, caller)
    } finally {
      if (lacking !== undefined) {
        if (result?.status === 'NFS3_OK') late?.given()
        else late?.put(lacking)
      }
      caches.end(node, change, result?.wcc)
    }
    if (result.status !== 'NFS3_OK') throw failureOf(result)
  }

  /** What is known of a node, by asking if nothing is. */
  async reply(node: NfsNode, caller: Caller): Promise<AttributesReply> {
    const known = this.caches.reply(node)
    if (known !== undefined) return known
    await this.revalidate(node, caller)
    return this.caches.reply(node) ?? staleReply()
  }

  /** The answer for a name that leads to `handle`. Counts a lookup. */
  async entry(parent: NfsNode, handle: Uint8Array, caller: Caller, learned: LearnedEntry): Promise<Entry> {
    const node = this.nodes.lookedUp(handle)
    try {
      this.caches.learn(node, learned.attributes, learned.request)
      return this.caches.entry(parent, node, await this.reply(node, caller))
    } catch (error) {
      this.nodes.forget(node.id, 1)
      throw error
    }
  }

  /** LOOKUP (RFC 1813 §3.3.3): the handle and its attributes, undefined if there is no such name. */
  async ask(parent: NfsNode, name: string, caller: Caller): Promise<FoundName | undefined> {
    const request = this.caches.request()
    const result = await this.call(parent, LOOKUP, { what: { dir: parent.handle, name } }, caller)
    this.caches.learn(parent, result.directory, request)
    if (result.status === 'NFS3_OK') {
      const { object, attributes, directory } = result
      return { object, attributes, directory, request }
    }
    if (result.status !== 'NFS3ERR_NOENT') throw failureOf(result)
    this.caches.found(parent, name, 0, result.directory, request)
    return undefined
  }

  /** The writes of a file that is opened for writing. */
  writesOf(node: NfsNode, credential: OpaqueAuth): FileWrites {
    node.writes ??= new FileWrites(credential, {
      node,
      connection: this.connection,
      caches: this.caches,
      room: this.room,
      writeBytes: this.mounted.writeBytes,
      maxUnderWay: MAX_UNDER_WAY[this.options.transport],
      setAttributes: (changes, caller) => this.setAttributes(node, changes, caller),
      onIdle: () => {
        if (node.writes?.isOver) node.writes = undefined
        this.nodes.collect(node)
      },
      onAppends: (found) => this.#appendsFailed(node, found),
    })
    return node.writes
  }

  #appendsFailed({ id: node }: NfsNode, found: AppendFindings): void {
    this.appends = addFindings(this.appends, found)
    if (!cacheChannel.hasSubscribers) return
    const { overwrittenBytes, holeBytes } = found
    const tell = (bytes: number, detail: string): void => {
      if (bytes > 0) cacheChannel.publish({ time: traceTime(), op: 'conflict', cache: 'size', node, bytes, detail })
    }
    tell(overwrittenBytes, 'of another client overwritten by an append')
    tell(holeBytes, 'missing before an append: another client had truncated the file')
  }
}

export interface LearnedEntry {
  readonly attributes: Fattr3 | undefined
  readonly request: ReturnType<ClientCaches['request']>
}

export interface FoundName extends LearnedEntry {
  readonly object: Buffer
  readonly directory: Fattr3 | undefined
}

function staleReply(): never {
  throw new FsError('ESTALE')
}
