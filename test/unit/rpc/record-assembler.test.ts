import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { DecodeError } from '../../../src/codec/errors.ts'
import { BufferPool } from '../../../src/host/buffer-pool.ts'
import { MARK_BYTES, RecordAssembler } from '../../../src/rpc/onc/record-assembler.ts'

const LAST = 0x8000_0000

function fragment(data: Uint8Array, last: boolean): Buffer {
  const bytes = Buffer.alloc(4 + data.length)
  bytes.writeUInt32BE(data.length + (last ? LAST : 0))
  bytes.set(data, 4)
  return bytes
}

/** A record in fragments that end at these places. */
function inFragments(record: Buffer, cuts: readonly number[]): Buffer {
  const ends = [...cuts.map((cut) => cut % (record.length + 1)), record.length].sort((a, b) => a - b)
  return Buffer.concat(ends.map((end, i) => fragment(record.subarray(ends[i - 1] ?? 0, end), i === ends.length - 1)))
}

function all(assembler: RecordAssembler): Buffer[] {
  const records: Buffer[] = []
  for (let record = assembler.next(); record !== undefined; record = assembler.next()) records.push(Buffer.from(record))
  return records
}

const records = fc.array(
  fc.record({
    record: fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
    cuts: fc.array(fc.nat(), { maxLength: 5 }),
  }),
  { maxLength: 6 },
)

