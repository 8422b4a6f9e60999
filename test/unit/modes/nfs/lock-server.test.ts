import fs from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { NLM4_STATS } from '../../../../src/modes/nfs/nlm-types.ts'
import { NSM } from '../../../../src/modes/nfs/nsm.ts'
import { settle } from '../../rpc/test-clock.ts'
import { COOKIE, openLocks } from './lock-server-world.ts'
import { root } from './nfs-world.ts'

const { NLM4_GRANTED, NLM4_DENIED } = NLM4_STATS

describe('the lock server', () => {
  it('locks, denies, tells who holds, unlocks', async () => {
    const { client, other } = await openLocks()
    const [a, b] = [client('a'), client('b')]
    expect(await a.lock(1, { offset: 10n, length: 5n })).toBe('GRANTED')
    expect(await b.lock(1, { offset: 14n, length: 1n })).toBe('DENIED')
    expect(await b.lock(1, { offset: 15n, length: 1n })).toBe('GRANTED')
    expect(await b.lock(1, {}, other)).toBe('GRANTED')
    expect(await b.test(9)).toEqual({
      stat: 'DENIED',
      exclusive: true,
      svid: 1,
      oh: Buffer.from('oh1'),
      offset: 10n,
      length: 5n,
    })
    expect(await a.test(1, { length: 15n })).toEqual({ stat: 'GRANTED' })
    // Another owner of the same client is another owner; so is the same number with another handle.
    expect(await a.lock(2, { offset: 10n, length: 1n })).toBe('DENIED')
    expect(await a.lock(1, { offset: 10n, length: 1n, oh: Buffer.from('x') })).toBe('DENIED')
    // From the middle.
    expect(await a.unlock(1, { offset: 12n, length: 1n })).toBe('GRANTED')
    expect(await b.lock(1, { offset: 12n, length: 1n })).toBe('GRANTED')
    expect(await b.lock(1, { offset: 11n, length: 1n })).toBe('DENIED')
    expect(await a.unlock(77)).toBe('GRANTED')
    expect(await client('never seen').unlock(1)).toBe('GRANTED')
  })

  it('shares what is shared', async () => {
    const { client } = await openLocks()
    const [a, b] = [client('a'), client('b')]
    expect([await a.lock(1, { shared: true }), await b.lock(1, { shared: true })]).toEqual(['GRANTED', 'GRANTED'])
    expect([await a.lock(1), await b.unlock(1), await a.lock(1)]).toEqual(['DENIED', 'GRANTED', 'GRANTED'])
    expect(await b.lock(1, { shared: true })).toBe('DENIED')
  })

  it('has ranges of 64 bits: ends beyond what the table counts are the end, beginnings are too big', async () => {
    const { client } = await openLocks()
    const [a, b] = [client('a'), client('b')]
    expect(await a.lock(1, { offset: 1n, length: 2n ** 64n - 1n })).toBe('GRANTED')
    expect(await b.test(1, { offset: 2n ** 53n - 1n, length: 1n })).toMatchObject({ offset: 1n, length: 0n })
    expect(await b.lock(1, { length: 1n })).toBe('GRANTED')
    for (const offset of [2n ** 53n, 2n ** 63n, 2n ** 64n - 1n]) {
      expect([offset, await b.lock(2, { offset, length: 1n })]).toEqual([offset, 'FBIG'])
      expect((await b.test(2, { offset })).stat).toBe('FBIG')
      expect([await b.unlock(2, { offset }), await b.cancel(2, { offset })]).toEqual(['FBIG', 'FBIG'])
    }
  })

  it('takes no handle that it did not give out, none of another export, nothing exclusive where nothing is written', async () => {
    const exports = [
      { path: '/export', directory: '/', squash: 'none' },
      { path: '/ro', directory: '/', readOnly: true },
      { path: '/far', directory: '/', clients: ['10.0.0.0/8'] },
    ] as const
    const { client, world, file, top } = await openLocks({}, exports)
    const a = client('a')
    const forged = Buffer.from(file)
    forged[30] = (forged[30] ?? 0) ^ 1
    for (const bad of [forged, Buffer.alloc(0), Buffer.alloc(1024)]) {
      expect(await a.lock(1, {}, bad)).toBe('STALE_FH')
      expect([await a.unlock(1, {}, bad), (await a.test(1, {}, bad)).stat]).toEqual(['STALE_FH', 'STALE_FH'])
    }
    const ro = await world.find(await world.mount('/ro'), 'file')
    expect([await a.lock(1, {}, ro), await a.lock(1, { shared: true }, ro)]).toEqual(['ROFS', 'GRANTED'])
    expect(await client('b').lock(1)).toBe('DENIED')
    const far = await world.find(await world.mount('/far', { address: '10.1.1.1' }), 'file', { address: '10.1.1.1' })
    expect([await a.lock(2, {}, far), (await a.test(2, {}, far)).stat]).toEqual(['FAILED', 'FAILED'])
    // What is locked of a file that is gone can be unlocked.
    await world.nfs('REMOVE', { object: { dir: top, name: 'file' } })
    expect([await a.lock(3), await a.unlock(1)]).toEqual(['STALE_FH', 'GRANTED'])
    expect(world.volume.locks.table.lockedFiles()).toEqual([])
  })

  it('nobody unlocks for a client from another address', async () => {
    const exports = [{ path: '/export', directory: '/', squash: 'none', clients: ['127.0.0.0/8'] }] as const
    const { client } = await openLocks({}, exports)
    const a = client('a')
    const same = client('a', '127.0.0.2')
    expect([await a.lock(1), await same.unlock(1), await same.lock(1)]).toEqual(['GRANTED', 'GRANTED', 'DENIED'])
    await same.call('FREE_ALL', { name: 'a', state: 0 })
    expect(await same.lock(1)).toBe('DENIED')
  })

  it('finds a cycle of waiters across clients', async () => {
    const { client, other } = await openLocks()
    const [a, b] = [client('a'), client('b')]
    await a.lock(1)
    await b.lock(1, {}, other)
    expect(await a.wait(1, {}, other)).toBe('BLOCKED')
    expect(await b.wait(1)).toBe('DEADLCK')
  })
})

