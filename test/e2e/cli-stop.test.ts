// Stopping at any moment: Ctrl-C and kill -9 of `up` in every phase of its start and while programs use the mounts.
// Whatever happens, no mount, no process and no claim on the data directory stays behind.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { targetState } from '../../src/serving/target.ts'
import { Cli, parseLines, proteusMain, ready, until } from '../support/cli.ts'
import { mountsUnder } from '../support/mounts.ts'
import { Posix } from '../support/posix.ts'
import { type Running, start } from '../support/run.ts'
import { O } from '../support/syscalls.ts'

let cli: Cli
beforeEach(() => {
  cli = new Cli()
})
afterEach(() => cli.cleanUp())

const mounted = (): number => mountsUnder(cli.folder).length
const claimed = (): boolean => existsSync(join(cli.data, 'lab.json'))

/** What can be seen from outside of how far `up` has come. */
const phases: [phase: string, reached: () => boolean][] = [
  ['the data directory is there', () => existsSync(cli.data)],
  ['the lab is claimed', claimed],
  ['the serving process is started', () => cli.serving().length > 0],
  ['the volume is open', () => existsSync(join(cli.data, 'volume.db'))],
  ['the first mount is there', () => mounted() >= 1],
  ['both mounts are there', () => mounted() === 2],
]

/** Starts `up` and waits for a phase, or for its end: it may be faster than we look. */
async function startUntil(reached: () => boolean, ...options: string[]): Promise<Running> {
  const up = cli.start('up', ...cli.lab, '--json', ...options)
  await until(() => up.child.exitCode !== null || reached())
  return up
}

async function nothingIsLeft(): Promise<void> {
  await until(() => cli.processes().length === 0)
  expect(mounted()).toBe(0)
}

describe.each(phases)('when %s', (_phase, reached) => {
  test('Ctrl-C stops', async () => {
    const up = await startUntil(reached)
    up.child.kill('SIGINT')
    const { code, stderr } = await up.finished
    // Before anything was started there is nothing that would have to catch the signal: then it ends by it.
    expect([0, null]).toContain(code)
    expect(stderr).toBe('')
    await nothingIsLeft()
    if (code === 0) expect(claimed()).toBe(false)
  })

  test('Ctrl-C twice stops at once', async () => {
    const up = await startUntil(reached)
    up.child.kill('SIGINT')
    up.child.kill('SIGINT')
    await up.finished
    await nothingIsLeft()
  })

  test('kill -9 of it ends what it had started', async () => {
    const up = await startUntil(reached)
    up.child.kill('SIGKILL')
    await up.finished
    await nothingIsLeft()
    // What it left on disk is in nobody's way.
    await cli.json('up', ...cli.lab, '--detach')
    await cli.json('down', '--data', cli.data)
  })

  test('an interrupted start in the background is a failure, or complete', async () => {
    const up = await startUntil(reached, '--detach')
    up.child.kill('SIGINT')
    const { code, stdout, stderr } = await up.finished
    // Ctrl-C may come when all is done, and before there is anything to stop.
    if (code === 0 || stdout !== '') {
      expect(parseLines(stdout)).toMatchObject([{ event: 'ready' }])
      await cli.json('down', '--data', cli.data)
    } else if (code === 1) {
      expect(stderr).toBe('proteus: interrupted before it was ready; nothing is left running\n')
    }
    await nothingIsLeft()
  })

  test('down stops it', async () => {
    const up = await startUntil(() => claimed() && reached())
    await cli.json('down', '--data', cli.data)
    expect(await up.finished).toMatchObject({ code: expect.toBeOneOf([0, null]), stderr: '' })
    await nothingIsLeft()
    expect(claimed()).toBe(false)
  })
})

