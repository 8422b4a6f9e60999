// The native half of npm fuse-native 2.2.6: libfuse 2 calls back by path, each call on a thread that waits for its
// answer. The JavaScript half is left out, because it
//  - drops the handle of fgetattr and so stats an open file by a name that may be gone,
//  - answers getxattr and listxattr with more bytes than the caller's buffer has, from beyond its end,
//  - gives up with ETIMEDOUT after 15 s,
//  - knows few mount options and drops those that are 0,
//  - unmounts only lazily, under the programs that use the mount.
import { readdirSync, readlinkSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname } from 'node:path'
import { FsError } from '../posix/errors.ts'
import { type Answer, type Argument, CALLS, type Call, type CallName, type PortableCalls } from './portable-calls.ts'

export interface PortableMount {
  /** Absolute, without symbolic links. */
  readonly target: string
  /** As `mount -o` takes them. */
  readonly options: string
  readonly calls: PortableCalls
  /** A defect: the caller gets EIO. */
  readonly onError: (error: Error) => void
  /** A call was answered. `began`: performance.now() then. */
  readonly onServed: (call: Call, args: readonly Argument[], began: number, error?: FsError) => void
}

/** A connection that libfuse serves. */
export interface PortableConnection {
  /** Whether libfuse still listens. It may answer calls in progress a little longer. */
  readonly open: boolean
  /** Calls that wait for an answer. */
  readonly waiting: number
  /** Lets go of the event loop, which the connection keeps alive; for when it is over. */
  unref(): void
}

/** `record` is the calling thread's state; the answer names it. */
type Handler = (record: Buffer, operation: number, ...args: Argument[]) => void
type Signal = (record: Buffer, ...answer: Answer) => void

interface Binding {
  readonly [numberOrSignal: `op_${string}` | `fuse_native_signal_${string}`]: unknown
  readonly sizeof_fuse_thread_t: number
  fuse_native_mount(
    target: string,
    options: string,
    thread: Buffer,
    self: object,
    allocate: (bytes: number) => Buffer,
    handlers: readonly (Handler | undefined)[],
    implemented: Uint32Array,
  ): void
  fuse_native_unmount(target: string, thread: Buffer): void
}

/** Length of the native arrays for target and options, with the NUL. */
const TEXT_BYTES = 1024
/** Length of the native array of handlers. */
const HANDLERS = 35

/** Mounting failed. libfuse has said why on standard error. */
export class PortableMountError extends Error {
  /** The kernel has mounted already, and nobody serves the mount. */
  readonly mounted: boolean

  constructor(target: string, mounted: boolean, cause: unknown) {
    super(`libfuse could not mount on ${target}: its own message says why`, { cause })
    this.mounted = mounted
  }
}

/** Mounts. PortableMountError, or an error that says what is missing. */
export function connect(mount: PortableMount): PortableConnection {
  for (const text of [mount.target, mount.options]) {
    if (Buffer.byteLength(text) + '-o'.length >= TEXT_BYTES) throw new FsError('ENAMETOOLONG', `${text.slice(0, 60)}…`)
  }
  const binding = loadBinding()
  const server = new Server(mount)
  const handlers: (Handler | undefined)[] = Array(HANDLERS).fill(undefined)
  const implemented = new Uint32Array(HANDLERS)
  for (const name of Object.keys(CALLS) as CallName[]) {
    const number = binding[`op_${name}`] as number
    handlers[number] = server.handler(name, binding[`fuse_native_signal_${name}`] as Signal)
    implemented[number] = 1
  }
  // Native threads use this memory as long as the process lives: the binding holds on to `self`, and `self` to it.
  const thread = Buffer.alloc(binding.sizeof_fuse_thread_t)
  const self = { thread }
  const before = fuseDescriptors()
  const newDescriptor = () => [...fuseDescriptors()].find((fd) => !before.has(fd))
  try {
    binding.fuse_native_mount(mount.target, `-o${mount.options}`, thread, self, Buffer.alloc, handlers, implemented)
  } catch (cause) {
    throw new PortableMountError(mount.target, newDescriptor() !== undefined, cause)
  }
  const device = newDescriptor()
  return {
    get open() {
      return device !== undefined && fuseDescriptors().has(device)
    },
    get waiting() {
      return server.waiting
    },
    unref: () => binding.fuse_native_unmount(mount.target, thread),
  }
}

class Server {
  readonly #mount: PortableMount
  waiting = 0

  constructor(mount: PortableMount) {
    this.#mount = mount
  }

  /** The function that the binding calls. It never throws: the calling thread would wait for ever. */
  handler(name: CallName, signal: Signal): Handler {
    const call = CALLS[name]
    const { calls, onServed } = this.#mount
    return async (record, _operation, ...args) => {
      const began = performance.now()
      this.waiting++
      if (name === 'utimens') restoreMtime(record, args)
      let answer: Answer
      let failure: FsError | undefined
      try {
        answer = await call.answer(calls, ...args)
      } catch (error) {
        failure = this.#failure(error)
        answer = [-failure.errno, ...call.withError(...args)]
      }
      this.waiting--
      try {
        signal(record, ...answer)
      } catch (error) {
        // The file system returned something that is no answer. The thread still waits.
        failure = this.#failure(new TypeError(`not an answer to ${call.operation}`, { cause: error }))
        signal(record, -failure.errno, ...call.withError(...args))
      }
      onServed(call, args, began, failure)
    }
  }

  /** The error to answer: anything but an FsError is a defect. */
  #failure(error: unknown): FsError {
    const failure = FsError.from(error)
    if (failure !== error) this.#mount.onError(error instanceof Error ? error : failure)
    return failure
  }
}

/** Where a thread's record (fuse_thread_locals_t, LP64) has the times of utimens, in milliseconds. */
const RECORD_ATIME = 104
const RECORD_MTIME = 112

/** The binding passes atime twice. If the record is laid out as it should be, mtime is in it. */
function restoreMtime(record: Buffer, args: Argument[]): void {
  const [, low, high] = args
  if (record.readUInt32LE(RECORD_ATIME) !== low || record.readUInt32LE(RECORD_ATIME + 4) !== high) return
  args[3] = record.readUInt32LE(RECORD_MTIME)
  args[4] = record.readUInt32LE(RECORD_MTIME + 4)
}

function loadBinding(): Binding {
  const here = createRequire(import.meta.url)
  const fuseNative = here.resolve('fuse-native')
  try {
    return createRequire(fuseNative)('node-gyp-build')(dirname(fuseNative)) as Binding
  } catch (cause) {
    throw new Error('the portable driver needs libfuse 2 (Debian: apt install libfuse2)', { cause })
  }
}

/** Descriptors of /dev/fuse in this process. */
function fuseDescriptors(): Set<string> {
  const isDevice = (fd: string): boolean => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`) === '/dev/fuse'
    } catch {
      return false // Closed since it was listed, as the one that lists them is.
    }
  }
  return new Set(readdirSync('/proc/self/fd').filter(isDevice))
}
