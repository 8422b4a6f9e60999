// What an NFS server exports, to whom, and as whom they come in: exports(5) in small.
import { createHash } from 'node:crypto'
import { BlockList, isIP, isIPv4 } from 'node:net'
import type { Credentials } from '../../posix/credentials.ts'
import { LOOPBACK } from '../../rpc/loopback.ts'

/** Nobody: as whom squashed users come in. */
export const NOBODY = 65_534

/** Who may mount an export, and as whom they come in. */
export interface AccessOptions {
  /** Addresses and networks (`127.0.0.1`, `10.0.0.0/8`, `::1`) that may mount it; loopback if absent. */
  readonly clients?: readonly string[]
  readonly readOnly?: boolean
  /**
   * WRITE calls data stable when it survives the death of the server. Loss of power it survives after COMMIT, of which alone
   * that is then true: our client sends one at fsync(2), not at close(2). Otherwise each waits for the disk.
   */
  readonly asynchronous?: boolean
  /** Which users come in as nobody: root (the default), all, or none. */
  readonly squash?: 'root' | 'all' | 'none'
  readonly anonymousUid?: number
  readonly anonymousGid?: number
}

export interface ExportOptions extends AccessOptions {
  /** What clients mount: begins with a slash. */
  readonly path: string
  /** The directory of the volume that it shows: names from the root. */
  readonly directory: string
  /** Clients with options of their own. For an address that several lists have, the longest prefix counts. */
  readonly more?: readonly AccessOptions[]
}

/** Addresses whose answer is remembered: each call asks. */
const KNOWN_ADDRESSES = 1024

/** A set of addresses. */
export class ClientList {
  readonly names: readonly string[]
  readonly #list = new BlockList()
  readonly #known = new Map<string, boolean>()

  /** Throws an Error that names what is neither an address nor a network. */
  constructor(clients: readonly string[]) {
    this.names = clients
    for (const client of clients) this.#add(client)
  }

  #add(client: string): void {
    const [address = '', prefix, more] = client.split('/')
    const family = isIPv4(address) ? 'ipv4' : 'ipv6'
    const bits = family === 'ipv4' ? 32 : 128
    const length = prefix === undefined ? bits : /^\d{1,3}$/.test(prefix) ? Number(prefix) : Number.NaN
    if (isIP(address) === 0 || !(length <= bits) || more !== undefined) {
      throw new Error(`${JSON.stringify(client)} is neither an address nor a network such as 10.0.0.0/8`)
    }
    this.#list.addSubnet(address, length, family)
  }

  has(address: string): boolean {
    let has = this.#known.get(address)
    if (has === undefined) {
      has = this.#check(address)
      if (this.#known.size >= KNOWN_ADDRESSES) this.#known.clear()
      this.#known.set(address, has)
    }
    return has
  }

  #check(address: string): boolean {
    const plain = address.startsWith('::ffff:') && isIPv4(address.slice(7)) ? address.slice(7) : address
    return isIP(plain) !== 0 && this.#list.check(plain, isIPv4(plain) ? 'ipv4' : 'ipv6')
  }
}

/** What MOUNT can express (RFC 1813 appendix I §5.1.2). */
const PATH_BYTES_MAX = 1024

/** Comes with file handles, so it must be the same after a restart with other exports beside this one. */
const idOf = ({ path, directory }: ExportOptions): number =>
  createHash('sha256').update(`${path}\0${directory}`).digest().readUInt32BE()

function checkPath(path: string): void {
  const fits = path.isWellFormed() && !path.includes('\0') && Buffer.byteLength(path) <= PATH_BYTES_MAX
  if (!path.startsWith('/') || (path.endsWith('/') && path !== '/') || !fits) {
    throw new Error(`${JSON.stringify(path)} is no path of an export: those begin with a slash, and none ends with one`)
  }
}

/** How the clients of one list come in. */
export class Access {
  readonly readOnly: boolean
  readonly asynchronous: boolean
  readonly #squash: 'root' | 'all' | 'none'
  readonly #anonymous: Credentials

  constructor({
    readOnly,
    asynchronous,
    squash,
    anonymousUid: uid = NOBODY,
    anonymousGid: gid = NOBODY,
  }: AccessOptions) {
    this.readOnly = readOnly ?? false
    this.asynchronous = asynchronous ?? false
    this.#squash = squash ?? 'root'
    this.#anonymous = { uid, gid, groups: [] }
  }

  /** As whom a caller comes in. AUTH_SYS believes what the client says; undefined: AUTH_NONE, which says nothing. */
  admit(claimed: Credentials | undefined): Credentials {
    if (claimed === undefined || this.#squash === 'all') return this.#anonymous
    if (this.#squash === 'none') return claimed
    const { uid, gid, groups } = claimed
    if (uid === 0) return this.#anonymous
    const squashed = (group: number): number => (group === 0 ? this.#anonymous.gid : group)
    return { uid, gid: squashed(gid), groups: groups.map(squashed) }
  }
}

interface Rule {
  readonly list: ClientList
  /** Of the client's address, in bits. */
  readonly prefix: number
  readonly access: Access
}

function rulesOf(options: AccessOptions): Rule[] {
  const access = new Access(options)
  return (options.clients ?? LOOPBACK).map((client) => {
    const [address = '', prefix] = client.split('/')
    return { list: new ClientList([client]), prefix: Number(prefix ?? (isIPv4(address) ? 32 : 128)), access }
  })
}

export class Export {
  /** In file handles. */
  readonly id: number
  readonly path: string
  readonly directory: string
  /** Who may mount it. */
  readonly clients: readonly string[]
  /** The longest prefix first. */
  readonly #rules: readonly Rule[]

  /** Throws an Error of one line for a mistake in `options`. */
  constructor(options: ExportOptions) {
    checkPath(options.path)
    this.id = idOf(options)
    this.path = options.path
    this.directory = options.directory
    const rules = [options, ...(options.more ?? [])].flatMap(rulesOf)
    this.clients = rules.flatMap(({ list }) => list.names)
    this.#rules = rules.sort((a, b) => b.prefix - a.prefix)
  }

  /** How a client may use it; undefined: not at all. */
  accessOf(address: string): Access | undefined {
    return this.#rules.find(({ list }) => list.has(address))?.access
  }
}
