// What is measured: every figure's name, label and unit, and the arithmetic of comparing them. Pure.
//
// The benchmark's raw results are *samples*: { round, placement, system, figures: { metric: number | null }, … }.
// Systems are compared within a round, because the machine changes from one round to the next.

/** Every metric in the order of the report. `group` is what `--only` names; the tail of a name is its unit. */
export const metrics = [
  { metric: 'create_4k_ops_s', group: 'small', label: 'create 4 KiB files (/s)' },
  { metric: 'stat_ops_s', group: 'small', label: 'stat (/s)' },
  { metric: 'read_4k_ops_s', group: 'small', label: 'open+read+close (/s)' },
  { metric: 'stat_again_ops_s', group: 'small', label: 'stat, again (/s)' },
  { metric: 'read_again_4k_ops_s', group: 'small', label: 'open+read+close, again (/s)' },
  { metric: 'listdir_2000_ms', group: 'small', label: 'list 2000 names (ms)' },
  { metric: 'ls_l_2000_ms', group: 'small', label: 'list+stat 2000 (ms)' },
  { metric: 'rename_ops_s', group: 'small', label: 'rename (/s)' },
  { metric: 'unlink_ops_s', group: 'small', label: 'unlink (/s)' },
  { metric: 'seq_write_fsync_mib_s', group: 'seq', label: 'write 256 MiB + fsync (MiB/s)' },
  { metric: 'seq_read_cold_mib_s', group: 'seq', label: 'read 256 MiB, cold (MiB/s)' },
  { metric: 'seq_read_warm_mib_s', group: 'seq', label: 'read 256 MiB, again (MiB/s)' },
  { metric: 'rand_read_4k_warm_ops_s', group: 'rand', label: 'random 4 KiB, warm (/s)' },
  { metric: 'seq_rewrite_mib_s', group: 'rand', label: 'rewrite 256 MiB, open file (MiB/s)' },
  { metric: 'rand_write_4k_warm_ops_s', group: 'rand', label: 'random 4 KiB writes, open file (/s)' },
  { metric: 'rand_read_4k_cold_ops_s', group: 'rand', label: 'random 4 KiB, client cold † (/s)' },
  { metric: 'append_4k_ops_s', group: 'append', label: 'append 4 KiB, one open (/s)' },
  { metric: 'append_reopen_4k_ops_s', group: 'append', label: 'open+append+close (/s)' },
  { metric: 'untar_s', group: 'tree', label: 'untar 1500 files (s)' },
  { metric: 'grep_r_s', group: 'tree', label: 'grep -r (s)' },
  { metric: 'git_init_add_commit_s', group: 'tree', label: 'git init+add+commit (s)' },
  { metric: 'git_status_s', group: 'tree', label: 'git status (s)' },
  { metric: 'git_fsck_s', group: 'tree', label: 'git fsck (s)' },
  { metric: 'rm_rf_s', group: 'tree', label: 'rm -rf (s)' },
  { metric: 'lookup_ops_s', group: 'lookup', label: 'lookup round trips (/s)' },
  { metric: 'visible_new_ms', group: 'visibility', label: 'new file seen on the other mount (ms)' },
  { metric: 'visible_overwrite_ms', group: 'visibility', label: 'overwrite seen on the other mount (ms)' },
  { metric: 'fetch_mib_s', group: 'fetch', label: 'read 256 MiB that the other mount wrote (MiB/s)' },
  { metric: 'calls_read_cached', group: 'calls', label: 'calls: open+read+close, cached' },
  { metric: 'calls_create_4k', group: 'calls', label: 'calls: create+write 4 KiB+close' },
  { metric: 'calls_write_1m_fsync', group: 'calls', label: 'calls: open+write 1 MiB+fsync+close' },
  { metric: 'calls_stat_cached', group: 'calls', label: 'calls: stat, cached' },
  { metric: 'calls_list_cached', group: 'calls', label: 'calls: list+stat 100, cached' },
  { metric: 'calls_mkdir', group: 'calls', label: 'calls: mkdir' },
  { metric: 'calls_rename', group: 'calls', label: 'calls: rename' },
  { metric: 'calls_unlink', group: 'calls', label: 'calls: unlink' },
  { metric: 'idle_cpu_percent', group: 'footprint', label: 'CPU of the idle daemon (%)' },
  { metric: 'memory_start_mib', group: 'footprint', label: 'resident memory before (MiB)' },
  { metric: 'memory_end_mib', group: 'footprint', label: 'resident memory after (MiB)' },
  { metric: 'memory_growth_mib', group: 'footprint', label: 'growth of memory, passes 1–3 to 4–6 (MiB)' },
]

export const groups = [...new Set(metrics.map(({ group }) => group))]

export const labelOf = (metric) => metrics.find((known) => known.metric === metric)?.label ?? metric

/** The middle value, the mean of the middle two, or null of nothing. */
export function median(values) {
  const sorted = [...values].sort((a, b) => a - b)
  if (sorted.length === 0) return null
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

/** True of durations, where less is better; false of rates. */
export function isDuration(metric) {
  return !/_(ops|mib)_s$/.test(metric) && /_m?s$/.test(metric)
}

/** How many times as fast `value` is as `reference`: above 1 is faster, whatever the unit. Null if either is missing. */
export function speedRatio(metric, value, reference) {
  if (!(value > 0 && reference > 0)) return null
  return isDuration(metric) ? reference / value : value / reference
}

/** The samples that have a figure for one metric of one system in one placement. */
function select(samples, { metric, placement, system }) {
  return samples.filter(
    (sample) =>
      sample.placement === placement && sample.system === system && typeof sample.figures[metric] === 'number',
  )
}

/** Median, least and greatest over the rounds, or null if there is no figure. */
export function summary(samples, wanted) {
  const values = select(samples, wanted).map(({ figures }) => figures[wanted.metric])
  if (values.length === 0) return null
  return { median: median(values), min: Math.min(...values), max: Math.max(...values), rounds: values.length }
}

/** Median over the rounds of the speed relative to `against` in the same round, or null if no round has both. */
export function comparison(samples, { metric, placement, system, against }) {
  const references = select(samples, { metric, placement, system: against })
  const ratios = []
  for (const { round, figures } of select(samples, { metric, placement, system })) {
    const reference = references.find((sample) => sample.round === round)
    const ratio = reference ? speedRatio(metric, figures[metric], reference.figures[metric]) : null
    if (ratio !== null) ratios.push(ratio)
  }
  return median(ratios)
}
