import { describe, expect, it } from 'vitest'
import type { WsConnection } from '../../../../src/rpc/ws/connection.ts'
import { heartbeat } from '../../../../src/rpc/ws/conversation.ts'
import { TestClock } from '../test-clock.ts'

function setup() {
  const clock = new TestClock()
  const connection = { progress: 0, pings: 0, ping: () => connection.pings++ }
  let dead = 0
  const stop = heartbeat(connection as unknown as WsConnection, clock, 1000, () => dead++)
  return { clock, connection, stop, dead: () => dead }
}

describe('the heartbeat of a connection', () => {
  it('asks, and is content with anything that moves', () => {
    const { clock, connection, dead } = setup()
    for (let beat = 1; beat <= 10; beat++) {
      clock.advance(999)
      connection.progress++
      clock.advance(1)
      expect(connection.pings).toBe(beat)
    }
    expect(dead()).toBe(0)
  })

  it('finds a dead one within two intervals after the last sign, once', () => {
    const { clock, connection, dead } = setup()
    connection.progress++
    clock.advance(1999)
    expect(dead()).toBe(0)
    clock.advance(1)
    expect(dead()).toBe(1)
    clock.advance(10_000)
    expect(dead()).toBe(1)
    expect(clock.timers).toBe(0)
  })

  it('stops', () => {
    const { clock, connection, stop, dead } = setup()
    stop()
    clock.advance(10_000)
    expect([connection.pings, dead(), clock.timers]).toEqual([0, 0, 0])
  })
})
