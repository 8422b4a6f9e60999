// The protocols by which programs are found: portmap version 2, rpcbind versions 3 and 4 (RFC 1833), as tables.
import { bool, list, nothing, struct, text, u32 } from '../../codec/xdr.ts'
import { procedure, program } from './program.ts'

/** Where portmappers listen. */
export const PORTMAP_PORT = 111
export const PORTMAP_PROGRAM = 100000

/** IPPROTO_TCP, IPPROTO_UDP (§3.1). */
export const IP_PROTOCOL = { tcp: 6, udp: 17 } as const

/** Entries of a DUMP; strings of rpcbind in bytes. Neither has a limit in the protocol. */
const DUMP_MAX = 1024
const STRING_MAX = 255

/** §3.1: `protocol` is one of IP_PROTOCOL. */
const mapping = struct({ program: u32, version: u32, protocol: u32, port: u32 })

/** CALLIT (procedure 5) has no row: it makes a portmapper call in the name of others, and has only ever been abused. */
export const PORTMAP2 = program('PORTMAP2', PORTMAP_PROGRAM, 2, {
  NULL: procedure(0, nothing, nothing),
  SET: procedure(1, mapping, bool),
  UNSET: procedure(2, mapping, bool),
  /** The port; 0: not registered. Who asks leaves `port` 0. */
  GETPORT: procedure(3, mapping, u32),
  DUMP: procedure(4, nothing, list(mapping, DUMP_MAX)),
})

/** §2.1. `netid`: tcp, udp, tcp6 or udp6; `address`: see `universalAddress`. */
const rpcb = struct({
  program: u32,
  version: u32,
  netid: text(STRING_MAX),
  address: text(STRING_MAX),
  owner: text(STRING_MAX),
})

/** What versions 3 and 4 have in common, and all that is used of them. */
const rows = {
  NULL: procedure(0, nothing, nothing),
  SET: procedure(1, rpcb, bool),
  UNSET: procedure(2, rpcb, bool),
  /** Empty: not registered. */
  GETADDR: procedure(3, rpcb, text(STRING_MAX)),
  DUMP: procedure(4, nothing, list(rpcb, DUMP_MAX)),
} as const

export const RPCBIND3 = program('RPCBIND3', PORTMAP_PROGRAM, 3, rows)
export const RPCBIND4 = program('RPCBIND4', PORTMAP_PROGRAM, 4, rows)

/** An address with its port as rpcbind writes it: 127.0.0.1.8.1 is port 2049 (RFC 5665 §5.2.3.3). */
export const universalAddress = (host: string, port: number): string => `${host}.${port >> 8}.${port & 255}`
