// Who may do what: mode bits, supplementary groups, directories, sticky and set-group-id directories, umask.
import { expect } from 'vitest'
import { O } from '../support/syscalls.ts'
import { type Area, alice, bob, fails, needs, permissions } from './world.ts'

const asUsers = (run: Parameters<typeof needs>[1]) => needs('otherUsers', run)

export const permissionChecks: Area = {
  'owner, group and others each have their own bits': asUsers(async (t) => {
    const path = await t.file('f', 'abc')
    await t.p.chown(path, alice.uid, alice.gid)
    const member = { ...bob, groups: [alice.gid] }
    const who = { owner: alice, group: member, other: bob }
    for (const [mode, reads, writes] of [
      [0o400, ['owner'], []],
      [0o040, ['group'], []],
      [0o004, ['other'], []],
      [0o264, ['group', 'other'], ['owner', 'group']],
      [0o077, ['group', 'other'], ['group', 'other']],
      [0o606, ['owner', 'other'], ['owner', 'other']],
    ] as const) {
      await t.p.chmod(path, mode)
      for (const [name, user] of Object.entries(who)) {
        const tries: [number, readonly string[]][] = [
          [O.RDONLY, reads],
          [O.WRONLY, writes],
        ]
        for (const [flags, allowed] of tries) {
          const attempt = t.as(user).open(path, flags)
          if (allowed.includes(name)) await attempt
          else await fails(attempt, 'EACCES')
        }
      }
    }
  }),

  'the primary group counts too': asUsers(async (t) => {
    const path = await t.file('f', '', 0o640)
    await t.p.chown(path, 0, alice.gid)
    await t.as({ uid: bob.uid, gid: alice.gid }).open(path, O.RDONLY)
  }),

  'thirty supplementary groups are looked at': asUsers(async (t) => {
    const path = await t.file('f', '', 0o640)
    await t.p.chown(path, 0, 70_029)
    const groups = Array.from({ length: 30 }, (_, i) => 70_000 + i)
    await t.as({ ...bob, groups }).open(path, O.RDONLY)
    await fails(t.as({ ...bob, groups: groups.slice(0, 29) }).open(path, O.RDONLY), 'EACCES')
  }),

  'root reads and writes everything': asUsers(async (t) => {
    const path = await t.file('f', 'abc', 0)
    await t.p.chown(path, alice.uid, alice.gid)
    await t.p.open(path, O.RDWR)
  }),

  'search permission is needed on the way, read permission to list': asUsers(async (t) => {
    const path = await t.directory('d')
    await t.file('d/f')
    await t.p.chmod(path, 0o711)
    await t.as(alice).open(t.at('d/f'), O.RDONLY)
    await fails(t.as(alice).readdir(path), 'EACCES')
    await t.p.chmod(path, 0o744)
    expect(await t.as(alice).readdir(path)).toEqual(['f'])
    await fails(t.as(alice).open(t.at('d/f'), O.RDONLY), 'EACCES')
    await fails(t.as(alice).stat(t.at('d/nothing')), 'EACCES')
    await fails(t.as(alice).chdir(path), 'EACCES')
  }),

  'a permission taken away counts at once': asUsers(async (t) => {
    const path = await t.file('f', 'abc', 0o644)
    for (let round = 0; round < 3; round++) {
      await t.p.chmod(path, 0o644)
      await t.as(alice).open(path, O.RDONLY)
      await t.p.chmod(path, 0o600)
      await fails(t.as(alice).open(path, O.RDONLY), 'EACCES')
    }
  }),

  'an open descriptor keeps its rights': asUsers(async (t) => {
    const path = await t.file('f', 'abc')
    const fd = await t.p.open(path, O.RDWR)
    await t.p.chmod(path, 0)
    expect(await t.p.read(fd, 3)).toBe('abc')
    expect(await t.p.write(fd, 'def')).toBe(3)
  }),

  'changing a directory needs write and search on it': asUsers(async (t) => {
    await t.common('d', 0o777)
    await t.file('d/f')
    for (const mode of [0o755, 0o776]) {
      await t.p.chmod(t.at('d'), mode)
      const user = t.as(alice)
      await fails(user.open(t.at('d/new'), O.WRONLY | O.CREAT), 'EACCES')
      await fails(user.mkdir(t.at('d/new')), 'EACCES')
      await fails(user.symlink('x', t.at('d/new')), 'EACCES')
      await fails(user.unlink(t.at('d/f')), 'EACCES')
      await fails(user.rename(t.at('d/f'), t.at('d/g')), 'EACCES')
    }
    await t.p.chmod(t.at('d'), 0o773)
    await t.as(alice).unlink(t.at('d/f')) // Not its own file: the directory decides.
  }),

  'a new file belongs to its maker': needs(['otherUsers', 'callers'], async (t) => {
    await t.common('d')
    const user = t.as({ ...alice, umask: 0o077 })
    await user.open(t.at('d/f'), O.WRONLY | O.CREAT, 0o666)
    await user.mkdir(t.at('d/e'), 0o777)
    await user.symlink('x', t.at('d/l'))
    expect(await t.p.stat(t.at('d/f'))).toMatchObject({ ...alice, mode: 0o100600 })
    expect(await t.p.stat(t.at('d/e'))).toMatchObject({ ...alice, mode: 0o040700 })
    expect(await t.p.lstat(t.at('d/l'))).toMatchObject(alice)
  }),

  'umask takes bits from files, directories and nodes, not from chmod': async ({ p, at }) => {
    await p.umask(0o137)
    await p.open(at('f'), O.WRONLY | O.CREAT, 0o777)
    await p.mkdir(at('d'), 0o777)
    await p.mkfifo(at('p'), 0o777)
    for (const name of ['f', 'd', 'p']) expect(permissions((await p.stat(at(name))).mode)).toBe(0o640)
    await p.chmod(at('f'), 0o777)
    expect(permissions((await p.stat(at('f'))).mode)).toBe(0o777)
  },

  'in a set-group-id directory files take its group and directories its bit': needs(
    ['otherUsers', 'callers'],
    async (t) => {
      await t.common('d', 0o777)
      await t.p.chown(t.at('d'), 0, bob.gid)
      await t.p.chmod(t.at('d'), 0o2777)
      const user = t.as(alice)
      await user.open(t.at('d/f'), O.WRONLY | O.CREAT, 0o644)
      await user.mkdir(t.at('d/e'), 0o755)
      expect(await t.p.stat(t.at('d/f'))).toMatchObject({ uid: alice.uid, gid: bob.gid, mode: 0o100644 })
      expect(await t.p.stat(t.at('d/e'))).toMatchObject({ uid: alice.uid, gid: bob.gid, mode: 0o042755 })
      // Set-group-id on an executable is not for those outside of the group.
      await user.open(t.at('d/x'), O.WRONLY | O.CREAT, 0o2775)
      expect((await t.p.stat(t.at('d/x'))).mode & 0o2000).toBe(0)
    },
  ),

  'in a sticky directory only owners remove and rename': needs(['otherUsers', 'callers'], async (t) => {
    await t.common('d', 0o1777)
    await t.as(alice).open(t.at('d/f'), O.WRONLY | O.CREAT, 0o666)
    await t.as(alice).mkdir(t.at('d/e'))
    await t.as(bob).open(t.at('d/mine'), O.WRONLY | O.CREAT)
    const other = t.as(bob)
    await fails(other.unlink(t.at('d/f')), 'EPERM', 'EACCES')
    await fails(other.rmdir(t.at('d/e')), 'EPERM', 'EACCES')
    await fails(other.rename(t.at('d/f'), t.at('d/g')), 'EPERM', 'EACCES')
    await fails(other.rename(t.at('d/mine'), t.at('d/f')), 'EPERM', 'EACCES')
    await other.rename(t.at('d/mine'), t.at('d/mine2'))
    await t.as(alice).unlink(t.at('d/f'))
    await t.p.chown(t.at('d'), bob.uid, bob.gid)
    await other.rmdir(t.at('d/e')) // The directory's owner may.
  }),

  'chmod and chown are for the owner, giving away for root': asUsers(async (t) => {
    const path = await t.file('f', '', 0o666)
    await fails(t.as(alice).chmod(path, 0o600), 'EPERM')
    await t.p.chown(path, alice.uid, alice.gid)
    await t.as(alice).chmod(path, 0o600)
    await fails(t.as(alice).chown(path, bob.uid, -1), 'EPERM')
    await fails(t.as(alice).chown(path, -1, bob.gid), 'EPERM')
    await t.as({ ...alice, groups: [bob.gid] }).chown(path, -1, bob.gid)
    expect(await t.p.stat(path)).toMatchObject({ uid: alice.uid, gid: bob.gid })
  }),

  'chmod by an owner outside of the group drops set-group-id': asUsers(async (t) => {
    const path = await t.file('f')
    await t.p.chown(path, alice.uid, bob.gid)
    await t.as(alice).chmod(path, 0o2755)
    expect(permissions((await t.p.stat(path)).mode)).toBe(0o755)
    await t.as({ ...alice, groups: [bob.gid] }).chmod(path, 0o2755)
    expect(permissions((await t.p.stat(path)).mode)).toBe(0o2755)
  }),

  'moving a directory to another parent needs write permission on it': asUsers(async (t) => {
    await t.common('from')
    await t.common('to')
    await t.directory('from/d')
    await fails(t.as(alice).rename(t.at('from/d'), t.at('to/d')), 'EACCES')
    await t.as(alice).rename(t.at('from/d'), t.at('from/e'))
    await t.p.chmod(t.at('from/e'), 0o777)
    await t.as(alice).rename(t.at('from/e'), t.at('to/d'))
  }),

  'a hard link to a foreign file in a common directory is refused or made, but never changes the file': asUsers(
    async (t) => {
      await t.common('d')
      const path = await t.file('d/f', 'abc', 0o600)
      const made = await t
        .as(alice)
        .link(path, t.at('d/g'))
        .then(
          () => true,
          (error: { code: string }) => {
            expect(['EPERM', 'EACCES']).toContain(error.code) // fs.protected_hardlinks
            return false
          },
        )
      expect(await t.p.stat(path)).toMatchObject({ uid: 0, mode: 0o100600, nlink: made ? 2 : 1 })
    },
  ),
}
