import { expect, test } from 'vitest'
import type { FileWrites } from '../../../../src/modes/nfs/file-writes.ts'
import { WriteRoom } from '../../../../src/modes/nfs/write-room.ts'
import { Interruptions } from '../../../../src/vfs/interruption.ts'
import { settle, TestClock } from '../../rpc/test-clock.ts'

function stage() {
  const clock = new TestClock()
  const room = new WriteRoom(clock, new Interruptions({ clock }))
  const flushed: string[] = []
  /** A file that keeps something until it is flushed. */
  const file = (name: string, fails = false) => {
    const writes = {
      async flush(_context: undefined, _handle: number, depth: string) {
        flushed.push(`${name} ${depth}`)
        if (fails) throw new Error('no space')
        room.delete(writes)
      },
    } as unknown as FileWrites
    room.add(writes)
    return writes
  }
  return { clock, room, flushed, file }
}

test('what nobody waits for is written back after 30 s, and nothing before', async () => {
  const { clock, flushed, file } = stage()
  file('a')
  await clock.pass(10_000)
  file('b')
  await clock.pass(19_999)
  expect(flushed).toEqual([])
  await clock.pass(1)
  expect(flushed).toEqual(['a stable'])
  await clock.pass(10_000)
  expect(flushed).toEqual(['a stable', 'b stable'])
  expect(clock.timers).toBe(0)
})

test('what cannot be written is tried again, after as long', async () => {
  const { clock, room, flushed, file } = stage()
  const writes = file('full', true)
  await clock.pass(30_000)
  await clock.pass(29_999)
  expect(flushed).toEqual(['full stable'])
  await clock.pass(1)
  expect(flushed).toHaveLength(2)
  room.delete(writes)
  room.close()
  await settle()
  expect(clock.timers).toBe(0)
})
