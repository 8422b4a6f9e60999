// open(2): creating, exclusively, truncating, appending, and what its flags refuse.
import { expect } from 'vitest'
import { O, SEEK } from '../support/syscalls.ts'
import { type Area, fails, needs, permissions } from './world.ts'

export const open: Area = {
  'creates an empty file with the mode under the umask': async ({ p, at }) => {
    await p.umask(0o027)
    const fd = await p.open(at('f'), O.RDWR | O.CREAT, 0o666)
    const stat = await p.fstat(fd)
    expect(stat).toMatchObject({ size: 0, nlink: 1, mode: 0o100640 })
  },

  'refuses to create what exists with O_EXCL, also a dangling symlink': async (t) => {
    await t.file('f', 'kept')
    await t.p.symlink('nowhere', t.at('dangling'))
    for (const name of ['f', 'dangling']) await fails(t.p.open(t.at(name), O.WRONLY | O.CREAT | O.EXCL), 'EEXIST')
    expect(await t.content(t.at('f'))).toBe('kept')
  },

  'creates through a dangling symlink without O_EXCL': async (t) => {
    await t.p.symlink('target', t.at('link'))
    await t.p.open(t.at('link'), O.WRONLY | O.CREAT)
    expect((await t.p.lstat(t.at('target'))).mode & 0o170000).toBe(0o100000)
  },

  'opens what exists with O_CREAT and leaves its mode': async (t) => {
    await t.file('f', 'abc', 0o600)
    const fd = await t.p.open(t.at('f'), O.RDWR | O.CREAT, 0o777)
    expect(await t.p.read(fd, 10)).toBe('abc')
    expect(permissions((await t.p.fstat(fd)).mode)).toBe(0o600)
  },

  'may create a file that its own mode would not let it write': async ({ p, at }) => {
    const fd = await p.open(at('f'), O.RDWR | O.CREAT, 0)
    expect(await p.write(fd, 'abc')).toBe(3)
    expect(await p.pread(fd, 3, 0)).toBe('abc')
  },

  'fails with ENOENT without O_CREAT': ({ p, at }) => fails(p.open(at('f'), O.RDWR), 'ENOENT'),

  'O_TRUNC empties the file, for other descriptors too': async (t) => {
    await t.file('f', 'a'.repeat(10_000))
    const before = await t.p.open(t.at('f'), O.RDONLY)
    await t.p.open(t.at('f'), O.WRONLY | O.TRUNC)
    expect((await t.p.fstat(before)).size).toBe(0)
    expect(await t.p.pread(before, 10, 0)).toBe('')
  },

  'O_TRUNC sets the times': async (t) => {
    await t.file('f', 'abc')
    await t.p.utimens(t.at('f'), 0n, 0n)
    await t.p.close(await t.p.open(t.at('f'), O.WRONLY | O.TRUNC))
    expect((await t.p.stat(t.at('f'))).mtimeNs).toBeGreaterThan(0n)
  },

  'O_APPEND writes at the end, wherever the offset is': async (t) => {
    await t.file('f', 'abc')
    const fd = await t.p.open(t.at('f'), O.RDWR | O.APPEND)
    await t.p.lseek(fd, 0, SEEK.SET)
    await t.p.write(fd, 'def')
    expect(await t.p.lseek(fd, 0, SEEK.CUR)).toBe(6)
    const other = await t.p.open(t.at('f'), O.WRONLY | O.APPEND)
    await t.p.write(other, 'ghi')
    await t.p.write(fd, 'jkl')
    expect(await t.content(t.at('f'))).toBe('abcdefghijkl')
  },

  'pwrite on an O_APPEND descriptor appends, as Linux does': async (t) => {
    const fd = await t.p.open(await t.file('f', 'abc'), O.RDWR | O.APPEND)
    await t.p.pwrite(fd, 'X', 0)
    expect(await t.content(t.at('f'))).toBe('abcX')
  },

  'reading a write-only descriptor and writing a read-only one are EBADF': async (t) => {
    await t.file('f', 'abc')
    const writer = await t.p.open(t.at('f'), O.WRONLY)
    const reader = await t.p.open(t.at('f'), O.RDONLY)
    await fails(t.p.read(writer, 1), 'EBADF')
    await fails(t.p.write(reader, 'x'), 'EBADF')
    await fails(t.p.ftruncate(reader, 0), 'EINVAL', 'EBADF')
  },

  'a directory cannot be opened for writing': async ({ p, dir, at }) => {
    await fails(p.open(dir, O.RDWR), 'EISDIR')
    await fails(p.open(dir, O.WRONLY | O.TRUNC), 'EISDIR')
    await p.mkdir(at('d'))
    await fails(p.open(at('d'), O.RDONLY | O.CREAT), 'EISDIR')
  },

  'O_DIRECTORY takes directories only': async (t) => {
    await t.p.open(t.dir, O.RDONLY | O.DIRECTORY)
    await fails(t.p.open(await t.file('f'), O.RDONLY | O.DIRECTORY), 'ENOTDIR')
  },

  'O_NOFOLLOW refuses a symlink': async (t) => {
    await t.file('f')
    await t.p.symlink('f', t.at('link'))
    await fails(t.p.open(t.at('link'), O.RDONLY | O.NOFOLLOW), 'ELOOP')
    await t.p.open(t.at('link'), O.RDONLY)
  },

  'an O_PATH descriptor can be looked at, not read': async (t) => {
    const fd = await t.p.open(await t.file('f', 'abc'), O.PATH)
    expect((await t.p.fstat(fd)).size).toBe(3)
    await fails(t.p.read(fd, 1), 'EBADF')
  },

  'openat works in a directory that was moved': async (t) => {
    const folder = await t.p.open(await t.directory('before'), O.RDONLY | O.DIRECTORY)
    await t.p.rename(t.at('before'), t.at('after'))
    await t.p.openAt('f', O.WRONLY | O.CREAT, 0o644, folder)
    expect(await t.p.readdir(t.at('after'))).toEqual(['f'])
  },

  'dup shares the offset, a second open does not': async (t) => {
    const first = await t.p.open(await t.file('f', 'abcdef'), O.RDONLY)
    const twin = await t.p.dup(first)
    const second = await t.p.open(t.at('f'), O.RDONLY)
    expect(await t.p.read(first, 2)).toBe('ab')
    expect(await t.p.read(twin, 2)).toBe('cd')
    expect(await t.p.read(second, 2)).toBe('ab')
  },

  'a hundred opens of one file at a time': async (t) => {
    await t.file('f', 'abc')
    const fds = await Promise.all(Array.from({ length: 100 }, () => t.p.open(t.at('f'), O.RDWR)))
    expect(new Set(fds).size).toBe(100)
    await t.p.write(fds[0] as number, 'xyz')
    expect(await t.p.read(fds[99] as number, 3)).toBe('xyz')
  },

  'O_DIRECT reads and writes whole pages, coherent with plain reads': needs('directIo', async (t) => {
    const fd = await t.p.open(t.at('f'), O.RDWR | O.CREAT | O.DIRECT)
    expect(await t.p.directWrite(fd, 0, 'x'.repeat(8192))).toBe(8192)
    expect(await t.content(t.at('f'))).toBe('x'.repeat(8192))
    expect(await t.p.directRead(fd, 4096, 4096)).toBe('x'.repeat(4096))
  }),

  'an unknown ioctl is ENOTTY': async (t) => {
    const fd = await t.p.open(await t.file('f'), O.RDONLY)
    await fails(t.p.ioctl(fd, 0x5401), 'ENOTTY') // TCGETS
  },
}
