// Runs the conformance tests of every area against a real mount of every target.
// On a native directory they check themselves: all of them with PROTEUS_TARGETS=native, otherwise a sample.
import { afterAll, afterEach, beforeAll, describe, test } from 'vitest'
import { type Capability, whyNot } from '../support/capabilities.ts'
import { Posix } from '../support/posix.ts'
import { chosenTargets, type Mounted, nativeTarget, type Target } from '../support/targets.ts'
import { attributes } from './attributes.ts'
import { data } from './data.ts'
import { directories } from './directories.ts'
import { holes } from './holes.ts'
import { links } from './links.ts'
import { locks } from './locks.ts'
import { mmap } from './mmap.ts'
import { names } from './names.ts'
import { open } from './open.ts'
import { permissionChecks } from './permissions.ts'
import { rename } from './rename.ts'
import { special } from './special.ts'
import { truncate } from './truncate.ts'
import { type Area, asTest, World } from './world.ts'
import { xattrs } from './xattrs.ts'

const areas: Record<string, Area> = {
  open,
  data,
  truncate,
  holes,
  attributes,
  permissions: permissionChecks,
  directories,
  names,
  rename,
  links,
  special,
  xattrs,
  locks,
  mmap,
}

/** What a run without PROTEUS_TARGETS tries on a native directory: what every file system of a host can do. */
const sample = { open, names }

for (const target of chosenTargets()) conformance(target, areas)
if (!chosenTargets().includes(nativeTarget)) conformance(nativeTarget, sample)

function conformance(target: Target, chosen: Record<string, Area>): void {
  describe(`conformance of ${target.name}`, () => {
    let mounted: Mounted
    let posix: Posix
    let world: World
    let count = 0

    beforeAll(async () => {
      mounted = await target.mount(1)
      posix = new Posix()
    })
    afterEach(() => world?.close())
    afterAll(async () => {
      posix?.close()
      await mounted?.unmount()
    })

    /** A fresh folder, and a process that has nothing open. */
    async function prepare(): Promise<World> {
      if (!posix.alive) posix = new Posix()
      await posix.calls.reset()
      world = new World(`${mounted.directories[0]}/${++count}`, posix)
      await posix.calls.mkdir(world.dir)
      return world
    }

    for (const [name, area] of Object.entries(chosen)) {
      describe(name, () => {
        for (const [title, entry] of Object.entries(area)) {
          const { needs, run } = asTest(entry)
          test(title, async ({ skip }) => {
            const reason = whyNot(target.missing, needs as Capability[])
            if (reason !== undefined) skip(reason)
            await run(await prepare())
          })
        }
      })
    }
  })
}
