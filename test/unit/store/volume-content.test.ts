import fs from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { hostDisk } from '../../../src/host/disk.ts'
import { O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY, S_IFIFO, S_IFLNK, S_IFREG } from '../../../src/posix/mode.ts'
import type { Volume } from '../../../src/store/volume.ts'
import {
  alice,
  as,
  bob,
  checkVolume,
  codeOf,
  contentOf,
  diskWith,
  fail,
  file,
  folder,
  ManualClock,
  names,
  openVolume,
  put,
  root,
  scratch,
} from './volume-fixture.ts'

const text = (bytes: Uint8Array) => Buffer.from(bytes).toString()

const pathOf = (volume: Volume, directory: string, ino: number) => join(directory, volume.contentPath(ino) ?? '')

describe('content files of deleted files', () => {
  it('are emptied, and used again by new files', async () => {
    const directory = scratch()
    const clock = new ManualClock()
    const volume = await openVolume(directory, { clock })
    const old = file(volume, 1, 'old')
    put(volume, old, 'secret')
    const path = pathOf(volume, directory, old)
    volume.unlink(1, 'old', root)
    const early = file(volume, 1, 'early')
    expect(pathOf(volume, directory, early)).not.toBe(path)
    await volume.sync()
    expect(fs.statSync(path).size).toBe(0)
    const young = file(volume, 1, 'young')
    expect(pathOf(volume, directory, young)).toBe(path)
    expect(young).not.toBe(old)
    expect(contentOf(volume, young)).toBe('')
    expect(volume.attributes(young)).toMatchObject({ size: 0, blocks: 0 })
    put(volume, young, 'new')
    expect(codeOf(() => volume.attributes(old))).toBe('ESTALE')
    await volume.close()
    const again = await openVolume(directory, { clock })
    expect(contentOf(again, again.lookup(1, 'young', root) ?? 0)).toBe('new')
    await checkVolume(again, directory)
  })

  it('stay while somebody uses them, and are removed when they are large or the volume is closed', async () => {
    const directory = scratch()
    const volume = await openVolume(directory)
    const [held, large, small] = ['held', 'large', 'small'].map((name) => file(volume, 1, name)) as [
      number,
      number,
      number,
    ]
    const paths = [held, large, small].map((ino) => pathOf(volume, directory, ino))
    const content = volume.openContent(held, O_RDWR, root)
    volume.setAttributes(large, { size: 2 << 20 }, root)
    for (const name of ['held', 'large', 'small']) volume.unlink(1, name, root)
    await volume.sync()
    expect(paths.map((path) => fs.existsSync(path))).toEqual([true, false, true])
    expect(volume.write(content, Buffer.from('mine'), 0)).toBe(4)
    const next = file(volume, 1, 'next')
    expect(pathOf(volume, directory, next)).toBe(paths[2])
    expect(volume.read(content, new Uint8Array(9), 0)).toBe(4)
    volume.closeContent(content)
    volume.unlink(1, 'next', root)
    await volume.close()
    expect(paths.map((path) => fs.existsSync(path))).toEqual([false, false, false])
  })

  it('that a crash left are collected, whatever number they have', async () => {
    const directory = scratch()
    const volume = await openVolume(directory)
    const old = file(volume, 1, 'old')
    volume.unlink(1, 'old', root)
    await volume.sync()
    const young = file(volume, 1, 'young')
    put(volume, young, 'kept')
    const gone = file(volume, 1, 'gone')
    const left = pathOf(volume, directory, gone)
    volume.unlink(1, 'gone', root)
    const copy = scratch()
    fs.cpSync(directory, copy, { recursive: true })
    const again = await openVolume(copy)
    expect(again.contentPath(young)).toMatch(new RegExp(`/${old}$`))
    expect(contentOf(again, young)).toBe('kept')
    expect(fs.existsSync(left.replace(directory, copy))).toBe(false)
    await checkVolume(again, copy)
  })
})

