import { readFile } from 'node:fs/promises'
import { describe, expect, test } from 'vitest'
import { CliError, describeError, exitCodeOf } from '../../../src/cli/exit.ts'
import { describeStat, formatNs } from '../../../src/cli/info.ts'
import { run } from '../../../src/cli/program.ts'
import { describeFailure } from '../../../src/cli/support/control-access.ts'
import { invocation } from '../../../src/cli/support/options.ts'
import { columns, createOutput, shown, wantsColor } from '../../../src/cli/support/output.ts'
import { checkLayout } from '../../../src/serving/target.ts'

const COMMANDS = [
  'up',
  'down',
  'serve',
  'mount',
  'unmount',
  'status',
  'trace',
  'info',
  'net',
  'orphans',
  'afs',
  'demo',
  'doctor',
  'bench',
]

async function proteus(...args: string[]) {
  let out = ''
  let err = ''
  const code = await run(args, {
    stdout: { write: (text) => (out += text) },
    stderr: { write: (text) => (err += text) },
    env: {},
  })
  return { code, out, err }
}

describe('proteus', () => {
  test('shows its commands', async () => {
    for (const args of [[], ['--help'], ['help']]) {
      const { code, out } = await proteus(...args)
      expect(code).toBe(0)
      for (const command of COMMANDS) expect(out).toMatch(new RegExp(`^  ${command}\\b`, 'm'))
    }
  })

  test.each(COMMANDS)('%s has help with examples', async (command) => {
    const { code, out } = await proteus(command, '--help')
    expect(code).toBe(0)
    expect(out).toContain(`Usage: proteus ${command}`)
    expect(out).toMatch(/Examples:\n {2}\$ proteus/)
    expect(out).toContain('--json')
    expect((await proteus('help', command)).out).toBe(out)
  })

  test('shows its version', async () => {
    expect(await proteus('--version')).toMatchObject({ code: 0, out: expect.stringMatching(/^\d+\.\d+\.\d+\n$/) })
  })

  test.each([
    [['help', 'nosuch'], /unknown command 'nosuch'/],
    [['upp'], /unknown command 'upp'\n\(Did you mean up\?\)/],
    [['up', '--moed', 'local'], /unknown option '--moed'\n\(Did you mean --mode\?\)/],
    [['up', '--mode', 'nosuch'], /there is no mode "nosuch"; there is local/],
    [['up', '--driver', 'fast'], /Allowed choices are kernel, portable/],
    [['up', '--data', ''], /--data needs a directory/],
    [['up', '--mounts', ','], /--mounts needs directories/],
    [['up', '-o', 'ro,fast'], /unknown mount option "fast"/],
    [['up', '--data', '/x/a/b', '--mounts', '/x/a'], /lies in the mount/],
    [['mount', 'local:/x'], /missing required argument 'dir'/],
    [['mount', '/x', '/y'], /is not a URL/],
    [['mount', 'nosuch:/x', '/y'], /there is no mode "nosuch"/],
    [['down', '--timeout', 'soon'], /--timeout needs a number/],
    [['orphans', '.', '--older-than', '7'], /--older-than needs an age such as 7d, 12h or 30m/],
    [['serve', 'local'], /mode local has no server: .* use `proteus up`/],
    [['demo', 'nosuch'], /mode "nosuch" has no scenarios; there are some for local/],
    [['demo', 'local', 'nosuch'], /mode local has no scenario "nosuch"; there are seen-at-once, locks, /],
    [['demo', 'local', '--keep'], /--data and --keep are for one scenario: name it/],
    [['demo', 'local', '--data', '/x'], /--data and --keep are for one scenario/],
    [['demo', 'local', 'locks', '--data', ''], /--data needs a directory/],
    [['afs', 'volume'], /unknown command 'volume'\n\(Did you mean volumes\?\)/],
    [['afs', 'create', 'a/b'], /"a\/b" is no name of a volume/],
    [['afs', 'create', 'v', '--quota', 'much'], /--quota needs a size such as 500m or 10g, or none/],
    [['afs', 'quota', 'v', '--inodes', '-1'], /--inodes needs a number, or none/],
    [['afs', 'volumes', '--server', 'nfs://host'], /nfs:\/\/host is no afs:\/\/host:port/],
    [['afs', 'move', 'v'], /missing required argument 'host:port'/],
    [['afs', 'mountpoint', '/x'], /a volume to show there, or --remove/],
    [['demo', 'local', 'locks', 'more'], /too many arguments/],
    [['serve', 'local', '--port', '70000'], /--port needs a number/],
    [['serve', 'local', '--export', '/export'], /unknown option '--export'/],
    [['serve', 'nfs', '--export'], /option '--export <line>' argument missing/],
    [['serve', 'nfs', '--export', '/srv'], /--export cannot export "\/srv"/],
    [['serve', 'afs', '--host', '0.0.0.0'], /a server on 0.0.0.0 needs --token-file/],
    [['serve', 'afs', '--token-file', 'nowhere/x'], /--token-file: there is no \/.*nowhere\/x/],
    [['serve', 'nfs', '--host', '0.0.0.0'], /a server on 0.0.0.0 needs --export .* AUTH_SYS is no authentication/],
  ])('%j is bad usage', async (args, message) => {
    const { code, err, out } = await proteus(...args)
    expect(err).toMatch(message)
    expect(err).toMatch(/^proteus: /)
    expect({ code, out }).toEqual({ code: 2, out: '' })
  })

  const AFS = ['volumes', 'create', 'delete', 'move', 'release', 'backup', 'mountpoint', 'quota', 'callbacks']
  test.each(AFS)('afs %s has help with examples', async (command) => {
    const { code, out } = await proteus('afs', command, '--help')
    expect(code).toBe(0)
    expect(out).toContain(`Usage: proteus afs ${command}`)
    expect(out).toMatch(/Examples:\n {2}\$ proteus afs/)
    expect(out).toContain('--json')
  })

  test('help of serve has what the server of that mode may be told', async () => {
    expect((await proteus('serve', '--help')).out).not.toContain('--export')
    expect((await proteus('serve', 'nfs', '--help')).out).toMatch(
      /--export <line>[\s\S]*\$ proteus serve nfs --export '/,
    )
  })

  test('says in one line what failed', async () => {
    expect(await proteus('trace', '/')).toEqual({
      code: 1,
      out: '',
      err: 'proteus: / is not in a Proteus mount: `proteus status` lists them\n',
    })
    expect(await proteus('unmount', '/nowhere')).toMatchObject({
      code: 1,
      err: 'proteus: nothing is mounted on /nowhere\n',
    })
  })
})

