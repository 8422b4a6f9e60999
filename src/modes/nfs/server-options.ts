// What `proteus serve nfs` may be told: what it exports to whom, and whether it tells ports to clients (portmapper).
import { isIP } from 'node:net'
import { LOOPBACK } from '../../rpc/loopback.ts'
import { PORTMAP_PORT } from '../../rpc/onc/portmap.ts'
import { type ModeOption, ModeOptionError, type ServeRequest, type ServerOption } from '../mode.ts'
import { parseExport, VOLUME_PATH } from './export-line.ts'
import { type AccessOptions, ClientList, type ExportOptions } from './exports.ts'

/** What is exported unless something else is asked for: everything, to this machine, close(2) without the disk. */
export const DEFAULT_EXPORTS: readonly ExportOptions[] = [
  { path: VOLUME_PATH, directory: '/', squash: 'none', asynchronous: true },
]

export const serverOptions: readonly ServerOption[] = [
  {
    flags: '--export <line>',
    summary: `as a line of exports(5): PATH CLIENT(options) …; ${VOLUME_PATH} is the volume, ${VOLUME_PATH}/pub its directory pub. Again for another`,
    examples: [
      "--export '/export 127.0.0.1(rw,no_root_squash)'",
      "--export '/export/pub *(ro,all_squash)' --export '/export/home 127.0.0.0/8(rw)'",
      "--host 10.0.0.1 --port 2049 --export '/export 10.0.0.7(rw) 10.0.0.0/24(ro)'",
    ],
  },
  {
    flags: '--portmap [port]',
    summary: `tell clients the port, as rpcbind does: on port ${PORTMAP_PORT} unless another is named`,
    examples: ['--portmap  # then `nfs-ls nfs://127.0.0.1/export` finds it, and `rpcinfo -p 127.0.0.1` shows it'],
  },
]

export interface NfsServerSettings {
  readonly exports: readonly ExportOptions[]
  readonly portmap?: number
}

/** Throws a `ModeOptionError` of one line. */
export function parseServerOptions({ options, host }: Pick<ServeRequest, 'options' | 'host'>): NfsServerSettings {
  const exports = options.filter(({ name }) => name === 'export').map(parseExportOption)
  checkPaths(exports)
  checkHost(host, exports)
  const portmap = options
    .filter(({ name }) => name === 'portmap')
    .map(parsePortmap)
    .at(-1)
  return {
    exports: exports.length === 0 ? DEFAULT_EXPORTS : exports,
    ...(portmap === undefined ? {} : { portmap }),
  }
}

const parseExportOption = ({ value = '' }: ModeOption): ExportOptions => parseExport(value)

function parsePortmap({ value = String(PORTMAP_PORT) }: ModeOption): number {
  const port = /^\d{1,5}$/.test(value) ? Number(value) : 0
  if (port >= 1 && port <= 65_535) return port
  throw new ModeOptionError(`--portmap needs a port from 1 to 65535, or none for ${PORTMAP_PORT}`)
}

function checkPaths(exports: readonly ExportOptions[]): void {
  const twice = exports.find(({ path }, i) => exports.findIndex((other) => other.path === path) !== i)
  if (twice === undefined) return
  throw new ModeOptionError(`--export ${twice.path} is there twice: its clients go into one line`)
}

const THIS_MACHINE = new ClientList(LOOPBACK)

function isThisMachine(client: string): boolean {
  const [address = '', prefix] = client.split('/')
  return THIS_MACHINE.has(address) && (prefix === undefined || Number(prefix) >= 8)
}

/**
 * Beyond this machine, AUTH_SYS is no authentication: the server believes whatever a client says of its users. So it
 * has to be told which addresses it trusts that much, and even those are not believed to be root.
 */
function checkHost(host: string, exports: readonly ExportOptions[]): void {
  if (isIP(host) === 0)
    throw new ModeOptionError(`--host needs an IP address to listen on, not ${JSON.stringify(host)}`)
  if (THIS_MACHINE.has(host)) return
  const accesses = exports.flatMap(({ more = [], ...first }): AccessOptions[] => [first, ...more])
  const anybody = accesses.some(({ clients = [] }) => clients.some((client) => client.endsWith('/0')))
  const root = accesses.some(({ clients = [], squash }) => squash === 'none' && !clients.every(isThisMachine))
  if (accesses.length > 0 && !anybody && !root) return
  const lacking = root
    ? 'may not be told no_root_squash for clients beyond this machine'
    : 'needs --export with the addresses of its clients'
  throw new ModeOptionError(
    `a server on ${host} ${lacking}: AUTH_SYS is no authentication, it believes what clients say of their users; ` +
      `as in --export '${VOLUME_PATH} 10.0.0.7(rw,root_squash)'`,
  )
}
