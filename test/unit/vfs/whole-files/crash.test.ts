// What kill -9 leaves of the whole-file cache, between any two steps that it takes on the disk.
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import { describe, expect, it } from 'vitest'
import { hostDisk } from '../../../../src/host/disk.ts'
import { FsError } from '../../../../src/posix/errors.ts'
import type { Fetch } from '../../../../src/vfs/whole-files/fetch.ts'
import { OpenFile } from '../../../../src/vfs/whole-files/parts.ts'
import type { WholeFileCache } from '../../../../src/vfs/whole-files/whole-file-cache.ts'
import { random, seed } from '../../../support/random.ts'
import { failSqlite } from '../../store/sqlite-faults.ts'
import { diskWith, fail, filesIn, ManualClock, openCache, read, scratch } from './cache-fixture.ts'

const from = seed()
/** How many seeds; PROTEUS_ROUNDS asks for more. */
const ROUNDS = Number(process.env.PROTEUS_ROUNDS ?? 3)
const KEYS = ['a', 'b', 'c', 'd', 'e', 'f']
const LIMITS = { bytes: 80_000, files: 7 }
const STEPS = 120

const turn = () => new Promise((resolve) => setImmediate(resolve))

/** With the nanoseconds of the times, which tell whether a file was changed. */
function imageOf(directory: string): string {
  const copy = scratch()
  execFileSync('cp', ['-a', `${directory}/.`, copy])
  return copy
}

/** What is known at a moment: the version that each key has, and which files are dirty with which note. */
interface Known {
  readonly versions: ReadonlyMap<string, number | undefined>
  readonly dirty: ReadonlyMap<number, unknown>
}

const knownOf = (cache: WholeFileCache): Known => ({
  versions: new Map(KEYS.map((key) => [key, cache.find(key)?.version])),
  dirty: new Map(cache.dirty().map(({ number, note }) => [number, note])),
})

interface Image {
  readonly directory: string
  readonly at: string
  /** What is on record for certain, and what was known before the step under way: indices of `history`. */
  readonly durable: number
  readonly before: number
  /** No file after a restart may have a number up to this. */
  readonly lastNumber: number
}

class Run {
  readonly images: Image[] = []
  readonly history: Known[]
  /** What each version of each key contains. */
  readonly contents = new Map<string, string>()
  readonly directory: string
  readonly #cache: WholeFileCache
  readonly #chance: () => number
  readonly #clock: ManualClock
  readonly #fetches = new Map<number, Fetch>()
  readonly #open: OpenFile[] = []
  #version = 0
  #durable = 0

  constructor(directory: string, cache: WholeFileCache, chance: () => number, clock: ManualClock) {
    this.directory = directory
    this.#cache = cache
    this.#chance = chance
    this.#clock = clock
    this.history = [knownOf(cache)]
  }

  watch(at: string): void {
    const { directory, history } = this
    const lastNumber = Math.max(0, ...[...this.#cache.files()].map(({ number }) => number))
    this.images.push({
      directory: imageOf(directory),
      at,
      durable: this.#durable,
      before: history.length - 1,
      lastNumber,
    })
  }

  async step(): Promise<void> {
    const steps = [
      this.#begin,
      this.#begin,
      this.#end,
      this.#end,
      this.#openOne,
      this.#release,
      this.#change,
      this.#change,
    ]
    const rare = [this.#discard, this.#forget, this.#flush, this.#wait, this.#pin]
    const step = this.#chance() < 0.75 ? this.#pickOf(steps) : this.#pickOf(rare)
    try {
      await step?.call(this)
    } catch (error) {
      if (!(error instanceof FsError)) throw error
    }
    this.#learn()
  }

  /** One transition is over: its outcome is known. */
  #learn(): void {
    this.history.push(knownOf(this.#cache))
  }

  #pickOf<T>(list: readonly T[]): T | undefined {
    return list[Math.floor(this.#chance() * list.length)]
  }

  #content(key: string, version: number): string {
    const content = `${key}@${version} `.repeat(1 + Math.floor(this.#chance() * 4000))
    this.contents.set(`${key}@${version}`, content)
    return content
  }

  async #begin(): Promise<void> {
    const key = this.#pickOf(KEYS) as string
    const version = ++this.#version
    const content = this.#content(key, version)
    const fetch = this.#cache.fetch(key, { version, length: content.length, status: version })
    this.#fetches.set(version, fetch)
    await fetch.write(Buffer.from(content.slice(0, content.length >> 1)))
  }

  async #end(): Promise<void> {
    const [version, fetch] = this.#pickOf([...this.#fetches]) ?? []
    if (!version || !fetch) return
    this.#fetches.delete(version)
    if (this.#chance() < 0.2) return fetch.abort()
    const content = this.contents.get(`${fetch.file.key}@${version}`) ?? ''
    await fetch.write(Buffer.from(content.slice(content.length >> 1)))
    fetch.commit()
  }

  async #openOne(): Promise<void> {
    const result = await this.#cache.open(this.#pickOf(KEYS) as string)
    expect(result).not.toBe('damaged')
    if (result instanceof OpenFile) this.#open.push(result)
  }

  #release(): void {
    const [file] = this.#open.splice(Math.floor(this.#chance() * this.#open.length), 1)
    file?.release()
  }

  /** Changes an open file, and stores it, or not yet. */
  #change(): void {
    const { file, fd } = this.#pickOf(this.#open) ?? {}
    if (!file || fd === undefined) return
    const cache = this.#cache
    cache.markDirty(file, `note ${this.#version}`)
    this.#learn()
    this.#durable = this.history.length - 1
    if (this.#chance() < 0.2) return void cache.cleanIfUnchanged(file)
    const version = ++this.#version
    const content = this.#content(file.key, version)
    fs.ftruncateSync(fd, 0)
    this.watch('truncated')
    fs.writeSync(fd, content, 0)
    if (this.#chance() < 0.4) return
    const stamp = cache.stampOf(file)
    if (this.#chance() < 0.2) fs.writeSync(fd, 'x', 0)
    cache.stored(file, { version, status: version, stamp })
  }

  #discard(): void {
    const file = this.#pickOf(this.#cache.dirty())
    if (file) this.#cache.discard(file)
  }

  #forget(): void {
    this.#cache.forget(this.#pickOf(KEYS) as string)
  }

  #flush(): void {
    this.#cache.flush()
    this.#durable = this.history.length - 1
  }

  async #wait(): Promise<void> {
    this.#clock.advance(600)
    for (let n = 0; n < 3; n++) await turn()
  }

  #pin(): void {
    this.#cache.pin(this.#pickOf(KEYS) as string, this.#chance() < 0.3)
  }

