// `proteus afs` as people run it, against a cell of two servers; without mounts.
import { afterEach, beforeEach, expect, test } from 'vitest'
import { AfsServer } from '../../src/modes/afs/server.ts'
import { Cli, until } from '../support/cli.ts'
import { scratch } from '../support/targets.ts'

let cli: Cli
let first: AfsServer
let second: AfsServer
/** Before each step of work on the first server. */
let onStep: (step: string) => void | Promise<void> = () => {}

beforeEach(async () => {
  onStep = () => {}
  cli = new Cli()
  first = await AfsServer.start({ directory: scratch('first'), onStep: (_operation, step) => onStep(step) })
  second = await AfsServer.start({ directory: scratch('second'), join: first.address })
})

afterEach(async () => {
  await cli.cleanUp()
  await second.close()
  await first.close()
})

const cell = () => ['--server', `afs://${second.address}`]
const run = (...args: string[]) => cli.run('afs', ...args, ...cell())
const json = (...args: string[]) => cli.json('afs', ...args, ...cell())

test('volumes are made, listed, limited, cloned, moved, deleted', async () => {
  expect(await json('create', 'v', '--quota', '1m')).toMatchObject([
    { name: 'v', type: 'RW', quotaBytes: 1 << 20, quotaInodes: null, server: first.address, cell: 'localcell' },
  ])
  await json('create', 'w', '--on', second.address)
  expect(await json('quota', 'v', '--inodes', '10')).toMatchObject([{ quotaBytes: 1 << 20, quotaInodes: 10 }])
  expect((await run('quota', 'v')).stdout).toBe('v: 0 of 1.0M, 1 of 10 inodes\n')
  expect(await json('quota', 'v', '--inodes', 'none')).toMatchObject([{ quotaBytes: 1 << 20, quotaInodes: null }])
  expect(await json('backup', 'v')).toMatchObject([{ name: 'v.backup', type: 'BK' }])
  const released = [first.address, second.address].sort()
  const [report] = await json('release', 'v', '--add-site', first.address, '--add-site', second.address)
  expect([report?.released].flat().sort()).toEqual(released)
  expect(await json('move', 'v', second.address)).toEqual([
    { event: 'moved', name: 'v', from: first.address, to: second.address, cell: 'localcell' },
  ])
  const rows = (await json('volumes')).map(({ name, server, state }) => [name, server, state])
  expect(rows.sort()).toEqual(
    [
      ['root.cell', first.address, 'online'],
      ['v', second.address, 'online'],
      ['v.readonly', first.address, 'online'],
      ['v.readonly', second.address, 'online'],
      ['w', second.address, 'online'],
    ].sort(),
  )
  const { stdout } = await run('volumes')
  expect(stdout).toMatch(/^VOLUME +ID +TYPE +SERVER/)
  expect(stdout).toMatch(new RegExp(`^v +536870915 +RW +${second.address} +0 +1.0M +1 +0 +online$`, 'm'))
  expect((await json('callbacks')).map(({ server }) => server).sort()).toEqual(released)
  await json('delete', 'v')
  expect((await json('volumes')).map(({ name }) => name)).toEqual(['root.cell', 'w'])
}, 120_000)

test('mistakes are one line that says what to do', async () => {
  await json('create', 'v')
  const failures: [string[], RegExp, number][] = [
    [['create', 'v'], /^proteus: there is a volume v already\n$/, 1],
    [['create', 'w', '--on', '127.0.0.1:1'], /127.0.0.1:1 is no file server of the cell localcell; there are /, 2],
    [['move', 'v', first.address], /v is on .* already/, 1],
    [['move', 'nothing', second.address], /there is no volume nothing: `proteus afs volumes` lists them/, 1],
    [['move', 'root.cell', second.address], /root.cell stays where the cell begins/, 1],
    [['delete', 'v.backup'], /there is no volume v.backup/, 1],
    [['release', 'v', '--remove-site', second.address], /is no site of v/, 1],
    [['mountpoint', '/', 'v'], /\/ is not in a Proteus mount/, 1],
    [['callbacks', '/'], /\/ is not in a Proteus mount/, 1],
  ]
  for (const [args, message, code] of failures) {
    const done = await run(...args)
    expect(done.stderr).toMatch(message)
    expect(done.stderr.split('\n').length).toBe(2)
    expect([done.code, done.stdout]).toEqual([code, ''])
  }
  const alone = await cli.run('afs', 'volumes', '--data', 'data')
  expect(alone.stderr).toMatch(/nothing runs on data: --server afs:\/\/host:port/)
  const gone = await cli.run('afs', 'volumes', '--server', 'afs://127.0.0.1:1')
  expect(gone.stderr).toBe('proteus: nothing answers at 127.0.0.1:1 (ECONNREFUSED)\n')
}, 120_000)

test('a server that does not answer is named, and what it has is listed as out of reach', async () => {
  await json('create', 'w', '--on', second.address)
  await second.close()
  const { code, stdout, stderr } = await cli.run('afs', 'volumes', '--server', `afs://${first.address}`)
  expect(code).toBe(1)
  expect(stdout).toMatch(/^w +536870915 +RW +\S+ +unreachable$/m)
  expect(stderr).toMatch(/nothing answers at[\s\S]*1 of 2 servers of the cell localcell do not answer/)
}, 60_000)

test('a move shows what it is at, and Ctrl-C calls it off', async () => {
  await json('create', 'v')
  let isAt = ''
  let goOn = () => {}
  onStep = (step) => {
    if (step !== 'dump') return
    isAt = step
    return new Promise((resolve) => {
      goOn = resolve
    })
  }
  const moving = cli.start('afs', 'move', 'v', second.address, ...cell())
  let shown = ''
  moving.child.stderr?.on('data', (chunk: Buffer) => {
    shown += chunk
  })
  await until(() => isAt === 'dump' && shown.includes('v: sending it'))
  moving.child.kill('SIGINT')
  const { code, stderr } = await moving.finished
  expect([code, stderr]).toEqual([1, expect.stringMatching(/proteus: called off: `proteus afs volumes` shows where/)])
  onStep = () => {}
  goOn()
  await until(() => !first.registry.isBusy(536_870_915))
  expect(await json('volumes')).toMatchObject([{ name: 'root.cell' }, { name: 'v', server: first.address }])
  await json('move', 'v', second.address)
}, 60_000)
