// What the tests of the NFS server share: a real volume in a temporary directory, and the programs on it, asked with
// the bytes of calls.
import fs from 'node:fs'
import { join } from 'node:path'
import { afterEach, expect, inject } from 'vitest'
import { encode, XdrReader, XdrWriter } from '../../../../src/codec/xdr.ts'
import type { ExportOptions } from '../../../../src/modes/nfs/exports.ts'
import { MOUNT3 } from '../../../../src/modes/nfs/mount3.ts'
import { NFS3, type Nfs3, type Result } from '../../../../src/modes/nfs/nfs3.ts'
import { TRANSFER_MAX } from '../../../../src/modes/nfs/nfs3-types.ts'
import { LockServer, type LockServerOptions } from '../../../../src/modes/nfs/nlm-server.ts'
import { nfsPrograms, serverParts } from '../../../../src/modes/nfs/server.ts'
import { DEFAULT_EXPORTS } from '../../../../src/modes/nfs/server-options.ts'
import type { Credentials } from '../../../../src/posix/credentials.ts'
import { authSys, CredentialReader } from '../../../../src/rpc/onc/auth.ts'
import { CallBody, CallStart, type OpaqueAuth, ReplyStart } from '../../../../src/rpc/onc/message.ts'
import type { Peer } from '../../../../src/rpc/onc/peer.ts'
import type { ArgsOf, Procedure, ResultOf } from '../../../../src/rpc/onc/program.ts'
import { readResult } from '../../../../src/rpc/onc/reply.ts'
import type { OncServer } from '../../../../src/rpc/onc/server.ts'
import { Volume } from '../../../../src/store/volume.ts'

export const root: Credentials = { uid: 0, gid: 0, groups: [] }
export const alice: Credentials = { uid: 1000, gid: 1000, groups: [50] }
export const bob: Credentials = { uid: 2000, gid: 2000, groups: [] }

/** Attributes that ask for nothing. */
export const NOTHING = {
  mode: undefined,
  uid: undefined,
  gid: undefined,
  size: undefined,
  atime: { how: 'DONT_CHANGE' },
  mtime: { how: 'DONT_CHANGE' },
} as const
export const KEY = Buffer.alloc(32, 'k')
export const ZERO8 = Buffer.alloc(8)

const worlds = new Set<World>()

afterEach(async () => {
  for (const world of worlds) await world.end()
  worlds.clear()
})

export interface From {
  /** undefined: AUTH_NONE. */
  readonly who?: Credentials | undefined
  readonly address?: string
  readonly port?: number
  readonly transport?: 'tcp' | 'udp'
  readonly xid?: number
}

export interface RawCall {
  readonly xid?: number
  readonly program: number
  readonly version: number
  readonly procedure: number
  readonly args?: Buffer
  readonly credential?: OpaqueAuth
}

const NONE: OpaqueAuth = { flavor: 0, body: Buffer.alloc(0) }

/** The bytes of a call. */
export function callBytes({ xid = 1, args = Buffer.alloc(0), credential = NONE, ...body }: RawCall): Buffer {
  const start = encode(CallStart, { xid, type: 0, rpcVersion: 2 })
  return Buffer.concat([start, encode(CallBody, { ...body, credential, verifier: NONE }), args])
}

export class World {
  volume: Volume
  server: OncServer
  locking!: LockServer
  readonly directory: string
  readonly errors: Error[] = []
  #options: readonly ExportOptions[]
  readonly #lockOptions: LockServerOptions
  #xid = 100
  #peers = new Map<string, Peer>()

  private constructor(
    volume: Volume,
    directory: string,
    options: readonly ExportOptions[],
    lockOptions: LockServerOptions,
  ) {
    this.volume = volume
    this.directory = directory
    this.#options = options
    this.#lockOptions = lockOptions
    this.server = this.#serve()
    worlds.add(this)
  }

  /** `prepare` makes what the exports show. */
  static async open(
    exports: readonly ExportOptions[] = DEFAULT_EXPORTS,
    prepare: (volume: Volume) => void = () => {},
    locking: LockServerOptions = {},
  ): Promise<World> {
    const directory = fs.mkdtempSync(join(inject('testRoot'), 'nfs-'))
    const volume = await openVolume(directory)
    prepare(volume)
    return new World(volume, directory, exports, locking)
  }