  /** An image is what was on record at one moment since the last record that was certain, and nothing else. */
  async check({ directory, at, durable, before, lastNumber }: Image): Promise<void> {
    const again = await openCache(directory, { limits: LIMITS })
    const window = this.history.slice(durable, before + 2)
    const [known, next] = [this.history[before], this.history[before + 1]]
    const found = knownOf(again)
    for (const key of KEYS) {
      expect(
        window.map(({ versions }) => versions.get(key)),
        `${key}, ${at}`,
      ).toContain(found.versions.get(key))
      const file = again.find(key)
      if (!file || file.state === 'dirty') continue
      const content = await read(again, key)
      expect(content === this.contents.get(`${key}@${file.version}`), `content of ${key}@${file.version}, ${at}`).toBe(
        true,
      )
      expect(file.status).toBe(file.version)
    }
    for (const [number, note] of known?.dirty ?? []) {
      if (next?.dirty.has(number)) expect([note, next.dirty.get(number)]).toContain(found.dirty.get(number))
    }
    for (const file of again.dirty()) {
      expect(
        window.some(({ dirty }) => dirty.has(file.number)),
        `file ${file.number} is dirty, ${at}`,
      ).toBe(true)
      const opened = again.openDirty(file)
      if (opened === 'damaged') throw new Error(`file ${file.number} is damaged, ${at}`)
      opened.release()
    }
    await again.settled()
    const current = [...again.files()].filter((file) => file.current).map(({ key }) => key)
    expect(new Set(current).size, at).toBe(current.length)
    expect(filesIn(directory).map(Number).sort()).toEqual([...again.files()].map(({ number }) => number).sort())
    for (const { key, pinned } of [...again.files()]) if (pinned) again.pin(key, false)
    for (const file of again.dirty()) again.discard(file)
    expect(again.fetch('new', { version: 1, length: 1 }).file.number).toBeGreaterThan(lastNumber)
    await again.close()
  }
}

/** With `faults`, the host and SQLite fail now and then. */
async function simulate(number: number, faults: boolean): Promise<void> {
  const chance = random(number)
  const directory = scratch()
  const clock = new ManualClock()
  let run: Run | undefined
  const maybeFail = () => {
    if (faults && run && chance() < 0.05) fail(chance() < 0.5 ? 'ENOSPC' : 'EIO')
  }
  const watched =
    <T extends unknown[], R>(name: string, call: (...args: T) => R) =>
    (...args: T): R => {
      if (chance() < 0.15) run?.watch(`before ${name} ${args[0]}`)
      const result = call(...args)
      if (chance() < 0.15) run?.watch(`after ${name} ${args[0]}`)
      return result
    }
  const disk = diskWith({
    open: watched('open', (path: string, flags: number, mode?: number) => {
      if ((flags & fs.constants.O_EXCL) !== 0) maybeFail()
      return hostDisk.open(path, flags, mode)
    }),
    write: watched('write', (fd: number, data: Uint8Array, at: number) => {
      maybeFail()
      return hostDisk.write(fd, chance() < 0.2 ? data.subarray(0, data.length >> 1 || 1) : data, at)
    }),
    utimens: watched('utimens', (...parameters: Parameters<typeof hostDisk.utimens>) => {
      maybeFail()
      hostDisk.utimens(...parameters)
    }),
    unlink: watched('unlink', hostDisk.unlink),
    sync: async () => {},
  })
  const onBackgroundError = (error: Error) => {
    if (!faults) throw error
  }
  const cache = await openCache(directory, { disk, clock, limits: LIMITS, idleDescriptors: 2, onBackgroundError })
  const restore = failSqlite(
    () => faults && run !== undefined && chance() < 0.05,
    () => chance() < 0.5,
  )
  try {
    run = new Run(directory, cache, chance, clock)
    for (let n = 0; n < STEPS; n++) {
      await run.step()
      if (chance() < 0.15) run.watch('between steps')
      if (chance() < 0.2) await turn()
    }
  } finally {
    restore()
  }
  // What comes after the last step is not known any more.
  const { images } = run
  const last = run
  run = undefined
  await cache.close()
  expect(images.length).toBeGreaterThan(10)
  for (const image of images) await last.check(image)
}

const seeds = Array.from({ length: ROUNDS }, (_, n) => from + n)

describe(`kill -9 of a whole-file cache (PROTEUS_SEED=${from})`, () => {
  it.each(seeds)(
    'leaves an old or a new version, whole, and all unstored changes, seed %i',
    (number) => simulate(number, false),
    240_000,
  )

  it.each(seeds)('does so where the host fails now and then, seed %i', (number) => simulate(number, true), 240_000)
})
