// A real process works on a whole-file cache and is killed with SIGKILL; what it said it had done is there.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { random, seed } from '../../../support/random.ts'
import { filesIn, openCache, read, scratch } from './cache-fixture.ts'

const from = seed()
/** How often; PROTEUS_ROUNDS asks for more. */
const ROUNDS = Number(process.env.PROTEUS_ROUNDS ?? 6)
const LIMITS = { bytes: 4_000_000, files: 40 }
const WORKER = fileURLToPath(new URL('cache-worker.mjs', import.meta.url))

/** Lines that the worker had said when it was killed. */
async function linesUntilKilled(directory: string, round: number, count: number): Promise<string[][]> {
  const child = spawn(process.execPath, [WORKER, directory, String(round)], { stdio: ['ignore', 'pipe', 'inherit'] })
  const lines: string[][] = []
  for await (const line of createInterface({ input: child.stdout })) {
    lines.push(line.split(' '))
    if (lines.length === count) child.kill('SIGKILL')
  }
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
  expect(child.signalCode).toBe('SIGKILL')
  return lines
}

const contentOf = (key: string, version: number) => `${key}@${version} `.repeat(200 + (version % 7) * 3000)

describe(`a process that is killed (PROTEUS_SEED=${from})`, () => {
  it('leaves whole versions, and all changes that it had not stored', async () => {
    const chance = random(from)
    const directory = scratch()
    /** What was last said of each file. */
    const last = new Map<string, string[]>()
    for (let round = 1; round <= ROUNDS; round++) {
      const lines = await linesUntilKilled(directory, round, 20 + Math.floor(chance() * 400))
      const cache = await openCache(directory, { limits: LIMITS })
      for (const { key, state, version } of [...cache.files()]) {
        if (state === 'dirty') continue
        expect((await read(cache, key)) === contentOf(key, version), `round ${round}: ${key}@${version}`).toBe(true)
      }
      const dirty = new Map(cache.dirty().map((file) => [String(file.number), file]))
      for (const [what = '', number = '', version = ''] of lines) {
        if (what !== 'fetched') last.set(number, [what, version])
      }
      let checked = 0
      for (const [number, [what, version]] of last) {
        // Between the announcement and the end of a store or a removal it may be either.
        if (what !== 'dirty' && what !== 'written') continue
        const file = dirty.get(number)
        expect(file?.note, `round ${round}: file ${number}`).toEqual({ version: Number(version) })
        if (what === 'written' && file) {
          const opened = cache.openDirty(file)
          if (opened === 'damaged') throw new Error(`file ${number} is damaged`)
          const content = fs.readFileSync(opened.path, 'utf8')
          expect(content === contentOf(file.key, Number(version)), `round ${round}: file ${number}`).toBe(true)
          opened.release()
        }
        checked++
      }
      if (round > 1) expect(checked).toBeGreaterThan(0)
      for (const [number, [what]] of last) if (what === 'stored') expect(dirty.has(number)).toBe(false)
      expect(filesIn(directory)).toHaveLength([...cache.files()].length)
      await cache.close()
    }
  }, 120_000)
})
