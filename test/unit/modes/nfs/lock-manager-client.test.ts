// The lock manager's client and servers without a network: which port, which life, who calls back.
import { afterEach, beforeEach, expect, test } from 'vitest'
import { XdrReader, XdrWriter } from '../../../../src/codec/xdr.ts'
import { CALLBACK } from '../../../../src/modes/nfs/callback-program.ts'
import { LockManagerClient } from '../../../../src/modes/nfs/lock-manager-client.ts'
import { type LockManagerEvents, NLM4_STATS, type NlmCall } from '../../../../src/modes/nfs/nlm-types.ts'
import { NLM4 } from '../../../../src/modes/nfs/nlm4.ts'
import { NSM } from '../../../../src/modes/nfs/nsm.ts'
import { authNone } from '../../../../src/rpc/onc/auth.ts'
import { CALL as CALL_TYPE, CallBody, CallStart, ReplyStart, RPC_VERSION } from '../../../../src/rpc/onc/message.ts'
import { PORTMAP2 } from '../../../../src/rpc/onc/portmap.ts'
import type { Procedure } from '../../../../src/rpc/onc/program.ts'
import { readResult } from '../../../../src/rpc/onc/reply.ts'
import { OncServer } from '../../../../src/rpc/onc/server.ts'
import { type Service, service } from '../../../../src/rpc/onc/service.ts'
import { settle, TestClock } from '../../rpc/test-clock.ts'
import { FakeHost } from './fake-host.ts'

const { NLM4_GRANTED, NLM4_DENIED } = NLM4_STATS
const NFS_PORT = 2049
const HANDLE = Buffer.from('handle')
const HOLDER = { pid: 100, credential: authNone }
const CALL: NlmCall = {
  procedure: 'LOCK',
  cookie: 1,
  owner: 5n,
  lock: { file: 7, svid: 3, range: { start: 10, end: Number.POSITIVE_INFINITY }, exclusive: true },
  block: true,
  reclaim: false,
}

let clock: TestClock
let host: FakeHost
let client: LockManagerClient
/** What the manager told. */
let lives: number[]
let lifeSign: string | undefined
let atStake: boolean
let granted: Parameters<LockManagerEvents['granted']>[]

beforeEach(() => {
  clock = new TestClock()
  host = new FakeHost()
  lives = []
  granted = []
  lifeSign = undefined
  atStake = true
  client = new LockManagerClient(
    {
      clock,
      callerName: 'here-1',
      channel: (port) => host.channel(port),
      port: NFS_PORT,
      client: { hard: true, random: () => 0.5 },
      lifeSign: async () => lifeSign,
    },
    {
      granted(...args) {
        granted.push(args)
        return args[0].equals(HANDLE)
      },
      serverLife: (life) => lives.push(life),
      atStake: () => atStake,
    },
  )
})
afterEach(() => client.close())

/** A lock manager that answers all alike. */
const nlm = (stat: number, seen: unknown[] = []): Service =>
  service(NLM4, {
    LOCK(args) {
      seen.push({ ...args, cookie: undefined, lock: { ...args.lock, fh: String(args.lock.fh), oh: undefined } })
      return { cookie: args.cookie, stat }
    },
    TEST: ({ cookie, lock: { oh } }) => ({
      cookie,
      test: { stat: 1, holder: { exclusive: false, svid: 9, oh: Buffer.from(oh), offset: 5n, length: 0n } },
    }),
  })
const monitor = (state: () => number): Service =>
  service(NSM, { SM_STAT: () => ({ result: 'STAT_SUCC', state: state() }) })

test('a lock goes to the NFS port, in the words of the protocol', async () => {
  const seen: unknown[] = []
  host.serve(NFS_PORT, new OncServer([nlm(NLM4_DENIED, seen)]))
  expect(await client.send(CALL, HANDLE, HOLDER)).toBe(NLM4_DENIED)
  const lock = { callerName: 'here-1', fh: 'handle', oh: undefined, svid: 3, offset: 10n, length: 0n }
  expect(seen).toEqual([{ cookie: undefined, block: false, exclusive: true, lock, reclaim: false, state: 1 }])
  expect(client.status()).toMatchObject({ connection: 'open', callsBack: false, calls: { 'NLM4.LOCK': 1 } })
})

test('TEST tells who stands in the way, with the process if it is one of this host', async () => {
  host.serve(NFS_PORT, new OncServer([nlm(NLM4_GRANTED)]))
  expect(await client.test(CALL.lock, HANDLE, HOLDER, new AbortController().signal)).toEqual({
    status: NLM4_DENIED,
    lock: { start: 5, end: Number.POSITIVE_INFINITY, exclusive: false, pid: 100 },
  })
})

test('where the NFS port knows nothing of locks the portmapper is asked', async () => {
  host.serve(NFS_PORT, new OncServer([]))
  const portmap = service(PORTMAP2, {
    GETPORT: ({ program, version, protocol }) => (program === 100021 && version === 4 && protocol === 6 ? 4045 : 0),
  })
  host.serve(111, new OncServer([portmap]))
  host.serve(4045, new OncServer([nlm(NLM4_GRANTED)]))
  expect(await client.send(CALL, HANDLE, HOLDER)).toBe(NLM4_GRANTED)
  expect(host.opened).toEqual([NFS_PORT, 111, 4045])
})

