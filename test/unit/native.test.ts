// The addon: a small daemon in a child process (support/native-daemon.mjs) serves a mount through it, while this
// process is the program that uses the mount and says what the daemon shall do.
import { execFile } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { closeSync, constants, fstatSync, openSync, writeSync } from 'node:fs'
import { mkdtemp, open, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { type AddressInfo, connect, createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { afterAll, afterEach, beforeAll, describe, expect, inject, it } from 'vitest'
import { addon } from '../../src/host/addon.ts'
import {
  invalidateAttributes,
  invalidateName,
  isRoot,
  mountLine,
  NativeDaemon,
  unmountLazily,
} from '../support/native-daemon.ts'

const run = promisify(execFile)
const native = addon()
const testRoot = inject('testRoot')

let work: string
let content: string
const bytes = randomBytes(300_001)

beforeAll(async () => {
  work = await mkdtemp(join(testRoot, 'native-content-'))
  content = join(work, 'content')
})

afterAll(() => rm(work, { recursive: true }))

for (const way of ['direct', 'helper'] as const) {
  describe.skipIf(way === 'direct' && !isRoot)(
    `a device mounted by ${way === 'direct' ? 'mount(2), as root' : 'fusermount3'}`,
    () => {
      let daemon: NativeDaemon

      beforeAll(async () => {
        await writeFile(content, bytes)
        daemon = await NativeDaemon.start(testRoot, content, way)
      })
      afterAll(() => daemon.stop())

      it('appears among the mounts', async () => {
        expect(await mountLine(daemon.target)).toMatch(
          /^proteus:test \S+ fuse\.proteus \S*nosuid,nodev\S*max_read=131072/,
        )
      })

      it('answers at once and later', async () => {
        expect((await stat(join(daemon.target, 'file'))).size).toBe(bytes.length)
        expect((await stat(join(daemon.target, 'late'))).ino).toBe(5)
        await expect(stat(join(daemon.target, 'none'))).rejects.toMatchObject({ code: 'ENOENT' })
      })

      it('answers EIO for a handler that throws or returns nonsense, and lives on', async () => {
        await expect(stat(join(daemon.target, 'throws'))).rejects.toMatchObject({ code: 'EIO' })
        await expect(stat(join(daemon.target, 'long'))).rejects.toMatchObject({ code: 'EIO' })
        expect((await daemon.state()).errors).toEqual(['thrown on purpose', expect.stringContaining('EMSGSIZE')])
        expect((await stat(join(daemon.target, 'late'))).ino).toBe(5)
      })

      it('replies from a file, in memory or not, and says when it is done', async () => {
        // Drops the content from the page cache, where the file system has one of its own.
        await run('dd', [`if=${content}`, 'iflag=nocache', 'count=0', 'status=none'])
        for (let round = 0; round < 2; round++) {
          const before = await daemon.state()
          const read = await readFile(join(daemon.target, 'file'))
          expect(createHash('sha256').update(read).digest('hex')).toBe(createHash('sha256').update(bytes).digest('hex'))
          expect((await daemon.state()).done).toBeGreaterThan(before.done)
        }
      })

      it('replies the error of a file that cannot be read', async () => {
        const handle = await open(join(daemon.target, 'folder'))
        await expect(handle.read(Buffer.alloc(10), 0, 10, 0)).rejects.toMatchObject({ code: 'EISDIR' })
        await handle.close()
      })

      it('notifies at once', async () => {
        const file = join(daemon.target, 'file')
        expect((await stat(file)).size).toBe(bytes.length)
        await daemon.tell('resize', 7)
        expect((await stat(file)).size).toBe(bytes.length)
        expect(await daemon.tell('notify', invalidateAttributes(2n))).toBe(true)
        expect((await stat(file)).size).toBe(7)
        expect(await daemon.tell('notify', invalidateAttributes(99n))).toBe(false)
        await expect(daemon.tell('notify', '1000000063000000')).rejects.toMatchObject({ code: 'EINVAL' })
        await expect(daemon.tell('notifyLater', '1000000063000000')).rejects.toMatchObject({ code: 'EINVAL' })
        await daemon.tell('resize', bytes.length)
      })

      it('notifies later, while a request holds the lock that the notification needs', async () => {
        await stat(join(daemon.target, 'file'))
        const slow = stat(join(daemon.target, 'slow'))
        await daemon.slowArrived()
        const notified = daemon.tell('notifyLater', invalidateName('file'))
        expect(await daemon.tell('ping')).toBe(true)
        await daemon.tell('answerSlow')
        expect((await slow).ino).toBe(6)
        expect(await notified).toBe(true)
        expect(await daemon.tell('notifyLater', invalidateName('never-seen'))).toBe(false)
      })

      it('refuses notifications when too many wait', async () => {
        await stat(join(daemon.target, 'file'))
        // A name that the kernel knows would be asked for again without the lock of its directory.
        await daemon.tell('notifyLater', invalidateName('slow'))
        const slow = stat(join(daemon.target, 'slow'))
        await daemon.slowArrived()
        const notified = daemon.tell('notifyLater', invalidateName('file'))
        const flood = daemon.tell('flood', 40)
        expect(await daemon.tell('ping')).toBe(true)
        await daemon.tell('answerSlow')
        await slow
        expect(await notified).toBe(true)
        // 32 MiB, of which the name and what is kept for each message take a little.
        expect(await flood).toEqual({ false: 31, ENOBUFS: 9 })
        expect(await daemon.tell('flood', 10)).toEqual({ false: 10 })
      })

      it('is not disturbed by replies that nobody waits for', async () => {
        const { errors } = await daemon.state()
        for (const unique of [2, 3, 1_000_000, 1_000_001]) await daemon.tell('replyUnknown', unique)
        expect(await daemon.state()).toMatchObject({ errors })
        expect((await stat(join(daemon.target, 'late'))).ino).toBe(5)
      })

      it.skipIf(way === 'helper')('hands a file over to the kernel: passthrough', async () => {
        const handle = await open(join(daemon.target, 'backed'), 'r+')
        const text = Buffer.from('written behind the daemon')
        await handle.write(text, 0, text.length, 100)
        expect((await readFile(content)).subarray(100, 100 + text.length)).toEqual(text)

        const reader = openSync(content, 'r')
        expect(native.hasWriters(reader)).toBe(true)
        await handle.close()
        while (native.hasWriters(reader)) await sleep(5)
        closeSync(reader)

        await daemon.tell('closeBacking')
        await expect(daemon.tell('closeBacking')).rejects.toMatchObject({ code: 'ENOENT' })
      })

      it('tells that the mount is gone', async () => {
        const closed = daemon.event('closed')
        await unmountLazily(daemon.target)
        await closed
        expect(await daemon.state()).toMatchObject({ closed: 1 })
        expect(await daemon.tell('notify', invalidateAttributes(2n))).toBe(false)
        expect(await daemon.tell('notifyLater', invalidateAttributes(2n))).toBe(false)
        expect(await daemon.ends('leave')).toBe(0)
      })
    },
  )
}

describe('closing a device', () => {
  let daemon: NativeDaemon
  const start = async () => {
    await writeFile(content, bytes)
    daemon = await NativeDaemon.start(testRoot, content, isRoot ? 'direct' : 'helper')
  }
  afterEach(() => daemon.stop())

  it('ends the connection, and the process has nothing to wait for', async () => {
    await start()
    await daemon.tell('close')
    await expect(stat(join(daemon.target, 'file'))).rejects.toMatchObject({ code: 'ENOTCONN' })
    expect(await daemon.state()).toMatchObject({ closed: 0 })
    expect(await daemon.ends('leave')).toBe(0)
  })

  it('may happen inside the handler', async () => {
    await start()
    await expect(stat(join(daemon.target, 'closes'))).rejects.toMatchObject({ code: 'ECONNABORTED' })
    expect(await daemon.state()).toMatchObject({ errors: [] })
    expect(await daemon.ends('leave')).toBe(0)
  })

  it('frees a notification that waits behind a request', async () => {
    await start()
    await stat(join(daemon.target, 'file'))
    const slow = stat(join(daemon.target, 'slow'))
    const refused = expect(slow).rejects.toMatchObject({ code: 'ECONNABORTED' })
    await daemon.slowArrived()
    const first = daemon.tell('notifyLater', invalidateName('file'))
    const second = daemon.tell('notifyLater', invalidateName('file'))
    await daemon.tell('close')
    await refused
    expect(await first).toBeTypeOf('boolean')
    expect(await second).toBe(false)
    expect(await daemon.ends('leave')).toBe(0)
  })

  it('happens by itself when the process exits, even with a waiting notification', async () => {
    await start()
    await stat(join(daemon.target, 'file'))
    const refused = expect(stat(join(daemon.target, 'slow'))).rejects.toMatchObject({ code: 'ECONNABORTED' })
    await daemon.slowArrived()
    void daemon.tell('notifyLater', invalidateName('file'))
    await daemon.tell('ping')
    expect(await daemon.ends('exit')).toBe(0)
    await refused
  })
})

describe('mounting', () => {
  const options = { source: 'proteus:test', subtype: 'proteus', flags: 6, data: '' }

  it('says what is wrong', () => {
    const missing = join(work, 'missing')
    expect(() => native.mount(missing, options)).toThrow(expect.objectContaining({ code: 'ENOENT', errno: 2 }))
    expect(() => native.mountWithHelper(missing, '')).toThrow(/^ENOENT: .*fusermount3 '.*missing': /)
    expect(() => native.mountWithHelper(work, 'no_such_option')).toThrow(/fusermount3 '.*': \S+/)
    // @ts-expect-error: the types say so too
    expect(() => native.mount(work, { ...options, data: 7 })).toThrow(TypeError)
  })

  it.skipIf(!isRoot)('refuses options that the kernel does not know', () => {
    expect(() => native.mount(work, { ...options, data: 'nonsense' })).toThrow(
      expect.objectContaining({ code: 'EINVAL' }),
    )
  })

  it('rejects to unmount what is not mounted', async () => {
    await expect(native.unmount(work, false)).rejects.toMatchObject({ syscall: 'umount' })
  })

  it('refuses a descriptor that cannot be polled, and a request buffer that is too small', () => {
    const handler = { onRequest: () => 0, onError: () => {}, onClose: () => {} }
    expect(() => native.openDevice(987_654, handler, new Uint8Array(16))).toThrow(/EBADF/)
    const device = native.openDevice(openSync('/dev/fuse', 'r+'), handler, new Uint8Array(16))
    expect(() => device.setRequestBuffer(new Uint8Array(8191))).toThrow(RangeError)
    expect(() => device.start()).toThrow(/ENOBUFS/)
    expect(() => device.answer(17)).toThrow(RangeError)
    device.close()
    expect(() => device.answer(16)).not.toThrow()
    expect(() => device.start()).toThrow(/ENODEV/)
  })
})

describe('system calls', () => {
  let path: string
  let fd: number

  beforeAll(() => {
    path = join(work, 'calls')
    fd = openSync(path, 'w+')
    writeSync(fd, bytes)
  })
  afterAll(() => closeSync(fd))

  it('set and read times to the nanosecond', () => {
    const into = new Float64Array(10)
    native.utimens(fd, -5, 123_456_789, 1_700_000_000, 1)
    native.fstat(fd, into)
    const expected = fstatSync(fd, { bigint: true })
    expect([...into]).toEqual([
      bytes.length,
      Number(expected.blocks),
      -5,
      123_456_789,
      1_700_000_000,
      1,
      Number(expected.ctimeNs / 1_000_000_000n),
      Number(expected.ctimeNs % 1_000_000_000n),
      1,
      Number(expected.mode),
    ])
    const omit = 0x3ffffffe
    native.utimens(fd, 0, omit, 9, 9)
    native.fstat(fd, into)
    expect([...into.subarray(2, 6)]).toEqual([-5, 123_456_789, 9, 9])
  })

  it('report errors with code, errno and syscall', () => {
    expect(() => native.fstat(987_654, new Float64Array(10))).toThrow(
      expect.objectContaining({ code: 'EBADF', errno: 9, syscall: 'fstat' }),
    )
    expect(() => native.fstat(fd, new Float64Array(9))).toThrow(TypeError)
    expect(() => native.fstat(-1, new Float64Array(10))).toThrow(TypeError)
    expect(() => native.fallocate(fd, 0, 0, 0)).toThrow(expect.objectContaining({ code: 'EINVAL' }))
    expect(() => native.seek(fd, 1 << 30, 3)).toThrow(expect.objectContaining({ code: 'ENXIO' }))
  })

  it('send what a socket takes, and nothing where that fails', async () => {
    const listener = createServer().listen(0, '127.0.0.1')
    await once(listener, 'listening')
    const { port } = listener.address() as AddressInfo
    const socket = connect(port, '127.0.0.1')
    const [[peer]] = await Promise.all([once(listener, 'connection'), once(socket, 'connect')])
    const { fd: sender } = (socket as unknown as { _handle: { fd: number } })._handle
    expect(native.trySend(sender, Buffer.from('ping'))).toBe(4)
    expect(String((await once(peer, 'data'))[0])).toBe('ping')
    const much = Buffer.alloc(64 << 20)
    peer.pause()
    expect(native.trySend(sender, much)).toBeLessThan(much.length)
    while (native.trySend(sender, much) > 0);
    expect(native.trySend(sender, much)).toBe(0)
    expect(native.trySend(fd, Buffer.from('ping'))).toBe(0)
    expect(() => native.trySend(-1, much)).toThrow(TypeError)
    socket.destroy()
    peer.destroy()
    listener.close()
  })

  it('allocate, find holes, copy ranges and sync', async () => {
    const other = openSync(join(work, 'copy'), 'w+')
    native.fallocate(other, 0, 0, 1 << 20)
    expect(fstatSync(other).size).toBe(1 << 20)
    let copied = 0
    while (copied < bytes.length) {
      copied += native.copyFileRange(fd, copied, other, (1 << 20) + copied, bytes.length - copied)
    }
    expect(fstatSync(other).size).toBe((1 << 20) + bytes.length)
    const end = fstatSync(fd).size
    expect(native.seek(fd, 0, 3)).toBe(0)
    expect(native.seek(fd, 0, 4)).toBe(end)
    await native.syncfs(other)
    closeSync(other)
  })

  it('read what is in memory, to where the file ends', () => {
    const all = Buffer.from('in the page cache')
    const other = openSync(join(work, 'cached'), 'w+')
    writeSync(other, all)
    const into = Buffer.alloc(100)
    expect(native.readCached(other, into.subarray(0, 6), 3)).toBe(6)
    expect(into.subarray(0, 6).toString()).toBe('the pa')
    expect(native.readCached(other, into, 7)).toBe(all.length - 7)
    expect(into.subarray(0, all.length - 7).toString()).toBe('page cache')
    expect(native.readCached(other, into, 1000)).toBe(0)
    closeSync(other)
    // Errors are for the read that follows.
    expect(native.readCached(other, into, 0)).toBe(0)
    expect(() => native.readCached(0, into, -1)).toThrow(TypeError)
  })

  it('clone where the host can, and say so where not', () => {
    const other = openSync(join(work, 'clone'), 'w+')
    try {
      native.clone(fd, other)
      expect(fstatSync(other).size).toBe(bytes.length)
    } catch (error) {
      expect(error).toMatchObject({ code: 'EOPNOTSUPP' })
    }
    closeSync(other)
  })

  it('see who can write', async () => {
    const reader = openSync(path, constants.O_RDONLY)
    expect(native.hasWriters(reader)).toBe(true)
    const alone = join(work, 'alone')
    await writeFile(alone, 'x')
    const only = openSync(alone, constants.O_RDONLY)
    expect(native.hasWriters(only)).toBe(false)
    const writer = openSync(alone, constants.O_WRONLY)
    expect(native.hasWriters(only)).toBe(true)
    closeSync(writer)
    expect(native.hasWriters(only)).toBe(false)
    closeSync(only)
    closeSync(reader)
  })
})
