import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { FsError } from '../../../src/posix/errors.ts'
import { describeLink, type LinkState, PERFECT_LINK, parseLink } from '../../../src/rpc/link-settings.ts'

const thousandths = (maximum: number) => fc.nat(maximum * 1000).map((value) => value / 1000)
const states: fc.Arbitrary<LinkState> = fc.record({
  up: fc.boolean(),
  latencyMs: thousandths(10_000),
  jitterMs: thousandths(1000),
  bytesPerSecond: fc.oneof(fc.integer({ min: 1, max: 2 ** 34 }), fc.constant(Number.POSITIVE_INFINITY)),
  loss: thousandths(1),
  duplicate: thousandths(1),
  reorder: thousandths(1),
})

describe('settings of a link', () => {
  it.each<[string, Partial<LinkState>]>([
    ['up', { up: true }],
    ['down', { up: false }],
    ['latency=50ms', { latencyMs: 50 }],
    ['latency=50ms,jitter=5ms,bandwidth=10mbit', { latencyMs: 50, jitterMs: 5, bytesPerSecond: 1_250_000 }],
    ['latency=0.5s jitter=0', { latencyMs: 500, jitterMs: 0 }],
    ['latency=250us', { latencyMs: 0.25 }],
    ['bandwidth=1MiB/s', { bytesPerSecond: 1_048_576 }],
    ['bandwidth=56kbit', { bytesPerSecond: 7000 }],
    ['bandwidth=100kB/s', { bytesPerSecond: 100_000 }],
    ['bandwidth=unlimited', { bytesPerSecond: Number.POSITIVE_INFINITY }],
    ['loss=1%,duplicate=0.5%,reorder=0.25', { loss: 0.01, duplicate: 0.005, reorder: 0.25 }],
    ['reset', PERFECT_LINK],
    ['reset, down', { ...PERFECT_LINK, up: false }],
  ])('%s', (line, settings) => {
    expect(parseLink(line)).toEqual(settings)
  })

  it.each([
    ...['', ' , ', 'sideways', 'latency', 'latency=', 'latency=50', 'latency=-1ms', 'latency=2h', 'latency=2000000s'],
    ...[
      'latency=1ms=2',
      'bandwidth=0',
      'bandwidth=10',
      'bandwidth=10parsec',
      'loss=101%',
      'loss=2',
      'loss=1ms',
      'up=1',
    ],
    ...['__proto__', 'constructor=1%', 'latency=1e400s', 'bandwidth=999999999999999999999mbit'],
  ])('%j is refused with EINVAL', (line) => {
    expect(() => parseLink(line)).toThrow(FsError)
  })

  it('are described in words that can be set', () => {
    expect(describeLink(PERFECT_LINK)).toBe('up')
    const line = describeLink({ ...PERFECT_LINK, up: false, latencyMs: 50, bytesPerSecond: 1_250_000, loss: 0.01 })
    expect(line).toBe('down,latency=50ms,bandwidth=10mbit,loss=1%')
    fc.assert(
      fc.property(states, (state) => {
        const again = { ...PERFECT_LINK, ...parseLink(describeLink(state)) }
        for (const [name, value] of Object.entries(state)) {
          const shown = again[name as 'loss']
          if (value === 0 || value === Number.POSITIVE_INFINITY) expect(shown).toBe(value)
          else if (typeof value === 'number') expect(shown / value).toBeCloseTo(1, 9)
          else expect(again.up).toBe(value)
        }
      }),
    )
  })
})