describe('content files that were missing once', () => {
  const quiet = async (clock: ManualClock, ms: number) => {
    for (let at = 0; at < ms; at += 10) {
      clock.advance(10)
      await new Promise((resolve) => setImmediate(resolve))
    }
  }
  const contentFiles = (directory: string) =>
    fs
      .readdirSync(join(directory, 'content'), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile()).length

  it('are made ahead while nothing goes on, and removed at the end', async () => {
    const directory = scratch()
    const clock = new ManualClock()
    const volume = await openVolume(directory, { clock })
    for (let i = 0; i < 100; i++) file(volume, 1, `f${i}`)
    await quiet(clock, 200)
    expect(contentFiles(directory)).toBe(100)
    await quiet(clock, 300)
    expect(contentFiles(directory)).toBe(200)
    for (let i = 0; i < 50; i++) put(volume, file(volume, 1, `g${i}`), `content ${i}`)
    expect(contentFiles(directory)).toBe(200)
    expect(volume.attributes(volume.lookup(1, 'g7', root) ?? 0).nlink).toBe(1)
    await checkVolume(volume, directory)
    await volume.close()
    expect(contentFiles(directory)).toBe(150)
    const again = await openVolume(directory)
    expect(contentOf(again, again.lookup(1, 'g7', root) ?? 0)).toBe('content 7')
    await checkVolume(again, directory)
  })

  it('are not made where there is no room', async () => {
    const directory = scratch()
    const clock = new ManualClock()
    let full = false
    const disk = diskWith({
      open: (path, flags, mode) =>
        full && (flags & fs.constants.O_CREAT) !== 0 ? fail('ENOSPC') : hostDisk.open(path, flags, mode),
    })
    const volume = await openVolume(directory, { clock, disk })
    for (let i = 0; i < 10; i++) file(volume, 1, `f${i}`)
    full = true
    await quiet(clock, 500)
    expect(contentFiles(directory)).toBe(10)
    expect(codeOf(() => file(volume, 1, 'more'))).toBe('ENOSPC')
    full = false
    file(volume, 1, 'more')
    await quiet(clock, 500)
    expect(contentFiles(directory)).toBe(13)
  })
})

describe('contents', () => {
  it('are read and written at offsets, and appended to', async () => {
    const volume = await openVolume()
    const f = file(volume, 1, 'f')
    const content = volume.openContent(f, O_RDWR, root)
    expect(volume.write(content, Buffer.from('hello'), 3)).toBe(5)
    expect(volume.write(content, Buffer.from(' world'), 0, true)).toBe(6)
    const into = new Uint8Array(20)
    expect(volume.read(content, into, 0)).toBe(14)
    expect(text(into.subarray(0, 14))).toBe('\0\0\0hello world')
    expect(volume.read(content, into, 14)).toBe(0)
    expect(volume.attributes(f).size).toBe(14)
    expect(fs.fstatSync(content.fd).size).toBe(14)
    volume.closeContent(content)
  })

  it('check types, permissions and access modes', async () => {
    const volume = await openVolume()
    const f = file(volume, 1, 'f', as(alice), 0o640)
    const code = (ino: number, flags: number, who = root) =>
      codeOf(() => volume.closeContent(volume.openContent(ino, flags, who)))
    expect(code(1, O_RDONLY)).toBe('EISDIR')
    expect(code(volume.create(1, 'l', { mode: S_IFLNK | 0o777, target: 'x' }, root), O_RDONLY)).toBe('ELOOP')
    expect(code(volume.create(1, 'p', { mode: S_IFIFO | 0o600 }, root), O_RDONLY)).toBe('ENXIO')
    expect(code(f, O_RDONLY, bob)).toBe('EACCES')
    expect(code(f, O_RDWR, alice)).toBe(undefined)
    volume.setAttributes(f, { mode: 0o444 }, root)
    expect(code(f, O_WRONLY, alice)).toBe('EACCES')
    expect(code(f, O_RDONLY | O_TRUNC, alice)).toBe('EACCES')
    const reading = volume.openContent(f, O_RDONLY, root)
    expect(codeOf(() => volume.write(reading, Buffer.from('x'), 0))).toBe('EBADF')
    volume.closeContent(reading)
    const writing = volume.openContent(f, O_WRONLY, root)
    expect(codeOf(() => volume.read(writing, new Uint8Array(1), 0))).toBe('EBADF')
    volume.closeContent(writing)
  })

  it('are emptied by O_TRUNC', async () => {
    const volume = await openVolume()
    const f = file(volume, 1, 'f')
    put(volume, f, 'old')
    volume.closeContent(volume.openContent(f, O_WRONLY | O_TRUNC, root))
    expect(volume.attributes(f).size).toBe(0)
  })

  it('share a descriptor that stays open while it is used', async () => {
    const volume = await openVolume(scratch(), { limits: { idleDescriptors: 2 } })
    const f = file(volume, 1, 'f')
    const one = volume.openContent(f, O_RDONLY, root)
    const two = volume.openContent(f, O_RDWR, root)
    expect(two.fd).toBe(one.fd)
    volume.closeContent(two)
    for (let n = 0; n < 10; n++) put(volume, file(volume, 1, `g${n}`), 'x')
    expect(fs.fstatSync(one.fd).nlink).toBe(1)
    volume.closeContent(one)
  })

  it('allocate, seek and copy', async () => {
    const volume = await openVolume()
    const f = file(volume, 1, 'f')
    const g = file(volume, 1, 'g')
    const from = volume.openContent(f, O_RDWR, root)
    const to = volume.openContent(g, O_RDWR, root)
    volume.allocate(from, 0, 0, 1 << 16)
    expect(volume.attributes(f).size).toBe(1 << 16)
    volume.write(from, Buffer.from('data'), 1 << 20)
    expect(volume.seek(from, 1 << 17, 'data')).toBe(1 << 20)
    expect(volume.seek(from, 1 << 17, 'hole')).toBe(1 << 17)
    expect(codeOf(() => volume.seek(from, 1 << 21, 'data'))).toBe('ENXIO')
    expect(volume.copyRange({ content: from, offset: 1 << 20 }, { content: to, offset: 2 }, 100)).toBe(4)
    expect(contentOf(volume, g)).toBe('\0\0data')
    expect(codeOf(() => volume.allocate(from, 0, -1, 1))).toBe('EINVAL')
    volume.closeContent(from)
    volume.closeContent(to)
  })
})

