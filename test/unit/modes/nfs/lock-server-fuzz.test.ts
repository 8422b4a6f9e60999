// Calls of all programs of the lock server, changed in all ways that make them wrong.
import { expect, it } from 'vitest'
import { DecodeError } from '../../../../src/codec/errors.ts'
import { XdrReader } from '../../../../src/codec/xdr.ts'
import { CALLBACK } from '../../../../src/modes/nfs/callback-program.ts'
import { NLM4 } from '../../../../src/modes/nfs/nlm4.ts'
import { NSM } from '../../../../src/modes/nfs/nsm.ts'
import { ReplyBody, ReplyStart } from '../../../../src/rpc/onc/message.ts'
import type { Procedure } from '../../../../src/rpc/onc/program.ts'
import { random, seed } from '../../../support/random.ts'
import { COOKIE, openLocks } from './lock-server-world.ts'
import { root, type World } from './nfs-world.ts'
import { spoil } from './spoil.ts'

const ROUNDS = 20_000

/** The outcome of a call; a server that fails, fails the test. */
async function ask(world: World, call: Buffer): Promise<string> {
  try {
    const bytes = await world.raw(call)
    if (bytes === undefined) return 'no reply'
    const reply = new XdrReader(bytes)
    expect(ReplyStart.read(reply)).toEqual({ xid: call.readUInt32BE(), type: 1 })
    const body = ReplyBody.read(reply)
    return body.state === 'MSG_DENIED' ? body.reason.status : body.outcome.status
  } catch (error) {
    expect(error).toBeInstanceOf(DecodeError)
    return 'no call'
  }
}

async function open() {
  const limits = { hosts: 50, perHost: 20, blocked: 100 }
  const setup = await openLocks({ limits })
  const { world, client } = setup
  const a = client('a')
  const bytes = <A>(procedure: Procedure<A, unknown>, args: A) => world.bytesOf(procedure, args, { who: root })
  const lock = a.args(1, { offset: 5n, length: 10n, block: true })
  const other = { ...lock, lock: { ...lock.lock, svid: 2 } }
  const share = { cookie: COOKIE, share: { ...lock.lock, mode: 1, access: 1 }, reclaim: false }
  const id = { name: 'a', caller: { name: 'b', program: 1, version: 2, procedure: 3 } }
  const n = NLM4.procedures
  const calls = [
    bytes(n.TEST, lock),
    ...[n.LOCK, n.LOCK_MSG, n.NM_LOCK].flatMap((one) => [bytes(one, lock), bytes(one, other)]),
    ...[n.CANCEL, n.CANCEL_MSG].map((one) => bytes(one, lock)),
    ...[n.UNLOCK, n.UNLOCK_MSG].map((one) => bytes(one, lock)),
    bytes(n.TEST_MSG, lock),
    bytes(n.GRANTED, lock),
    ...[n.SHARE, n.UNSHARE].map((one) => bytes(one, share)),
    bytes(n.FREE_ALL, { name: 'a', state: 1 }),
    bytes(NSM.procedures.SM_STAT, { name: 'a' }),
    bytes(NSM.procedures.SM_MON, { id, private: Buffer.alloc(16) }),
    bytes(NSM.procedures.SM_UNMON, id),
    bytes(NSM.procedures.SM_UNMON_ALL, id.caller),
    bytes(NSM.procedures.SM_SIMU_CRASH, undefined),
    bytes(NSM.procedures.SM_NOTIFY, { name: 'a', state: 1 }),
    bytes(CALLBACK.procedures.ACCEPTS_CALLS, { callerName: 'a' }),
  ]
  return { ...setup, calls, limits }
}

it('calls that end too early or too late are never executed', async () => {
  const { world, calls } = await open()
  for (const call of calls) {
    for (let length = 0; length < call.length; length++) {
      const outcome = await ask(world, call.subarray(0, length))
      expect(['no call', 'GARBAGE_ARGS', 'AUTH_ERROR', 'PROC_UNAVAIL']).toContain(outcome)
    }
    expect(['GARBAGE_ARGS', 'PROC_UNAVAIL']).toContain(await ask(world, Buffer.concat([call, Buffer.alloc(4)])))
  }
  expect(world.locking.status().clients).toEqual([])
})

it(`calls spoilt in all ways kill nothing, and what they leave is bounded (seed ${seed()})`, async () => {
  const { world, calls, limits, file, clock } = await open()
  const next = random(seed())
  const outcomes = new Set<string>()
  const attributes = await world.attributes(file)
  for (let round = 0; round < ROUNDS; round++) {
    const call = next() < 0.2 ? calls[Math.floor(next() * calls.length)] : undefined
    outcomes.add(await ask(world, call ?? spoil(calls, next)))
    if (round % 100 === 0) await clock.pass(5000)
    const { clients } = world.locking.status()
    if (clients.length > limits.hosts) throw new Error(`round ${round}: ${clients.length} clients`)
    if (clients.some(({ waiting }) => waiting > limits.perHost)) throw new Error(`round ${round}: they wait`)
  }
  expect([...outcomes]).toEqual(expect.arrayContaining(['SUCCESS', 'no reply', 'GARBAGE_ARGS', 'no call']))
  expect(outcomes).not.toContain('SYSTEM_ERR')
  expect(await world.attributes(file)).toEqual(attributes)
  expect(world.errors).toEqual([])
  // Clients that say that they have begun anew leave nothing.
  for (const { name, address } of world.locking.status().clients) {
    await world.call(NSM.procedures.SM_NOTIFY, { name, state: 1 }, { address })
  }
  expect(world.volume.locks.table.lockedFiles()).toEqual([])
})
