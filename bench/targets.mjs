// What Proteus wants to reach, as one table, and whether samples reach it. Pure.
//
// A target is either a speed of at least `atLeast` times another system's in the same round, or a figure that is to
// stay `atMost` so large.
import { comparison, summary } from './measures.mjs'

const METADATA = ['create_4k_ops_s', 'stat_ops_s', 'read_4k_ops_s', 'rename_ops_s', 'unlink_ops_s', 'ls_l_2000_ms']
const TREE = ['untar_s', 'git_init_add_commit_s', 'rm_rf_s']
/** Through passthrough. Not `append_reopen_4k_ops_s`: that is 500 opens, metadata for the most part. */
const DATA = [
  'seq_write_fsync_mib_s',
  'seq_read_cold_mib_s',
  'seq_read_warm_mib_s',
  'rand_read_4k_warm_ops_s',
  'rand_read_4k_cold_ops_s',
  'append_4k_ops_s',
]

/** Growth that a leak of 100,000 files would exceed (84 bytes each), and the noise of a garbage collector would not. */
const GROWTH_MIB = 8

const faster = (wanted) => (metric) => ({ metric, system: 'proteus', ...wanted })

export const targets = [
  ...METADATA.map(faster({ against: 'bindfs', placement: 'free', atLeast: 1.5 })),
  ...METADATA.map(faster({ against: 'bindfs', placement: 'one-cpu', atLeast: 0.6 })),
  ...METADATA.map(faster({ against: 'fuse-native', placement: 'free', atLeast: 2 })),
  ...METADATA.map(faster({ against: 'fuse-native', placement: 'one-cpu', atLeast: 2 })),
  ...TREE.map(faster({ against: 'bindfs', placement: 'free', atLeast: 1 })),
  ...TREE.map(faster({ against: 'bindfs', placement: 'one-cpu', atLeast: 1 })),
  ...DATA.map(faster({ against: 'native', placement: 'free', atLeast: 0.9 })),
  { metric: 'lookup_ops_s', system: 'driver', against: 'bare C', placement: 'one-cpu', atLeast: 0.7 },
  { metric: 'idle_cpu_percent', system: 'proteus', placement: 'free', atMost: 1 },
  { metric: 'memory_growth_mib', system: 'proteus', placement: 'free', atMost: GROWTH_MIB },
]

/** Each target with what was measured (null: nothing was) and the verdict: 'ok', 'short' or 'not measured'. */
export function judge(samples, table = targets) {
  return table.map((target) => {
    const measured =
      target.atLeast === undefined ? (summary(samples, target)?.median ?? null) : comparison(samples, target)
    return { ...target, measured, verdict: verdict(target, measured) }
  })
}

function verdict({ atLeast, atMost }, measured) {
  if (measured === null) return 'not measured'
  const reached = atLeast === undefined ? measured <= atMost : measured >= atLeast
  return reached ? 'ok' : 'short'
}