describe('writes that the store does not see', () => {
  it('show at once while the file is open, and are counted', async () => {
    const directory = scratch()
    const volume = await openVolume(directory)
    const f = file(volume, 1, 'f')
    const content = volume.openContent(f, O_RDWR, root)
    const before = volume.changeOf(f)
    fs.writeSync(content.fd, 'passthrough', 0)
    expect(volume.attributes(f).size).toBe(11)
    expect(volume.changeOf(f)).toEqual({ change: before.change + 1, dataVersion: before.dataVersion + 1 })
    expect(volume.changeOf(f)).toEqual({ change: before.change + 1, dataVersion: before.dataVersion + 1 })
    fs.writeSync(content.fd, ' again', 11)
    const notices: unknown[] = []
    volume.watch((notice) => notices.push(notice))
    volume.closeContent(content)
    expect(notices).toEqual([{ kind: 'attributes', ino: f, access: false }])
    const after = volume.changeOf(f)
    expect(after.dataVersion).toBe(before.dataVersion + 2)
    expect(volume.attributes(f).size).toBe(17)
    await volume.close()
    const again = await openVolume(directory)
    expect(again.changeOf(f)).toEqual(after)
    expect(again.used.bytes).toBe(17)
  })

  it('show as long as a mapping outlives the last close', async () => {
    let writers = true
    let asked = 0
    const disk = diskWith({
      hasWriters: () => {
        asked++
        return writers
      },
    })
    const volume = await openVolume(scratch(), { disk, limits: { idleDescriptors: 1 } })
    const f = file(volume, 1, 'f')
    const content = volume.openContent(f, O_RDWR, root)
    const mapping = fs.openSync(`/proc/self/fd/${content.fd}`, 'r+')
    volume.closeContent(content)
    const next = () => volume.closeContent(volume.openContent(file(volume, 1, `g${asked}`), O_RDONLY, root))
    next()
    expect(asked).toBeGreaterThan(0)
    fs.writeSync(mapping, 'by mapping', 0)
    expect(volume.attributes(f).size).toBe(10)
    // Another open takes the descriptor over for writing again.
    put(volume, f, 'B')
    expect(contentOf(volume, f)).toBe('By mapping')
    next()
    fs.writeSync(mapping, '!', 10)
    fs.closeSync(mapping)
    writers = false
    next()
    next()
    expect(asked).toBeGreaterThan(2)
    expect(contentOf(volume, f)).toBe('By mapping!')
  })
})

