// How servers and cells are called.
import type { Address } from '../../rpc/transport.ts'

/** `host:port`, with brackets around an IPv6 address; undefined: it is none. */
export function readAddress(text: string): Address | undefined {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([\w.-]+)):(\d{1,5})$/.exec(text)
  const host = match?.[1] ?? match?.[2]
  const port = Number(match?.[3])
  return host === undefined || host.length > 255 || port < 1 || port > 65_535 ? undefined : { host, port }
}

/** A name that could be a cell's: a domain. */
export const isCellName = (name: string): boolean => CELL.test(name)

const CELL = /^(?=.{1,255}$)[A-Za-z0-9]([\w-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([\w-]*[A-Za-z0-9])?)*$/
