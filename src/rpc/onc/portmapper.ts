// A portmapper of its own: tells clients on which port a server has its programs. It knows that server's and no others:
// nobody can register anything.
import { IP_PROTOCOL, PORTMAP2, RPCBIND3, RPCBIND4, universalAddress } from './portmap.ts'
import type { Program } from './program.ts'
import { type Service, service } from './service.ts'

/** Programs on one port, over TCP and UDP. */
export interface Registered {
  readonly programs: readonly Pick<Program, 'number' | 'version'>[]
  readonly host: string
  readonly port: number
}

/** As it is called who registers, in lists of rpcbind. */
const OWNER = 'proteus'

const refuse = (): boolean => false

/**
 * Portmap, and rpcbind where there is one address to tell: a server that listens on all has another one for each client,
 * and those who get PROG_MISMATCH ask portmap, which tells ports only.
 */
export function portmapServices(registered: readonly Registered[]): Service[] {
  const portmap = service(PORTMAP2, {
    SET: refuse,
    UNSET: refuse,
    GETPORT: ({ program, protocol }) =>
      Object.values<number>(IP_PROTOCOL).includes(protocol) ? (find(registered, program)?.port ?? 0) : 0,
    DUMP: () =>
      entriesOf(registered).flatMap(({ program, version, port }) =>
        Object.values(IP_PROTOCOL).map((protocol) => ({ program, version, protocol, port })),
      ),
  })
  if (registered.some(({ host }) => host === '0.0.0.0' || host === '::')) return [portmap]
  return [portmap, ...[RPCBIND3, RPCBIND4].map((version) => rpcbind(version, registered))]
}

function rpcbind(version: typeof RPCBIND3 | typeof RPCBIND4, registered: readonly Registered[]): Service {
  return service(version, {
    SET: refuse,
    UNSET: refuse,
    GETADDR({ program, netid }) {
      const found = find(registered, program)
      return found !== undefined && netidsOf(found.host).includes(netid) ? universalAddress(found.host, found.port) : ''
    },
    DUMP: () =>
      entriesOf(registered).flatMap(({ program, version, host, port }) =>
        netidsOf(host).map((netid) => ({
          ...{ program, version, netid, owner: OWNER },
          address: universalAddress(host, port),
        })),
      ),
  })
}

/** Any version will do, as with rpcbind: who calls the wrong one is told by the program which there are. */
const find = (registered: readonly Registered[], program: number): Registered | undefined =>
  registered.find(({ programs }) => programs.some(({ number }) => number === program))

const entriesOf = (registered: readonly Registered[]) =>
  registered.flatMap(({ programs, host, port }) =>
    programs.map(({ number, version }) => ({ program: number, version, host, port })),
  )

const netidsOf = (host: string): readonly string[] => (host.includes(':') ? ['tcp6', 'udp6'] : ['tcp', 'udp'])
