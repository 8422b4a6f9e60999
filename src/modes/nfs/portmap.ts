// The part of the portmapper's protocol, version 2, that finds a program's port (RFC 1833 §3).
import { nothing, struct, u32 } from '../../codec/xdr.ts'
import { procedure, program } from '../../rpc/onc/program.ts'

export const PORTMAP_PORT = 111
/** Protocol numbers of IP. */
export const IPPROTO = { tcp: 6, udp: 17 } as const

export const PORTMAP2 = program('PORTMAP2', 100000, 2, {
  NULL: procedure(0, nothing, nothing),
  /** The port is not looked at; the answer is 0 if the program is not there. */
  GETPORT: procedure(3, struct({ program: u32, version: u32, protocol: u32, port: u32 }), u32),
})
