// The portable driver on real mounts: a file system in memory, served by another process.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { MemoryMount } from '../../support/memory-mount.ts'
import { detachMounts, mountsUnder } from '../../support/mounts.ts'
import { Posix } from '../../support/posix.ts'
import { shell } from '../../support/run.ts'
import { O } from '../../support/syscalls.ts'
import { scratch } from '../../support/targets.ts'
import { transpile } from '../../support/transpile.ts'

const DIRECTORY = 4
const FILE = 8
const SYMLINK = 10

let program: string
const posix = new Posix()
const { calls } = posix
const mounts: MemoryMount[] = []

beforeAll(async () => {
  program = await transpile('test/support/memory-daemon.ts', scratch('memory-daemon'))
})

afterAll(async () => {
  posix.close()
  for (const mount of mounts) await mount.end()
})

async function mounted(count: 1 | 2, nameTtlMs = 0) {
  const folder = scratch('portable')
  const targets = ['a', 'b'].slice(0, count).map((name) => join(folder, name))
  for (const target of targets) mkdirSync(target)
  const mount = await MemoryMount.start(program, targets, nameTtlMs)
  mounts.push(mount)
  const [a = '', b = ''] = targets
  return { mount, a, b }
}

const errno = (call: Promise<unknown>) =>
  call.then(
    () => 'success',
    (error: { code?: string; message: string }) => error.code ?? error.message,
  )

/** Makes a file with this content. */
async function put(path: string, text: string): Promise<void> {
  const fd = await calls.open(path, O.WRONLY | O.CREAT | O.TRUNC, 0o644)
  expect(await calls.write(fd, text)).toBe(text.length)
  await calls.close(fd)
}

async function get(path: string): Promise<string> {
  const fd = await calls.open(path, O.RDONLY)
  const text = await calls.read(fd, 1 << 20)
  await calls.close(fd)
  return text
}

