// Our client on a server that others wrote: the directory that it exports shows what really became of it.
import {
  appendFile,
  lstat,
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  truncate,
  unlink,
  utimes,
  writeFile,
} from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { fails } from '../conformance/world.ts'
import type { Daemon } from '../support/daemon.ts'
import { Ganesha, whyNoGanesha, whyNoLocks } from '../support/ganesha.ts'
import { locksOf, mountNfs, statusOf } from '../support/nfs-lab.ts'
import { Posix } from '../support/posix.ts'
import { shell } from '../support/run.ts'
import { script } from '../support/scripts.ts'
import { F, LOCK, O } from '../support/syscalls.ts'
import { scratch } from '../support/targets.ts'

const why = whyNoGanesha()
const noLocks = whyNoLocks()

describe('an NFS mount of nfs-ganesha', () => {
  let server: Ganesha | undefined
  const daemons: Daemon[] = []
  let mount = ''
  let other = ''
  let there = ''

  beforeAll(async () => {
    if (why !== undefined) return
    const folder = scratch('ganesha')
    server = await Ganesha.start(folder)
    there = server.directory
    mount = join(folder, 'mount')
    other = join(folder, 'other')
    const { url, options, within } = server
    for (const directory of [mount, other]) {
      daemons.push(await mountNfs({ url, directory, folder, options, within }))
    }
  })
  afterAll(async () => {
    for (const daemon of daemons) await daemon.kill()
    await server?.end()
  })

  const onGanesha = (title: string, body: () => Promise<void>, needs?: string): void =>
    test(title, async ({ skip }) => {
      const missing = why ?? needs
      if (missing !== undefined) skip(missing)
      await body()
    })

  onGanesha('files: made, written, read, cut, removed', async () => {
    const content = Buffer.from(Array.from({ length: 3_000_001 }, (_, n) => n % 253))
    await writeFile(join(mount, 'f'), content)
    expect((await readFile(join(there, 'f'))).equals(content)).toBe(true)
    await truncate(join(mount, 'f'), 1000)
    await utimes(join(mount, 'f'), 1_000_000, 2_000_000)
    expect(await stat(join(there, 'f'))).toMatchObject({ size: 1000, mtimeMs: 2e9, atimeMs: 1e9 })
    expect(await readFile(join(mount, 'f'))).toEqual(content.subarray(0, 1000))
    await unlink(join(mount, 'f'))
    expect(await readdir(there)).not.toContain('f')
  })

  onGanesha('appends: many, in order, and none is taken for a lost one', async () => {
    const piece = Buffer.alloc(1_500_000, 7)
    const file = await open(join(mount, 'log'), 'a')
    for (let n = 0; n < 6; n++) {
      await file.write(piece)
      if (n % 2 === 0) await file.sync()
    }
    await file.close()
    await appendFile(join(mount, 'log'), 'end')
    expect((await stat(join(there, 'log'))).size).toBe(6 * piece.length + 3)
    // This server does not say how long the file was before a WRITE: nobody can tell.
    const { overwrites, holes, unjudged } = (await statusOf(mount)).appends
    expect([overwrites, holes, unjudged > 0]).toEqual([0, 0, true])
  })

  onGanesha('names: directories, links, renames, exclusive creation', async () => {
    await mkdir(join(mount, 'd'))
    await writeFile(join(mount, 'd/one'), 'one', { flag: 'wx' })
    await expect(writeFile(join(mount, 'd/one'), '', { flag: 'wx' })).rejects.toMatchObject({ code: 'EEXIST' })
    await symlink('one', join(mount, 'd/two'))
    await rename(join(mount, 'd/one'), join(mount, 'three'))
    expect((await lstat(join(there, 'd/two'))).isSymbolicLink()).toBe(true)
    expect(await readFile(join(there, 'three'), 'utf8')).toBe('one')
    await expect(rm(join(mount, 'missing'))).rejects.toMatchObject({ code: 'ENOENT' })
    await rm(join(mount, 'd'), { recursive: true })
  })

  onGanesha('a long listing, whatever its cookies are', async () => {
    await mkdir(join(mount, 'many'))
    const names = Array.from({ length: 3000 }, (_, n) => `name-${n}-${'x'.repeat(n % 100)}`)
    await shell('cd "$1" && xargs touch', { args: [join(there, 'many')], input: names.join('\n') })
    expect((await readdir(join(mount, 'many'))).sort()).toEqual([...names].sort())
    expect(await shell('ls -l "$1" | wc -l', { args: [join(mount, 'many')] })).toBe(`${names.length + 1}\n`)
  })

  for (const kind of ['fcntl', 'ofd', 'flock']) {
    onGanesha(
      `a counter under ${kind} locks counts every step of both mounts`,
      async () => {
        await writeFile(join(mount, kind), '0')
        const count = (at: string) => script('races.py', ['count', join(at, kind), '50', kind])
        await Promise.all([mount, other, other].map(count))
        expect(await readFile(join(there, kind), 'utf8')).toBe('150')
      },
      noLocks,
    )
  }

  onGanesha('close-to-open, and a silly rename', async () => {
    await writeFile(join(mount, 'c'), 'one')
    expect(await readFile(join(mount, 'c'), 'utf8')).toBe('one')
    await writeFile(join(there, 'c'), 'other')
    expect(await readFile(join(mount, 'c'), 'utf8')).toBe('other')
    const file = await open(join(mount, 'c'))
    await unlink(join(mount, 'c'))
    expect((await file.read({ buffer: Buffer.alloc(5), position: 0 })).buffer.toString()).toBe('other')
    expect((await readdir(there)).filter((name) => name.startsWith('.nfs'))).toHaveLength(1)
    await file.close()
    await expect.poll(async () => (await readdir(there)).filter((name) => name.startsWith('.nfs'))).toEqual([])
  })

  onGanesha(
    'locks keep the other mount out, and what was written under one is seen under the next',
    async () => {
      const [onA, onB] = [new Posix(), new Posix()]
      try {
        const [a, b] = [onA.calls, onB.calls]
        const fa = await a.open(join(mount, 'locked'), O.RDWR | O.CREAT)
        const fb = await b.open(join(other, 'locked'), O.RDWR)
        await a.lock(fa, F.SETLK, F.WRLCK, 10, 10)
        await fails(b.lock(fb, F.SETLK, F.RDLCK, 19, 1), 'EAGAIN')
        await fails(b.flock(fb, LOCK.SH | LOCK.NB), 'EAGAIN')
        expect(await b.lock(fb, F.GETLK, F.WRLCK)).toEqual({ kind: F.WRLCK, start: 10, length: 10, pid: await a.pid() })
        const waiting = b.lock(fb, F.SETLKW, F.WRLCK, 0, 15)
        await expect.poll(async () => (await locksOf(other)).waiting).toMatchObject([{ state: 'blocked' }])
        await a.pwrite(fa, 'written under the lock', 0)
        await a.lock(fa, F.SETLK, F.UNLCK)
        await waiting
        expect(await b.pread(fb, 100, 0)).toBe('written under the lock')
        // A wait that was given up does not get the lock later.
        const interrupted = fails(a.lock(fa, F.SETLKW, F.WRLCK, 0, 1), 'EINTR')
        await expect.poll(async () => (await locksOf(mount)).waiting).toMatchObject([{ state: 'blocked' }])
        onA.signal('SIGINT')
        await interrupted
        await b.close(fb)
        const third = await b.open(join(other, 'locked'), O.RDWR)
        await b.lock(third, F.OFD_SETLK, F.WRLCK)
      } finally {
        onA.close()
        onB.close()
      }
    },
    noLocks,
  )
})
