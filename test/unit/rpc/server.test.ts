import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { DecodeError } from '../../../src/codec/errors.ts'
import { array, decode, encode, enumeration, nothing, opaque, text, u32, union } from '../../../src/codec/xdr.ts'
import { AuthSysParameters, authSys, CredentialReader } from '../../../src/rpc/onc/auth.ts'
import type { Peer } from '../../../src/rpc/onc/peer.ts'
import { procedure, program } from '../../../src/rpc/onc/program.ts'
import { OncServer } from '../../../src/rpc/onc/server.ts'
import { type ServiceOptions, service } from '../../../src/rpc/onc/service.ts'
import { type RpcEvent, rpcChannel } from '../../../src/trace/trace.ts'
import { random, seed } from '../../support/random.ts'
import { SHELF, Shelf } from './shelf.ts'
import { settle } from './test-clock.ts'

function peer(port = 700): Peer {
  return {
    address: '127.0.0.1',
    port,
    transport: 'tcp',
    signal: new AbortController().signal,
    credentials: new CredentialReader(),
    maxReplyBytes: 2 ** 21,
  }
}

const words = (...values: number[]): Buffer => Buffer.concat(values.map((value) => encode(u32, value)))

interface Parts {
  xid?: number
  type?: number
  rpcVersion?: number
  program?: number
  version?: number
  procedure?: number
  credential?: Buffer
  args?: Buffer
}

/** A call, right unless told otherwise. */
function call(parts: Parts = {}): Buffer {
  const { xid = 7, type = 0, rpcVersion = 2, program = SHELF.number, version = SHELF.version, procedure = 0 } = parts
  const { credential = words(0, 0), args = Buffer.alloc(0) } = parts
  return Buffer.concat([words(xid, type, rpcVersion, program, version, procedure), credential, words(0, 0), args])
}

const name = (value: string): Buffer => encode(text(255), value)
const identity = { stamp: 1, machineName: 'host', uid: 1000, gid: 100, gids: [4, 20] }
const sys = (parameters = identity): Buffer => {
  const { flavor, body } = authSys(parameters)
  return Buffer.concat([words(flavor), encode(opaque(400), body)])
}

function setup(options?: ServiceOptions) {
  const shelf = new Shelf(options)
  const errors: unknown[] = []
  const server = new OncServer([shelf.service], { onError: (error) => errors.push(error) })
  const ask = async (message: Buffer, from = peer()): Promise<string | undefined> => {
    const reply = await server.answer(message, from)
    return reply === undefined ? undefined : Buffer.concat(reply).toString('hex').replace(/.{8}/g, '$& ').trim()
  }
  return { shelf, server, errors, ask }
}

const ACCEPTED = '00000007 00000001 00000000 00000000 00000000'
const DENIED = '00000007 00000001 00000001'

