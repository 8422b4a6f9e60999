// Content files that go from a deleted inode to a new one, at the moments at which that could go wrong.
import fs from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { hostDisk } from '../../../src/host/disk.ts'
import { O_RDONLY, O_RDWR } from '../../../src/posix/mode.ts'
import type { Volume } from '../../../src/store/volume.ts'
import {
  checkVolume,
  codeOf,
  contentOf,
  diskWith,
  fail,
  file,
  ManualClock,
  openVolume,
  put,
  root,
  scratch,
} from './volume-fixture.ts'

const pathOf = (volume: Volume, directory: string, ino: number) => join(directory, volume.contentPath(ino) ?? '')

const turn = () => new Promise((resolve) => setImmediate(resolve))

/** A disk whose syncs of some files last until `during` is waited for. */
function slowSyncs(isSlow: (path: string) => boolean) {
  const waiting: (() => void)[] = []
  const disk = diskWith({
    sync: (fd) =>
      isSlow(fs.readlinkSync(`/proc/self/fd/${fd}`))
        ? new Promise((resolve) => waiting.push(resolve))
        : Promise.resolve(),
  })
  const during = async <T>(work: Promise<T>): Promise<T> => {
    const ended = work.then(
      () => true,
      () => true,
    )
    while (!(await Promise.race([ended, turn()]))) for (const resolve of waiting.splice(0)) resolve()
    return work
  }
  return { disk, during }
}

describe('the content of a file that is deleted', () => {
  it.each([
    ['content', /content\/..\/\d+$/],
    ['journal', /\.journal$/],
  ])('while it is synced goes once, the %s being slow', async (_, slow) => {
    const directory = scratch()
    const { disk, during } = slowSyncs((path) => slow.test(path))
    const volume = await during(openVolume(directory, { disk }))
    const f = file(volume, 1, 'f')
    put(volume, f, 'old')
    volume.hold(f, 1)
    const syncs = [volume.fsync(f, false), volume.fsync(f, false)]
    await turn()
    volume.unlink(1, 'f', root)
    volume.drop(f, 1)
    await during(Promise.all(syncs))
    expect(volume.used).toEqual({ inodes: 1, bytes: 0 })
    await during(volume.sync())
    const young = file(volume, 1, 'young')
    put(volume, young, 'young')
    await during(volume.sync())
    expect(fs.readFileSync(pathOf(volume, directory, young), 'utf8')).toBe('young')
    await during(checkVolume(volume, directory))
    await during(volume.close())
  })

  it('goes when the volume is closed, also if somebody still uses it', async () => {
    const directory = scratch()
    const volume = await openVolume(directory)
    const f = file(volume, 1, 'f')
    put(volume, f, 'held')
    volume.hold(f, 1)
    volume.unlink(1, 'f', root)
    const g = file(volume, 1, 'g')
    const content = volume.openContent(g, O_RDWR, root)
    volume.write(content, Buffer.from('open'), 0)
    volume.unlink(1, 'g', root)
    volume.hold(volume.createTemporary(1, 0o600, root), 1)
    await volume.close()
    volume.closeContent(content)
    const again = await openVolume(directory)
    await checkVolume(again, directory)
  })

  it('stays with whoever has it mapped, even if no mount knows of that any more', async () => {
    const directory = scratch()
    const volume = await openVolume(directory)
    const f = file(volume, 1, 'f')
    put(volume, f, 'mine')
    const path = pathOf(volume, directory, f)
    const reader = fs.openSync(path, 'r')
    volume.unlink(1, 'f', root)
    await volume.sync()
    const young = file(volume, 1, 'young')
    put(volume, young, 'secret')
    expect(fs.readFileSync(reader, 'utf8')).toBe('mine')
    expect(pathOf(volume, directory, young)).not.toBe(path)
    fs.closeSync(reader)
    await checkVolume(volume, directory)
  })

  it('does not keep descriptors from those who need them', async () => {
    const directory = scratch()
    let limit = Number.POSITIVE_INFINITY
    const contents = new Set<number>()
    const disk = diskWith({
      open: (path, flags, mode) => {
        if (!path.includes('/content/')) return hostDisk.open(path, flags, mode)
        if (contents.size >= limit) fail('EMFILE')
        const fd = hostDisk.open(path, flags, mode)
        contents.add(fd)
        return fd
      },
      close: (fd) => {
        contents.delete(fd)
        hostDisk.close(fd)
      },
    })
    const volume = await openVolume(directory, { disk, clock: new ManualClock() })
    const kept = file(volume, 1, 'kept')
    put(volume, kept, 'kept')
    for (let n = 0; n < 20; n++) file(volume, 1, `spare${n}`)
    for (let n = 0; n < 20; n++) volume.unlink(1, `spare${n}`, root)
    await volume.sync()
    for (let n = 0; n < 3; n++) file(volume, 1, `retired${n}`)
    for (let n = 0; n < 3; n++) volume.unlink(1, `retired${n}`, root)
    limit = contents.size
    const content = volume.openContent(kept, O_RDWR, root)
    expect(volume.write(content, Buffer.from('!'), 0, true)).toBe(1)
    expect(contentOf(volume, kept)).toBe('kept!')
    await volume.fsync(kept, false)
    volume.closeContent(content)
    await checkVolume(volume, directory)
  })

  it('is left alone where it cannot be given to another', async () => {
    const directory = scratch()
    let failing = false
    const disk = diskWith({
      utimens: (...parameters) => (failing ? fail('EIO') : hostDisk.utimens(...parameters)),
    })
    const volume = await openVolume(directory, { disk })
    for (const name of ['a', 'b']) file(volume, 1, name)
    for (const name of ['a', 'b']) volume.unlink(1, name, root)
    await volume.sync()
    failing = true
    expect(codeOf(() => file(volume, 1, 'c'))).toBe('EIO')
    failing = false
    await checkVolume(volume, directory)
    await volume.close()
    expect(
      fs.readdirSync(join(directory, 'content'), { recursive: true }).filter((name) => /\/\d/.test(`${name}`)),
    ).toEqual([])
  })
})

describe('closing a volume', () => {
  it('waits for those who sync', async () => {
    const directory = scratch()
    const synced: string[] = []
    const disk = diskWith({
      sync: async (fd) => {
        await turn()
        synced.push(fs.readlinkSync(`/proc/self/fd/${fd}`))
      },
    })
    const volume = await openVolume(directory, { disk })
    const f = file(volume, 1, 'f')
    put(volume, f, 'durable')
    const path = pathOf(volume, directory, f)
    const content = volume.openContent(f, O_RDONLY, root)
    synced.length = 0
    const syncing = volume.fsync(f, false)
    const closing = volume.close()
    await syncing
    expect(synced).toContain(path)
    expect(synced.some((name) => name.endsWith('.journal'))).toBe(true)
    await closing
    expect(codeOf(() => volume.read(content, new Uint8Array(1), 0))).toBe('EBADF')
  })
})
