// Clones show one moment for ever, share what nobody changes, and can neither be changed nor be halves.
import fs from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { hostDisk } from '../../../src/host/disk.ts'
import { isDirectory, O_RDONLY, O_RDWR, O_TRUNC } from '../../../src/posix/mode.ts'
import { Volume } from '../../../src/store/volume.ts'
import { random, seed } from '../../support/random.ts'
import {
  checkVolume,
  codeOf,
  contentOf,
  diskWith,
  fail,
  file,
  folder,
  ManualClock,
  openVolume,
  put,
  readOnly,
  root,
  scratch,
  treeOf,
  turn,
} from './volume-fixture.ts'
import { Operations } from './volume-model.ts'

const from = seed()

/** All that clients may have been told of each inode, times and cookies included. */
function factsOf(volume: Volume): unknown[] {
  const facts: unknown[] = []
  const walk = (ino: number) => {
    const attributes = volume.attributes(ino)
    facts.push([attributes, volume.generation(ino), volume.changeOf(ino)])
    if (!isDirectory(attributes.mode)) return
    for (const entry of volume.list(ino, 0)) {
      facts.push(entry)
      if (entry.name !== '.' && entry.name !== '..') walk(entry.ino)
    }
  }
  walk(volume.root)
  return facts
}

const linksOf = (directory: string, volume: Volume, ino: number) =>
  fs.statSync(join(directory, volume.contentPath(ino) ?? '')).nlink

