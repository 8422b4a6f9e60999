import { constants } from 'node:os'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { viewOf } from '../../../src/codec/record.ts'
import { OPERATIONS } from '../../../src/fuse/operations.ts'
import * as P from '../../../src/fuse/protocol.ts'
import type { Attributes } from '../../../src/posix/attributes.ts'
import { FsError } from '../../../src/posix/errors.ts'
import type { CallContext, FileSystem, LockRequest } from '../../../src/vfs/filesystem.ts'
import { KernelSide, text } from './kernel-side.ts'

const { ENOENT, ENOSYS, EIO, EINTR, EINVAL, EILSEQ, ERANGE, ENOTTY } = constants.errno
const at = (sec: number, nsec: number) => ({ sec, nsec })
const attributes: Attributes = {
  ino: 7,
  mode: 0o100640,
  nlink: 2,
  uid: 1,
  gid: 2,
  rdev: 0x0801,
  size: 2 ** 40 + 3,
  blocks: 8,
  blockSize: 4096,
  atime: at(1, 2),
  mtime: at(-3, 4),
  ctime: at(5, 6),
  btime: at(7, 8),
}
const entry = { node: 9, generation: 3, attributes, nameTtlMs: 1500, attributesTtlMs: Number.POSITIVE_INFINITY }

function initialized(fileSystem: Partial<FileSystem>): KernelSide {
  const kernel = new KernelSide(fileSystem)
  kernel.initialize()
  return kernel
}

describe('INIT', () => {
  it('grants what was offered and wanted, and nothing else', () => {
    const { errno, body } = new KernelSide({}).initialize()
    const out = new P.InitOut().at(viewOf(body), 0)
    expect([errno, out.major, out.minor, out.maxWrite, out.maxPages, out.maxStackDepth]).toEqual([
      0,
      7,
      45,
      1 << 20,
      256,
      1,
    ])
    const flags = BigInt(out.flags) | (BigInt(out.flags2) << 32n)
    expect(flags & P.INIT.PASSTHROUGH).not.toBe(0n)
    expect(flags & P.INIT.WRITEBACK_CACHE).toBe(0n)
  })

  it('falls back on an older kernel and refuses one that is too old', () => {
    const out = new P.InitOut().at(viewOf(new KernelSide({}).initialize({ minor: 36, flags2: 0 }).body), 0)
    expect([out.minor, out.flags2, out.maxStackDepth]).toEqual([36, 0, 0])
    expect(new KernelSide({}).initialize({ minor: 12 }).errno).toBe(constants.errno.EPROTO)
  })

  it('answers a later major version with its own, and the rest before INIT with ENOSYS', () => {
    const kernel = new KernelSide({})
    expect(new P.InitOut().at(viewOf(kernel.initialize({ major: 8 }).body), 0).major).toBe(7)
    expect(kernel.ask(17, 1).errno).toBe(ENOSYS)
  })
})

