// Asks a portmapper where a program listens (RFC 1833 §3, version 2 of the protocol).
import type { OncClient } from './client.ts'
import { IP_PROTOCOL, PORTMAP2 } from './portmap.ts'
import type { Program } from './program.ts'

const MAX_PORT = 65_535

/** Undefined: the program is not registered. Fails with OncError. */
export async function portOf(
  portmapper: OncClient,
  { number, version }: Pick<Program, 'number' | 'version'>,
  transport: 'tcp' | 'udp',
): Promise<number | undefined> {
  const asked = { program: number, version, protocol: IP_PROTOCOL[transport], port: 0 }
  const port = await portmapper.call(PORTMAP2.procedures.GETPORT, asked)
  return port > 0 && port <= MAX_PORT ? port : undefined
}
