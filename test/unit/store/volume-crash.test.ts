// What is left of a volume after kill -9 and after loss of power, at every moment that matters.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { hostDisk } from '../../../src/host/disk.ts'
import type { Volume } from '../../../src/store/volume.ts'
import { random, seed } from '../../support/random.ts'
import { PowerLossDisk } from './power-loss-disk.ts'
import {
  checkVolume,
  contentOf,
  diskWith,
  file,
  ManualClock,
  names,
  openVolume,
  put,
  root,
  scratch,
  treeOf,
  turn,
  unsynced,
} from './volume-fixture.ts'
import { Operations } from './volume-model.ts'

const from = seed()

/** A copy of a volume's directory as it is: what kill -9 leaves at this moment. */
function copyOf(directory: string): string {
  const copy = scratch()
  fs.cpSync(directory, copy, { recursive: true })
  return copy
}

const journals = (directory: string) =>
  fs
    .readdirSync(join(directory, 'journal'))
    .map((name) => join(directory, 'journal', name))
    .sort()

describe('after kill -9', () => {
  it('all that was acknowledged is there, and of the rest nothing, wherever the journal is torn', async () => {
    const directory = scratch()
    const clock = new ManualClock()
    const volume = await openVolume(directory, { clock })
    const operations = new Operations(from, { writes: false })
    const states: { length: number; tree: string[] }[] = []
    const length = () => fs.statSync(journals(directory).at(-1) ?? '').size
    while (states.length < 10) {
      operations.step(volume)
      if (states.at(-1)?.length !== length()) states.push({ length: length(), tree: operations.model.tree() })
    }
    const image = copyOf(directory)
    for (const [index, { length, tree }] of states.entries()) {
      const next = states[index + 1]
      const cuts = next ? [length, length + 1, length + 8, next.length - 1] : [length]
      for (const cut of cuts) {
        const copy = copyOf(image)
        fs.truncateSync(journals(copy).at(-1) ?? '', cut)
        const again = await openVolume(copy, { disk: unsynced })
        expect(treeOf(again), `operation ${index}, cut at ${cut}`).toEqual(tree)
        await again.close()
      }
    }
  }, 120_000)

  it('at every step of a commit, of a new segment and of writing back, too', async () => {
    const directory = scratch()
    const clock = new ManualClock()
    const images: { readonly copy: string; readonly acknowledged: number; readonly at: string }[] = []
    let acknowledged = 0
    let watching = false
    const watch = (at: string) => {
      if (watching) images.push({ copy: copyOf(directory), acknowledged, at })
    }
    const watched =
      <T extends unknown[], R>(name: string, call: (...args: T) => R) =>
      (...args: T): R => {
        watch(`before ${name} ${args[0]}`)
        const result = call(...args)
        watch(`after ${name} ${args[0]}`)
        return result
      }
    const inJournal = (path: string) => path.includes('/journal')
    const disk = diskWith({
      open: (path, ...rest) => (inJournal(path) ? watched('open', hostDisk.open) : hostDisk.open)(path, ...rest),
      unlink: (path) => (inJournal(path) ? watched('unlink', hostDisk.unlink) : hostDisk.unlink)(path),
      sync: async () => {
        watch('before sync')
        await turn()
        watch('after sync')
      },
    })
    const limits = {
      batchOperations: 4,
      segmentBytes: 1500,
      logBytes: 60_000,
      removalDelayMs: 10,
      removalPatienceMs: 0,
    }
    const volume = await openVolume(directory, { clock, disk, limits })
    const operations = new Operations(from)
    const states = [operations.model.tree()]
    for (let n = 0; n < 150; n++) {
      watching = n % 4 === 0
      operations.step(volume)
      states.push(operations.model.tree())
      acknowledged++
      watch('between operations')
      clock.advance(20)
      if (n % 7 === 0) await turn()
    }
    watching = false
    expect(images.length).toBeGreaterThan(40)
    for (const { copy, acknowledged, at } of images) {
      const again = await openVolume(copy, { disk: unsynced })
      const tree = treeOf(again)
      // The copy may have been made in the middle of the operation after the last acknowledged one.
      expect([states[acknowledged], states[acknowledged + 1]], `${at}, after ${acknowledged}`).toContainEqual(tree)
      await again.close()
    }
  }, 120_000)

  it('a real process loses nothing that it said it had done', async () => {
    const chance = random(from)
    const directory = scratch()
    for (let round = 0; round < 4; round++) {
      const acknowledged = await killedAfter(directory, 200 + Math.floor(chance() * 1500), round)
      const volume = await openVolume(directory, { disk: unsynced })
      const there = new Set(names(volume, folderOf(volume, round)))
      // Each line is a file that was made, or renamed, or removed; the last operation may have ended unheard.
      const last = acknowledged.at(-1) ?? 0
      for (let n = 0; n <= last; n++) {
        const name = n % 3 === 0 ? `renamed${n}` : `file${n}`
        expect(there.has(name), `round ${round}: ${name} of ${last}`).toBe(n % 5 !== 0)
        if (n % 5 !== 0) {
          const ino = volume.lookup(folderOf(volume, round), name, root) ?? 0
          expect(contentOf(volume, ino)).toBe(`content ${n}`)
        }
      }
      expect([...there].filter((name) => Number(/\d+/.exec(name)?.[0]) > last + 1)).toEqual([])
      await checkVolume(volume, directory)
      await volume.close()
    }
  })
})

