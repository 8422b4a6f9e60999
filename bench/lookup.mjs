// How near the driver comes to the least that a FUSE daemon can do: lookups answered by src/fuse with a file system
// of constants (lookup-mount.mjs) against bare.c. Both are asked alternately, by the same program.
import { existsSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Daemon, missingProgram, placed, run, unmountIfMounted } from './processes.mjs'

const here = (path) => fileURLToPath(new URL(path, import.meta.url))

const LOOKUPS = 20_000

/** Why this cannot be measured here, or undefined. */
export function missingForLookup() {
  if (process.getuid() !== 0) return 'the bare C loop mounts itself, which takes root'
  if (!existsSync('/dev/fuse')) return '/dev/fuse is missing: modprobe fuse'
  if (!existsSync(here('../dist/fuse/mount.js'))) return 'Proteus is not built: npm run build'
  return missingProgram('cc')
}

/** Samples of `driver` and `bare C`: the best of `repeats` times 20,000 lookups each. */
export async function sampleLookup({ placement, repeats, settings: { place, context } }) {
  const folder = join(place.scratch, `lookup-${placement}`)
  const bare = join(folder, 'bare')
  await mkdir(folder)
  await run(['cc', '-O2', '-o', bare, here('bare.c')], context)

  const yardstick = await startLoop([bare], join(folder, 'c'), { placement, context })
  const driver = await startLoop([process.execPath, here('lookup-mount.mjs')], join(folder, 'js'), {
    placement,
    context,
  })
  const perSecond = async ({ target }) => {
    const command = ['python3', here('files.py'), 'stat', join(target, 'file'), String(LOOKUPS)]
    return Number(await run(placed(placement, command), context))
  }

  const rates = { 'bare C': [], driver: [] }
  for (let i = 0; i < repeats; i++) {
    rates['bare C'].push(await perSecond(yardstick))
    rates.driver.push(await perSecond(driver))
  }
  await driver.end()
  await yardstick.end()
  return Object.entries(rates).map(([system, all]) => {
    return { round: 1, placement, system, figures: { lookup_ops_s: Math.max(...all) }, detail: { perSecond: all } }
  })
}

async function startLoop(command, target, { placement, context }) {
  await mkdir(target)
  const daemon = new Daemon(placed(placement, [...command, target]))
  const end = context.cleanup.defer(async () => {
    // Both end when their mount does.
    await unmountIfMounted(target)
    await daemon.end({ graceMs: 2000 })
  })
  await daemon.mounted(target, context)
  return { target, end }
}
