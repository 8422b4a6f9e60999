// What a file system counts for an answer that the kernel never gets, the session gives back: lookups and handles.
import { constants } from 'node:os'
import { describe, expect, it } from 'vitest'
import * as P from '../../../src/fuse/protocol.ts'
import type { Attributes } from '../../../src/posix/attributes.ts'
import { EPOCH } from '../../../src/posix/attributes.ts'
import { FsError } from '../../../src/posix/errors.ts'
import { O_RDWR, O_TRUNC } from '../../../src/posix/mode.ts'
import { chain } from '../../../src/vfs/awaitable.ts'
import type { Awaitable, Entry, FileSystem, Opened } from '../../../src/vfs/filesystem.ts'
import { KernelSide, text } from './kernel-side.ts'

const { EIO, ENOSPC } = constants.errno
const attributes: Attributes = {
  ino: 9,
  mode: 0o100644,
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
}

/** Counts what it gives out; node 9 always has another backing file than before, which the session refuses. */
class Counting {
  lookups = 0
  readonly open = new Set<number>()
  readonly fileSystem: Partial<FileSystem>
  #handle = 0

  /** `later`: answers come as promises. */
  constructor(later: boolean, more: Partial<FileSystem> = {}) {
    const answer = <T>(value: T): Awaitable<T> => (later ? Promise.resolve(value) : value)
    const created = () => answer({ entry: this.entry(), opened: this.#opened() })
    this.fileSystem = {
      lookup: () => answer(this.entry()),
      forget: (_node, count) => {
        this.lookups -= count
      },
      open: () => answer(this.#opened()),
      create: created,
      createTemporary: created,
      release: (handle) => {
        if (!this.open.delete(handle)) throw new FsError('EBADF')
      },
      openDirectory: () => answer({ handle: this.#take() }),
      releaseDirectory: (handle) => void this.open.delete(handle),
      ...more,
    }
  }

  entry(mode = attributes.mode): Entry {
    this.lookups++
    return { node: 9, generation: 1, attributes: { ...attributes, mode }, nameTtlMs: 0, attributesTtlMs: 0 }
  }

  #opened(): Opened {
    return { handle: this.#take(), backing: { fd: 3, key: {} } }
  }

  #take(): number {
    this.open.add(++this.#handle)
    return this.#handle
  }
}

const turn = () => new Promise(setImmediate)

async function answered(kernel: KernelSide, opcode: number, node: number, ...body: Uint8Array[]): Promise<number> {
  const unique = kernel.send(opcode, node, ...body)
  await turn()
  return kernel.answers.find((answer) => answer.unique === unique)?.errno ?? -1
}

const flags = (openFlags = 0) => P.OpenIn.encode({ flags: O_RDWR | O_TRUNC, openFlags })
const create = P.CreateIn.encode({ flags: O_RDWR, mode: 0o644 })

describe.each([false, true])('an answer that comes later: %s', (later) => {
  function initialized(counting: Counting): KernelSide {
    const kernel = new KernelSide(counting.fileSystem)
    kernel.initialize()
    return kernel
  }

  it('OPEN that the session refuses closes the handle again', async () => {
    const counting = new Counting(later)
    const kernel = initialized(counting)
    expect(await answered(kernel, 14, 9, flags())).toBe(0)
    expect(await answered(kernel, 14, 9, flags())).toBe(EIO)
    expect(counting.open).toEqual(new Set([1]))
    expect(await answered(kernel, 18, 9, P.ReleaseIn.encode({ handle: 1 }))).toBe(0)
    expect(kernel.errors).toEqual([])
  })

  it.each([
    ['CREATE', 35],
    ['TMPFILE', 51],
  ])('%s that the session refuses closes the handle and forgets the node', async (_name, opcode) => {
    const counting = new Counting(later)
    const kernel = initialized(counting)
    expect(await answered(kernel, opcode, 1, create, text('a'))).toBe(0)
    expect([counting.lookups, counting.open.size]).toEqual([1, 1])
    expect(await answered(kernel, opcode, 1, create, text('b'))).toBe(EIO)
    expect([counting.lookups, counting.open]).toEqual([1, new Set([1])])
    expect(kernel.errors).toEqual([])
  })

  it('OPEN whose set-id bits cannot be cleared closes the handle again', async () => {
    const counting = new Counting(later, {
      setAttributes: () => {
        if (later) return Promise.reject(new FsError('ENOSPC'))
        throw new FsError('ENOSPC')
      },
    })
    const kernel = initialized(counting)
    expect(await answered(kernel, 14, 9, flags(P.FUSE_OPEN_KILL_SUIDGID))).toBe(ENOSPC)
    expect(counting.open.size).toBe(0)
  })

  it('entries and directory handles that cannot be encoded', async () => {
    const counting = new Counting(later)
    const { openDirectory } = counting.fileSystem as FileSystem
    const unfit = (): never => {
      throw new TypeError('a defect')
    }
    const kernel = new KernelSide({
      ...counting.fileSystem,
      lookup: () => ({ ...counting.entry(), generation: Symbol('unfit') as unknown as number }),
      openDirectory: (...args) =>
        chain(openDirectory(...args), (opened) => Object.defineProperty(opened, 'keepCache', { get: unfit })),
    })
    kernel.initialize()
    expect(await answered(kernel, 1, 1, text('a'))).toBe(EIO)
    expect(await answered(kernel, 27, 1, P.OpenIn.encode({}))).toBe(EIO)
    expect([counting.lookups, counting.open.size]).toEqual([0, 0])
    expect(kernel.errors).toHaveLength(2)
  })

  it('READDIRPLUS that fails in the middle forgets the entries that it took', async () => {
    const counting = new Counting(later)
    const kernel = new KernelSide({
      ...counting.fileSystem,
      readDirectory: (_context, _handle, _cookie, sink) => {
        sink.add({ name: '.', ino: 1, type: 4, cookie: 1 })
        sink.add({ name: 'one', ino: 9, type: 8, cookie: 2 }, counting.entry())
        sink.add({ name: 'another', ino: 9, type: 8, cookie: 3 }, counting.entry())
        if (later) return Promise.reject(new FsError('EIO'))
        throw new FsError('EIO')
      },
    })
    kernel.initialize()
    expect(await answered(kernel, 44, 1, P.TransferIn.encode({ handle: 1, size: 4096 }))).toBe(EIO)
    expect(counting.lookups).toBe(0)
    expect(kernel.errors).toEqual([])
  })

  it('a failure to give back is logged, and the answer is the first error', async () => {
    const counting = new Counting(later, {
      release: () => {
        if (later) return Promise.reject(new TypeError('a defect'))
        throw new TypeError('a defect')
      },
    })
    const kernel = initialized(counting)
    await answered(kernel, 14, 9, flags())
    expect(await answered(kernel, 14, 9, flags())).toBe(EIO)
    expect(kernel.errors.map(({ message }) => message)).toEqual(['a defect'])
  })
})