describe.each([0, 60_000])('one mount, names believed for %i ms', (nameTtlMs) => {
  let mount: MemoryMount
  let a: string

  beforeAll(async () => {
    ;({ mount, a } = await mounted(1, nameTtlMs))
  })

  it('writes, reads, appends, truncates and stats files', async () => {
    const path = join(a, 'file')
    await put(path, 'one two')
    expect(await get(path)).toBe('one two')
    const fd = await calls.open(path, O.RDWR | O.APPEND)
    await calls.write(fd, ' three')
    await calls.ftruncate(fd, 9)
    await calls.fsync(fd)
    expect((await calls.fstat(fd)).size).toBe(9)
    expect(await calls.pread(fd, 100, 4)).toBe('two t')
    await calls.close(fd)
    await calls.truncate(path, 3)
    expect(await get(path)).toBe('one')
    expect(await errno(calls.open(path, O.CREAT | O.EXCL))).toBe('EEXIST')
    expect(await errno(calls.open(join(a, 'none'), O.RDONLY))).toBe('ENOENT')
  })

  it('moves megabytes', async () => {
    await shell(`cd "${a}"; head -c 3000000 /dev/urandom >big; cp big copy; cmp big copy; rm big copy`)
  })

  it('makes, lists, renames and removes names', async () => {
    const d = join(a, 'd')
    await calls.mkdir(d, 0o750)
    await put(join(d, 'x'), 'x')
    await calls.link(join(d, 'x'), join(d, 'y'))
    await calls.symlink('../file', join(d, 's'))
    const entries = await calls.readdirAll(d)
    expect(entries.map(({ name, type }) => [name, type]).sort()).toEqual([
      ['.', DIRECTORY],
      ['..', DIRECTORY],
      ['s', SYMLINK],
      ['x', FILE],
      ['y', FILE],
    ])
    const [x, y] = [await calls.stat(join(d, 'x')), await calls.stat(join(d, 'y'))]
    expect([x.ino, x.nlink]).toEqual([y.ino, 2])
    expect(entries.find(({ name }) => name === 'x')?.ino).toBe(x.ino)
    expect(await calls.readlink(join(d, 's'))).toBe('../file')

    await calls.rename(d, join(a, 'e'))
    expect(await errno(calls.stat(join(d, 'x')))).toBe('ENOENT')
    expect(await get(join(a, 'e/x'))).toBe('x')
    expect(await errno(calls.rmdir(join(a, 'e')))).toBe('ENOTEMPTY')
    for (const name of ['x', 'y', 's']) await calls.unlink(join(a, 'e', name))
    await calls.rmdir(join(a, 'e'))
    expect(await errno(calls.stat(join(a, 'e')))).toBe('ENOENT')
  })

  it('puts a file in place of another', async () => {
    const [old, next] = [join(a, 'old'), join(a, 'next')]
    await put(old, 'old')
    expect(await get(old)).toBe('old')
    await put(next, 'next')
    await calls.rename(next, old)
    expect(await get(old)).toBe('next')
  })

  it('changes modes, owners and times', async () => {
    const path = join(a, 'attributes')
    await put(path, '')
    await calls.chown(path, 12, -1)
    await calls.chmod(path, 0o4751)
    await calls.utimens(path, 1_000_000_000_123_000_000n, 2_000_000_000_987_000_000n)
    const { mode, uid, gid, atimeNs, mtimeNs } = await calls.stat(path)
    expect([mode, uid, gid]).toEqual([0o104751, 12, process.getgid?.()])
    expect([atimeNs, mtimeNs]).toEqual([1_000_000_000_123_000_000n, 2_000_000_000_987_000_000n])
  })

  it('keeps an open file that was removed', async () => {
    const path = join(a, 'gone')
    await put(path, 'still here')
    const fd = await calls.open(path, O.RDWR)
    await calls.unlink(path)
    expect(await errno(calls.stat(path))).toBe('ENOENT')
    await calls.ftruncate(fd, 5)
    expect(await calls.pread(fd, 100, 0)).toBe('still')
    expect((await calls.fstat(fd)).size).toBe(5)
    await calls.close(fd)
    await expect.poll(() => calls.readdir(a)).not.toContainEqual(expect.stringContaining('.fuse_hidden'))
  })

  it('keeps extended attributes of all sizes', async () => {
    const path = join(a, 'x-attributes')
    await put(path, '')
    await calls.setxattr(path, 'user.empty', '')
    await calls.setxattr(path, 'user.long', 'v'.repeat(5000))
    expect((await calls.listxattr(path)).sort()).toEqual(['user.empty', 'user.long'])
    expect([await calls.getxattr(path, 'user.empty'), (await calls.getxattr(path, 'user.long')).length]).toEqual([
      '',
      5000,
    ])
    expect(await errno(calls.setxattr(path, 'user.long', '', 1))).toBe('EEXIST')
    expect(await errno(calls.setxattr(path, 'user.none', '', 2))).toBe('ENODATA')
    await calls.removexattr(path, 'user.long')
    expect(await errno(calls.getxattr(path, 'user.long'))).toBe('ENODATA')
    const tooSmall = `import ctypes; print(ctypes.CDLL(None).getxattr(b"${path}", b"user.two", ctypes.create_string_buffer(1), 1))`
    await calls.setxattr(path, 'user.two', 'ab')
    expect(await shell(`python3 -c '${tooSmall}'`)).toBe('-1\n')
  })

  it('serves content from local files, appending at their end', async () => {
    const path = join(a, 'local-file')
    await put(path, '')
    const [one, two] = [await calls.open(path, O.WRONLY | O.APPEND), await calls.open(path, O.WRONLY | O.APPEND)]
    for (const fd of [one, two, one]) await calls.write(fd, `${fd === one ? 1 : 2};`)
    for (const fd of [one, two]) await calls.close(fd)
    expect(await get(path)).toBe('1;2;1;')
    await put(join(a, 'range-file'), '0123456789')
    expect(await get(join(a, 'range-file'))).toBe('0123456789')
  })

  it('makes special files', async () => {
    await calls.mkfifo(join(a, 'fifo'))
    expect((await calls.stat(join(a, 'fifo'))).mode & 0o170000).toBe(0o010000)
  })

  it('tells the size of the file system', async () => {
    const { bsize, blocks, bfree, bavail, ffree, namemax } = await calls.statvfs(a)
    expect([bsize, blocks, bfree, bavail, ffree, namemax]).toEqual([4096, 1000, 500, 400, 99, 255])
  })

  it('refuses names and targets that are not UTF-8, and names that are too long', async () => {
    expect(await errno(shell(`mkdir "${a}/$(printf 'bad\\377')"`))).toContain('Invalid or incomplete multibyte')
    expect(await errno(shell(`ln -s "$(printf 'bad\\377')" "${a}/link"`))).toContain('Invalid or incomplete multibyte')
    expect(await errno(calls.mkdir(join(a, 'n'.repeat(256))))).toBe('ENAMETOOLONG')
  })

  it('serves many programs at once', async () => {
    const work = (i: number) =>
      shell(
        `cd "${a}"; mkdir w${i}; cd w${i}; for n in 1 2 3 4 5 6 7 8; do echo $n >$n; done; cat * | wc -l; rm -r ../w${i}`,
      )
    const counts = await Promise.all(Array.from({ length: 8 }, (_, i) => work(i)))
    expect(counts.map(Number)).toEqual(Array(8).fill(8))
  })

  it('answers a defect with EIO, reports it and goes on', async () => {
    const { errors } = await mount.report()
    expect(await errno(calls.stat(join(a, 'defect')))).toBe('EIO')
    await calls.symlink('nothing', join(a, 'odd'))
    expect(await errno(calls.readlink(join(a, 'odd')))).toBe('EIO')
    expect(await get(join(a, 'file'))).toBe('one')
    const later = (await mount.report()).errors.slice(errors.length)
    expect(later).toEqual(['a defect in the file system', 'not an answer to READLINK'])
  })

  it('traces what it serves', async () => {
    const { traced } = await mount.report()
    expect(traced).toEqual(expect.arrayContaining(['MKDIR /d', 'RENAME /d', 'READ /file', 'WRITE /file']))
  })

  it('gives back every lookup and handle, and the mount', async () => {
    expect(await mount.unmount(a)).toBeNull()
    await mount.hear('closed')
    expect(mountsUnder(a)).toEqual([])
    const { lookups, handles, detached } = await mount.report()
    // What is still remembered when the mount goes is forgotten by the file system itself.
    expect([nameTtlMs === 0 ? lookups : 0, handles, detached]).toEqual([0, 0, true])
  })
})

