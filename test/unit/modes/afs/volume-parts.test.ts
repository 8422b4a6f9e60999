// What the work on volumes is made of, each alone: the location database, names, the list of work.
import { expect, test } from 'vitest'
import { readAddress } from '../../../../src/modes/afs/addresses.ts'
import type { VolumeEntry } from '../../../../src/modes/afs/protocol-volumes.ts'
import { Transactions } from '../../../../src/modes/afs/transactions.ts'
import { baseId, Vldb } from '../../../../src/modes/afs/vldb.ts'
import { VolumeList } from '../../../../src/modes/afs/volume-list.ts'
import { changeEntry, localLocation } from '../../../../src/modes/afs/volume-location.ts'
import { baseName, isVolumeName } from '../../../../src/modes/afs/volume-names.ts'
import { random, seed } from '../../../support/random.ts'
import { scratch, turn } from '../../store/volume-fixture.ts'

const A = { id: 'server-a', address: 'a:1' }
const B = { id: 'server-b', address: 'b:1' }
const entryOf = (name: string, id: number, server = A.address): VolumeEntry => ({
  ...{ name, rw: { id, server }, ro: null, backup: null, sites: [], revision: 0 },
})

test('entries are kept by servers, whose addresses may change', () => {
  const path = `${scratch()}/vldb.db`
  let vldb = new Vldb(path)
  expect(() => new Vldb(path)).toThrow('is in use by another process')
  vldb.register(A)
  vldb.register(B)
  const id = vldb.newId()
  const revision = vldb.set({ ...entryOf('v', id), ro: { id: id + 1, servers: ['b:1'] }, sites: ['a:1', 'b:1'] })
  vldb.register({ ...B, address: 'b:2' })
  expect(() => vldb.register({ ...B, address: 'a:1' })).toThrow('another file server')
  vldb.close()
  vldb = new Vldb(path)
  const wanted = { ...entryOf('v', id), ro: { id: id + 1, servers: ['b:2'] }, sites: ['a:1', 'b:2'], revision }
  expect(vldb.byName('v.backup')).toEqual(wanted)
  expect(vldb.newId()).toBe(id + 3)
  expect(vldb.set({ ...wanted, rw: null, ro: null })).toBe(0)
  expect(() => vldb.byId(id + 1)).toThrow('VL_NOENT')
  // One of that name has nothing to do with what was: what was meant for the old entry does not change it.
  const again = vldb.set(entryOf('v', vldb.newId()))
  expect(again).not.toBe(revision)
  vldb.close()
})

test('a database that was lost gets its entries from what servers have', () => {
  const vldb = new Vldb(`${scratch()}/vldb.db`)
  vldb.register(A)
  vldb.adopt({ id: 536_870_915 + 30, name: 'v' }, A.id)
  for (const odd of [
    { id: 536_870_916, name: 'w' },
    { id: 5, name: 'w' },
    { id: 536_870_915, name: 'w.readonly' },
  ]) {
    vldb.adopt(odd, A.id)
  }
  vldb.adopt({ id: 536_870_918, name: 'v' }, A.id)
  expect(vldb.list('', 10).map(({ name, rw }) => [name, rw?.id])).toEqual([['v', 536_870_945]])
  expect(vldb.newId()).toBe(536_870_948)
  vldb.close()
})

test(`of those who change an entry at the same time each sees what the others did (seed ${seed()})`, async () => {
  const rng = random(seed())
  const vldb = new Vldb(`${scratch()}/vldb.db`)
  vldb.register(A)
  const id = vldb.newId()
  vldb.set(entryOf('v', id))
  const local = localLocation(vldb)
  const wait = () => new Promise<void>((resolve) => setTimeout(resolve, rng() * 3))
  const slow = {
    ...local,
    byId: (one: number) => local.byId(one).finally(wait),
    set: async (entry: VolumeEntry) => {
      await wait()
      return local.set(entry)
    },
  }
  const { revision } = vldb.byId(id)
  await Promise.all(Array.from({ length: 8 }, () => changeEntry(slow, id, (entry) => entry)))
  expect(vldb.byId(id).revision).toBe(revision + 8)
  vldb.close()
})

test('names and numbers', () => {
  for (const name of ['v', 'home.alice', 'a-b_c', 'v.readonly.x', '1a']) expect(isVolumeName(name)).toBe(true)
  for (const name of ['', '.readonly', 'v.readonly', 'v.backup', '12', 'ä', 'a b', 'x'.repeat(55)]) {
    expect(isVolumeName(name)).toBe(false)
  }
  expect(['v', 'v.readonly', 'v.backup', 'v.backups'].map(baseName)).toEqual(['v', 'v', 'v', 'v.backups'])
  expect([536_870_912, 536_870_914, 536_870_915, 536_870_917].map(baseId)).toEqual([
    536_870_912, 536_870_912, 536_870_915, 536_870_915,
  ])
  for (const address of ['a:1', '127.0.0.1:65535', '[::1]:7']) expect(readAddress(address)).toBeDefined()
  for (const address of ['a', 'a:', 'a:0', ':1', '::1:7', 'a b:1', 'u@a:1', 'a:123456', 'http://a:1']) {
    expect(readAddress(address)).toBeUndefined()
  }
})

test('a server keeps its name and its list', () => {
  const path = `${scratch()}/volumes.db`
  let list = new VolumeList(path)
  expect(() => new VolumeList(path)).toThrow('is in use')
  const { serverId } = list
  const listed = { id: 7, name: 'v', type: 'RW', doubtful: true, createdMs: 5 } as const
  list.put(listed)
  list.setCell('c')
  list.close()
  list = new VolumeList(path)
  expect([list.serverId, list.cell, list.all()]).toEqual([serverId, 'c', [listed]])
  list.delete(7)
  expect(list.get(7)).toBeUndefined()
  list.close()
})

test('one at a time on a volume; called off until it is decided; the end waits for all', async () => {
  const seen: string[] = []
  const work = new Transactions({ now: () => 5, onStep: (operation, step) => void seen.push(`${operation} ${step}`) })
  const aborting = new AbortController()
  let goOn = () => {}
  const held = new Promise<void>((resolve) => {
    goOn = resolve
  })
  const moving = work.run({ operation: 'move', volume: 'v', server: 'b:1', signal: aborting.signal }, 7, async (it) => {
    await it.step('dump')
    await held
    it.decide()
    await it.step('commit')
    return 'moved'
  })
  expect(() => work.run({ operation: 'backup', volume: 'v' }, 7, async () => {})).toThrow('VBUSY')
  const other = work.run({ operation: 'backup', volume: 'w', signal: aborting.signal }, 8, async (it) => {
    await held
    await it.step('clone')
  })
  expect(work.list()).toMatchObject([
    { operation: 'move', step: 'dump', server: 'b:1' },
    { volume: 'w', step: 'begin' },
  ])
  await turn()
  aborting.abort()
  let isClosed = false
  const closed = work.close().then(() => {
    isClosed = true
  })
  await turn()
  expect(isClosed).toBe(false)
  const failed = expect(other).rejects.toThrow('EINTR')
  goOn()
  expect(await moving).toBe('moved')
  await failed
  await closed
  expect(seen.sort()).toEqual(['backup clone', 'move commit', 'move dump'])
  expect(() => work.run({ operation: 'move', volume: 'x' }, 9, async () => {})).toThrow('the server ends')
})
