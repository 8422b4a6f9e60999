// A dump brings all of a volume to another directory, also in two steps, and a bad one brings nothing.
import fs from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { type Disk, hostDisk } from '../../../src/host/disk.ts'
import { FsError } from '../../../src/posix/errors.ts'
import { isDirectory, isRegular, S_IFDIR, S_IFLNK, S_IFREG } from '../../../src/posix/mode.ts'
import { DumpError, type DumpRecord, DumpWriter, dumpRecords } from '../../../src/store/dump-records.ts'
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
} from './volume-fixture.ts'
import { Operations } from './volume-model.ts'

const from = seed()

/** All that clients may have been told, but for what the host decides anew: the blocks of files. */
function factsOf(volume: Volume, options: { readonly readTimes?: boolean } = {}): unknown[] {
  const facts: unknown[] = []
  const walk = (ino: number) => {
    const { blocks, ...all } = volume.attributes(ino)
    const attributes = options.readTimes === false && isRegular(all.mode) ? { ...all, atime: undefined } : all
    const xattrs = volume.listXattrs(ino, root).map((name) => [name, `${volume.getXattr(ino, name, root)}`])
    facts.push([
      attributes,
      isRegular(attributes.mode) ? 0 : blocks,
      volume.generation(ino),
      volume.changeOf(ino),
      xattrs.sort(),
    ])
    if (!isDirectory(attributes.mode)) return
    for (const entry of volume.list(ino, 0)) {
      facts.push(entry)
      if (entry.name !== '.' && entry.name !== '..') walk(entry.ino)
    }
  }
  walk(volume.root)
  return facts
}

async function bytesOf(dump: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of dump) chunks.push(chunk)
  return Buffer.concat(chunks)
}

/** The bytes in pieces of any size. */
async function* piecesOf(bytes: Buffer, chance: () => number): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; ) {
    const length = 1 + Math.floor(chance() ** 4 * 100_000)
    yield bytes.subarray(at, at + length)
    at += length
  }
}

async function* whole(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes
}

async function recordsOf(bytes: Buffer): Promise<DumpRecord[]> {
  const records: DumpRecord[] = []
  for await (const record of dumpRecords(whole(bytes))) records.push(record)
  return records
}

function bytesFrom(records: readonly DumpRecord[]): Buffer {
  const writer = new DumpWriter()
  const chunks = records.flatMap((record) => writer.frame(record))
  return Buffer.concat([...chunks, ...writer.frame({ type: 'END', records: records.length })])
}

async function sample(): Promise<{ volume: Volume; bytes: Buffer; f: number; d: number }> {
  const volume = await openVolume()
  const d = folder(volume, 1, 'd')
  const f = file(volume, d, 'f')
  put(volume, f, 'content')
  volume.setXattr(f, 'user.a', Buffer.from('value'), 'either', root)
  volume.link(f, 1, 'g', root)
  volume.create(d, 'l', { mode: S_IFLNK | 0o777, target: 'nowhere' }, root)
  folder(volume, d, 'e')
  return { volume, bytes: await bytesOf(volume.dump()), f, d }
}

