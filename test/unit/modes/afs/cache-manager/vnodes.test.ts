// How many vnodes are kept, and which of them go.
import { expect, test } from 'vitest'
import type { ClientVolume } from '../../../../../src/modes/afs/cache-manager/cells.ts'
import { Promises } from '../../../../../src/modes/afs/cache-manager/promises.ts'
import { Nodes, Vnodes } from '../../../../../src/modes/afs/cache-manager/vnodes.ts'

const volume = { cell: { name: 'c' }, id: 1 } as ClientVolume

function table(limit: number) {
  const promises = new Promises(() => 0)
  const evicted: number[] = []
  const vnodes = new Vnodes({ limit, promises, onEvict: ({ fid }) => evicted.push(fid.vnode) })
  const add = (vnode: number) => vnodes.add(volume, { volume: 1, vnode, unique: 1 }, promises.create(`c/1.${vnode}.1`))
  const call = () => promises.answered(promises.asked())
  return { promises, evicted, vnodes, add, call }
}

test('those that nobody used go, later', () => {
  const { vnodes, add, call, evicted } = table(3)
  for (let n = 1; n <= 4; n++) {
    add(n)
    call()
  }
  expect(vnodes.size).toBe(4)
  vnodes.evict()
  expect(evicted).toEqual([1])
  vnodes.find('c/1.2.1')
  add(5)
  call()
  vnodes.evict()
  expect(evicted).toEqual([1, 3])
})

test('those that the kernel knows, that are changed, or that a call under way may be about, stay', () => {
  const { promises, vnodes, add, call, evicted } = table(0)
  new Nodes(() => {}).present(add(1))
  promises.changing(add(2).promise)
  call()
  add(3)
  call()
  add(4)
  const asked = promises.asked()
  add(5)
  for (let again = 0; again < 3; again++) vnodes.evict()
  expect(evicted).toEqual([3])
  promises.answered(asked)
  vnodes.evict()
  expect(evicted).toEqual([3, 4, 5])
  expect(vnodes.size).toBe(2)
})
