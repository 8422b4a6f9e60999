// What is measured, in which order, and how long that takes. A step has a title, the seconds it took on an idle
// machine of two CPUs (for the estimate of what remains), and `take`, which resolves to samples.
import { sampleCalls } from './calls.mjs'
import { sampleFootprint } from './footprint.mjs'
import { missingForLookup, sampleLookup } from './lookup.mjs'
import { missingProgram } from './processes.mjs'
import { canDropCaches, sampleFetch, sampleVisibility, sampleWorkloads } from './samples.mjs'
import { missing } from './systems.mjs'
import { sampleTcpPair } from './tcp-pair.mjs'

const WORKLOADS = ['small', 'seq', 'rand', 'append', 'tree']

const SECONDS = {
  native: { small: 1, seq: 3, rand: 8, append: 1, tree: 2 },
  local: { small: 3, seq: 3, rand: 8, append: 1, tree: 7 },
  nfs: { small: 6, seq: 4, rand: 12, append: 1, tree: 12 },
  afs: { small: 6, seq: 4, rand: 11, append: 1, tree: 12 },
  bindfs: { small: 3, seq: 3, rand: 8, append: 1, tree: 8 },
  'fuse-native': { small: 7, seq: 15, rand: 9, append: 1, tree: 20 },
  sshfs: { small: 14, seq: 8, rand: 9, append: 2, tree: 45 },
}

/** Ours that ask a server. */
const isNetwork = (system) => system === 'nfs' || system === 'afs'

/** The steps, and a note for each thing that cannot be measured here. */
export function makePlan(options, settings) {
  const notes = []
  const placements = options.placements.filter((placement) => {
    const obstacle = placement === 'one-cpu' ? missingProgram('taskset') : undefined
    if (obstacle !== undefined) notes.push(`one CPU: not measured: ${obstacle}`)
    return obstacle === undefined
  })
  const systems = options.systems.filter((system) => {
    const obstacle = missing(system)
    if (obstacle !== undefined) notes.push(`${system}: not measured: ${obstacle}`)
    return obstacle === undefined
  })
  const wanted = { options, settings, systems, notes, placements }
  const steps = [
    ...workloadSteps(wanted),
    ...lookupSteps(wanted),
    ...visibilitySteps(wanted),
    ...fetchSteps(wanted),
    ...callSteps(wanted),
    ...footprintSteps(wanted),
  ]
  return { steps, notes }
}

/** The groups measured in a placement, of those that are wanted at all. */
function groupsIn(placement, { groups, oneCpuGroups }) {
  return placement === 'one-cpu' ? groups.filter((group) => oneCpuGroups.includes(group)) : groups
}

function workloadSteps({ options, settings, systems, notes, placements }) {
  const programs = ['git', 'tar', 'grep']
  const obstacle = options.groups.includes('tree') ? missingProgram(...programs) : undefined
  if (obstacle !== undefined) notes.push(`tree: not measured: ${obstacle}`)
  if (options.groups.includes('seq') && !canDropCaches()) {
    notes.push('read, cold: caches cannot be dropped below the mounts (root can), so only native reads the disk')
  }
  const steps = []
  for (let round = 1; round <= options.rounds; round++) {
    for (const placement of placements) {
      const groups = groupsIn(placement, options).filter(
        (group) => WORKLOADS.includes(group) && !(group === 'tree' && obstacle !== undefined),
      )
      if (groups.length === 0) continue
      // `systems` begins with native.
      for (const system of systems) {
        steps.push({
          title: `round ${round} of ${options.rounds}, ${placement}: ${system} (${groups.join(', ')})`,
          system,
          seconds: 1 + groups.reduce((sum, group) => sum + SECONDS[system][group], 0),
          take: async () => [await sampleWorkloads(system, { placement, round, groups, settings })],
        })
      }
      if (!groups.includes('seq') || !systems.some(isNetwork)) continue
      steps.push({
        title: `round ${round} of ${options.rounds}, ${placement}: two Node processes and TCP`,
        system: 'TCP pair',
        seconds: 1,
        take: async () => [await sampleTcpPair({ placement, round, settings })],
      })
    }
  }
  return steps
}

function lookupSteps({ options, settings, systems, notes, placements }) {
  if (!options.groups.includes('lookup') || !systems.includes('local')) return []
  const obstacle = missingForLookup()
  if (obstacle !== undefined) {
    notes.push(`lookup round trips: not measured: ${obstacle}`)
    return []
  }
  const repeats = options.quick ? 2 : 5
  return placements
    .filter((placement) => groupsIn(placement, options).includes('lookup'))
    .map((placement) => ({
      title: `lookup round trips against bare C, ${placement}`,
      system: 'driver',
      seconds: 2 + repeats * (placement === 'free' ? 4 : 1),
      take: () => sampleLookup({ placement, repeats, settings }),
    }))
}

function visibilitySteps({ options, settings, systems, placements }) {
  if (!options.groups.includes('visibility') || !placements.includes('free')) return []
  return systems
    .filter((system) => system !== 'fuse-native')
    .map((system) => ({
      title: `two mounts of one directory: ${system}`,
      system,
      seconds: 2,
      take: async () => [await sampleVisibility(system, { placement: 'free', settings })],
    }))
}

/** Whole files from one mount to the other, and what two processes of Node reach that do nothing else. */
function fetchSteps({ options, settings, systems, placements }) {
  if (!options.groups.includes('fetch') || !placements.includes('free') || !systems.some(isNetwork)) return []
  const steps = systems
    .filter((system) => isNetwork(system) || system === 'sshfs')
    .map((system) => ({
      title: `a file from one mount to the other: ${system}`,
      system,
      seconds: 4,
      take: async () => [await sampleFetch(system, { placement: 'free', settings })],
    }))
  const pair = async () => {
    const { figures, ...sample } = await sampleTcpPair({ placement: 'free', round: 1, settings })
    return [{ ...sample, figures: { fetch_mib_s: figures.seq_read_cold_mib_s } }]
  }
  return [...steps, { title: 'two Node processes and TCP', system: 'TCP pair', seconds: 1, take: pair }]
}

function callSteps({ options, settings, systems, placements }) {
  if (!options.groups.includes('calls') || !placements.includes('free')) return []
  return systems.filter(isNetwork).map((system) => ({
    title: `calls for each operation: ${system}`,
    system,
    seconds: 5,
    take: async () => [await sampleCalls(system, { placement: 'free', settings })],
  }))
}

function footprintSteps({ options, settings, systems, placements }) {
  if (!options.groups.includes('footprint') || !systems.includes('local') || !placements.includes('free')) return []
  const folders = options.quick ? 10 : 100
  return [
    {
      title: `footprint: idle CPU, and memory after ${folders},000 files were looked at and forgotten`,
      system: 'local',
      seconds: 40 + folders * 1.5,
      take: async () => [await sampleFootprint({ folders, settings })],
    },
  ]
}
