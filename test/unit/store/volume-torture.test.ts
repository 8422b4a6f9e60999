// Volumes whose limits are so small that everything happens all the time: batches of one operation, a cache of two
// inodes, names that share a hash, content that is used again at once. Killed, failing, and compared with the model.
import { execFileSync } from 'node:child_process'
import { describe, expect, it } from 'vitest'
import { hostDisk } from '../../../src/host/disk.ts'
import { isDirectory, isRegular } from '../../../src/posix/mode.ts'
import { Volume } from '../../../src/store/volume.ts'
import { random, seed } from '../../support/random.ts'
import { failSqlite } from './sqlite-faults.ts'
import { Adversary } from './volume-adversary.ts'
import { checkVolume, diskWith, fail, ManualClock, scratch, treeOf } from './volume-fixture.ts'
import { Operations } from './volume-model.ts'

const from = seed()
/** How many seeds; PROTEUS_ROUNDS asks for more. */
const ROUNDS = Number(process.env.PROTEUS_ROUNDS ?? 2)

/** Three hashes for all names, so that most entries of a directory share theirs with another. */
const nameHash = (name: string) => (1 + (name.charCodeAt(0) % 3)) * 64

const tiny = (chance: () => number) => ({
  batchOperations: chance() < 0.5 ? 1 + Math.floor(chance() * 3) : 40,
  segmentBytes: 600,
  logBytes: 60_000,
  cachedInodes: 2,
  cachedNames: chance() < 0.5 ? 4 : 1000,
  idleDescriptors: Math.floor(chance() * 3),
  removalDelayMs: 0,
  removalPatienceMs: 0,
})

/** What clients may have been told of each inode, and may compare later. */
function factsOf(volume: Volume): Map<number, unknown> {
  const facts = new Map<number, unknown>()
  const walk = (ino: number) => {
    const attributes = volume.attributes(ino)
    const generation = volume.generation(ino)
    const { change, dataVersion } = volume.changeOf(ino)
    if (isRegular(attributes.mode)) facts.set(ino, { generation, path: volume.contentPath(ino) })
    else facts.set(ino, { generation, change, dataVersion, attributes })
    if (!isDirectory(attributes.mode)) return
    const cookies: unknown[] = []
    for (const { name, ino: child, cookie } of volume.list(ino, 0)) {
      cookies.push([name, child, cookie])
      if (name !== '.' && name !== '..') walk(child)
    }
    facts.set(-ino, cookies)
  }
  walk(volume.root)
  return facts
}

const turn = () => new Promise((resolve) => setImmediate(resolve))

async function torture(number: number, options: { readonly faults: boolean }): Promise<void> {
  const chance = random(number)
  const directory = scratch()
  const clock = new ManualClock()
  const writes = !options.faults
  const operations = new Operations(number, { writes })
  const limits = tiny(chance)
  let failing = false
  let ended = false
  const maybe = () => {
    if (failing && chance() < 0.1) fail(chance() < 0.5 ? 'ENOSPC' : 'EIO')
  }
  const disk = diskWith({
    open: (path, flags, mode) => {
      if ((flags & 0o100) !== 0) maybe()
      return hostDisk.open(path, flags, mode)
    },
    write: (fd, data, position) => {
      if (failing && chance() < 0.05) return hostDisk.write(fd, data.subarray(0, data.length >> 1), position)
      maybe()
      return hostDisk.write(fd, data, position)
    },
    sync: async () => turn().then(() => {}),
    syncFileSystem: async () => turn().then(() => {}),
  })
  const onBackgroundError = (error: Error) => {
    if (!options.faults) throw error
    // What is in the database may lack something from now on; the journal has it.
    if (error.message.includes('no more changes')) ended = true
  }
  const opening = { clock, limits, disk, nameHash, onBackgroundError }
  const restore = failSqlite(
    () => failing && chance() < 0.004,
    () => chance() < 0.5,
  )
  try {
    let volume = await Volume.open(directory, opening)
    for (let life = 0; life < 2; life++) {
      const adversary = new Adversary({ volume, operations, clock, chance, writes })
      const done: string[] = []
      for (let n = 1; n <= 200 && !ended; n++) {
        failing = options.faults
        try {
          done.push(operations.step(volume))
          adversary.watch()
          if (chance() < 0.5) done.push(await adversary.step())
          if (chance() < 0.2) await turn()
        } catch (error) {
          throw new Error(`life ${life}, step ${n}, after ${done.slice(-6).join('; ')}`, { cause: error })
        }
        failing = false
        if (n % 50 !== 0 || ended) continue
        const copy = scratch()
        execFileSync('cp', ['-a', `${directory}/.`, copy])
        const what = `life ${life}, step ${n}`
        expect(treeOf(volume), what).toEqual(operations.model.tree())
        const again = await Volume.open(copy, { ...opening, clock: new ManualClock() })
        expect(treeOf(again), what).toEqual(operations.model.tree())
        expect(factsOf(again), what).toEqual(factsOf(volume))
        await again.close()
      }
      if (life === 0) await adversary.end()
      if (life === 0 && !ended) await checkVolume(volume, directory)
      failing = false
      await volume.close().catch((error) => expect(ended, error).toBe(true))
      ended = false
      volume = await Volume.open(directory, opening)
      expect(treeOf(volume)).toEqual(operations.model.tree())
      await checkVolume(volume, directory)
    }
  } finally {
    failing = false
    restore()
  }
}

const seeds = Array.from({ length: ROUNDS }, (_, n) => from + n)

describe(`a volume under torture (PROTEUS_SEED=${from})`, () => {
  it.each(seeds)(
    'is as the model says, also after kill -9, seed %i',
    (number) => torture(number, { faults: false }),
    120_000,
  )

  it.each(seeds)(
    'does all of an operation or nothing where everything fails, seed %i',
    (number) => torture(number, { faults: true }),
    120_000,
  )
})