describe('an ONC RPC server, bytes in and bytes out', () => {
  it('answers what libnfs asks', async () => {
    // Recorded: nfs-ls of libnfs 4.0, AUTH_SYS as root, MOUNT NULL and MNT of /srv/export.
    const mountres = union(
      'status',
      enumeration({ OK: 0, NOENT: 2 }),
      { OK: { handle: opaque(64), flavors: array(u32, 9) } },
      {},
    )
    const MOUNT = program('MOUNT3', 100_005, 3, {
      NULL: procedure(0, nothing, nothing),
      MNT: procedure(1, text(1024), mountres),
    })
    const seen: unknown[] = []
    const handlers = {
      MNT: (path: string, { caller }: { caller: unknown }) => {
        seen.push(path, caller)
        return { status: 'OK', handle: Buffer.from([1, 2, 3]), flavors: [1] } as const
      },
    }
    const server = new OncServer([service(MOUNT, handlers)])
    const ask = async (hex: string) =>
      Buffer.concat((await server.answer(Buffer.from(hex, 'hex'), peer())) ?? []).toString('hex')
    const credential = '000000010000001c004bab27000000066c69626e66730000000000000000000000000000' + '0000000000000000'
    expect(await ask(`1071ab270000000000000002000186a50000000300000000${credential}`)).toBe(
      '1071ab270000000100000000000000000000000000000000',
    )
    const mnt = `1071ab280000000000000002000186a50000000300000001${credential}0000000b2f7372762f6578706f727400`
    expect(await ask(mnt)).toBe(
      '1071ab280000000100000000000000000000000000000000' + '00000000' + '0000000301020300' + '0000000100000001',
    )
    const caller = { flavor: 'AUTH_SYS', stamp: 0x4bab27, machineName: 'libnfs', uid: 0, gid: 0, gids: [] }
    expect(seen).toEqual(['/srv/export', caller])
  })

  it('says why it does not serve a call (RFC 5531 §9)', async () => {
    const { ask } = setup()
    expect(await ask(call({ program: 1 }))).toBe(`${ACCEPTED} 00000001`)
    expect(await ask(call({ version: 4 }))).toBe(`${ACCEPTED} 00000002 00000003 00000003`)
    expect(await ask(call({ procedure: 99 }))).toBe(`${ACCEPTED} 00000003`)
    expect(await ask(call({ procedure: 7 }))).toBe(`${ACCEPTED} 00000003`)
    expect(await ask(call({ procedure: 1, args: words(300) }))).toBe(`${ACCEPTED} 00000004`)
    expect(await ask(call({ procedure: 1, args: Buffer.concat([name('notes'), words(1)]) }))).toBe(
      `${ACCEPTED} 00000004`,
    )
    expect(await ask(call({ rpcVersion: 3 }))).toBe(`${DENIED} 00000000 00000002 00000002`)
  })

  it('answers SYSTEM_ERR when a handler fails, at once or later, or has a result beyond the protocol', async () => {
    const { shelf, errors, ask } = setup()
    expect(await ask(call({ procedure: 6 }))).toBe(`${ACCEPTED} 00000005`)
    const later = ask(call({ procedure: 5, args: words(1) }))
    await settle()
    shelf.fail(1)
    expect(await later).toBe(`${ACCEPTED} 00000005`)
    shelf.names.add('x'.repeat(100))
    expect(await ask(call({ procedure: 1, args: name('x'.repeat(100)) }))).toBe(`${ACCEPTED} 00000005`)
    const small = { ...peer(), maxReplyBytes: 1000 }
    expect(await ask(call({ procedure: 2, args: words(2000) }), small)).toBe(`${ACCEPTED} 00000005`)
    expect(errors).toHaveLength(4)
  })

  it('answers arguments that are not UTF-8 with the status that the table names', async () => {
    const { ask, shelf } = setup()
    expect(await ask(call({ procedure: 1, args: Buffer.from('00000001ff000000', 'hex') }))).toBe(
      `${ACCEPTED} 00000000 00000016`,
    )
    expect(await ask(call({ procedure: 4, args: Buffer.from('00000001ff000000', 'hex') }))).toBe(`${ACCEPTED} 00000004`)
    expect(shelf.removals).toBe(0)
  })

  it('throws DecodeError for what is no call: nothing can be answered', () => {
    const { server } = setup()
    expect(() => server.answer(call({ type: 1 }), peer())).toThrow(DecodeError)
    expect(() => server.answer(Buffer.alloc(0), peer())).toThrow(DecodeError)
    expect(() => server.answer(call({ credential: words(0, 404) }), peer())).toThrow(DecodeError)
  })

  it(`lives on random and mutated bytes (seed ${seed()})`, () => {
    const { server } = setup()
    const next = random(seed())
    const calls = [
      call({ procedure: 1, args: name('notes'), credential: sys() }),
      call({ procedure: 3, args: encode(opaque(99), Buffer.alloc(50)) }),
    ]
    for (let i = 0; i < 20_000; i++) {
      const base = calls[i % calls.length] ?? Buffer.alloc(0)
      const bytes = i % 3 === 0 ? Buffer.from(base.subarray(0, next() * base.length)) : Buffer.from(base)
      for (let n = Math.floor(next() * 4); n > 0; n--)
        bytes[Math.floor(next() * bytes.length)] = Math.floor(next() * 256)
      try {
        void server.answer(bytes, peer())
      } catch (error) {
        expect(error).toBeInstanceOf(DecodeError)
      }
    }
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
        expect(() => server.answer(Buffer.from(bytes), peer())).toThrow(DecodeError)
      }),
      { seed: seed() },
    )
  })
})

