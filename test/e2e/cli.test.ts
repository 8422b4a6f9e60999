// The command line from one end to the other, as a user types it: what it prints, its exit codes, what it leaves.
import { existsSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Cli, parseLines, ready, until } from '../support/cli.ts'
import { detachMounts, mountsUnder } from '../support/mounts.ts'
import { ended, killNow } from '../support/processes.ts'
import { run, shell, start } from '../support/run.ts'

let cli: Cli
beforeEach(() => {
  cli = new Cli()
})
afterEach(() => cli.cleanUp())

const mounted = (): string[] => mountsUnder(cli.folder)

/** kill -9 of the serving process, with the kernel's attributes of the mounts warm: a stale mount may still answer. */
async function killServer(): Promise<void> {
  await run('stat', [cli.a, cli.b])
  const pids = cli.serving()
  expect(pids.length).toBe(1)
  for (const pid of pids) killNow(pid)
  await Promise.all(pids.map(ended))
}

describe('a lab in the background', () => {
  test('up --detach, status, info, net, trace, unmount, down', async () => {
    const [up] = await cli.json('up', ...cli.lab, '--detach')
    expect(up).toMatchObject({ event: 'ready', mode: 'local', data: cli.data, mounts: [cli.a, cli.b] })
    await shell('echo hello > "$1/note"', { args: [cli.a] })
    expect(await run('cat', [join(cli.b, 'note')])).toBe('hello\n')

    const [status] = await cli.json('status', '--data', cli.data)
    expect(status).toMatchObject({ running: true, well: true, mode: 'local' })
    expect(status?.mounts).toMatchObject([
      { target: cli.a, status: { mode: 'local', pid: up?.pid } },
      { target: cli.b, status: { mode: 'local', pid: up?.pid } },
    ])
    const [info] = await cli.json('info', join(cli.b, 'note'))
    expect(info).toMatchObject({ mode: 'local', stat: { type: 'file', size: 6 }, facts: { locks: '[]' } })
    expect(await cli.json('net', cli.a)).toMatchObject([{ mount: cli.a }])
    expect(await cli.run('net', cli.a, 'down')).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/cannot be cut off/),
    })

    expect(await cli.json('unmount', cli.b)).toEqual([{ event: 'unmounted', target: cli.b }])
    expect(mounted()).toEqual([cli.a])
    expect(await cli.run('status', '--data', cli.data)).toMatchObject({
      code: 1,
      stdout: expect.stringMatching(/b +not mounted/),
    })

    const [down] = await cli.json('down', '--data', cli.data)
    expect(down).toMatchObject({ event: 'stopped', processes: [{ pid: up?.pid, ending: 'closed' }] })
    expect(mounted()).toEqual([])
    expect(cli.processes()).toEqual([])
    expect(await cli.json('down', '--data', cli.data)).toMatchObject([{ event: 'stopped', processes: [] }])
  })

  test('trace prints the requests of a mount until Ctrl-C', async () => {
    await cli.json('up', ...cli.lab, '--detach')
    const trace = cli.start('trace', cli.a, '--json')
    let text = ''
    trace.child.stdout?.on('data', (chunk: Buffer) => {
      text += chunk
    })
    // It prints nothing until it is there: each round is a new request.
    for (let i = 0; !text.includes('\n'); i++) await shell('echo x > "$1"', { args: [join(cli.a, `f${i}`)] })
    trace.child.kill('SIGINT')
    expect((await trace.finished).code).toBe(0)
    expect(parseLines(text.slice(0, text.lastIndexOf('\n')))[0]).toMatchObject({ mount: cli.a, op: expect.any(String) })
  })

  test('a second up, and another that wants the volume or a mount, are told what to do', async () => {
    await cli.json('up', ...cli.lab, '--detach')
    const again = await cli.run('up', ...cli.lab)
    expect(again.code).toBe(1)
    expect(again.stderr).toMatch(/^proteus: a local lab runs on data already, .*`proteus down --data data` stops it\n$/)
    const same = await cli.run('mount', `local:${cli.data}`, 'c')
    expect(same.code).toBe(1)
    expect(same.stderr).toMatch(/^proteus: the volume .* in use by process \d+, mounted on a, b: `proteus unmount a`/)
    const there = await cli.run('up', '--data', 'other', '--mounts', 'a')
    expect(there).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^proteus: a is mounted already: choose another/),
    })
    expect(mounted().sort()).toEqual([cli.a, cli.b])
  })

  test('a mount made through a symbolic link is found through it and without it', async () => {
    const real = cli.directory('real')
    symlinkSync(real, join(cli.folder, 'link'))
    await cli.json('mount', `local:${cli.data}`, 'link/m')
    expect(mounted()).toEqual([join(real, 'm')])
    expect(await cli.run('mount', 'local:other', 'link/m')).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/is mounted already/),
    })
    expect(await cli.json('unmount', 'link/m')).toEqual([{ event: 'unmounted', target: join(real, 'm') }])
  })

  test('a mount with names of its own is still known as ours', async () => {
    await cli.json('mount', `local:${cli.data}`, 'm', '-o', 'fsname=lab,subtype=other')
    expect(await run('findmnt', ['-n', '-o', 'FSTYPE,SOURCE', join(cli.folder, 'm')])).toMatch(/^fuse\.other +lab\n$/)
    await cli.json('unmount', 'm')
    expect(mounted()).toEqual([])
  })

  test('a mount in use is refused with the name of the program, and goes with --force', async () => {
    await cli.json('mount', `local:${cli.data}`, 'm')
    const target = join(cli.folder, 'm')
    const user = start('sleep', ['50'], { cwd: target })
    try {
      const refused = await cli.run('unmount', 'm')
      expect(refused).toMatchObject({
        code: 1,
        stderr: expect.stringMatching(/^proteus: m is in use by sleep \(\d+\): .* --force\n$/),
      })
      expect(mounted()).toEqual([target])
      expect((await cli.run('unmount', 'm', '--force')).code).toBe(0)
      expect(mounted()).toEqual([])
    } finally {
      user.child.kill('SIGKILL')
    }
  })
})