describe('a LOCK that waits', () => {
  it('is granted by a call over the connection of the client, once', async () => {
    const { client, clock } = await openLocks()
    const [a, b] = [client('a'), client('b')]
    await b.connect()
    await a.lock(1)
    expect(await b.wait(2, { offset: 3n, length: 4n })).toBe('BLOCKED')
    // Repeated: it waits only once.
    expect(await b.wait(2, { offset: 3n, length: 4n })).toBe('BLOCKED')
    expect(b.granted).toEqual([])
    await a.unlock(1)
    const lock = b.lockArgs(2, { offset: 3n, length: 4n })
    expect(b.granted).toMatchObject([{ exclusive: true, lock }])
    await clock.pass(600_000, 10_000)
    expect(b.granted.length).toBe(1)
    expect((await a.test(1)).stat).toBe('DENIED')
    expect(await b.unlock(2)).toBe('GRANTED')
    expect((await a.test(1)).stat).toBe('GRANTED')
  })

  it('is released again when the client does not want it', async () => {
    const { client } = await openLocks()
    const [a, b, c] = [client('a'), client('b'), client('c')]
    b.answer = NLM4_DENIED
    await b.connect()
    await c.connect()
    await a.lock(1)
    await b.wait(1)
    await c.wait(1)
    await a.unlock(1)
    await settle()
    expect([b.granted.length, c.granted.length]).toEqual([1, 1])
    expect((await a.test(9)).stat).toBe('DENIED')
    await c.unlock(1)
    expect((await a.test(9)).stat).toBe('GRANTED')
  })

  it('is told again until it is answered, and of those who asked meanwhile no more', async () => {
    const { client, clock } = await openLocks({ callMs: 1000, retryMs: 2000 })
    const [a, b] = [client('a'), client('b')]
    b.answer = undefined
    await b.connect()
    await a.lock(1)
    await b.wait(1)
    await a.unlock(1)
    await clock.pass(10_000, 500)
    const calls = b.granted.length
    expect(calls).toBeGreaterThan(2)
    // It asks again, and hears so.
    expect(await b.wait(1)).toBe('GRANTED')
    await clock.pass(300_000, 1000)
    expect(b.granted.length).toBe(calls)
    expect((await a.test(1)).stat).toBe('DENIED')
  })

  it('is released when the client is not reached for long', async () => {
    const { client, clock } = await openLocks({ callMs: 1000, retryMs: 2000, patienceMs: 20_000 })
    const [a, b] = [client('a'), client('b')]
    b.answer = undefined
    await b.connect()
    await a.lock(1)
    await b.wait(1)
    await a.unlock(1)
    await clock.pass(15_000, 500)
    expect((await a.test(1)).stat).toBe('DENIED')
    await clock.pass(10_000, 500)
    expect((await a.test(1)).stat).toBe('GRANTED')
  })

  it('is told at once when the client comes back', async () => {
    const { client, clock } = await openLocks()
    const [a, b] = [client('a'), client('b')]
    await b.connect()
    await a.lock(1)
    await b.wait(1)
    b.disconnect()
    await a.unlock(1)
    await clock.pass(1000)
    expect(b.granted).toEqual([])
    expect(await b.connect()).toBe(true)
    expect(b.granted.length).toBe(1)
  })

  it('can be cancelled, once', async () => {
    const { client } = await openLocks()
    const [a, b] = [client('a'), client('b')]
    await b.connect()
    await a.lock(1)
    await b.wait(1)
    expect([await b.cancel(2), await b.cancel(1, { shared: true })]).toEqual(['DENIED', 'DENIED'])
    expect([await b.cancel(1), await b.cancel(1)]).toEqual(['GRANTED', 'DENIED'])
    await a.unlock(1)
    expect(b.granted).toEqual([])
    expect((await a.test(9)).stat).toBe('GRANTED')
  })

  it('has limits', async () => {
    const { client, world } = await openLocks({ limits: { hosts: 3, perHost: 2, blocked: 3 } })
    const [a, b, c, d] = [client('a'), client('b'), client('c'), client('d')]
    await a.lock(1)
    const waits = async (one: typeof b, ...svids: number[]) => {
      const answers: string[] = []
      for (const svid of svids) answers.push(await one.wait(svid))
      return answers
    }
    expect(await waits(b, 1, 2, 3)).toEqual(['BLOCKED', 'BLOCKED', 'DENIED_NOLOCKS'])
    expect(await waits(c, 1, 2)).toEqual(['BLOCKED', 'DENIED_NOLOCKS'])
    expect(await d.lock(1, { shared: true })).toBe('DENIED_NOLOCKS')
    await b.call('FREE_ALL', { name: 'b', state: 0 })
    expect(await waits(c, 2)).toEqual(['BLOCKED'])
    expect(world.locking.status().clients.map(({ name, waiting }) => [name, waiting])).toEqual([
      ['a', 0],
      ['c', 2],
    ])
    expect(world.volume.locks.table.waitersOf(world.volume.lookup(world.volume.root, 'file', root) ?? 0).length).toBe(2)
  })
})