describe('a clone', () => {
  it('keeps what is replaced as a whole, whether somebody has it open or not, before and while it is made', async () => {
    const to = join(scratch(), 'clone')
    const volume = await openVolume(scratch())
    const store = (ino: number, text: string) => {
      const staged = volume.stage(ino, text.length)
      volume.appendStaged(staged, Buffer.from(text))
      volume.replaceContent(staged, {}, root)
    }
    const [plain, opened, read, meanwhile] = ['plain', 'opened', 'read', 'meanwhile'].map((name) => {
      const ino = file(volume, 1, name)
      put(volume, ino, `old ${name}`)
      return ino
    }) as [number, number, number, number]
    const reader = volume.openSnapshot(read)
    const cloning = volume.clone(to)
    store(meanwhile, 'new meanwhile')
    await cloning
    const user = volume.openContent(opened, O_RDWR, root)
    for (const ino of [plain, opened, read]) store(ino, `new of ${ino}, and longer`)
    volume.unlink(1, 'meanwhile', root)
    await volume.sync()
    const clone = await openVolume(to, readOnly)
    const before = [plain, opened, read, meanwhile].map((ino) => contentOf(clone, ino))
    expect(before).toEqual(['old plain', 'old opened', 'old read', expect.stringMatching(/^(old|new) meanwhile$/)])
    for (const ino of [plain, opened, read]) expect(contentOf(volume, ino)).toBe(`new of ${ino}, and longer`)
    volume.closeSnapshot(reader)
    volume.closeContent(user)
    await volume.close()
    expect(contentOf(clone, read)).toBe('old read')
    await clone.close()
  })

  it('has all that the volume had, and cannot be changed', async () => {
    const directory = scratch()
    const to = join(scratch(), 'clone')
    const volume = await openVolume(directory)
    const d = folder(volume, 1, 'd')
    folder(volume, 1, 'empty')
    const f = file(volume, d, 'f')
    put(volume, f, 'content')
    volume.setXattr(f, 'user.a', Buffer.from('value'), 'either', root)
    volume.link(f, 1, 'g', root)
    volume.setQuota({ bytes: 1000, inodes: undefined })
    const facts = factsOf(volume)
    const report = await volume.clone(to)
    expect(report).toMatchObject({ files: 1, copied: 0 })
    expect(linksOf(directory, volume, f)).toBe(2)
    const clone = await openVolume(to, readOnly)
    const also = await openVolume(to, readOnly)
    expect(factsOf(clone)).toEqual(facts)
    expect(treeOf(clone)).toEqual(treeOf(volume))
    expect(clone.used).toEqual(volume.used)
    expect(clone.quota).toEqual(volume.quota)
    expect([clone.origin, clone.id, clone.readOnly]).toEqual([volume.id, report.id, true])
    const attempts = [
      () => file(clone, 1, 'new'),
      () => clone.createTemporary(1, 0o600, root),
      () => clone.unlink(d, 'f', root),
      () => clone.removeDirectory(1, 'empty', root),
      () => clone.rename({ parent: 1, name: 'd', newParent: 1, newName: 'e' }, root),
      () => clone.link(f, 1, 'h', root),
      () => clone.setAttributes(f, { mode: 0o600 }, root),
      () => clone.setAttributes(f, { size: 0 }, root),
      () => clone.setAttributes(f, { mtime: 'now' }, root),
      () => clone.openContent(f, O_RDWR, root),
      () => clone.openContent(f, O_RDONLY | O_TRUNC, root),
      () => clone.writeUnopened(f, Buffer.from('x'), 0, root),
      () => clone.setXattr(f, 'user.b', Buffer.from('x'), 'either', root),
      () => clone.removeXattr(f, 'user.a', root),
      () => clone.setQuota({ bytes: 1, inodes: 1 }),
    ]
    for (const attempt of attempts) expect(codeOf(attempt), `${attempt}`).toBe('EROFS')
    await clone.sync()
    await clone.fsync(f, false)
    expect(factsOf(clone)).toEqual(facts)
    expect(factsOf(also)).toEqual(facts)
    await expect(Volume.open(to)).rejects.toThrow("is a clone's")
    await expect(Volume.open(directory, readOnly)).rejects.toThrow()
    await expect(volume.clone(to)).rejects.toThrow('exists')
    const second = join(scratch(), 'second')
    await clone.clone(second)
    expect(factsOf(await openVolume(second, readOnly))).toEqual(facts)
  })

  it('keeps its content whatever changes it in the volume, which copies it once', async () => {
    const directory = scratch()
    const to = join(scratch(), 'clone')
    const volume = await openVolume(directory)
    const all = ['written', 'unopened', 'truncated', 'emptied', 'touched', 'read', 'deleted', 'replaced', 'open']
    const inos = new Map(all.map((name) => [name, file(volume, 1, name)]))
    const ino = (name: string) => inos.get(name) ?? 0
    for (const name of all) put(volume, ino(name), `old ${name}`)
    const reading = volume.openContent(ino('unopened'), O_RDONLY, root)
    const open = volume.openContent(ino('open'), O_RDWR, root)
    const tree = treeOf(volume)
    const facts = factsOf(volume)
    expect((await volume.clone(to)).copied).toBe(1)
    volume.write(open, Buffer.from('new'), 0)
    put(volume, ino('written'), 'new')
    volume.writeUnopened(ino('unopened'), Buffer.from('new'), 0, root)
    volume.setAttributes(ino('truncated'), { size: 1 }, root)
    volume.closeContent(volume.openContent(ino('emptied'), O_RDWR | O_TRUNC, root))
    volume.setAttributes(ino('touched'), { mtime: { sec: 1, nsec: 2 } }, root)
    expect(contentOf(volume, ino('read'))).toBe('old read')
    volume.unlink(1, 'deleted', root)
    volume.rename({ parent: 1, name: 'written', newParent: 1, newName: 'replaced' }, root)
    const seen = Buffer.alloc(3)
    volume.read(reading, seen, 0)
    expect(seen.toString()).toBe('new')
    expect(linksOf(directory, volume, ino('read'))).toBe(2)
    expect(linksOf(directory, volume, ino('written'))).toBe(1)
    const inode = fs.statSync(join(directory, volume.contentPath(ino('written')) ?? '')).ino
    put(volume, ino('written'), 'newer')
    expect(fs.statSync(join(directory, volume.contentPath(ino('written')) ?? '')).ino).toBe(inode)
    await volume.sync()
    const clone = await openVolume(to, readOnly)
    expect(treeOf(clone)).toEqual(tree)
    expect(factsOf(clone)).toEqual(facts)
    volume.closeContent(reading)
    volume.closeContent(open)
    await checkVolume(volume, directory)
    await volume.close()
    fs.rmSync(directory, { recursive: true })
    expect(treeOf(clone)).toEqual(tree)
  })

  it('that is gone leaves the volume nothing to copy', async () => {
    const directory = scratch()
    const to = join(scratch(), 'clone')
    const first = await openVolume(directory)
    const f = file(first, 1, 'f')
    put(first, f, 'old')
    await first.clone(to)
    fs.rmSync(to, { recursive: true })
    await first.close()
    const volume = await openVolume(directory)
    const inode = () => fs.statSync(join(directory, volume.contentPath(f) ?? '')).ino
    const before = inode()
    put(volume, f, 'new')
    expect(inode()).toBe(before)
  })

  it('is not passed through to the kernel by the volume, unless it was already', async () => {
    const to = scratch()
    const volume = await openVolume()
    const f = file(volume, 1, 'f')
    const g = file(volume, 1, 'g')
    for (const ino of [f, g]) put(volume, ino, 'old')
    const reading = volume.openContent(f, O_RDONLY, root)
    const passed = volume.passthrough(reading)
    expect(passed).toBeDefined()
    await volume.clone(join(to, 'clone'))
    const writing = volume.openContent(f, O_RDWR, root)
    expect(volume.passthrough(writing)).toEqual(passed)
    const shared = volume.openContent(g, O_RDONLY, root)
    expect(volume.passthrough(shared)).toBeUndefined()
    const own = volume.openContent(g, O_RDWR, root)
    expect(volume.passthrough(own)).toBeDefined()
    fs.writeSync(passed?.fd ?? -1, 'new')
    fs.writeSync(volume.passthrough(own)?.fd ?? -1, 'new')
    const clone = await openVolume(join(to, 'clone'), readOnly)
    expect([f, g].map((ino) => contentOf(clone, ino))).toEqual(['old', 'old'])
    for (const content of [reading, writing, shared, own]) volume.closeContent(content)
  })

  it('that replaces another does so for who opens it next; the older one goes when nobody has it open', async () => {
    const folder = scratch()
    const to = join(folder, 'released')
    const volume = await openVolume()
    const f = file(volume, 1, 'f')
    const opened: Volume[] = []
    for (const text of ['one', 'two', 'three']) {
      put(volume, f, text)
      await volume.clone(to, { replace: true })
      opened.push(await openVolume(to, readOnly))
    }
    expect(opened.map((clone) => contentOf(clone, f).slice(0, 3))).toEqual(['one', 'two', 'thr'])
    for (const clone of opened) await clone.close()
    put(volume, f, 'final')
    await volume.clone(to, { replace: true })
    expect(fs.readdirSync(folder).length).toBe(2)
    expect(contentOf(await openVolume(to, readOnly), f)).toBe('final')
    await expect(volume.clone(to)).rejects.toThrow('exists')
    await volume.clone(join(folder, 'plain'))
    await expect(volume.clone(join(folder, 'plain'), { replace: true })).rejects.toThrow('can be replaced')
    expect(fs.readdirSync(folder).length).toBe(3)
  })

  it('that fails leaves the volume as it was and nothing else, and can be tried again', async () => {
    const directory = scratch()
    const folder = scratch()
    let left = Number.POSITIVE_INFINITY
    const disk = diskWith({
      link: (path, newPath) => (left-- <= 0 ? fail('EIO') : hostDisk.link(path, newPath)),
      syncFileSystem: async (path) => (left-- <= 0 ? fail('EIO') : hostDisk.syncFileSystem(path)),
    })
    const volume = await openVolume(directory, { disk })
    const inos = Array.from({ length: 5 }, (_, n) => file(volume, 1, `f${n}`))
    for (const ino of inos) put(volume, ino, 'old')
    const tree = treeOf(volume)
    for (let n = 0; n < 6; n++) {
      left = n
      await expect(volume.clone(join(folder, 'clone'))).rejects.toThrow('EIO')
      left = Number.POSITIVE_INFINITY
      expect(fs.readdirSync(folder)).toEqual([])
      expect(treeOf(volume)).toEqual(tree)
    }
    await volume.clone(join(folder, 'clone'))
    for (const ino of inos) put(volume, ino, 'new')
    expect(treeOf(await openVolume(join(folder, 'clone'), readOnly))).toEqual(tree)
    await checkVolume(volume, directory)
  })
})

