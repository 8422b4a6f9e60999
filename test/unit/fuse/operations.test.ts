// The edges of the opcode table: which opcodes there are, what is not implemented, and what a kernel says out of turn.
import { constants } from 'node:os'
import { describe, expect, it } from 'vitest'
import { OPERATIONS } from '../../../src/fuse/operations.ts'
import * as P from '../../../src/fuse/protocol.ts'
import { FsError } from '../../../src/posix/errors.ts'
import type { FileSystem, LockRequest } from '../../../src/vfs/filesystem.ts'
import { KernelSide, text } from './kernel-side.ts'

const { ENOSYS, ENOTTY, EINVAL, EOVERFLOW, EBADF } = constants.errno

function initialized(fileSystem: Partial<FileSystem>): KernelSide {
  const kernel = new KernelSide(fileSystem)
  kernel.initialize()
  return kernel
}

/** enum fuse_opcode of <linux/fuse.h>, without what is only for DAX (48, 49) and RETRIEVE (41). */
const OPCODES = `LOOKUP 1, FORGET 2, GETATTR 3, SETATTR 4, READLINK 5, SYMLINK 6, MKNOD 8, MKDIR 9, UNLINK 10, RMDIR 11,
  RENAME 12, LINK 13, OPEN 14, READ 15, WRITE 16, STATFS 17, RELEASE 18, FSYNC 20, SETXATTR 21, GETXATTR 22,
  LISTXATTR 23, REMOVEXATTR 24, FLUSH 25, INIT 26, OPENDIR 27, READDIR 28, RELEASEDIR 29, FSYNCDIR 30, GETLK 31,
  SETLK 32, SETLKW 33, ACCESS 34, CREATE 35, INTERRUPT 36, BMAP 37, DESTROY 38, IOCTL 39, POLL 40, BATCH_FORGET 42,
  FALLOCATE 43, READDIRPLUS 44, RENAME2 45, LSEEK 46, COPY_FILE_RANGE 47, SYNCFS 50, TMPFILE 51, STATX 52,
  COPY_FILE_RANGE_64 53`

it('has the opcodes of the protocol under their numbers', () => {
  const table = [...OPERATIONS].map(([opcode, { name }]) => `${name} ${opcode}`)
  expect(table.sort()).toEqual(OPCODES.split(/,\s*/).sort())
})

describe('what a file system lacks', () => {
  // ENOSYS makes the kernel remember: it answers EOPNOTSUPP, or does without, and does not ask again.
  it.each([
    ['GETXATTR', 22, P.XattrSize.encode({ size: 0 }), text('user.a')],
    ['SETXATTR', 21, P.SetxattrIn.encode({ size: 0 }), text('user.a')],
    ['LISTXATTR', 23, P.XattrSize.encode({ size: 0 })],
    ['REMOVEXATTR', 24, text('user.a')],
    ['GETLK', 31, P.LockIn.encode({})],
    ['SETLK', 32, P.LockIn.encode({})],
    ['ACCESS', 34, P.AccessIn.encode({})],
    ['BMAP', 37, new Uint8Array(16)],
    ['POLL', 40, new Uint8Array(24)],
    ['FALLOCATE', 43, P.FallocateIn.encode({})],
    ['LSEEK', 46, P.LseekIn.encode({ whence: 3 })],
    ['COPY_FILE_RANGE', 47, P.CopyFileRangeIn.encode({})],
    ['SYNCFS', 50, new Uint8Array(8)],
    ['TMPFILE', 51, P.CreateIn.encode({}), text('#1')],
    ['COPY_FILE_RANGE_64', 53, P.CopyFileRangeIn.encode({})],
  ] as [string, number, ...Uint8Array[]][])('%s is ENOSYS', (_name, opcode, ...body) => {
    expect(initialized({}).ask(opcode, 1, ...body).errno).toBe(ENOSYS)
  })

  it('IOCTL is ENOTTY, DESTROY is nothing special', () => {
    expect(initialized({}).ask(39, 1, new Uint8Array(32)).errno).toBe(ENOTTY)
    expect(initialized({}).ask(38, 0).errno).toBe(0)
  })
})

describe('forgetting', () => {
  const { encode } = P.ForgetOne

  it('a forget that fails keeps none of the others from the file system, and is logged', () => {
    const forgotten: number[] = []
    const kernel = initialized({
      forget: (node) => {
        if (node === 6) throw new FsError('EINVAL', 'forgotten more often than looked up')
        forgotten.push(node)
      },
    })
    const before = kernel.answers.length
    const nodes = [5, 6, 7].map((node) => encode({ node, count: 1 }))
    kernel.send(42, 0, P.BatchForgetIn.encode({ count: 3 }), ...nodes)
    kernel.send(2, 6, P.ForgetIn.encode({ count: 1 }))
    expect(forgotten).toEqual([5, 7])
    expect(kernel.errors).toHaveLength(2)
    expect(kernel.answers.length).toBe(before)
  })

  it('BATCH_FORGET with fewer nodes than announced forgets none', () => {
    const kernel = initialized({ forget: () => expect.fail('forgotten') })
    const before = kernel.answers.length
    kernel.send(42, 0, P.BatchForgetIn.encode({ count: 0xffff_ffff }), encode({ node: 5, count: 1 }))
    expect(kernel.answers.length).toBe(before)
  })
})

