// Mounts that come and go: stopped in the middle of use, found dead, started again. What was there is there.
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { onEachTarget } from '../support/each-target.ts'
import { mountsUnder } from '../support/mounts.ts'
import { Posix } from '../support/posix.ts'
import { run, shell } from '../support/run.ts'
import { F, O } from '../support/syscalls.ts'

onEachTarget('lifecycle', { mounts: 2, needs: ['crash'] }, (mounts) => {
  const mounted = (): number => mounts.mounted.directories.filter((mount) => mountsUnder(mount).length > 0).length

  test('content is there after a stop and a start', async () => {
    await shell('mkdir d; echo kept > d/f; ln d/f g; ln -s d/f l', { cwd: mounts.a })
    await mounts.mounted.unmount()
    expect(mounted()).toBe(0)
    await mounts.mounted.restart()
    expect(mounted()).toBe(2)
    expect(await shell('cat d/f g l; stat -c %h g', { cwd: mounts.b })).toBe('kept\nkept\nkept\n2\n')
  })

  test('mounts that a killed daemon left are cleaned by the next', async () => {
    await shell('echo before > survivor', { cwd: mounts.a })
    await mounts.mounted.crash({ leaveMounts: true })
    expect(mounted()).toBe(2)
    await mounts.mounted.restart()
    expect(await run('cat', [join(mounts.b, 'survivor')])).toBe('before\n')
  })

  test('a stop with files open, working directories inside and a program that waits', async ({ skip }) => {
    const reason = mounts.target.missing.sharedLocks
    if (reason !== undefined) skip(reason)
    const users = [new Posix(), new Posix(), new Posix()]
    try {
      const [opener, worker, waiter] = users.map(({ calls }) => calls) as [
        Posix['calls'],
        Posix['calls'],
        Posix['calls'],
      ]
      const fd = await opener.open(join(mounts.a, 'open'), O.RDWR | O.CREAT)
      await opener.write(fd, 'written')
      await opener.lock(fd, F.SETLK, F.WRLCK)
      await worker.chdir(mounts.b)
      const waiting = waiter
        .open(join(mounts.b, 'open'), O.RDWR)
        .then((other) => waiter.lock(other, F.SETLKW, F.WRLCK))
        .then(
          () => 'locked',
          () => 'let go',
        )
      await mounts.mounted.unmount()
      expect(mounted()).toBe(0)
      // Mounts with a process each end each by itself: the first gives its lock back.
      expect(await waiting).toMatch(/^(let go|locked)$/)
    } finally {
      for (const user of users) user.close()
    }
    await mounts.mounted.restart()
    expect(await run('cat', [join(mounts.b, 'open')])).toBe('written')
  })
})
