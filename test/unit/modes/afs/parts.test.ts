// The small machines of the file server, each alone.
import { expect, test } from 'vitest'
import { BreakBatches } from '../../../../src/modes/afs/break-batches.ts'
import { type LeasedLock, LOCK_LEASE_MS, LockLeases } from '../../../../src/modes/afs/lock-leases.ts'
import { VolumeRegistry } from '../../../../src/modes/afs/volume-registry.ts'
import type { Volume } from '../../../../src/store/volume.ts'
import { settle, TestClock } from '../../rpc/test-clock.ts'

const fid = (vnode: number) => ({ volume: 1, vnode, unique: 1 })

test('breaks of one turn go to each client in one call, up to the limit', async () => {
  const later: (() => void)[] = []
  const sent: [string, number[]][] = []
  const batches = new BreakBatches({
    send: async (client, fids) => {
      sent.push([client, fids.map(({ vnode }) => vnode)])
      if (client === 'gone') throw new Error('gone')
    },
    later: (action) => later.push(action),
    limit: 3,
  })
  const told = [1, 2, 3, 4].map((vnode) => batches.add('a', fid(vnode)))
  const other = batches.add('gone', fid(1))
  for (const action of later.splice(0)) action()
  await Promise.all(told)
  await expect(other).rejects.toThrow('gone')
  expect(sent).toEqual([
    ['a', [1, 2, 3]],
    ['a', [4]],
    ['gone', [1]],
  ])
  const next = batches.add('a', fid(5))
  for (const action of later.splice(0)) action()
  await next
  expect(sent.at(-1)).toEqual(['a', [5]])
})

test('a lock lasts for its lease from when it was last renewed', async () => {
  const clock = new TestClock()
  const expired: LeasedLock[] = []
  const leases = new LockLeases(clock, (lock) => expired.push(lock))
  const lock = { volume: 1, file: 2, client: 'a', owner: 'o' }
  leases.renew(lock)
  leases.renew({ ...lock, owner: 'p' })
  clock.advance(LOCK_LEASE_MS - 1)
  leases.renew(lock)
  clock.advance(1)
  expect(expired).toEqual([{ ...lock, owner: 'p' }])
  expect(leases.has(lock)).toBe(true)
  leases.end(lock)
  clock.advance(LOCK_LEASE_MS)
  await settle()
  expect(expired.length).toBe(1)
  leases.renew(lock)
  leases.close()
  expect([leases.size, clock.timers]).toEqual([0, 0])
})

test('volumes are found by number and name; those that went tell where', () => {
  const registry = new VolumeRegistry()
  const volume = {} as Volume
  const served = { id: 7, name: 'home', type: 'RW', volume } as const
  registry.add(served)
  expect(registry.get(7)).toBe(served)
  expect(registry.named('home')).toBe(served)
  expect(() => registry.add({ ...served, id: 8 })).toThrow(TypeError)
  expect(() => registry.add({ ...served, name: 'other' })).toThrow(TypeError)
  expect(() => registry.named('other')).toThrow('VNOVOL')
  registry.remove(7, 'b:1')
  expect(() => registry.get(7)).toThrow('VMOVED')
  expect(() => registry.named('home')).toThrow('VNOVOL')
  registry.add(served)
  registry.remove(7)
  expect(() => registry.get(7)).toThrow('VNOVOL')
})
