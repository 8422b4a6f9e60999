import { describe, expect, test } from 'vitest'
import { ModeOptionError } from '../../../../src/modes/mode.ts'
import { nfsOptionNames, parseNfsOptions, transferBytes } from '../../../../src/modes/nfs/options.ts'

function parse(list: string) {
  return parseNfsOptions(
    list
      .split(',')
      .filter((option) => option !== '')
      .map((option) => {
        const [name = '', value] = option.split(/=(.*)/s)
        return value === undefined ? { name } : { name, value }
      }),
  )
}

const timeouts = (list: string) => {
  const { file, directory } = parse(list).attributeTimeouts
  return [file.minMs, file.maxMs, directory.minMs, directory.maxMs].map((ms) => ms / 1000)
}

describe('options of an NFS mount', () => {
  test('have the defaults of nfs(5)', () => {
    expect(parse('')).toEqual({
      attributeTimeouts: { file: { minMs: 3000, maxMs: 60_000 }, directory: { minMs: 30_000, maxMs: 60_000 } },
      synchronous: false,
      closeToOpen: true,
      lookupCaching: 'all',
      soft: false,
      transport: 'tcp',
      timeoutMs: 60_000,
      retransmissions: 2,
      readBytes: 1_048_576,
      writeBytes: 1_048_576,
      remoteLocks: true,
      readOnly: false,
    })
  })

  test('UDP asks again sooner, with smaller transfers', () => {
    for (const list of ['proto=udp', 'udp']) {
      expect(parse(list)).toMatchObject({
        transport: 'udp',
        timeoutMs: 1100,
        retransmissions: 3,
        readBytes: 32_768,
        writeBytes: 32_768,
      })
    }
    expect(parse('timeo=50,retrans=5,udp')).toMatchObject({ timeoutMs: 5000, retransmissions: 5 })
    expect(parse('udp,tcp').transport).toBe('tcp')
  })

  test.each([
    ['actimeo=5', [5, 5, 5, 5]],
    ['actimeo=0', [0, 0, 0, 0]],
    ['actimeo=5,acdirmax=90', [5, 5, 5, 90]],
    ['acregmin=10,acregmax=20', [10, 20, 30, 60]],
    // Only one of a pair is said: the default of the other makes room.
    ['acregmax=1', [1, 1, 30, 60]],
    ['acregmin=100', [100, 100, 30, 60]],
    ['acdirmin=120', [3, 60, 120, 120]],
    ['noac', [0, 0, 0, 0]],
    ['noac,actimeo=9', [0, 0, 0, 0]],
    ['noac,ac', [3, 60, 30, 60]],
  ])('%s', (list, expected) => {
    expect(timeouts(list)).toEqual(expected)
    expect(parse(list).synchronous).toBe(expected.every((s) => s === 0) && list.startsWith('noac'))
  })

  test('of two opposites the last one counts', () => {
    expect(parse('soft,hard,nocto,cto,nolock,lock,ro,rw')).toEqual(parse(''))
    expect(parse('hard,soft,nocto,nolock,ro')).toMatchObject({
      soft: true,
      closeToOpen: false,
      remoteLocks: false,
      readOnly: true,
    })
    expect(parse('lookupcache=pos').lookupCaching).toBe('positive')
    expect(parse('lookupcache=positive,lookupcache=none').lookupCaching).toBe('none')
    expect(parse('port=1,nfsport=12049,mountport=12048')).toMatchObject({ port: 12_049, mountPort: 12_048 })
  })

  test.each([
    ['big_writes', /mode nfs has no mount option "big_writes"; there are ac, noac, /],
    ['toString', /no mount option "toString"/],
    ['noac=1', /option noac takes no value/],
    ['actimeo', /actimeo= needs a number of seconds from 0 to/],
    ['acregmin=-1', /acregmin= needs a number of seconds/],
    ['acdirmax=1e3', /acdirmax= needs/],
    ['acregmin=9,acregmax=8', /acregmin=9 is more than acregmax=8/],
    ['acdirmin=9,acdirmax=8', /acdirmin=9 is more than acdirmax=8/],
    ['timeo=0', /timeo= needs a number of tenths of a second from 1 to/],
    ['retrans=x', /retrans= needs a number of retransmissions/],
    ['rsize=4294967296', /rsize= needs a number of bytes/],
    ['wsize=', /wsize= needs a number of bytes/],
    ['lookupcache=some', /lookupcache= is one of all, positive, none/],
    ['lookupcache=constructor', /lookupcache= is one of/],
    ['proto=rdma', /proto= is one of tcp, udp/],
    ['port=0', /port= needs a port from 1 to 65535/],
    ['mountport=65536', /mountport= needs a port/],
  ])('refuses %s', (list, message) => {
    expect(() => parse(list)).toThrow(ModeOptionError)
    expect(() => parse(list)).toThrow(message)
    expect(() => parse(list)).not.toThrow(/\n/)
  })

  test('knows every name that it lists', () => {
    const values: Record<string, string> = { 'lookupcache=': 'all', 'proto=': 'tcp' }
    for (const name of nfsOptionNames) {
      expect(() => parse(name + (name.endsWith('=') ? (values[name] ?? '7') : ''))).not.toThrow()
    }
  })
})

test.each([
  [undefined, 'tcp', 1_048_576],
  [0, 'tcp', 4096],
  [1023, 'tcp', 4096],
  [1024, 'tcp', 1024],
  [3000, 'tcp', 2048],
  [4096, 'tcp', 4096],
  [10_000, 'tcp', 8192],
  [70_000, 'tcp', 69_632],
  [2 ** 21, 'tcp', 1_048_576],
  [undefined, 'udp', 32_768],
  [10_000, 'udp', 8192],
  [70_000, 'udp', 32_768],
  [500, 'udp', 4096],
] as const)('rsize=%s over %s is %d bytes', (said, transport, bytes) => {
  expect(transferBytes(said, transport)).toBe(bytes)
})
