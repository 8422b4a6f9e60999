// `proteus demo` as a user starts it, and what becomes of failures and of Ctrl-C.
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { modesWithScenarios, scenariosOf } from '../../src/lab/catalogue.ts'
import { makeBoardCli } from '../support/board-cli.ts'
import { Cli, parseLines, until } from '../support/cli.ts'
import { mountsUnder } from '../support/mounts.ts'
import { descendants, ended, killNow } from '../support/processes.ts'
import type { Running } from '../support/run.ts'
import { scratch } from '../support/targets.ts'

/** The command line with the test's own mode `board`, which has a server, and its scenarios. */
let boardMain: string
beforeAll(async () => {
  boardMain = await makeBoardCli(scratch('board'))
})

let cli: Cli
beforeEach(() => {
  cli = new Cli()
})
afterEach(() => cli.cleanUp())

function nothingIsLeft(): void {
  expect(mountsUnder(cli.folder)).toEqual([])
  expect(cli.processes()).toEqual([])
  expect(readdirSync(cli.folder)).toEqual([])
}

/** What a command that goes on has printed so far, and its next lines. */
function watchOutput({ child }: Running): { readonly text: string } {
  const seen = { text: '' }
  child.stdout?.on('data', (chunk: Buffer) => {
    seen.text += chunk
  })
  return seen
}