describe('a dump', () => {
  it('brings back all of a volume, with its holes, and the volume goes on there', async () => {
    const directory = scratch()
    const volume = await openVolume(directory)
    const f = file(volume, 1, 'sparse')
    put(volume, f, 'start')
    put(volume, f, 'far away', 3 << 20)
    volume.setAttributes(f, { size: 1 << 30, mtime: { sec: -5, nsec: 7 }, atime: { sec: 9, nsec: 8 } }, root)
    const g = file(volume, 1, 'large')
    put(volume, g, 'x'.repeat(3_000_001))
    volume.setQuota({ bytes: 2 ** 31, inodes: 100 })
    const facts = factsOf(volume)
    const target = join(scratch(), 'restored')
    const report = await Volume.restore(target, volume.dump())
    expect(report.id).toBe(volume.id)
    expect(report.bytes).toBeLessThan(4_000_000)
    const restored = await openVolume(target)
    expect(restored.id).toBe(volume.id)
    expect(restored.quota).toEqual(volume.quota)
    expect(factsOf(restored)).toEqual(facts)
    expect(restored.attributes(f).blocks).toBeLessThan(1000)
    expect(contentOf(restored, g)).toBe(contentOf(volume, g))
    expect(file(restored, 1, 'new')).toBeGreaterThan(g)
    put(restored, f, 'new')
    await restored.close()
    await checkVolume(await openVolume(target), target)
    expect(fs.readdirSync(join(directory, '..')).filter((name) => name.includes('.dump-'))).toEqual([])
  })

  it.each([from, from + 1])('and dumps of what changed bring a volume up to date, seed %i', async (number) => {
    const chance = random(number)
    const operations = new Operations(number)
    const folder = scratch()
    const volume = await openVolume(scratch(), { clock: new ManualClock() })
    let since: Volume | undefined
    let base: string | undefined
    for (let step = 0; step < 6; step++) {
      for (let n = 0; n < 150; n++) operations.step(volume)
      await volume.clone(join(folder, `clone${step}`))
      const clone = await openVolume(join(folder, `clone${step}`), readOnly)
      const target = join(folder, `restored${step}`)
      const bytes = await bytesOf(clone.dump(since ? { since } : {}))
      await Volume.restore(target, piecesOf(bytes, chance), base === undefined ? {} : { base })
      const look = join(folder, `look${step}`)
      fs.cpSync(target, look, { recursive: true, preserveTimestamps: true })
      const restored = await openVolume(look)
      expect(treeOf(restored)).toEqual(operations.model.tree())
      await checkVolume(restored, look)
      await restored.close()
      if (base !== undefined) fs.rmSync(base, { recursive: true })
      await since?.close()
      since = clone
      base = target
    }
    const last = await openVolume(base)
    // The copies above were made by reading.
    const options = { readTimes: false }
    expect(factsOf(last, options)).toEqual(factsOf(since as Volume, options))
    const source = join(folder, 'later')
    await volume.clone(source)
    const changes = await bytesOf((await openVolume(source, readOnly)).dump({ since: since as Volume }))
    await last.close()
    // It was opened since.
    await expect(Volume.restore(join(folder, 'no'), whole(changes), { base: base as string })).rejects.toThrow(
      DumpError,
    )
    await expect(Volume.restore(join(folder, 'no'), whole(changes))).rejects.toThrow('only what changed')
  })

  it('is read as it came, by several at a time, and stays what later changes can be added to', async () => {
    const folder = scratch()
    const volume = await openVolume(join(folder, 'volume'))
    const f = file(volume, 1, 'f')
    put(volume, f, 'one')
    await volume.clone(join(folder, 'one'))
    const one = await openVolume(join(folder, 'one'), readOnly)
    await Volume.restore(join(folder, 'restored'), one.dump())
    const shown = await openVolume(join(folder, 'restored'), readOnly)
    const again = await openVolume(join(folder, 'restored'), readOnly)
    expect([shown.snapshot, shown.origin, again.readOnly]).toEqual([one.snapshot, undefined, true])
    expect(codeOf(() => file(shown, 1, 'g'))).toBe('EROFS')
    put(volume, f, 'two')
    await volume.clone(join(folder, 'two'))
    const two = await openVolume(join(folder, 'two'), readOnly)
    await Volume.restore(join(folder, 'next'), two.dump({ since: one }), { base: join(folder, 'restored') })
    const next = await openVolume(join(folder, 'next'), readOnly)
    expect([contentOf(shown, f), contentOf(next, f), next.snapshot]).toEqual(['one', 'two', two.id])
    await next.close()
    // Once it may have been changed, it is not as it came.
    await (await openVolume(join(folder, 'next'))).close()
    await expect(openVolume(join(folder, 'next'), readOnly)).rejects.toThrow("is not a clone's")
  })

  it('that ends early, or is damaged anywhere, is refused, and nothing is left', async () => {
    const { bytes } = await sample()
    const parent = scratch()
    const target = join(parent, 'restored')
    const chance = random(from)
    for (let n = 0; n < 30; n++) {
      const bad = Buffer.from(bytes.subarray(0, n % 3 === 0 ? Math.floor(chance() * bytes.length) : bytes.length))
      if (n % 3 !== 0) bad[Math.floor(chance() * bad.length)] = Math.floor(chance() * 256)
      if (bad.equals(bytes)) continue
      await expect(Volume.restore(target, piecesOf(bad, chance))).rejects.toThrow(DumpError)
      expect(fs.readdirSync(parent)).toEqual([])
    }
    await expect(Volume.restore(target, whole(Buffer.concat([bytes, bytes])))).rejects.toThrow(DumpError)
    const long = Buffer.alloc(8)
    long.writeUInt32LE(0xffffffff, 0)
    await expect(Volume.restore(target, whole(long))).rejects.toThrow('a record of')
  })

  it('whose records contradict one another is refused', async () => {
    const { bytes, f, d } = await sample()
    const records = await recordsOf(bytes)
    const target = join(scratch(), 'restored')
    const changed = (change: (record: DumpRecord & Record<string, never>) => Record<string, unknown> | undefined) =>
      records.map((record) => ({ ...record, ...change(record as never) }) as DumpRecord)
    const inode = (ino: number, fields: Record<string, unknown>) =>
      changed((record) => (record.type === 'INODE' && record.ino === ino ? fields : undefined))
    const entry = (name: string, fields: Record<string, unknown>) =>
      changed((record) => (record.type === 'ENTRY' && record.name === name ? fields : undefined))
    const without = (type: string, which = 0) => {
      const found = records.filter((record) => record.type === type)[which]
      return records.filter((record) => record !== found)
    }
    const header = (fields: Record<string, unknown>) =>
      changed((record) => (record.type === 'HEADER' ? fields : undefined))
    const bad: Record<string, readonly DumpRecord[]> = {
      'no header': without('HEADER'),
      'two headers': [records[0] as DumpRecord, ...records],
      'another version': header({ version: 2 }),
      'a bad id': header({ volume: '../../etc' }),
      'a low limit': header({ inodeLimit: 2 }),
      'a huge limit': header({ inodeLimit: 2 ** 53 - 1 }),
      'another seed': header({ nameSeed: 1 }),
      'no root': without('INODE'),
      'a missing inode': without('INODE', 2),
      'a missing name': without('ENTRY', 1),
      'an inode twice': records.flatMap((record) => [record, ...(record.type === 'INODE' ? [record] : [])]),
      'an attribute twice': records.flatMap((record) => [record, ...(record.type === 'XATTR' ? [record] : [])]),
      'data twice': records.flatMap((record) => [record, ...(record.type === 'DATA' ? [record] : [])]),
      'data too far': changed((record) => (record.type === 'DATA' ? { offset: 1 } : undefined)),
      'data of no file': records.filter(({ type }) => type === 'HEADER' || type === 'DATA'),
      'something removed': [...records, { type: 'NO_INODE', ino: f }],
      'an attribute of no space': changed((record) => (record.type === 'XATTR' ? { name: 'evil' } : undefined)),
      'a file without content': inode(f, { content: false }),
      'a directory with content': inode(d, { content: true }),
      'a size beyond all': inode(f, { size: 2 ** 52 }),
      'no type': inode(f, { mode: 0o777 }),
      'another type': inode(f, { mode: S_IFDIR | 0o755 }),
      'bits beyond the mode': inode(f, { mode: (S_IFREG | 0o777) + 2 ** 20 }),
      'no generation': inode(f, { generation: 0 }),
      'a counter at its end': inode(f, { change: Number.MAX_SAFE_INTEGER }),
      'wrong links': inode(f, { nlink: 3 }),
      'wrong links of a directory': inode(d, { nlink: 2 }),
      'a parent of a file': inode(f, { parent: 1 }),
      'another parent': inode(d, { parent: d }),
      'a target of a file': inode(f, { target: 'x' }),
      'a bad time': inode(f, { mtime: { sec: 0, nsec: 1e9 } }),
      'a name with a slash': entry('f', { name: 'a/b' }),
      'a dot': entry('f', { name: '..' }),
      'a name elsewhere': entry('f', { cookie: 2 ** 40 }),
      'another kind': entry('f', { kind: 4 }),
      'a name that leads nowhere': entry('f', { ino: 999 }),
      'a cycle': entry('d', { parent: d }),
      'a name in a file': entry('f', { parent: f }),
    }
    await Volume.restore(join(scratch(), 'good'), whole(bytesFrom(records)))
    for (const [what, wrong] of Object.entries(bad)) {
      await expect(Volume.restore(target, whole(bytesFrom(wrong))), what).rejects.toThrow(DumpError)
      expect(fs.existsSync(target), what).toBe(false)
      expect(fs.existsSync(`${target}.partial`), what).toBe(false)
    }
  })

  it('with random fields is refused or makes a sound volume', async () => {
    const { bytes } = await sample()
    const records = await recordsOf(bytes)
    const chance = random(from)
    const pick = <T>(items: readonly T[]): T => items[Math.floor(chance() * items.length)] as T
    const parent = scratch()
    for (let n = 0; n < 150; n++) {
      const target = join(parent, `restored${n}`)
      const wrong = records.map((record) => ({ ...record }) as Record<string, unknown>)
      for (let changes = 1 + Math.floor(chance() * 2); changes > 0; changes--) {
        const record = pick(wrong)
        const key = pick(Object.keys(record).filter((key) => key !== 'type'))
        const value = record[key]
        if (typeof value === 'number') record[key] = pick([0, 1, 2, value + 1, 65535, 2 ** 31, Math.max(0, value - 1)])
        else if (typeof value === 'string') record[key] = pick(['', 'x', 'user.x', value])
        else if (typeof value === 'boolean') record[key] = !value
      }
      if (chance() < 0.3) wrong.splice(Math.floor(chance() * wrong.length), 1)
      try {
        await Volume.restore(target, whole(bytesFrom(wrong as unknown as DumpRecord[])))
      } catch (error) {
        expect(error).toBeInstanceOf(DumpError)
        expect(fs.existsSync(target)).toBe(false)
        continue
      }
      const volume = await openVolume(target)
      await checkVolume(volume, target)
      await volume.close()
    }
  }, 120_000)

  it('is there whole or not at all, at whichever step the process that restores it ends, or a call fails', async () => {
    const { bytes, volume } = await sample()
    const parent = scratch()
    const target = join(parent, 'restored')
    let left = Number.POSITIVE_INFINITY
    let images: string[] | undefined = []
    const counted =
      <T extends unknown[], R>(call: (...args: T) => R) =>
      (...args: T): R => {
        if (left-- <= 0) fail('ENOSPC')
        if (images) {
          const image = scratch()
          fs.cpSync(parent, image, { recursive: true })
          images.push(image)
        }
        return call(...args)
      }
    const { open, write, truncate, utimens, rename } = hostDisk
    const disk: Disk = diskWith({
      open: counted(open),
      write: counted(write),
      truncate: counted(truncate),
      utimens: counted(utimens),
      rename: counted(rename),
      sync: counted(async () => {}),
      syncFileSystem: counted(async () => {}),
    })
    await Volume.restore(target, whole(bytes), { disk })
    const steps = images.length
    expect(steps).toBeGreaterThan(6)
    for (const image of images) {
      if (!fs.existsSync(join(image, 'restored'))) {
        await expect(Volume.open(join(image, 'restored.partial'))).rejects.toThrow('not made to its end')
        fs.renameSync(join(image, 'restored.partial'), join(image, 'moved'))
        // When all is there but the name, it is whole.
        const moved = await Volume.open(join(image, 'moved')).catch(() => undefined)
        if (moved) expect(treeOf(moved)).toEqual(treeOf(volume))
        await moved?.close()
        fs.renameSync(join(image, 'moved'), join(image, 'restored.partial'))
        await Volume.restore(join(image, 'restored'), whole(bytes))
      }
      expect(fs.readdirSync(image)).toEqual(['restored'])
      expect(treeOf(await openVolume(join(image, 'restored')))).toEqual(treeOf(volume))
    }
    images = undefined
    fs.rmSync(target, { recursive: true })
    for (let n = 0; n < steps - 1; n++) {
      left = n
      await expect(Volume.restore(target, whole(bytes), { disk })).rejects.toThrow(FsError)
      expect(fs.existsSync(target), `step ${n}`).toBe(false)
    }
  }, 120_000)

  it('is read no faster than it is taken', async () => {
    const volume = await openVolume()
    put(volume, file(volume, 1, 'f'), 'x'.repeat(8 << 20))
    const clone = join(scratch(), 'clone')
    await volume.clone(clone)
    let read = 0
    const disk = diskWith({
      seek: (fd, offset, whence) => {
        read++
        return hostDisk.seek(fd, offset, whence)
      },
    })
    const dump = (await openVolume(clone, { readOnly: true, disk })).dump()
    await dump.next()
    await new Promise((resolve) => setTimeout(resolve, 20))
    expect(read).toBeLessThanOrEqual(2)
    await dump.return(undefined)
  })
})
