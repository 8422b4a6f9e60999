// A file system that is really full below the data: programs get ENOSPC, nothing half-made stays, deleting works and
// gives the space back, and what was acknowledged is there after kill -9 and a new start.
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { notRoot } from '../support/capabilities.ts'
import { Cli } from '../support/cli.ts'
import { ended, killNow } from '../support/processes.ts'
import { run, shell } from '../support/run.ts'

describe.skipIf(notRoot.otherUsers)(`a full disk (${notRoot.otherUsers ? 'only root can mount one' : 'tmpfs'})`, () => {
  let cli: Cli
  beforeEach(async () => {
    cli = new Cli()
    await shell('mkdir "$1" && mount -t tmpfs -o size=6m none "$1"', { args: [cli.data] })
    await cli.json('up', ...cli.lab, '--detach')
  })
  afterEach(() => cli.cleanUp())

  /** Data first, then names, until there is no room for either; how many names there are. */
  async function fill(): Promise<number> {
    const printed = await shell(
      `echo kept > kept
       head -c 20000000 /dev/zero > big 2>/dev/null && exit 1
       i=0; while [ $i -lt 100000 ] && true 2>/dev/null > "f$i"; do i=$((i + 1)); done
       echo $((i + 2))`,
      { cwd: cli.a },
    )
    return Number(printed)
  }
  const names = async (mount: string): Promise<number> => Number(await shell('ls | wc -l', { cwd: mount }))

  test('what is refused leaves no name, and deleting makes room', async () => {
    const made = await fill()
    expect(made).toBeLessThan(100_000)
    await expect(run('mkdir', [`${cli.b}/d`])).rejects.toThrow(/No space left on device/)
    expect([await names(cli.a), await names(cli.b)]).toEqual([made, made])
    await run('rm', [`${cli.b}/big`])
    // The content goes when its removal is safe on disk.
    await shell('until mkdir d 2>/dev/null && echo new > d/new; do sleep 0.01; done', { cwd: cli.b })
    expect(await shell('cat kept d/new', { cwd: cli.a })).toBe('kept\nnew\n')
    expect(await names(cli.a)).toBe(made)
  })

  test('after kill -9 a start says what it needs, and then everything is there', async () => {
    const made = await fill()
    const pids = cli.serving()
    for (const pid of pids) killNow(pid)
    await Promise.all(pids.map(ended))
    const full = await cli.run('up', ...cli.lab, '--detach')
    expect(full).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^proteus: there is no room for .*: make some/),
    })
    await run('mount', ['-o', 'remount,size=12m', cli.data])
    const up = await cli.run('up', ...cli.lab, '--detach')
    expect(up).toMatchObject({ code: 0, stderr: expect.stringMatching(/a had a mount whose server had died: cleaned/) })
    expect(await names(cli.b)).toBe(made)
    expect(await shell('cat kept', { cwd: cli.b })).toBe('kept\n')
  })
})
