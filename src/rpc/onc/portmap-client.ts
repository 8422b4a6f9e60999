// Asks a portmapper where a program listens (RFC 1833 §3, version 2 of the protocol).
import { nothing, struct, u32 } from '../../codec/xdr.ts'
import type { OncClient } from './client.ts'
import { type Program, procedure, program } from './program.ts'

/** Where portmappers listen. */
export const PORTMAP_PORT = 111

/** IPPROTO_TCP, IPPROTO_UDP (RFC 1833 §3.1). */
const PROTOCOL = { tcp: 6, udp: 17 } as const
const MAX_PORT = 65_535

const mapping = struct({ program: u32, version: u32, protocol: u32, port: u32 })

export const PORTMAP2 = program('PORTMAP', 100000, 2, {
  NULL: procedure(0, nothing, nothing),
  GETPORT: procedure(3, mapping, u32),
})

/** Undefined: the program is not registered. Fails with OncError. */
export async function portOf(
  portmapper: OncClient,
  { number, version }: Pick<Program, 'number' | 'version'>,
  transport: 'tcp' | 'udp',
): Promise<number | undefined> {
  const asked = { program: number, version, protocol: PROTOCOL[transport], port: 0 }
  const port = await portmapper.call(PORTMAP2.procedures.GETPORT, asked)
  return port > 0 && port <= MAX_PORT ? port : undefined
}
