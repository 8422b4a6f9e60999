// The database and the journal fail, one call at a time: memory, database and journal must go on telling the same.
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { hostDisk } from '../../../src/host/disk.ts'
import { METADATA_LIMITS, Metadata, type MetadataOptions } from '../../../src/store/metadata.ts'
import { INSERT_ENTRY, SET_META, SET_XATTR } from '../../../src/store/schema.ts'
import { codeOf, diskWith, fail, file, folder, ManualClock, openVolume, put, root, scratch } from './volume-fixture.ts'

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

function copyOf(directory: string): string {
  const copy = scratch()
  execFileSync('cp', ['-a', `${directory}/.`, copy])
  return copy
}

const isLog = (fd: number): boolean => fs.readlinkSync(`/proc/self/fd/${fd}`).endsWith('-wal')

describe('metadata', () => {
  it('makes a batch again that SQLite rolled back by itself, as it does when it cannot read', async () => {
    const directory = scratch()
    const metadata = await openMetadata(directory)
    add(metadata, 1)
    expect(cookies(metadata)).toEqual([1])
    const rollBack = () => metadata.query('ROLLBACK').run()
    rollBack()
    expect(codeOf(() => add(metadata, 2))).toBe('EIO')
    expect(cookies(metadata)).toEqual([1])
    add(metadata, 2)
    expect(cookies(metadata)).toEqual([1, 2])
    metadata.run(SET_XATTR, [1, 'a', Buffer.from('1')])
    rollBack()
    expect(codeOf(() => metadata.commit())).toBe('EIO')
    metadata.run(SET_XATTR, [1, 'b', Buffer.from('1')])
    metadata.commit()
    rollBack()
    metadata.flush()
    const told = () => [cookies(metadata), metadata.query<string>('SELECT name FROM xattr').pluck().all()]
    expect(told()).toEqual([[1, 2], ['b']])
    add(metadata, 3)
    expect(cookies(metadata)).toEqual([1, 2, 3])
    rollBack()
    expect(cookies(metadata)).toEqual([1, 2, 3])
    expect(cookies(await openMetadata(copyOf(directory)))).toEqual([1, 2, 3])
  })

  it('does not add what failed to the next operation, when the database fails at the end of a batch', async () => {
    const directory = scratch()
    let failing = false
    const reported: Error[] = []
    const metadata = await openMetadata(directory, {
      limits: { ...METADATA_LIMITS, batchOperations: 2 },
      disk: diskWith({
        stat: (fd, into) => (failing && isLog(fd) ? fail('EIO') : hostDisk.stat(fd, into)),
      }),
      onBackgroundError: (error) => reported.push(error),
    })
    failing = true
    const done = [1, 2, 3, 4, 5, 6, 7].filter((cookie) => codeOf(() => add(metadata, cookie)) === undefined)
    failing = false
    expect(cookies(metadata)).toEqual(done)
    expect(cookies(await openMetadata(copyOf(directory)))).toEqual(done)
    expect(reported.length).toBeGreaterThan(0)
  })

  it('takes no more changes when it cannot read back what it has to make again', async () => {
    const directory = scratch()
    let failing = false
    const reported: string[] = []
    const metadata = await openMetadata(directory, {
      disk: diskWith({
        read: (fd, into, position) => (failing ? 0 : hostDisk.read(fd, into, position)),
      }),
      onBackgroundError: (error) => reported.push(error.message),
    })
    for (const cookie of [1, 2, 3]) add(metadata, cookie)
    failing = true
    metadata.run(SET_META, ['x', 1])
    expect(codeOf(() => metadata.run(SET_XATTR, [1, 'without a value', null]))).toBe('EIO')
    failing = false
    expect(reported).toEqual([expect.stringContaining('no more changes')])
    expect(codeOf(() => add(metadata, 4))).toBe('EIO')
    await metadata.close()
    expect(cookies(await openMetadata(directory))).toEqual([1, 2, 3])
  })
})

describe('a volume', () => {
  it('keeps what it knows of contents when an operation is undone', async () => {
    const directory = scratch()
    const clock = new ManualClock()
    let failing = false
    const disk = diskWith({
      write: (fd, data, position) => (failing ? fail('EIO') : hostDisk.write(fd, data, position)),
    })
    const volume = await openVolume(directory, { disk, clock, limits: { cachedInodes: 2, idleDescriptors: 1 } })
    const f = file(volume, 1, 'f')
    put(volume, f, 'x'.repeat(100))
    const told = volume.changeOf(f)
    const others = ['a', 'b', 'c'].map((name) => file(volume, 1, name))
    const nodes = ['d', 'e', 'g'].map((name) => folder(volume, 1, name))
    for (const ino of others) volume.closeContent(volume.openContent(ino, 0, root))
    failing = true
    expect(codeOf(() => volume.setXattr(nodes[0] ?? 0, 'trusted.a', Buffer.from('1'), 'either', root))).toBe('EIO')
    failing = false
    for (const ino of [...nodes, ...nodes]) volume.attributes(ino)
    expect(volume.changeOf(f)).toEqual(told)
    expect(volume.used.bytes).toBe(100)
    for (const ino of [...others, ...nodes, ...nodes]) volume.attributes(ino)
    clock.advance(2000)
    for (const ino of [...others, ...nodes, ...nodes]) volume.attributes(ino)
    expect(volume.changeOf(f)).toEqual(told)
    expect(volume.used.bytes).toBe(100)
  })

  it('tells of a file that got its name by link the same after a crash', async () => {
    const directory = scratch()
    const volume = await openVolume(directory, { clock: new ManualClock() })
    const t = volume.createTemporary(1, 0o600, root)
    volume.hold(t, 1)
    volume.setXattr(t, 'user.a', Buffer.from('1'), 'either', root)
    volume.link(t, 1, 't', root)
    const again = await openVolume(copyOf(directory))
    expect(again.changeOf(t)).toEqual(volume.changeOf(t))
  })
})
