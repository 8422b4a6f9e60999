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

/** What asks the server. Not `rand_read_4k_warm_ops_s`: that is the kernel's page cache on every system. */
const NETWORK = [
  ...METADATA,
  'listdir_2000_ms',
  ...TREE,
  'grep_r_s',
  'git_status_s',
  'git_fsck_s',
  'seq_write_fsync_mib_s',
  'rand_read_4k_cold_ops_s',
  'append_4k_ops_s',
  'append_reopen_4k_ops_s',
]

/** What asks nobody while a file is open. Not `append_4k_ops_s`: its fsync stores the whole file. */
const OPEN_FILE = ['seq_read_warm_mib_s', 'rand_read_4k_warm_ops_s', 'seq_rewrite_mib_s', 'rand_write_4k_warm_ops_s']

const local = (wanted) => (metric) => ({ metric, system: 'local', ...wanted })
const nfs = (wanted) => (metric) => ({ metric, system: 'nfs', ...wanted })
const afs = (wanted) => (metric) => ({ metric, system: 'afs', placement: 'free', ...wanted })

export const targets = [
  ...METADATA.map(local({ against: 'bindfs', placement: 'free', atLeast: 1.5 })),
  ...METADATA.map(local({ against: 'bindfs', placement: 'one-cpu', atLeast: 0.6 })),
  ...METADATA.map(local({ against: 'fuse-native', placement: 'free', atLeast: 2 })),
  ...METADATA.map(local({ against: 'fuse-native', placement: 'one-cpu', atLeast: 2 })),
  ...TREE.map(local({ against: 'bindfs', placement: 'free', atLeast: 1 })),
  ...TREE.map(local({ against: 'bindfs', placement: 'one-cpu', atLeast: 1 })),
  ...DATA.map(local({ against: 'native', placement: 'free', atLeast: 0.9 })),
  { metric: 'lookup_ops_s', system: 'driver', against: 'bare C', placement: 'one-cpu', atLeast: 0.7 },
  { metric: 'idle_cpu_percent', system: 'local', placement: 'free', atMost: 1 },
  { metric: 'memory_growth_mib', system: 'local', placement: 'free', atMost: GROWTH_MIB },
  ...NETWORK.map(nfs({ against: 'sshfs', placement: 'free', atLeast: 2 })),
  ...NETWORK.map(nfs({ against: 'sshfs', placement: 'one-cpu', atLeast: 1.5 })),
  nfs({ against: 'TCP pair', placement: 'free', atLeast: 0.5 })('seq_read_cold_mib_s'),
  ...['seq_read_warm_mib_s', 'rand_read_4k_warm_ops_s'].map(
    nfs({ against: 'native', placement: 'free', atLeast: 0.8 }),
  ),
  // Not `visible_new_ms`: there the other mount has asked before, and may believe for 30 s that there is no such file.
  nfs({ placement: 'free', atMost: 1 })('visible_overwrite_ms'),
  nfs({ placement: 'free', atMost: 1 })('calls_read_cached'),
  nfs({ placement: 'free', atMost: 4 })('calls_create_4k'),
  // What a first look has made warm.
  afs({ against: 'native', atLeast: 0.5 })('read_again_4k_ops_s'),
  afs({ against: 'native', atLeast: 0.9 })('stat_again_ops_s'),
  ...OPEN_FILE.map(afs({ against: 'native', atLeast: 0.95 })),
  afs({ against: 'native', atLeast: 0.5 })('grep_r_s'),
  ...TREE.map(afs({ against: 'sshfs', atLeast: 2 })),
  afs({ against: 'TCP pair', atLeast: 0.7 })('fetch_mib_s'),
  ...['calls_read_cached', 'calls_stat_cached', 'calls_list_cached'].map(afs({ atMost: 0 })),
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
