// flock(2), fcntl(2) locks of processes and of open files: what excludes what, waiting, interrupts, deadlock.
import { expect } from 'vitest'
import { F, LOCK, O } from '../support/syscalls.ts'
import { type Area, fails, needs, type World } from './world.ts'

const locked = (run: (t: World) => Promise<void>) => needs('locks', run)

/** Resolves to 'waits' if a call has not returned after a short while. Only ever proves that it waits. */
const stillWaits = (call: Promise<unknown>): Promise<unknown> =>
  Promise.race([call.then(() => 'returned'), new Promise((resolve) => setTimeout(resolve, 150, 'waits'))])

export const locks: Area = {
  'process locks exclude by range, between processes': locked(async (t) => {
    const other = t.another().calls
    const mine = await t.p.open(await t.file('f'), O.RDWR)
    const theirs = await other.open(t.at('f'), O.RDWR)
    await t.p.lock(mine, F.SETLK, F.WRLCK, 10, 10)
    await fails(other.lock(theirs, F.SETLK, F.WRLCK, 15, 1), 'EAGAIN', 'EACCES')
    await fails(other.lock(theirs, F.SETLK, F.RDLCK, 0, 11), 'EAGAIN', 'EACCES')
    await other.lock(theirs, F.SETLK, F.WRLCK, 0, 10)
    await other.lock(theirs, F.SETLK, F.WRLCK, 20, 0)
    await t.p.lock(mine, F.SETLK, F.UNLCK, 12, 3) // A hole in the middle.
    await other.lock(theirs, F.SETLK, F.WRLCK, 12, 3)
    await fails(other.lock(theirs, F.SETLK, F.WRLCK, 11, 1), 'EAGAIN', 'EACCES')
  }),

  'shared locks go together, an exclusive one alone': locked(async (t) => {
    const other = t.another().calls
    const mine = await t.p.open(await t.file('f'), O.RDWR)
    const theirs = await other.open(t.at('f'), O.RDWR)
    await t.p.lock(mine, F.SETLK, F.RDLCK)
    await other.lock(theirs, F.SETLK, F.RDLCK)
    await fails(other.lock(theirs, F.SETLK, F.WRLCK), 'EAGAIN', 'EACCES')
    await t.p.lock(mine, F.SETLK, F.UNLCK)
    await other.lock(theirs, F.SETLK, F.WRLCK)
  }),

  'GETLK tells who stands in the way': locked(async (t) => {
    const other = t.another().calls
    const mine = await t.p.open(await t.file('f'), O.RDWR)
    const theirs = await other.open(t.at('f'), O.RDWR)
    expect((await other.lock(theirs, F.GETLK, F.WRLCK)).kind).toBe(F.UNLCK)
    await t.p.lock(mine, F.SETLK, F.WRLCK, 100, 50)
    expect(await other.lock(theirs, F.GETLK, F.RDLCK, 0, 0)).toEqual({
      kind: F.WRLCK,
      start: 100,
      length: 50,
      pid: await t.p.pid(),
    })
    expect((await t.p.lock(mine, F.GETLK, F.WRLCK)).kind).toBe(F.UNLCK) // Its own lock is not in its way.
  }),

  'process locks go with any close of the file, and with the process': locked(async (t) => {
    const first = t.another()
    const mine = await t.p.open(await t.file('f'), O.RDWR)
    const a = await first.calls.open(t.at('f'), O.RDWR)
    const b = await first.calls.open(t.at('f'), O.RDONLY)
    await first.calls.lock(a, F.SETLK, F.WRLCK)
    await fails(t.p.lock(mine, F.SETLK, F.RDLCK), 'EAGAIN', 'EACCES')
    await first.calls.close(b)
    await t.p.lock(mine, F.SETLK, F.RDLCK)
    await t.p.lock(mine, F.SETLK, F.UNLCK)
    await first.calls.lock(a, F.SETLK, F.WRLCK)
    const waits = t.p.lock(mine, F.SETLKW, F.WRLCK)
    first.signal('SIGKILL')
    await waits
  }),

  'a waiting lock comes when the other goes': locked(async (t) => {
    const other = t.another().calls
    const mine = await t.p.open(await t.file('f'), O.RDWR)
    const theirs = await other.open(t.at('f'), O.RDWR)
    await t.p.lock(mine, F.SETLK, F.WRLCK, 0, 10)
    const waits = other.lock(theirs, F.SETLKW, F.WRLCK, 5, 10)
    expect(await stillWaits(waits)).toBe('waits')
    await t.p.lock(mine, F.SETLK, F.UNLCK, 0, 5)
    expect(await stillWaits(waits)).toBe('waits')
    await t.p.lock(mine, F.SETLK, F.UNLCK, 5, 5)
    await waits
  }),

  'a signal ends the wait with EINTR, and nothing is held': needs(['locks', 'interrupt'], async (t) => {
    const other = t.another()
    const mine = await t.p.open(await t.file('f'), O.RDWR)
    const theirs = await other.calls.open(t.at('f'), O.RDWR)
    await t.p.lock(mine, F.SETLK, F.WRLCK)
    const waits = fails(other.calls.lock(theirs, F.SETLKW, F.WRLCK), 'EINTR')
    expect(await stillWaits(waits)).toBe('waits')
    other.signal('SIGINT')
    await waits
    await t.p.lock(mine, F.SETLK, F.UNLCK)
    expect((await t.p.lock(mine, F.GETLK, F.WRLCK)).kind).toBe(F.UNLCK)
    const flocked = t.another()
    const third = await flocked.calls.open(t.at('f'), O.RDWR)
    await t.p.flock(mine, LOCK.EX)
    const waitsToo = fails(flocked.calls.flock(third, LOCK.EX), 'EINTR')
    expect(await stillWaits(waitsToo)).toBe('waits')
    flocked.signal('SIGINT')
    await waitsToo
    await t.p.flock(mine, LOCK.UN)
    await t.p.flock(await t.p.open(t.at('f'), O.RDONLY), LOCK.EX | LOCK.NB)
  }),

  'a process killed while it waits leaves nothing': locked(async (t) => {
    const other = t.another()
    const mine = await t.p.open(await t.file('f'), O.RDWR)
    const theirs = await other.calls.open(t.at('f'), O.RDWR)
    await t.p.lock(mine, F.SETLK, F.WRLCK)
    const waits = other.calls.lock(theirs, F.SETLKW, F.WRLCK).catch(() => 'gone')
    expect(await stillWaits(waits)).toBe('waits')
    other.signal('SIGKILL')
    expect(await waits).toBe('gone')
    await t.p.lock(mine, F.SETLK, F.UNLCK)
    const third = t.another().calls
    await third.lock(await third.open(t.at('f'), O.RDWR), F.SETLK, F.WRLCK)
  }),

  'two that wait for each other: one gets EDEADLK': locked(async (t) => {
    const other = t.another().calls
    const mine = await t.p.open(await t.file('f'), O.RDWR)
    const theirs = await other.open(t.at('f'), O.RDWR)
    await t.p.lock(mine, F.SETLK, F.WRLCK, 0, 1)
    await other.lock(theirs, F.SETLK, F.WRLCK, 1, 1)
    const waits = t.p.lock(mine, F.SETLKW, F.WRLCK, 1, 1)
    expect(await stillWaits(waits)).toBe('waits')
    await fails(other.lock(theirs, F.SETLKW, F.WRLCK, 0, 1), 'EDEADLK')
    await other.lock(theirs, F.SETLK, F.UNLCK, 1, 1)
    await waits
  }),

  'locks of open files exclude within one process': locked(async (t) => {
    const a = await t.p.open(await t.file('f'), O.RDWR)
    const b = await t.p.open(t.at('f'), O.RDWR)
    await t.p.lock(a, F.OFD_SETLK, F.WRLCK, 0, 10)
    await fails(t.p.lock(b, F.OFD_SETLK, F.RDLCK, 5, 1), 'EAGAIN')
    expect(await t.p.lock(b, F.OFD_GETLK, F.WRLCK)).toMatchObject({ kind: F.WRLCK, start: 0, length: 10, pid: -1 })
    await t.p.lock(await t.p.dup(a), F.OFD_SETLK, F.RDLCK, 0, 10) // The same open file.
    await t.p.lock(b, F.OFD_SETLK, F.RDLCK, 5, 1)
  }),

  'locks of open files stay over other closes and go with their last': locked(async (t) => {
    const a = await t.p.open(await t.file('f'), O.RDWR)
    const b = await t.p.open(t.at('f'), O.RDWR)
    await t.p.lock(a, F.OFD_SETLK, F.WRLCK)
    await t.p.close(await t.p.open(t.at('f'), O.RDONLY))
    const twin = await t.p.dup(a)
    await t.p.close(a)
    await fails(t.p.lock(b, F.OFD_SETLK, F.WRLCK), 'EAGAIN')
    await t.p.close(twin)
    await t.p.lock(b, F.OFD_SETLKW, F.WRLCK)
  }),

  'locks of open files and of processes exclude each other': locked(async (t) => {
    const a = await t.p.open(await t.file('f'), O.RDWR)
    const b = await t.p.open(t.at('f'), O.RDWR)
    await t.p.lock(a, F.OFD_SETLK, F.WRLCK)
    await fails(t.p.lock(b, F.SETLK, F.WRLCK), 'EAGAIN', 'EACCES')
  }),

  'flock excludes between open files and is shared by dup': locked(async (t) => {
    const a = await t.p.open(await t.file('f'), O.RDWR)
    const b = await t.p.open(t.at('f'), O.RDONLY)
    await t.p.flock(a, LOCK.EX)
    await fails(t.p.flock(b, LOCK.SH | LOCK.NB), 'EAGAIN')
    const twin = await t.p.dup(a)
    await t.p.flock(twin, LOCK.SH)
    await t.p.flock(b, LOCK.SH | LOCK.NB)
    await fails(t.p.flock(a, LOCK.EX | LOCK.NB), 'EAGAIN')
    await t.p.flock(b, LOCK.UN)
    await t.p.flock(b, LOCK.SH)
    await t.p.close(b)
    await t.p.flock(a, LOCK.EX)
  }),

  'flock waits, and goes with the last close': locked(async (t) => {
    const other = t.another().calls
    const a = await t.p.open(await t.file('f'), O.RDWR)
    const b = await other.open(t.at('f'), O.RDWR)
    await t.p.flock(a, LOCK.EX)
    const waits = other.flock(b, LOCK.EX)
    expect(await stillWaits(waits)).toBe('waits')
    await t.p.close(a)
    await waits
  }),

  'flock and fcntl locks do not see each other': needs(['locks', 'flockApart'], async (t) => {
    const a = await t.p.open(await t.file('f'), O.RDWR)
    const b = await t.p.open(t.at('f'), O.RDWR)
    await t.p.flock(a, LOCK.EX)
    await t.p.lock(b, F.OFD_SETLK, F.WRLCK)
  }),

  'a lock needs a descriptor that may read, or write': locked(async (t) => {
    const reader = await t.p.open(await t.file('f'), O.RDONLY)
    const writer = await t.p.open(t.at('f'), O.WRONLY)
    await fails(t.p.lock(reader, F.SETLK, F.WRLCK), 'EBADF')
    await fails(t.p.lock(writer, F.SETLK, F.RDLCK), 'EBADF')
    await t.p.flock(reader, LOCK.EX)
  }),

  'locks at the far end of the range': locked(async (t) => {
    const other = t.another().calls
    const mine = await t.p.open(await t.file('f'), O.RDWR)
    const theirs = await other.open(t.at('f'), O.RDWR)
    const last = 2 ** 53 - 2 // As far as these tests can count.
    await t.p.lock(mine, F.SETLK, F.WRLCK, last, 0)
    expect(await other.lock(theirs, F.GETLK, F.WRLCK, 0, 0)).toMatchObject({ start: last, length: 0 })
    await other.lock(theirs, F.SETLK, F.WRLCK, 0, last)
    await fails(other.lock(theirs, F.SETLK, F.WRLCK, 0, last + 1), 'EAGAIN', 'EACCES')
  }),
}
