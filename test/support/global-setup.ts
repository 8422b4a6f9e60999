// Runs once around all tests: makes the folder that every mount and all test data live in, and leaves nothing behind,
// neither from this run nor from earlier ones that were killed.
import { chmodSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestProject } from 'vitest/node'
import { detachMounts } from './mounts.ts'
import { killNow, processesNaming } from './processes.ts'

declare module 'vitest' {
  interface ProvidedContext {
    /** Folder of this test run, on a native file system. */
    testRoot: string
  }
}

const prefix = 'proteus-test-'

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const base = process.env.PROTEUS_TEST_DIR ?? tmpdir()
  for (const name of readdirSync(base)) {
    const owner = new RegExp(`^${prefix}(\\d+)-`).exec(name)?.[1]
    if (owner !== undefined && !existsSync(`/proc/${owner}`)) await cleanUp(join(base, name))
  }
  const root = mkdtempSync(join(base, `${prefix}${process.pid}-`))
  chmodSync(root, 0o755) // Other users come by on their way to a mount.
  project.provide('testRoot', root)
  return () => cleanUp(root)
}

/** Ends what still runs on `root`, detaches its mounts and removes it. No other process names that folder: it is random. */
async function cleanUp(root: string): Promise<void> {
  for (const pid of processesNaming(root)) killNow(pid)
  await detachMounts(root)
  rmSync(root, { recursive: true, force: true, maxRetries: 5 })
}