describe('messages', () => {
  it('have no reply; the answer is a message over the connection of the client', async () => {
    const { client } = await openLocks()
    const [a, b] = [client('a'), client('b')]
    await a.connect()
    await b.lock(1, { offset: 100n })
    expect(await a.message('LOCK_MSG', a.args(1))).toBeUndefined()
    expect(await a.message('LOCK_MSG', a.args(1, { length: 10n, block: true }))).toBeUndefined()
    await a.message('TEST_MSG', a.args(1))
    await a.message('CANCEL_MSG', a.args(1))
    await a.message('UNLOCK_MSG', { cookie: COOKIE, lock: a.lockArgs(1) })
    expect(a.results).toEqual([
      { procedure: 'LOCK_RES', stat: NLM4_DENIED },
      { procedure: 'LOCK_RES', stat: NLM4_GRANTED },
      { procedure: 'TEST_RES', stat: NLM4_DENIED },
      { procedure: 'CANCEL_RES', stat: NLM4_DENIED },
      { procedure: 'UNLOCK_RES', stat: NLM4_GRANTED },
    ])
  })
})

describe('share modes', () => {
  it('deny what they deny, take the place of their own, and go with the client', async () => {
    const { client, file } = await openLocks()
    const [a, b] = [client('a'), client('b')]
    const share = async (one: typeof a, mode: number, access: number) => {
      const args = { callerName: one.name, fh: file, oh: Buffer.from(one.name), mode, access }
      return (await one.call('SHARE', { cookie: COOKIE, share: args, reclaim: false })).stat
    }
    expect(await share(a, 2, 1)).toBe(NLM4_GRANTED)
    expect([await share(b, 0, 2), await share(b, 0, 1)]).toEqual([NLM4_DENIED, NLM4_GRANTED])
    // Not over the other's head; and what was there stays.
    expect([await share(a, 1, 1), await share(b, 0, 2)]).toEqual([NLM4_DENIED, NLM4_DENIED])
    expect(await share(a, 4, 1)).toBe(NLM4_STATS.NLM4_FAILED)
    await a.call('FREE_ALL', { name: 'a', state: 1 })
    expect(await share(b, 0, 2)).toBe(NLM4_GRANTED)
    const args = { callerName: 'b', fh: file, oh: Buffer.from('b'), mode: 0, access: 2 }
    expect((await b.call('UNSHARE', { cookie: COOKIE, share: args, reclaim: false })).stat).toBe(NLM4_GRANTED)
    expect(await share(a, 3, 3)).toBe(NLM4_GRANTED)
  })
})

