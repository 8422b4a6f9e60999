import { expect, test } from 'vitest'
import { promiseLifeMs } from '../../../../src/modes/afs/promise-life.ts'

const HOUR_MS = 3_600_000

test('the more hold a promise, the shorter it lasts: 4 hours for one, 10 minutes for many', () => {
  expect(promiseLifeMs(1)).toBe(4 * HOUR_MS)
  expect(promiseLifeMs(1000)).toBe(HOUR_MS / 6)
  for (let holders = 1; holders < 100; holders++) {
    expect(promiseLifeMs(holders + 1)).toBeLessThanOrEqual(promiseLifeMs(holders))
  }
})

test('two hours where nothing changes', () => {
  for (const holders of [1, 1000]) {
    expect(promiseLifeMs(holders, 'RO')).toBe(2 * HOUR_MS)
    expect(promiseLifeMs(holders, 'BK')).toBe(2 * HOUR_MS)
  }
})