  #serve(): OncServer {
    this.#peers.clear()
    const parts = serverParts(this.volume, KEY, this.#options)
    const onError = (error: Error) => this.errors.push(error)
    this.locking = new LockServer(parts, this.directory, { ...this.#lockOptions, onError })
    return nfsPrograms(parts, onError, this.locking.services)
  }

  /** Ends the server and starts another one, with other exports if so told. */
  async restart(exports = this.#options): Promise<void> {
    this.locking.close()
    await this.volume.close()
    this.volume = await openVolume(this.directory)
    this.#options = exports
    this.server = this.#serve()
  }

  async end(): Promise<void> {
    this.locking.close()
    await this.volume.close()
    fs.rmSync(this.directory, { recursive: true, force: true })
    expect(this.errors).toEqual([])
  }

  /** A connection of its own, which takes calls. */
  connect(from: From, peer: Peer): void {
    const { address = '127.0.0.1', port = 700, transport = 'tcp' } = from
    this.#peers.set(`${address} ${port} ${transport}`, peer)
  }

  peer({ address = '127.0.0.1', port = 700, transport = 'tcp' }: From = {}): Peer {
    const name = `${address} ${port} ${transport}`
    const known = this.#peers.get(name)
    if (known !== undefined) return known
    const peer: Peer = {
      address,
      port,
      transport,
      signal: new AbortController().signal,
      credentials: new CredentialReader(),
      maxReplyBytes: transport === 'udp' ? 65_507 : TRANSFER_MAX + 65_536,
    }
    this.#peers.set(name, peer)
    return peer
  }

  /** The bytes of the answer, if there is one. */
  async raw(message: Buffer, from: From = {}): Promise<Buffer | undefined> {
    const reply = await this.server.answer(message, this.peer(from))
    return reply === undefined ? undefined : Buffer.concat(reply)
  }

  bytesOf<A>(procedure: Procedure<A, unknown>, args: A, { who, xid = this.#xid++ }: From): Buffer {
    const writer = new XdrWriter().begin(TRANSFER_MAX + 65_536)
    procedure.args.write(writer, args)
    const identity = who && { stamp: 0, machineName: 'test', uid: who.uid, gid: who.gid, gids: [...who.groups] }
    const { program, version, number } = procedure
    const credential = identity === undefined ? NONE : authSys(identity)
    return callBytes({ xid, program, version, procedure: number, credential, args: Buffer.concat(writer.take()) })
  }

  async call<A, R>(procedure: Procedure<A, R>, args: A, from: From = {}): Promise<R> {
    const bytes = await this.raw(this.bytesOf(procedure, args, 'who' in from ? from : { who: root, ...from }), from)
    if (bytes === undefined) throw new Error('no answer')
    const reader = new XdrReader(bytes)
    ReplyStart.read(reader)
    return readResult(reader, procedure as unknown as Procedure<never, R>)
  }

  nfs<P extends keyof Nfs3>(name: P, args: ArgsOf<Nfs3[P]>, from: From = {}): Promise<Result<P>> {
    const procedure = NFS3.procedures[name] as unknown as Procedure<ArgsOf<Nfs3[P]>, ResultOf<Nfs3[P]>>
    return this.call(procedure, args, from)
  }

  /** The status that a call is answered with. */
  async status<P extends keyof Nfs3>(name: P, args: ArgsOf<Nfs3[P]>, from: From = {}): Promise<string> {
    return ((await this.nfs(name, args, from)) as unknown as { status: string }).status
  }

  async mount(path = '/export', from: From = {}): Promise<Buffer> {
    const result = await this.call(MOUNT3.procedures.MNT, path, from)
    if (result.status !== 'MNT3_OK') throw new Error(result.status)
    return Buffer.from(result.handle)
  }

  /** The handle of a name. */
  async find(dir: Buffer, name: string, from: From = {}): Promise<Buffer> {
    const found = ok(await this.nfs('LOOKUP', { what: { dir, name } }, from))
    return Buffer.from(found.object)
  }

  /** Makes a file; returns its handle. */
  async file(dir: Buffer, name: string, from: From = {}, mode = 0o644): Promise<Buffer> {
    const how = { mode: 'GUARDED', attributes: { ...NOTHING, mode } } as const
    return handleOf(ok(await this.nfs('CREATE', { where: { dir, name }, how }, from)))
  }

  async folder(dir: Buffer, name: string, from: From = {}, mode = 0o755): Promise<Buffer> {
    return handleOf(ok(await this.nfs('MKDIR', { where: { dir, name }, attributes: { ...NOTHING, mode } }, from)))
  }

  async write(file: Buffer, text: string | Buffer, offset = 0, from: From = {}) {
    const data = Buffer.from(text)
    return ok(await this.nfs('WRITE', { file, offset, count: data.length, stable: 'UNSTABLE', data }, from))
  }

  async attributes(object: Buffer, from: From = {}) {
    return ok(await this.nfs('GETATTR', { object }, from)).attributes
  }
}

function openVolume(directory: string): Promise<Volume> {
  return Volume.open(directory, {
    onBackgroundError: (error) => {
      throw error
    },
  })
}

type Ok<R> = Extract<R, { readonly status: 'NFS3_OK' }>

/** The answer, which must be a success. */
export function ok<R extends { readonly status: string }>(result: R): Ok<R> {
  expect(result.status).toBe('NFS3_OK')
  return result as Ok<R>
}

export function handleOf({ object }: { readonly object: Buffer | undefined }): Buffer {
  if (object === undefined) throw new Error('no handle')
  return Buffer.from(object)
}
