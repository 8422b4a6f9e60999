// The bounds of the whole-file cache, and a host that fails.
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { hostDisk } from '../../../../src/host/disk.ts'
import type { WholeFileCache } from '../../../../src/vfs/whole-files/whole-file-cache.ts'
import { random, seed } from '../../../support/random.ts'
import { PowerLossDisk } from '../../store/power-loss-disk.ts'
import { failSqlite } from '../../store/sqlite-faults.ts'
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
} from './cache-fixture.ts'

const UNIT = 4096
const keys = (cache: { files(): Iterable<{ key: string }> }) => [...cache.files()].map(({ key }) => key).sort()

describe('a full cache', () => {
  it('evicts what was used least recently, and not what is open, dirty or pinned', async () => {
    const directory = scratch()
    const cache = await openCache(directory, { limits: { bytes: 5 * UNIT, files: 100 } })
    for (const key of ['open', 'dirty', 'pinned', 'a', 'b']) await put(cache, key, { version: 1, content: key })
    opened(await cache.open('open'))
    const dirty = opened(await cache.open('dirty'))
    cache.markDirty(dirty.file)
    dirty.release()
    cache.pin('pinned', true)
    await read(cache, 'a')
    await put(cache, 'c', { version: 1, content: 'c' })
    expect(keys(cache)).toEqual(['a', 'c', 'dirty', 'open', 'pinned'])
    expect(filesIn(directory)).toHaveLength(5)
    expect(await codeOf(() => cache.fetch('d', { version: 1, length: 2 * UNIT + 1 }))).toBe('ENOSPC')
    expect(keys(cache)).toEqual(['a', 'c', 'dirty', 'open', 'pinned'])
    await put(cache, 'd', { version: 1, content: Buffer.alloc(2 * UNIT) })
    expect(keys(cache)).toEqual(['d', 'dirty', 'open', 'pinned'])
  })

  it('counts what files take, which is not their length', async () => {
    const cache = await openCache(scratch(), { limits: { bytes: 100 * UNIT, files: 100 } })
    await put(cache, 'f', { version: 1, content: '' })
    const { file, fd } = opened(await cache.open('f'))
    cache.markDirty(file)
    fs.ftruncateSync(fd, 1 << 30)
    expect(cache.isChanged(file)).toBe(true)
    expect(cache.usage.bytes).toBeLessThan(10 * UNIT)
    fs.writeSync(fd, Buffer.alloc(50 * UNIT), 0, 50 * UNIT, 0)
    expect(cache.isChanged(file)).toBe(true)
    expect(cache.usage.bytes).toBeGreaterThanOrEqual(50 * UNIT)
  })

  it('makes room for a file that grows, if there can be', async () => {
    const cache = await openCache(scratch(), { limits: { bytes: 4 * UNIT, files: 100 } })
    for (const key of ['a', 'b', 'grows']) await put(cache, key, { version: 1, content: key })
    const { file, fd } = opened(await cache.open('grows'))
    cache.markDirty(file)
    expect(await codeOf(() => cache.reserve(file, 4 * UNIT + 1))).toBe('ENOSPC')
    expect(keys(cache)).toEqual(['a', 'b', 'grows'])
    cache.reserve(file, 3 * UNIT)
    expect(keys(cache)).toEqual(['b', 'grows'])
    // Programs that write through the kernel do not ask: it is found out, and what can go makes room.
    fs.writeSync(fd, Buffer.alloc(6 * UNIT), 0, 6 * UNIT, 0)
    expect(cache.isChanged(file)).toBe(true)
    expect(keys(cache)).toEqual(['grows'])
    expect(await codeOf(() => cache.fetch('c', { version: 1, length: 1 }))).toBe('ENOSPC')
  })

  it('has fewer files after a restart with a smaller limit', async () => {
    const directory = scratch()
    const first = await openCache(directory)
    for (const key of ['a', 'b', 'c']) await put(first, key, { version: 1, content: key })
    await first.close()
    const again = await openCache(directory, { limits: { bytes: 1 << 20, files: 2 } })
    expect(keys(again)).toEqual(['b', 'c'])
    expect(filesIn(directory)).toEqual(['2', '3'])
  })
})

