import fs from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { type Disk, hostDisk } from '../../../src/host/disk.ts'
import { FsError } from '../../../src/posix/errors.ts'
import { Journal, type JournalRecord } from '../../../src/store/journal.ts'
import { codeOf, diskWith, fail, scratch } from './volume-fixture.ts'

const unsynced = diskWith({ sync: async () => {} })

const record = (sequence: number): JournalRecord => [
  sequence,
  6,
  [1, sequence * 2 ** 40, `näme ${'x'.repeat(sequence)}`, null, Buffer.from([sequence])],
]

function recordsIn(directory: string, sequence = 0): JournalRecord[] {
  const journal = Journal.open(unsynced, directory)
  try {
    return [...journal.records(sequence)]
  } finally {
    journal.close()
  }
}

/** A journal with records from..to in one new segment; returns where each ends. */
function writeSegment(directory: string, from: number, to: number, disk: Disk = unsynced): number[] {
  const journal = Journal.open(disk, directory)
  journal.begin()
  const ends: number[] = []
  for (let sequence = from; sequence <= to; sequence++) {
    journal.append(record(sequence))
    ends.push(journal.length)
  }
  journal.close()
  return ends
}

const segment = (directory: string, number: number) => join(directory, `${String(number).padStart(8, '0')}.journal`)

