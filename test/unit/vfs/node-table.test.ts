import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { NodeTable } from '../../../src/vfs/node-table.ts'

describe('node table', () => {
  it('says when a node becomes known, and when it is forgotten', () => {
    const table = new NodeTable()
    expect(table.lookedUp(5, 1)).toBe(true)
    expect(table.lookedUp(5, 1)).toBe(false)
    expect(table.forget(5, 1)).toBe(false)
    expect(table.has(5)).toBe(true)
    expect(table.forget(5, 1)).toBe(true)
    expect(table.has(5)).toBe(false)
    expect(table.lookedUp(5, 2)).toBe(true)
  })

  it('refuses a node id that means another generation while it is known', () => {
    const table = new NodeTable()
    table.lookedUp(5, 1)
    expect(() => table.lookedUp(5, 2)).toThrow('generation')
    expect(table.forget(5, 1)).toBe(true)
  })

  it('bears to be told to forget more than it knows', () => {
    const table = new NodeTable()
    expect(table.forget(5, 1)).toBe(false)
    table.lookedUp(5, 1)
    expect(table.forget(5, 7)).toBe(true)
    expect(table.lookedUp(5, 1)).toBe(true)
  })

  it('counts as a multiset does', () => {
    const step = fc.record({ node: fc.integer({ min: 1, max: 4 }), forget: fc.integer({ min: 0, max: 3 }) })
    fc.assert(
      fc.property(fc.array(step), (steps) => {
        const table = new NodeTable()
        const model = new Map<number, number>()
        for (const { node, forget } of steps) {
          const before = model.get(node) ?? 0
          if (forget === 0) {
            expect(table.lookedUp(node, 1)).toBe(before === 0)
            model.set(node, before + 1)
          } else {
            const after = Math.max(0, before - forget)
            expect(table.forget(node, forget)).toBe(before > 0 && after === 0)
            model.set(node, after)
          }
        }
        const known = [...model].filter(([, count]) => count > 0)
        expect(table.size).toBe(known.length)
        expect(table.clear().sort()).toEqual(known.map(([node]) => node).sort())
      }),
    )
  })
})
