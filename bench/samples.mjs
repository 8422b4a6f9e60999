// Takes samples (see measures.mjs) with workloads.py: its workloads on one mount, and how soon a second mount of the
// same files shows what was written on the first.
import { accessSync, constants } from 'node:fs'
import { rm } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { isMounted, ProgramError, placed, run } from './processes.mjs'
import { startSystem } from './systems.mjs'

const program = fileURLToPath(new URL('workloads.py', import.meta.url))

/** A hung mount must not hang the benchmark. */
const LIMIT_MS = 30 * 60_000

const DROP_CACHES = '/proc/sys/vm/drop_caches'

/** Whether caches can be dropped below the mounts too, so that a cold read reads the disk on every system. */
export function canDropCaches() {
  try {
    accessSync(DROP_CACHES, constants.W_OK)
    return true
  } catch {
    return false
  }
}

/** Starts a system, gives it to `measure`, ends it and removes its data, whatever happens. */
export async function withSystem(name, { placement, label, settings }, measure) {
  const { place, context, keep } = settings
  const started = await startSystem(name, { run: `${label}-${name}-${placement}`, placement, place, context })
  try {
    return await measure(started)
  } finally {
    await started.end()
    if (!keep) await rm(started.data, { recursive: true, force: true })
  }
}

/** One run of the wanted groups of workloads on one system. */
export async function sampleWorkloads(system, { placement, round, groups, settings }) {
  return withSystem(system, { placement, label: `round${round}`, settings }, async ({ mounts }) => {
    const warming = groups.filter((group) => group === 'small' || group === 'tree')
    for (let pass = 0; pass < settings.warmUp && system !== 'native' && warming.length > 0; pass++) {
      await python(placement, [mounts[0], '--only', warming.join(',')], settings)
    }
    const options = ['--only', groups.join(','), '--label', system]
    if (canDropCaches()) options.push('--remount', `echo 1 > ${DROP_CACHES}`)
    const { figures, errors, took_s } = await python(placement, [mounts[0], ...options], settings)
    if (system !== 'native' && !isMounted(mounts[0])) throw new ProgramError('the mount went away')
    return { round, placement, system, figures, errors, tookSeconds: took_s }
  })
}

/** Milliseconds (medians) from close on one mount until open and read on the other give the new content. */
export async function sampleVisibility(system, { placement, settings }) {
  return withSystem(system, { placement, label: 'visibility', settings }, async ({ mounts }) => {
    const { visibility } = await python(placement, ['--visibility', ...mounts], settings)
    const figures = {
      visible_new_ms: visibility.new_file?.median_ms ?? null,
      visible_overwrite_ms: visibility.overwrite_in_place?.median_ms ?? null,
    }
    const errors = Object.fromEntries(
      [
        ['visible_new_ms', visibility.new_file_error],
        ['visible_overwrite_ms', visibility.overwrite_in_place_error],
      ].filter(([, message]) => message !== undefined),
    )
    return { round: 1, placement, system, figures, errors, detail: visibility }
  })
}

/** MiB/s at which one mount reads what the other has written and closed: the best of three files. */
export async function sampleFetch(system, { placement, settings }) {
  return withSystem(system, { placement, label: 'fetch', settings }, async ({ mounts }) => {
    const { fetch_mib_s } = await python(placement, ['--fetch', ...mounts], settings)
    return { round: 1, placement, system, figures: { fetch_mib_s }, errors: {} }
  })
}

async function python(placement, options, { context }) {
  const command = placed(placement, ['python3', program, ...options])
  return JSON.parse(await run(command, { signal: context.signal, timeoutMs: LIMIT_MS }))
}
