// Fifos, sockets and device nodes: the file system keeps them, the kernel plays them.
import { expect } from 'vitest'
import { O } from '../support/syscalls.ts'
import { type Area, alice, fails, needs } from './world.ts'

export const special: Area = {
  'bytes go through a fifo from one process to another': async (t) => {
    await t.p.mkfifo(t.at('p'), 0o600)
    expect((await t.p.stat(t.at('p'))).mode).toBe(0o010600)
    const other = t.another().calls
    const [reader, writer] = await Promise.all([t.p.open(t.at('p'), O.RDONLY), other.open(t.at('p'), O.WRONLY)])
    await other.write(writer, 'through')
    expect(await t.p.read(reader, 100)).toBe('through')
    await other.close(writer)
    expect(await t.p.read(reader, 100)).toBe('')
  },

  'a fifo without a reader is ENXIO for a writer that does not wait': async ({ p, at }) => {
    await p.mkfifo(at('p'))
    await fails(p.open(at('p'), O.WRONLY | O.NONBLOCK), 'ENXIO')
  },

  'a socket can be bound and connected to': async (t) => {
    expect(await t.p.connectThrough(t.at('s'))).toBe('through')
    expect((await t.p.stat(t.at('s'))).mode & 0o170000).toBe(0o140000)
    await fails(t.p.bind(t.at('s')), 'EADDRINUSE')
    await fails(t.p.open(t.at('s'), O.RDWR), 'ENXIO')
    await t.p.unlink(t.at('s'))
  },

  'mknod makes plain files, fifos and sockets': async ({ p, at }) => {
    for (const [name, type] of [
      ['f', 0o100000],
      ['p', 0o010000],
      ['s', 0o140000],
    ] as const) {
      await p.mknod(at(name), type | 0o640)
      expect(await p.lstat(at(name))).toMatchObject({ mode: type | 0o640, nlink: 1, size: 0 })
      await fails(p.mknod(at(name), type | 0o640), 'EEXIST')
    }
  },

  'device nodes keep their numbers': needs('specialFiles', async ({ p, at }) => {
    await p.mknod(at('c'), 0o020600, 1, 3)
    await p.mknod(at('b'), 0o060640, 259, 70_000)
    expect(await p.stat(at('c'))).toMatchObject({ mode: 0o020600, rdev: 0x103 })
    const { mode, rdev } = await p.stat(at('b'))
    expect(mode).toBe(0o060640)
    // makedev(3): the low 8 bits of the minor number, 12 of the major one, then the other 12 of the minor one.
    expect(rdev).toBe((70_000 & 0xff) + 259 * 0x100 + (70_000 >> 8) * 0x100000)
  }),

  'device nodes are for root': needs(['specialFiles', 'otherUsers'], async (t) => {
    await t.common('d')
    await fails(t.as(alice).mknod(t.at('d/c'), 0o020600, 1, 3), 'EPERM')
    await t.as(alice).mkfifo(t.at('d/p'))
  }),

  'special files are linked, renamed, changed and removed as others are': async ({ p, at, dir }) => {
    await p.mkfifo(at('p'))
    await p.link(at('p'), at('q'))
    await p.rename(at('p'), at('r'))
    await p.chmod(at('r'), 0o604)
    expect(await p.stat(at('q'))).toMatchObject({ mode: 0o010604, nlink: 2 })
    await p.unlink(at('q'))
    await p.unlink(at('r'))
    expect(await p.readdir(dir)).toEqual([])
  },
}
