// A program that is killed while the file system thinks: the kernel waits for the answer all the same, and gives back what
// was looked up and opened. (So a reply to a request that was read is never lost while the mount lives: src/fuse/opening.ts.)
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { KernelMount } from '../support/kernel-mount.ts'
import { Posix } from '../support/posix.ts'
import { O } from '../support/syscalls.ts'
import { scratch } from '../support/targets.ts'

let mount: KernelMount

beforeAll(async () => {
  mount = await KernelMount.start(scratch('killed'))
  const posix = new Posix()
  await posix.calls.close(await posix.calls.open(join(mount.target, 'file'), O.RDWR | O.CREAT, 0o644))
  await posix.calls.mkdir(join(mount.target, 'folder'))
  posix.close()
})
afterAll(() => mount.end())

/** Drops what the kernel knows, so that only what is lost stays counted. */
async function settled(): Promise<{ lookups: number; handles: number }> {
  for (let round = 0; ; round++) {
    for (const name of ['file', 'new', 'folder']) await mount.calls.invalidateName(name)
    const { lookups, handles } = await mount.calls.report()
    if ((lookups === 0 && handles === 0) || round === 400) return { lookups, handles }
    await sleep(5)
  }
}

it.each([
  ['create', (path: string, { calls }: Posix) => calls.open(join(path, 'new'), O.RDWR | O.CREAT, 0o644)],
  ['lookup', (path: string, { calls }: Posix) => calls.stat(join(path, 'file'))],
  ['open', (path: string, { calls }: Posix) => calls.open(join(path, 'file'), O.RDONLY)],
  ['openDirectory', (path: string, { calls }: Posix) => calls.readdir(join(path, 'folder'))],
] as const)('%s', async (method, call) => {
  const posix = new Posix()
  try {
    await posix.calls.pid() // It runs.
    await mount.calls.hold(method)
    const refused = expect(call(mount.target, posix)).rejects.toThrow()
    await mount.calls.holding()
    posix.close()
    await refused
    await mount.calls.letGo()
    expect(await settled()).toEqual({ lookups: 0, handles: 0 })
    expect((await mount.calls.report()).errors).toEqual([])
  } finally {
    posix.close()
  }
})
