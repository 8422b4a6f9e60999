import assert from 'node:assert/strict'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { UnfinishedPages } from '../../../../src/modes/nfs/unfinished-pages.ts'
import { random, seed } from '../../../support/random.ts'

const FILE = 7
const PAGE = 4096

const filled = (length: number, byte: number): Buffer => Buffer.alloc(length, byte)

describe('pages that a write covered in part', () => {
  test('the last page of a file is told once', () => {
    const pages = new UnfinishedPages()
    pages.wrote(FILE, 0, filled(5000, 1))
    const asked = { offset: PAGE, length: PAGE, size: 5000 }
    expect(pages.take(FILE, asked)).toEqual(new Uint8Array(filled(5000 - PAGE, 1)))
    expect(pages.take(FILE, asked)).toBe(undefined)
    expect(pages.bytes).toBe(0)
  })

  test('a page that two writes share is told whole', () => {
    const pages = new UnfinishedPages()
    pages.wrote(FILE, 0, filled(10_240, 1))
    pages.wrote(FILE, 10_240, filled(10_240, 2))
    const shared = pages.take(FILE, { offset: 8192, length: PAGE, size: 20_480 })
    expect(shared).toEqual(Uint8Array.from([...filled(2048, 1), ...filled(2048, 2)]))
    // The first pages are the kernel's.
    expect(pages.take(FILE, { offset: 0, length: PAGE, size: 20_480 })).toBe(undefined)
  })

  test('what was not all written here is asked for', () => {
    const pages = new UnfinishedPages()
    pages.wrote(FILE, 100, filled(100, 1))
    expect(pages.take(FILE, { offset: 0, length: PAGE, size: 200 })).toBe(undefined)
    expect(pages.take(FILE, { offset: 100, length: PAGE, size: 201 })).toBe(undefined)
    expect(pages.take(FILE, { offset: 200, length: PAGE, size: 200 })).toBe(undefined)
    expect(pages.take(FILE, { offset: 100, length: PAGE, size: 200 })).toEqual(new Uint8Array(filled(100, 1)))
  })

  test('of two writes with a gap in between the later one counts', () => {
    const pages = new UnfinishedPages()
    pages.wrote(FILE, 0, filled(100, 1))
    pages.wrote(FILE, 200, filled(100, 2))
    expect(pages.take(FILE, { offset: 0, length: 100, size: 300 })).toBe(undefined)
    expect(pages.take(FILE, { offset: 200, length: 100, size: 300 })).toEqual(new Uint8Array(filled(100, 2)))
  })

  test('a whole page takes the place of its part', () => {
    const pages = new UnfinishedPages()
    pages.wrote(FILE, 0, filled(100, 1))
    pages.wrote(FILE, 0, filled(PAGE, 2))
    expect(pages.bytes).toBe(0)
  })

  test('the oldest go when there is no more room', () => {
    const pages = new UnfinishedPages({ maxBytes: 1000 })
    pages.wrote(1, 0, filled(500, 1))
    pages.wrote(2, 0, filled(500, 2))
    expect(pages.bytes).toBeLessThanOrEqual(1000)
    expect(pages.take(1, { offset: 0, length: PAGE, size: 500 })).toBe(undefined)
    expect(pages.take(2, { offset: 0, length: PAGE, size: 500 })).toEqual(new Uint8Array(filled(500, 2)))
    pages.wrote(3, 0, filled(2000, 3))
    expect(pages.bytes).toBe(0)
  })
})

test(`what is told is what was written last (seed ${seed()})`, () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 2 ** 31 }), (from) => {
      const next = random(from)
      const number = (below: number): number => Math.floor(next() * below)
      const pages = new UnfinishedPages({ maxBytes: 12_000 })
      const files = [1, 2, 3].map(() => ({ bytes: Buffer.alloc(6 * PAGE), size: 0 }))
      for (let step = 1; step < 200; step++) {
        const node = number(files.length)
        const file = files[node] ?? assert.fail()
        const draw = next()
        if (draw < 0.6) {
          // Mostly one after the other, as programs write.
          const offset = Math.min(next() < 0.7 ? file.size : number(5 * PAGE), 5 * PAGE)
          const data = filled(1 + number(next() < 0.5 ? 300 : PAGE), step % 256)
          pages.wrote(node, offset, data)
          data.copy(file.bytes, offset)
          file.size = Math.max(file.size, offset + data.length)
          data.fill(0)
        } else if (draw < 0.95) {
          const page = number(6)
          const offset = page * PAGE
          const told = pages.take(node, { offset, length: (1 + number(2)) * PAGE, size: file.size })
          if (told === undefined) continue
          assert.deepEqual(Buffer.from(told), file.bytes.subarray(offset, offset + told.length))
          assert(told.length % PAGE === 0 || offset + told.length === file.size)
        } else {
          // Somebody else was there.
          pages.drop(node)
          file.bytes.fill(0xee)
          file.size = number(file.bytes.length - PAGE)
        }
        assert(pages.bytes >= 0 && pages.bytes <= 12_000)
      }
      for (const node of files.keys()) pages.drop(node)
      assert.equal(pages.bytes, 0)
    }),
    { seed: seed(), numRuns: 300 },
  )
})