describe('files that their user does not open', () => {
  it('are read and written, and nobody is asked whether they are still written, or mapped when they are gone', async () => {
    let asked = 0
    const disk = diskWith({
      hasWriters: (fd) => {
        asked++
        return hostDisk.hasWriters(fd)
      },
    })
    const directory = scratch()
    const volume = await openVolume(directory, { disk })
    const f = file(volume, 1, 'f', root, 0o6755)
    const before = volume.changeOf(f)
    expect(volume.writeUnopened(f, Buffer.from('abc'), 2, alice)).toBe(3)
    expect(volume.attributes(f)).toMatchObject({ size: 5, mode: S_IFREG | 0o755 })
    expect(volume.changeOf(f).dataVersion).toBe(before.dataVersion + 1)
    const into = Buffer.alloc(8)
    expect(volume.readUnopened(f, into, 1)).toBe(4)
    expect(into.toString('latin1', 0, 4)).toBe('\0abc')
    const path = pathOf(volume, directory, f)
    volume.unlink(1, 'f', root)
    await volume.sync()
    expect(fs.statSync(path).size).toBe(0)
    expect(asked).toBe(0)

    const opened = file(volume, 1, 'opened')
    put(volume, opened, 'x')
    const unlinked = asked
    volume.unlink(1, 'opened', root)
    await volume.sync()
    expect(asked).toBe(unlinked + 1)
  })

  it('are regular, and within the quota and what a file can hold', async () => {
    const directory = scratch()
    const volume = await openVolume(directory)
    const f = file(volume, 1, 'f')
    const one = Buffer.alloc(1)
    expect(codeOf(() => volume.writeUnopened(1, one, 0, root))).toBe('EINVAL')
    expect(codeOf(() => volume.readUnopened(1, one, 0))).toBe('EINVAL')
    expect(codeOf(() => volume.writeUnopened(f, one, 2 ** 44, root))).toBe('EFBIG')
    volume.setQuota({ bytes: 100, inodes: undefined })
    expect(volume.writeUnopened(f, Buffer.alloc(60), 0, root)).toBe(60)
    expect(volume.writeUnopened(f, Buffer.alloc(60), 60, root)).toBe(40)
    expect(codeOf(() => volume.writeUnopened(f, one, 100, root))).toBe('EDQUOT')
    expect(volume.used.bytes).toBe(100)
    await volume.close()
    expect((await openVolume(directory)).used.bytes).toBe(100)
  })
})

