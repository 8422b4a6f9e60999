// The whole-file cache on a real disk: versions, sessions, unstored changes, restarts.
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import { join } from 'node:path'
import zlib from 'node:zlib'
import { describe, expect, it } from 'vitest'
import type { Damage } from '../../../../src/vfs/whole-files/files.ts'
import {
  codeOf,
  copyOf,
  diskWith,
  fail,
  filesIn,
  ManualClock,
  openCache,
  opened,
  put,
  read,
  scratch,
  textOf,
} from './cache-fixture.ts'

describe('opening', () => {
  it('gives what was fetched, and says why it gives nothing', async () => {
    const cache = await openCache(scratch())
    expect(cache.open('1.2.3')).toBe('absent')
    await put(cache, '1.2.3', { version: 7, content: 'hello', status: { mode: 0o644 } })
    expect(await read(cache, '1.2.3', 7)).toBe('hello')
    expect(cache.open('1.2.3', 8)).toBe('other version')
    expect(cache.find('1.2.3')).toMatchObject({
      version: 7,
      state: 'whole',
      stamp: { size: 5 },
      status: { mode: 0o644 },
    })
  })

  it('keeps the bytes of an open while another version becomes current', async () => {
    const directory = scratch()
    const cache = await openCache(directory)
    await put(cache, 'f', { version: 1, content: 'old' })
    const old = opened(await cache.open('f'))
    await put(cache, 'f', { version: 2, content: 'newer' })
    expect(await read(cache, 'f', 2)).toBe('newer')
    expect(textOf(old)).toBe('old')
    expect(opened(await cache.open('f')).file.number).toBeGreaterThan(old.file.number)
    cache.flush()
    expect(filesIn(directory)).toHaveLength(2)
    old.release()
    old.release()
    cache.flush()
    await cache.settled()
    expect(filesIn(directory)).toEqual(['2'])
  })

  it('asks the disk nothing while descriptors are kept, and keeps no more of them than it may', async () => {
    let opens = 0
    const disk = diskWith({
      open: (path, flags, mode) => {
        opens++
        return fs.openSync(path, flags, mode ?? 0o600)
      },
    })
    const cache = await openCache(scratch(), { disk, idleDescriptors: 2 })
    for (const key of ['a', 'b', 'c']) await put(cache, key, { version: 1, content: key })
    const before = opens
    expect(await read(cache, 'b')).toBe('b')
    expect(await read(cache, 'c')).toBe('c')
    expect(opens).toBe(before)
    expect(await read(cache, 'a')).toBe('a')
    expect(opens).toBe(before + 1)
    expect([...cache.files()].filter(({ fd }) => fd >= 0)).toHaveLength(2)
  })

  it('makes do with fewer descriptors when there are no more', async () => {
    let few = false
    const disk = diskWith({
      open: (path, flags, mode) => {
        if (few) {
          few = false
          fail('EMFILE')
        }
        return fs.openSync(path, flags, mode ?? 0o600)
      },
    })
    const cache = await openCache(scratch(), { disk, idleDescriptors: 1 })
    await put(cache, 'a', { version: 1, content: 'a' })
    await put(cache, 'b', { version: 1, content: 'b' })
    few = true
    expect(await read(cache, 'a')).toBe('a')
  })

  it('is released after the cache was closed, too', async () => {
    const clock = new ManualClock()
    const directory = scratch()
    const cache = await openCache(directory, { clock })
    await put(cache, 'f', { version: 1, content: 'old' })
    const [old, same] = [opened(await cache.open('f')), opened(await cache.open('f'))]
    await put(cache, 'f', { version: 2, content: 'new' })
    const current = opened(await cache.open('f'))
    await cache.close()
    for (const file of [old, same, current]) file.release()
    clock.advance(100_000)
    expect(await read(await openCache(directory), 'f')).toBe('new')
    expect(filesIn(directory)).toEqual(['2'])
  })

  it('forgets what it is told to forget, and those who have it open keep it', async () => {
    const directory = scratch()
    const cache = await openCache(directory)
    await put(cache, 'f', { version: 1, content: 'x' })
    const held = opened(await cache.open('f'))
    cache.forget('f')
    cache.forget('nobody knows')
    expect(cache.open('f')).toBe('absent')
    expect(textOf(held)).toBe('x')
    expect(await read(await openCache(copyAfter(cache, directory)), 'f')).toBe('(absent)')
    held.release()
    await cache.close()
    expect(filesIn(directory)).toEqual([])
  })
})