describe('record marking', () => {
  it('gives the records whatever their fragments, and in whatever pieces they come', () => {
    fc.assert(
      fc.property(records, fc.infiniteStream(fc.integer({ min: 1, max: 200 })), (list, sizes) => {
        const stream = Buffer.concat(list.map(({ record, cuts }) => inFragments(record, cuts)))
        const assembler = new RecordAssembler(1000)
        const seen: Buffer[] = []
        for (let at = 0; at < stream.length; ) {
          const size = sizes.next().value as number
          assembler.push(stream.subarray(at, at + size))
          at += size
          seen.push(...all(assembler))
        }
        expect(seen).toEqual(list.map(({ record }) => record))
        expect(assembler.heldBytes).toBe(0)
      }),
    )
  })

  it('gives them for each split of a stream in two', () => {
    const stream = Buffer.concat([inFragments(Buffer.from('several'), [1, 1, 5]), inFragments(Buffer.from('one'), [])])
    for (let at = 0; at <= stream.length; at++) {
      const assembler = new RecordAssembler(100)
      assembler.push(stream.subarray(0, at))
      const seen = all(assembler)
      assembler.push(stream.subarray(at))
      expect([...seen, ...all(assembler)].map(String)).toEqual(['several', 'one'])
    }
  })

  it('gives a record that came in one piece as a view, and leaves those alone that were not taken', () => {
    const stream = Buffer.concat([fragment(Buffer.from('one'), true), fragment(Buffer.from('two'), true)])
    const assembler = new RecordAssembler(100)
    assembler.push(stream)
    expect(assembler.next()?.buffer).toBe(stream.buffer)
    expect(assembler.heldBytes).toBe(7)
  })

  it('refuses a record above the limit by its header, and one that never ends', () => {
    const announced = new RecordAssembler(1000)
    announced.push(Buffer.from('800003e9', 'hex'))
    expect(() => announced.next()).toThrow(DecodeError)
    expect(announced.heldBytes).toBe(0)

    const endless = new RecordAssembler(1000)
    for (let i = 0; i < 10; i++) {
      endless.push(fragment(Buffer.alloc(100), false))
      expect(endless.next()).toBeUndefined()
    }
    endless.push(fragment(Buffer.alloc(1), false))
    expect(() => endless.next()).toThrow(DecodeError)
  })

  it('refuses a record of endless empty fragments', () => {
    const assembler = new RecordAssembler(1000)
    assembler.push(Buffer.alloc(4 * 20_000))
    expect(() => assembler.next()).toThrow('fragments')
  })

  it('takes memory for what came, not for what is announced, and none for what comes byte by byte', () => {
    const record = Buffer.alloc(1024 * 1024, 1)
    const stream = fragment(record, true)
    const assembler = new RecordAssembler(2 ** 21)
    assembler.push(stream.subarray(0, 10))
    expect(assembler.next()).toBeUndefined()
    expect(assembler.heldBytes).toBeLessThanOrEqual(1024)
    for (let at = 10; at < 5000; at++) {
      assembler.push(stream.subarray(at, at + 1))
      expect(assembler.next()).toBeUndefined()
    }
    expect(assembler.heldBytes).toBeLessThanOrEqual(17 * 5000)
    assembler.push(stream.subarray(5000))
    expect(assembler.next()?.equals(record)).toBe(true)
  })

  it('lets large records be read to where they belong, or elsewhere', () => {
    const [first, second] = [Buffer.alloc(400_000, 'first'), Buffer.alloc(200_000, 'second')]
    const stream = Buffer.concat([inFragments(first, [150_000]), inFragments(second, [])])
    const steps = fc.infiniteStream(fc.record({ size: fc.integer({ min: 1, max: 100_000 }), inPlace: fc.boolean() }))
    fc.assert(
      fc.property(steps, (pieces) => {
        const assembler = new RecordAssembler(500_000)
        const seen: Buffer[] = []
        let spared = 0
        for (let at = 0; at < stream.length; ) {
          const { size, inPlace } = pieces.next().value as { size: number; inPlace: boolean }
          const piece = stream.subarray(at, at + size)
          const room = inPlace ? assembler.room() : undefined
          const length = room === undefined ? piece.length : piece.copy(room)
          spared += room === undefined ? 0 : length
          assembler.push(room === undefined ? piece : room.subarray(0, length))
          at += length
          seen.push(...all(assembler))
        }
        expect(seen.map((record) => record.length)).toEqual([first.length, second.length])
        expect(seen[0]?.equals(first) && seen[1]?.equals(second)).toBe(true)
        expect(spared).toBeLessThanOrEqual(stream.length)
      }),
      { numRuns: 50 },
    )
  })

  it('uses memory again that was given back, and no other, whatever comes after a large record', () => {
    const LIMIT = 500_000
    const sizes = fc.array(fc.constantFrom(0, 100, 70_000, 299_990, 300_000, 300_000, 300_000, 300_010, LIMIT), {
      minLength: 4,
      maxLength: 12,
    })
    const steps = fc.infiniteStream(
      fc.record({
        size: fc.oneof(fc.integer({ min: 1, max: 100_000 }), fc.constant(600_000)),
        inPlace: fc.constantFrom(true, true, true, false),
        release: fc.boolean(),
      }),
    )
    let [direct, ahead] = [0, 0]
    fc.assert(
      fc.property(sizes, steps, fc.boolean(), (list, pieces, looksAhead) => {
        const sent = list.map((size, i) => Buffer.alloc(size, i + 1))
        const stream = Buffer.concat(sent.map((record) => fragment(record, true)))
        const pool = new BufferPool({ bytes: LIMIT + MARK_BYTES, spare: 2 })
        const assembler = new RecordAssembler(LIMIT, { pool, ahead: looksAhead })
        const kept: { record: Buffer; value: number }[] = []
        let count = 0
        for (let at = 0; at < stream.length; ) {
          const { size, inPlace, release } = pieces.next().value as { size: number; inPlace: boolean; release: boolean }
          const room = inPlace ? assembler.room() : undefined
          const into = room ?? Buffer.alloc(size)
          const length = stream.copy(into, 0, at, at + size)
          assembler.push(into.subarray(0, length))
          at += length
          if (room !== undefined) direct++
          if (room !== undefined && length > 300_000) ahead++
          for (let record = assembler.next(); record !== undefined; record = assembler.next()) {
            expect(record.length).toBe(sent[count++]?.length)
            if (!release) kept.push({ record, value: count })
            else if (record.length > 200_000) {
              expect(record.equals(Buffer.alloc(record.length, count))).toBe(true)
              record.fill(0xee)
              pool.give(record)
            }
          }
          expect(assembler.heldBytes).toBeLessThanOrEqual(2 * (LIMIT + MARK_BYTES) + 700_000)
        }
        expect(count).toBe(sent.length)
        for (const { record, value } of kept) expect(record.equals(Buffer.alloc(record.length, value))).toBe(true)
      }),
      { numRuns: 100 },
    )
    expect(Math.min(direct, ahead)).toBeGreaterThan(5)
  })

  it('refuses a record above the limit also where another large one was expected', () => {
    const pool = new BufferPool({ bytes: 300_000 + MARK_BYTES, spare: 2 })
    const assembler = new RecordAssembler(300_000, { pool, ahead: true })
    const large = fragment(Buffer.alloc(300_000), true)
    assembler.push(large.subarray(0, 100_000))
    expect(assembler.next()).toBeUndefined()
    assembler.push(large.subarray(100_000))
    expect(assembler.next()?.length).toBe(300_000)
    const room = assembler.room() as Buffer
    expect(room.length).toBe(300_000 + MARK_BYTES)
    fragment(Buffer.alloc(300_001), true).copy(room)
    assembler.push(room)
    expect(() => assembler.next()).toThrow(DecodeError)
  })

  it('answers random bytes with records or DecodeError', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 100 })), (chunks) => {
        const assembler = new RecordAssembler(1000)
        try {
          for (const chunk of chunks) {
            assembler.push(Buffer.from(chunk))
            all(assembler)
          }
        } catch (error) {
          expect(error).toBeInstanceOf(DecodeError)
        }
      }),
    )
  })
})
