import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { DecodeError } from '../../../src/codec/errors.ts'
import { decode, encode } from '../../../src/codec/xdr.ts'
import { CredentialReader } from '../../../src/rpc/onc/auth.ts'
import { CallBody, CallStart, ReplyBody, ReplyStart } from '../../../src/rpc/onc/message.ts'
import type { Peer } from '../../../src/rpc/onc/peer.ts'
import { IP_PROTOCOL, PORTMAP2, RPCBIND3, RPCBIND4, universalAddress } from '../../../src/rpc/onc/portmap.ts'
import { portmapServices, type Registered } from '../../../src/rpc/onc/portmapper.ts'
import type { Procedure } from '../../../src/rpc/onc/program.ts'
import { OncServer } from '../../../src/rpc/onc/server.ts'
import { seed } from '../../support/random.ts'

const NONE = { flavor: 0, body: Buffer.alloc(0) }
const peer: Peer = {
  address: '127.0.0.1',
  port: 700,
  transport: 'udp',
  signal: new AbortController().signal,
  credentials: new CredentialReader(),
  maxReplyBytes: 65_507,
}

const NFS: Registered = {
  programs: [
    { number: 100003, version: 3 },
    { number: 100005, version: 3 },
  ],
  host: '127.0.0.1',
  port: 2049,
}
const SELF: Registered = { programs: [{ number: 100000, version: 2 }], host: '127.0.0.1', port: 111 }

const serving = (...registered: Registered[]) => new OncServer(portmapServices(registered))

const message = (program: number, version: number, procedure: number, args: Buffer = Buffer.alloc(0)): Buffer =>
  Buffer.concat([
    encode(CallStart, { xid: 7, type: 0, rpcVersion: 2 }),
    encode(CallBody, { program, version, procedure, credential: NONE, verifier: NONE }),
    args,
  ])

/** A result, or how the RPC layer refuses. */
async function ask<A, R>(server: OncServer, { program, version, number, ...procedure }: Procedure<A, R>, args: A) {
  const call = message(program, version, number, encode(procedure.args, args))
  const reply = Buffer.concat((await server.answer(call, peer)) ?? [])
  const start = encode(ReplyStart, { xid: 7, type: 1 }).length
  const accepted = encode(ReplyBody, { state: 'MSG_ACCEPTED', verifier: NONE, outcome: { status: 'SUCCESS' } })
  const body = reply.subarray(start)
  return body.subarray(0, accepted.length).equals(accepted)
    ? decode(procedure.result, body.subarray(accepted.length))
    : decode(ReplyBody, body)
}

const { GETPORT, DUMP, SET, UNSET } = PORTMAP2.procedures

describe('a portmapper', () => {
  const server = serving(NFS, SELF)
  const asked = { program: 100003, version: 3, protocol: IP_PROTOCOL.tcp, port: 0 }

  it('tells the port of a program, whatever the version, over TCP and UDP', async () => {
    expect(await ask(server, GETPORT, asked)).toBe(2049)
    expect(await ask(server, GETPORT, { ...asked, program: 100005, protocol: IP_PROTOCOL.udp })).toBe(2049)
    expect(await ask(server, GETPORT, { ...asked, version: 4 })).toBe(2049)
    expect(await ask(server, GETPORT, { ...asked, program: 100000, version: 2 })).toBe(111)
    expect(await ask(server, GETPORT, { ...asked, program: 100021 })).toBe(0)
    expect(await ask(server, GETPORT, { ...asked, protocol: 1 })).toBe(0)
  })

  it('lists all there is', async () => {
    const line = (program: number, version: number, port: number) =>
      [6, 17].map((protocol) => ({ program, version, protocol, port }))
    expect(await ask(server, DUMP, undefined)).toEqual([
      ...[...line(100003, 3, 2049), ...line(100005, 3, 2049)],
      ...line(100000, 2, 111),
    ])
  })

  it('registers nothing, and calls nobody in the name of others', async () => {
    expect(await ask(server, SET, { ...asked, program: 1, port: 99 })).toBe(false)
    expect(await ask(server, UNSET, asked)).toBe(false)
    expect(await ask(server, GETPORT, asked)).toBe(2049)
    const callit = Buffer.concat((await server.answer(message(100000, 2, 5), peer)) ?? [])
    expect(decode(ReplyBody, callit.subarray(8))).toMatchObject({ outcome: { status: 'PROC_UNAVAIL' } })
  })

  it.each([RPCBIND3, RPCBIND4])('speaks $name', async ({ procedures }) => {
    const rpcb = { program: 100003, version: 3, netid: 'tcp', address: '', owner: '' }
    expect(await ask(server, procedures.GETADDR, rpcb)).toBe('127.0.0.1.8.1')
    expect(await ask(server, procedures.GETADDR, { ...rpcb, netid: 'tcp6' })).toBe('')
    expect(await ask(server, procedures.GETADDR, { ...rpcb, program: 5 })).toBe('')
    expect(await ask(server, procedures.SET, { ...rpcb, program: 5 })).toBe(false)
    expect(await ask(server, procedures.DUMP, undefined)).toHaveLength(6)
    const six = serving({ ...NFS, host: '::1' })
    expect(await ask(six, procedures.GETADDR, { ...rpcb, netid: 'udp6' })).toBe('::1.8.1')
  })

  it('speaks portmap only where it has more than one address to tell', async () => {
    for (const host of ['0.0.0.0', '::']) {
      const server = serving({ ...NFS, host })
      expect(await ask(server, GETPORT, asked)).toBe(2049)
      const refusal = await ask(server, RPCBIND4.procedures.DUMP, undefined)
      expect(refusal).toMatchObject({ outcome: { status: 'PROG_MISMATCH', low: 2, high: 2 } })
    }
  })

  it('writes addresses as RFC 5665 does', () => {
    expect(universalAddress('10.1.2.3', 65_535)).toBe('10.1.2.3.255.255')
    expect(universalAddress('fe80::1', 111)).toBe('fe80::1.0.111')
  })

  it(`bears anything (seed ${seed()})`, () => {
    const anything = fc.uint8Array({ maxLength: 600 }).map((bytes) => Buffer.from(bytes))
    const call = fc
      .tuple(fc.constantFrom(2, 3, 4), fc.nat(6), anything)
      .map(([version, procedure, args]) => message(100000, version, procedure, args))
    fc.assert(
      fc.property(fc.oneof(anything, call), (bytes) => {
        try {
          const reply = Buffer.concat((server.answer(bytes, peer) as Buffer[] | undefined) ?? [])
          expect(reply.length).toBeLessThan(1024)
        } catch (error) {
          expect(error).toBeInstanceOf(DecodeError)
        }
      }),
      { seed: seed(), numRuns: 2000 },
    )
  })
})
