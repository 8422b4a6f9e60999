// stat(2), chmod(2), chown(2), utimensat(2): what they tell, what they change, which times move.
import { expect } from 'vitest'
import { run } from '../support/run.ts'
import { O } from '../support/syscalls.ts'
import { type Area, alice, bob, fails, needs, permissions, type World } from './world.ts'

const S = 1_000_000_000n
/** 2001-09-09 01:46:40 UTC and a bit: a time whose every nanosecond digit counts. */
const past = 1_000_000_000n * S + 123_456_789n

/** Whether ctime moved on over an action. Clocks of file systems tick coarsely: it may stand for some milliseconds. */
async function movesCtime({ p }: World, path: string, action: () => Promise<unknown>): Promise<void> {
  const before = (await p.lstat(path)).ctimeNs
  await expect
    .poll(async () => {
      await action()
      return (await p.lstat(path)).ctimeNs > before
    })
    .toBe(true)
}

export const attributes: Area = {
  'stat of a new file': async (t) => {
    const before = BigInt(Date.now() - 60_000) * 1_000_000n
    const stat = await t.p.stat(await t.file('f', 'abc', 0o640))
    expect(stat).toMatchObject({ mode: 0o100640, nlink: 1, size: 3 })
    expect(stat.ino).toBeGreaterThan(0)
    for (const time of [stat.atimeNs, stat.mtimeNs, stat.ctimeNs]) expect(time).toBeGreaterThan(before)
  },

  'files have different inode numbers that stay': async (t) => {
    const inos = await Promise.all(['a', 'b', 'c'].map(async (name) => (await t.p.stat(await t.file(name))).ino))
    expect(new Set(inos).size).toBe(3)
    await t.p.rename(t.at('a'), t.at('moved'))
    expect((await t.p.stat(t.at('moved'))).ino).toBe(inos[0])
    const fd = await t.p.open(t.at('moved'), O.RDONLY)
    expect((await t.p.fstat(fd)).ino).toBe(inos[0])
  },

  'stat follows symlinks, lstat does not': async (t) => {
    await t.file('f', 'abc')
    await t.p.symlink('f', t.at('link'))
    expect((await t.p.stat(t.at('link'))).size).toBe(3)
    expect(await t.p.lstat(t.at('link'))).toMatchObject({ mode: 0o120777, size: 1, nlink: 1 })
  },

  'chmod sets all twelve bits': async (t) => {
    await t.file('f')
    for (const mode of [0, 0o777, 0o4755, 0o2755, 0o1644, 0o7777, 0o600]) {
      await t.p.chmod(t.at('f'), mode)
      expect((await t.p.stat(t.at('f'))).mode).toBe(0o100000 | mode)
    }
    const fd = await t.p.open(t.at('f'), O.RDONLY)
    await t.p.fchmod(fd, 0o751)
    expect(permissions((await t.p.stat(t.at('f'))).mode)).toBe(0o751)
  },

  'chmod of a directory and of an unlinked file': async (t) => {
    await t.p.chmod(await t.directory('d'), 0o2711)
    expect((await t.p.stat(t.at('d'))).mode).toBe(0o042711)
    const fd = await t.p.open(await t.file('f'), O.RDONLY)
    await t.p.unlink(t.at('f'))
    await t.p.fchmod(fd, 0o123)
    expect(permissions((await t.p.fstat(fd)).mode)).toBe(0o123)
  },

  'chmod moves ctime and not mtime': async (t) => {
    await t.file('f')
    await t.p.utimens(t.at('f'), past, past)
    await movesCtime(t, t.at('f'), () => t.p.chmod(t.at('f'), 0o600))
    expect((await t.p.stat(t.at('f'))).mtimeNs / S).toBe(past / S)
  },

  'chown sets owner and group, each alone or both': needs('otherUsers', async (t) => {
    await t.file('f')
    await t.p.chown(t.at('f'), 12, 34)
    expect(await t.p.stat(t.at('f'))).toMatchObject({ uid: 12, gid: 34 })
    await t.p.chown(t.at('f'), -1, 56)
    await t.p.chown(t.at('f'), 78, -1)
    expect(await t.p.stat(t.at('f'))).toMatchObject({ uid: 78, gid: 56 })
    await t.p.chown(t.at('f'), 4_000_000_000, 3_000_000_000)
    expect(await t.p.stat(t.at('f'))).toMatchObject({ uid: 4_000_000_000, gid: 3_000_000_000 })
  }),

  'lchown changes the link, chown its target': needs('otherUsers', async (t) => {
    await t.file('f')
    await t.p.symlink('f', t.at('link'))
    await t.p.lchown(t.at('link'), 12, 34)
    await t.p.chown(t.at('link'), 56, 78)
    expect(await t.p.lstat(t.at('link'))).toMatchObject({ uid: 12, gid: 34 })
    expect(await t.p.stat(t.at('f'))).toMatchObject({ uid: 56, gid: 78 })
  }),

  'chown by a user clears the set-id bits; the group bit stays where the group cannot execute': needs(
    'otherUsers',
    async (t) => {
      const owner = { ...alice, groups: [bob.gid] }
      for (const [before, after] of [
        [0o6755, 0o0755],
        [0o2745, 0o2745],
        [0o2755, 0o0755],
        [0o4644, 0o0644],
      ] as const) {
        const path = await t.file(`f${before}`)
        await t.p.chown(path, alice.uid, alice.gid)
        await t.p.chmod(path, before)
        await t.as(owner).chown(path, -1, bob.gid)
        expect(permissions((await t.p.stat(path)).mode).toString(8)).toBe(after.toString(8))
      }
    },
  ),

  'chown clears the set-user-id bit of special files too, not of directories': needs(
    'otherUsers',
    async ({ p, at }) => {
      await p.mkfifo(at('p'))
      await p.bind(at('s'))
      await p.mkdir(at('d'))
      for (const [name, after] of [
        ['p', 0o755],
        ['s', 0o755],
        ['d', 0o4755],
      ] as const) {
        await p.chmod(at(name), 0o4755)
        await p.chown(at(name), alice.uid, alice.gid)
        expect(permissions((await p.stat(at(name))).mode).toString(8)).toBe(after.toString(8))
      }
    },
  ),

  'a write by a user clears the set-id bits': needs('otherUsers', async (t) => {
    const path = await t.file('f', 'abc')
    await t.p.chown(path, bob.uid, bob.gid)
    await t.p.chmod(path, 0o6777)
    await t.as(alice).truncate(path, 1)
    expect(permissions((await t.p.stat(path)).mode)).toBe(0o777)
  }),

  'a file with set-id bits is written while others read it, and loses them': needs(
    ['otherUsers', 'callers'],
    async (t) => {
      const path = await t.file('f', 'abc', 0o666)
      await t.p.chmod(path, 0o6777)
      const reader = await t.p.open(path, O.RDONLY)
      const program = `printf XY | dd of="${path}" bs=2 conv=notrunc status=none`
      await run('setpriv', [
        '--reuid',
        `${alice.uid}`,
        '--regid',
        `${alice.gid}`,
        '--clear-groups',
        'sh',
        '-c',
        program,
      ])
      expect(await t.p.pread(reader, 10, 0)).toBe('XYc')
      expect(permissions((await t.p.stat(path)).mode)).toBe(0o777)
    },
  ),

  'a file that gets set-id bits while it is open can be opened for writing again': async (t) => {
    const first = await t.p.open(await t.file('f', 'abc'), O.RDWR)
    await t.p.fchmod(first, 0o4755)
    const second = await t.p.open(t.at('f'), O.RDWR)
    expect(await t.p.pwrite(second, 'X', 0)).toBe(1)
    expect(await t.p.pread(first, 10, 0)).toBe('Xbc')
  },

  'utimens sets both times to the second': async (t) => {
    await t.p.utimens(await t.file('f'), 5n * S, past)
    const { atimeNs, mtimeNs } = await t.p.stat(t.at('f'))
    expect([atimeNs / S, mtimeNs / S]).toEqual([5n, past / S])
  },

  'utimens sets both times to the nanosecond': needs('exactTimes', async (t) => {
    await t.p.utimens(await t.file('f'), past + 1n, past)
    expect(await t.p.stat(t.at('f'))).toMatchObject({ atimeNs: past + 1n, mtimeNs: past })
  }),

  'utimens on a directory and on a symlink': async (t) => {
    await t.p.utimens(await t.directory('d'), 7n * S, 8n * S)
    expect(await t.p.stat(t.at('d'))).toMatchObject({ atimeNs: 7n * S, mtimeNs: 8n * S })
    await t.p.symlink('nowhere', t.at('link'))
    await t.p.utimens(t.at('link'), 9n * S, 10n * S, false)
    expect((await t.p.lstat(t.at('link'))).mtimeNs).toBe(10n * S)
  },

  'times before 1970 and after 2038': needs('exactTimes', async (t) => {
    await t.file('f')
    for (const time of [-1_000_000n * S, -1n * S, 0n, 2n ** 31n * S, 2n ** 33n * S]) {
      await t.p.utimens(t.at('f'), time, time)
      expect(await t.p.stat(t.at('f'))).toMatchObject({ atimeNs: time, mtimeNs: time })
    }
  }),

  'times that no file can have are cut to some that it can': needs('exactTimes', async (t) => {
    await t.file('f')
    await t.p.utimens(t.at('f'), -(2n ** 62n) * S, 2n ** 62n * S)
    const { atimeNs, mtimeNs } = await t.p.stat(t.at('f'))
    expect([atimeNs < -1_000_000_000n * S, mtimeNs > 2n ** 33n * S]).toEqual([true, true])
  }),

  'UTIME_OMIT leaves a time, UTIME_NOW takes the clock': needs('exactTimes', async (t) => {
    await t.file('f')
    await t.p.utimens(t.at('f'), 3n * S, 4n * S)
    await t.p.utimens(t.at('f'), 'omit', 5n * S)
    expect(await t.p.stat(t.at('f'))).toMatchObject({ atimeNs: 3n * S, mtimeNs: 5n * S })
    await t.p.utimens(t.at('f'), 'now', 'omit')
    const stat = await t.p.stat(t.at('f'))
    expect(stat.mtimeNs).toBe(5n * S)
    expect(stat.atimeNs).toBeGreaterThan(past)
  }),

  'only the owner sets times; who may write sets them to now': needs('otherUsers', async (t) => {
    const path = await t.file('f')
    await t.p.chown(path, bob.uid, bob.gid)
    await t.p.chmod(path, 0o666)
    await fails(t.as(alice).utimens(path, 1n, 1n), 'EPERM')
    await t.as(alice).utimens(path, 'now', 'now')
    await t.as(bob).utimens(path, 1n * S, 1n * S)
    await t.p.chmod(path, 0o644)
    await fails(t.as(alice).utimens(path, 'now', 'now'), 'EACCES')
  }),

  'a set mtime stays while the file is open and closed': async (t) => {
    const fd = await t.p.open(await t.file('f'), O.RDWR)
    await t.p.write(fd, 'abc')
    await t.p.utimens(t.at('f'), 5n * S, 6n * S)
    expect((await t.p.fstat(fd)).mtimeNs).toBe(6n * S)
    await t.p.close(fd)
    expect((await t.p.stat(t.at('f'))).mtimeNs).toBe(6n * S)
  },

  'changes in a directory move its mtime': async (t) => {
    const path = await t.directory('d')
    const steps: [string, () => Promise<unknown>][] = [
      ['create', () => t.file('d/f')],
      ['link', () => t.p.link(t.at('d/f'), t.at('d/g'))],
      ['rename', () => t.p.rename(t.at('d/g'), t.at('d/h'))],
      ['unlink', () => t.p.unlink(t.at('d/h'))],
      ['mkdir', () => t.directory('d/e')],
      ['rmdir', () => t.p.rmdir(t.at('d/e'))],
    ]
    for (const [what, step] of steps) {
      await t.p.utimens(path, past, past)
      await step()
      expect((await t.p.stat(path)).mtimeNs > past + S, what).toBe(true)
    }
  },

  'link, unlink and rename move the ctime of the file': async (t) => {
    const path = await t.file('f')
    let links = 0
    await movesCtime(t, path, () => t.p.link(path, t.at(`l${links++}`)))
    await movesCtime(t, path, () => t.p.unlink(t.at(`l${--links}`)).then(() => t.p.link(path, t.at(`l${links++}`))))
  },

  'access asks by the real user': needs('otherUsers', async (t) => {
    const path = await t.file('f', '', 0o640)
    await t.p.chown(path, alice.uid, bob.gid)
    await t.as(alice).access(path, 6)
    await fails(t.as(alice).access(path, 1), 'EACCES')
    await t.as(bob).access(path, 4)
    await fails(t.as(bob).access(path, 2), 'EACCES')
    await t.p.access(path, 6)
    await fails(t.p.access(path, 1), 'EACCES') // Root, too, executes only what somebody may.
    await fails(t.p.access(t.at('nothing'), 0), 'ENOENT')
  }),

  'statfs tells sensible totals': async ({ p, dir }) => {
    const { blocks, bfree, bavail, namemax, bsize } = await p.statvfs(dir)
    expect(namemax).toBe(255)
    expect(bsize).toBeGreaterThanOrEqual(512)
    expect(blocks).toBeGreaterThanOrEqual(bfree)
    expect(bfree).toBeGreaterThanOrEqual(bavail)
    expect(bavail).toBeGreaterThan(0)
  },
}