describe('proteus demo', () => {
  test('lists the scenarios and says how to play one', async () => {
    const all = await cli.run('demo')
    expect(all).toMatchObject({ code: 0, stderr: '' })
    expect(all.stdout).toMatch(/^local\n {2}seen-at-once +what happens on A/)
    expect(all.stdout).toMatch(/npx proteus demo local seen-at-once +# plays one/)
    expect(all.stdout).toMatch(/\nnfs\n {2}stale-stat +stat on B/)
    expect(all.stdout).toMatch(/\nafs\n {2}session-semantics +what A writes/)
    const local = await cli.run('demo', 'local', '--list')
    expect(local.stdout).toMatch(/^local\n {2}seen-at-once +what happens on A/)
    expect(local.stdout).not.toContain('stale-stat')
    expect((await cli.run('demo', 'local', 'locks', '--list')).stdout).toMatch(/^local\n {2}locks {2}a lock/)
    const listed = await cli.json('demo')
    const names = modesWithScenarios.flatMap((mode) => scenariosOf(mode).map(({ name }) => `${mode} ${name}`))
    expect(listed.map(({ mode, scenario }) => `${mode} ${scenario}`)).toEqual(names)
    nothingIsLeft()
  })

  test('says in one line what there is', async () => {
    const wrong = await cli.run('demo', 'nfs', 'stale')
    expect(wrong).toMatchObject({ code: 2, stdout: '' })
    expect(wrong.stderr).toMatch(/^proteus: mode nfs has no scenario "stale"; there are stale-stat, [a-z, -]+\n$/)
    expect(await cli.run('demo', 'stale-stat')).toEqual({
      code: 2,
      stdout: '',
      stderr: 'proteus: mode "stale-stat" has no scenarios; there are some for local, nfs, afs\n',
    })
  })

  test('tells a timeline of all scenarios of a mode', async () => {
    const { code, stdout } = await cli.run('demo', 'local')
    expect(code).toBe(0)
    expect(stdout).toMatch(/^ +\d+\.\d\d s {2}A {7}\$ echo old > note\n {19}✓ done\n {19}both mounts show one volume$/m)
    expect(stdout).toMatch(/✓ \d+ scenarios of mode local as expected\n$/)
    expect(stdout).not.toContain('\u001b')
    nothingIsLeft()
  })

  test('skips what the machine cannot show, and says why', async () => {
    // A FUSE mount lies on another file system: the kernel takes no backing files from it.
    await cli.json('mount', 'local:outer', 'm')
    const { code, stdout } = await cli.run('demo', 'local', 'mapping', '--data', 'm/lab')
    expect(code).toBe(0)
    expect(stdout).toMatch(/^\n- local\/mapping is skipped: it needs passthrough, and m\/lab is on FUSE\n/)
    expect(mountsUnder(cli.folder)).toEqual([join(cli.folder, 'm')])
    await cli.json('unmount', 'm')
  })

  test('leaves the lab running if it is to be kept', async () => {
    const lines = await cli.json('demo', 'local', 'seen-at-once', '--data', 'lab', '--keep')
    const data = join(cli.folder, 'lab')
    expect(lines.find(({ event }) => event === 'kept')).toEqual({
      event: 'kept',
      data,
      mounts: [join(data, 'a'), join(data, 'b')],
    })
    expect((await cli.json('status', '--data', 'lab'))[0]).toMatchObject({ well: true })
    expect((await cli.run('info', 'lab/b/drawer/note')).code).toBe(0)
    const again = await cli.run('demo', 'local', 'locks', '--data', 'lab')
    expect(again).toMatchObject({ code: 1, stdout: '', stderr: expect.stringMatching(/^proteus: lab is not empty/) })
    await cli.json('down', '--data', 'lab')
    expect(mountsUnder(cli.folder)).toEqual([])
    expect(cli.processes()).toEqual([])
  })

  test('leaves the data where it was told to put it', async () => {
    const { code, stdout } = await cli.run('demo', 'local', 'unlinked', '--data', 'lab')
    expect(code).toBe(0)
    expect(stdout).toMatch(/The data is in lab\.\n$/)
    expect(existsSync(join(cli.folder, 'lab/volume.db'))).toBe(true)
    expect(existsSync(join(cli.folder, 'lab/lab.json'))).toBe(false)
    expect(mountsUnder(cli.folder)).toEqual([])
  })
})

describe('with a mode that has a server', () => {
  beforeEach(() => {
    cli = new Cli({ main: boardMain })
  })

  test('servers, networks and mounts fail and come back one by one', async () => {
    const { code, stdout, stderr } = await cli.run('demo', 'board', 'outage', '--json')
    expect(parseLines(stdout).filter(({ ok }) => ok === false)).toEqual([])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    nothingIsLeft()
  })

  test('a scenario may have a mode for each mount', async () => {
    const { code, stdout, stderr } = await cli.run('demo', 'board', 'mixed', '--json')
    expect(parseLines(stdout).filter(({ ok }) => ok === false)).toEqual([])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    nothingIsLeft()
  })

  test('a contradiction is a failure that names the step', async () => {
    const { code, stdout, stderr } = await cli.run('demo', 'board', 'wrong')
    expect(code).toBe(1)
    expect(stderr).toBe('proteus: wrong: step 2 of 3 contradicts the semantics of mode board\n')
    expect(stdout).toMatch(/ {2}B {7}\$ cat note\n +✗ seen: the old value: old\n +expected: the new value\n/)
    expect(stdout).not.toContain('never')
    nothingIsLeft()
    const events = parseLines((await cli.run('demo', 'board', 'wrong', '--json')).stdout)
    expect(events.at(-1)).toMatchObject({ event: 'summary', ok: false, failed: [{ scenario: 'wrong', step: 2 }] })
  })

  test('on a machine that is too slow for it a scenario is played again, and shows nothing in the end', async () => {
    const { code, stdout } = await cli.run('demo', 'board', 'hasty', '--json')
    expect(code).toBe(0)
    const events = parseLines(stdout)
    expect(events.map(({ event }) => event)).toEqual([...Array(3).fill(['scenario', 'step', 'late']).flat(), 'summary'])
    expect(events.at(-1)).toMatchObject({ ok: true, scenarios: 0, skipped: 1, failed: [] })
    nothingIsLeft()
  })

  const moments: [moment: string, reached: (text: string) => boolean][] = [
    ['the data directory is there', () => readdirSync(cli.folder).length > 0],
    ['the first mount is there', () => mountsUnder(cli.folder).length > 0],
    ['the first step begins', (text) => text.includes('"step":1')],
    ['the last step hangs', (text) => text.includes('"event":"waiting"')],
  ]
  describe.each(moments)('when %s', (_moment, reached) => {
    async function startUntil(): Promise<{ demo: Running; pids: number[] }> {
      const demo = cli.start('demo', 'board', 'long', '--json')
      const output = watchOutput(demo)
      await until(() => demo.child.exitCode !== null || reached(output.text))
      return { demo, pids: descendants(demo.child.pid ?? 0) }
    }

    test('Ctrl-C leaves no mount and no process', async () => {
      const { demo, pids } = await startUntil()
      demo.child.kill('SIGINT')
      const { code, stderr } = await demo.finished
      expect({ code, stderr }).toEqual({ code: 1, stderr: 'proteus: interrupted; nothing is left running\n' })
      await Promise.all(pids.map(ended))
      nothingIsLeft()
    })

    test('a reader that has enough ends it as Ctrl-C does', async () => {
      const { demo, pids } = await startUntil()
      demo.child.stdout?.destroy()
      // It notices when it has something to say, if only that it still waits.
      await demo.finished
      await Promise.all(pids.map(ended))
      nothingIsLeft()
    })

    test('Ctrl-C twice does so at once', async () => {
      const { demo, pids } = await startUntil()
      demo.child.kill('SIGINT')
      demo.child.kill('SIGINT')
      expect((await demo.finished).code).toBe(1)
      await Promise.all(pids.map(ended))
      nothingIsLeft()
    })

    test('kill -9 leaves no mount', async () => {
      const { demo, pids } = await startUntil()
      demo.child.kill('SIGKILL')
      await demo.finished
      await until(() => mountsUnder(cli.folder).length === 0)
      // Its commands are nobody's now; those that the mounts do not end go on.
      for (const pid of pids) killNow(pid)
    })
  })
})
