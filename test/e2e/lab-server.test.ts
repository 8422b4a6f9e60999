// A lab of a mode with a server: one process for it and one for each mount, each to be killed and found alone.
import { join } from 'node:path'
import { afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import type { LabState } from '../../src/lab/lab-state.ts'
import { makeBoardCli } from '../support/board-cli.ts'
import { Cli, parseLines, ready } from '../support/cli.ts'
import { mountsUnder } from '../support/mounts.ts'
import { ended, killNow } from '../support/processes.ts'
import { run, shell, start } from '../support/run.ts'
import { scratch } from '../support/targets.ts'

let main: string
beforeAll(async () => {
  main = await makeBoardCli(scratch('board'))
})

let cli: Cli
beforeEach(() => {
  cli = new Cli({ main })
})
afterEach(() => cli.cleanUp())

async function up(): Promise<Pick<LabState, 'processes'> & { readonly url: string }> {
  const [line] = await cli.json('up', '--mode', 'board', ...cli.lab, '--detach')
  return line as unknown as Awaited<ReturnType<typeof up>>
}

test('up starts a server and a process for each mount, and down ends exactly these', async () => {
  const lab = await up()
  expect(lab.url).toMatch(/^board:\/\/127\.0\.0\.1:\d+\/$/)
  expect(lab.processes.map(({ role, targets }) => [role, targets])).toEqual([
    ['server', []],
    ['mount', [cli.a]],
    ['mount', [cli.b]],
  ])
  expect(new Set(lab.processes.map(({ pid }) => pid)).size).toBe(3)
  await shell('echo hello > "$1/note"', { args: [cli.a] })
  expect(await run('cat', [join(cli.b, 'note')])).toBe('hello\n')

  const [status] = await cli.json('status', '--data', cli.data)
  expect(status).toMatchObject({ well: true, url: lab.url, processes: [{ role: 'server' }, {}, {}] })
  expect(await cli.json('net', cli.a, 'down')).toEqual([{ mount: cli.a, network: 'down' }])
  expect(await cli.json('net', cli.b)).toEqual([{ mount: cli.b, network: 'up' }])
  expect((await cli.run('net', cli.a, 'sideways')).stderr).toMatch(/"sideways" is no setting of the network/)

  const other = await cli.json('mount', lab.url, 'c')
  expect(other[0]).toMatchObject({ event: 'ready', mode: 'board', url: lab.url })
  expect(await run('cat', [join(cli.folder, 'c/note')])).toBe('hello\n')

  const [down] = await cli.json('down', '--data', cli.data)
  const ends = down?.processes as { pid: number; ending: string }[]
  expect(ends.map(({ ending }) => ending)).toEqual(['closed', 'closed', 'closed'])
  expect(ends.map(({ pid }) => pid).sort()).toEqual(lab.processes.map(({ pid }) => pid).sort())
  // What up did not start goes on.
  expect(mountsUnder(cli.folder)).toEqual([join(cli.folder, 'c')])
  await cli.json('unmount', 'c')
  expect(cli.processes()).toEqual([])
})

test('a server that is killed leaves the mounts, status says so, and down cleans up', async () => {
  const lab = await up()
  const pid = lab.processes[0]?.pid ?? 0
  killNow(pid)
  await ended(pid)
  const status = await cli.run('status', '--data', cli.data, '--json')
  expect(status.code).toBe(1)
  expect(parseLines(status.stdout)[0]).toMatchObject({
    running: true,
    well: false,
    processes: [{ role: 'server', alive: false }, { alive: true }, { alive: true }],
  })
  expect(mountsUnder(cli.folder).length).toBe(2)
  await cli.json('down', '--data', cli.data)
  expect(mountsUnder(cli.folder)).toEqual([])
  expect(cli.processes()).toEqual([])
})

test('in the foreground the death of the server ends the lab, and is told', async () => {
  const foreground = cli.start('up', '--mode', 'board', ...cli.lab, '--json')
  await ready(foreground)
  killNow(cli.serving()[0] ?? 0)
  const { code, stderr } = await foreground.finished
  expect(code).toBe(1)
  expect(stderr).toMatch(/^proteus: the server \(\d+\) died: SIGKILL; the mounts are cleaned/)
  expect(mountsUnder(cli.folder)).toEqual([])
  expect(cli.processes()).toEqual([])
})

test('up with a mode for each mount: one server has the files, and each mount its own semantics', async () => {
  const [lab] = await cli.json('up', '--mode', 'local,nfs', '-o', 'actimeo=600', ...cli.lab, '--detach')
  expect(lab).toMatchObject({
    mode: 'nfs',
    modes: { [cli.a]: 'local', [cli.b]: 'nfs' },
    processes: [
      { role: 'server', targets: [cli.a] },
      { role: 'mount', targets: [cli.b] },
    ],
  })
  await shell('echo one > "$1/f"; stat "$2/f"; echo three >> "$1/f"; test "$(stat -c %s "$2/f")" = 4', {
    args: [cli.a, cli.b],
  })
  expect(await run('cat', [join(cli.b, 'f')])).toBe('one\nthree\n')
  const [status] = await cli.json('status', '--data', cli.data)
  expect(status).toMatchObject({ well: true, mounts: [{ status: { mode: 'local' } }, { status: { mode: 'nfs' } }] })
  expect((await cli.run('status', '--data', cli.data)).stdout).toMatch(/^nfs lab on data\n(.*\n)* .* a +local, since /)
  await cli.json('down', '--data', cli.data)
  expect(mountsUnder(cli.folder)).toEqual([])
  expect(cli.processes()).toEqual([])
})

test('up refuses modes that do not fit the mounts, or each other', async () => {
  const up = (...args: string[]) => cli.run('up', ...cli.lab, ...args)
  const three = await up('--mode', 'local,nfs,nfs')
  expect(three).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/--mode has 3 modes for 2 mounts: one for all/),
  })
  const unknown = await up('--mode', 'local,', '--json')
  expect(unknown).toMatchObject({ code: 2, stderr: expect.stringMatching(/there is no mode ""/) })
  const option = await up('--mode', 'local,nfs', '-o', 'actimeo=x')
  expect(option).toMatchObject({ code: 2, stderr: expect.stringMatching(/^proteus: .*actimeo=[^;]*\n$/) })
  const foreign = await up('--mode', 'nfs,board')
  expect(foreign).toMatchObject({ code: 1, stderr: 'proteus: beside this server there can be no mode board\n' })
  expect(mountsUnder(cli.folder)).toEqual([])
  expect(cli.processes()).toEqual([])
})

