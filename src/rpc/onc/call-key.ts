// By what the duplicate request cache knows a call again.
import { crc32 } from 'node:zlib'

/** Bytes of the arguments that are looked at: all of them but for data, of which a megabyte would take a millisecond. */
const CHECKED_BYTES = 4096

/**
 * What tells two calls apart. The arguments belong to it since a client that began again may have come to the same
 * transaction id; the port, since clients of one host may.
 */
export function callKey(
  { address, port }: { readonly address: string; readonly port: number },
  xid: number,
  { program, version, procedure }: { readonly program: number; readonly version: number; readonly procedure: number },
  args: Buffer,
): string {
  const checksum = crc32(args.subarray(0, CHECKED_BYTES))
  return `${address} ${port} ${xid} ${program} ${version} ${procedure} ${args.length} ${checksum}`
}
