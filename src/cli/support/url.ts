// URLs of file systems: `local:DIR`, `nfs://host[:port]/export`, `smb://user@host[:port]/share`,
// `coda://host,host,host/volume`, …: the scheme is the mode, the rest says where.
import { resolve } from 'node:path'
import type { Address, Host } from '../../modes/mode.ts'
import { usageError } from '../exit.ts'

const MAX_PORT = 65_535

/** `directory` resolves a relative `local:DIR`. Throws a usage error that says what is wrong. */
export function parseUrl(url: string, directory: string): Address {
  const scheme = /^([a-z][a-z0-9]*):/.exec(url)?.[1]
  if (scheme === undefined)
    throw usageError(`${JSON.stringify(url)} is not a URL such as local:DIR or nfs://host/export`)
  const rest = url.slice(scheme.length + 1)
  return rest.startsWith('//') ? remote(url, scheme, rest.slice(2)) : local(scheme, rest, directory)
}

function local(scheme: string, path: string, directory: string): Address {
  if (path === '') throw usageError(`${scheme}: needs a directory, as in ${scheme}:DIR`)
  return { mode: scheme, directory: resolve(directory, path), hosts: [], path: '' }
}

function remote(url: string, scheme: string, rest: string): Address {
  const slash = rest.indexOf('/')
  const authority = slash < 0 ? rest : rest.slice(0, slash)
  const path = slash < 0 ? '' : decode(rest.slice(slash + 1), url)
  const at = authority.lastIndexOf('@')
  const user = at < 0 ? undefined : decode(authority.slice(0, at), url)
  if (user?.includes(':'))
    throw usageError('a password does not belong in a URL: everybody on this machine could read it')
  const hosts = authority
    .slice(at + 1)
    .split(',')
    .map((text) => parseHost(text, url))
  return { mode: scheme, hosts, path, ...(user === undefined ? {} : { user }) }
}

/** `name`, `name:port`, `[::1]`, `[::1]:port`. */
function parseHost(text: string, url: string): Host {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^\s:[\]]+))(?::(\d{1,5}))?$/.exec(text)
  const host = match?.[1] ?? match?.[2]
  if (host === undefined) throw usageError(`${url}: ${JSON.stringify(text)} is not a host name with or without :port`)
  if (match?.[3] === undefined) return { host }
  const port = Number(match[3])
  if (port < 1 || port > MAX_PORT) throw usageError(`${url}: there is no port ${match[3]}`)
  return { host, port }
}

function decode(text: string, url: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw usageError(`${url}: bad %-escape in ${JSON.stringify(text)}`)
  }
}