describe('credentials', () => {
  it('are what AUTH_SYS says', async () => {
    const { shelf, ask } = setup()
    const from = peer()
    for (const uid of [1000, 1000, 1001]) {
      await ask(call({ procedure: 1, args: name('notes'), credential: sys({ ...identity, uid }) }), from)
    }
    await ask(call({ procedure: 1, args: name('notes') }), from)
    const users = shelf.contexts.map(({ caller }) => (caller.flavor === 'AUTH_SYS' ? caller.uid : undefined))
    expect(users).toEqual([1000, 1000, 1001, undefined])
    expect(shelf.contexts[0]?.caller).toEqual({ flavor: 'AUTH_SYS', ...identity })
    expect(shelf.contexts[0]?.caller).toBe(shelf.contexts[1]?.caller)
  })

  it('are refused if they make no sense, except that procedure 0 needs none', async () => {
    const { ask } = setup()
    const bad = [
      words(6, 0),
      Buffer.concat([words(1), encode(opaque(400), Buffer.alloc(7))]),
      Buffer.concat([words(1), encode(opaque(400), Buffer.concat([encode(AuthSysParameters, identity), words(0)]))]),
      Buffer.concat([words(1, 20 + 17 * 4, 1, 0, 0, 0, 17), words(...Array<number>(17).fill(0))]),
      Buffer.concat([words(1, 4 + 4 + 256 + 12, 1, 256), Buffer.alloc(256), words(0, 0, 0)]),
    ]
    for (const credential of bad) {
      expect(await ask(call({ procedure: 1, args: name('notes'), credential }))).toBe(`${DENIED} 00000001 00000001`)
      expect(await ask(call({ credential }))).toBe(`${ACCEPTED} 00000000`)
    }
  })

  it('may be too weak for a service', async () => {
    const { ask, shelf } = setup({
      authorize: ({ caller }) => (caller.flavor === 'AUTH_NONE' ? 'AUTH_TOOWEAK' : undefined),
    })
    expect(await ask(call({ procedure: 4, args: name('notes') }))).toBe(`${DENIED} 00000001 00000005`)
    expect(shelf.removals).toBe(0)
    expect(await ask(call({ procedure: 4, args: name('notes'), credential: sys() }))).toBe(
      `${ACCEPTED} 00000000 00000000`,
    )
  })

  it('have at most sixteen groups', () => {
    const many = { ...identity, gids: Array.from({ length: 20 }, (_, i) => i) }
    expect(decode(AuthSysParameters, authSys(many).body).gids).toHaveLength(16)
  })
})

describe('a call that is not idempotent', () => {
  const remove = call({ procedure: 4, args: name('notes') })
  const removed = `${ACCEPTED} 00000000 00000000`

  it('is executed once and answered each time, to the same sender', async () => {
    const { shelf, server, ask } = setup()
    const from = peer()
    expect(await ask(remove, from)).toBe(removed)
    expect(await ask(remove, from)).toBe(removed)
    // Over a new connection from the same port, too.
    expect(await ask(remove)).toBe(removed)
    expect(shelf.removals).toBe(1)
    expect(await ask(remove, peer(701))).toBe(`${ACCEPTED} 00000000 00000002`)
    expect(await ask(call({ procedure: 4, args: name('others') }))).toBe(`${ACCEPTED} 00000000 00000002`)
    expect(await ask(call({ procedure: 4, args: name('notes'), xid: 8 }))).toMatch(/00000002$/)
    expect(shelf.removals).toBe(4)
    expect(server.statistics.snapshot()['SHELF.REMOVE']).toMatchObject({ calls: 4, retransmissions: 2, failures: 0 })
  })

  it('is dropped while it is in progress, but answered on the connection that the client came back with', async () => {
    const { shelf, ask } = setup()
    shelf.slow = true
    const from = peer()
    const first = ask(remove, from)
    expect(await ask(remove, from)).toBeUndefined()
    const again = ask(remove, peer())
    await settle()
    shelf.release(0)
    expect(await first).toBe(removed)
    expect(await again).toBe(removed)
    expect(shelf.removals).toBe(1)
  })

  it('is executed again if it failed', async () => {
    const { shelf, ask } = setup()
    shelf.slow = true
    const first = ask(remove)
    await settle()
    shelf.fail(0)
    expect(await first).toBe(`${ACCEPTED} 00000005`)
    shelf.slow = false
    expect(await ask(remove)).toBe(`${ACCEPTED} 00000000 00000002`)
    expect(shelf.removals).toBe(2)
  })
})

describe('an observer', () => {
  it('sees calls with their duration and outcome, and counters', async () => {
    const { server, ask } = setup()
    const events: RpcEvent[] = []
    const listener = (event: RpcEvent) => events.push(event)
    rpcChannel.subscribe(listener)
    await ask(call({ procedure: 1, args: name('nothing') }))
    await ask(call({ procedure: 6 }))
    rpcChannel.unsubscribe(listener)
    await ask(call({ procedure: 1, args: name('nothing') }))
    expect(events).toHaveLength(2)
    expect(events[1]).toMatchObject({ op: 'SHELF.FAIL', error: 'EPROTO', detail: 'SYSTEM_ERR' })
    const event = { op: 'SHELF.LOOKUP', side: 'server', peer: '127.0.0.1:700', error: 'ENOENT', bytes: 52 + 28 }
    expect(events[0]).toMatchObject(event)
    const counters = { calls: 2, failures: 0, retransmissions: 0, bytesReceived: 104, bytesSent: 56 }
    expect(server.statistics.snapshot()['SHELF.LOOKUP']).toEqual(counters)
  })
})

describe('a table of procedures', () => {
  it('names no number twice, and is served once', () => {
    const rows = { A: procedure(1, nothing, nothing), B: procedure(1, nothing, nothing) }
    expect(() => program('TWICE', 1, 1, rows)).toThrow(TypeError)
    const once = new Shelf().service
    expect(() => new OncServer([once, once])).toThrow(TypeError)
  })
})
