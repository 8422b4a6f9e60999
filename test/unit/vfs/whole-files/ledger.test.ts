// The decisions of the cache, without a disk: what holds after any sequence of events.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { FsError } from '../../../../src/posix/errors.ts'
import { type FileRecord, newFile, type Stamp } from '../../../../src/vfs/whole-files/files.ts'
import { isKept, Ledger, type Stored } from '../../../../src/vfs/whole-files/ledger.ts'

const LIMITS = { bytes: 100, files: 4 }
const stamp: Stamp = { size: 0, mtimeSec: 0, mtimeNsec: 0 }

type Event =
  | { readonly event: 'begin'; readonly key: string; readonly version: number; readonly bytes: number }
  | {
      readonly event: 'arrived' | 'abandon' | 'retain' | 'release' | 'dirty' | 'undirty' | 'forget' | 'discard'
      readonly pick: number
    }
  | ({ readonly event: 'stored'; readonly pick: number } & Pick<Stored, 'version' | 'changedSince' | 'stillWritten'>)
  | { readonly event: 'measure' | 'grow'; readonly pick: number; readonly bytes: number }
  | { readonly event: 'pin'; readonly pick: number; readonly pinned: boolean }

const pick = fc.nat(1000)
const version = fc.integer({ min: 1, max: 5 })
const bytes = fc.integer({ min: 0, max: 60 })
const simple = fc.constantFrom('arrived', 'retain', 'release', 'abandon', 'dirty', 'undirty', 'forget', 'discard')
const events: fc.Arbitrary<Event> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      event: fc.constant('begin' as const),
      key: fc.constantFrom('a', 'b', 'c', 'd'),
      version,
      bytes,
    }),
  },
  { weight: 8, arbitrary: fc.record({ event: simple, pick }) },
  {
    weight: 1,
    arbitrary: fc.record({
      event: fc.constant('stored' as const),
      pick,
      version,
      changedSince: fc.boolean(),
      stillWritten: fc.boolean(),
    }),
  },
  { weight: 1, arbitrary: fc.record({ event: fc.constantFrom('measure' as const, 'grow' as const), pick, bytes }) },
  { weight: 1, arbitrary: fc.record({ event: fc.constant('pin' as const), pick, pinned: fc.boolean() }) },
)

/** Which events a file in which state can have. */
const POSSIBLE: Record<string, (file: FileRecord) => boolean> = {
  arrived: ({ state }) => state === 'fetching',
  abandon: ({ state }) => state === 'fetching',
  release: ({ opens }) => opens > 0,
  dirty: ({ state, opens }) => (state === 'whole' || state === 'dirty') && opens > 0,
  undirty: ({ state }) => state === 'dirty',
  stored: ({ state }) => state === 'dirty',
  forget: ({ state, current }) => current && state === 'whole',
  discard: ({ state }) => state === 'dirty',
  grow: ({ opens }) => opens > 0,
  pin: ({ current }) => current,
}

class Run {
  readonly ledger = new Ledger(LIMITS)
  readonly gone = new Set<FileRecord>()
  #number = 0
  #now = 0

  step(event: Event): void {
    const { ledger } = this
    const before = { files: [...ledger.files()], usage: ledger.usage }
    const idle = before.files.filter(isIdle)
    let gone: readonly FileRecord[]
    try {
      gone = this.#apply(event, before.files)
    } catch (error) {
      if (!(error instanceof FsError) || error.code !== 'ENOSPC') throw error
      // There was no room even without all that can be evicted, and nothing was.
      const wanted = event.event === 'begin' ? event.bytes : 0
      const held = {
        bytes: before.usage.bytes - before.usage.idleBytes,
        files: before.usage.files - before.usage.idleFiles,
      }
      if (event.event === 'begin')
        expect(held.bytes + wanted > LIMITS.bytes || held.files + 1 > LIMITS.files).toBe(true)
      expect([...ledger.files()]).toEqual(before.files)
      this.#check()
      return
    }
    for (const file of gone) {
      expect(this.gone.has(file)).toBe(false)
      this.gone.add(file)
    }
    if (event.event === 'begin' || event.event === 'grow') {
      const left = idle.filter((file) => !gone.includes(file))
      for (const file of gone) expect(idle).toContain(file)
      for (const file of left) for (const evicted of gone) expect(evicted.lastUseMs).toBeLessThanOrEqual(file.lastUseMs)
      if (event.event === 'begin') {
        expect(ledger.usage.files).toBeLessThanOrEqual(LIMITS.files)
        expect(ledger.usage.bytes).toBeLessThanOrEqual(LIMITS.bytes)
      }
    } else {
      // Only making room takes away what opens could still get.
      for (const file of gone) expect(file.current).toBe(false)
    }
    this.#check()
  }