describe('a restart of the server', () => {
  it('without locks there is no grace period', async () => {
    const { client, world } = await openLocks()
    await world.restart()
    expect(await client('a').lock(1, { reclaim: true })).toBe('DENIED_GRACE_PERIOD')
    expect(await client('a').lock(1)).toBe('GRANTED')
  })

  it('admits reclaims of those who had locks, for the grace period, and nothing else', async () => {
    const { client, world, clock } = await openLocks({ graceMs: 5000 })
    const [a, b, c] = [client('a'), client('b'), client('c')]
    await a.lock(1)
    await c.call('NM_LOCK', c.args(1, { shared: true }))
    await world.restart()
    expect(world.locking.status()).toMatchObject({ recovering: 1, graceUntil: clock.now() + 5000 })
    expect([await b.lock(1), await b.wait(1), (await b.test(1)).stat]).toEqual(Array(3).fill('DENIED_GRACE_PERIOD'))
    expect([await b.lock(1, { reclaim: true }), await a.lock(1)]).toEqual(['DENIED', 'DENIED_GRACE_PERIOD'])
    expect(await a.lock(1, { reclaim: true })).toBe('GRANTED')
    clock.advance(5000)
    expect([await b.lock(1), await a.lock(2, { reclaim: true })]).toEqual(['DENIED', 'DENIED_GRACE_PERIOD'])
    // It is still on record, and again after the next restart.
    await world.restart()
    expect(await a.lock(1, { reclaim: true })).toBe('GRANTED')
  })

  it('forgets who did not come in the grace period', async () => {
    const { client, world, clock } = await openLocks({ graceMs: 5000 })
    await client('a').lock(1)
    await world.restart()
    clock.advance(5000)
    expect(await client('b').lock(1)).toBe('GRANTED')
    expect(fs.readdirSync(join(world.directory, 'nfs-locks', 'sm')).length).toBe(1)
  })

  it('ends the grace period early when all who had locks say that they have begun anew', async () => {
    const { client, world } = await openLocks()
    await client('a').lock(1)
    await world.restart()
    expect(await client('b').lock(1)).toBe('DENIED_GRACE_PERIOD')
    await world.call(NSM.procedures.SM_NOTIFY, { name: 'a', state: 7 })
    expect(await client('b').lock(1)).toBe('GRANTED')
  })

  it('has a state number that is odd and grows, also over damage', async () => {
    const { world } = await openLocks()
    const state = async () => (await world.call(NSM.procedures.SM_STAT, { name: 'x' })).state
    expect(await state()).toBe(1)
    await world.restart()
    expect(await state()).toBe(3)
    const directory = join(world.directory, 'nfs-locks')
    fs.writeFileSync(join(directory, 'state'), 'nonsense')
    fs.writeFileSync(join(directory, 'sm', 'x.json'), 'nonsense')
    fs.writeFileSync(join(directory, 'sm', 'y.json.new'), '{"address":"127.0.0.1","name":"a"}')
    await world.restart()
    expect((await state()) & 1).toBe(1)
    expect(await state()).toBeGreaterThan(3)
    expect(fs.readdirSync(join(directory, 'sm'))).toEqual([])
  })

  it('a client that keeps a connection hears whether the server still knows it', async () => {
    const { world, client } = await openLocks()
    const a = client('a')
    expect([await a.connect(), await a.connect()]).toEqual([false, true])
    await a.lock(1)
    await world.restart()
    expect(await a.connect()).toBe(false)
    expect(await a.lock(1, { reclaim: true })).toBe('GRANTED')
  })
})

