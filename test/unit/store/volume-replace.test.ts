// Replacing content as a whole: readers keep what they read, others see the new content, and nothing in between.
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import { expect, test } from 'vitest'
import { O_RDONLY, O_RDWR, S_IFREG } from '../../../src/posix/mode.ts'
import type { Content } from '../../../src/store/contents.ts'
import type { Snapshot } from '../../../src/store/replace.ts'
import type { Volume } from '../../../src/store/volume.ts'
import { random, seed } from '../../support/random.ts'
import { alice, openVolume, root, scratch, superuser } from './volume-fixture.ts'

function make(volume: Volume, content: string, name = 'f'): number {
  const ino = volume.create(volume.root, name, { mode: S_IFREG | 0o644 }, root)
  volume.writeUnopened(ino, Buffer.from(content), 0, root)
  return ino
}

function read(volume: Volume, ino: number): string {
  const into = Buffer.alloc(volume.attributes(ino).size)
  return into.toString('utf8', 0, volume.readUnopened(ino, into, 0))
}

function replace(volume: Volume, ino: number, content: string, changes = {}, who = root): void {
  const staged = volume.stage(ino, content.length)
  try {
    volume.appendStaged(staged, Buffer.from(content))
    volume.replaceContent(staged, changes, who)
  } finally {
    volume.discardStaged(staged)
  }
}

test('the data version grows by one, and the new content stays after the volume is opened again', async () => {
  const directory = scratch()
  const volume = await openVolume(directory)
  const ino = make(volume, 'old')
  const { dataVersion } = volume.changeOf(ino)
  replace(volume, ino, 'the new one', { mtime: { sec: 5, nsec: 7 }, mode: 0o600 })
  expect(volume.changeOf(ino).dataVersion).toBe(dataVersion + 1)
  expect(read(volume, ino)).toBe('the new one')
  expect(volume.attributes(ino)).toMatchObject({ size: 11, mtime: { sec: 5, nsec: 7 }, mode: S_IFREG | 0o600 })
  await volume.close()
  const again = await openVolume(directory)
  expect(read(again, ino)).toBe('the new one')
  expect(again.changeOf(ino).dataVersion).toBe(dataVersion + 1)
  expect(again.used.bytes).toBe(11)
})

test('a snapshot keeps its content, and the file has the new one; the old content goes with the snapshot', async () => {
  const directory = scratch()
  const volume = await openVolume(directory)
  const ino = make(volume, 'old')
  const snapshot = volume.openSnapshot(ino)
  const path = volume.contentPath(ino)
  replace(volume, ino, 'new one')
  replace(volume, ino, 'newer one')
  const into = Buffer.alloc(3)
  fs.readSync(snapshot.fd, into, 0, 3, 0)
  expect(into.toString()).toBe('old')
  expect(read(volume, ino)).toBe('newer one')
  expect(fs.existsSync(`${directory}/${path}`)).toBe(true)
  volume.closeSnapshot(snapshot)
  volume.closeSnapshot(snapshot)
  await volume.sync()
  expect(fs.existsSync(`${directory}/${path}`)).toBe(false)
  volume.unlink(volume.root, 'f', root)
  expect(volume.used.bytes).toBe(0)
})

test('programs that have the file open see the new content in it', async () => {
  const volume = await openVolume()
  const ino = make(volume, 'something old')
  const content = volume.openContent(ino, O_RDWR, root)
  const { dataVersion } = volume.changeOf(ino)
  replace(volume, ino, 'new')
  const into = Buffer.alloc(10)
  expect(volume.read(content, into, 0)).toBe(3)
  expect(into.toString('utf8', 0, 3)).toBe('new')
  expect(volume.changeOf(ino).dataVersion).toBe(dataVersion + 1)
  volume.write(content, Buffer.from('!'), 3)
  volume.closeContent(content)
  expect(read(volume, ino)).toBe('new!')
})

test('a copy into an open file that a crash interrupted is finished', async () => {
  const directory = scratch()
  const worker = `
    import { Volume } from '${process.cwd()}/dist/store/volume.js'
    import { hostDisk } from '${process.cwd()}/dist/host/disk.js'
    const root = { uid: 0, gid: 0, groups: [], checked: true }
    let armed = false
    const disk = { ...hostDisk, copyRange(...args) {
      if (!armed) return hostDisk.copyRange(...args)
      hostDisk.copyRange(args[0], 0, args[2], 0, 2)
      process.kill(process.pid, 'SIGKILL')
    } }
    const volume = await Volume.open('${directory}', { disk })
    const ino = volume.create(volume.root, 'f', { mode: 0o100644 }, root)
    volume.writeUnopened(ino, Buffer.from('something old'), 0, root)
    volume.openContent(ino, 0, root)
    const staged = volume.stage(ino, 7)
    volume.appendStaged(staged, Buffer.from('new one'))
    armed = true
    volume.replaceContent(staged, {}, root)`
  const { signal } = spawnSync(process.execPath, ['--input-type=module', '-e', worker])
  expect(signal).toBe('SIGKILL')
  const volume = await openVolume(directory)
  const ino = volume.lookup(volume.root, 'f', root) ?? 0
  expect(read(volume, ino)).toBe('new one')
  expect(fs.readdirSync(`${directory}/content/00`).length).toBeLessThanOrEqual(1)
})

