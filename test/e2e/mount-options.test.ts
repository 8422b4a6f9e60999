// Mount options do what they say: the kernel shows them in /proc/self/mountinfo, and programs meet them.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { notRoot } from '../support/capabilities.ts'
import { Cli } from '../support/cli.ts'
import { run, shell, start } from '../support/run.ts'

let cli: Cli
beforeEach(() => {
  cli = new Cli()
})
afterEach(() => cli.cleanUp())

/** Field 6 (per mount), and after " - ": type, source, options of the file system (proc_pid_mountinfo(5)). */
function mountInfo() {
  const line = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .find((candidate) => candidate.split(' ')[4] === cli.a)
  const [left = '', right = ''] = line?.split(' - ') ?? []
  const [type, source, options = ''] = right.split(' ')
  return { mount: left.split(' ')[5]?.split(',') ?? [], type, source, options: options.split(',') }
}

const mount = (...options: string[]) =>
  cli.json('mount', `local:${cli.data}`, 'a', ...options.flatMap((o) => ['-o', o]))
const asNobody = ['--reuid', '65534', '--regid', '65534', '--clear-groups']

describe('an option is what the kernel shows', () => {
  test.each(['ro', 'noexec', 'nosuid', 'nodev', 'noatime'])('%s', async (option) => {
    await mount(option)
    expect(mountInfo().mount).toContain(option)
  })

  test.each(['sync', 'dirsync', 'default_permissions', 'max_read=65536'])('%s', async (option) => {
    await mount(option)
    expect(mountInfo().options).toContain(option)
  })

  test('fsname and subtype', async () => {
    await mount('fsname=my-lab', 'subtype=house')
    expect(mountInfo()).toMatchObject({ type: 'fuse.house', source: 'my-lab' })
  })

  test('none: the names of the program', async () => {
    await mount()
    expect(mountInfo()).toMatchObject({ type: 'fuse.proteus', source: 'proteus:local' })
    for (const option of ['ro', 'noexec']) expect(mountInfo().mount).not.toContain(option)
  })
})

describe('programs meet it', () => {
  test('ro: nothing can be changed, and what is there can be read', async () => {
    await mount()
    await shell('echo content > "$1/f"', { args: [cli.a] })
    await cli.json('unmount', 'a')
    await mount('ro')
    const result = await start('touch', [join(cli.a, 'g')]).finished
    expect(result.stderr).toMatch(/Read-only file system/)
    expect(await run('cat', [join(cli.a, 'f')])).toBe('content\n')
  })

  test('noexec: no program starts', async () => {
    await mount('noexec')
    await shell('cp "$(command -v id)" "$1/program"', { args: [cli.a] })
    await expect(run(join(cli.a, 'program'), [])).rejects.toThrow(/EACCES/)
    await cli.json('unmount', 'a')
    await mount()
    await run(join(cli.a, 'program'), [])
  })

  test('nodev and nosuid take away what root has without them', async ({ skip }) => {
    if (notRoot.otherUsers !== undefined) skip(notRoot.otherUsers)
    const device = () => start('sh', ['-c', 'head -c 1 "$1" | wc -c', 'sh', join(cli.a, 'zero')]).finished
    const effective = () => run('setpriv', [...asNobody, join(cli.a, 'id'), '-u'])
    await mount()
    await shell('mknod zero c 1 5; cp "$(command -v id)" id; chmod 4755 id', { cwd: cli.a })
    expect(await device()).toMatchObject({ stdout: '1\n', stderr: '' })
    expect(await effective()).toBe('0\n')
    await cli.json('unmount', 'a')
    await mount('nodev,nosuid')
    expect((await device()).stderr).toMatch(/Permission denied/)
    expect(await effective()).toBe('65534\n')
    await cli.json('unmount', 'a')
    await mount('nodev,nosuid', 'dev,suid')
    expect(await device()).toMatchObject({ stdout: '1\n', stderr: '' })
    expect(await effective()).toBe('0\n')
  })

  test("allow_other, root's default: others come in, and permissions hold for them", async ({ skip }) => {
    if (notRoot.otherUsers !== undefined) skip(notRoot.otherUsers)
    await mount('allow_other,default_permissions')
    expect(mountInfo().options).toEqual(expect.arrayContaining(['allow_other', 'default_permissions']))
    await shell('echo open > open; echo closed > closed; chmod 600 closed', { cwd: cli.a })
    expect(await run('setpriv', [...asNobody, 'cat', join(cli.a, 'open')])).toBe('open\n')
    const closed = await start('setpriv', [...asNobody, 'cat', join(cli.a, 'closed')]).finished
    expect(closed.stderr).toMatch(/Permission denied/)
  })

  test('the portable driver takes them, too', async () => {
    await cli.json(
      'mount',
      `local:${cli.data}`,
      'a',
      '--driver',
      'portable',
      '-o',
      'ro,noexec,fsname=lab,subtype=house',
    )
    expect(mountInfo()).toMatchObject({ type: 'fuse.house', source: 'lab' })
    expect(mountInfo().mount).toEqual(expect.arrayContaining(['ro', 'noexec']))
  })
})