describe('a client that is gone', () => {
  it('says at its restart that what it had is free', async () => {
    const { client, world } = await openLocks()
    const [a, b] = [client('a'), client('b')]
    await b.connect()
    await a.lock(1)
    await b.wait(1)
    await world.call(NSM.procedures.SM_NOTIFY, { name: 'a', state: 9 })
    await settle()
    expect(b.granted.length).toBe(1)
    await b.call('FREE_ALL', { name: 'b', state: 0 })
    expect((await a.test(1)).stat).toBe('GRANTED')
    expect(fs.readdirSync(join(world.directory, 'nfs-locks', 'sm'))).toEqual([])
  })

  it('loses its locks after the lease if it kept a connection, and else never', async () => {
    const { client, clock, world } = await openLocks({ leaseMs: 30_000 })
    const [a, b, c] = [client('a'), client('b'), client('c')]
    await a.connect()
    await a.lock(1, { length: 1n })
    await b.lock(1, { offset: 1n })
    await clock.pass(100_000, 10_000)
    expect((await c.test(1)).stat).toBe('DENIED')
    a.disconnect()
    await clock.pass(29_000)
    expect((await c.test(1)).stat).toBe('DENIED')
    expect(await a.connect()).toBe(true)
    await clock.pass(60_000, 10_000)
    expect(await c.test(1)).toMatchObject({ stat: 'DENIED', offset: 0n })
    a.disconnect()
    await clock.pass(31_000)
    expect(await c.test(1)).toMatchObject({ stat: 'DENIED', offset: 1n })
    expect(await a.connect()).toBe(false)
    await clock.pass(10_000_000, 1_000_000)
    expect(await c.test(1)).toMatchObject({ stat: 'DENIED', offset: 1n })
    expect(world.locking.status().clients.map(({ name, held }) => [name, held])).toEqual([
      ['b', 1],
      ['a', 0],
    ])
  })

  it('is forgotten when it holds nothing', async () => {
    const { client, clock, world } = await openLocks()
    const a = client('a')
    await a.lock(1)
    await a.unlock(1)
    await clock.pass(60_000)
    expect(world.locking.status().clients).toEqual([])
    expect(fs.readdirSync(join(world.directory, 'nfs-locks', 'sm'))).toEqual([])
  })

  it('is on record only as long as it holds something, be it connected or not', async () => {
    const { client, clock, world } = await openLocks()
    const [a, b] = [client('a'), client('b')]
    await a.connect()
    await a.lock(1, { length: 1n })
    await b.lock(2, { offset: 1n })
    await clock.pass(60_000)
    expect(fs.readdirSync(join(world.directory, 'nfs-locks', 'sm')).length).toBe(2)
    await a.unlock(1)
    await clock.pass(60_000)
    expect(fs.readdirSync(join(world.directory, 'nfs-locks', 'sm')).length).toBe(1)
    await b.unlock(2)
    await world.restart()
    expect(await client('c').lock(1)).toBe('GRANTED')
  })

  it('a connection that says another name leaves the first one', async () => {
    const { client, world, clock } = await openLocks({ leaseMs: 30_000 })
    const a = client('a')
    await a.connect()
    await a.lock(1)
    const { CALLBACK } = await import('../../../../src/modes/nfs/callback-program.ts')
    await world.call(CALLBACK.procedures.ACCEPTS_CALLS, { callerName: 'other' }, { port: 800 })
    await clock.pass(31_000)
    expect(world.locking.status().clients).toMatchObject([{ name: 'other', connected: true }])
    // Back and forth, as often as it likes: it is one client at a time, and nothing is left of it.
    for (let n = 0; n < 100; n++) {
      await world.call(CALLBACK.procedures.ACCEPTS_CALLS, { callerName: `other${n % 3}` }, { port: 800 })
    }
    expect(world.locking.status().clients.filter(({ connected }) => connected)).toMatchObject([{ name: 'other0' }])
    expect(clock.timers).toBeLessThan(10)
    a.disconnect()
    await clock.pass(31_000)
    expect(world.locking.status().clients).toEqual([])
  })
})