function copyAfter(cache: { flush(): void }, directory: string): string {
  cache.flush()
  return copyOf(directory)
}

describe('unstored changes', () => {
  it('are on record before the first byte, survive kill -9 with their note, and end with the store', async () => {
    const directory = scratch()
    const cache = await openCache(directory)
    await put(cache, 'f', { version: 1, content: 'old' })
    const file = opened(await cache.open('f'))
    cache.markDirty(file.file, { uid: 5 })
    const before = await openCache(copyOf(directory))
    expect(before.dirty()).toMatchObject([{ key: 'f', version: 1, note: { uid: 5 } }])
    expect(await read(before, 'f')).toBe('old')

    fs.writeSync(file.fd, 'changed', 0)
    expect(cache.isChanged(file.file)).toBe(true)
    const after = await openCache(copyOf(directory))
    const [left] = after.dirty()
    if (!left) throw new Error('nothing is dirty')
    expect(textOf(opened(after.openDirty(left)))).toBe('changed')
    expect(after.stored(left, { version: 2, status: 'new', stamp: after.stampOf(left) })).toBe(true)
    expect(after.dirty()).toEqual([])
    expect(after.find('f')).toMatchObject({ version: 2, status: 'new', note: null })

    const stamp = cache.stampOf(file.file)
    expect(cache.stored(file.file, { version: 2, status: null, stamp })).toBe(true)
    expect(cache.isChanged(file.file)).toBe(false)
    await cache.settled()
    expect(cache.find('f')?.checksum).toBe(zlib.crc32('changed'))
    expect((await openCache(copyAfter(cache, directory))).dirty()).toEqual([])
  })

  it('go on when there are more of them while they are stored', async () => {
    const directory = scratch()
    const cache = await openCache(directory)
    await put(cache, 'f', { version: 1, content: '' })
    const { file, fd } = opened(await cache.open('f'))
    cache.markDirty(file, 'note')
    fs.writeSync(fd, 'one')
    const stamp = cache.stampOf(file)
    // In the same tick of the kernel's clock, and as long as before.
    fs.writeSync(fd, 'two', 0)
    expect(cache.stored(file, { version: 2, status: null, stamp })).toBe(false)
    expect(cache.find('f')).toMatchObject({ version: 2, state: 'dirty', note: 'note' })
    expect((await openCache(copyOf(directory))).dirty()).toMatchObject([{ version: 2, note: 'note' }])
    expect(cache.stored(file, { version: 3, status: null, stamp: cache.stampOf(file) })).toBe(true)
  })

  it('leave a stamp as it is when there are none', async () => {
    const cache = await openCache(scratch())
    await put(cache, 'f', { version: 1, content: 'x' })
    const { file, fd } = opened(await cache.open('f'))
    expect(cache.stampOf(file)).toEqual(file.stamp)
    cache.markDirty(file)
    expect(cache.cleanIfUnchanged(file)).toBe(true)
    expect(file.state).toBe('whole')
    cache.markDirty(file)
    fs.writeSync(fd, 'y', 0)
    expect(cache.cleanIfUnchanged(file)).toBe(false)
    const stamp = cache.stampOf(file)
    expect(cache.stampOf(file)).toEqual(stamp)
    expect(file.state).toBe('dirty')
  })

  it('are found after a store, too, as long as programs go on writing', async () => {
    const directory = scratch()
    const cache = await openCache(directory)
    await put(cache, 'f', { version: 1, content: '' })
    const { file, fd } = opened(await cache.open('f'))
    cache.markDirty(file, 'note')
    fs.writeSync(fd, 'one')
    expect(cache.stored(file, { version: 2, status: null, stamp: cache.stampOf(file), stillWritten: true })).toBe(false)
    expect(cache.isChanged(file)).toBe(false)
    const [left] = (await openCache(copyAfter(cache, directory))).dirty()
    expect(left).toMatchObject({ version: 2, note: 'note' })
    fs.writeSync(fd, 'two')
    expect(cache.isChanged(file)).toBe(true)
    cache.stored(file, { version: 3, status: null, stamp: cache.stampOf(file), stillWritten: true })
    expect(cache.cleanIfUnchanged(file)).toBe(true)
    expect(cache.dirty()).toEqual([])
  })

  it('are kept when another version becomes current, and are current again when they are stored: last close wins', async () => {
    const directory = scratch()
    const cache = await openCache(directory)
    await put(cache, 'f', { version: 1, content: 'base' })
    const mine = opened(await cache.open('f'))
    cache.markDirty(mine.file)
    fs.writeSync(mine.fd, 'mine', 0)
    await put(cache, 'f', { version: 2, content: 'theirs' })
    expect(await read(cache, 'f', 2)).toBe('theirs')
    mine.release()

    const again = await openCache(copyAfter(cache, directory))
    expect(await read(again, 'f', 2)).toBe('theirs')
    const [left] = again.dirty()
    if (!left) throw new Error('nothing is dirty')
    expect(left).toMatchObject({ version: 1, current: false })
    again.stored(left, { version: 3, status: null, stamp: again.stampOf(left) })
    expect(await read(again, 'f', 3)).toBe('mine')
    await again.settled()
    expect([...again.files()]).toHaveLength(1)
  })

  it('cannot be forgotten, only discarded', async () => {
    const cache = await openCache(scratch())
    await put(cache, 'f', { version: 1, content: 'x' })
    const { file } = opened(await cache.open('f'))
    cache.markDirty(file)
    expect(await codeOf(() => cache.forget('f'))).toBe('EBUSY')
    cache.discard(file)
    expect(cache.dirty()).toEqual([])
    expect(cache.open('f')).toBe('absent')
  })

  it('are refused when they cannot be put on record', async () => {
    const cache = await openCache(scratch(), { onBackgroundError: () => {} })
    await put(cache, 'f', { version: 1, content: 'x' })
    const { file } = opened(await cache.open('f'))
    cache.flush()
    const circular: unknown[] = []
    circular.push(circular)
    expect(await codeOf(() => cache.markDirty(file, circular))).toBe('EIO')
    expect(file).toMatchObject({ state: 'whole', note: null })
    cache.markDirty(file, 'fine')
    expect(file.state).toBe('dirty')
  })
})

