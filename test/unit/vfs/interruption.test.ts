import { describe, expect, test } from 'vitest'
import { Interruptions, interruptionOf, isEnding } from '../../../src/vfs/interruption.ts'
import { TestClock } from '../rpc/test-clock.ts'

const SIGINT = 2
const SIGALRM = 14
const SIGCHLD = 17

const mask = (...signals: number[]): string =>
  signals
    .reduce((sum, signal) => sum | (1n << BigInt(signal - 1)), 0n)
    .toString(16)
    .padStart(16, '0')

const status = ({
  pending = [] as number[],
  caught = [] as number[],
  blocked = [] as number[],
  ignored = [] as number[],
}) =>
  `Name:\tcat\nSigQ:\t0/63432\nSigPnd:\t${mask(...pending)}\nShdPnd:\t${mask()}\nSigBlk:\t${mask(...blocked)}\n` +
  `SigIgn:\t${mask(...ignored)}\nSigCgt:\t${mask(...caught)}\n`

describe('which signals interrupt a call', () => {
  test('one that ends the program, or is meant to', () => {
    expect(isEnding(status({ pending: [SIGINT] }))).toBe(true)
    expect(isEnding(status({ pending: [SIGINT], caught: [SIGINT] }))).toBe(true)
    expect(isEnding(status({ pending: [SIGALRM] }))).toBe(true)
    expect(isEnding(undefined)).toBe(true)
  })

  test('not one that the program lives with', () => {
    expect(isEnding(status({}))).toBe(false)
    expect(isEnding(status({ pending: [SIGALRM], caught: [SIGALRM] }))).toBe(false)
    expect(isEnding(status({ pending: [SIGCHLD] }))).toBe(false)
    expect(isEnding(status({ pending: [SIGINT], blocked: [SIGINT] }))).toBe(false)
    expect(isEnding(status({ pending: [SIGINT], ignored: [SIGINT] }))).toBe(false)
  })
})

describe('a call that waits', () => {
  test('looks again: FUSE tells of the first signal only', () => {
    const clock = new TestClock()
    const kernel = new AbortController()
    let now = status({ pending: [SIGALRM], caught: [SIGALRM] })
    const { signal } = interruptionOf({ signal: kernel.signal, pid: 7 }, { clock, statusOf: () => now })
    kernel.abort()
    clock.advance(10_000)
    expect(signal.aborted).toBe(false)
    now = status({ pending: [SIGINT], caught: [SIGINT, SIGALRM] })
    clock.advance(10_000)
    expect(signal.aborted).toBe(true)
  })

  test('is forgotten when it is over', () => {
    const clock = new TestClock()
    const kernel = new AbortController()
    let looked = 0
    const statusOf = (): string => {
      looked++
      return status({})
    }
    const interruption = interruptionOf({ signal: kernel.signal, pid: 7 }, { clock, statusOf })
    kernel.abort()
    interruption.dispose()
    clock.advance(10_000)
    expect(looked).toBe(1)
  })
})

describe('many calls', () => {
  const watch = (told: (string | undefined)[]) => {
    const clock = new TestClock()
    const interruptions = new Interruptions({ clock, statusOf: () => told.shift() })
    const controller = new AbortController()
    const log: string[] = []
    const stop = interruptions.watch({ signal: controller.signal, pid: 7 }, () => log.push('interrupted'))
    return { clock, controller, log, stop }
  }
  const ending = status({ pending: [SIGINT] })

  test('are interrupted, at the latest a moment after they began', () => {
    const early = watch([ending])
    early.controller.abort()
    expect(early.log).toEqual([])
    early.clock.advance(40)
    expect(early.log).toEqual(['interrupted'])
    const late = watch([ending])
    late.clock.advance(1000)
    late.controller.abort()
    expect(late.log).toEqual(['interrupted'])
    expect(late.clock.timers).toBe(0)
  })

  test('are not when they are over', () => {
    const early = watch([ending])
    early.stop()
    const late = watch([ending])
    late.clock.advance(1000)
    late.stop()
    for (const { controller, clock, log } of [early, late]) {
      controller.abort()
      clock.advance(1000)
      expect(log).toEqual([])
      expect(clock.timers).toBe(0)
    }
  })
})
