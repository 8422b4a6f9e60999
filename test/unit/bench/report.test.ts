// The pure parts of the benchmark: comparing within rounds, targets, tables.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  comparison,
  groups,
  isDuration,
  labelOf,
  median,
  metrics,
  type Sample,
  speedRatio,
  summary,
} from '../../../bench/measures.mjs'
import {
  figuresTable,
  formatFigure,
  formatRatio,
  formatTable,
  type Result,
  report,
  targetsTable,
} from '../../../bench/report.mjs'
import { judge, type Target, targets } from '../../../bench/targets.mjs'

const sample = (system: string, round: number, figures: Sample['figures'], placement = 'free'): Sample => ({
  system,
  round,
  placement,
  figures,
})

describe('median', () => {
  it('is the middle value, or the mean of the middle two', () => {
    expect(median([3, 1, 2])).toBe(2)
    expect(median([4, 1, 3, 2])).toBe(2.5)
    expect(median([])).toBeNull()
  })

  it('sorts by number, leaves its argument alone, and lies between the extremes', () => {
    expect(median([9, 10, 100])).toBe(10)
    const values = fc.array(fc.double({ noNaN: true, min: 0, max: 1e9 }), { minLength: 1 })
    fc.assert(
      fc.property(values, (given) => {
        const before = [...given]
        const middle = median(given)
        expect(given).toEqual(before)
        expect(middle).toBeGreaterThanOrEqual(Math.min(...given))
        expect(middle).toBeLessThanOrEqual(Math.max(...given))
      }),
    )
  })
})

describe('units', () => {
  it('knows rates from durations by the name of the metric', () => {
    expect(['untar_s', 'ls_l_2000_ms', 'visible_new_ms'].every(isDuration)).toBe(true)
    expect(['stat_ops_s', 'seq_read_warm_mib_s', 'idle_cpu_percent', 'memory_growth_mib'].some(isDuration)).toBe(false)
  })

  it('says "faster" as a number above 1 for both', () => {
    expect(speedRatio('stat_ops_s', 300, 100)).toBe(3)
    expect(speedRatio('untar_s', 2, 6)).toBe(3)
  })

  it('has no ratio of a figure that is missing or zero', () => {
    expect(speedRatio('stat_ops_s', null, 100)).toBeNull()
    expect(speedRatio('stat_ops_s', 100, null)).toBeNull()
    expect(speedRatio('untar_s', 0, 1)).toBeNull()
  })

  it('swaps with its arguments: a is as much faster than b as b is slower than a', () => {
    const positive = fc.double({ min: 1e-3, max: 1e6, noNaN: true })
    fc.assert(
      fc.property(fc.constantFrom('stat_ops_s', 'untar_s'), positive, positive, (metric, a, b) => {
        expect((speedRatio(metric, a, b) ?? 0) * (speedRatio(metric, b, a) ?? 0)).toBeCloseTo(1, 9)
      }),
    )
  })
})

describe('rounds', () => {
  const samples = [
    sample('bindfs', 1, { stat_ops_s: 100 }),
    sample('local', 1, { stat_ops_s: 200 }),
    sample('bindfs', 2, { stat_ops_s: 10 }),
    sample('local', 2, { stat_ops_s: 30 }),
    sample('bindfs', 3, { stat_ops_s: 1000 }),
    sample('local', 3, { stat_ops_s: 1000 }),
    sample('local', 1, { stat_ops_s: 7 }, 'one-cpu'),
  ]
  const wanted = { metric: 'stat_ops_s', placement: 'free', system: 'local' }

  it('compares within a round and takes the median of the ratios', () => {
    // The ratio of the medians would be 200 / 100 as well by chance; of the means, 1.1.
    expect(comparison(samples, { ...wanted, against: 'bindfs' })).toBe(2)
  })

  it('ignores rounds that lack one of the two', () => {
    const broken = [...samples.slice(0, 2), sample('bindfs', 2, { stat_ops_s: null }), ...samples.slice(3)]
    expect(comparison(broken, { ...wanted, against: 'bindfs' })).toBe(1.5)
    expect(comparison(samples, { ...wanted, against: 'fuse-native' })).toBeNull()
  })

  it('keeps placements apart', () => {
    expect(summary(samples, wanted)).toEqual({ median: 200, min: 30, max: 1000, rounds: 3 })
    expect(summary(samples, { ...wanted, placement: 'one-cpu' })?.median).toBe(7)
    expect(summary(samples, { ...wanted, metric: 'untar_s' })).toBeNull()
  })
})