describe('requests', () => {
  it('LOOKUP: the name and the caller reach the file system, the entry comes back', () => {
    const seen: unknown[] = []
    const kernel = initialized({
      lookup: ({ uid, gid, pid }: CallContext, parent, name) => {
        seen.push([uid, gid, pid, parent, name])
        return entry
      },
    })
    const { errno, body } = kernel.ask(1, 5, text('naïve'))
    expect(seen).toEqual([[1000, 100, 42, 5, 'naïve']])
    const out = new P.EntryOut().at(viewOf(body), 0)
    expect(errno).toBe(0)
    expect([out.node, out.generation, out.nameValid, out.nameValidNsec]).toEqual([9, 3, 1, 500_000_000])
    expect([out.attributesValid, out.ino, out.size, out.mtime, out.mtimeNsec]).toEqual([1e9, 7, 2 ** 40 + 3, -3, 4])
  })

  it('LOOKUP of an absent name: node 0 says how long that stays true; ENOENT says nothing', () => {
    const absent = initialized({ lookup: () => ({ node: 0, nameTtlMs: 2000 }) }).ask(1, 1, text('x'))
    const out = new P.EntryOut().at(viewOf(absent.body), 0)
    expect([absent.errno, out.node, out.nameValid, out.ino]).toEqual([0, 0, 2, 0])
    const refused = initialized({
      lookup: () => {
        throw new FsError('ENOENT')
      },
    })
    expect(refused.ask(1, 1, text('x')).errno).toBe(ENOENT)
  })

  it('SETATTR: only what the kernel marks as valid', () => {
    const seen: unknown[] = []
    const kernel = initialized({
      setAttributes: (_context, node, changes, handle) => {
        seen.push(node, changes, handle)
        return { attributes, attributesTtlMs: 0 }
      },
    })
    const { SIZE, MTIME, ATIME, ATIME_NOW, HANDLE, KILL_SUIDGID } = P.FATTR
    const valid = SIZE | MTIME | ATIME | ATIME_NOW | HANDLE | KILL_SUIDGID
    kernel.ask(4, 5, P.SetattrIn.encode({ valid, size: 10, mtime: -1, mtimeNsec: 5, handle: 77, mode: 0o777, uid: 4 }))
    expect(seen).toEqual([5, { size: 10, atime: 'now', mtime: at(-1, 5), clearSetId: true }, 77])
  })

  it('RENAME2 and SYMLINK: two names', () => {
    const seen: unknown[] = []
    const kernel = initialized({
      rename: (_context, renaming) => void seen.push(renaming),
      makeSymlink: (_context, parent, name, target) => {
        seen.push([parent, name, target])
        return entry
      },
    })
    expect(kernel.ask(45, 5, P.Rename2In.encode({ newParent: 6, flags: 2 }), text('a', 'b')).errno).toBe(0)
    expect(kernel.ask(6, 5, text('link', '../target')).errno).toBe(0)
    expect(seen).toEqual([{ parent: 5, name: 'a', newParent: 6, newName: 'b', flags: 2 }, [5, 'link', '../target']])
  })

  it('READ and WRITE: data, offsets, and a range of a file', async () => {
    const written: unknown[] = []
    const kernel = initialized({
      read: (_context, handle, offset) =>
        handle === 1 ? Buffer.from('hello').subarray(offset) : { fd: 9, offset, length: 4 },
      write: async (_context, handle, offset, data) => {
        await null
        written.push([handle, offset, Buffer.from(data).toString()])
        return data.length
      },
    })
    expect(kernel.ask(15, 5, P.TransferIn.encode({ handle: 1, offset: 1, size: 100 })).body.toString()).toBe('ello')
    kernel.send(15, 5, P.TransferIn.encode({ handle: 2, offset: 8, size: 4 }))
    expect(kernel.fileReplies).toMatchObject([{ fd: 9, offset: 8, length: 4 }])
    const first = kernel.send(16, 5, P.TransferIn.encode({ handle: 3, offset: 2 ** 33, size: 3 }), Buffer.from('abc'))
    // The next request may not overwrite the bytes that the first still waits to write.
    const second = kernel.send(16, 5, P.TransferIn.encode({ handle: 4, offset: 0, size: 3 }), Buffer.from('xyz'))
    await new Promise(setImmediate)
    expect(written).toEqual([
      [3, 2 ** 33, 'abc'],
      [4, 0, 'xyz'],
    ])
    expect(kernel.answers.slice(-2).map(({ unique, body }) => [unique, body.readUInt32LE(0)])).toEqual([
      [first, 3],
      [second, 3],
    ])
  })

  it('READ: memory that was lent goes back when the kernel has the bytes', async () => {
    const lent = Buffer.from('hello')
    let released = 0
    const release = () => {
      released++
      lent.fill(0)
    }
    const kernel = initialized({ read: async () => ({ bytes: lent, release }) })
    kernel.send(15, 5, P.TransferIn.encode({ handle: 1, offset: 0, size: 5 }))
    await new Promise(setImmediate)
    expect(kernel.answers.at(-1)?.body.toString()).toBe('hello')
    expect(released).toBe(1)
  })

  it('WRITE: data that a file system keeps is overwritten by no request until it gives it back', async () => {
    const kept: { data: Uint8Array; release: () => void }[] = []
    const kernel = initialized({
      write: (_context, handle, _offset, data, _append, keep) => {
        if (handle === 9 || keep === undefined) return data.length
        kept.push({ data, release: keep() })
        return handle === 1 ? data.length : Promise.resolve(data.length)
      },
    })
    const write = (handle: number, text: string) =>
      kernel.send(16, 5, P.TransferIn.encode({ handle, offset: 0, size: text.length }), Buffer.from(text))
    write(1, 'first')
    write(2, 'second')
    write(9, 'passing')
    write(1, 'third')
    await new Promise(setImmediate)
    write(9, 'passing')
    const texts = () => kept.map(({ data }) => Buffer.from(data).toString())
    expect(texts()).toEqual(['first', 'second', 'third'])
    expect(new Set(kept.map(({ data }) => data.buffer)).size).toBe(3)
    const free = kept.shift()
    free?.release()
    // Giving back twice is once: the memory is somebody else's by then.
    free?.release()
    write(1, 'fourth')
    free?.release()
    write(1, 'fifth')
    write(9, 'passing')
    expect(texts()).toEqual(['second', 'third', 'fourth', 'fifth'])
    // The next requests come in what was given back.
    expect(kept.map(({ data }) => data.buffer)).toContain(free?.data.buffer)
  })

  it('GETXATTR: the size first, then the value; ERANGE when it does not fit', () => {
    const kernel = initialized({
      xattrs: {
        getXattr: () => Buffer.from('value'),
        listXattrs: () => ['user.a', 'user.b'],
        setXattr: () => undefined,
        removeXattr: () => undefined,
      },
    })
    const ask = (size: number) => kernel.ask(22, 5, P.XattrSize.encode({ size }), text('user.a'))
    expect(ask(0).body.readUInt32LE(0)).toBe(5)
    expect(ask(5).body.toString()).toBe('value')
    expect(ask(4).errno).toBe(ERANGE)
    expect(kernel.ask(23, 5, P.XattrSize.encode({ size: 100 })).body.toString()).toBe('user.a\0user.b\0')
  })

  it('SETLKW waits, and INTERRUPT ends the wait with EINTR', async () => {
    const requests: LockRequest[] = []
    const kernel = initialized({
      locks: {
        getLock: () => null,
        setLock: (context, request) => {
          requests.push(request)
          return new Promise((_resolve, reject) => {
            context.signal.addEventListener('abort', () => reject(new FsError('EINTR')))
          })
        },
      },
    })
    const lock = { handle: 1, owner: 2n ** 63n, start: 5n, end: 2n ** 63n - 1n, type: 1, pid: 3 }
    const unique = kernel.send(33, 5, P.LockIn.encode(lock))
    expect(requests).toMatchObject([
      {
        owner: 2n ** 63n,
        range: { start: 5, end: Number.POSITIVE_INFINITY },
        kind: 'exclusive',
        wait: true,
        flock: false,
      },
    ])
    expect(kernel.session.waiting).toBe(1)
    kernel.send(36, 0, P.InterruptIn.encode({ unique }))
    await new Promise(setImmediate)
    expect(kernel.answers.at(-1)).toMatchObject({ unique, errno: EINTR })
    expect(kernel.session.waiting).toBe(0)
  })

  it('READDIRPLUS: as many whole entries as fit, and no lookup for those that do not', () => {
    const taken: boolean[] = []
    const kernel = initialized({
      readDirectory: (_context, _handle, cookie, sink) => {
        for (let i = cookie + 1; ; i++) {
          taken.push(sink.add({ name: `name-${i}`, ino: i, type: 8, cookie: i }, entry))
          if (!taken.at(-1)) return
        }
      },
    })
    const { body } = kernel.ask(44, 5, P.TransferIn.encode({ handle: 1, offset: 0, size: 400 }))
    expect([body.length, taken]).toEqual([2 * (P.EntryOut.size + P.Dirent.size + 8), [true, true, false]])
    const second = P.EntryOut.size + P.Dirent.size + 8
    expect(new P.Dirent().at(viewOf(body), second + P.EntryOut.size).cookie).toBe(2)
    expect(body.subarray(second + P.EntryOut.size + P.Dirent.size, second * 2).toString()).toBe('name-2\0\0')
  })

  it('BATCH_FORGET and FORGET have no reply', () => {
    const forgotten: number[][] = []
    const kernel = initialized({ forget: (node, count) => void forgotten.push([node, count]) })
    const before = kernel.answers.length
    kernel.send(2, 5, P.ForgetIn.encode({ count: 3 }))
    const one = (node: number, count: number) => P.ForgetOne.encode({ node, count })
    kernel.send(42, 0, P.BatchForgetIn.encode({ count: 2 }), one(6, 1), one(7, 2))
    expect(forgotten).toEqual([
      [5, 3],
      [6, 1],
      [7, 2],
    ])
    expect(kernel.answers.length).toBe(before)
  })
})