describe('the journal', () => {
  it('gives back what was written, after a sequence', () => {
    const directory = scratch()
    writeSegment(directory, 1, 4)
    writeSegment(directory, 5, 6)
    expect(recordsIn(directory)).toEqual([1, 2, 3, 4, 5, 6].map(record))
    expect(recordsIn(directory, 4)).toEqual([5, 6].map(record))
    expect(recordsIn(directory, 9)).toEqual([])
  })

  it('cut anywhere gives the records that are whole', () => {
    const directory = scratch()
    const ends = writeSegment(directory, 1, 5)
    const path = segment(directory, 1)
    const bytes = fs.readFileSync(path)
    for (let length = bytes.length; length >= 0; length--) {
      fs.truncateSync(path, length)
      const whole = ends.filter((end) => end <= length).length
      expect(recordsIn(directory)).toEqual(Array.from({ length: whole }, (_, n) => record(n + 1)))
    }
  })

  it('damaged anywhere gives the records before the damage', () => {
    const directory = scratch()
    const ends = writeSegment(directory, 1, 4)
    const path = segment(directory, 1)
    const bytes = fs.readFileSync(path)
    for (let at = 0; at < bytes.length; at++) {
      for (const flip of [0x01, 0xff]) {
        const damaged = Buffer.from(bytes)
        damaged[at] = (damaged[at] ?? 0) ^ flip
        fs.writeFileSync(path, damaged)
        const whole = ends.filter((end) => end <= at).length
        expect(recordsIn(directory)).toEqual(Array.from({ length: whole }, (_, n) => record(n + 1)))
      }
    }
  })

  it('extended with zeros, or with noise, ends before them', () => {
    const directory = scratch()
    writeSegment(directory, 1, 2)
    const path = segment(directory, 1)
    const bytes = fs.readFileSync(path)
    for (const tail of [Buffer.alloc(4096), Buffer.alloc(4096, 0xff), Buffer.from('noise '.repeat(100))]) {
      fs.writeFileSync(path, Buffer.concat([bytes, tail]))
      expect(recordsIn(directory)).toEqual([1, 2].map(record))
    }
  })

  it('drops what follows a gap that loss of power left', () => {
    const directory = scratch()
    const [, second] = writeSegment(directory, 1, 4)
    writeSegment(directory, 5, 6)
    fs.truncateSync(segment(directory, 1), second)
    expect(recordsIn(directory)).toEqual([1, 2].map(record))
    expect(recordsIn(directory, 4)).toEqual([5, 6].map(record))
  })

  it('refuses a gap in what was durable', async () => {
    const directory = scratch()
    const journal = Journal.open(unsynced, directory)
    const ends: number[] = []
    journal.begin()
    for (const sequence of [1, 2, 3, 4]) {
      journal.append(record(sequence))
      ends.push(journal.length)
    }
    journal.begin()
    journal.append(record(5))
    await journal.sync()
    journal.append(record(6))
    await journal.sync()
    journal.close()
    expect(recordsIn(directory).length).toBe(6)
    fs.truncateSync(segment(directory, 1), ends[1])
    expect(() => recordsIn(directory)).toThrow('damaged: records from 3 to 4')
    expect(recordsIn(directory, 4)).toEqual([5, 6].map(record))
  })

  it('is as before after a write that fails', () => {
    for (const code of ['ENOSPC', 'EIO']) {
      const directory = scratch()
      let failing = false
      let cutting = true
      const journal = Journal.open(
        {
          ...unsynced,
          write: (fd, data, position) => {
            if (!failing) return hostDisk.write(fd, data, position)
            // Part of the record gets there, then no more.
            if (data.length > 20) return hostDisk.write(fd, data.subarray(0, 20), position)
            return fail(code)
          },
          truncate: (fd, size) => (cutting ? hostDisk.truncate(fd, size) : fail('EIO')),
        },
        directory,
      )
      journal.begin()
      journal.append(record(1))
      failing = true
      expect(codeOf(() => journal.append(record(2)))).toBe(code)
      expect(fs.statSync(segment(directory, 1)).size).toBe(journal.length)
      cutting = false
      expect(codeOf(() => journal.append(record(2)))).toBe(code)
      failing = false
      // What is torn must be cut off before anything is written after it.
      expect(codeOf(() => journal.append(record(2)))).toBe('EIO')
      cutting = true
      journal.append(record(2))
      journal.close()
      expect(recordsIn(directory)).toEqual([1, 2].map(record))
    }
  })

  it('refuses records that no reader would take', () => {
    const journal = Journal.open(unsynced, scratch())
    journal.begin()
    expect(codeOf(() => journal.append([1, 9, [1, 'user.x', Buffer.alloc(2 << 20)]]))).toBe('EFBIG')
    journal.append(record(1))
    journal.close()
  })

  it('syncs once for many', async () => {
    const directory = scratch()
    let running = 0
    const lengths: number[] = []
    const release: (() => void)[] = []
    const journal = Journal.open(
      diskWith({
        sync: (fd, dataOnly) => {
          if (!dataOnly) return Promise.resolve()
          running++
          lengths.push(fs.fstatSync(fd).size)
          return new Promise((resolve) => release.push(resolve))
        },
      }),
      directory,
    )
    const settle = () => new Promise((resolve) => setImmediate(resolve))
    journal.begin()
    journal.append(record(1))
    const first = journal.sync()
    await settle()
    expect(running).toBe(1)
    journal.append(record(2))
    const second = journal.sync()
    journal.append(record(3))
    const third = journal.sync()
    await settle()
    expect(running).toBe(1)
    release.shift()?.()
    await first
    await settle()
    expect(running).toBe(2)
    // The second run began when all three were written: it is enough for both callers.
    expect(lengths[1]).toBe(journal.length)
    release.shift()?.()
    await Promise.all([second, third])
    await journal.sync()
    expect(running).toBe(2)
    journal.close()
  })

  it('never calls a lost sync a success', async () => {
    let failing = true
    const journal = Journal.open(diskWith({ sync: async () => (failing ? fail('EIO') : undefined) }), scratch())
    journal.begin()
    journal.append(record(1))
    await expect(journal.sync()).rejects.toThrow(FsError)
    failing = false
    await expect(journal.sync()).rejects.toThrow(FsError)
    journal.close()
  })

  it('goes on after what failed around a sync, and makes up for the mark', async () => {
    const directory = scratch()
    let failing = false
    const disk = diskWith({
      open: (path, flags, mode) => (failing && path === directory ? fail('EMFILE') : hostDisk.open(path, flags, mode)),
      write: (fd, data, position) => (failing ? fail('ENOSPC') : hostDisk.write(fd, data, position)),
      sync: async () => {},
    })
    const journal = Journal.open(disk, directory)
    journal.begin()
    for (const sequence of [1, 2, 3]) journal.append(record(sequence))
    journal.begin()
    failing = true
    await expect(journal.sync()).rejects.toThrow('EMFILE')
    failing = false
    const syncing = journal.sync()
    failing = true
    await syncing
    failing = false
    journal.append(record(4))
    await journal.sync()
    journal.close()
    fs.truncateSync(segment(directory, 1), fs.statSync(segment(directory, 1)).size - 1)
    expect(() => recordsIn(directory)).toThrow('records from 3 to 3 were durable and are missing')
  })
})
