import { describe, expect, it } from 'vitest'
import { AppendDetector, NO_FINDINGS } from '../../../../src/modes/nfs/append-detector.ts'
import type { ChangeAttributes } from '../../../../src/vfs/change-attributes.ts'
import { random, seed } from '../../../support/random.ts'

const RUNS = 3000

interface Range {
  readonly start: number
  readonly end: number
}

/** Who wrote each byte of the file. A byte of a hole belongs to who left it. */
class Server {
  bytes: Client[] = []
  #clock = 0
  readonly #tick: number

  /** Its clock advances once in `tick` changes. */
  constructor(tick: number) {
    this.#tick = tick
  }

  now(): ChangeAttributes {
    const time = { sec: Math.floor(this.#clock / this.#tick), nsec: 0 }
    return { size: this.bytes.length, mtime: time, ctime: time }
  }

  truncate(): void {
    this.#clock++
    this.bytes.length = 0
  }

  write(client: Client, { start, end }: Range) {
    const before = this.now()
    this.#clock++
    for (let at = Math.min(start, before.size); at < end; at++) {
      const owner = this.bytes[at]
      if (at >= start && owner !== undefined && owner !== client) client.overwritten++
      this.bytes[at] = client
    }
    return { start, end, before, after: this.now() }
  }
}

class Client {
  readonly detector = new AppendDetector()
  /** What it really did to others. */
  overwritten = 0
  #size = 0
  readonly #server: Server
  readonly #next: () => number
  #dirty: Range[] = []

  constructor(server: Server, next: () => number) {
    this.#server = server
    this.#next = next
  }

  #pick(limit: number): number {
    return Math.floor(this.#next() * limit)
  }

  get #end(): number {
    return Math.max(this.#size, ...this.#dirty.map(({ end }) => end))
  }

  append(): void {
    const start = this.#end
    const end = start + 1 + this.#pick(6)
    this.#write({ start, end })
    this.detector.appended(start, end)
  }

  /** Somewhere in the file, or behind its end. */
  overwrite(): void {
    const start = this.#pick(this.#end + 3)
    const end = start + 1 + this.#pick(6)
    this.#write({ start, end })
  }

  #write(range: Range): void {
    if (!this.detector.watching) this.detector.begin(this.#size)
    this.#dirty.push(range)
  }

  ask(): void {
    this.#size = this.#server.now().size
  }

  get dirty(): boolean {
    return this.#dirty.length > 0
  }

  /** One WRITE is executed, `anyOrder` or the oldest; it is answered at once. */
  send(anyOrder: boolean): void {
    const [range] = this.#dirty.splice(anyOrder ? this.#pick(this.#dirty.length) : 0, 1)
    if (range === undefined) return
    const answer = this.#server.write(this, range)
    this.#size = answer.after.size
    this.detector.answered(answer)
    if (!this.dirty) this.detector.settled()
  }
}

function play(seed: number, { tick, anyOrder, overwrites, clients: count, truncate }: Play): Client[] {
  const next = random(seed)
  const server = new Server(tick)
  const clients = Array.from({ length: count }, () => new Client(server, next))
  for (let step = 0; step < 40; step++) {
    const client = clients[Math.floor(next() * count)] as Client
    const draw = next()
    if (draw < 0.35) client.append()
    else if (draw < 0.45 && overwrites) client.overwrite()
    else if (draw < 0.55) client.ask()
    else if (draw < 0.58 && truncate) server.truncate()
    else client.send(anyOrder)
  }
  for (const client of clients) while (client.dirty) client.send(anyOrder)
  return clients
}

interface Play {
  readonly tick: number
  readonly anyOrder: boolean
  readonly overwrites: boolean
  readonly clients: number
  readonly truncate: boolean
}

describe(`lost appends (seed ${seed()})`, () => {
  it('are never counted while one client alone writes, in whatever order the server executes it', () => {
    for (let run = 0; run < RUNS; run++) {
      const rules = { tick: 1 + (run % 3) * 50, anyOrder: true, overwrites: true, clients: 1, truncate: false }
      for (const { detector } of play(seed() + run, rules)) {
        expect(detector.findings, `run ${run}`).toEqual(NO_FINDINGS)
      }
    }
  })

  it('are counted byte by byte when clients append', () => {
    let overwritten = 0
    for (let run = 0; run < RUNS; run++) {
      const rules = { tick: 1 + (run % 3) * 50, anyOrder: false, overwrites: false, clients: 2, truncate: false }
      for (const client of play(seed() + run, rules)) {
        const { overwrittenBytes, overwrites, holes, unjudged } = client.detector.findings
        expect({ overwrittenBytes, holes, unjudged }, `run ${run}`).toEqual({
          ...{ overwrittenBytes: client.overwritten, holes: 0, unjudged: 0 },
        })
        expect(overwrites > 0).toBe(overwrittenBytes > 0)
        overwritten += overwrittenBytes
      }
    }
    expect(overwritten).toBeGreaterThan(RUNS)
  })

  it('and holes are counted, too, when somebody truncates', () => {
    let holes = 0
    for (let run = 0; run < RUNS; run++) {
      const rules = { tick: 1, anyOrder: false, overwrites: false, clients: 2, truncate: true }
      for (const client of play(seed() + run, rules)) {
        const { overwrittenBytes, ...found } = client.detector.findings
        expect(overwrittenBytes, `run ${run}`).toBe(client.overwritten)
        holes += found.holes
      }
    }
    expect(holes).toBeGreaterThan(RUNS / 10)
  })

  it('are never exaggerated, in whatever order the server executes them', () => {
    let [counted, real] = [0, 0]
    for (let run = 0; run < RUNS; run++) {
      const rules = { tick: 1, anyOrder: true, overwrites: false, clients: 3, truncate: false }
      for (const { detector, overwritten } of play(seed() + run, rules)) {
        expect(detector.findings.overwrittenBytes, `run ${run}`).toBeLessThanOrEqual(overwritten)
        counted += detector.findings.overwrittenBytes
        real += overwritten
      }
    }
    // The rest are writes of others between ours, below the end of the file.
    expect(counted / real).toBeGreaterThan(0.8)
  })
})

describe('an append', () => {
  const state = (size: number, time = size): ChangeAttributes => ({
    ...{ size, mtime: { sec: time, nsec: 0 }, ctime: { sec: time, nsec: 0 } },
  })
  const appended = (size: number | undefined, ...writes: [start: number, end: number, before?: number][]) => {
    const detector = new AppendDetector()
    detector.begin(size)
    for (const [start, end] of writes) detector.appended(start, end)
    for (const [start, end, before] of writes) {
      const told = before === undefined ? {} : { before: state(before), after: state(Math.max(before, end)) }
      detector.answered({ start, end, ...told })
    }
    return { detector, found: detector.settled() }
  }

  it('that another was faster than overwrites as much as they share', () => {
    const { detector, found } = appended(10, [10, 14, 16])
    expect(found).toEqual({ ...NO_FINDINGS, overwrites: 1, overwrittenBytes: 4 })
    detector.begin(16)
    detector.appended(16, 20)
    detector.answered({ start: 16, end: 20, before: state(17), after: state(20) })
    detector.settled()
    expect(detector.findings).toEqual({ ...NO_FINDINGS, overwrites: 2, overwrittenBytes: 5 })
  })

  it('to a file that another truncated leaves a hole, unless other bytes of ours fill it', () => {
    expect(appended(10, [10, 14, 3]).found).toEqual({ ...NO_FINDINGS, holes: 1, holeBytes: 7 })
    expect(appended(10, [14, 20, 10], [10, 14, 20]).found).toBeUndefined()
  })

  it('of which nobody can tell is unjudged', () => {
    const unjudged = { ...NO_FINDINGS, unjudged: 1 }
    expect(appended(10, [10, 14]).found).toEqual(unjudged)
    expect(appended(undefined, [10, 14, 10]).found).toEqual(unjudged)
    const detector = new AppendDetector()
    detector.begin(0)
    detector.appended(0, 4)
    detector.doubt()
    detector.answered({ start: 0, end: 4, before: state(9), after: state(9, 10) })
    expect(detector.settled()).toEqual(unjudged)
  })

  it('is what counts: other writes may go over anything', () => {
    const detector = new AppendDetector()
    detector.begin(0)
    detector.answered({ start: 0, end: 4, before: state(9), after: state(9, 10) })
    expect(detector.settled()).toBeUndefined()
    detector.doubt()
    expect([detector.settled(), detector.findings]).toEqual([undefined, NO_FINDINGS])
  })

  it('after thousands that do not touch is unjudged, and nothing grows', () => {
    const detector = new AppendDetector()
    detector.begin(0)
    for (let n = 0; n < 5000; n++) detector.appended(2 * n, 2 * n + 1)
    expect(detector.settled()).toEqual({ ...NO_FINDINGS, unjudged: 1 })
  })
})
