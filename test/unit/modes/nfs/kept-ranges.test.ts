import assert from 'node:assert/strict'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { covers, KeptRanges, overlay } from '../../../../src/modes/nfs/kept-ranges.ts'

const SIZE = 64

// Every byte has a value and a state; the ranges must say the same, and be as few as they can where it matters.
test('ranges behave as an array of bytes does', () => {
  const event = fc.oneof(
    fc.record({
      type: fc.constant('write' as const),
      start: fc.nat(SIZE - 1),
      length: fc.integer({ min: 1, max: 20 }),
    }),
    fc.record({ type: fc.constant('send' as const), start: fc.nat(SIZE - 1), length: fc.integer({ min: 1, max: 20 }) }),
    fc.record({ type: fc.constant('commit' as const), nth: fc.nat(5) }),
    fc.record({ type: fc.constant('gone' as const), nth: fc.nat(5) }),
    fc.record({ type: fc.constant('dirty' as const), nth: fc.nat(5) }),
    fc.record({ type: fc.constant('truncate' as const), start: fc.nat(SIZE) }),
  )
  fc.assert(
    fc.property(fc.array(event, { maxLength: 40, size: 'max' }), (events) => {
      const ranges = new KeptRanges()
      const model: ({ value: number; state: string; since: number } | undefined)[] = Array(SIZE).fill(undefined)
      for (const [index, one] of events.entries()) {
        if (one.type === 'write') {
          const end = Math.min(SIZE, one.start + one.length)
          const data = Uint8Array.from({ length: end - one.start }, (_, at) => (index * 7 + at) % 251)
          ranges.write(one.start, data, index)
          for (let at = one.start; at < end; at++) {
            const since = Math.min(index, model[at]?.since ?? index)
            model[at] = { value: data[at - one.start] ?? 0, state: 'dirty', since }
          }
          data.fill(255)
        } else if (one.type === 'send') {
          const range = ranges.all().find(({ state, end }) => state === 'dirty' && end > one.start)
          if (range === undefined) continue
          const start = Math.max(range.start, one.start)
          const end = Math.min(range.end, start + one.length)
          const sent = ranges.send(range, start, end, index)
          assert.deepEqual([sent.start, sent.end, sent.state], [start, end, 'sent'])
          for (const byte of model.slice(start, end)) if (byte) byte.state = 'sent'
        } else if (one.type === 'truncate') {
          ranges.truncate(one.start)
          model.fill(undefined, one.start)
        } else {
          const chosen = ranges.all()[one.nth]
          if (chosen === undefined || chosen.state === 'dirty') continue
          const { start, end } = chosen
          const next = one.type === 'commit' ? 'uncommitted' : one.type
          ranges.turn(start, end, (range) => (range === chosen ? next : undefined))
          for (let at = start; at < end; at++) {
            const byte = model[at]
            if (byte === undefined) continue
            if (next === 'gone') model[at] = undefined
            else byte.state = next
          }
        }
        check(ranges, model)
      }
    }),
    { numRuns: 500 },
  )
})

function check(ranges: KeptRanges, model: readonly ({ value: number; state: string; since: number } | undefined)[]) {
  const seen: ({ value: number; state: string } | undefined)[] = Array(SIZE).fill(undefined)
  const bytes = { dirty: 0, sent: 0, uncommitted: 0 }
  let last = -1
  for (const [index, range] of ranges.all().entries()) {
    assert(range.start >= last && range.end > range.start)
    last = range.end
    bytes[range.state] += range.end - range.start
    const previous = ranges.all()[index - 1]
    assert(!(previous?.state === 'dirty' && range.state === 'dirty' && previous.end === range.start), 'not merged')
    const content = Buffer.concat(range.pieces)
    assert.equal(content.length, range.end - range.start)
    for (let at = range.start; at < range.end; at++) {
      seen[at] = { value: content[at - range.start] ?? -1, state: range.state }
      // A flush that waits for a byte waits for its range: it may wait too long, never too short.
      assert(range.since <= (model[at]?.since ?? -1))
    }
    assert.equal(ranges.at(range.start), range)
    assert.equal(ranges.at(range.end - 1), range)
  }
  assert.deepEqual(
    seen,
    model.map((byte) => byte && { value: byte.value, state: byte.state }),
  )
  assert.equal(ranges.oldest(), Math.min(...ranges.all().map(({ since }) => since)))
  for (const state of ['dirty', 'sent', 'uncommitted'] as const) assert.equal(ranges.bytesIn(state), bytes[state])
  const expected = Uint8Array.from({ length: SIZE }, (_, at) => model[at]?.value ?? 0)
  const read = overlay({ offset: 0, bytes: new Uint8Array(SIZE) }, ranges.kept(0, SIZE))
  assert.deepEqual(Buffer.from(read), Buffer.from(expected))
}

test('bytes that are appended one by one gather in few pieces', () => {
  const ranges = new KeptRanges()
  for (let at = 0; at < 200_000; at++) ranges.write(at, Uint8Array.of(at % 256), 1)
  expect(ranges.count).toBe(1)
  const [range] = ranges.all()
  expect(range?.pieces.length).toBeLessThan(50)
  expect(Buffer.concat(range?.pieces ?? []).every((byte, at) => byte === at % 256)).toBe(true)
})

test('what is sent does not change when the bytes around it do', () => {
  const ranges = new KeptRanges()
  ranges.write(0, Buffer.from('abcd'), 1)
  ranges.write(4, Buffer.from('efgh'), 2)
  const [range] = ranges.all()
  assert(range)
  const { pieces } = ranges.send(range, 0, 8, 1)
  const sent = [...pieces]
  ranges.write(2, Buffer.from('XXXX'), 3)
  ranges.write(8, Buffer.from('ijkl'), 4)
  expect(Buffer.concat(sent).toString()).toBe('abcdefgh')
  expect(Buffer.from(overlay({ offset: 0, bytes: new Uint8Array(0) }, ranges.kept(0, 12))).toString()).toBe(
    'abXXXXghijkl',
  )
})

test('reads see kept bytes over what the server has, and holes as zeros', () => {
  const ranges = new KeptRanges()
  ranges.write(2, Buffer.from('ab'), 1)
  ranges.write(8, Buffer.from('cd'), 1)
  const read = (offset: number, server: string, length = 10) =>
    Buffer.from(overlay({ offset, bytes: Buffer.from(server) }, ranges.kept(offset, length))).toString()
  expect(read(0, '0123456789')).toBe('01ab4567cd')
  expect(read(0, '012')).toBe('01ab\0\0\0\0cd')
  expect(read(3, 'xyz', 3)).toBe('byz')
  expect(read(4, 'xyz', 3)).toBe('xyz')
  expect([covers(ranges.kept(2, 2), 2, 2), covers(ranges.kept(2, 3), 2, 3), covers(ranges.kept(0, 4), 0, 4)]).toEqual([
    true,
    false,
    false,
  ])
})
