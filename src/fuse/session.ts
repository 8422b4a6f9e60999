// The kernel boundary: request bytes in, a call on the FileSystem, reply bytes out. It knows no device: whoever owns
// one passes requests in and sends what comes out, so recorded requests are unit tests.
import { DecodeError } from '../codec/errors.ts'
import { viewOf } from '../codec/record.ts'
import { EncodingError } from '../codec/text.ts'
import type { FuseDevice } from '../host/addon.ts'
import { BufferPool } from '../host/buffer-pool.ts'
import { type ErrnoName, FsError } from '../posix/errors.ts'
import type { Awaitable, FileSystem, ReadResult } from '../vfs/filesystem.ts'
import { BackingFiles } from './backing.ts'
import { type Agreement, MAX_TRANSFER, negotiate, type Wishes } from './init.ts'
import type { Operation } from './operation.ts'
import { OPERATIONS } from './operations.ts'
import * as P from './protocol.ts'
import { HEADER_BYTES, Reply } from './reply.ts'
import { Request } from './request.ts'

/** What the session needs of the device. */
export type SessionDevice = Pick<
  FuseDevice,
  'reply' | 'answer' | 'replyFromFile' | 'openBacking' | 'closeBacking' | 'setRequestBuffer'
>

/** A request's bytes: 1 MiB of data, a page for headers and names. */
export const REQUEST_BYTES = MAX_TRANSFER + 4096
/** Request buffers that are kept for the next writes: a file system may keep the data of many, and give it back at once. */
const SPARE_BUFFERS = 64
export const REPLY_BYTES = 128 * 1024

/** One served request, for those who watch (trace, statistics). */
export interface Served {
  readonly operation: string
  readonly request: Request
  /** Duration in microseconds. */
  readonly us: number
  readonly error?: ErrnoName
}

export interface SessionOptions {
  readonly fileSystem: FileSystem
  readonly device: SessionDevice
  /** Replies are built here; at least REPLY_BYTES. */
  readonly replyBytes: Buffer
  readonly wishes: Wishes
  /** INIT is agreed upon. */
  readonly onInitialized: (agreement: Agreement) => void
  /** Something went wrong that the caller only sees as EIO. */
  readonly onError: (error: Error) => void
  /** Watches requests; asked before each one, since watching costs. */
  readonly watch?: () => ((served: Served) => void) | undefined
}

/** A request whose answer is a promise. */
interface Later {
  readonly result: Promise<unknown>
  readonly bytes: Buffer
  readonly began: number
}

export class Session {
  readonly fileSystem: FileSystem
  readonly reply: Reply
  backing: BackingFiles
  /** The request in work: its bytes are valid until the operation's `call` returns. */
  bytes: Buffer = Buffer.alloc(0)
  view: DataView = viewOf(this.bytes)

  /** Views of the arguments and results that come often, made once. */
  readonly in = {
    header: new P.InHeader(),
    forget: new P.ForgetIn(),
    getattr: new P.GetattrIn(),
    setattr: new P.SetattrIn(),
    open: new P.OpenIn(),
    create: new P.CreateIn(),
    transfer: new P.TransferIn(),
    flush: new P.FlushIn(),
    release: new P.ReleaseIn(),
  }
  readonly out = { write: new P.WriteOut() }

  readonly #options: SessionOptions
  readonly #device: SessionDevice
  /** Requests whose answer is a promise: those that an INTERRUPT can reach. Each knows its place. */
  readonly #waiting: Request[] = []
  readonly #buffers = new BufferPool({ bytes: REQUEST_BYTES, spare: SPARE_BUFFERS })
  /** How many need a request's bytes when another request comes. */
  readonly #keepers = new WeakMap<Buffer, number>()
  #initialized = false