test('no lock manager anywhere: ENOLCK, and it is looked for again the next time', async () => {
  host.serve(NFS_PORT, new OncServer([]))
  host.serve(111, new OncServer([service(PORTMAP2, { GETPORT: () => 0 })]))
  await expect(client.send(CALL, HANDLE, HOLDER)).rejects.toMatchObject({ code: 'ENOLCK' })
  host.serve(NFS_PORT, new OncServer([nlm(NLM4_GRANTED)]))
  expect(await client.send(CALL, HANDLE, HOLDER)).toBe(NLM4_GRANTED)
})

test('another state number is another life, told before the answers of that server', async () => {
  let state = 5
  host.serve(NFS_PORT, new OncServer([nlm(NLM4_GRANTED), monitor(() => state)]))
  const order: unknown[] = []
  await client.send(CALL, HANDLE, HOLDER)
  expect(lives).toEqual([1])
  host.breakAll()
  // There are locks at stake: nobody has to ask for anything.
  await clock.pass(1000, 10)
  expect(host.opened).toEqual([NFS_PORT, NFS_PORT])
  expect(lives).toEqual([1])
  state = 7
  host.breakAll()
  const answered = client.send(CALL, HANDLE, HOLDER).then(() => order.push(...lives))
  await clock.pass(1000, 10)
  await answered
  expect(order).toEqual([1, 2])
})

test('without a status service something else tells of a restart', async () => {
  host.serve(NFS_PORT, new OncServer([nlm(NLM4_GRANTED)]))
  lifeSign = 'a'
  await client.send(CALL, HANDLE, HOLDER)
  lifeSign = 'b'
  host.breakAll()
  await clock.pass(1000, 10)
  expect(lives).toEqual([1, 2])
})

test('with nothing at stake a dead connection is left alone', async () => {
  host.serve(NFS_PORT, new OncServer([nlm(NLM4_GRANTED)]))
  await client.send(CALL, HANDLE, HOLDER)
  atStake = false
  host.breakAll()
  await clock.pass(60_000, 1000)
  expect(host.opened).toEqual([NFS_PORT])
})

test('a silent server is asked for a sign of life as long as there are locks', async () => {
  host.serve(NFS_PORT, new OncServer([nlm(NLM4_GRANTED)]))
  await client.send(CALL, HANDLE, HOLDER)
  await clock.pass(90_000, 1000)
  expect(client.status().calls['NLM4.NULL']).toBe(4)
  atStake = false
  await clock.pass(90_000, 1000)
  expect(client.status().calls['NLM4.NULL']).toBe(4)
})

test('where nobody calls back, who waits asks again soon', async () => {
  host.serve(NFS_PORT, new OncServer([nlm(NLM4_GRANTED)]))
  await client.send(CALL, HANDLE, HOLDER)
  expect([1, 2, 3, 8, 50].map((times) => client.pollMs(times))).toEqual([100, 200, 400, 10_000, 10_000])
})

test('a server that calls back is heard, and its notice of a restart makes it be asked', async () => {
  let state = 5
  let known = false
  const callback = service(CALLBACK, {
    ACCEPTS_CALLS: ({ callerName }) => {
      expect(callerName).toBe('here-1')
      return { known, state }
    },
  })
  const seen: unknown[] = []
  host.serve(NFS_PORT, new OncServer([nlm(NLM4_GRANTED, seen), callback]))
  await client.send(CALL, HANDLE, HOLDER)
  expect(seen).toMatchObject([{ block: true }])
  expect(client.status().callsBack).toBe(true)
  expect(client.pollMs(1)).toBe(30_000)
  const lock = { callerName: 'here-1', fh: HANDLE, oh: HANDLE, svid: 3, offset: 10n, length: 5n }
  const granting = { cookie: Buffer.from('c'), exclusive: true, lock }
  expect(await call(NLM4.procedures.GRANTED, granting)).toEqual({ cookie: Buffer.from('c'), stat: NLM4_GRANTED })
  expect(granted).toEqual([[HANDLE, { svid: 3, range: { start: 10, end: 14 }, exclusive: true }]])
  const another = { ...granting, lock: { ...lock, callerName: 'here-2' } }
  expect(await call(NLM4.procedures.GRANTED, another)).toMatchObject({ stat: NLM4_DENIED })
  known = true
  await call(NSM.procedures.SM_NOTIFY, { name: 'server', state: 9 })
  expect(lives).toEqual([1])
  state = 7
  await call(NSM.procedures.SM_NOTIFY, { name: 'server', state: 9 })
  expect(lives).toEqual([1, 2])
  // The same server, but it has let go of what we had.
  known = false
  host.breakAll()
  await clock.pass(1000, 10)
  expect(lives).toEqual([1, 2, 3])
})

/** The server calls the client. */
async function call<A, R>(procedure: Procedure<A, R>, args: A): Promise<R> {
  const writer = new XdrWriter().begin(65_536)
  const { program, version, number } = procedure
  CallStart.write(writer, { xid: 1, type: CALL_TYPE, rpcVersion: RPC_VERSION })
  CallBody.write(writer, { program, version, procedure: number, credential: authNone, verifier: authNone })
  procedure.args.write(writer, args)
  host.callBack(Buffer.concat(writer.take()))
  await settle()
  const reader = new XdrReader().reset(host.replies.pop() ?? Buffer.alloc(0))
  ReplyStart.read(reader)
  return readResult(reader, procedure as unknown as Procedure<never, R>) as R
}

test('closed: what waits fails, and nothing is left', async () => {
  const waiting = client.send(CALL, HANDLE, HOLDER)
  await settle()
  client.close()
  await expect(waiting).rejects.toMatchObject({ code: 'ENOTCONN' })
  await expect(client.send(CALL, HANDLE, HOLDER)).rejects.toMatchObject({ code: 'ENOTCONN' })
  expect(clock.timers).toBe(0)
})
