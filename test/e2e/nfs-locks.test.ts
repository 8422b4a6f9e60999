// Locks of programs on NFS mounts, kept by the server: callbacks, coherence, signals, and what a restart does to them.
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { fails } from '../conformance/world.ts'
import { locksOf, NfsLab, statusOf } from '../support/nfs-lab.ts'
import { Posix } from '../support/posix.ts'
import { F, LOCK, O, type Syscalls } from '../support/syscalls.ts'

const PATIENCE = { timeout: 60_000, interval: 20 }

describe('locks on NFS mounts', () => {
  let lab: NfsLab
  const processes: Posix[] = []

  afterEach(async () => {
    for (const process of processes.splice(0)) process.close()
    await lab?.end()
  })

  async function start(...mounts: (readonly string[])[]): Promise<readonly string[]> {
    lab = await NfsLab.start({ mounts })
    return lab.directories
  }

  function program(): { process: Posix; calls: Syscalls } {
    const process = new Posix()
    processes.push(process)
    return { process, calls: process.calls }
  }

  const network = (mount: string, setting: string): Promise<void> =>
    writeFile(join(mount, '.proteus/network'), `${setting}\n`)

  /** Somebody on a mount waits, for a reason. */
  const waits = (mount: string, state: string): Promise<void> =>
    expect.poll(async () => (await locksOf(mount)).waiting, PATIENCE).toMatchObject([{ state }])

  describe('on two of one server', () => {
    let a: string
    let b: string
    let onA: Syscalls
    let onB: Syscalls
    let processB: Posix
    /** One file, open on both. */
    let fa: number
    let fb: number

    beforeEach(async () => {
      ;[a, b] = (await start([], [])) as [string, string]
      onA = program().calls
      const other = program()
      onB = other.calls
      processB = other.process
      fa = await onA.open(join(a, 'f'), O.RDWR | O.CREAT)
      fb = await onB.open(join(b, 'f'), O.RDWR)
    })

    test('who waits is called back, and does not ask again', async () => {
      await onA.lock(fa, F.SETLK, F.WRLCK)
      const waiting = onB.lock(fb, F.SETLKW, F.WRLCK, 5, 5)
      await waits(b, 'blocked')
      const { held, callsBack } = await locksOf(a)
      expect(callsBack).toBe(true)
      const pid = await onA.pid()
      expect(held).toEqual([{ ino: expect.any(Number), bytes: '0-', kind: 'exclusive', by: 'fcntl', pid }])
      await onA.lock(fa, F.SETLK, F.UNLCK)
      await waiting
      expect((await locksOf(b)).calls['NLM4.LOCK']).toBe(1)
      expect((await locksOf(b)).held).toMatchObject([{ bytes: '5-9' }])
    })

    test('what was written before an unlock is read after the lock, without any close', async () => {
      for (let n = 0; n < 20; n++) {
        await onA.flock(fa, LOCK.EX)
        await onA.pwrite(fa, `from a ${n}`, 0)
        await onA.flock(fa, LOCK.UN)
        await onB.flock(fb, LOCK.EX)
        expect(await onB.pread(fb, 100, 0)).toBe(`from a ${n}`)
        await onB.pwrite(fb, `from b ${n}`, 0)
        await onB.flock(fb, LOCK.UN)
        await onA.flock(fa, LOCK.SH)
        expect(await onA.pread(fa, 100, 0)).toBe(`from b ${n}`)
        await onA.flock(fa, LOCK.UN)
      }
    })

    test('an interrupted wait leaves nothing at the server', async () => {
      await onA.lock(fa, F.SETLK, F.WRLCK)
      const waiting = fails(onB.lock(fb, F.SETLKW, F.WRLCK), 'EINTR')
      await waits(b, 'blocked')
      processB.signal('SIGINT')
      await waiting
      await onA.lock(fa, F.SETLK, F.UNLCK)
      await onA.lock(fa, F.SETLK, F.WRLCK)
      expect(await locksOf(b)).toMatchObject({ held: [], waiting: [] })
    })

    test('a file that is removed while it is open keeps its locks', async () => {
      await onA.lock(fa, F.SETLK, F.WRLCK)
      await onA.unlink(join(a, 'f'))
      await fails(onB.lock(fb, F.SETLK, F.RDLCK), 'EAGAIN')
      await onA.lock(fa, F.SETLK, F.UNLCK)
      await onB.lock(fb, F.SETLK, F.RDLCK)
    })

    test('a mount that ends gives back what it held', async () => {
      const c = await lab.mount([])
      const onC = program().calls
      await onC.lock(await onC.open(join(c, 'f'), O.RDWR), F.SETLK, F.WRLCK)
      const waiting = onB.lock(fb, F.SETLKW, F.WRLCK)
      await waits(b, 'blocked')
      await lab.unmount(c)
      await waiting
    })

    test('a server that dies: the holder keeps its lock, who waits goes on waiting', async () => {
      const third = program().calls
      const fc = await third.open(join(b, 'f'), O.RDWR)
      await onA.lock(fa, F.SETLK, F.WRLCK, 0, 10)
      await onA.lock(fa, F.SETLK, F.RDLCK, 20, 10)
      const waiting = onB.lock(fb, F.SETLKW, F.WRLCK, 0, 30)
      await waits(b, 'blocked')
      await lab.killServer()
      await lab.startServer()
      await waits(b, 'blocked')
      expect(await locksOf(a)).toMatchObject({ held: [{ bytes: '0-9' }, { bytes: '20-29' }], lost: [] })
      await fails(third.lock(fc, F.SETLK, F.WRLCK, 5, 1), 'EAGAIN')
      await third.lock(fc, F.SETLK, F.RDLCK, 25, 1)
      await third.lock(fc, F.SETLK, F.UNLCK)
      await onA.lock(fa, F.SETLK, F.UNLCK)
      await waiting
      expect((await locksOf(b)).held).toMatchObject([{ bytes: '0-29' }])
    }, 90_000)

    test('a lock that nobody reclaims in time is lost, and its mount says so', async () => {
      await onA.lock(fa, F.SETLK, F.WRLCK, 7, 3)
      await network(a, 'down')
      await lab.killServer()
      await lab.startServer()
      await onB.lock(fb, F.SETLKW, F.WRLCK)
      await network(a, 'up')
      await expect
        .poll(async () => (await locksOf(a)).lost, PATIENCE)
        .toMatchObject([{ bytes: '7-9', kind: 'exclusive' }])
      expect((await locksOf(a)).held).toEqual([])
      await fails(onA.lock(fa, F.SETLK, F.WRLCK), 'EAGAIN')
    }, 120_000)

    test('a hard mount waits for a server that is gone; Ctrl-C works', async () => {
      await lab.killServer()
      const waiting = fails(onB.lock(fb, F.SETLK, F.WRLCK), 'EINTR')
      await waits(b, 'asking')
      processB.signal('SIGINT')
      await waiting
      await lab.startServer()
      await expect.poll(async () => (await locksOf(b)).connection, PATIENCE).toBe('open')
      await onA.lock(fa, F.SETLKW, F.WRLCK)
    }, 60_000)
  })

  test('a mount over UDP has them, too', async () => {
    const [a = '', b = ''] = await start(['proto=udp'], [])
    const { calls: onA } = program()
    const { calls: onB } = program()
    await onA.flock(await onA.open(join(a, 'f'), O.RDWR | O.CREAT), LOCK.EX)
    await fails(onB.flock(await onB.open(join(b, 'f'), O.RDWR), LOCK.SH | LOCK.NB), 'EAGAIN')
  })

  test('a soft mount gives up: ENOLCK', async () => {
    const [a = ''] = await start(['soft', 'timeo=5', 'retrans=1'])
    const { calls } = program()
    const file = await calls.open(join(a, 'f'), O.RDWR | O.CREAT)
    await calls.lock(file, F.SETLK, F.WRLCK, 0, 1)
    await lab.killServer()
    await fails(calls.lock(file, F.SETLK, F.WRLCK, 5, 1), 'ENOLCK')
    await fails(calls.lock(file, F.GETLK, F.WRLCK, 9, 1), 'ENOLCK')
  })

  test('with nolock the kernel keeps locks to the mount', async () => {
    const [a = '', b = ''] = await start(['nolock'], ['nolock'])
    const { calls: onA } = program()
    const { calls: onB } = program()
    const { calls: alsoOnA } = program()
    await onA.lock(await onA.open(join(a, 'f'), O.RDWR | O.CREAT), F.SETLK, F.WRLCK)
    await onB.lock(await onB.open(join(b, 'f'), O.RDWR), F.SETLK, F.WRLCK)
    await fails(alsoOnA.lock(await alsoOnA.open(join(a, 'f'), O.RDWR), F.SETLK, F.WRLCK), 'EAGAIN')
    expect((await statusOf(a)).locks).toBe('kept to this mount (nolock)')
  })
})