describe('errors', () => {
  test('are one line, with stack and causes for those who debug', () => {
    const error = new CliError('first\nsecond', { cause: new Error('deeper') })
    expect(describeError(error, false)).toBe('first')
    expect(describeError(error, true)).toMatch(/second[\s\S]*caused by: Error: deeper/)
    expect(exitCodeOf(error)).toBe(1)
    expect(exitCodeOf(new CliError('x', { exitCode: 2 }))).toBe(2)
    expect(describeError('text', false)).toBe('text')
  })

  test('of the system are shown without their names', async () => {
    const error = await readFile('/nowhere/file').catch((reason) => reason)
    expect(describeError(error, false)).toBe('/nowhere/file: no such file or directory')
    expect(describeError(error, true)).toMatch(/ENOENT/)
  })

  test('of a mount say what to do', () => {
    expect(describeFailure('/m', 'timeout')).toMatch(/\/m does not answer.*--force/)
    expect(describeFailure('/m', 'cat: /m/x: Transport endpoint is not connected')).toMatch(
      /server has died.*unmount \/m/,
    )
    expect(describeFailure('/m', 'cat: /m/x: No such file or directory')).toMatch(/not a Proteus mount/)
    expect(describeFailure('/m', 'cat: /m/x: Permission denied\n')).toBe('/m: cat: /m/x: Permission denied')
  })
})

describe('output', () => {
  test('has colours on a terminal only, and never against NO_COLOR', () => {
    const stdout = { isTTY: true, write: () => true }
    expect(wantsColor({ stdout, env: {} })).toBe(true)
    expect(wantsColor({ stdout, env: { NO_COLOR: '1' } })).toBe(false)
    expect(wantsColor({ stdout, env: { TERM: 'dumb' } })).toBe(false)
    expect(wantsColor({ stdout: { write: () => true }, env: { CI: '1' } })).toBe(false)
  })

  test('is text or JSON, never both', () => {
    for (const json of [false, true]) {
      let out = ''
      const stdout = { isTTY: true, write: (text: string) => (out += text) }
      const output = createOutput(json, { stdout, stderr: { write: () => true }, env: {} })
      output.line('text')
      output.result({ a: 1 })
      expect(out).toBe(json ? '{"a":1}\n' : 'text\n')
    }
  })

  test('aligns columns', () => {
    expect(
      columns([
        ['a', 'bb', 'c'],
        ['aaa', '', 'd'],
      ]),
    ).toEqual(['a    bb  c', 'aaa      d'])
  })

  test('shows paths as people type them', () => {
    expect(shown('/srv/mount/a', '/srv')).toBe('mount/a')
    expect(shown('/mnt', '/srv')).toBe('/mnt')
    expect(shown('/srv', '/srv')).toBe('/srv')
    expect(invocation('/usr/bin/proteus')).toBe('proteus')
    expect(invocation('/srv/node_modules/.bin/proteus')).toBe('npx proteus')
    expect(invocation('/srv/dist/cli/main.js')).toBe('npx proteus')
  })
})

describe('checkLayout', () => {
  test.each([
    [['/m/a', '/m/a'], '/data', /lie in each other/],
    [['/m/a/b', '/m/a'], '/data', /lie in each other/],
    [['/m/a'], '/m/a', /lies in the mount/],
  ])('refuses %j on %s', (targets, data, message) => {
    expect(() => checkLayout(targets, data)).toThrow(message)
  })

  test('takes neighbours', () => {
    expect(() => checkLayout(['/data/m', '/m/a', '/m/ab'], '/data')).not.toThrow()
  })
})

describe('info', () => {
  test('shows times with all their digits', () => {
    expect(formatNs(1_700_000_000_000_000_001n)).toBe('2023-11-14T22:13:20.000000001Z')
    expect(formatNs(-1n)).toBe('1969-12-31T23:59:59.999999999Z')
  })

  test('shows the type and permissions of a file', () => {
    const stat = {
      mode: 0o104755n,
      ino: 7n,
      nlink: 2n,
      uid: 1n,
      gid: 2n,
      size: 3n,
      blocks: 8n,
      mtimeNs: 0n,
      ctimeNs: 0n,
      atimeNs: 0n,
      birthtimeNs: 0n,
    }
    expect(describeStat(stat as Parameters<typeof describeStat>[0])).toMatchObject({
      type: 'file',
      permissions: '4755',
      owner: '1:2',
      allocated: 4096,
    })
  })
})
