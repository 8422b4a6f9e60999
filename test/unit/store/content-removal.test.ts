import { describe, expect, it } from 'vitest'
import { ContentRemoval, type ContentRemovalOptions } from '../../../src/store/content-removal.ts'
import { ManualClock } from './volume-fixture.ts'

const DELAY = 250
const PATIENCE = 1000

function removal(options: Partial<ContentRemovalOptions> = {}) {
  const clock = new ManualClock()
  const log: string[] = []
  const volume = { operations: 0 }
  const removal = new ContentRemoval({
    clock,
    delayMs: DELAY,
    patienceMs: PATIENCE,
    operations: () => volume.operations,
    sync: async () => void log.push('sync'),
    remove: (content) => void log.push(`remove ${content}`),
    removed: async () => {},
    prepare: () => false,
    removeLater: async (content) => void log.push(`later ${content}`),
    onBackgroundError: (error) => void log.push(error.message),
    ...options,
  })
  const advance = async (ms: number) => {
    for (let at = 0; at < ms; at += 10) {
      clock.advance(10)
      for (let turn = 0; turn < 8; turn++) await null
    }
  }
  return { removal, log, volume, advance }
}

describe('content of deleted files', () => {
  it('goes after a sync, that of many files after one', async () => {
    const { removal: it, log, advance } = removal()
    for (const content of [1, 2, 3]) it.add(content, 10)
    it.add(4, 1 << 30)
    expect(log).toEqual([])
    await advance(DELAY + 20)
    expect(log).toEqual(['sync', 'later 4', 'remove 1', 'remove 2', 'remove 3'])
  })

  it('waits while the volume is busy, but not for ever', async () => {
    const { removal: it, log, volume, advance } = removal()
    it.add(1, 10)
    const busy = async (ms: number) => {
      for (let at = 0; at < ms; at += 10) {
        volume.operations++
        await advance(10)
      }
    }
    await busy(DELAY + PATIENCE / 2)
    expect(log).toEqual(['sync'])
    await busy(PATIENCE)
    expect(log).toEqual(['sync', 'remove 1'])
    it.add(2, 10)
    await busy(DELAY + 100)
    expect(log).toEqual(['sync', 'remove 1', 'sync'])
    await advance(50)
    expect(log.at(-1)).toBe('remove 2')
  })

  it('does not wait when it holds much', async () => {
    const { removal: it, log, volume, advance } = removal()
    for (let content = 0; content < 20; content++) it.add(content, 4 << 20)
    volume.operations++
    await advance(DELAY + 20)
    expect(log.length).toBe(21)
  })

  it('goes at once when asked to', async () => {
    const { removal: it, log } = removal()
    for (let content = 0; content < 1000; content++) it.add(content, 10)
    await it.drain()
    expect(log.length).toBe(1001)
    await it.drain()
    expect(log.length).toBe(1001)
  })

  it('is spare when all of it is gone, not before', async () => {
    const log: string[] = []
    const { removal: it, advance } = removal({
      remove: () => void log.push('remove'),
      removed: async () => void log.push('spare'),
    })
    for (let content = 0; content < 200; content++) it.add(content, 10)
    await advance(DELAY + 100)
    expect(log.lastIndexOf('remove')).toBe(199)
    expect(log.slice(200)).toEqual(['spare'])
  })

  it('stays when the journal cannot be synced', async () => {
    const { removal: it, log } = removal({ sync: () => Promise.reject(new Error('EIO')) })
    it.add(1, 10)
    await it.drain()
    expect(log).toEqual(['the content of deleted files stays'])
    expect(it.failed).toBe(true)
  })
})