describe('two mounts of one file system', () => {
  it('show the same at once', async () => {
    const { a, b } = await mounted(2)
    expect(await errno(calls.stat(join(b, 'x')))).toBe('ENOENT')
    await put(join(a, 'x'), 'from a')
    const fd = await calls.open(join(b, 'x'), O.RDWR)
    expect(await calls.pread(fd, 100, 0)).toBe('from a')
    await put(join(a, 'x'), 'FROM A')
    expect(await calls.pread(fd, 100, 0)).toBe('FROM A')
    await calls.pwrite(fd, 'longer than before', 0)
    expect((await calls.stat(join(a, 'x'))).size).toBe(18)

    await calls.rename(join(a, 'x'), join(a, 'y'))
    expect(await errno(calls.stat(join(b, 'x')))).toBe('ENOENT')
    expect(await get(join(b, 'y'))).toBe('longer than before')
    expect(await calls.pread(fd, 6, 0)).toBe('longer')
    await calls.close(fd)
    await calls.unlink(join(b, 'y'))
    expect(await calls.readdir(a)).toEqual([])
  })
})

describe('limitations', () => {
  it('are as told', async () => {
    const { a, b } = await mounted(2)
    const path = join(a, 'file')
    await put(path, 'text')
    const fd = await calls.open(path, O.RDWR)

    expect(await errno(calls.mmap(fd, 4, true, true))).toBe('ENODEV')
    expect(await calls.mmapRead(await calls.mmap(fd, 4, false, false), 0, 4)).toBe('text')
    expect(await errno(calls.fallocate(fd, 0, 0, 100))).toBe('EOPNOTSUPP')
    expect(await errno(calls.renameat2(path, join(a, 'other'), 1))).toBe('EINVAL')
    expect(await errno(calls.open(a, O.TMPFILE | O.RDWR))).toBe('EOPNOTSUPP')

    await calls.utimens(path, 1_000_000_000n, 2_000_000_000n)
    await calls.utimens(path, 'omit', 3_000_000_000n)
    await calls.utimens(path, 4_000_000_000n, 'omit')
    const { atimeNs, mtimeNs } = await calls.stat(path)
    expect([atimeNs, mtimeNs]).toEqual([1_000_000_000n, 2_000_000_000n])
    await calls.utimens(path, -5_000_000_000n, 1_234_567n)
    expect([(await calls.stat(path)).atimeNs, (await calls.stat(path)).mtimeNs]).toEqual([0n, 1_000_000n])

    await calls.rename(join(b, 'file'), join(b, 'renamed'))
    expect(await calls.pread(fd, 10, 0)).toBe('text')
    expect(await errno(calls.fstat(fd))).toBe('ENOENT')
    await calls.close(fd)

    await calls.mkdir(join(a, 'd'))
    await put(join(a, 'd/x'), '')
    const open = await calls.open(join(a, 'd/x'), O.RDONLY)
    await calls.unlink(join(a, 'd/x'))
    expect(await errno(calls.rmdir(join(a, 'd')))).toBe('ENOTEMPTY')
    await calls.close(open)
    await expect.poll(() => errno(calls.rmdir(join(a, 'd')))).toBe('success')
  })

  it.skipIf(process.getuid?.() !== 0)('everything belongs to the user who mounted, and the kernel checks', async () => {
    const { a } = await mounted(1)
    const other = posix.as({ uid: 61_001, gid: 61_001 })
    expect(await errno(other.mkdir(join(a, 'd')))).toBe('EACCES')
    await calls.chmod(a, 0o777)
    await other.mkdir(join(a, 'd'))
    expect((await calls.stat(join(a, 'd'))).uid).toBe(process.getuid?.())
    expect(await errno(other.mkdir(join(a, 'd/e')))).toBe('EACCES')
  })
})

