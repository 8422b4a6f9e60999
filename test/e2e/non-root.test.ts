// A user without root mounts through fusermount3: the same lab, and clear words where something is not permitted.
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { modesWithScenarios, scenariosOf } from '../../src/lab/catalogue.ts'
import { notRoot } from '../support/capabilities.ts'
import { Unprivileged } from '../support/unprivileged.ts'

/** Takes a lock on $1, and tries another on $2 in a second process: prints whether that got it. */
const tryBoth = (kind: 'lockf' | 'flock'): string => `
  python3 -c '
import fcntl, os, sys
def lock(path, flags):
    f = open(path, "r+")
    fcntl.${kind}(f, flags)
    return f
mine = lock(sys.argv[1], fcntl.LOCK_EX)
child = os.fork()
if child == 0:
    try:
        lock(sys.argv[2], fcntl.LOCK_EX | fcntl.LOCK_NB)
        print("both", flush=True)
    except BlockingIOError:
        print("excluded", flush=True)
    os._exit(0)
os.waitpid(child, 0)'`

describe.skipIf(notRoot.otherUsers)(`a user without root (${notRoot.otherUsers ?? 'nobody'})`, () => {
  let user: Unprivileged
  afterEach(() => user.close())

  test('up, work on both mounts, down', async () => {
    user = await Unprivileged.create()
    const [up] = await user.json('up', '--detach')
    expect(up).toMatchObject({ event: 'ready', data: join(user.home, '.proteus-data') })
    expect(await user.mounts()).toEqual(
      ['a', 'b'].map((name) => `${join(user.home, 'mount', name)} rw,nosuid,nodev,relatime`),
    )

    const work = await user.shell(`
      echo hello > mount/a/note; cat mount/b/note; stat -c %U mount/b/note
      mkdir mount/b/d; mv mount/a/note mount/a/d/n; cat mount/b/d/n; ls mount/a
      head -c 3000000 /dev/urandom > mount/a/big; cmp mount/a/big mount/b/big && echo same
      echo more >> mount/b/d/n; cat mount/a/d/n`)
    expect(work).toEqual({ code: 0, stderr: '', stdout: 'hello\nnobody\nhello\nd\nsame\nhello\nmore\n' })

    const [mixed] = await user.json('switch', 'nfs', 'mount/b', '-o', 'actimeo=1')
    expect(Object.values(mixed?.modes ?? {})).toEqual(['local', 'nfs'])
    expect(await user.shell('cat mount/a/d/n mount/b/d/n')).toMatchObject({ stdout: 'hello\nmore\nhello\nmore\n' })
    const sleeper = user.start('/bin/sh', ['-c', 'cd mount/b && echo there && exec sleep 50'])
    await new Promise((resolve) => sleeper.child.stdout?.once('data', resolve))
    const refused = await user.proteus('switch', 'local')
    expect(refused).toMatchObject({ code: 1, stdout: expect.stringMatching(/^ {2}s\w+ \(\d+\) +working dir/m) })
    sleeper.child.kill('SIGKILL')
    await sleeper.finished
    await user.json('switch', 'local')

    for (const kind of ['lockf', 'flock'] as const) {
      const locks = await user.shell(
        `${tryBoth(kind)} mount/a/big mount/b/big; ${tryBoth(kind)} mount/a/big mount/b/d/n`,
      )
      expect(locks).toEqual({ code: 0, stderr: '', stdout: 'excluded\nboth\n' })
    }

    const [status] = await user.json('status')
    expect(status).toMatchObject({ well: true, mounts: [{ status: { kernel: { passthrough: false } } }, {}] })
    // A mount of one's own: not even root gets in.
    expect((await user.shell('ls mount/a', { root: true })).stderr).toMatch(/Permission denied/)

    await user.json('down')
    expect(await user.mounts()).toEqual([])
    await user.json('up', '--detach')
    expect(await user.shell('cat mount/b/d/n')).toMatchObject({ stdout: 'hello\nmore\n' })
    await user.json('unmount', 'mount/a')
    await user.json('unmount', 'mount/b')
    expect(await user.mounts()).toEqual([])
  })

  test('a mount whose server was killed is cleaned, by down and by the next up', async () => {
    user = await Unprivileged.create()
    for (const next of [['down'], ['up', '--detach']]) {
      const [up] = await user.json('up', '--detach')
      process.kill(up?.pid as number, 'SIGKILL')
      await user.shell('while [ "$(stat -f mount/a 2>/dev/null)" ]; do :; done')
      await user.json(...next)
      expect((await user.mounts()).length).toBe(next[0] === 'up' ? 2 : 0)
      await user.json('down')
    }
    expect(await user.mounts()).toEqual([])
  })

  test('allow_other needs leave from /etc/fuse.conf', async () => {
    user = await Unprivileged.create()
    expect(await user.proteus('up', '-o', 'allow_other')).toEqual({
      code: 1,
      stdout: '',
      stderr: 'proteus: allow_other without root needs a line `user_allow_other` in /etc/fuse.conf\n',
    })
    expect(await user.mounts()).toEqual([])
  })

  test('with leave others come in', async () => {
    user = await Unprivileged.create({ fuseConf: 'user_allow_other\n' })
    await user.json('up', '--detach', '-o', 'allow_other')
    await user.shell('echo for all > mount/a/f')
    expect(await user.shell('cat mount/b/f', { root: true })).toMatchObject({ stdout: 'for all\n' })
    await user.json('down')
  })

  test('options that fusermount3 never grants are refused, not ignored', async () => {
    user = await Unprivileged.create()
    const { code, stderr } = await user.proteus('up', '-o', 'suid')
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: 'proteus: the options suid and dev need root: fusermount3 always mounts with nosuid and nodev\n',
    })
    await user.json('mount', 'local:d', 'm', '-o', 'ro,noexec,fsname=mine')
    expect(await user.mounts()).toEqual([`${join(user.home, 'm')} ro,nosuid,nodev,noexec,relatime`])
    await user.json('unmount', 'm')
  })

  test('without fusermount3 it says what to install', async () => {
    user = await Unprivileged.create()
    expect(await user.proteusAlone('up')).toEqual({
      code: 1,
      stdout: '',
      stderr: 'proteus: mounting without root needs fusermount3: apt-get install fuse3\n',
    })
    const doctor = await user.proteusAlone('doctor')
    expect(doctor.code).toBe(1)
    expect(doctor.stdout).toMatch(/^missing +right to mount +neither root nor fusermount3; apt-get install fuse3$/m)
  })

  test('without access to /dev/fuse it says how to get it', async () => {
    user = await Unprivileged.create({ device: '0600' })
    const { code, stderr } = await user.proteus('up')
    expect(code).toBe(1)
    expect(stderr).toMatch(/^proteus: \/dev\/fuse is not for this user: run as root, or `chmod 666 \/dev\/fuse` .*\n$/)
    expect((await user.proteus('doctor')).stdout).toMatch(/^missing +\/dev\/fuse +not for this user/m)
  })

  test("others' directories are refused in one line", async () => {
    user = await Unprivileged.create()
    for (const args of [
      ['up', '--data', '/etc/x'],
      ['up', '--mounts', '/etc/x'],
      ['mount', 'local:d', '/etc/x'],
    ])
      expect((await user.proteus(...args)).stderr).toMatch(
        /^proteus: \/etc\/x cannot be made, permission denied: .*\n$/,
      )
    const { stderr } = await user.proteus('up', '--mounts', '/')
    expect(stderr.trimEnd().split('\n').length).toBe(1)
    expect(await user.mounts()).toEqual([])
  })

  test.each(modesWithScenarios)(
    'sees in the scenarios of mode %s what root sees, or why not',
    { timeout: 180_000 },
    async (mode) => {
      user = await Unprivileged.create()
      const left = [...scenariosOf(mode)]
      while (left.length > 0) {
        const some = left.splice(0, 4).map(async ({ name, needs = [] }) => {
          const events = await user.json('demo', mode, name)
          expect(events.at(-1), name).toMatchObject({ event: 'summary', ok: true, skipped: needs.length })
        })
        await Promise.all(some)
      }
      expect(await user.mounts()).toEqual([])
    },
  )
})