test('a second mode that cannot be had leaves the first as it is, and what is open there', async () => {
  const [lab] = await cli.json('up', '--mode', 'board', ...cli.lab, '--detach')
  await shell('echo hello > "$1/note"', { args: [cli.a] })
  const [, a] = cli.serving()
  const holder = start('sh', ['-c', 'exec 3< note; echo open; sleep 50'], { cwd: cli.a })
  try {
    await new Promise((resolve) => holder.child.stdout?.once('data', resolve))
    const failed = await cli.run('switch', 'nfs', 'b', '--data', cli.data)
    expect(failed).toMatchObject({ code: 1, stderr: 'proteus: beside this server there can be no mode nfs\n' })
    const [after] = await cli.json('status', '--data', cli.data)
    expect(after).toMatchObject({ well: true, url: lab?.url })
    expect(cli.serving()).toContain(a)
    expect(await run('cat', [join(cli.b, 'note')])).toBe('hello\n')
  } finally {
    holder.child.kill('SIGKILL')
  }
})

test('serve runs the server alone', async () => {
  const serving = cli.start('serve', 'board', '--data', 'export', '--json')
  await ready(serving)
  serving.child.kill('SIGINT')
  const { code, stdout } = await serving.finished
  expect(code).toBe(0)
  expect(parseLines(stdout)).toMatchObject([
    { event: 'ready', mode: 'board', url: expect.stringMatching(/^board:/) },
    { event: 'stopped' },
  ])
  expect(cli.processes()).toEqual([])
})