describe('the end', () => {
  it('waits for programs that use the mount', async () => {
    const { mount, a } = await mounted(1)
    await put(join(a, 'file'), 'text')
    const fd = await calls.open(join(a, 'file'), O.RDONLY)
    expect(await mount.unmount(a)).toBe('EBUSY')
    expect(await calls.read(fd, 10)).toBe('text')
    await calls.close(fd)
    await expect.poll(() => mount.unmount(a)).toBeNull()
    expect(await mount.unmount(a)).toBeNull()
  })

  it('is noticed when somebody else unmounts, after the last file is closed', async () => {
    const { mount, a } = await mounted(1)
    await put(join(a, 'file'), 'text')
    const fd = await calls.open(join(a, 'file'), O.RDONLY)
    await detachMounts(a)
    expect(await calls.read(fd, 10)).toBe('text')
    expect((await mount.report()).detached).toBe(false)
    await calls.close(fd)
    expect((await mount.hear('closed')).target).toBe(a)
    expect((await mount.report()).detached).toBe(true)
  })

  it('a target that is missing or no directory is refused, and nothing is mounted', async () => {
    const folder = scratch('portable')
    await expect(MemoryMount.start(program, [join(folder, 'none')])).rejects.toThrow('ENOENT')
    writeFileSync(join(folder, 'file'), '')
    await expect(MemoryMount.start(program, [join(folder, 'file')])).rejects.toThrow('ENOTDIR')
    expect(mountsUnder(folder)).toEqual([])
  })
})
