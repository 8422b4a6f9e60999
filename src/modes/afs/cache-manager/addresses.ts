// Addresses as servers tell them: `host:port`, with brackets around an IPv6 address.
import { FsError } from '../../../posix/errors.ts'
import type { Address } from '../../../rpc/transport.ts'

/** Throws FsError: EINVAL, that is none. */
export function parseAddress(text: string): Address {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([\w.-]+)):(\d{1,5})$/.exec(text)
  const host = match?.[1] ?? match?.[2]
  const port = Number(match?.[3])
  if (host === undefined || port < 1 || port > 65_535) throw new FsError('EINVAL', `no address: ${text}`)
  return { host, port }
}
