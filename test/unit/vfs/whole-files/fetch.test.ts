// Fetches: bytes that come in order, and those who wait for some of them.
import fs from 'node:fs'
import zlib from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { FsError } from '../../../../src/posix/errors.ts'
import {
  codeOf,
  copyOf,
  diskWith,
  fail,
  filesIn,
  openCache,
  opened,
  put,
  read,
  scratch,
  textOf,
} from './cache-fixture.ts'

const LONG = 2_500_000

describe('a fetch', () => {
  it('takes pieces of any length, short or long, and has the checksum at the end', async () => {
    const cache = await openCache(scratch())
    let key = 0
    const pieces = fc.array(fc.integer({ min: 1, max: 400_000 }), { maxLength: 8 })
    await fc.assert(
      fc.asyncProperty(pieces, async (lengths) => {
        const bytes = lengths.map((length, n) => Buffer.alloc(length, `${n}piece`))
        const all = Buffer.concat(bytes)
        const progress: number[] = []
        const onProgress = (received: number) => progress.push(received)
        const fetch = cache.fetch(`k${++key}`, { version: 1, length: all.length, onProgress })
        for (const piece of bytes) await fetch.write(piece)
        fetch.commit('status')
        expect(fetch.file).toMatchObject({ checksum: zlib.crc32(all), status: 'status', state: 'whole' })
        expect(progress.at(-1) ?? 0).toBe(all.length)
        const file = opened(await cache.open(`k${key}`, 1))
        expect(fs.readFileSync(file.path).equals(all)).toBe(true)
        file.release()
      }),
      { numRuns: 30 },
    )
  })

  it('is read while it comes', async () => {
    const cache = await openCache(scratch())
    const fetch = cache.fetch('f', { version: 1, length: LONG })
    expect(cache.fetching('f')).toBe(fetch)
    expect(await codeOf(() => cache.fetch('f', { version: 1, length: 1 }))).toBe('EBUSY')
    const file = fetch.open()
    const order: string[] = []
    const wait = async (offset: number, length: number) => {
      const count = await fetch.readable(offset, length)
      order.push(`${offset}+${count}`)
    }
    const reads = [wait(LONG - 10, 100), wait(1_000_000, 10), wait(0, 10)]
    expect(fetch.readable(LONG, 10)).toBe(0)
    expect(fetch.readable(LONG + 1, 10)).toBe(0)
    const whole = fetch.whole()
    await fetch.write(Buffer.alloc(10, 'a'))
    expect(fetch.readable(3, 5)).toBe(5)
    await fetch.write(Buffer.alloc(1_200_000, 'b'))
    await fetch.write(Buffer.alloc(LONG - 1_200_010, 'b'))
    await Promise.all(reads)
    expect(order).toEqual(['0+10', '1000000+10', `${LONG - 10}+10`])
    expect(cache.open('f')).toBe('absent')
    fetch.commit()
    await whole
    expect(cache.fetching('f')).toBeUndefined()
    expect(opened(await cache.open('f')).file).toBe(file.file)
    expect(textOf(file).startsWith('aaaaaaaaaabbb')).toBe(true)
  })

  it('that is given up leaves nothing, and says so to those who wait', async () => {
    const directory = scratch()
    const cache = await openCache(directory)
    await put(cache, 'f', { version: 1, content: 'old' })
    const fetch = cache.fetch('f', { version: 2, length: LONG })
    const file = fetch.open()
    const failures = Promise.allSettled([fetch.readable(5, 5), fetch.whole(), fetch.write(Buffer.alloc(1_500_000))])
    fetch.abort(new FsError('ETIMEDOUT'))
    fetch.abort()
    for (const result of await failures) expect(result).toMatchObject({ reason: { code: 'ETIMEDOUT' } })
    expect(await codeOf(() => fetch.readable(0, 5))).toBe('ETIMEDOUT')
    expect(await codeOf(() => fetch.write(Buffer.alloc(1)))).toBe('ETIMEDOUT')
    expect(await codeOf(() => fetch.commit())).toBe('ETIMEDOUT')
    expect(await read(cache, 'f')).toBe('old')
    file.release()
    cache.flush()
    await cache.settled()
    expect(filesIn(directory)).toEqual(['1'])
    expect(cache.usage).toMatchObject({ files: 1, idleFiles: 1 })
    expect(file.file.fd).toBe(-1)
  })

  it('lets a wait be interrupted, and forgets it', async () => {
    const cache = await openCache(scratch())
    const fetch = cache.fetch('f', { version: 1, length: 10 })
    const signal = new AbortController()
    const waits = [fetch.readable(0, 5, signal.signal), fetch.whole(signal.signal)].map((wait) => codeOf(() => wait))
    signal.abort()
    expect(await Promise.all(waits)).toEqual(['EINTR', 'EINTR'])
    expect(await codeOf(() => fetch.readable(0, 5, signal.signal))).toBe('EINTR')
    await fetch.write(Buffer.alloc(10))
    expect(fetch.readable(0, 5, signal.signal)).toBe(5)
  })

  it('must be as long as announced', async () => {
    const cache = await openCache(scratch())
    for (const length of [-1, 1.5, Number.NaN, 2 ** 60]) {
      expect(await codeOf(() => cache.fetch('f', { version: 1, length }))).toBe('EINVAL')
    }
    const short = cache.fetch('f', { version: 1, length: 5 })
    await short.write(Buffer.alloc(4))
    expect(await codeOf(() => short.commit())).toBe('EIO')
    const long = cache.fetch('f', { version: 1, length: 5 })
    expect(await codeOf(() => long.write(Buffer.alloc(6)))).toBe('EIO')
    expect(cache.open('f')).toBe('absent')
    expect(cache.usage.files).toBe(0)
  })

  it('takes many pieces at once, however many of their bytes the disk takes at a time', async () => {
    const writeLater = async (fd: number, pieces: readonly Uint8Array[], at: number) =>
      fs.writeSync(
        fd,
        Buffer.concat(pieces),
        0,
        Math.min(
          700_001,
          pieces.reduce((sum, { length }) => sum + length, 0),
        ),
        at,
      )
    const cache = await openCache(scratch(), { disk: diskWith({ writeLater }) })
    const content = Buffer.from(Array.from({ length: LONG }, (_, i) => i % 251))
    const fetch = cache.fetch('f', { version: 1, length: LONG })
    await fetch.write(
      content.subarray(0, 1),
      content.subarray(1, 1),
      content.subarray(1, 900_000),
      content.subarray(900_000),
    )
    fetch.commit()
    expect(await read(cache, 'f')).toBe(content.toString())
  })

  it('takes one piece at a time', async () => {
    const cache = await openCache(scratch())
    const fetch = cache.fetch('f', { version: 1, length: LONG })
    const first = fetch.write(Buffer.alloc(10))
    expect(await codeOf(() => fetch.write(Buffer.alloc(10)))).toBe('EBUSY')
    expect(await codeOf(() => fetch.commit())).toBe('EBUSY')
    await first
    await fetch.write(Buffer.alloc(LONG - 10))
    fetch.commit()
    expect(await codeOf(() => fetch.commit())).toBe('EINVAL')
  })

  it.each([10, LONG])('of %i bytes that the disk does not take ends with its errno', async (length) => {
    let full = false
    const write = (fd: number, data: Uint8Array, position: number) =>
      full ? fail('ENOSPC') : fs.writeSync(fd, data, 0, Math.min(data.length, 1_000_000), position)
    const cache = await openCache(scratch(), {
      disk: diskWith({ write, writeLater: async (fd, pieces, at) => write(fd, Buffer.concat(pieces), at) }),
    })
    await put(cache, 'fits', { version: 1, content: Buffer.alloc(length, 'x') })
    expect((await read(cache, 'fits')).length).toBe(length)
    full = true
    const fetch = cache.fetch('f', { version: 1, length })
    expect(await codeOf(() => fetch.write(Buffer.alloc(length)))).toBe('ENOSPC')
    expect(cache.usage.files).toBe(1)
    expect(cache.fetching('f')).toBeUndefined()
  })

  it('of an older version goes on for those who have it open, and is not what opens get after the newer one', async () => {
    const directory = scratch()
    const cache = await openCache(directory)
    const old = cache.fetch('f', { version: 1, length: 3 })
    const reader = old.open()
    const newer = cache.fetch('f', { version: 2, length: 5 })
    expect(cache.fetching('f')).toBe(newer)
    expect(cache.fetching('f', 1)).toBe(old)
    expect(cache.fetching('f', 3)).toBeUndefined()
    await newer.write(Buffer.from('newer'))
    newer.commit()
    expect(cache.fetching('f')).toBe(old)
    await old.write(Buffer.from('old'))
    old.commit()
    expect(cache.fetching('f')).toBeUndefined()
    expect(textOf(reader)).toBe('old')
    expect(await read(cache, 'f', 2)).toBe('newer')
    reader.release()
    cache.flush()
    expect(filesIn(directory)).toEqual(['2'])
  })

  it('does not take the place of what was stored since it began', async () => {
    const cache = await openCache(scratch())
    await put(cache, 'f', { version: 3, content: 'base' })
    const { file, fd } = opened(await cache.open('f'))
    cache.markDirty(file)
    const late = cache.fetch('f', { version: 3, length: 4 })
    fs.writeSync(fd, 'mine', 0)
    cache.stored(file, { version: 4, status: null, stamp: cache.stampOf(file) })
    await late.write(Buffer.from('base'))
    late.commit()
    expect(await read(cache, 'f')).toBe('mine')
    expect(cache.find('f')?.version).toBe(4)
  })

  it('is not there after a crash before its commit', async () => {
    const directory = scratch()
    const cache = await openCache(directory)
    const fetch = cache.fetch('f', { version: 1, length: 10 })
    await fetch.write(Buffer.alloc(5))
    cache.flush()
    const copy = copyOf(directory)
    const again = await openCache(copy)
    expect(again.open('f')).toBe('absent')
    expect(filesIn(copy)).toEqual([])
    expect(again.fetch('f', { version: 1, length: 0 }).file.number).toBeGreaterThan(fetch.file.number)
  })

  it('that is under way ends with the cache', async () => {
    const directory = scratch()
    const cache = await openCache(directory)
    const fetch = cache.fetch('f', { version: 1, length: LONG })
    const ends = Promise.allSettled([fetch.write(Buffer.alloc(LONG)), fetch.whole()])
    await cache.close()
    expect((await ends).map(({ status }) => status)).toEqual(['rejected', 'rejected'])
    expect(await codeOf(() => cache.fetch('f', { version: 1, length: 1 }))).toBe('EBADF')
    expect(filesIn(directory)).toEqual([])
  })
})
