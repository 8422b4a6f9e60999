// The command line of the benchmark.
import { parseArgs } from 'node:util'
import { groups } from './measures.mjs'
import { systemNames } from './systems.mjs'

export const HELP = `Compares the speed of the modes of Proteus with the native directory, bindfs, npm fuse-native and sshfs, in one run.

usage: npm run bench -- [options]        or: proteus bench [options]

  --quick                 one round without the large files, and fewer files in memory
  --rounds N              rounds; each measures every system once, native first (default 3)
  --warm-up N             passes of the small and tree workloads on each file system, after it is started and before it is
                          measured: a mount lives longer than a benchmark, and JavaScript gets faster (default 2; 0: cold)
  --only G,...            ${groups.join(', ')}
  --systems S,...         ${systemNames.join(', ')}
  --placement P           free (as the scheduler likes), one-cpu (daemon and workload on one CPU) or both (default).
                          On one CPU only small and tree are measured, unless --only asks for more
  --dir DIR               keep the data in DIR, on its file system as it is (default: a new ext4 in a loop device)
  --keep                  leave the data behind
  --json                  everything that was measured, as JSON
  --help

Progress goes to stderr, the result to stdout. A target that is not reached is no failure: the exit code is 0 unless
the benchmark itself could not run.

examples:
  npm run bench -- --quick
  npm run bench -- --only small --systems native,local,bindfs --rounds 5
  npm run bench -- --only tree,calls --systems nfs,sshfs
  npm run bench -- --only seq,rand --dir /srv/scratch --json > result.json
`

const QUICK_GROUPS = groups.filter((group) => group !== 'seq' && group !== 'rand')
const ONE_CPU_GROUPS = ['small', 'tree', 'lookup']

/** A command line that makes no sense; the message says what to do. */
export class UsageError extends Error {}

/** The options, or undefined if help was asked for. Throws UsageError. */
export function parseOptions(argv) {
  const values = parse(argv)
  if (values.help) return undefined
  const quick = values.quick ?? false
  const only = list(values.only, groups, '--only')
  const placement = values.placement ?? 'both'
  if (!['free', 'one-cpu', 'both'].includes(placement)) {
    throw new UsageError(`--placement is free, one-cpu or both, not ${placement}`)
  }
  return {
    json: values.json ?? false,
    quick,
    rounds: positive(values.rounds, quick ? 1 : 3),
    warmUp: values['warm-up'] === '0' ? 0 : positive(values['warm-up'], 2),
    groups: only ?? (quick ? QUICK_GROUPS : groups),
    oneCpuGroups: only ?? ONE_CPU_GROUPS,
    systems: list(values.systems, systemNames, '--systems') ?? systemNames,
    placements: placement === 'both' ? ['free', 'one-cpu'] : [placement],
    dir: values.dir,
    keep: values.keep ?? false,
  }
}

function parse(args) {
  try {
    const flag = { type: 'boolean' }
    const text = { type: 'string' }
    return parseArgs({
      args,
      options: {
        help: { ...flag, short: 'h' },
        json: flag,
        quick: flag,
        keep: flag,
        rounds: text,
        'warm-up': text,
        only: text,
        systems: text,
        placement: text,
        dir: text,
      },
    }).values
  } catch (error) {
    throw new UsageError(error.message)
  }
}

function list(value, known, option) {
  if (value === undefined) return undefined
  const wanted = value.split(',').filter((name) => name !== '')
  const strange = wanted.find((name) => !known.includes(name))
  if (strange !== undefined) throw new UsageError(`${option} knows ${known.join(', ')}, not ${strange}`)
  if (wanted.length === 0) throw new UsageError(`${option} needs at least one of ${known.join(', ')}`)
  return known.filter((name) => wanted.includes(name))
}

function positive(value, otherwise) {
  if (value === undefined) return otherwise
  const number = Number(value)
  if (!Number.isInteger(number) || number < 1) throw new UsageError(`--rounds is a whole number from 1, not ${value}`)
  return number
}
