// Locks taken on one mount exclude programs on the other: ranges, waiting, interrupts, deadlock.
import { afterEach, beforeEach, expect, test } from 'vitest'
import { fails } from '../conformance/world.ts'
import { onEachTarget } from '../support/each-target.ts'
import { Posix } from '../support/posix.ts'
import { F, LOCK, O, type Syscalls } from '../support/syscalls.ts'

onEachTarget('locks across mounts', { mounts: 2, needs: ['locks', 'sharedLocks'] }, (mounts) => {
  let onA: Posix
  let onB: Posix
  let a: Syscalls
  let b: Syscalls
  /** The same file, open on each mount. */
  let fa: number
  let fb: number
  let count = 0

  beforeEach(async () => {
    onA = new Posix()
    onB = new Posix()
    a = onA.calls
    b = onB.calls
    const name = `locked${++count}`
    fa = await a.open(`${mounts.a}/${name}`, O.RDWR | O.CREAT)
    fb = await b.open(`${mounts.b}/${name}`, O.RDWR)
  })
  afterEach(() => {
    onA.close()
    onB.close()
  })

  const refused = (call: Promise<unknown>): Promise<void> => fails(call, 'EAGAIN', 'EACCES')
  /** Whether a call has not returned after a short while. */
  const waits = (call: Promise<unknown>): Promise<boolean> =>
    Promise.race([call.then(() => false), new Promise<boolean>((resolve) => setTimeout(resolve, 150, true))])

  for (const [kind, set] of [
    ['fcntl', F.SETLK],
    ['OFD', F.OFD_SETLK],
  ] as const) {
    test(`${kind} locks exclude by range`, async () => {
      await a.lock(fa, set, F.WRLCK, 10, 10)
      await refused(b.lock(fb, set, F.RDLCK, 19, 1))
      await b.lock(fb, set, F.WRLCK, 20, 5)
      await refused(a.lock(fa, set, F.WRLCK, 0, 0))
      await a.lock(fa, set, F.UNLCK, 15, 5)
      await b.lock(fb, set, F.WRLCK, 15, 5)
      await a.lock(fa, set, F.RDLCK, 10, 5)
      await b.lock(fb, set, F.RDLCK, 10, 5)
    })
  }

  test('fcntl and OFD locks exclude each other', async () => {
    await a.lock(fa, F.SETLK, F.WRLCK)
    await refused(b.lock(fb, F.OFD_SETLK, F.WRLCK))
  })

  test('flock is apart from fcntl', async ({ skip }) => {
    const reason = mounts.target.missing.flockApart
    if (reason !== undefined) skip(reason)
    await a.lock(fa, F.SETLK, F.WRLCK)
    await b.flock(fb, LOCK.EX | LOCK.NB)
    await refused(a.flock(fa, LOCK.SH | LOCK.NB))
  })

  test('flock excludes, and shared goes with shared', async () => {
    await a.flock(fa, LOCK.EX)
    await refused(b.flock(fb, LOCK.SH | LOCK.NB))
    await a.flock(fa, LOCK.SH)
    await b.flock(fb, LOCK.SH | LOCK.NB)
    await refused(b.flock(fb, LOCK.EX | LOCK.NB))
  })

  test('a waiting lock comes when the other mount lets go: by unlock, close, and death', async () => {
    await a.lock(fa, F.SETLK, F.WRLCK)
    const first = b.lock(fb, F.SETLKW, F.WRLCK)
    expect(await waits(first)).toBe(true)
    await a.lock(fa, F.SETLK, F.UNLCK)
    await first
    const second = a.lock(fa, F.SETLKW, F.WRLCK)
    expect(await waits(second)).toBe(true)
    await b.close(fb)
    await second
    await a.lock(fa, F.SETLK, F.UNLCK)

    fb = await b.open(`${mounts.b}/locked${count}`, O.RDWR)
    await a.flock(fa, LOCK.EX)
    const third = b.flock(fb, LOCK.EX)
    expect(await waits(third)).toBe(true)
    onA.signal('SIGKILL')
    await third
  })

  test('a signal ends the wait with EINTR', async ({ skip }) => {
    const reason = mounts.target.missing.interrupt
    if (reason !== undefined) skip(reason)
    await a.lock(fa, F.SETLK, F.WRLCK)
    const waiting = fails(b.lock(fb, F.SETLKW, F.RDLCK), 'EINTR')
    expect(await waits(waiting)).toBe(true)
    onB.signal('SIGINT')
    await waiting
    await a.lock(fa, F.SETLK, F.UNLCK)
    expect((await a.lock(fa, F.GETLK, F.WRLCK)).kind).toBe(F.UNLCK)
  })

  test('two that wait for each other across the mounts: one gets EDEADLK', async () => {
    await a.lock(fa, F.SETLK, F.WRLCK, 0, 1)
    await b.lock(fb, F.SETLK, F.WRLCK, 1, 1)
    const waiting = a.lock(fa, F.SETLKW, F.WRLCK, 1, 1)
    expect(await waits(waiting)).toBe(true)
    await fails(b.lock(fb, F.SETLKW, F.WRLCK, 0, 1), 'EDEADLK')
    await b.lock(fb, F.SETLK, F.UNLCK, 1, 1)
    await waiting
  })

  test('three that wait in a circle over two files and both mounts: the last gets EDEADLK', async () => {
    const third = new Posix()
    try {
      const c = third.calls
      const other = `${mounts.a}/circle${count}`
      const oa = await a.open(other, O.RDWR | O.CREAT)
      const ob = await b.open(`${mounts.b}/circle${count}`, O.RDWR)
      const oc = await c.open(`${mounts.b}/circle${count}`, O.RDWR)
      const fc = await c.open(`${mounts.b}/locked${count}`, O.RDWR)
      await a.lock(fa, F.SETLK, F.WRLCK, 0, 1)
      await b.lock(fb, F.SETLK, F.WRLCK, 1, 1)
      await c.lock(oc, F.SETLK, F.WRLCK, 0, 1)
      const aWaits = a.lock(fa, F.SETLKW, F.WRLCK, 1, 1)
      expect(await waits(aWaits)).toBe(true)
      const bWaits = b.lock(ob, F.SETLKW, F.WRLCK, 0, 1)
      expect(await waits(bWaits)).toBe(true)
      await fails(c.lock(fc, F.SETLKW, F.WRLCK, 0, 1), 'EDEADLK')
      await c.lock(oc, F.SETLK, F.UNLCK, 0, 1)
      await bWaits
      await b.close(fb)
      await aWaits
      await a.close(oa)
    } finally {
      third.close()
    }
  })

  test('GETLK names the holder on the other mount', async () => {
    await a.lock(fa, F.SETLK, F.WRLCK, 7, 3)
    expect(await b.lock(fb, F.GETLK, F.WRLCK)).toEqual({ kind: F.WRLCK, start: 7, length: 3, pid: await a.pid() })
  })
})