const OpenNothing = P.OpenOut.encode({})

describe('passthrough', () => {
  const opening = (key: object): Partial<FileSystem> => {
    let handle = 0
    return {
      open: () => ({ handle: ++handle, backing: { fd: 3, key } }),
      release: () => undefined,
      forget: () => undefined,
    }
  }
  const open = (kernel: KernelSide, node: number) => {
    const { errno, body } = kernel.ask(14, node, P.OpenIn.encode({ flags: 2 }))
    const out = new P.OpenOut().at(viewOf(errno === 0 ? body : OpenNothing), 0)
    return { errno, handle: out.handle, flags: out.flags, backing: out.backingId }
  }
  const release = (kernel: KernelSide, node: number, handle: number) =>
    kernel.ask(18, node, P.ReleaseIn.encode({ handle }))

  it('registers one backing file per node and keeps it for the next open, until the node is forgotten', () => {
    const kernel = initialized(opening({}))
    const [first, second] = [open(kernel, 5), open(kernel, 5)]
    expect([first.flags, first.backing, second.backing, kernel.backings]).toEqual([P.FOPEN.PASSTHROUGH, 1, 1, [1]])
    release(kernel, 5, first.handle)
    expect(kernel.backings).toEqual([1])
    release(kernel, 5, second.handle)
    const third = open(kernel, 5)
    expect([third.backing, kernel.backings]).toEqual([1, [1]])
    kernel.send(2, 5, P.ForgetIn.encode({ count: 1 }))
    expect(kernel.backings).toEqual([1])
    release(kernel, 5, third.handle)
    kernel.send(2, 5, P.ForgetIn.encode({ count: 1 }))
    expect(kernel.backings).toEqual([])
  })

  it('registers anew when the content is another file, but never while the old one is open', () => {
    let key = {}
    let handle = 0
    const kernel = initialized({
      open: () => ({ handle: ++handle, backing: { fd: 3, key } }),
      release: () => undefined,
    })
    const first = open(kernel, 5)
    key = {}
    expect(open(kernel, 5).errno).toBe(EIO)
    release(kernel, 5, first.handle)
    expect(open(kernel, 5).backing).toBe(2)
    expect(kernel.backings).toEqual([2])
  })

  it('closes the longest unused when too many are kept', () => {
    const kernel = initialized(opening({}))
    for (let node = 2; node < 4140; node++) release(kernel, node, open(kernel, node).handle)
    expect(kernel.backings).toEqual(Array.from({ length: 4096 }, (_, i) => 43 + i))
  })

  it('a handle of which every read and write is asked passes through, too: for the mappings of it', () => {
    let handle = 0
    const reads: number[] = []
    const kernel = initialized({
      open: () => ({ handle: ++handle, backing: { fd: 3, key: kernel }, directIo: handle === 2 }),
      read: (_context, asked) => {
        reads.push(asked)
        return Buffer.from('asked')
      },
    })
    expect([open(kernel, 5), open(kernel, 5)]).toMatchObject([
      { flags: P.FOPEN.PASSTHROUGH, backing: 1 },
      { flags: P.FOPEN.PASSTHROUGH | P.FOPEN.DIRECT_IO, backing: 1 },
    ])
    kernel.send(15, 5, P.TransferIn.encode({ handle: 2, offset: 0, size: 10 }))
    expect(reads).toEqual([2])
  })

  it('a handle of which every read and write is asked is asked also when the kernel refuses the backing file', () => {
    const reads: number[] = []
    const kernel = initialized({
      open: () => ({ handle: 7, backing: { fd: 3, key: kernel }, directIo: true }),
      read: (_context, asked) => {
        reads.push(asked)
        return Buffer.from('asked')
      },
      release: () => undefined,
    })
    kernel.refuseBacking = true
    expect(open(kernel, 5).flags & (P.FOPEN.PASSTHROUGH | P.FOPEN.DIRECT_IO)).toBe(P.FOPEN.DIRECT_IO)
    kernel.send(15, 5, P.TransferIn.encode({ handle: 7, offset: 0, size: 10 }))
    expect([reads, kernel.fileReplies]).toEqual([[7], []])
    expect(release(kernel, 5, 7).errno).toBe(0)
  })

  it('serves reads itself when the kernel refuses', () => {
    const kernel = initialized(opening({}))
    kernel.refuseBacking = true
    const { handle, flags } = open(kernel, 5)
    expect(flags & P.FOPEN.DIRECT_IO).not.toBe(0)
    expect(kernel.errors).toHaveLength(1)
    kernel.send(15, 5, P.TransferIn.encode({ handle, offset: 0, size: 10 }))
    expect(kernel.fileReplies).toMatchObject([{ fd: 3, length: 10 }])
  })
})