describe('INTERRUPT', () => {
  it('of a request that was answered, or never was: nothing happens, and no reply', async () => {
    let aborted = 0
    const kernel = initialized({
      statfs: async ({ signal }) => {
        signal.addEventListener('abort', () => aborted++)
        throw new FsError('EIO')
      },
    })
    const unique = kernel.send(17, 1)
    await new Promise(setImmediate)
    const before = kernel.answers.length
    kernel.send(36, 0, P.InterruptIn.encode({ unique }))
    kernel.send(36, 0, P.InterruptIn.encode({ unique: 4711 }))
    await new Promise(setImmediate)
    expect([aborted, kernel.answers.length, kernel.errors.length]).toEqual([0, before, 0])
  })

  it('twice of one request: it is answered once', async () => {
    const kernel = initialized({
      statfs: ({ signal }) =>
        new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(new FsError('EINTR')))),
    })
    const unique = kernel.send(17, 1)
    for (let times = 0; times < 2; times++) kernel.send(36, 0, P.InterruptIn.encode({ unique }))
    await new Promise(setImmediate)
    expect(kernel.answers.filter((answer) => answer.unique === unique)).toHaveLength(1)
  })

  it('before the file system asked for the signal: it is aborted already', async () => {
    const seen: boolean[] = []
    const kernel = initialized({
      statfs: async (context) => {
        await new Promise(setImmediate)
        seen.push(context.signal.aborted)
        throw new FsError('EINTR')
      },
    })
    const unique = kernel.send(17, 1)
    kernel.send(36, 0, P.InterruptIn.encode({ unique }))
    await new Promise(setImmediate)
    await new Promise(setImmediate)
    expect(seen).toEqual([true])
  })
})

it('the end of the mount interrupts what still waits', async () => {
  let interrupted = 0
  const kernel = initialized({
    statfs: ({ signal }) =>
      new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => {
          interrupted++
          reject(new FsError('EINTR'))
        })
      }),
  })
  for (let calls = 0; calls < 3; calls++) kernel.send(17, 1)
  kernel.session.close()
  await new Promise(setImmediate)
  expect([interrupted, kernel.session.waiting]).toEqual([3, 0])
})

describe('arguments that no file system should see', () => {
  it('RENAME2: NOREPLACE or EXCHANGE, nothing else and not both', () => {
    const flags: number[] = []
    const kernel = initialized({ rename: (_context, renaming) => void flags.push(renaming.flags) })
    const ask = (flags: number) => kernel.ask(45, 1, P.Rename2In.encode({ newParent: 1, flags }), text('a', 'b')).errno
    expect([0, 1, 2, 3, 4, 5].map(ask)).toEqual([0, 0, 0, EINVAL, EINVAL, EINVAL])
    expect(flags).toEqual([0, 1, 2])
  })

  it('SETXATTR: create or replace, not both', () => {
    const ways: string[] = []
    const xattrs = {
      setXattr: (...args: unknown[]) => void ways.push(args[4] as string),
    } as unknown as NonNullable<FileSystem['xattrs']>
    const kernel = initialized({ xattrs })
    const ask = (flags: number) => kernel.ask(21, 1, P.SetxattrIn.encode({ size: 0, flags }), text('user.a')).errno
    expect([0, 1, 2, 3].map(ask)).toEqual([0, 0, 0, EINVAL])
    expect(ways).toEqual(['either', 'create', 'replace'])
  })

  it('locks: offsets that a number cannot hold', () => {
    const requests: LockRequest[] = []
    const locks = { getLock: () => null, setLock: (_: unknown, request: LockRequest) => void requests.push(request) }
    const kernel = initialized({ locks })
    const ask = (start: bigint, end: bigint) => kernel.ask(32, 1, P.LockIn.encode({ start, end, type: 1 })).errno
    expect(ask(2n ** 53n, 2n ** 53n + 1n)).toBe(EOVERFLOW)
    expect(ask(0n, 2n ** 63n - 1n)).toBe(0)
    expect(ask(2n ** 53n - 1n, 2n ** 60n)).toBe(0)
    expect(requests.map(({ range }) => range)).toEqual([
      { start: 0, end: Number.POSITIVE_INFINITY },
      { start: 2 ** 53 - 1, end: Number.POSITIVE_INFINITY },
    ])
  })
})

it('a served file that cannot be written: an answer, not a defect', () => {
  const kernel = initialized({ open: () => ({ handle: 1, backing: { fd: 987_654, key: {} } }) })
  kernel.refuseBacking = true
  expect(kernel.ask(14, 5, P.OpenIn.encode({ flags: 2 })).errno).toBe(0)
  expect(kernel.errors).toHaveLength(1)
  expect(kernel.ask(16, 5, P.TransferIn.encode({ handle: 1, size: 1 }), Buffer.from('x')).errno).toBe(EBADF)
  expect(kernel.errors).toHaveLength(1)
})
