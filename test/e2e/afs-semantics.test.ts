// What two AFS mounts show of each other: whole files at close, under promises that cost no call, until they are broken.
import {
  appendFile,
  chmod,
  type FileHandle,
  mkdir,
  open,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  stat,
  symlink,
  truncate,
  unlink,
  writeFile,
} from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { fails } from '../conformance/world.ts'
import { AfsLab, callsOf, network, statusOf } from '../support/afs-lab.ts'
import { Posix } from '../support/posix.ts'
import { start } from '../support/run.ts'
import { F, LOCK, O } from '../support/syscalls.ts'

/** Node has no names for them. */
const [ESTALE, EDQUOT] = [116, 122]
const MIB = 1024 * 1024

/** Maps a file, closes it, and writes through the mapping: Python's own keeps a descriptor. */
const MAPPER = `
import ctypes, os, sys
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
fd = os.open(sys.argv[1], os.O_RDWR)
mapping = libc.mmap(None, ctypes.c_size_t(4096), 3, 1, fd, ctypes.c_long(0))
os.close(fd)
os.stat(sys.argv[1])
ctypes.memmove(mapping, b'two', 3)
`

const firstBytes = async (file: FileHandle, count: number): Promise<string> =>
  (await file.read({ buffer: Buffer.alloc(count), position: 0 })).buffer.toString()