describe(`clones of a volume under random operations (PROTEUS_SEED=${from})`, () => {
  it.each([from, from + 1, from + 2])('show one moment each for ever, seed %i', async (number) => {
    const chance = random(number)
    const directory = scratch()
    const folder = scratch()
    const clock = new ManualClock()
    const operations = new Operations(number)
    const limits = { batchOperations: 20, segmentBytes: 8000, logBytes: 60_000, cachedInodes: 8, idleDescriptors: 3 }
    let volume = await openVolume(directory, { clock, limits })
    const clones: { path: string; tree: string[]; facts: unknown[]; volume: Volume | undefined }[] = []
    const check = async () => {
      for (const clone of clones) {
        const opened = clone.volume ?? (await openVolume(clone.path, readOnly))
        expect(treeOf(opened), clone.path).toEqual(clone.tree)
        expect(factsOf(opened), clone.path).toEqual(clone.facts)
        if (chance() < 0.5) clone.volume = opened
        else {
          await opened.close()
          clone.volume = undefined
        }
      }
    }
    for (let n = 1; n <= 1500; n++) {
      operations.step(volume)
      if (chance() < 0.02) clock.advance(2000)
      if (chance() < 0.1) await turn()
      if (chance() < 0.015) {
        const path = join(folder, `clone${n}`)
        const states = [operations.model.tree().join('\n')]
        let done = false
        const cloning = volume.clone(path).finally(() => {
          done = true
        })
        while (!done) {
          operations.step(volume)
          states.push(operations.model.tree().join('\n'))
          if (chance() < 0.05) clock.advance(2000)
          await turn()
        }
        await cloning
        const opened = await openVolume(path, readOnly)
        const tree = treeOf(opened)
        expect(states).toContain(tree.join('\n'))
        clones.push({ path, tree, facts: factsOf(opened), volume: opened })
      }
      if (clones.length > 4) {
        const [gone] = clones.splice(Math.floor(chance() * clones.length), 1)
        await gone?.volume?.close()
        fs.rmSync(gone?.path ?? '', { recursive: true })
      }
      if (n % 250 === 0) {
        await check()
        expect(treeOf(volume)).toEqual(operations.model.tree())
      }
      if (n % 500 === 0) {
        await volume.close()
        volume = await openVolume(directory, { clock, limits })
        await checkVolume(volume, directory)
      }
    }
    await volume.close()
    fs.rmSync(directory, { recursive: true })
    expect(clones.length).toBeGreaterThan(0)
    await check()
  })
})