describe('bad input', () => {
  it('an exception in the file system is EIO, logged, and the session lives on', async () => {
    const kernel = initialized({
      lookup: () => {
        throw new TypeError('a defect')
      },
      statfs: () => Promise.reject(new RangeError('another')),
    })
    expect(kernel.ask(1, 1, text('x')).errno).toBe(EIO)
    kernel.send(17, 1)
    await new Promise(setImmediate)
    expect(kernel.answers.at(-1)?.errno).toBe(EIO)
    expect(kernel.errors.map((error) => error.message)).toEqual(['a defect', 'another'])
  })

  it('names that are not UTF-8 are EILSEQ, missing terminators EINVAL, unknown opcodes ENOSYS', () => {
    const kernel = initialized({ lookup: () => entry })
    expect(kernel.ask(1, 1, Buffer.from([0xff, 0])).errno).toBe(EILSEQ)
    expect(kernel.ask(1, 1, Buffer.from('abc')).errno).toBe(EINVAL)
    expect(kernel.ask(999, 1).errno).toBe(ENOSYS)
    expect(kernel.ask(39, 1).errno).toBe(ENOTTY)
    expect(kernel.ask(22, 1, P.XattrSize.encode({ size: 0 }), text('user.a')).errno).toBe(ENOSYS)
  })

  it('random arguments of every opcode get one answer and log no defect', () => {
    const refuse = () => {
      throw new FsError('EACCES')
    }
    // What cannot be refused: a forget has no answer.
    const other: Record<string, unknown> = {
      locks: undefined,
      xattrs: undefined,
      allocation: undefined,
      copy: undefined,
      forget: () => undefined,
    }
    const nothing = new Proxy({} as FileSystem, {
      get: (_target, key: string) => (key in other ? other[key] : refuse),
    })
    const kernel = initialized(nothing)
    fc.assert(
      fc.property(fc.constantFrom(...OPERATIONS.keys()), fc.uint8Array({ maxLength: 200 }), (opcode, body) => {
        if (opcode === 26) return
        const before = kernel.answers.length
        kernel.send(opcode, 1, body)
        expect(kernel.answers.length - before).toBe(OPERATIONS.get(opcode)?.silent ? 0 : 1)
        expect(kernel.errors).toEqual([])
      }),
      { numRuns: 2000 },
    )
  })
})