test('what may not be changes nothing: quota, foreign owner; set-id bits go when others write', async () => {
  const volume = await openVolume()
  const ino = make(volume, 'old')
  volume.setAttributes(ino, { mode: 0o4755 }, root)
  volume.setQuota({ bytes: 10, inodes: undefined })
  expect(() => volume.stage(ino, 11)).toThrow('EDQUOT')
  expect(() => volume.stage(volume.root, 1)).toThrow('EISDIR')
  const staged = volume.stage(ino, 10)
  volume.appendStaged(staged, Buffer.alloc(10))
  make(volume, 'more!!', 'g')
  expect(() => volume.replaceContent(staged, {}, superuser)).toThrow('EDQUOT')
  volume.discardStaged(staged)
  volume.discardStaged(staged)
  expect(() => replace(volume, ino, 'n', { mode: 0o777 }, alice)).toThrow('EPERM')
  expect(read(volume, ino)).toBe('old')
  replace(volume, ino, 'n', {}, alice)
  expect(volume.attributes(ino).mode).toBe(S_IFREG | 0o755)
  const content = volume.openContent(ino, O_RDONLY, root)
  expect(volume.read(content, Buffer.alloc(5), 0)).toBe(1)
  volume.closeContent(content)
})

test.each([1, 2, 3, 4].map((n) => seed() + n))(
  'beside writes, opens, snapshots and restarts: seed %i',
  async (from) => {
    const chance = random(from)
    const pick = (count: number) => Math.floor(chance() * count)
    const directory = scratch()
    const limits = { idleDescriptors: 1, cachedInodes: 2, removalDelayMs: 0, removalPatienceMs: 0, batchOperations: 3 }
    let volume = await openVolume(directory, { limits })
    const files = new Map<number, string>()
    const snapshots: { snapshot: Snapshot; content: string }[] = []
    /** Those whose file was changed in place, maybe. */
    const written = new Set<Snapshot>()
    const opens: Content[] = []
    const closeAll = () => {
      for (const { snapshot } of snapshots.splice(0)) volume.closeSnapshot(snapshot)
      for (const content of opens.splice(0)) volume.closeContent(content)
    }
    for (let step = 0; step < 400; step++) {
      const inodes = [...files.keys()]
      const ino = inodes[pick(inodes.length)]
      const text = String(step).repeat(1 + pick(30))
      const what = ino === undefined ? 0 : pick(10)
      if (what === 0 || ino === undefined) files.set(make(volume, text, `f${step}`), text)
      else if (what < 4) {
        const { dataVersion } = volume.changeOf(ino)
        replace(volume, ino, text)
        expect(volume.changeOf(ino).dataVersion).toBe(dataVersion + 1)
        files.set(ino, text)
      } else if (what === 4) {
        volume.setAttributes(ino, { size: 0 }, root)
        volume.writeUnopened(ino, Buffer.from(text), 0, root)
        for (const one of snapshots.filter(({ snapshot }) => snapshot.ino === ino)) volume.closeSnapshot(one.snapshot)
        files.set(ino, text)
      } else if (what === 5) snapshots.push({ snapshot: volume.openSnapshot(ino), content: files.get(ino) ?? '' })
      else if (what === 6) opens.push(volume.openContent(ino, O_RDWR, root))
      else if (what === 7) {
        for (const content of opens.splice(0, 2)) volume.closeContent(content)
        for (const { snapshot } of snapshots.splice(0, 2)) volume.closeSnapshot(snapshot)
      } else if (what === 8) {
        const name = [...volume.list(1, 0)].find((entry) => entry.ino === ino)?.name ?? ''
        volume.unlink(1, name, root)
        files.delete(ino)
      } else if (pick(8) === 0) {
        closeAll()
        await volume.close()
        volume = await openVolume(directory, { limits })
      } else await volume.sync()
      for (const [ino, content] of files) expect(read(volume, ino)).toBe(content)
      for (const { snapshot, content } of snapshots) {
        // Writes in place are seen in snapshots, too, as are copies into files that somebody has open.
        if (snapshot.closed || opens.length > 0) continue
        const into = Buffer.alloc(content.length)
        fs.readSync(snapshot.fd, into, 0, content.length, 0)
        if (!written.has(snapshot)) expect(into.toString()).toBe(content)
      }
      if (opens.length > 0) for (const { snapshot } of snapshots) written.add(snapshot)
    }
    closeAll()
    await volume.sync()
    expect(volume.used.bytes).toBe([...files.values()].reduce((sum, { length }) => sum + length, 0))
    const found = fs.readdirSync(`${directory}/content`, { recursive: true, withFileTypes: true })
    const named = new Set([...files.keys()].map((ino) => `${directory}/${volume.contentPath(ino)}`))
    const full = found.filter((entry) => entry.isFile()).map((entry) => `${entry.parentPath}/${entry.name}`)
    // What is left beside the files' own content is empty, for the next files.
    for (const path of full) if (!named.has(path)) expect(fs.statSync(path).size).toBe(0)
  },
)
