// How a mount begins: MNT tells the handle of the export's root (RFC 1813 appendix I), FSINFO what the server can carry.
// And how it ends: UMNT takes it off the server's list of mounts, which is only there to be looked at.
import { FsError } from '../../posix/errors.ts'
import type { Link } from '../../rpc/link.ts'
import { OncClient } from '../../rpc/onc/client.ts'
import type { OpaqueAuth } from '../../rpc/onc/message.ts'
import type { Address } from '../../rpc/transport.ts'
import { channelTo, failureOf } from './connection.ts'
import { MOUNT3, type MountError } from './mount3.ts'
import { NFS3 } from './nfs3.ts'
import type { Fattr3 } from './nfs3-types.ts'
import type { NfsOptions } from './options.ts'

/** A server that is not there is said at once; one that is silent, after this many milliseconds. */
const PATIENCE_MS = 10_000

/** How long an unmount waits for the server to be told, in milliseconds. */
const FAREWELL_MS = 1000

export interface Mounted {
  readonly handle: Buffer
  readonly attributes: Fattr3
  /** Most bytes of a READ, a WRITE and a directory reply. */
  readonly readBytes: number
  readonly writeBytes: number
  readonly directoryBytes: number
}

export interface MountCall {
  readonly nfs: Address
  readonly mount: Address
  readonly path: string
  readonly credential: OpaqueAuth
}

/** Fails with an Error of one line for people. */
export async function mountExport({ nfs, mount, path, credential }: MountCall, link: Link, options: NfsOptions) {
  const handle = await asking(mount, link, options, async (client) => {
    const result = await client.call(MOUNT3.procedures.MNT, path, { credential })
    if (result.status === 'MNT3_OK') return Buffer.from(result.handle)
    throw new Error(`${nameOf(mount)} does not let ${path} be mounted: ${WHY[result.status] ?? result.status}`)
  })
  return await asking(nfs, link, options, async (client): Promise<Mounted> => {
    const { FSINFO, GETATTR } = NFS3.procedures
    const info = await client.call(FSINFO, { root: handle }, { credential })
    if (info.status !== 'NFS3_OK') throw failureOf(info)
    const root = await client.call(GETATTR, { object: handle }, { credential })
    if (root.status !== 'NFS3_OK') throw failureOf(root)
    return {
      handle,
      attributes: root.attributes,
      // A server that says 0 has no opinion.
      readBytes: Math.min(options.readBytes, info.rtmax || options.readBytes),
      writeBytes: Math.min(options.writeBytes, info.wtmax || options.writeBytes),
      directoryBytes: Math.min(DIRECTORY_BYTES, info.rtmax || DIRECTORY_BYTES),
    }
  })
}

/** Tells the server, if it can be told soon: nothing depends on it. Never rejects. */
export async function unmountExport(
  { mount, path, credential }: Omit<MountCall, 'nfs'>,
  link: Link,
  options: Pick<NfsOptions, 'transport'>,
): Promise<void> {
  const abort = new AbortController()
  const cancel = link.clock.after(FAREWELL_MS, () => abort.abort())
  const { UMNT } = MOUNT3.procedures
  await asking(mount, link, options, (client) => client.call(UMNT, path, { credential, signal: abort.signal })).catch(
    () => undefined,
  )
  cancel()
}

const DIRECTORY_BYTES = 128 * 1024

const WHY: Readonly<Partial<Record<MountError, string>>> = {
  MNT3ERR_NOENT: 'there is no such export',
  MNT3ERR_ACCES: 'it is not exported to this machine',
  MNT3ERR_NOTDIR: 'it is not a directory',
}

const nameOf = ({ host, port }: Address): string => `${host}:${port}`

/** Asks over a connection of its own, which does not wait for a server that is not there. */
async function asking<T>(
  address: Address,
  link: Link,
  { transport }: Pick<NfsOptions, 'transport'>,
  ask: (client: OncClient) => Promise<T>,
): Promise<T> {
  let absent: (error: Error) => void = () => {}
  const noServer = new Promise<never>((_, reject) => {
    absent = reject
  })
  const client = new OncClient(channelTo(address, transport, link), {
    hard: false,
    ...(transport === 'tcp' ? { timeoMs: PATIENCE_MS, retrans: 0 } : {}),
    connectMs: PATIENCE_MS,
    onEvent(event) {
      if (event.type !== 'disconnected') return
      const reason = event.error instanceof Error ? event.error.message : 'the connection was closed'
      absent(new Error(`no NFS server at ${nameOf(address)}: ${reason}`, { cause: event.error }))
    },
  })
  try {
    return await Promise.race([ask(client), noServer])
  } catch (error) {
    if (FsError.from(error).code !== 'ETIMEDOUT') throw error
    throw new Error(`no answer from an NFS server at ${nameOf(address)}`, { cause: error })
  } finally {
    client.close()
    noServer.catch(() => undefined)
  }
}