  constructor(options: SessionOptions) {
    this.#options = options
    this.#device = options.device
    this.fileSystem = options.fileSystem
    this.reply = new Reply(options.replyBytes)
    this.backing = new BackingFiles(options.device, false, options.onError)
    this.useBuffer(this.#buffers.take(REQUEST_BYTES))
  }

  /** Number of requests that wait for an answer of the file system. */
  get waiting(): number {
    return this.#waiting.length
  }

  /** Serves the request in the current buffer. Returns the length of the reply in `replyBytes`, or 0: none now. */
  receive(length: number): number {
    const header = this.in.header.at(this.view, 0)
    const { opcode, unique, node, uid, gid, pid } = header
    const end = header.length - header.extensionWords * 8
    const operation = OPERATIONS.get(opcode)
    const request = new Request(opcode, unique, node, uid, gid, pid, end)
    const watch = this.#options.watch?.()
    const began = watch === undefined ? 0 : performance.now()
    try {
      if (header.length !== length || end < P.InHeader.size)
        throw new DecodeError('a request of another length than announced')
      if (operation === undefined || (!this.#initialized && operation.name !== 'INIT')) throw new FsError('ENOSYS')
      const { bytes } = this
      const result = operation.call(this, request)
      if (result instanceof Promise) {
        this.#answerLater(operation, request, { result, bytes, began })
        return 0
      }
      watch?.({ operation: operation.name, request, us: (performance.now() - began) * 1000 })
      return operation.silent ? 0 : this.#finish(operation, request, result)
    } catch (error) {
      const failure = this.#failure(error)
      watch?.({
        operation: operation?.name ?? String(opcode),
        request,
        us: (performance.now() - began) * 1000,
        error: failure.code,
      })
      return operation?.silent ? 0 : this.reply.finish(unique, HEADER_BYTES, failure.errno)
    }
  }

  #finish(operation: Operation, request: Request, result: unknown): number {
    let length: number
    try {
      length = operation.encode(this, result, request)
    } catch (error) {
      operation.giveBack?.(this, result)
      throw error
    }
    if (length < 0) return this.reply.finish(request.unique, HEADER_BYTES, -length)
    return length === 0 ? 0 : this.reply.finish(request.unique, length)
  }

  #answerLater(operation: Operation, request: Request, { result, bytes, began }: Later): void {
    const release = operation.keepsBytes ? this.keep(bytes) : undefined
    request.place = this.#waiting.push(request) - 1
    const settle = (length: number, error?: ErrnoName) => {
      this.#settled(request)
      release?.()
      const watch = this.#options.watch?.()
      watch?.({
        operation: operation.name,
        request,
        us: (performance.now() - began) * 1000,
        ...(error ? { error } : {}),
      })
      if (length > 0 && !operation.silent) this.#device.answer(length)
    }
    const fail = (error: unknown) => {
      const failure = this.#failure(error)
      settle(this.reply.finish(request.unique, HEADER_BYTES, failure.errno), failure.code)
    }
    result.then((value) => {
      let length: number
      try {
        length = this.#finish(operation, request, value)
      } catch (error) {
        fail(error)
        return
      }
      settle(length)
    }, fail)
  }

  /** The request does not wait any more: the last one takes its place. */
  #settled({ place }: Request): void {
    const last = this.#waiting.pop() as Request
    if (last.place === place) return
    last.place = place
    this.#waiting[place] = last
  }

