import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Inode, newInode } from '../../../src/store/inode.ts'
import { PendingRows, type RowWriter } from '../../../src/store/pending-rows.ts'
import {
  DELETE_ENTRY,
  DELETE_INODE,
  INSERT_ENTRY,
  INSERT_INODE,
  SET_META,
  SET_XATTR,
  TOUCH_DIRECTORY,
  UPDATE_ENTRY,
} from '../../../src/store/schema.ts'

const now = { sec: 1, nsec: 0 }
const inode = (ino: number): Inode =>
  newInode({ ino, generation: 1, mode: 0o100644, uid: 0, gid: 0, nlink: 1, rdev: 0, parent: 1, target: null, now })

/** A table of rows that counts what it is told. */
class Table implements RowWriter {
  readonly inodes = new Set<number>()
  readonly entries = new Map<string, string>()
  writes = 0

  putInode([ino]: readonly unknown[]): void {
    this.writes++
    this.inodes.add(ino as number)
  }
  deleteInode(ino: number): void {
    this.writes++
    this.inodes.delete(ino)
  }
  putEntry(parent: number, { cookie, name, ino }: { cookie: number; name: string; ino: number }): void {
    this.writes++
    this.entries.set(`${parent} ${cookie}`, `${name} ${ino}`)
  }
  deleteEntry(parent: number, cookie: number): void {
    this.writes++
    this.entries.delete(`${parent} ${cookie}`)
  }
}

describe('pending rows', () => {
  it('gather inodes and entries; the rest is for the database at once', () => {
    expect(PendingRows.gathers(INSERT_INODE)).toBe(true)
    expect(PendingRows.gathers(UPDATE_ENTRY)).toBe(true)
    expect(PendingRows.gathers(SET_META)).toBe(false)
    expect(PendingRows.gathers(SET_XATTR)).toBe(false)
  })

  it('write one row however often it changes, and none of what came and went', () => {
    const pending = new PendingRows()
    const table = new Table()
    const directory = inode(1)
    for (let ino = 2; ino < 100; ino++) {
      pending.take(INSERT_INODE, [ino], inode(ino))
      pending.take(INSERT_ENTRY, [1, ino * 64, `n${ino}`, ino, 8], undefined)
      pending.take(TOUCH_DIRECTORY, [], directory)
      pending.take(DELETE_INODE, [ino], undefined)
      pending.take(DELETE_ENTRY, [1, ino * 64], undefined)
    }
    pending.write(table)
    expect(table.writes).toBe(1)
    expect([...table.inodes]).toEqual([1])
  })

  it('a row that the database has is deleted there, also when its place was taken in between', () => {
    const pending = new PendingRows()
    const table = new Table()
    table.entries.set('1 64', 'old 5')
    pending.take(DELETE_ENTRY, [1, 64], undefined)
    pending.take(INSERT_ENTRY, [1, 64, 'new', 6, 8], undefined)
    expect(pending.entries(1, 64)).toMatchObject([{ name: 'new', live: true }])
    pending.take(DELETE_ENTRY, [1, 64], undefined)
    expect(pending.hasEntry(1)).toBe(false)
    pending.writeEntries(1, table)
    expect(table.entries.size).toBe(0)
    expect(pending.empty).toBe(true)
  })

  it('leave the table as if it had been told of each change', () => {
    const cookie = fc.integer({ min: 64, max: 130 })
    const step = fc.record({
      kind: fc.constantFrom('put', 'delete', 'flush'),
      parent: fc.integer({ min: 1, max: 2 }),
      cookie,
    })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const pending = new PendingRows()
        const table = new Table()
        const model = new Map<string, string>()
        steps.forEach(({ kind, parent, cookie }, at) => {
          const key = `${parent} ${cookie}`
          if (kind === 'flush') {
            pending.write(table)
            pending.clear()
          } else if (kind === 'delete') {
            if (!model.delete(key)) return
            pending.take(DELETE_ENTRY, [parent, cookie], undefined)
          } else {
            if (model.has(key)) pending.take(UPDATE_ENTRY, [at, 8, parent, cookie], `n${at}`)
            else pending.take(INSERT_ENTRY, [parent, cookie, `n${at}`, at, 8], undefined)
            model.set(key, `n${at} ${at}`)
          }
        })
        pending.write(table)
        expect(new Map([...table.entries].sort())).toEqual(new Map([...model].sort()))
      }),
    )
  })
})
