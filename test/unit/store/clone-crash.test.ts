// What is left of a volume and its clones after kill -9 and after loss of power, at each step of a clone and of the copy
// that the first change of shared content makes.
import fs from 'node:fs'
import { basename, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { type Disk, hostDisk } from '../../../src/host/disk.ts'
import { random, seed } from '../../support/random.ts'
import { PowerLossDisk } from './power-loss-disk.ts'
import {
  checkVolume,
  contentOf,
  diskWith,
  file,
  ManualClock,
  openVolume,
  put,
  readOnly,
  root,
  scratch,
  treeOf,
  turn,
  unsynced,
} from './volume-fixture.ts'
import { Operations } from './volume-model.ts'

const from = seed()
const afterPowerLoss: Disk = { ...unsynced, bootId: () => 'another boot' }

/** A copy of a directory in which the files that have several names have them still: what kill -9 leaves. */
function imageOf(directory: string): string {
  const image = scratch()
  const seen = new Map<number, string>()
  const copy = (path: string, to: string) => {
    const stat = fs.lstatSync(path)
    const first = seen.get(stat.ino)
    if (stat.isDirectory()) {
      fs.mkdirSync(to, { recursive: true })
      for (const name of fs.readdirSync(path)) copy(join(path, name), join(to, name))
    } else if (stat.isSymbolicLink()) fs.symlinkSync(fs.readlinkSync(path), to)
    else if (first !== undefined) fs.linkSync(first, to)
    else {
      fs.cpSync(path, to, { preserveTimestamps: true })
      seen.set(stat.ino, to)
    }
  }
  copy(directory, image)
  return image
}

/** Calls `watch` before and after each call that makes, changes or removes a file. */
function watchedDisk(watch: (at: string) => void): Disk {
  const watched =
    <T extends unknown[], R>(name: string, call: (...args: T) => R) =>
    (...args: T): R => {
      watch(`before ${name} ${args[0]}`)
      const result = call(...args)
      watch(`after ${name} ${args[0]}`)
      return result
    }
  const { open, write, truncate, utimens, copyRange, link, rename, unlink, makeDirectory } = hostDisk
  return diskWith({
    open: (path, flags, mode) => ((flags & 0o100) !== 0 ? watched('open', open) : open)(path, flags, mode),
    write: watched('write', write),
    truncate: watched('truncate', truncate),
    utimens: watched('utimens', utimens),
    copyRange: watched('copyRange', copyRange),
    link: watched('link', link),
    rename: watched('rename', rename),
    unlink: watched('unlink', unlink),
    makeDirectory: (path) => (basename(path).length > 2 ? watched('mkdir', makeDirectory) : makeDirectory)(path),
    sync: async () => {
      watch('before sync')
      await turn()
      watch('after sync')
    },
    syncFileSystem: async () => {
      watch('before syncfs')
      await turn()
      watch('after syncfs')
    },
  })
}

describe('after kill -9', () => {
  it('at each step of a clone the volume is whole, and the clone is there whole or not at all', async () => {
    const top = scratch()
    const directory = join(top, 'volume')
    const images: { readonly image: string; readonly at: string; readonly tree: string[] }[] = []
    let watching = false
    let tree: string[] = []
    const disk = watchedDisk((at) => {
      if (watching) images.push({ image: imageOf(top), at, tree })
    })
    const volume = await openVolume(directory, { disk, clock: new ManualClock() })
    const operations = new Operations(from)
    for (let n = 0; n < 60; n++) operations.step(volume)
    const writing = volume.createTemporary(1, 0o644, root)
    volume.link(writing, 1, 'open', root)
    const content = volume.openContent(writing, 2, root)
    volume.write(content, Buffer.from('open for writing'), 0)
    tree = treeOf(volume)
    const atMoment = tree
    watching = true
    await volume.clone(join(top, 'clone'))
    await volume.clone(join(top, 'released'), { replace: true })
    await volume.clone(join(top, 'released'), { replace: true })
    watching = false
    expect(images.length).toBeGreaterThan(60)
    let clones = 0
    for (const { image, at, tree } of images) {
      const again = await openVolume(join(image, 'volume'), { disk: unsynced })
      expect(treeOf(again), at).toEqual(tree)
      for (const name of ['clone', 'released']) {
        if (!fs.existsSync(join(image, name))) continue
        clones++
        const clone = await openVolume(join(image, name), { disk: unsynced, readOnly: true })
        expect(treeOf(clone), `${name} ${at}`).toEqual(atMoment)
        await clone.close()
      }
      if (fs.existsSync(join(image, 'clone.partial'))) {
        await expect(openVolume(join(image, 'clone.partial'), readOnly)).rejects.toThrow('not made to its end')
        // It may share content with the volume already, and goes with the next attempt.
        for (const { ino } of regularFiles(treeNumbers(again))) put(again, ino, 'changed')
        const changed = treeOf(again)
        await again.clone(join(image, 'clone'))
        expect(fs.existsSync(join(image, 'clone.partial'))).toBe(false)
        const clone = await openVolume(join(image, 'clone'), { disk: unsynced, readOnly: true })
        expect(treeOf(clone)).toEqual(changed)
        await clone.close()
      }
      await checkVolume(again, join(image, 'volume'))
      await again.close()
      fs.rmSync(image, { recursive: true })
    }
    expect(clones).toBeGreaterThan(20)
    volume.closeContent(content)
  }, 240_000)

  it('at each step of the first change of shared content all that was acknowledged is there, and the clone as it was', async () => {
    const top = scratch()
    const clock = new ManualClock()
    const images: { readonly image: string; readonly at: string; readonly may: readonly string[] }[] = []
    let may: string[] = []
    let watching = false
    const disk = watchedDisk((at) => {
      if (watching) images.push({ image: imageOf(top), at, may })
    })
    const volume = await openVolume(join(top, 'volume'), { disk, clock })
    const f = file(volume, 1, 'f')
    put(volume, f, 'old content')
    await volume.clone(join(top, 'clone'))
    watching = true
    may = ['old content', 'new content']
    volume.writeUnopened(f, Buffer.from('new'), 0, root)
    may = ['new content']
    clock.advance(1000)
    for (let n = 0; n < 20; n++) await turn()
    may = ['new content', 'new']
    volume.setAttributes(f, { size: 3 }, root)
    await volume.sync()
    watching = false
    expect(images.length).toBeGreaterThan(12)
    for (const { image, at, may } of images) {
      const again = await openVolume(join(image, 'volume'), { disk: unsynced })
      expect(may, at).toContain(contentOf(again, f))
      const clone = await openVolume(join(image, 'clone'), { disk: unsynced, readOnly: true })
      expect(contentOf(clone, f), at).toBe('old content')
      await checkVolume(again, join(image, 'volume'))
      await again.close()
    }
  }, 120_000)
})

describe('after loss of power', () => {
  it.each([from, from + 1, from + 2, from + 3])(
    'all that was synced is there although shared content was copied, seed %i',
    async (number) => {
      const chance = random(number)
      const top = scratch()
      const clock = new ManualClock()
      const power = new PowerLossDisk(top)
      const limits = { removalDelayMs: 10, removalPatienceMs: 0, idleDescriptors: 2 }
      const volume = await openVolume(join(top, 'volume'), { clock, disk: power.disk, limits })
      power.everythingIsDurable()
      const inos = ['a', 'b', 'c'].map((name) => file(volume, 1, name))
      /** What each file was when it was last known to be durable, and since then. */
      const states = inos.map(() => [''])
      const write = (index: number, text: string) => {
        volume.setAttributes(inos[index] ?? 0, { size: 0 }, root)
        states[index]?.push('')
        volume.writeUnopened(inos[index] ?? 0, Buffer.from(text), 0, root)
        states[index]?.push(text)
      }
      const cloned = new Map<string, string[]>()
      for (let n = 0; n < 60; n++) {
        const index = Math.floor(chance() * inos.length)
        const what = chance()
        if (what < 0.4) write(index, `${n} `.repeat(1 + Math.floor(chance() * 600)))
        else if (what < 0.6) {
          const now = states[index]?.at(-1) ?? ''
          await volume.fsync(inos[index] ?? 0, false)
          states[index] = [now]
        } else if (what < 0.75) {
          const name = `clone${n}`
          await volume.clone(join(top, name))
          cloned.set(
            name,
            states.map((past) => past.at(-1) ?? ''),
          )
          for (const past of states) past.splice(0, past.length - 1)
        } else if (what < 0.85) {
          clock.advance(50)
          for (let turns = 0; turns < 4; turns++) await turn()
        } else {
          const copy = scratch()
          power.lose(copy, chance)
          const again = await openVolume(join(copy, 'volume'), { disk: afterPowerLoss, onBackgroundError: () => {} })
          for (const [at, ino] of inos.entries()) {
            if (states[at]?.[0] === '' && again.lookup(1, 'abc'[at] ?? '', root) === undefined) continue
            const found = contentOf(again, ino)
            // What was written since, in place, may be there in parts; what was synced and not changed since is whole.
            if (states[at]?.length === 1) expect(found, `file ${at} after ${n}`).toBe(states[at]?.[0])
          }
          for (const [name, contents] of cloned) {
            const clone = await openVolume(join(copy, name), { disk: afterPowerLoss, readOnly: true })
            expect(
              inos.map((ino) => contentOf(clone, ino)),
              name,
            ).toEqual(contents)
            await clone.close()
          }
          await again.close()
        }
      }
    },
    120_000,
  )

  it('what was synced after the old content went stays, although that went before its directory was synced', async () => {
    const chance = random(from)
    const top = scratch()
    const clock = new ManualClock()
    const power = new PowerLossDisk(top)
    const volume = await openVolume(join(top, 'volume'), { clock, disk: power.disk, limits: { removalPatienceMs: 0 } })
    power.everythingIsDurable()
    const [f = 0, other = 0] = ['f', 'other'].map((name) => file(volume, 1, name))
    put(volume, f, 'older')
    await volume.clone(join(top, 'clone'))
    volume.writeUnopened(f, Buffer.from('newer'), 0, root)
    // The directory that both are in is durable with the name of the old content.
    await volume.fsync(other, false)
    clock.advance(1000)
    for (let n = 0; n < 20; n++) await turn()
    volume.writeUnopened(f, Buffer.from('newest'), 0, root)
    await volume.fsync(f, false)
    for (let n = 0; n < 10; n++) {
      const copy = scratch()
      power.lose(copy, chance)
      const again = await openVolume(join(copy, 'volume'), { disk: afterPowerLoss, onBackgroundError: () => {} })
      expect(contentOf(again, f)).toBe('newest')
      await again.close()
    }
  })

  it('a change of one byte of shared content does not cost the others', async () => {
    const chance = random(from)
    const top = scratch()
    const clock = new ManualClock()
    const power = new PowerLossDisk(top)
    const volume = await openVolume(join(top, 'volume'), { clock, disk: power.disk })
    power.everythingIsDurable()
    const f = file(volume, 1, 'f')
    put(volume, f, 'x'.repeat(5000))
    await volume.fsync(f, false)
    await volume.clone(join(top, 'clone'))
    volume.writeUnopened(f, Buffer.from('y'), 2000, root)
    for (let n = 0; n < 20; n++) {
      const copy = scratch()
      power.lose(copy, chance)
      const again = await openVolume(join(copy, 'volume'), { disk: afterPowerLoss, onBackgroundError: () => {} })
      const found = contentOf(again, f)
      expect(found.replace('y', 'x')).toBe('x'.repeat(5000))
      if (n > 8) expect(found[2000]).toBe('y')
      await again.close()
      if (n === 8) await volume.fsync(f, false)
    }
  })
})

interface Numbered {
  readonly ino: number
  readonly regular: boolean
}

/** From the lines of `treeOf` with numbers. */
const treeNumbers = (volume: Parameters<typeof treeOf>[0]): Numbered[] =>
  treeOf(volume, { numbers: true }).map((line) => {
    const [, ino, mode] = /#(\d+) (\d+) /.exec(line) ?? []
    return { ino: Number(ino), regular: (Number.parseInt(mode ?? '0', 8) & 0o170000) === 0o100000 }
  })

const regularFiles = (nodes: readonly Numbered[]) => nodes.filter(({ regular }) => regular)
