// Clients that lock, wait, lose patience, lose their connections and come back, in any order. What must hold: no two
// owners believe in locks that conflict, whoever waits is served in the end, and in the end nothing is left.
import { expect, it } from 'vitest'
import { NLM4_STATS } from '../../../../src/modes/nfs/nlm-types.ts'
import { random, seed } from '../../../support/random.ts'
import { type Client, openLocks } from './lock-server-world.ts'

const STEPS = 4000
const OWNERS = [1, 2]

interface Owner {
  readonly client: Client
  readonly svid: number
  /** Whole files, by the file's handle. */
  readonly held: Map<Buffer, 'shared' | 'exclusive'>
  readonly waits: Map<Buffer, 'shared' | 'exclusive'>
}

async function open() {
  const { clock, client, file, other, world } = await openLocks({ callMs: 1000, retryMs: 1000, leaseMs: 1e9 })
  const owners: Owner[] = []
  const files = [file, other]
  for (const name of ['a', 'b', 'c']) {
    const one = client(name)
    await one.connect()
    const own = OWNERS.map((svid): Owner => ({ client: one, svid, held: new Map(), waits: new Map() }))
    owners.push(...own)
    one.answer = ({ lock, exclusive }) => {
      const owner = own.find(({ svid }) => svid === lock.svid)
      const which = files.find((one) => one.equals(lock.fh)) as Buffer
      const kind = exclusive ? 'exclusive' : 'shared'
      if (owner?.waits.get(which) === kind) {
        owner.waits.delete(which)
        owner.held.set(which, kind)
        return NLM4_STATS.NLM4_GRANTED
      }
      return owner?.held.get(which) === kind ? NLM4_STATS.NLM4_GRANTED : NLM4_STATS.NLM4_DENIED
    }
  }
  const check = () => {
    for (const which of files) {
      const holders = owners.flatMap(({ held }) => held.get(which) ?? [])
      if (holders.includes('exclusive')) expect(holders).toEqual(['exclusive'])
    }
  }
  return { clock, world, owners, files, check }
}

it(`locks are exclusive, and nobody waits for ever (seed ${seed()})`, async () => {
  const { clock, world, owners, files, check } = await open()
  const next = random(seed())
  const some = <T>(of: readonly T[]): T => of[Math.floor(next() * of.length)] as T
  const seen = new Set<string>()
  for (let step = 0; step < STEPS; step++) {
    const { client, svid, held, waits } = some(owners)
    const which = some(files)
    const waited = waits.get(which)
    const shared = next() < 0.5
    const chance = next()
    if (waited !== undefined && chance < 0.4) {
      // Asks again, or gives up.
      const again = { shared: waited === 'shared' }
      const answer = chance < 0.2 ? await client.wait(svid, again, which) : await client.cancel(svid, again, which)
      seen.add(`${chance < 0.2 ? 'again' : 'cancel'} ${answer}`)
      // A call back may have been faster.
      if (waits.get(which) === waited) {
        if (chance < 0.2 && answer === 'GRANTED') held.set(which, waited)
        if (answer !== 'BLOCKED') waits.delete(which)
        if (chance >= 0.2 && answer === 'DENIED') await client.unlock(svid, {}, which)
      }
    } else if (chance < 0.45 && waited === undefined && !held.has(which)) {
      waits.set(which, shared ? 'shared' : 'exclusive')
      const answer = await client.wait(svid, { shared }, which)
      seen.add(`wait ${answer}`)
      if (answer === 'GRANTED') held.set(which, shared ? 'shared' : 'exclusive')
      if (answer !== 'BLOCKED') waits.delete(which)
    } else if (chance < 0.8 && held.delete(which)) {
      expect(await client.unlock(svid, {}, which)).toBe('GRANTED')
    } else if (chance < 0.85) {
      client.disconnect()
      seen.add('gone')
    } else if (chance < 0.95) {
      expect(await client.connect()).toBe(true)
    } else await clock.pass(1000)
    check()
  }
  expect([...seen].toSorted()).toEqual(
    expect.arrayContaining([
      'again BLOCKED',
      'again GRANTED',
      'cancel GRANTED',
      'gone',
      'wait BLOCKED',
      'wait DEADLCK',
    ]),
  )
  // Everybody comes back and unlocks what it holds, until nobody waits any more.
  for (const { client } of owners) await client.connect()
  for (let round = 0; owners.some(({ waits, held }) => waits.size + held.size > 0); round++) {
    expect(round).toBeLessThan(100)
    for (const { client, svid, held } of owners) {
      for (const which of [...held.keys()]) {
        held.delete(which)
        await client.unlock(svid, {}, which)
        check()
      }
    }
    await clock.pass(5000)
  }
  expect(world.volume.locks.table.lockedFiles()).toEqual([])
  expect(world.locking.status().clients.map(({ held, waiting }) => held + waiting)).toEqual([0, 0, 0])
})
