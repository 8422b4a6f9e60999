// A client's way to its server: the calls of NFS version 3 over one connection, through the link whose faults can be set;
// what they fail with, and who does not wait for them any longer.
import type { KeepAwake } from '../../host/keep-awake.ts'
import { FsError } from '../../posix/errors.ts'
import type { Cancellation } from '../../rpc/cancellation.ts'
import type { Link } from '../../rpc/link.ts'
import { type ChannelKind, tcpChannel, udpChannel } from '../../rpc/onc/channel.ts'
import { OncClient, type OncClientOptions } from '../../rpc/onc/client.ts'
import type { OpaqueAuth } from '../../rpc/onc/message.ts'
import type { Procedure } from '../../rpc/onc/program.ts'
import { type Address, openTcp, openUdp } from '../../rpc/transport.ts'
import type { CallContext } from '../../vfs/filesystem.ts'
import { Interruptions } from '../../vfs/interruption.ts'
import { CallerCredentials } from './caller-credentials.ts'
import { errnoOfStatus, NFSSTAT3, type NfsStatusName } from './status-map.ts'

/** NFS3ERR_JUKEBOX, "try again later": how long later is, in milliseconds. Linux waits 5 s. */
const JUKEBOX_MS = 1000
/** How often a soft call tries again before it believes that later is never. */
const JUKEBOX_TRIES = 10

/** Who makes a call: a program that waits and may be interrupted, or this client itself in somebody's name. */
export type Caller = CallContext | { readonly credential: OpaqueAuth }

export interface ConnectionOptions extends OncClientOptions {
  readonly transport: 'tcp' | 'udp'
  readonly now: () => number
  readonly awake: KeepAwake
}

interface AnyResult {
  readonly status: NfsStatusName
}

export function channelTo(address: Address, transport: 'tcp' | 'udp', link: Link): ChannelKind {
  return transport === 'tcp'
    ? tcpChannel(address, link.stream(openTcp(address)))
    : udpChannel(address, link.datagrams(openUdp(address)))
}

/** What a program sees of a result that is no success. */
export function failureOf(result: AnyResult): FsError {
  return new FsError(errnoOfStatus(NFSSTAT3[result.status]) ?? 'EIO', result.status)
}

export class NfsConnection {
  readonly link: Link
  readonly client: OncClient
  readonly interruptions: Interruptions
  readonly #callers: CallerCredentials
  readonly #hard: boolean

  constructor(address: Address, link: Link, { transport, now, ...options }: ConnectionOptions) {
    this.link = link
    this.client = new OncClient(channelTo(address, transport, link), options)
    this.#callers = new CallerCredentials({ now })
    this.interruptions = new Interruptions({ clock: link.clock })
    this.#hard = options.hard ?? true
  }

  /** The credential of who calls, for calls that are made later in its name. */
  credentialOf(caller: Caller): OpaqueAuth {
    return 'credential' in caller ? caller.credential : this.#callers.of(caller)
  }

  /** Asks until the server has time. Whatever else it answers is a result; fails with FsError if there is none. */
  async call<A, R extends AnyResult>(procedure: Procedure<A, R>, args: A, caller: Caller): Promise<R> {
    const credential = this.credentialOf(caller)
    const cancellation: Cancellation = {}
    let interrupted = false
    const stop =
      'credential' in caller
        ? undefined
        : this.interruptions.watch(caller, () => {
            interrupted = true
            cancellation.cancel?.()
          })
    try {
      for (let tries = 1; ; tries++) {
        const result = await this.client.call(procedure, args, { credential, cancellation })
        if (result.status !== 'NFS3ERR_JUKEBOX' || (!this.#hard && tries >= JUKEBOX_TRIES)) return result
        await this.#pause(cancellation)
        if (interrupted) throw new FsError('EINTR', procedure.name)
      }
    } catch (error) {
      if (interrupted) throw new FsError('EINTR', procedure.name, { cause: error })
      throw FsError.from(error)
    } finally {
      stop?.()
    }
  }

  /** How many calls of a procedure were sent more than once so far, counted by repetition. */
  repetitions({ name }: Pick<Procedure<unknown, unknown>, 'name'>): number {
    return this.client.statistics.of(name).retransmissions
  }

  /**
   * How many calls for which nobody waits may be made at once. While the server does not respond, one is enough to notice
   * when it does again, and none if others wait for that.
   */
  get limit(): number {
    const { notRespondingSince, waiting } = this.client.status()
    if (notRespondingSince === undefined) return Number.POSITIVE_INFINITY
    return waiting.length === 0 ? 1 : 0
  }

  /** The server has no time: waits, unless nobody waits for the call any more. */
  #pause(cancellation: Cancellation): Promise<void> {
    return new Promise((resolve) => {
      const stop = this.link.clock.after(JUKEBOX_MS, resolve)
      cancellation.cancel = () => {
        stop()
        resolve()
      }
    })
  }

  close(): void {
    this.client.close()
  }
}