describe('while programs use the mounts', () => {
  let user: Posix
  beforeEach(() => {
    user = new Posix()
  })
  afterEach(() => user.close())

  async function startInUse(): Promise<Running> {
    const up = cli.start('up', ...cli.lab, '--json')
    await ready(up)
    const fd = await user.calls.open(join(cli.a, 'open'), O.RDWR | O.CREAT)
    await user.calls.write(fd, 'written')
    await user.calls.chdir(cli.b)
    return up
  }

  test('Ctrl-C says who they are, takes the mounts out of sight and stops', async () => {
    const up = await startInUse()
    up.child.kill('SIGINT')
    const { code, stdout, stderr } = await up.finished
    expect(code).toBe(0)
    expect(parseLines(stdout).at(-1)).toEqual({ event: 'stopped' })
    expect(stderr).toMatch(/^a is in use by python3 \(\d+\): it is detached/m)
    expect(stderr).toMatch(/^b is in use by python3/m)
    await nothingIsLeft()
    expect(claimed()).toBe(false)
  })

  test('Ctrl-C twice does not wait for them', async () => {
    const up = await startInUse()
    up.child.kill('SIGINT')
    up.child.stderr?.once('data', () => up.child.kill('SIGINT'))
    const { code, stderr } = await up.finished
    // The second may come when all is over.
    if (code === 1) expect(stderr).toMatch(/^proteus: stopped by force; the mounts are cleaned$/m)
    await nothingIsLeft()
    expect(claimed()).toBe(false)
  })

  test('a serving process that hangs is ended by the second Ctrl-C', async () => {
    const up = cli.start('up', ...cli.lab, '--json')
    await ready(up)
    for (const pid of cli.serving()) process.kill(pid, 'SIGSTOP')
    up.child.kill('SIGINT')
    await new Promise((resolve) => setTimeout(resolve, 50)) // Two signals at once may arrive as one.
    up.child.kill('SIGINT')
    expect((await up.finished).stderr).toMatch(/^proteus: stopped by force; the mounts are cleaned$/m)
    await nothingIsLeft()
  })

  test('down ends one that hangs after its time', async () => {
    await cli.json('up', ...cli.lab, '--detach')
    const pids = cli.serving()
    for (const pid of pids) process.kill(pid, 'SIGSTOP')
    const status = await cli.run('status', '--data', cli.data)
    expect(status).toMatchObject({ code: 1, stdout: expect.stringMatching(/a does not answer: `proteus down`/) })
    const down = await cli.run('down', '--data', cli.data, '--timeout', '1', '--json')
    expect(down).toMatchObject({ code: 0, stderr: expect.stringMatching(/did not close within 1 s: killed/) })
    expect(parseLines(down.stdout)).toMatchObject([{ processes: [{ pid: pids[0], ending: 'killed' }] }])
    await nothingIsLeft()
  })
})

test('a mount whose process dies while it is asked is stale, and is cleaned', async () => {
  await cli.json('up', ...cli.lab, '--detach')
  const pids = cli.serving()
  for (const pid of pids) process.kill(pid, 'SIGSTOP')
  const asked = targetState(cli.a)
  // Long enough for the question to reach the kernel; if it did not, the answer is the same.
  await delay(300)
  for (const pid of pids) process.kill(pid, 'SIGKILL')
  expect(await asked).toBe('stale')
  await cli.json('down', '--data', cli.data)
  await nothingIsLeft()
})

test('mount in the foreground unmounts at Ctrl-C, and an interrupted mount is a failure', async () => {
  const staying = cli.start('mount', `local:${cli.data}`, 'a', '--foreground', '--json')
  await ready(staying)
  staying.child.kill('SIGINT')
  expect(await staying.finished).toMatchObject({ code: 0, stderr: '' })
  await nothingIsLeft()

  const interrupted = cli.start('mount', `local:${cli.data}`, 'a', '--json')
  await until(() => interrupted.child.exitCode !== null || cli.processes().length > 1)
  interrupted.child.kill('SIGINT')
  const { code, stderr } = await interrupted.finished
  if (code === 1) expect(stderr).toBe('proteus: interrupted before it was mounted\n')
  else if (code === 0) await cli.json('unmount', 'a')
  await nothingIsLeft()
})

test('closing the terminal stops in peace', async () => {
  const command = [process.execPath, proteusMain, 'up', ...cli.lab].join(' ')
  const terminal = start('script', ['-qec', command, '/dev/null'])
  // What it prints last before it waits: from then on there is nobody to print to.
  let text = ''
  terminal.child.stdout?.on('data', (chunk: Buffer) => {
    text += chunk
  })
  await until(() => text.includes('Ctrl-C unmounts') || terminal.child.exitCode !== null)
  terminal.child.kill('SIGKILL')
  await nothingIsLeft()
  expect(claimed()).toBe(false)
})
