import { describe, expect, test } from 'vitest'
import { judge } from '../../../src/cli/support/checks.ts'
import { hardOpenFiles, hasSysAdmin, type Machine } from '../../../src/cli/support/machine.ts'

const GOOD: Machine = {
  platform: 'linux',
  nodeVersion: '20.15.0',
  kernelRelease: '6.18.44-1-amd64',
  device: 'ok',
  root: true,
  sysAdmin: true,
  fusermount: '/usr/bin/fusermount3',
  addonError: undefined,
  compiler: true,
  libfuse2: true,
  data: { path: '/srv/data', fsType: 0xef53 },
  maxOpenFiles: 1_048_576,
}

const notWell = (changes: Partial<Machine>) =>
  judge({ ...GOOD, ...changes })
    .filter(({ state }) => state !== 'ok')
    .map(({ name, state }) => `${name}: ${state}`)

describe('judge', () => {
  test('a good machine lacks nothing', () => {
    expect(notWell({})).toEqual([])
  })

  const cases: [string, Partial<Machine>, string[]][] = [
    ['another system', { platform: 'darwin' }, ['Linux: missing']],
    ['an old Node', { nodeVersion: '20.9.0' }, ['Node.js: missing']],
    ['a later Node', { nodeVersion: '22.0.0' }, []],
    ['no device', { device: 'missing' }, ['/dev/fuse: missing']],
    ['a device for others', { device: 'forbidden' }, ['/dev/fuse: missing']],
    ['a kernel without passthrough', { kernelRelease: '6.1.0-18' }, ['kernel: warn', 'passthrough: warn']],
    ['a kernel without name epochs', { kernelRelease: '6.12.0' }, ['kernel: warn']],
    ['an ancient kernel', { kernelRelease: '4.19.0' }, ['kernel: warn', 'passthrough: warn']],
    ['a user', { root: false, sysAdmin: false }, ['passthrough: warn']],
    [
      'a user without helper',
      { root: false, sysAdmin: false, fusermount: undefined },
      ['right to mount: missing', 'passthrough: warn'],
    ],
    ['a container', { sysAdmin: false }, ['right to mount: missing', 'passthrough: warn']],
    ['no addon', { addonError: 'not built' }, ['native addon: missing']],
    [
      'nothing to build it with',
      { addonError: 'not built', compiler: false },
      ['native addon: missing', 'compiler: missing'],
    ],
    ['data on overlayfs', { data: { path: '/x', fsType: 0x794c7630 } }, ['passthrough: warn']],
    ['no libfuse2', { libfuse2: false }, ['portable driver: warn']],
    ['few files', { maxOpenFiles: 1024 }, ['open files: warn']],
  ]
  test.each(cases)('%s', (_name, changes, expected) => {
    expect(notWell(changes)).toEqual(expected)
  })

  test('says for everything that is not well how to get it', () => {
    for (const [, changes] of cases) {
      for (const check of judge({ ...GOOD, ...changes }))
        expect(check.state === 'ok' || check.fix, check.name).toBeTruthy()
    }
  })
})

describe('facts of /proc', () => {
  test('CAP_SYS_ADMIN is bit 21 of the effective set', () => {
    expect(hasSysAdmin('CapPrm:\t0000000000200000\nCapEff:\t0000000000200000\n')).toBe(true)
    expect(hasSysAdmin('CapPrm:\t0000000000200000\nCapEff:\t00000000a80425fb\n')).toBe(false)
    expect(hasSysAdmin('')).toBe(false)
  })

  test('the hard limit of open files', () => {
    expect(hardOpenFiles('Max open files            1024                 524288               files\n')).toBe(524_288)
    expect(hardOpenFiles('Max open files            1024                 unlimited            files\n')).toBe(
      Number.POSITIVE_INFINITY,
    )
  })
})
