// Clients of the lock server, as bytes on connections that are not there: they lock, are called back, and vanish.

import { CALLBACK } from '../../../../src/modes/nfs/callback-program.ts'
import type { ExportOptions } from '../../../../src/modes/nfs/exports.ts'
import type { LockServerOptions } from '../../../../src/modes/nfs/nlm-server.ts'
import { NLM4_STATS } from '../../../../src/modes/nfs/nlm-types.ts'
import { NLM4 } from '../../../../src/modes/nfs/nlm4.ts'
import { DEFAULT_EXPORTS } from '../../../../src/modes/nfs/server-options.ts'
import { CredentialReader } from '../../../../src/rpc/onc/auth.ts'
import { BackChannel } from '../../../../src/rpc/onc/back-channel.ts'
import type { ArgsOf, Procedure, ResultOf } from '../../../../src/rpc/onc/program.ts'
import { OncServer } from '../../../../src/rpc/onc/server.ts'
import { NO_REPLY, service } from '../../../../src/rpc/onc/service.ts'
import { settle, TestClock } from '../../rpc/test-clock.ts'
import { type From, root, World } from './nfs-world.ts'

type Nlm4 = (typeof NLM4)['procedures']
type Args<P extends keyof Nlm4> = ArgsOf<Nlm4[P]>

export const COOKIE = Buffer.from('cookie')

export const nameOf = (stat: number): string =>
  Object.entries(NLM4_STATS)
    .find(([, number]) => number === stat)?.[0]
    .slice(5) ?? String(stat)

export interface Range {
  readonly offset?: bigint
  readonly length?: bigint
  readonly shared?: boolean
  readonly block?: boolean
  readonly reclaim?: boolean
  readonly oh?: Buffer
}

export async function openLocks(locking: LockServerOptions = {}, exports: readonly ExportOptions[] = DEFAULT_EXPORTS) {
  const clock = new TestClock()
  const world = await World.open(exports, () => {}, { clock, ...locking })
  const top = await world.mount()
  const file = await world.file(top, 'file', { who: root }, 0o666)
  const other = await world.file(top, 'other', { who: root }, 0o666)
  let port = 800
  const client = (name: string, address = '127.0.0.1') => new Client(world, file, name, { address, port: port++ })
  return { world, clock, top, file, other, client }
}

/** One caller_name; its owners are numbers. */
export class Client {
  readonly granted: Args<'GRANTED'>[] = []
  readonly results: { readonly procedure: string; readonly stat: number }[] = []
  /** What it says when it is called. Without it it says nothing. */
  answer: number | undefined | ((granted: Args<'GRANTED'>) => number) = NLM4_STATS.NLM4_GRANTED
  readonly name: string
  readonly #world: World
  readonly #file: Buffer
  readonly #from: From
  #end: () => void = () => {}

  constructor(world: World, file: Buffer, name: string, from: From) {
    this.#world = world
    this.#file = file
    this.name = name
    this.#from = from
  }

  call<P extends keyof Nlm4>(procedure: P, args: Args<P>): Promise<ResultOf<Nlm4[P]>> {
    const one = NLM4.procedures[procedure] as unknown as Procedure<Args<P>, ResultOf<Nlm4[P]>>
    return this.#world.call(one, args, { who: root, ...this.#from })
  }

  /** Sends a message: there must be no reply. */
  async message<P extends keyof Nlm4>(procedure: P, args: Args<P>): Promise<Buffer | undefined> {
    const one = NLM4.procedures[procedure] as unknown as Procedure<Args<P>, ResultOf<Nlm4[P]>>
    const reply = await this.#world.raw(this.#world.bytesOf(one, args, { who: root, ...this.#from }), this.#from)
    await settle()
    return reply
  }

  lockArgs(svid: number, range: Range = {}, fh = this.#file) {
    const { offset = 0n, length = 0n, oh = Buffer.from(`oh${svid}`) } = range
    return { callerName: this.name, fh, oh, svid, offset, length }
  }

  args(svid: number, range: Range = {}, fh = this.#file) {
    const { shared = false, block = false, reclaim = false } = range
    const lock = this.lockArgs(svid, range, fh)
    return { cookie: COOKIE, block, exclusive: !shared, lock, reclaim, state: 0 }
  }

  async lock(svid: number, range: Range = {}, fh = this.#file): Promise<string> {
    return nameOf((await this.call('LOCK', this.args(svid, range, fh))).stat)
  }

  async wait(svid: number, range: Range = {}, fh = this.#file): Promise<string> {
    return await this.lock(svid, { ...range, block: true }, fh)
  }

  async unlock(svid: number, range: Range = {}, fh = this.#file): Promise<string> {
    const { stat } = await this.call('UNLOCK', { cookie: COOKIE, lock: this.lockArgs(svid, range, fh) })
    await settle()
    return nameOf(stat)
  }

  async cancel(svid: number, range: Range = {}, fh = this.#file): Promise<string> {
    const { stat } = await this.call('CANCEL', this.args(svid, { ...range, block: true }, fh))
    await settle()
    return nameOf(stat)
  }

  async test(svid: number, range: Range = {}, fh = this.#file) {
    const { test } = await this.call('TEST', this.args(svid, range, fh))
    return 'holder' in test ? { stat: nameOf(test.stat), ...test.holder } : { stat: nameOf(test.stat) }
  }

  /** A connection that takes calls. Returns what the server knows. */
  async connect(): Promise<boolean> {
    this.#end()
    const abort = new AbortController()
    const server = this.#server()
    const peer = {
      address: this.#from.address ?? '',
      port: this.#from.port ?? 0,
      transport: 'tcp' as const,
      signal: abort.signal,
      credentials: new CredentialReader(),
      maxReplyBytes: 65_536,
    }
    const back = new BackChannel({ host: peer.address, port: peer.port }, 65_536, () => ({
      bufferedBytes: 0,
      send: (chunks) => {
        const message = Buffer.concat(chunks)
        void (async () => {
          const reply = await server.answer(message, peer)
          if (reply !== undefined) back.received(Buffer.concat(reply))
        })()
      },
    }))
    this.#end = () => {
      abort.abort()
      back.end()
    }
    this.#world.connect(this.#from, { ...peer, back })
    const { ACCEPTS_CALLS } = CALLBACK.procedures
    const { known } = await this.#world.call(ACCEPTS_CALLS, { callerName: this.name }, this.#from)
    await settle()
    return known
  }

  disconnect(): void {
    this.#end()
  }

  #server(): OncServer {
    const result = (procedure: string, stat: number): typeof NO_REPLY => {
      this.results.push({ procedure, stat })
      return NO_REPLY
    }
    return new OncServer([
      service(NLM4, {
        GRANTED: ({ cookie, exclusive, lock }) => {
          const own = { ...lock, fh: Buffer.from(lock.fh), oh: Buffer.from(lock.oh) }
          const granted = { cookie: Buffer.from(cookie), exclusive, lock: own }
          this.granted.push(granted)
          const stat = typeof this.answer === 'function' ? this.answer(granted) : this.answer
          return stat === undefined ? NO_REPLY : { cookie, stat }
        },
        TEST_RES: ({ test }) => result('TEST_RES', test.stat),
        LOCK_RES: ({ stat }) => result('LOCK_RES', stat),
        CANCEL_RES: ({ stat }) => result('CANCEL_RES', stat),
        UNLOCK_RES: ({ stat }) => result('UNLOCK_RES', stat),
      }),
    ])
  }
}
