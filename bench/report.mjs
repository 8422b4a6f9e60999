// The result of a run as text: one table of figures per placement, what could not be measured, and the targets. Pure.
import { comparison, isDuration, labelOf, metrics, summary } from './measures.mjs'
import { judge } from './targets.mjs'

const PLACEMENTS = {
  free: 'as the scheduler likes',
  'one-cpu': 'daemon and workload on one CPU',
}

const SECTIONS = [
  { title: 'Workloads', groups: ['small', 'seq', 'rand', 'append', 'tree'] },
  { title: 'Driver against a bare C loop on /dev/fuse', groups: ['lookup'] },
  { title: 'Two mounts of one directory', groups: ['visibility', 'fetch'] },
  { title: 'Calls to the server', groups: ['calls'] },
  { title: 'Footprint', groups: ['footprint'] },
]

/** The order of the columns. */
const COLUMNS = ['native', 'local', 'nfs', 'afs', 'bindfs', 'fuse-native', 'sshfs', 'TCP pair', 'driver', 'bare C']
/** Whom each of ours is compared with. */
const PEERS = {
  local: ['native', 'bindfs', 'fuse-native'],
  nfs: ['native', 'sshfs', 'TCP pair'],
  afs: ['native', 'sshfs', 'TCP pair'],
  driver: ['bare C'],
}

/** The whole report of a result (see run.mjs). */
export function report(result) {
  const { samples, options } = result
  const parts = [
    header(result),
    ...SECTIONS.flatMap((section) =>
      Object.entries(PLACEMENTS).map(([placement, words]) => {
        const table = figuresTable(samples, { groups: section.groups, placement })
        return table === '' ? '' : `${section.title}, ${words}\n${table}`
      }),
    ),
    samples.some(({ figures }) => 'rand_read_4k_cold_ops_s' in figures) ? COLD_NOTE : '',
    problems(result),
    targetsTable(judge(samples)),
    `Workloads are medians of ${count(options.rounds, 'round')}, lookups the best of several runs. Ratios compare systems within a round: above 1 is faster.`,
  ]
  return `${parts.filter((part) => part !== '').join('\n\n')}\n`
}

const COLD_NOTE =
  '† Only the cache of this mount was dropped: below a mount the data are still in memory, native had to read the disk.'

function header({ machine, data, options }) {
  const { warmUp } = options
  const { cpuModel, cpus, memoryMib, kernel, node, loadBefore, loadAfter } = machine
  return [
    `${cpus} × ${cpuModel}, ${Math.round(memoryMib / 1024)} GiB, Linux ${kernel}, Node ${node}`,
    `load average ${loadBefore.toFixed(1)} before, ${loadAfter.toFixed(1)} after; data on ${data.description}`,
    warmUp === 0
      ? 'each file system is measured cold'
      : `each file system is measured after ${warmUp} passes that do not count`,
  ].join('\n')
}

/** Rows: metrics. Columns: each system's median, then how many times as fast as its peers each of ours is. Empty if no figures. */
export function figuresTable(samples, { groups, placement }) {
  const wanted = metrics.filter(({ group }) => groups.includes(group))
  const has = (system) => wanted.some(({ metric }) => summary(samples, { metric, placement, system }) !== null)
  const systems = COLUMNS.filter(has)
  if (systems.length === 0) return ''
  const pairs = Object.entries(PEERS).flatMap(([system, peers]) =>
    peers.flatMap((against) => (systems.includes(system) && systems.includes(against) ? [{ system, against }] : [])),
  )

  const rows = wanted.flatMap(({ metric, label }) => {
    const cells = systems.map((system) => {
      const found = summary(samples, { metric, placement, system })
      return found === null ? '' : formatFigure(metric, found.median)
    })
    if (cells.every((cell) => cell === '')) return []
    const ratios = pairs.map((pair) => formatRatio(comparison(samples, { metric, placement, ...pair })))
    return [[label, ...cells, ...ratios]]
  })
  return formatTable([['', ...systems, ...pairs.map(({ system, against }) => `${system} × ${against}`)], ...rows])
}

/** Those that were measured, one line each, and how many were not. */
export function targetsTable(judged) {
  const known = judged.filter(({ verdict }) => verdict !== 'not measured')
  const reached = known.filter(({ verdict }) => verdict === 'ok').length
  const title = `Targets: ${reached} of ${known.length} reached, ${judged.length - known.length} not measured`
  if (known.length === 0) return title
  const rows = known.map(({ metric, system, against, placement, atLeast, atMost, measured, verdict }) => [
    labelOf(metric),
    against === undefined ? system : `${system} × ${against}`,
    placement,
    atLeast === undefined ? `≤ ${atMost}` : `≥ ${atLeast}`,
    atLeast === undefined ? measured.toFixed(1) : formatRatio(measured),
    verdict,
  ])
  return `${title}\n${formatTable([['', 'what', 'placement', 'wanted', 'measured', ''], ...rows])}`
}

/** What was left out and what failed, one line each. */
function problems({ notes, samples }) {
  const failed = samples.flatMap(({ system, placement, round, errors = {} }) =>
    Object.entries(errors).map(
      ([metric, message]) => `${system}, ${placement}, round ${round}: ${labelOf(metric)}: ${message.trim()}`,
    ),
  )
  return [...notes, ...failed].join('\n')
}

/** Three significant digits, thousands as `k` for rates; durations keep the unit of their metric. */
export function formatFigure(metric, value) {
  if (isDuration(metric)) return value >= 100 ? value.toFixed(0) : String(Number(value.toPrecision(3)))
  if (value >= 100_000) return `${(value / 1000).toFixed(0)}k`
  if (value >= 10_000) return `${(value / 1000).toFixed(1)}k`
  return value >= 100 ? value.toFixed(0) : value.toFixed(1)
}

/** Two digits that matter: 0.031, 0.62, 1.4, 13. */
export function formatRatio(ratio) {
  if (ratio === null) return ''
  if (ratio >= 10) return ratio.toFixed(0)
  return ratio < 0.1 ? ratio.toFixed(3) : ratio.toFixed(2)
}

/** Columns padded to one width, the first one to the left, the others to the right; no spaces at the ends of lines. */
export function formatTable(rows) {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)))
  return rows
    .map((row) =>
      row
        .map((cell, column) => (column === 0 ? cell.padEnd(widths[column]) : cell.padStart(widths[column])))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

const count = (number, noun) => `${number} ${noun}${number === 1 ? '' : 's'}`