  #apply(event: Event, files: readonly FileRecord[]): readonly FileRecord[] {
    const { ledger } = this
    if (event.event === 'begin') {
      const file = newFile({ number: ++this.#number, key: event.key, version: event.version })
      return ledger.begin(file, event.bytes)
    }
    const candidates = files.filter(POSSIBLE[event.event] ?? (() => true))
    const file = candidates[event.pick % candidates.length]
    if (!file) return []
    switch (event.event) {
      case 'arrived':
        return ledger.arrived(file, stamp, 0)
      case 'abandon':
        return ledger.abandon(file)
      case 'retain':
        ledger.retain(file)
        return []
      case 'release':
        return ledger.release(file, ++this.#now)
      case 'dirty':
        ledger.dirty(file, null)
        return []
      case 'undirty':
        return ledger.undirty(file)
      case 'stored': {
        const { version, changedSince, stillWritten } = event
        const gone = ledger.stored(file, { version, status: null, stamp, checksum: 0, changedSince, stillWritten })
        expect(file.state).toBe(changedSince || stillWritten ? 'dirty' : 'whole')
        return gone
      }
      case 'forget':
        return ledger.forget(file)
      case 'discard':
        return ledger.discard(file)
      case 'measure':
        ledger.measure(file, event.bytes)
        return []
      case 'grow':
        return ledger.grow(file, event.bytes)
      case 'pin':
        ledger.pin(file, event.pinned)
        return []
    }
  }

  #check(): void {
    const { ledger, gone } = this
    const files = [...ledger.files()]
    const sum = (some: readonly FileRecord[]) => some.reduce((total, { allocatedBytes }) => total + allocatedBytes, 0)
    const idle = files.filter(isIdle)
    expect(ledger.usage).toEqual({
      bytes: sum(files),
      files: files.length,
      idleBytes: sum(idle),
      idleFiles: idle.length,
    })
    for (const file of files) {
      expect(gone.has(file)).toBe(false)
      expect(file.current || file.opens > 0 || file.state === 'fetching' || file.state === 'dirty').toBe(true)
      expect(ledger.current(file.key) === file).toBe(file.current)
    }
    for (const file of gone) {
      expect(file.opens).toBe(0)
      expect(file.state).not.toBe('dirty')
      expect(ledger.current(file.key)).not.toBe(file)
    }
  }
}

const isIdle = ({ state, current, opens, pinned }: FileRecord) => state === 'whole' && current && opens === 0 && !pinned

describe('the ledger', () => {
  it('keeps what is open, dirty or current, counts it, and evicts the least recently used only when that helps', () => {
    fc.assert(
      fc.property(fc.array(events, { maxLength: 120 }), (list) => {
        const run = new Run()
        for (const event of list) run.step(event)
        // What a restart finds behaves alike.
        const kept = [...run.ledger.files()].filter(isKept).map((file) => ({ ...file, opens: 0 }))
        const again = new Ledger(LIMITS, kept)
        expect([...again.files()]).toEqual(kept)
        expect(again.usage.bytes).toBe(kept.reduce((total, { allocatedBytes }) => total + allocatedBytes, 0))
      }),
      { numRuns: 1500 },
    )
  })

  it('lets what is pinned stay, and its next versions', () => {
    const ledger = new Ledger({ bytes: 10, files: 9 })
    const fetched = (number: number, key: string, bytes: number) => {
      const file = newFile({ number, key, version: number })
      const evicted = ledger.begin(file, bytes)
      return { file, gone: [...evicted, ...ledger.arrived(file, stamp, 0)] }
    }
    const first = fetched(1, 'pinned', 4)
    ledger.pin(first.file, true)
    const second = fetched(2, 'other', 6)
    expect(() => fetched(3, 'pinned', 7)).toThrow('no room for 7 bytes in the cache: 4 of 10 bytes, 1 of 9 files')
    expect(fetched(4, 'pinned', 5).gone).toEqual([second.file, first.file])
    expect(ledger.current('pinned')).toMatchObject({ number: 4, pinned: true })
    expect(() => fetched(5, 'other', 6)).toThrow(FsError)
  })
})