describe('a restart', () => {
  it('finds all that was there, and checks it once', async () => {
    const directory = scratch()
    const first = await openCache(directory)
    await put(first, 'f', { version: 4, content: 'content', status: [1, 2] })
    await put(first, 'long', { version: 1, content: Buffer.alloc(3_000_000, 'long') })
    first.pin('f', true)
    await first.close()
    let reads = 0
    const disk = diskWith({
      readLater: async (fd, into, position) => {
        reads++
        return fs.readSync(fd, into, 0, into.length, position)
      },
    })
    const again = await openCache(directory, { disk })
    expect(again.find('f')).toMatchObject({ version: 4, status: [1, 2], pinned: true, stamp: { size: 7 } })
    expect(
      await Promise.all([read(again, 'f'), read(again, 'f'), read(again, 'long').then(({ length }) => length)]),
    ).toEqual(['content', 'content', 3_000_000])
    expect(reads).toBe(1 + 3)
    expect(await read(again, 'f')).toBe('content')
    expect(reads).toBe(4)
    const next = again.fetch('g', { version: 1, length: 0 })
    expect(next.file.number).toBeGreaterThan(2)
    next.commit()
  })

  it.each<[string, Damage, (path: string) => void]>([
    ['a changed byte, with the same times', 'wrong content', (path) => changeQuietly(path)],
    ['a file that is too short', 'wrong content', (path) => fs.truncateSync(path, 2)],
    [
      'a directory in its place',
      'unreadable',
      (path) => {
        fs.unlinkSync(path)
        fs.mkdirSync(path)
      },
    ],
  ])('finds %s, and lets it be fetched again', async (_, damage, spoil) => {
    const directory = scratch()
    const first = await openCache(directory)
    await put(first, 'f', { version: 1, content: 'content' })
    await first.close()
    spoil(join(directory, 'files', '1'))
    const found: Damage[] = []
    const again = await openCache(directory, {
      onDamage: (_file, what) => found.push(what),
      onBackgroundError: () => {},
    })
    expect(await Promise.all([again.open('f', 1), again.open('f')])).toEqual(['damaged', 'damaged'])
    expect(again.open('f')).toBe('absent')
    expect(found).toEqual([damage])
    await put(again, 'f', { version: 1, content: 'content' })
    expect(await read(again, 'f', 1)).toBe('content')
  })

  it('drops rows without a file and files without a row', async () => {
    const directory = scratch()
    const first = await openCache(directory)
    await put(first, 'f', { version: 1, content: 'f' })
    await put(first, 'g', { version: 1, content: 'g' })
    await first.close()
    fs.unlinkSync(join(directory, 'files', '1'))
    fs.writeFileSync(join(directory, 'files', '99'), 'stray')
    const again = await openCache(directory)
    expect(again.open('f')).toBe('absent')
    expect(filesIn(directory)).toEqual(['2'])
    expect([...again.files()].map(({ key }) => key)).toEqual(['g'])
  })

  it('keeps what it knows of changes whose file is missing, until they are given up', async () => {
    const directory = scratch()
    const first = await openCache(directory)
    await put(first, 'f', { version: 1, content: 'f' })
    first.markDirty(opened(await first.open('f')).file, 'lost')
    await first.close()
    fs.unlinkSync(join(directory, 'files', '1'))
    const again = await openCache(directory)
    const [lost] = again.dirty()
    if (!lost) throw new Error('nothing is dirty')
    expect(lost).toMatchObject({ damage: 'missing', note: 'lost' })
    expect(again.open('f')).toBe('damaged')
    expect(again.openDirty(lost)).toBe('damaged')
    await again.close()
    const third = await openCache(directory)
    expect(third.dirty()).toMatchObject([{ damage: 'missing' }])
    third.discard(third.dirty()[0] ?? lost)
    expect(third.dirty()).toEqual([])
    await put(third, 'f', { version: 2, content: 'anew' })
    expect(await read(third, 'f', 2)).toBe('anew')
  })

  it('believes a stored file whose checksum nobody took by its times', async () => {
    const directory = scratch()
    let go = () => {}
    const disk = diskWith({
      readLater: () =>
        new Promise<number>((resolve) => {
          go = () => resolve(0)
        }),
    })
    const first = await openCache(directory, { disk })
    await put(first, 'f', { version: 1, content: 'f' })
    const { file, fd } = opened(await first.open('f'))
    first.markDirty(file)
    fs.writeSync(fd, 'longer')
    first.stored(file, { version: 2, status: null, stamp: first.stampOf(file) })
    const copy = copyOf(directory)
    const touched = copyOf(directory)
    // A copy cannot have the nanoseconds of the times.
    const { mtimeSec, mtimeNsec } = file.stamp
    spawnSync('touch', ['-d', `@${mtimeSec}.${String(mtimeNsec).padStart(9, '0')}`, join(copy, 'files', '1')])
    expect(await read(await openCache(copy), 'f', 2)).toBe('longer')
    expect(await read(await openCache(touched), 'f', 2)).toBe('(damaged)')
    go()
  })

  it('knows when files were last used', async () => {
    const directory = scratch()
    const clock = new ManualClock()
    const limits = { bytes: 1 << 30, files: 3 }
    const first = await openCache(directory, { clock, limits })
    for (const key of ['a', 'b', 'c']) await put(first, key, { version: 1, content: key })
    first.flush()
    clock.advance(1000)
    await read(first, 'a')
    clock.advance(61_000)
    const again = await openCache(copyOf(directory), { clock, limits })
    await put(again, 'd', { version: 1, content: 'd' })
    expect([...again.files()].map(({ key }) => key).sort()).toEqual(['a', 'c', 'd'])
  })

  it('says in a line which index cannot be read', async () => {
    const directory = scratch()
    fs.writeFileSync(join(directory, 'index.db'), 'no database at all'.repeat(1000))
    await expect(openCache(directory)).rejects.toThrow(
      `the index of the cache ${directory} cannot be read: file is not`,
    )
  })

  it('is refused to a second process, by the name of the first', async () => {
    const directory = scratch()
    const first = await openCache(directory)
    await expect(openCache(directory)).rejects.toThrow(`the cache ${directory} is in use by process ${process.pid}`)
    await first.close()
    await openCache(directory)
  })
})

function changeQuietly(path: string): void {
  const { atime, mtime } = fs.statSync(path)
  const fd = fs.openSync(path, 'r+')
  fs.writeSync(fd, 'C', 0)
  fs.closeSync(fd)
  fs.utimesSync(path, atime, mtime)
}