describe('a host that fails', () => {
  it('leaves a new file out, without a trace, when it cannot be made', async () => {
    const disk = diskWith({
      open: (path, flags, mode) =>
        (flags & fs.constants.O_EXCL) !== 0 ? fail('ENOSPC') : hostDisk.open(path, flags, mode),
    })
    const cache = await openCache(scratch(), { disk })
    expect(await codeOf(() => cache.fetch('f', { version: 1, length: 1 }))).toBe('ENOSPC')
    expect(cache.usage.files).toBe(0)
    expect(cache.fetching('f')).toBeUndefined()
  })

  it('that takes no rows for a while gets them later, and evicted files leave all the same', async () => {
    const directory = scratch()
    const clock = new ManualClock()
    const errors: Error[] = []
    const onBackgroundError = (error: Error) => errors.push(error)
    const limits = { bytes: 2 * UNIT, files: 9 }
    const cache = await openCache(directory, { clock, onBackgroundError, limits })
    await put(cache, 'a', { version: 1, content: 'a' })
    await put(cache, 'b', { version: 1, content: 'b' })
    const { file } = opened(await cache.open('b'))
    cache.flush()
    const restore = failSqlite(
      () => true,
      () => true,
    )
    try {
      expect(await codeOf(() => cache.markDirty(file, 'note'))).toBe('ENOSPC')
      expect(file).toMatchObject({ state: 'whole', note: null })
      await put(cache, 'c', { version: 1, content: 'c' })
      expect(errors.length).toBeGreaterThan(0)
      expect(filesIn(directory)).toEqual(['2', '3'])
      expect(keys(await openCache(copyOf(directory), { onBackgroundError }))).toEqual(['b'])
    } finally {
      restore()
    }
    clock.advance(500)
    expect(keys(await openCache(copyOf(directory)))).toEqual(['b', 'c'])
    cache.markDirty(file, 'note')
    expect(file.state).toBe('dirty')
  })

  it('that does not remove a file is asked again after a restart', async () => {
    const directory = scratch()
    const errors: Error[] = []
    const disk = diskWith({ unlink: () => fail('EIO'), unlinkLater: async () => fail('EIO') })
    const cache = await openCache(directory, { disk, onBackgroundError: (error) => errors.push(error) })
    await put(cache, 'f', { version: 1, content: 'old' })
    await put(cache, 'f', { version: 2, content: 'new' })
    await cache.close()
    expect(errors).toHaveLength(1)
    expect(filesIn(directory)).toEqual(['1', '2'])
    const again = await openCache(directory)
    expect(filesIn(directory)).toEqual(['2'])
    expect(await read(again, 'f', 2)).toBe('new')
  })

  it('that loses power has what was synced, and nothing that is wrong', async () => {
    const chance = random(seed())
    const directory = scratch()
    const power = new PowerLossDisk(directory)
    const cache = await openCache(directory, { disk: power.disk })
    power.everythingIsDurable()
    await put(cache, 'f', { version: 1, content: 'base' })
    const { file, fd } = opened(await cache.open('f'))
    cache.markDirty(file, 'synced')
    fs.writeSync(fd, 'changed', 0)
    await cache.sync(file)
    await put(cache, 'g', { version: 1, content: 'g'.repeat(3000) })
    cache.flush()
    for (let n = 0; n < 12; n++) {
      const copy = scratch()
      fs.mkdirSync(join(copy, 'files'), { recursive: true })
      power.lose(copy, chance)
      const again = await openCache(copy)
      const [left] = again.dirty()
      expect(left).toMatchObject({ key: 'f', note: 'synced' })
      expect(await read(again, 'f')).toBe('changed')
      expect(['(absent)', '(damaged)', 'g'.repeat(3000)]).toContain(await read(again, 'g'))
      await again.close()
    }
  })

  it('that was restarted leaves in doubt what was not synced', async () => {
    const directory = scratch()
    const first = await openCache(directory, { bootId: 'one' })
    const write = async (key: string, text: string) => {
      if (!first.find(key)) await put(first, key, { version: 1, content: 'base' })
      const { file, fd } = opened(await first.open(key))
      first.markDirty(file)
      fs.writeSync(fd, text, 0)
      return file
    }
    await first.sync(await write('synced', 'x'))
    await first.sync(await write('written since', 'x'))
    await write('written since', 'y')
    await write('never synced', 'x')
    const image = () => {
      const copy = scratch()
      execFileSync('cp', ['-a', `${directory}/.`, copy])
      return copy
    }
    const doubtful = (cache: WholeFileCache) =>
      cache
        .dirty()
        .filter((file) => file.doubtful)
        .map(({ key }) => key)
        .sort()
    expect(doubtful(await openCache(image(), { bootId: 'one' }))).toEqual([])
    const copy = image()
    const second = await openCache(copy, { bootId: 'two' })
    expect(doubtful(second)).toEqual(['never synced', 'written since'])
    await second.close()
    const third = await openCache(copy, { bootId: 'three' })
    expect(doubtful(third)).toEqual(['never synced', 'written since'])
    const file = third.find('never synced')
    if (!file) throw new Error('it is gone')
    third.stored(file, { version: 2, status: null, stamp: third.stampOf(file) })
    expect(doubtful(third)).toEqual(['written since'])
    await first.close()
    expect(doubtful(await openCache(directory, { bootId: 'two' }))).toEqual([])
  })
})
