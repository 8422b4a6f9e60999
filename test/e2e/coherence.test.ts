// Two mounts of one tree, POSIX-coherent: what is done on one is seen on the other at once, cached or not, open or not.
import { afterEach, beforeEach, expect, test } from 'vitest'
import { alice, bob, fails } from '../conformance/world.ts'
import { onEachTarget } from '../support/each-target.ts'
import { Posix } from '../support/posix.ts'
import { O, RENAME, type Syscalls } from '../support/syscalls.ts'

onEachTarget('coherence', { mounts: 2, needs: ['coherence'] }, (mounts) => {
  let processes: Posix[] = []
  /** A process on each mount, and paths in the folder of the test as each mount names them. */
  let a: Syscalls
  let b: Syscalls
  let inA: (name: string) => string
  let inB: (name: string) => string
  let count = 0

  beforeEach(async () => {
    processes = [new Posix(), new Posix()]
    ;[a, b] = processes.map(({ calls }) => calls) as [Syscalls, Syscalls]
    const folder = `coherence${++count}`
    inA = (name) => `${mounts.a}/${folder}/${name}`
    inB = (name) => `${mounts.b}/${folder}/${name}`
    await a.mkdir(inA(''))
  })
  afterEach(() => {
    for (const process of processes) process.close()
  })

  async function write(calls: Syscalls, path: string, content: string): Promise<void> {
    const fd = await calls.open(path, O.WRONLY | O.CREAT | O.TRUNC)
    await calls.write(fd, content)
    await calls.close(fd)
  }

  async function read(calls: Syscalls, path: string): Promise<string> {
    const fd = await calls.open(path, O.RDONLY)
    const content = await calls.pread(fd, 1 << 20, 0)
    await calls.close(fd)
    return content
  }

  test('a write is read on the other mount: by an open descriptor and by a new one', async () => {
    await write(a, inA('f'), 'first')
    const open = await b.open(inB('f'), O.RDONLY)
    expect(await b.pread(open, 100, 0)).toBe('first')
    const writer = await a.open(inA('f'), O.RDWR)
    for (const content of ['second', 'third!', 'a longer one']) {
      await a.pwrite(writer, content, 0)
      expect(await b.pread(open, 100, 0)).toBe(content)
      expect(await read(b, inB('f'))).toBe(content)
    }
  })

  test('writers on both mounts see each other, page by page', async () => {
    await write(a, inA('f'), '.'.repeat(16_384))
    const fa = await a.open(inA('f'), O.RDWR)
    const fb = await b.open(inB('f'), O.RDWR)
    for (let i = 0; i < 40; i++) {
      await a.pwrite(fa, `A${i}`, i * 400)
      expect(await b.pread(fb, 10, i * 400)).toMatch(`A${i}`)
      await b.pwrite(fb, `B${i}`, i * 400 + 200)
      expect(await a.pread(fa, 10, i * 400 + 200)).toMatch(`B${i}`)
    }
    expect(await read(a, inA('f'))).toBe(await read(b, inB('f')))
  })

  test('mappings on both mounts see each other, and read and write', async () => {
    await write(a, inA('f'), '.'.repeat(8192))
    const fa = await a.open(inA('f'), O.RDWR)
    const fb = await b.open(inB('f'), O.RDWR)
    const ma = await a.mmap(fa, 8192)
    const mb = await b.mmap(fb, 8192)
    await a.mmapWrite(ma, 4090, 'from a map')
    expect(await b.mmapRead(mb, 4090, 10)).toBe('from a map')
    await b.mmapWrite(mb, 100, 'and back')
    expect(await a.mmapRead(ma, 100, 8)).toBe('and back')
    expect(await a.pread(fa, 8, 100)).toBe('and back')
    await b.pwrite(fb, 'written', 5000)
    expect(await a.mmapRead(ma, 5000, 7)).toBe('written')
  })

  test('size and mtime are right at once, also of an open file', async () => {
    await write(a, inA('f'), '')
    const fa = await a.open(inA('f'), O.RDWR | O.APPEND)
    const fb = await b.open(inB('f'), O.RDONLY)
    for (let size = 10; size <= 50; size += 10) {
      await a.utimens(inA('f'), 0n, 0n)
      expect((await b.stat(inB('f'))).mtimeNs).toBe(0n)
      await a.write(fa, 'x'.repeat(10))
      const [byPath, byDescriptor] = [await b.stat(inB('f')), await b.fstat(fb)]
      expect([byPath.size, byDescriptor.size]).toEqual([size, size])
      expect(byPath.mtimeNs).toBeGreaterThan(0n)
      expect(byDescriptor.mtimeNs).toBe(byPath.mtimeNs)
    }
    await a.ftruncate(fa, 3)
    expect((await b.fstat(fb)).size).toBe(3)
    expect(await b.pread(fb, 100, 0)).toBe('xxx')
  })

  test('mode, owner, times, link count and attributes are right at once', async () => {
    await write(a, inA('f'), 'x')
    await b.stat(inB('f'))
    await a.chmod(inA('f'), 0o604)
    expect((await b.stat(inB('f'))).mode).toBe(0o100604)
    await a.utimens(inA('f'), 5_000_000_000n, 6_000_000_000n)
    expect(await b.stat(inB('f'))).toMatchObject({ atimeNs: 5_000_000_000n, mtimeNs: 6_000_000_000n })
    await a.link(inA('f'), inA('g'))
    expect((await b.stat(inB('f'))).nlink).toBe(2)
    await b.unlink(inB('f'))
    expect((await a.stat(inA('g'))).nlink).toBe(1)
    await a.setxattr(inA('g'), 'user.x', 'seen')
    expect(await b.getxattr(inB('g'), 'user.x')).toBe('seen')
    expect((await a.stat(inA('g'))).ino).toBe((await b.stat(inB('g'))).ino)
  })

  test('rights that change on one mount change on the other', async ({ skip }) => {
    const reason = mounts.target.missing.otherUsers
    if (reason !== undefined) skip(reason)
    const [asAlice, asBob] = [alice, bob].map((who) => (processes[1] as Posix).as(who)) as [Syscalls, Syscalls]
    await write(a, inA('f'), 'x')
    await a.chmod(inA('f'), 0o600)
    // Each first, right after the change: the kernel checks the owner by what it knows.
    const owned: ((calls: Syscalls) => Promise<unknown>)[] = [
      (calls) => calls.chmod(inB('f'), 0o600),
      (calls) => calls.utimens(inB('f'), 1n, 1n),
      (calls) => calls.open(inB('f'), O.RDWR),
      (calls) => calls.truncate(inB('f'), 0),
    ]
    for (const own of owned) {
      await a.chown(inA('f'), alice.uid, alice.gid)
      await own(asAlice)
      await fails(asBob.open(inB('f'), O.RDONLY), 'EACCES')
      await fails(asBob.chmod(inB('f'), 0o666), 'EPERM')
      await a.chown(inA('f'), bob.uid, bob.gid)
      await own(asBob)
      await fails(asAlice.open(inB('f'), O.RDONLY), 'EACCES')
      await fails(asAlice.chmod(inB('f'), 0o666), 'EPERM')
    }
  })

  test('a name that was looked up in vain is there as soon as it is made, however it is made', async () => {
    await write(a, inA('source'), 'x')
    const ways: Record<string, (path: string) => Promise<unknown>> = {
      create: (path) => a.open(path, O.WRONLY | O.CREAT | O.EXCL),
      mkdir: (path) => a.mkdir(path),
      symlink: (path) => a.symlink('source', path),
      mkfifo: (path) => a.mkfifo(path),
      link: (path) => a.link(inA('source'), path),
      rename: (path) => a.rename(inA('source'), path),
    }
    for (const [name, make] of Object.entries(ways)) {
      for (let i = 0; i < 3; i++) await fails(b.lstat(inB(name)), 'ENOENT')
      await make(inA(name))
      await b.lstat(inB(name))
    }
  })

  test('a name that was looked up is gone as soon as it is removed', async () => {
    await a.mkdir(inA('d'))
    for (const name of ['f', 'd/f', 'g']) {
      await write(a, inA(name), 'x')
      await b.stat(inB(name))
    }
    await a.unlink(inA('f'))
    await fails(b.stat(inB('f')), 'ENOENT')
    await fails(b.open(inB('f'), O.RDONLY), 'ENOENT')
    await a.rename(inA('g'), inA('h'))
    await fails(b.stat(inB('g')), 'ENOENT')
    expect((await b.stat(inB('h'))).size).toBe(1)
    await a.unlink(inA('d/f'))
    await a.rmdir(inA('d'))
    await fails(b.stat(inB('d/f')), 'ENOENT')
    await fails(b.stat(inB('d')), 'ENOENT')
  })

  test('a name that leads elsewhere leads there at once', async () => {
    await write(a, inA('f'), 'old')
    await write(a, inA('new'), 'new')
    await a.mkdir(inA('d'))
    await write(a, inA('d/f'), 'inner')
    expect(await read(b, inB('f'))).toBe('old')
    await a.rename(inA('new'), inA('f'))
    expect(await read(b, inB('f'))).toBe('new')
    await a.unlink(inA('f'))
    await a.mkdir(inA('f'))
    expect((await b.stat(inB('f'))).mode & 0o170000).toBe(0o040000)
    await a.rename(inA('d'), inA('f'))
    expect(await read(b, inB('f/f'))).toBe('inner')
    await a.symlink('f/f', inA('l'))
    expect(await b.readlink(inB('l'))).toBe('f/f')
    await a.unlink(inA('l'))
    await a.symlink('nowhere', inA('l'))
    expect(await b.readlink(inB('l'))).toBe('nowhere')
  })

  test('an exchange is seen at once', async () => {
    await write(a, inA('f'), 'one')
    await write(a, inA('g'), 'two')
    expect([await read(b, inB('f')), await read(b, inB('g'))]).toEqual(['one', 'two'])
    await a.renameat2(inA('f'), inA('g'), RENAME.EXCHANGE)
    expect([await read(b, inB('f')), await read(b, inB('g'))]).toEqual(['two', 'one'])
  })

  test('a directory moved away and back, with the other mount inside', async () => {
    await a.mkdir(inA('d'))
    await a.mkdir(inA('e'))
    await write(a, inA('d/f'), 'x')
    await b.chdir(inB('d'))
    expect(await b.readdir('.')).toEqual(['f'])
    await a.rename(inA('d'), inA('e/d'))
    expect(await read(b, 'f')).toBe('x')
    expect(await read(b, inB('e/d/f'))).toBe('x')
    await fails(b.stat(inB('d')), 'ENOENT')
    await write(b, 'g', 'made in the moved one')
    expect(await a.readdir(inA('e/d'))).toEqual(['f', 'g'])
    await a.rename(inA('e/d'), inA('d'))
    expect(await read(b, inB('d/g'))).toBe('made in the moved one')
  })

  test('listings are right at once', async () => {
    for (let i = 0; i < 12; i++) {
      await write(a, inA(`f${String(i).padStart(2, '0')}`), 'x')
      expect((await b.readdir(inB(''))).length).toBe(i + 1)
    }
    for (let i = 0; i < 12; i += 2) await b.unlink(inB(`f${String(i).padStart(2, '0')}`))
    expect(await a.readdir(inA(''))).toEqual(['f01', 'f03', 'f05', 'f07', 'f09', 'f11'])
    await a.rename(inA('f01'), inA('z'))
    expect(await b.readdir(inB(''))).toEqual(['f03', 'f05', 'f07', 'f09', 'f11', 'z'])
  })

  test('in a working directory that the other mount removed nothing can be made', async () => {
    await a.mkdir(inA('d'))
    await b.chdir(inB('d'))
    expect(await b.readdir('.')).toEqual([])
    await a.rmdir(inA('d'))
    await fails(b.open('f', O.WRONLY | O.CREAT), 'ENOENT', 'ESTALE')
    await fails(b.mkdir('e'), 'ENOENT', 'ESTALE')
    await fails(b.stat(inB('d')), 'ENOENT')
    expect(await b.getcwd().catch((error: { code: string }) => error.code)).toBe('ENOENT')
    await a.mkdir(inA('d')) // Another directory of the same name.
    await fails(b.stat('f'), 'ENOENT', 'ESTALE')
    expect(await b.readdir(inB('d'))).toEqual([])
  })

  test('a file unlinked on one mount lives on in descriptors of the other', async () => {
    await write(a, inA('f'), 'abc')
    const fb = await b.open(inB('f'), O.RDWR)
    await a.unlink(inA('f'))
    expect(await b.pread(fb, 10, 0)).toBe('abc')
    await b.pwrite(fb, 'def', 3)
    expect(await b.fstat(fb)).toMatchObject({ nlink: 0, size: 6 })
    await write(a, inA('f'), 'another')
    expect(await b.pread(fb, 10, 0)).toBe('abcdef')
    expect(await read(b, inB('f'))).toBe('another')
  })

  test('O_TRUNC and O_EXCL on one mount count on the other', async () => {
    await write(a, inA('f'), 'abc')
    const fb = await b.open(inB('f'), O.RDWR)
    await a.open(inA('f'), O.WRONLY | O.TRUNC)
    expect(await b.pread(fb, 10, 0)).toBe('')
    await fails(b.open(inB('f'), O.WRONLY | O.CREAT | O.EXCL), 'EEXIST')
    await fails(b.mkdir(inB('f')), 'EEXIST')
  })
})
