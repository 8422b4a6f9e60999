import { describe, expect, it, vi } from 'vitest'
import { KeepAwake, SpinPolicy } from '../../../src/host/keep-awake.ts'

/** Activities until the policy asks for a decision. */
function untilDecision(policy: SpinPolicy): number {
  let count = 1
  while (!policy.count()) count++
  return count
}

describe('when to spin', () => {
  it('goes on while nobody needs this CPU', () => {
    const policy = new SpinPolicy()
    for (let i = 0; i < 5; i++) {
      const activities = untilDecision(policy)
      policy.decide({ activities, preemptions: 3 })
      expect(policy.spinning).toBe(true)
    }
  })

  it('pauses while every request preempts, looks again after a longer time, and resumes when that has changed', () => {
    const policy = new SpinPolicy()
    const first = untilDecision(policy)
    policy.decide({ activities: first, preemptions: first })
    expect(policy.spinning).toBe(false)
    const pause = untilDecision(policy)
    expect(pause).toBeGreaterThan(first * 4)
    policy.decide({ activities: pause, preemptions: pause })
    expect(policy.spinning).toBe(true)
    policy.decide({ activities: untilDecision(policy), preemptions: 0 })
    expect(policy.spinning).toBe(true)
  })
})

describe('a process', () => {
  it('spins after activity, unless it may run on one CPU only or is told not to', () => {
    const turns = vi.spyOn(globalThis, 'setImmediate')
    try {
      new KeepAwake(200, 1).touch()
      new KeepAwake(0, 2).touch()
      expect(turns).not.toHaveBeenCalled()
      new KeepAwake(200, 2).touch()
      expect(turns).toHaveBeenCalledOnce()
    } finally {
      turns.mockRestore()
    }
  })
})