describe('after kill -9 of the serving process', () => {
  test('status says so, and down cleans the mounts', async () => {
    await cli.json('up', ...cli.lab, '--detach')
    await killServer()
    const status = await cli.run('status', '--data', cli.data, '--json')
    expect(status.code).toBe(1)
    expect(parseLines(status.stdout)).toMatchObject([{ running: false, stale: [cli.a, cli.b] }])
    expect((await cli.run('status', '--data', cli.data)).stdout).toMatch(/Dead mounts are left on a, b/)
    expect(await cli.run('info', cli.a)).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/a is stale, its server has died/),
    })
    await cli.json('down', '--data', cli.data)
    expect(mounted()).toEqual([])
  })

  test('the next up cleans them and shows what was written', async () => {
    await cli.json('up', ...cli.lab, '--detach')
    await shell('echo kept > "$1/f"', { args: [cli.a] })
    await killServer()
    const up = await cli.run('up', ...cli.lab, '--detach', '--json')
    expect(up).toMatchObject({
      code: 0,
      stderr: expect.stringMatching(/a had a mount whose server had died: cleaned\n.*b had/),
    })
    expect(mounted().length).toBe(2)
    expect(await run('cat', [join(cli.b, 'f')])).toBe('kept\n')
  })

  test('unmount and mount clean one', async () => {
    await cli.json('up', ...cli.lab, '--detach')
    await killServer()
    await cli.json('unmount', cli.a)
    expect(mounted()).toEqual([cli.b])
    await cli.json('mount', `local:${cli.data}`, cli.b)
    expect(mounted()).toEqual([cli.b])
    expect((await cli.run('info', cli.b)).code).toBe(0)
  })

  test('up in the foreground reports it and leaves no mount', async () => {
    const up = cli.start('up', ...cli.lab, '--json')
    await ready(up)
    await killServer()
    const { code, stderr, stdout } = await up.finished
    expect(code).toBe(1)
    expect(stderr).toMatch(
      /^proteus: the process that serves .* died: SIGKILL; the mounts are cleaned; its log is data/,
    )
    expect(parseLines(stdout).at(-1)).toMatchObject({ event: 'died', role: 'mount', exit: { signal: 'SIGKILL' } })
    expect(mounted()).toEqual([])
    expect(existsSync(join(cli.data, 'lab.json'))).toBe(false)
  })
})

