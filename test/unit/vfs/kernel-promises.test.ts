import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { KernelAbilities, KernelCache } from '../../../src/vfs/filesystem.ts'
import { KernelPromises } from '../../../src/vfs/kernel-promises.ts'

const ALL: KernelAbilities = { passthrough: true, invalidation: true, nameEpochs: true, locks: true }
const FOREVER = Number.POSITIVE_INFINITY

function kernel(can: Partial<KernelAbilities> = {}, known = () => true) {
  const told: string[] = []
  const cache: KernelCache = {
    can: { ...ALL, ...can },
    invalidateAttributes(node) {
      told.push(`attributes ${node}`)
      return known()
    },
    invalidateAllNames: () => told.push('names') > 0,
    invalidateData: async () => undefined,
    expireName: async () => undefined,
    deleted: async () => undefined,
    store: async () => false,
    invalidateName: async () => undefined,
  }
  return { told, promises: new KernelPromises(cache) }
}

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

describe('promises to the kernel', () => {
  it('are broken once, and only where they were given', () => {
    const { told, promises } = kernel()
    expect(promises.promiseName(1)).toBe(FOREVER)
    expect(promises.promiseAttributes(5)).toBe(FOREVER)
    promises.breakNames(2)
    promises.breakAttributes(6)
    expect(told).toEqual([])
    for (let i = 0; i < 2; i++) {
      promises.breakNames(1)
      promises.breakAttributes(5)
    }
    expect(told).toEqual(['names', 'attributes 5'])
  })

  it('breaking the names of one directory breaks all: none is owed any more', () => {
    const { told, promises } = kernel()
    promises.promiseName(1)
    promises.promiseName(2)
    promises.breakNames(1)
    promises.breakNames(2)
    expect(told).toEqual(['names'])
  })

  it('are not given to a kernel that cannot be told', () => {
    const { promises } = kernel({ nameEpochs: false, invalidation: false })
    expect([promises.promiseName(1), promises.promiseAttributes(5)]).toEqual([0, 0])
  })

  it('an invalidation that meets no node is repeated: the reply that brings the node may be on its way', () => {
    const { told, promises } = kernel({}, () => false)
    promises.promiseAttributes(5)
    promises.breakAttributes(5)
    vi.runAllTimers()
    expect(told).toEqual(['attributes 5', 'attributes 5'])
  })

  it('nothing is owed for a node that the kernel forgot', () => {
    const { told, promises } = kernel()
    promises.promiseAttributes(5)
    promises.promiseName(5)
    promises.forget(5)
    promises.breakAttributes(5)
    promises.breakNames(5)
    expect(told).toEqual([])
  })
})
