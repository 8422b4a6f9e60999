import { expect, test } from 'vitest'
import { type NfsNode, NfsNodes } from '../../../../src/modes/nfs/nodes.ts'

const handle = (n: number): Buffer => Buffer.from([n, 255, 0])

test('a handle is one node as long as the kernel knows it, and an id never comes again', () => {
  const gone: NfsNode[] = []
  const nodes = new NfsNodes(handle(0), (node) => gone.push(node))
  const node = nodes.lookedUp(handle(1))
  expect(nodes.lookedUp(handle(1))).toBe(node)
  nodes.forget(node.id, 1)
  expect(nodes.get(node.id)).toBe(node)
  nodes.forget(node.id, 1)
  expect(gone).toEqual([node])
  expect(() => nodes.get(node.id)).toThrow('ESTALE')
  expect(nodes.lookedUp(handle(1)).id).not.toBe(node.id)
  expect(nodes.size).toBe(2)
})

test('the root stays', () => {
  const nodes = new NfsNodes(handle(0), () => {})
  expect(nodes.lookedUp(handle(0))).toBe(nodes.root)
  nodes.forget(1, 1)
  expect(nodes.get(1)).toBe(nodes.root)
})

test('handles are copied: what a message held may change', () => {
  const nodes = new NfsNodes(handle(0), () => {})
  const bytes = handle(1)
  const node = nodes.lookedUp(bytes)
  bytes.fill(9)
  expect(node.handle).toEqual(handle(1))
  expect(nodes.known(handle(1))).toBe(node)
})

test('a stale node that the server gives out again is none any more', () => {
  const nodes = new NfsNodes(handle(0), () => {})
  const node = nodes.lookedUp(handle(1))
  node.stale = true
  expect(nodes.lookedUp(handle(1)).stale).toBe(false)
})

test('a node with locks stays when the kernel has forgotten it', () => {
  const gone: NfsNode[] = []
  const nodes = new NfsNodes(handle(0), (node) => gone.push(node))
  const node = nodes.lookedUp(handle(1))
  node.locked = true
  nodes.forget(node.id, 1)
  expect(nodes.known(handle(1))).toBe(node)
  node.locked = false
  nodes.collect(node)
  expect(gone).toEqual([node])
})
