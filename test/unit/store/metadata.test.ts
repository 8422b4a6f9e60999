import fs from 'node:fs'
import { join } from 'node:path'
import SqliteDatabase from 'better-sqlite3'
import { afterEach, describe, expect, it } from 'vitest'
import { hostDisk } from '../../../src/host/disk.ts'
import { DatabaseBusy } from '../../../src/host/exclusive-database.ts'
import { METADATA_LIMITS, Metadata, type MetadataOptions } from '../../../src/store/metadata.ts'
import { DELETE_ENTRY, INSERT_ENTRY, SET_META, SET_XATTR } from '../../../src/store/schema.ts'
import { codeOf, diskWith, fail, ManualClock, scratch } from './volume-fixture.ts'

const open = new Set<Metadata>()
afterEach(async () => {
  for (const metadata of open) await metadata.close()
  open.clear()
})

async function openMetadata(directory: string, options: Partial<MetadataOptions> = {}): Promise<Metadata> {
  const metadata = await Metadata.open(join(directory, 'volume.db'), join(directory, 'journal'), {
    disk: hostDisk,
    clock: new ManualClock(),
    limits: METADATA_LIMITS,
    onBackgroundError: (error) => {
      throw error
    },
    ...options,
  })
  open.add(metadata)
  return metadata
}

const add = (metadata: Metadata, cookie: number): void => {
  metadata.run(INSERT_ENTRY, [1, cookie, `name${cookie}`, cookie, 8])
  metadata.commit()
}

const cookies = (metadata: Metadata): number[] => {
  metadata.settleEntries(1)
  return metadata.query<number>('SELECT cookie FROM dirent ORDER BY cookie').pluck().all()
}

const upTo = (count: number): number[] => Array.from({ length: count }, (_, n) => n + 1)

describe('metadata', () => {
  it('undoes an operation whose statement fails, and no other', async () => {
    const directory = scratch()
    const metadata = await openMetadata(directory)
    for (const cookie of upTo(5)) add(metadata, cookie)
    metadata.flush()
    for (const cookie of [6, 7]) add(metadata, cookie)
    metadata.run(SET_META, ['kept', 1])
    metadata.commit()
    metadata.run(SET_META, ['undone', 1])
    metadata.run(DELETE_ENTRY, [1, 1])
    expect(codeOf(() => metadata.run(SET_XATTR, [1, 'without a value', null]))).toBe('EIO')
    expect(cookies(metadata)).toEqual(upTo(7))
    expect(metadata.meta('kept')).toBe(1)
    expect(metadata.meta('undone')).toBeUndefined()
    add(metadata, 8)
    await metadata.close()
    expect(cookies(await openMetadata(directory))).toEqual(upTo(8))
  })

  it('commits after a time, and after many operations', async () => {
    const directory = scratch()
    const clock = new ManualClock()
    const metadata = await openMetadata(directory, { clock, limits: { ...METADATA_LIMITS, batchOperations: 3 } })
    const committed = () => {
      const copy = scratch()
      for (const name of ['volume.db', 'volume.db-wal']) fs.copyFileSync(join(directory, name), join(copy, name))
      const database = new SqliteDatabase(join(copy, 'volume.db'))
      const count = database.prepare('SELECT COUNT(*) FROM dirent').pluck().get()
      database.close()
      return count
    }
    add(metadata, 1)
    expect(committed()).toBe(0)
    clock.advance(METADATA_LIMITS.batchMs)
    expect(committed()).toBe(1)
    for (const cookie of [2, 3, 4]) add(metadata, cookie)
    expect(committed()).toBe(1)
    add(metadata, 5)
    expect(committed()).toBe(4)
  })

  it('writes its log back and removes journals while it is used', async () => {
    const directory = scratch()
    const limits = { ...METADATA_LIMITS, batchOperations: 10, segmentBytes: 5000, logBytes: 100_000 }
    const metadata = await openMetadata(directory, { limits })
    let largest = 0
    for (let cookie = 1; cookie <= 3000; cookie++) {
      add(metadata, cookie)
      if (cookie % 20 !== 0) continue
      await new Promise((resolve) => setTimeout(resolve, 1))
      largest = Math.max(largest, fs.statSync(join(directory, 'volume.db-wal')).size)
    }
    expect(cookies(metadata)).toEqual(upTo(3000))
    const journals = fs.readdirSync(join(directory, 'journal'))
    expect(journals.length).toBeLessThan(20)
    expect(journals).not.toContain('00000001.journal')
    await metadata.close()
    expect(fs.readdirSync(join(directory, 'journal'))).toEqual([])
    expect(fs.existsSync(join(directory, 'volume.db-wal'))).toBe(false)
    expect(cookies(await openMetadata(directory))).toEqual(upTo(3000))
  })

  it('takes no more changes when a sync of the database has failed', async () => {
    const directory = scratch()
    let failing = false
    const reported: string[] = []
    const metadata = await openMetadata(directory, {
      limits: { ...METADATA_LIMITS, batchOperations: 5, segmentBytes: 100 },
      disk: diskWith({
        sync: (fd, dataOnly) =>
          failing && fs.readlinkSync(`/proc/self/fd/${fd}`).endsWith('-wal')
            ? Promise.reject(Object.assign(new Error('EIO'), { code: 'EIO' }))
            : hostDisk.sync(fd, dataOnly),
      }),
      onBackgroundError: (error) => reported.push(error.message),
    })
    failing = true
    for (const cookie of upTo(10)) add(metadata, cookie)
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(reported).toEqual([expect.stringContaining('no more changes')])
    expect(codeOf(() => add(metadata, 11))).toBe('EIO')
    await expect(metadata.sync()).rejects.toThrow('no more changes')
    expect(cookies(metadata)).toEqual(upTo(10))
    await metadata.close()
    expect(cookies(await openMetadata(directory))).toEqual(upTo(10))
  })

  it('goes on in the old segment when a new one cannot be made', async () => {
    const directory = scratch()
    let failing = false
    const reported: Error[] = []
    const metadata = await openMetadata(directory, {
      limits: { ...METADATA_LIMITS, batchOperations: 5, segmentBytes: 100 },
      disk: diskWith({
        open: (path, flags, mode) => (failing ? fail('ENOSPC') : hostDisk.open(path, flags, mode)),
      }),
      onBackgroundError: (error) => reported.push(error),
    })
    failing = true
    for (const cookie of upTo(40)) {
      add(metadata, cookie)
      await new Promise((resolve) => setImmediate(resolve))
    }
    expect(reported.length).toBeGreaterThan(0)
    failing = false
    for (const cookie of upTo(80).slice(40)) add(metadata, cookie)
    await metadata.close()
    expect(cookies(await openMetadata(directory))).toEqual(upTo(80))
  })

  it('is opened once', async () => {
    const directory = scratch()
    const metadata = await openMetadata(directory)
    add(metadata, 1)
    await expect(openMetadata(directory)).rejects.toThrow(DatabaseBusy)
    add(metadata, 2)
    expect(cookies(metadata)).toEqual([1, 2])
  })

  it('refuses a format that it does not know, and a journal of another version', async () => {
    const directory = scratch()
    const metadata = await openMetadata(directory)
    metadata.run(SET_META, ['x', 1])
    metadata.commit()
    await metadata.close()
    const path = join(directory, 'volume.db')
    const database = new SqliteDatabase(path)
    database.pragma('user_version = 9')
    database.close()
    await expect(openMetadata(directory)).rejects.toThrow(
      'the volume has format 9; this version of proteus reads format 1',
    )
  })
})