describe('targets', () => {
  const table: Target[] = [
    { metric: 'untar_s', system: 'local', against: 'bindfs', placement: 'free', atLeast: 1 },
    { metric: 'idle_cpu_percent', system: 'local', placement: 'free', atMost: 1 },
  ]

  it('are reached at the wanted value itself', () => {
    const samples = [
      sample('bindfs', 1, { untar_s: 2 }),
      sample('local', 1, { untar_s: 2 }),
      sample('local', 1, { idle_cpu_percent: 1 }),
    ]
    expect(judge(samples, table).map(({ measured, verdict }) => [measured, verdict])).toEqual([
      [1, 'ok'],
      [1, 'ok'],
    ])
  })

  it('are short beyond it', () => {
    const samples = [sample('bindfs', 1, { untar_s: 2 }), sample('local', 1, { untar_s: 2.1, idle_cpu_percent: 1.1 })]
    expect(judge(samples, table).map(({ verdict }) => verdict)).toEqual(['short', 'short'])
  })

  it('are not measured without figures, and no growth at all is a figure', () => {
    expect(judge([], table).map(({ verdict }) => verdict)).toEqual(['not measured', 'not measured'])
    expect(judge([sample('local', 1, { idle_cpu_percent: 0 })], table)[1]).toMatchObject({
      measured: 0,
      verdict: 'ok',
    })
  })

  it('name metrics that exist, once each', () => {
    const known = new Set(metrics.map(({ metric }) => metric))
    expect(targets.filter(({ metric }) => !known.has(metric))).toEqual([])
    const keys = targets.map(({ metric, system, placement, against }) => `${system} ${metric} ${placement} ${against}`)
    expect(new Set(keys).size).toBe(targets.length)
  })
})

describe('tables', () => {
  it('writes figures short: rates in thousands, durations with three digits', () => {
    expect(['stat_ops_s', 'untar_s', 'ls_l_2000_ms'].map((metric) => formatFigure(metric, 377_123))).toEqual([
      '377k',
      '377123',
      '377123',
    ])
    expect(formatFigure('stat_ops_s', 12_345)).toBe('12.3k')
    expect(formatFigure('stat_ops_s', 999)).toBe('999')
    expect(formatFigure('untar_s', 0.0689)).toBe('0.0689')
    expect(formatFigure('untar_s', 1.23456)).toBe('1.23')
    expect(formatFigure('memory_growth_mib', 0)).toBe('0.0')
  })

  it('writes ratios with the digits that matter', () => {
    expect([0.0312, 0.617, 1.4, 13.2, null].map(formatRatio)).toEqual(['0.031', '0.62', '1.40', '13', ''])
  })

  it('pads columns, the first to the left', () => {
    expect(
      formatTable([
        ['', 'a'],
        ['row', '10'],
        ['r', ''],
      ]),
    ).toBe('      a\nrow  10\nr')
  })

  it('shows our ratio against each peer that was measured, and only rows with figures', () => {
    const samples = [
      sample('native', 1, { stat_ops_s: 400, untar_s: 1 }),
      sample('bindfs', 1, { stat_ops_s: 100, untar_s: null }),
      sample('local', 1, { stat_ops_s: 200, untar_s: 4 }),
    ]
    expect(figuresTable(samples, { groups: ['small', 'tree'], placement: 'free' }).split('\n')).toEqual([
      '                      native  local  bindfs  local × native  local × bindfs',
      'stat (/s)                400    200     100            0.50            2.00',
      'untar 1500 files (s)       1      4                    0.25',
    ])
    expect(figuresTable(samples, { groups: ['seq'], placement: 'free' })).toBe('')
    expect(figuresTable(samples, { groups: groups, placement: 'one-cpu' })).toBe('')
  })

  it('counts the targets reached, and shows no line without a figure', () => {
    const judged = judge([sample('local', 1, { idle_cpu_percent: 0.2 })])
    const lines = targetsTable(judged).split('\n')
    expect(lines[0]).toBe(`Targets: 1 of 1 reached, ${targets.length - 1} not measured`)
    expect(lines.slice(2)).toEqual([expect.stringMatching(/^CPU of the idle daemon.* local +free +≤ 1 +0\.2 +ok$/)])
  })
})

describe('report', () => {
  const result: Result = {
    when: '2024-06-07T00:00:00.000Z',
    machine: {
      cpuModel: 'Example CPU',
      cpus: 2,
      memoryMib: 24_105,
      kernel: '6.18.0',
      node: '20.20.2',
      loadBefore: 0.5,
      loadAfter: 1.25,
    },
    data: { description: 'ext4 in a loop device with direct I/O' },
    options: { rounds: 3 },
    samples: [
      { ...sample('bindfs', 2, { stat_ops_s: 100, untar_s: null }), errors: { untar_s: 'exit 2: no space\n' } },
      sample('local', 2, { stat_ops_s: 250 }),
    ],
    notes: ['fuse-native: not measured: fusermount is not installed: apt-get install fuse3'],
  }

  it('says where it was measured, what was not, what failed and what was reached', () => {
    const text = report(result)
    expect(text).toContain('2 × Example CPU, 24 GiB, Linux 6.18.0, Node 20.20.2')
    expect(text).toContain('Workloads, as the scheduler likes\n')
    expect(text).toContain('fuse-native: not measured: fusermount is not installed')
    expect(text).toContain(`bindfs, free, round 2: ${labelOf('untar_s')}: exit 2: no space\n`)
    expect(text).toMatch(/stat \(\/s\) +local × bindfs +free +≥ 1\.5 +2\.50 +ok/)
    expect(text).not.toContain('client cold')
  })
})