describe('after loss of power', () => {
  it.each([from, from + 1, from + 2])(
    'all that was synced is there, seed %i',
    async (number) => {
      const chance = random(number)
      const directory = scratch()
      const clock = new ManualClock()
      const power = new PowerLossDisk(directory)
      const limits = {
        batchOperations: 5,
        segmentBytes: 3000,
        logBytes: 50_000,
        removalDelayMs: 30,
        removalPatienceMs: 0,
        idleDescriptors: 4,
      }
      const volume = await openVolume(directory, { clock, disk: power.disk, limits })
      power.everythingIsDurable()
      const operations = new Operations(number, { writes: false })
      const states = [treeOf(volume)]
      let promised = 0
      let syncing: Promise<void> | undefined
      for (let n = 1; n <= 160; n++) {
        operations.step(volume)
        states.push(operations.model.tree())
        clock.advance(10)
        if (chance() < 0.3) await turn()
        if (chance() < 0.1) {
          const covers = n
          syncing = volume.fsync(volume.root, false).then(() => {
            promised = Math.max(promised, covers)
          })
          if (chance() < 0.5) await syncing
        }
        if (chance() < 0.2) {
          const copy = scratch()
          const least = promised
          power.lose(copy, chance)
          const again = await openVolume(copy, { disk: unsynced, onBackgroundError: () => {} })
          const found = states.findLastIndex((state) => state.join('\n') === treeOf(again).join('\n'))
          expect(found, `after ${n}, promised ${least}`).toBeGreaterThanOrEqual(least)
          await again.close()
        }
      }
      await syncing
    },
    120_000,
  )

  it('a file is there that an earlier process made, and this one synced', async () => {
    const directory = scratch()
    const power = new PowerLossDisk(directory)
    const first = await openVolume(directory, { disk: power.disk })
    power.everythingIsDurable()
    const f = file(first, 1, 'f')
    const path = first.contentPath(f) ?? ''
    await first.close()
    // SQLite has synced its file by itself; nobody has synced the directory of the content.
    power.everythingIsDurable((name) => !name.endsWith(path))
    const volume = await openVolume(directory, { disk: power.disk })
    put(volume, f, 'durable')
    await volume.fsync(f, false)
    const chance = random(from)
    for (let n = 0; n < 4; n++) {
      const copy = scratch()
      power.lose(copy, chance)
      const again = await openVolume(copy, { disk: unsynced })
      expect(contentOf(again, f)).toBe('durable')
      await again.close()
    }
  })

  it('content that was synced before it took the place of another is the one or the other', async () => {
    const directory = scratch()
    const power = new PowerLossDisk(directory)
    const volume = await openVolume(directory, { disk: power.disk })
    power.everythingIsDurable()
    const f = file(volume, 1, 'f')
    put(volume, f, 'old')
    await volume.fsync(f, false)
    const staged = volume.stage(f, 7)
    volume.appendStaged(staged, Buffer.from('the new'))
    await volume.syncStaged(staged)
    volume.replaceContent(staged, {}, root)
    const chance = random(from)
    const states = new Set<string>()
    for (let n = 0; n < 10; n++) {
      if (n === 8) await volume.fsync(f, false)
      const copy = scratch()
      power.lose(copy, chance)
      const again = await openVolume(copy, { disk: unsynced })
      const found = contentOf(again, f)
      if (n >= 8) expect(found).toBe('the new')
      states.add(found)
      await again.close()
    }
    expect([...states].filter((state) => state !== 'old' && state !== 'the new')).toEqual([])
  })

  it('the old content of a file lives until its replacement is durable', async () => {
    const directory = scratch()
    const clock = new ManualClock()
    const power = new PowerLossDisk(directory)
    const volume = await openVolume(directory, { clock, disk: power.disk })
    power.everythingIsDurable()
    const old = file(volume, 1, 'f')
    put(volume, old, 'old')
    await volume.fsync(old, false)
    const replacement = file(volume, 1, 'g')
    put(volume, replacement, 'new')
    await volume.fsync(replacement, false)
    volume.rename({ parent: 1, name: 'g', newParent: 1, newName: 'f' }, root)
    const states = new Set<string>()
    const chance = random(from)
    for (let n = 0; n < 12; n++) {
      const copy = scratch()
      power.lose(copy, chance)
      const again = await openVolume(copy, { disk: unsynced })
      states.add(
        names(again, 1)
          .map((name) => `${name}: ${contentOf(again, again.lookup(1, name, root) ?? 0)}`)
          .sort()
          .join(', '),
      )
      await again.close()
      // The old content may go now, but not before the renaming is durable; the last rounds come after both.
      clock.advance(2000)
      await (n < 8 ? turn() : volume.sync())
    }
    expect([...states].filter((state) => state !== 'f: old, g: new' && state !== 'f: new')).toEqual([])
    expect(states.has('f: new')).toBe(true)
  })
})

