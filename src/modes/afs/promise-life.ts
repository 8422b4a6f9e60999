// How long a callback promise lasts: the more clients hold one of a file, the shorter, so that telling them all stays
// cheap. OpenAFS viced/callback.c, TimeOuts.

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS

/** By the holders that there are with the new one: up to so many, so long. */
const LIVES: readonly (readonly [holders: number, ms: number])[] = [
  [1, 4 * HOUR_MS],
  [3, HOUR_MS],
  [7, 30 * MINUTE_MS],
  [31, 15 * MINUTE_MS],
]
const SHORTEST_MS = 10 * MINUTE_MS
/** Nothing changes there but by a release, which tells everybody. */
const READ_ONLY_MS = 2 * HOUR_MS

/** In milliseconds. `holders`: the new one included. */
export function promiseLifeMs(holders: number, type: 'RW' | 'RO' | 'BK' = 'RW'): number {
  if (type !== 'RW') return READ_ONLY_MS
  return LIVES.find(([most]) => holders <= most)?.[1] ?? SHORTEST_MS
}
