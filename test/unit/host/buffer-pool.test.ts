import { expect, test } from 'vitest'
import { BufferPool } from '../../../src/host/buffer-pool.ts'
import { TestClock } from '../rpc/test-clock.ts'

const pool = (clock = new TestClock()) => new BufferPool({ bytes: 1000, spare: 2, clock })

test('what was given back is lent again, whatever part of it came back, and nothing that is in use', () => {
  const buffers = pool()
  const [first, second] = [buffers.take(1000), buffers.take(1000)]
  expect(first.buffer).not.toBe(second.buffer)
  buffers.give(first.subarray(10, 20))
  expect(buffers.take(1000).buffer).toBe(first.buffer)
  expect(buffers.take(1000).buffer).not.toBe(second.buffer)
})

test('giving back twice, or what is not of this pool, does nothing', () => {
  const buffers = pool()
  const buffer = buffers.take(1000)
  buffers.give(buffer)
  buffers.give(buffer)
  buffers.give(Buffer.alloc(1000))
  buffers.give(pool().take(1000))
  expect(buffers.take(1000).buffer).toBe(buffer.buffer)
  expect(buffers.take(1000).buffer).not.toBe(buffer.buffer)
})

test('no more are kept than wanted', () => {
  const buffers = pool()
  const taken = [1, 2, 3].map(() => buffers.take(1000))
  for (const buffer of taken) buffers.give(buffer)
  const known = new Set(taken.map(({ buffer }) => buffer))
  expect([1, 2, 3].map(() => known.has(buffers.take(1000).buffer))).toEqual([true, true, false])
})

test('little, and too much, gets memory of its own size', () => {
  const buffers = pool()
  expect([249, 250, 1000, 1001].map((bytes) => buffers.take(bytes).length)).toEqual([249, 1000, 1000, 1001])
})

test('what nobody needed for a while is let go, and nothing is watched any longer', () => {
  const clock = new TestClock()
  const buffers = pool(clock)
  const [first, second] = [buffers.take(1000), buffers.take(1000)]
  buffers.give(first)
  buffers.give(second)
  // One is enough for who comes now and then.
  for (let times = 0; times < 3; times++) {
    clock.advance(1900)
    const buffer = buffers.take(1000)
    expect(buffer.buffer).toBe(second.buffer)
    buffers.give(buffer)
  }
  const again = [buffers.take(1000), buffers.take(1000)]
  expect(again[0]?.buffer).toBe(second.buffer)
  expect(again[1]?.buffer).not.toBe(first.buffer)
  for (const buffer of again) buffers.give(buffer)
  clock.advance(10_000)
  expect(clock.timers).toBe(0)
  const known = new Set(again.map(({ buffer }) => buffer))
  expect(known.has(buffers.take(1000).buffer)).toBe(false)
})
