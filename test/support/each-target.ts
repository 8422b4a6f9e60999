// Runs tests on a real mount of every chosen target: one daemon per describe block.
import { afterAll, beforeAll, describe, test } from 'vitest'
import { type Capability, whyNot } from './capabilities.ts'
import { chosenTargets, type Mounted, type Target } from './targets.ts'

export interface Mounts {
  readonly target: Target
  /** Only while tests run. */
  readonly mounted: Mounted
  /** The first mount, and the second or, if there is one only, the first again. */
  readonly a: string
  readonly b: string
}

/** Describes tests for each chosen target that has what they need; the others show the reason. */
export function onEachTarget(
  title: string,
  wanted: { mounts: 1 | 2; needs?: readonly Capability[] },
  body: (mounts: Mounts) => void,
): void {
  for (const target of chosenTargets()) {
    const reason = whyNot(target.missing, wanted.needs ?? [])
    describe(`${title} of ${target.name}`, () => {
      if (reason !== undefined) {
        test('all', ({ skip }) => skip(reason))
        return
      }
      let mounted: Mounted | undefined
      beforeAll(async () => {
        mounted = await target.mount(wanted.mounts)
      })
      afterAll(() => mounted?.unmount())
      const there = (): Mounted => {
        if (mounted === undefined) throw new Error('not mounted')
        return mounted
      }
      body({
        target,
        get mounted() {
          return there()
        },
        get a() {
          return there().directories[0] as string
        },
        get b() {
          return there().directories[wanted.mounts - 1] as string
        },
      })
    })
  }
}