describe('mistakes get one line that says what to do', () => {
  const cases: [title: string, args: string[], code: number, message: RegExp][] = [
    ['no URL', ['mount', 'nonsense', 'm'], 2, /"nonsense" is not a URL such as local:DIR/],
    ['a mode that is not there', ['mount', 'nosuch:x', 'm'], 2, /there is no mode "nosuch"; there is local/],
    ['a URL of another kind', ['mount', 'local://host/x', 'm'], 1, /needs a data directory: local:DIR/],
    ['a mount directory with content', ['mount', 'local:d', 'full'], 1, /full is not empty, .*: choose an empty/],
    ['a file to mount on', ['mount', 'local:d', 'file'], 1, /^proteus: file is not a directory$/m],
    ['a file as data', ['up', '--data', 'file'], 1, /^proteus: file is not a directory$/m],
    ['a file above the data', ['up', '--data', 'file/x'], 1, /^proteus: file is not a directory$/m],
    // Node's own recursive mkdir would never return.
    ['a place without directories', ['up', '--data', '/proc/x'], 1, /\/proc\/x cannot be made: \/proc takes no/],
    ['the same for a mount', ['mount', 'local:d', '/proc/x'], 1, /\/proc\/x cannot be made/],
    ['no mount to unmount', ['unmount', 'full'], 1, /nothing is mounted on full/],
    ['a mount of others', ['unmount', '/proc'], 1, /\/proc is a proc mount, not one of Proteus: use umount/],
    ['a file that is not there', ['info', 'nosuch'], 1, /nosuch: no such file or directory$/m],
    ['a file elsewhere', ['info', 'file'], 1, /file is not in a Proteus mount: `proteus status` lists them/],
    ['no server', ['serve', 'local'], 2, /mode local has no server: .* use `proteus up`/],
    ['no such command for help', ['help', 'nosuch'], 2, /unknown command 'nosuch': `proteus --help` lists them/],
  ]
  test.each(cases)('%s', async (_title, args, code, message) => {
    cli.directory('full')
    writeFileSync(join(cli.folder, 'full/x'), '')
    writeFileSync(join(cli.folder, 'file'), '')
    const result = await cli.run(...args)
    expect(result.stderr).toMatch(message)
    expect(result.stderr.trimEnd().split('\n').length).toBe(1)
    expect({ code: result.code, stdout: result.stdout, mounted: mounted() }).toEqual({ code, stdout: '', mounted: [] })
    expect(cli.processes()).toEqual([])
  })

  test('doctor --json: an object per thing, with how to get what is missing', async () => {
    const checks = parseLines((await cli.run('doctor', '--json')).stdout)
    expect(checks.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['/dev/fuse', 'right to mount', 'passthrough']),
    )
    for (const check of checks) {
      expect(check).toMatchObject({ state: expect.stringMatching(/^(ok|warn|missing)$/), detail: expect.any(String) })
      if (check.state !== 'ok') expect(check.fix).toEqual(expect.any(String))
    }
  })

  test('bench --json goes on to the benchmark', async () => {
    expect(await cli.run('bench', '--json', '--only', 'nonsense')).toMatchObject({
      stderr: expect.stringMatching(/nonsense/),
    })
  })
})

test('serving processes end when the last mount is taken away from outside', async () => {
  await cli.json('up', ...cli.lab, '--detach')
  await detachMounts(cli.folder)
  await until(() => cli.processes().length === 0)
  expect(await cli.run('status', '--data', cli.data)).toMatchObject({
    code: 1,
    stdout: expect.stringMatching(/Nothing runs on data any more/),
  })
})
