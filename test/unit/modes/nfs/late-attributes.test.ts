import { expect, test } from 'vitest'
import { LateAttributes } from '../../../../src/modes/nfs/late-attributes.ts'
import { FsError } from '../../../../src/posix/errors.ts'
import { settle, TestClock } from '../../rpc/test-clock.ts'

const CHANGES = { mode: 0o640, atime: 'now', mtime: 'now' } as const

/** Late attributes of a file whose server answers when the test says so. */
function stage() {
  const clock = new TestClock()
  const sent: { ok(): Promise<void>; refuse(): Promise<void> }[] = []
  let settled = 0
  const late: LateAttributes = new LateAttributes({
    // As `ClientState.setAttributes` does.
    async send() {
      const changes = late.take()
      const answer = await new Promise<boolean>((resolve) => {
        const say = (is: boolean) => () => {
          resolve(is)
          return settle()
        }
        sent.push({ ok: say(true), refuse: say(false) })
      })
      if (answer) late.given()
      else if (changes !== undefined) late.put(changes)
      if (!answer) throw new FsError('EPERM')
    },
    after: (ms, action) => clock.after(ms, action),
    onSettled: () => settled++,
  })
  const only = () => {
    expect(sent).toHaveLength(1)
    return sent.shift() as (typeof sent)[number]
  }
  return { clock, late, sent, only, settled: () => settled }
}

test('are said soon, though nobody asks', async () => {
  const { clock, late, sent, only, settled } = stage()
  late.put(CHANGES)
  expect(sent).toEqual([])
  clock.advance(20)
  const call = only()
  expect(late.unset).toEqual(CHANGES)
  await call.ok()
  expect([late.unset, late.settled, settled(), clock.timers]).toEqual([undefined, true, 1, 0])
})

test('are said when somebody waits for them, once', async () => {
  const { clock, late, only } = stage()
  late.put(CHANGES)
  const waiting = [late.settle(), late.settle()]
  await only().ok()
  await Promise.all(waiting)
  expect(late.settle()).toBeUndefined()
  clock.advance(1000)
  expect(clock.timers).toBe(0)
})

test('go along with others, and are late again if that fails', async () => {
  const { clock, late, sent, only } = stage()
  late.put(CHANGES)
  expect(late.take()).toEqual(CHANGES)
  // Who sets them does not wait for itself, and they are not said twice.
  expect([late.settle(), late.take(), late.underWay]).toEqual([undefined, undefined, undefined])
  expect(late.unset).toEqual(CHANGES)
  late.put(CHANGES)
  clock.advance(20)
  await only().ok()
  late.put(CHANGES)
  late.take()
  late.given()
  clock.advance(20)
  expect([sent.length, late.unset]).toEqual([0, undefined])
})

test('that the server refuses are heard of once, by whoever comes first', async () => {
  const { clock, late, only } = stage()
  late.put(CHANGES)
  clock.advance(20)
  await only().refuse()
  expect([late.unset, late.settled, clock.timers]).toEqual([undefined, false, 0])
  expect(() => late.settle()).toThrow('EPERM')
  expect([late.settle(), late.settled]).toEqual([undefined, true])
  late.put(CHANGES)
  const waiting = Promise.resolve(late.settle())
  const heard = expect(waiting).rejects.toThrow('EPERM')
  await only().refuse()
  await heard
})
