// Seeded randomness. The seed is part of a test's name, so that a failure can be run again: PROTEUS_SEED=n.

/** The seed of this run: fixed unless PROTEUS_SEED names another one. */
export function seed(): number {
  const given = process.env.PROTEUS_SEED
  return given === undefined ? 20_240_229 : Number.parseInt(given, 10)
}

/** Numbers from 0 up to 1 (mulberry32: small, fast, good enough to shuffle tests). */
export function random(from: number): () => number {
  let state = from >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