  /**
   * The next request does not overwrite these bytes of one, until what this returns is called. If it never is, they are
   * garbage when nobody refers to them.
   */
  keep(bytes: Buffer): () => void {
    this.#keepers.set(bytes, (this.#keepers.get(bytes) ?? 0) + 1)
    if (bytes === this.bytes) this.useBuffer(this.#buffers.take(REQUEST_BYTES))
    let keeps = true
    return () => {
      if (!keeps) return
      keeps = false
      const left = (this.#keepers.get(bytes) ?? 1) - 1
      this.#keepers.set(bytes, left)
      if (left === 0) this.#buffers.give(bytes)
    }
  }

  /** Gives something back to the file system. Nobody waits for that: a failure is only logged. */
  giveBack(call: () => Awaitable<void>): void {
    const { onError } = this.#options
    try {
      const result = call()
      if (result instanceof Promise) result.catch(onError)
    } catch (error) {
      onError(error instanceof Error ? error : FsError.from(error))
    }
  }

  /** The error to answer: anything but an FsError or a malformed request is a defect, logged and answered EIO. */
  #failure(error: unknown): FsError {
    if (error instanceof FsError) return error
    if (error instanceof EncodingError) return new FsError('EILSEQ')
    if (error instanceof DecodeError) return new FsError('EINVAL')
    const failure = FsError.from(error)
    this.#options.onError(error instanceof Error ? error : failure)
    return failure
  }

  send(message: Uint8Array): void {
    this.#device.reply(message)
  }

  /** Sends what a READ found: from memory, or from a file without passing through here. */
  sendData(request: Request, result: ReadResult): number {
    if (result instanceof Uint8Array) {
      this.#sendBytes(request, result)
    } else if ('bytes' in result) {
      // The kernel has its copy when this returns, or nobody wants one any more.
      try {
        this.#sendBytes(request, result.bytes)
      } finally {
        result.release()
      }
    } else {
      this.#device.replyFromFile(BigInt(request.unique), result.fd, result.offset, result.length, () => undefined)
    }
    return 0
  }

  #sendBytes(request: Request, bytes: Uint8Array): void {
    this.reply.finish(request.unique, HEADER_BYTES + bytes.length)
    this.#device.reply(this.reply.bytes.subarray(0, HEADER_BYTES), bytes)
  }

  /**
   * INTERRUPT. The kernel queues it when it has let us read the request that it is about: that one waits now, or has been
   * answered and is not here any more.
   */
  interrupt(unique: number): void {
    this.#waiting.find((request) => request.unique === unique)?.interrupt()
  }

  /** The mount is gone, and nobody waits any more: interrupts every call that is still in progress. */
  close(): void {
    for (const request of [...this.#waiting]) request.interrupt()
  }

  /** Receives the next request into `bytes`. */
  useBuffer(bytes: Buffer): void {
    this.bytes = bytes
    this.view = viewOf(bytes)
    this.#device.setRequestBuffer(bytes)
  }

  initialize(): { agreement: Agreement | null; major: number } {
    const { major, minor, maxReadahead, flags } = new P.InitIn().at(this.view, P.InHeader.size)
    if (major > P.FUSE_MAJOR) return { agreement: null, major }
    const extended = (BigInt(flags) & P.INIT.INIT_EXT) !== 0n
    const high = extended ? new P.InitInExtended().at(this.view, P.InHeader.size).flags2 : 0
    const offer = { major, minor, flags: BigInt(flags) | (BigInt(high) << 32n), maxReadahead }
    const agreement = major < P.FUSE_MAJOR ? null : negotiate(offer, this.#options.wishes)
    if (agreement === null)
      throw new FsError('EPROTO', `the kernel speaks FUSE ${major}.${minor}: 7.${P.FUSE_MINOR_MIN} is needed`)
    this.backing = new BackingFiles(this.#device, agreement.passthrough, this.#options.onError)
    this.#initialized = true
    this.#options.onInitialized(agreement)
    return { agreement, major }
  }

  /** With a kernel of a later major version only our major is said; it then asks again in our version. */
  putInit({ agreement }: { agreement: Agreement | null; major: number }): number {
    const end = HEADER_BYTES + P.InitOut.size
    this.reply.bytes.fill(0, HEADER_BYTES, end)
    const out = new P.InitOut().at(this.reply.view, HEADER_BYTES)
    out.major = P.FUSE_MAJOR
    out.minor = P.FUSE_MINOR
    if (agreement === null) return end
    Object.assign(out, {
      minor: agreement.minor,
      maxReadahead: agreement.maxReadahead,
      flags: Number(agreement.flags & 0xffff_ffffn),
      flags2: Number(agreement.flags >> 32n),
      maxBackground: 64,
      congestionThreshold: 48,
      maxWrite: agreement.maxWrite,
      timeGranularity: 1,
      maxPages: agreement.maxPages,
      maxStackDepth: agreement.passthrough ? 1 : 0,
    })
    return end
  }
}