describe('two AFS mounts', () => {
  let lab: AfsLab
  let a: string
  let b: string
  let posix: Posix
  let count = 0

  beforeAll(async () => {
    lab = await AfsLab.start({ here: {} })
    ;[a, b] = lab.directories as [string, string]
    posix = new Posix()
  })
  afterAll(async () => {
    posix?.close()
    await lab?.end()
  })

  /** A fresh folder, as each of the mounts sees it. */
  async function folder(): Promise<[inA: string, inB: string]> {
    const name = `t${++count}`
    await mkdir(join(a, name))
    return [join(a, name), join(b, name)]
  }

  test('what is written is seen by others when it is closed, at once and not before', async () => {
    const [inA, inB] = await folder()
    await writeFile(join(inA, 'f'), 'one')
    expect(await readFile(join(inB, 'f'), 'utf8')).toBe('one')
    const writer = await open(join(inA, 'f'), 'r+')
    await writer.write('two and more')
    expect(await readFile(join(inA, 'f'), 'utf8')).toBe('two and more')
    expect((await stat(join(inA, 'f'))).size).toBe(12)
    expect(await readFile(join(inB, 'f'), 'utf8')).toBe('one')
    expect((await stat(join(inB, 'f'))).size).toBe(3)
    await writer.close()
    expect((await stat(join(inB, 'f'))).size).toBe(12)
    expect(await readFile(join(inB, 'f'), 'utf8')).toBe('two and more')
  })

  test('who has a file open keeps the version of the open: read, mapping, fstat; the path leads to the new one', async () => {
    const [inA, inB] = await folder()
    await writeFile(join(inA, 'f'), 'one')
    const { calls } = posix
    const early = await calls.open(join(inB, 'f'), O.RDONLY)
    const mapping = await calls.mmap(early, 3, false)
    const before = await calls.fstat(early)
    for (const [round, content] of ['second', 'the third'].entries()) {
      await writeFile(join(inA, 'f'), content)
      expect((await calls.stat(join(inB, 'f'))).size).toBe(content.length)
      expect(await readFile(join(inB, 'f'), 'utf8'), `round ${round}`).toBe(content)
      expect(await calls.pread(early, 10, 0)).toBe('one')
      expect(await calls.mmapRead(mapping, 0, 3)).toBe('one')
      expect(await calls.fstat(early)).toMatchObject({ size: 3, mtimeNs: before.mtimeNs, ino: before.ino })
    }
    await calls.munmap(mapping)
    await calls.close(early)
    expect(await calls.stat(join(inB, 'f'))).toMatchObject({ size: 9, ino: before.ino })
  })

  test('the last close wins, and the loss is counted', async () => {
    const [inA, inB] = await folder()
    await writeFile(join(inA, 'f'), 'base')
    const [one, other] = await Promise.all([open(join(inA, 'f'), 'r+'), open(join(inB, 'f'), 'r+')])
    await one.write('AAAA')
    await other.write('BB')
    const before = [await statusOf(a), await statusOf(b)].map(({ overwritten }) => overwritten)
    await one.close()
    expect(await readFile(join(inA, 'f'), 'utf8')).toBe('AAAA')
    await other.close()
    for (const side of [inA, inB]) expect(await readFile(join(side, 'f'), 'utf8')).toBe('BBse')
    const after = [await statusOf(a), await statusOf(b)].map(({ overwritten }) => overwritten)
    expect(after.map((times, i) => times - (before[i] ?? 0))).toEqual([0, 1])
  })

  test('fsync stores, and what is written after it is stored at close', async () => {
    const [inA, inB] = await folder()
    const file = await open(join(inA, 'f'), 'w')
    await file.write('synced')
    await file.sync()
    expect(await readFile(join(inB, 'f'), 'utf8')).toBe('synced')
    await file.write(' and closed')
    expect((await stat(join(inA, 'f'))).size).toBe(17)
    expect(await readFile(join(inB, 'f'), 'utf8')).toBe('synced')
    await file.close()
    expect(await readFile(join(inB, 'f'), 'utf8')).toBe('synced and closed')
  })

  test('each close of a file that stays open stores what was written until then', async () => {
    const [inA, inB] = await folder()
    const { calls } = posix
    const fd = await calls.open(join(inA, 'f'), O.WRONLY | O.CREAT)
    for (let round = 1; round <= 3; round++) {
      await calls.write(fd, `${round}`)
      await calls.close(await calls.dup(fd))
      expect(await readFile(join(inB, 'f'), 'utf8')).toBe('123'.slice(0, round))
    }
    await calls.close(fd)
  })

  test('what is written through a mapping is stored when it is gone, also if the file was closed long before', async () => {
    const [inA, inB] = await folder()
    await writeFile(join(inA, 'f'), 'one')
    expect(await readFile(join(inB, 'f'), 'utf8')).toBe('one')
    const mapper = start('python3', ['-uc', MAPPER, join(inA, 'f')])
    expect(await mapper.finished).toMatchObject({ code: 0, stderr: '' })
    await expect.poll(() => readFile(join(inB, 'f'), 'utf8'), { timeout: 5000 }).toBe('two')
    await expect.poll(async () => (await statusOf(a)).openFiles).toBe(0)
  })

  test('what a mapping writes after fsync to a page that was dirty is stored', async () => {
    const [inA, inB] = await folder()
    await writeFile(join(inA, 'f'), 'one')
    const { calls } = posix
    const fd = await calls.open(join(inA, 'f'), O.RDWR)
    const mapping = await calls.mmap(fd, 3)
    await calls.mmapWrite(mapping, 0, 'two')
    await calls.fsync(fd)
    expect(await readFile(join(inB, 'f'), 'utf8')).toBe('two')
    await calls.mmapWrite(mapping, 0, 'six')
    await calls.munmap(mapping)
    await calls.close(fd)
    await expect.poll(() => readFile(join(inB, 'f'), 'utf8'), { timeout: 5000 }).toBe('six')
  })

  test('a warm cache asks nobody: stat, open, read, list, names that are not there', async () => {
    const [inA, inB] = await folder()
    for (const name of ['one', 'two', 'three']) await writeFile(join(inA, name), name)
    await symlink('one', join(inA, 'link'))
    const look = async (side: string): Promise<void> => {
      expect((await readdir(side)).sort()).toEqual(['link', 'one', 'three', 'two'])
      for (const name of ['one', 'two', 'three']) {
        expect((await stat(join(side, name))).size).toBe(name.length)
        expect(await readFile(join(side, name), 'utf8')).toBe(name)
      }
      expect(await readlink(join(side, 'link'))).toBe('one')
      for (const name of ['four', 'five']) {
        await expect(stat(join(side, name))).rejects.toMatchObject({ code: 'ENOENT' })
      }
    }
    await stat(inB)
    // All names and statuses of a directory are one call.
    expect(await callsOf(b, () => look(inB))).toEqual({ FetchDirectory: 1, FetchData: 3 })
    // What was written here is in the cache.
    expect(await callsOf(a, () => look(inA))).toEqual({})
    for (let again = 0; again < 2; again++)
      for (const side of [a, b]) {
        expect(await callsOf(side, () => look(side === a ? inA : inB))).toEqual({})
      }
  })

  test('a file is opened, written and closed with one StoreData', async () => {
    const [inA] = await folder()
    expect(await callsOf(a, () => writeFile(join(inA, 'f'), 'new'))).toEqual({ CreateFile: 1, StoreData: 1 })
    expect(await callsOf(a, () => appendFile(join(inA, 'f'), ' more'))).toEqual({ StoreData: 1 })
    expect(await callsOf(a, async () => (await open(join(inA, 'f'), 'r+')).close())).toEqual({})
    expect(await callsOf(a, () => writeFile(join(inA, 'f'), 'other'))).toEqual({ StoreData: 1 })
  })

  test('a change elsewhere is seen by what the kernel keeps: names, absent names, attributes, links, listings', async () => {
    const [inA, inB] = await folder()
    await mkdir(join(inA, 'd'))
    await writeFile(join(inA, 'f'), 'one')
    await symlink('f', join(inA, 'l'))
    const see = async () => ({
      names: (await readdir(inB)).sort(),
      mode: ((await stat(join(inB, 'd'))).mode & 0o777).toString(8),
      size: (await stat(join(inB, 'l'))).size,
      link: await readlink(join(inB, 'l')),
      absent: await stat(join(inB, 'later')).then(
        () => 'there',
        ({ code }) => code as string,
      ),
    })
    const first = { names: ['d', 'f', 'l'], mode: '755', size: 3, link: 'f', absent: 'ENOENT' }
    for (let again = 0; again < 2; again++) expect(await see()).toEqual(first)
    await chmod(join(inA, 'd'), 0o711)
    expect((await see()).mode).toBe('711')
    await appendFile(join(inA, 'f'), 'two')
    expect((await see()).size).toBe(6)
    await writeFile(join(inA, 'later'), '')
    expect(await see()).toMatchObject({ absent: 'there', names: ['d', 'f', 'l', 'later'] })
    await unlink(join(inA, 'later'))
    expect((await see()).absent).toBe('ENOENT')
    await rm(join(inA, 'l'))
    await symlink('d', join(inA, 'l'))
    expect((await see()).link).toBe('d')
    await rename(join(inA, 'f'), join(inA, 'd/g'))
    expect((await see()).names).toEqual(['d', 'l'])
    expect(await readFile(join(inB, 'd/g'), 'utf8')).toBe('onetwo')
    await truncate(join(inA, 'd/g'), 2)
    expect(await readFile(join(inB, 'd/g'), 'utf8')).toBe('on')
  })

  test('removed on the other mount while it is open: the copy stays, and the close of a changed one tells', async () => {
    const [inA, inB] = await folder()
    for (const name of ['read', 'written']) await writeFile(join(inA, name), 'kept')
    const reader = await open(join(inB, 'read'))
    const writer = await open(join(inB, 'written'), 'r+')
    for (const name of ['read', 'written']) await unlink(join(inA, name))
    expect(await firstBytes(reader, 4)).toBe('kept')
    expect(await reader.stat()).toMatchObject({ size: 4 })
    await expect(stat(join(inB, 'read'))).rejects.toMatchObject({ code: 'ENOENT' })
    await reader.close()
    await writer.write('lost')
    expect(await firstBytes(writer, 4)).toBe('lost')
    await expect(writer.close()).rejects.toMatchObject({ errno: -ESTALE })
    await expect
      .poll(async () => (await statusOf(b)).unstored)
      .toMatchObject([{ why: 'ESTALE', next: 'kept until it is given up' }])
  })

  test('removed on the same mount while it is open: as on a local file system', async () => {
    const [inA, inB] = await folder()
    const file = await open(join(inA, 'f'), 'w+')
    await file.write('kept')
    await unlink(join(inA, 'f'))
    await file.write(' on')
    await file.sync()
    await file.chmod(0o600)
    expect(await firstBytes(file, 7)).toBe('kept on')
    expect(await file.stat()).toMatchObject({ size: 7, nlink: 0, mode: 0o100600 })
    await file.close()
    expect(await readdir(inB)).toEqual([])
    expect((await statusOf(a)).unstored).toEqual([])
  })

  test('ENOSPC and EDQUOT of the volume are errors of close, and the file there is the old one', async () => {
    const [inA, inB] = await folder()
    await writeFile(join(inA, 'f'), 'small')
    const { volume } = lab.server
    volume.setQuota({ bytes: volume.used.bytes + 1000, inodes: undefined })
    try {
      const file = await open(join(inA, 'f'), 'w')
      await file.write(Buffer.alloc(5000))
      await expect(file.sync()).rejects.toMatchObject({ errno: -EDQUOT })
      await expect(file.close()).rejects.toMatchObject({ errno: -EDQUOT })
      expect(await readFile(join(inB, 'f'), 'utf8')).toBe('small')
      // What could not be stored is not lost, and, once the kernel has let go of it, not what the name leads to.
      await expect.poll(async () => (await statusOf(a)).unstored).toMatchObject([{ why: 'EDQUOT' }])
      expect(await readFile(join(inA, 'f'), 'utf8')).toBe('small')
      await writeFile(join(inA, 'f'), 'fits')
      expect(await readFile(join(inB, 'f'), 'utf8')).toBe('fits')
    } finally {
      volume.setQuota({ bytes: undefined, inodes: undefined })
    }
  })

  describe('locks', () => {
    let onA: Posix
    let onB: Posix
    let fa: number
    let fb: number

    beforeAll(async () => {
      await writeFile(join(a, 'locked'), '')
    })

    const begin = async (): Promise<void> => {
      onA = new Posix()
      onB = new Posix()
      fa = await onA.calls.open(join(a, 'locked'), O.RDWR)
      fb = await onB.calls.open(join(b, 'locked'), O.RDWR)
    }
    const end = (): void => {
      onA.close()
      onB.close()
    }
    const waits = (call: Promise<unknown>): Promise<boolean> =>
      Promise.race([call.then(() => false), new Promise<boolean>((resolve) => setTimeout(resolve, 200, true))])

    test('flock excludes over mounts: refused, waited for, shared; released by unlock, close and kill -9', async () => {
      await begin()
      try {
        await onA.calls.flock(fa, LOCK.EX)
        await fails(onB.calls.flock(fb, LOCK.EX | LOCK.NB), 'EAGAIN')
        const waiting = onB.calls.flock(fb, LOCK.EX)
        expect(await waits(waiting)).toBe(true)
        await onA.calls.flock(fa, LOCK.UN)
        await waiting
        await onB.calls.flock(fb, LOCK.SH)
        await onA.calls.flock(fa, LOCK.SH | LOCK.NB)
        await onA.calls.flock(fa, LOCK.UN)
        const again = onA.calls.flock(fa, LOCK.EX)
        expect(await waits(again)).toBe(true)
        await onB.calls.close(fb)
        await again
        fb = await onB.calls.open(join(b, 'locked'), O.RDWR)
        const last = onB.calls.flock(fb, LOCK.EX)
        expect(await waits(last)).toBe(true)
        onA.signal('SIGKILL')
        await last
        expect((await statusOf(b)).locks).toEqual({ held: 1, lost: 0 })
        expect((await statusOf(a)).locks).toEqual({ held: 0, lost: 0 })
      } finally {
        end()
      }
    })

    test('Ctrl-C ends a wait, and nothing is held', async () => {
      await begin()
      try {
        await onA.calls.flock(fa, LOCK.EX)
        const waiting = onB.calls.flock(fb, LOCK.EX)
        expect(await waits(waiting)).toBe(true)
        onB.signal('SIGINT')
        await fails(waiting, 'EINTR')
        await onA.calls.flock(fa, LOCK.UN)
        await onA.calls.flock(fa, LOCK.EX | LOCK.NB)
      } finally {
        end()
      }
    })

    test('locks of byte ranges exclude on one mount, and not over mounts', async () => {
      await begin()
      const other = new Posix()
      try {
        const same = await other.calls.open(join(a, 'locked'), O.RDWR)
        await onA.calls.lock(fa, F.SETLK, F.WRLCK, 0, 10)
        await fails(other.calls.lock(same, F.SETLK, F.WRLCK, 5, 1), 'EAGAIN', 'EACCES')
        await other.calls.lock(same, F.SETLK, F.WRLCK, 10, 1)
        await onB.calls.lock(fb, F.SETLK, F.WRLCK, 0, 10)
      } finally {
        other.close()
        end()
      }
    })

    test('locks of a mount that is killed end with it, for the others', async () => {
      const extra = await lab.mount([])
      const holder = new Posix()
      await begin()
      try {
        const fd = await holder.calls.open(join(extra, 'locked'), O.RDWR)
        await holder.calls.flock(fd, LOCK.EX)
        await fails(onB.calls.flock(fb, LOCK.EX | LOCK.NB), 'EAGAIN')
        // In peace the locks are given back.
        await lab.unmount(extra)
        await onB.calls.flock(fb, LOCK.EX | LOCK.NB)
      } finally {
        holder.close()
        end()
      }
    })
  })

  test('a large file is read while it comes, and status shows how far it is', async () => {
    const [inA, inB] = await folder()
    const content = Buffer.alloc(16 * MIB, 'x')
    content.write('the beginning')
    await writeFile(join(inA, 'large'), content)
    await stat(join(inB, 'large'))
    await network(b, 'bandwidth=4mib')
    try {
      const file = await open(join(inB, 'large'))
      expect(await firstBytes(file, 13)).toBe('the beginning')
      const { transfers } = await statusOf(b)
      expect(transfers).toMatchObject([{ direction: 'fetch' }])
      expect(transfers[0]?.percent).toBeLessThan(90)
      await network(b, 'reset')
      expect((await readFile(join(inB, 'large'))).equals(content)).toBe(true)
      await file.close()
      expect((await statusOf(b)).transfers).toEqual([])
      expect(await callsOf(b, () => readFile(join(inB, 'large')))).toEqual({})
    } finally {
      await network(b, 'reset')
    }
  })

  test('a break during a fetch: who reads gets the old bytes, all of them, and the next open the new ones', async () => {
    const [inA, inB] = await folder()
    const [old, fresh] = ['o', 'n'].map((letter) => Buffer.alloc(8 * MIB, letter)) as [Buffer, Buffer]
    await writeFile(join(inA, 'changing'), old)
    await stat(join(inB, 'changing'))
    await network(b, 'bandwidth=4mib')
    try {
      const file = await open(join(inB, 'changing'))
      expect(await firstBytes(file, 1)).toBe('o')
      await writeFile(join(inA, 'changing'), fresh)
      expect((await statusOf(b)).transfers).toMatchObject([{ direction: 'fetch' }])
      await network(b, 'reset')
      expect((await file.readFile()).equals(old)).toBe(true)
      expect((await readFile(join(inB, 'changing'))).equals(fresh)).toBe(true)
      await file.close()
      expect(await callsOf(b, () => readFile(join(inB, 'changing')))).toEqual({})
    } finally {
      await network(b, 'reset')
    }
  })

  test('Ctrl-C ends a program that waits for a file on its way', async () => {
    const [inA, inB] = await folder()
    await writeFile(join(inA, 'far'), Buffer.alloc(MIB))
    await stat(join(inB, 'far'))
    await network(b, 'bandwidth=100kib')
    try {
      const cat = start('cat', [join(inB, 'far')])
      await expect.poll(async () => (await statusOf(b)).transfers.length).toBe(1)
      cat.child.kill('SIGINT')
      expect((await cat.finished).code).toBe(null)
    } finally {
      await network(b, 'reset')
    }
    expect((await readFile(join(inB, 'far'))).length).toBe(MIB)
  })
})
