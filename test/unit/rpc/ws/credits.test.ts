import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  FIRST_WINDOW_BYTES,
  ReceiveWindow,
  SendWindow,
  WINDOW_BYTES,
  WindowBudget,
} from '../../../../src/rpc/ws/credits.ts'
import { ProtocolError } from '../../../../src/rpc/ws/errors.ts'

describe('windows', () => {
  it('let everything through in the end, and never hold more than was granted', () => {
    // What happens next: something is sent, arrives, is read, or a grant arrives.
    const steps = fc.array(
      fc.record({
        what: fc.constantFrom('send', 'arrive', 'read', 'credit'),
        part: fc.double({ min: 0, max: 1, noNaN: true }),
      }),
    )
    fc.assert(
      fc.property(steps, fc.integer({ min: 0, max: 3 }), (list, streams) => {
        const budget = new WindowBudget(streams * (WINDOW_BYTES - FIRST_WINDOW_BYTES))
        const [sender, receiver] = [new SendWindow(), new ReceiveWindow(budget)]
        const [wire, held, credits]: number[][] = [[], [], []]
        let left = 64 * 1024 * 1024
        const perform = (what: string, part: number) => {
          const bytes = Math.min(Math.ceil(sender.available * part), left)
          if (what === 'send' && bytes > 0) {
            sender.take(bytes)
            left -= bytes
            wire?.push(bytes)
          } else if (what === 'arrive' && wire?.[0] !== undefined) {
            receiver.received(wire[0])
            held?.push(wire.shift() as number)
          } else if (what === 'read' && held?.[0] !== undefined) {
            const grant = receiver.consumed(held.shift() as number)
            if (grant > 0) credits?.push(grant)
          } else if (what === 'credit' && credits?.[0] !== undefined) sender.grant(credits.shift() as number)
          expect(receiver.heldBytes).toBeLessThanOrEqual(WINDOW_BYTES)
          expect(budget.taken).toBeLessThanOrEqual(streams * (WINDOW_BYTES - FIRST_WINDOW_BYTES))
        }
        for (const { what, part } of list) perform(what, part)
        for (let round = 0; left > 0 && round < 10_000; round++) {
          for (const what of ['send', 'arrive', 'read', 'credit']) perform(what, 1)
        }
        expect(left).toBe(0)
        receiver.end()
        receiver.end()
        expect(budget.taken).toBe(0)
      }),
    )
  })

  it('end the connection of who sends more than was granted, or grants beyond all limits', () => {
    const receiver = new ReceiveWindow(new WindowBudget(0))
    receiver.received(FIRST_WINDOW_BYTES)
    expect(() => receiver.received(1)).toThrow(ProtocolError)
    const sender = new SendWindow()
    expect(() => sender.take(FIRST_WINDOW_BYTES + 1)).toThrow(RangeError)
    expect(() => {
      for (let i = 0; i < 100; i++) sender.grant(2 ** 24)
    }).toThrow(ProtocolError)
  })

  it('share a budget, of a connection and of all', () => {
    const all = new WindowBudget(10)
    const [one, two] = [new WindowBudget(8, all), new WindowBudget(8, all)]
    expect(one.take(8)).toBe(true)
    expect(one.take(1)).toBe(false)
    expect(two.take(3)).toBe(false)
    expect(two.take(2)).toBe(true)
    one.giveBack(8)
    expect(two.take(6)).toBe(true)
    expect(all.taken).toBe(8)
  })
})