describe('content that is used again', () => {
  it('does not come back under another name when power is lost', async () => {
    const directory = scratch()
    const clock = new ManualClock()
    const power = new PowerLossDisk(directory)
    const limits = { removalDelayMs: 10, removalPatienceMs: 0 }
    const volume = await openVolume(directory, { clock, disk: power.disk, limits })
    power.everythingIsDurable()
    const chance = random(from)
    let used = 0
    for (let round = 0; round < 6; round++) {
      const olds = ['o', 'p'].map((name) => file(volume, 1, `${name}${round}`))
      for (const ino of olds) {
        put(volume, ino, 'secret')
        await volume.fsync(ino, false)
      }
      const paths = olds.map((ino) => volume.contentPath(ino))
      for (const name of ['o', 'p']) volume.unlink(1, `${name}${round}`, root)
      if (round % 2 === 0) await volume.sync()
      for (let n = 0; n < 4; n++) {
        clock.advance(30)
        for (let turns = 0; turns < 4; turns++) await turn()
      }
      put(volume, file(volume, 1, `written${round}`), 'mine')
      // Files that were made ahead come first.
      for (let n = 0; n < 40; n++) {
        if (!paths.includes(volume.contentPath(file(volume, 1, `young${round}.${n}`)))) continue
        used++
        break
      }
      await volume.fsync(1, false)
      const copy = scratch()
      power.lose(copy, chance)
      const again = await openVolume(copy, { disk: unsynced, onBackgroundError: () => {} })
      for (const name of names(again, 1)) {
        expect(contentOf(again, again.lookup(1, name, root) ?? 0), `${name} in round ${round}`).not.toContain('secret')
      }
      await again.close()
    }
    expect(used).toBeGreaterThanOrEqual(3)
  })
})

const folderOf = (volume: Volume, round: number): number => volume.lookup(1, `round${round}`, root) ?? 0

/** Runs a process that works on the volume, and kills it when it has reported `count` operations. Returns them. */
async function killedAfter(directory: string, count: number, round: number): Promise<number[]> {
  const child = spawn(
    process.execPath,
    [fileURLToPath(new URL('volume-worker.mjs', import.meta.url)), directory, `${round}`],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  )
  const reported: number[] = []
  for await (const line of createInterface({ input: child.stdout })) {
    reported.push(Number(line))
    if (reported.length === count) child.kill('SIGKILL')
  }
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
  expect(child.signalCode).toBe('SIGKILL')
  return reported
}