describe('quotas', () => {
  it('limit bytes', async () => {
    const directory = scratch()
    const volume = await openVolume(directory)
    volume.setQuota({ bytes: 100, inodes: undefined })
    const f = file(volume, 1, 'f')
    const content = volume.openContent(f, O_RDWR, root)
    expect(volume.passthrough(content)).toBeUndefined()
    expect(volume.write(content, Buffer.alloc(60), 0)).toBe(60)
    expect(volume.write(content, Buffer.alloc(60), 60)).toBe(40)
    expect(codeOf(() => volume.write(content, Buffer.alloc(1), 100))).toBe('EDQUOT')
    expect(codeOf(() => volume.write(content, Buffer.alloc(1), 0, true))).toBe('EDQUOT')
    expect(codeOf(() => volume.write(content, Buffer.alloc(1), 500))).toBe('EDQUOT')
    expect(volume.write(content, Buffer.alloc(100), 0)).toBe(100)
    expect(codeOf(() => volume.allocate(content, 0, 50, 51))).toBe('EDQUOT')
    expect(codeOf(() => volume.setAttributes(f, { size: 101 }, root))).toBe('EDQUOT')
    volume.setAttributes(f, { size: 10 }, root)
    expect(volume.used.bytes).toBe(10)
    expect(volume.copyRange({ content, offset: 0 }, { content, offset: 95 }, 10)).toBe(5)
    volume.closeContent(content)
    volume.unlink(1, 'f', root)
    expect(volume.used).toEqual({ inodes: 1, bytes: 0 })
    await volume.close()
    const again = await openVolume(directory)
    expect(again.quota).toEqual({ bytes: 100, inodes: undefined })
    expect(again.statfs()).toMatchObject({ blockSize: 4096, blocks: 0 })
    await checkVolume(again, directory)
  })

  it('change while the volume is in use, count what was written before, and may be below what is used', async () => {
    const directory = scratch()
    const volume = await openVolume(directory)
    const f = file(volume, 1, 'f')
    const content = volume.openContent(f, O_RDWR, root)
    const passed = volume.passthrough(content)
    fs.writeSync(passed?.fd ?? -1, Buffer.alloc(80), 0, 80, 0)
    volume.setQuota({ bytes: 100, inodes: undefined })
    expect(volume.used.bytes).toBe(80)
    // The kernel takes no node half passed through.
    const second = volume.openContent(f, O_RDWR, root)
    expect(volume.passthrough(second)).toEqual(passed)
    expect(volume.write(content, Buffer.alloc(60), 60)).toBe(40)
    volume.setQuota({ bytes: 200, inodes: undefined })
    expect(volume.write(content, Buffer.alloc(60), 100)).toBe(60)
    volume.setQuota({ bytes: 50, inodes: 1 })
    expect(codeOf(() => volume.write(content, Buffer.alloc(1), 160))).toBe('EDQUOT')
    expect(codeOf(() => file(volume, 1, 'g'))).toBe('EDQUOT')
    expect(volume.write(content, Buffer.alloc(160), 0)).toBe(160)
    for (const limit of [-1, 1.5, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(codeOf(() => volume.setQuota({ bytes: limit, inodes: undefined }))).toBe('EINVAL')
    }
    volume.closeContent(content)
    volume.closeContent(second)
    const copy = scratch()
    fs.cpSync(directory, copy, { recursive: true })
    expect((await openVolume(copy)).quota).toEqual({ bytes: 50, inodes: 1 })
    volume.setQuota({ bytes: undefined, inodes: undefined })
    file(volume, 1, 'g')
  })

  it('limit inodes, and leave no half-made entries', async () => {
    const directory = scratch()
    const volume = await openVolume(directory)
    volume.setQuota({ bytes: undefined, inodes: 3 })
    file(volume, 1, 'a')
    folder(volume, 1, 'b')
    expect(codeOf(() => file(volume, 1, 'c'))).toBe('EDQUOT')
    expect(codeOf(() => volume.createTemporary(1, 0o600, root))).toBe('EDQUOT')
    expect(volume.statfs()).toMatchObject({ files: 3, freeFiles: 0, nameMax: 255 })
    expect(names(volume, 1).sort()).toEqual(['a', 'b'])
    volume.unlink(1, 'a', root)
    file(volume, 1, 'c')
    await checkVolume(volume, directory)
  })
})

describe('a full or failing disk', () => {
  it('leaves nothing of a file that cannot be made', async () => {
    const directory = scratch()
    let full = false
    const disk = diskWith({
      open: (path, flags, mode) =>
        full && path.includes('/content/') && (flags & fs.constants.O_CREAT) !== 0
          ? fail('ENOSPC')
          : fs.openSync(path, flags, mode),
    })
    const volume = await openVolume(directory, { disk })
    const before = volume.attributes(1)
    full = true
    expect(codeOf(() => file(volume, 1, 'a'))).toBe('ENOSPC')
    expect(volume.attributes(1)).toBe(before)
    full = false
    file(volume, 1, 'a')
    await checkVolume(volume, directory)
  })

  it('tells of what was not written', async () => {
    let room = 4
    const disk = diskWith({
      write: (fd, data, position) => {
        if (!String(fs.readlinkSync(`/proc/self/fd/${fd}`)).includes('/content/')) {
          return fs.writeSync(fd, data, 0, data.length, position)
        }
        if (room === 0) fail('ENOSPC')
        const length = Math.min(room, data.length)
        room -= length
        return fs.writeSync(fd, data, 0, length, position)
      },
    })
    const volume = await openVolume(scratch(), { disk })
    const f = file(volume, 1, 'f')
    const content = volume.openContent(f, O_RDWR, root)
    expect(volume.write(content, Buffer.from('abcdef'), 0)).toBe(4)
    expect(codeOf(() => volume.write(content, Buffer.from('ef'), 4))).toBe('ENOSPC')
    volume.closeContent(content)
    expect(contentOf(volume, f)).toBe('abcd')
  })

  it('closes idle files when descriptors run out', async () => {
    let left = 3
    const disk = diskWith({
      open: (path, flags, mode) => {
        if (path.includes('/content/') && left-- <= 0) fail('EMFILE')
        return fs.openSync(path, flags, mode)
      },
      close: (fd) => {
        left = 3
        fs.closeSync(fd)
      },
    })
    const volume = await openVolume(scratch(), { disk })
    left = 3
    for (let n = 0; n < 10; n++) file(volume, 1, `f${n}`)
    expect(names(volume, 1).length).toBe(10)
  })
})
