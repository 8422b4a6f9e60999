// A client's connections to the servers of a cell: calls in somebody's name, which can be interrupted and do not wait for a
// server that is gone; and what the servers tell, on the same connections.
import type { Clock } from '../../../host/clock.ts'
import type { KeepAwake } from '../../../host/keep-awake.ts'
import { FsError } from '../../../posix/errors.ts'
import type { Cancellation } from '../../../rpc/cancellation.ts'
import type { Link } from '../../../rpc/link.ts'
import { type Address, addressName, openTcp } from '../../../rpc/transport.ts'
import {
  type BytesOptions,
  type Procedure,
  ServiceError,
  service,
  WsClient,
  type WsClientEvent,
  wsChannel,
} from '../../../rpc/ws/index.ts'
import type { CallContext } from '../../../vfs/filesystem.ts'
import type { Interruptions } from '../../../vfs/interruption.ts'
import { AFS, AFSCB } from '../protocol.ts'
import type { Fid, Who } from '../records.ts'

/** How long a server that says it is busy is left alone, in milliseconds: at first, and at most. */
const BUSY_MS = { least: 20, most: 1000 } as const
/** How often a call is made again whose outcome the server has forgotten. */
const REPEATS = 8
/** Signs of life are asked for so often, in milliseconds, at most: OpenAFS probes every 3 minutes. */
const HEARTBEAT_MS = 30_000

/** Who makes a call: a program that waits and may be interrupted, or this client itself in somebody's name. */
export type Caller = CallContext | { readonly who: Who }

export interface FileServerEvents {
  /** Promises end. */
  broken(fids: readonly Fid[]): void
  /** No promise of this server stands. */
  voided(server: FileServer): void
  /** It answers again. */
  returned(server: FileServer): void
}

export interface FileServersOptions {
  /** The name by which servers know this client. */
  readonly id: string
  readonly link: Link
  readonly clock: Clock
  readonly awake: KeepAwake
  readonly deadMs: number
  readonly tokenFile?: string | undefined
  readonly caFile?: string | undefined
  readonly mount?: string | undefined
  readonly interruptions: Interruptions
  readonly events: FileServerEvents
}

export class FileServers {
  readonly #options: FileServersOptions
  readonly #servers = new Map<string, FileServer>()

  constructor(options: FileServersOptions) {
    this.#options = options
  }

  /** The connection to a server is made once and kept. */
  at(address: Address): FileServer {
    const name = addressName(address)
    const known = this.#servers.get(name)
    if (known !== undefined) return known
    const server = new FileServer(address, this.#options)
    this.#servers.set(name, server)
    return server
  }

  [Symbol.iterator](): IterableIterator<FileServer> {
    return this.#servers.values()
  }

  close(): void {
    for (const server of this.#servers.values()) server.close()
  }
}

export class FileServer {
  readonly name: string
  readonly client: WsClient
  readonly #options: FileServersOptions
  readonly #waiting = new Set<Cancellation>()
  /** Since when there is no connection, in milliseconds. */
  #lostAt: number | undefined
  #stopTimer = (): void => {}
  #dead = false

  constructor(address: Address, options: FileServersOptions) {
    this.#options = options
    this.name = addressName(address)
    const { link, clock, events, tokenFile, caFile } = options
    const security = {
      ...(tokenFile === undefined ? {} : { tokenFile }),
      ...(caFile === undefined ? {} : { tls: { caFile } }),
    }
    this.client = new WsClient(wsChannel(address, link.stream(openTcp(address)), security), {
      ...{ id: options.id, keep: true, clock, awake: options.awake },
      heartbeatMs: Math.min(HEARTBEAT_MS, Math.max(500, options.deadMs / 3)),
      ...(options.mount === undefined ? {} : { mount: options.mount }),
      services: [
        service(AFSCB, {
          Probe: () => {},
          CallBack: ({ fids }) => events.broken(fids),
          InitCallBackState: () => events.voided(this),
        }),
      ],
      onEvent: (event) => this.#heard(event),
    })
  }

  /** Nothing was heard of it for so long that nobody waits for it any more. */
  get dead(): boolean {
    return this.#dead
  }

  /** Throws ETIMEDOUT if it is dead. */
  requireAlive(): void {
    if (this.#dead) throw this.#deadError('not asked')
  }

  /** Since when it is out of reach, in milliseconds. */
  get lostAt(): number | undefined {
    return this.#lostAt
  }

  /**
   * The answer of a procedure without bytes. Fails with FsError and with ServiceError: EINTR, ETIMEDOUT if the server is dead.
   * A server that is busy for a moment is asked again.
   */
  call<A, R>(procedure: Procedure<A, R, false, false>, args: NoInfer<A>, caller: Caller): Promise<R> {
    return this.#call(caller, procedure.name, (cancellation) => this.client.call(procedure, args, { cancellation }))
  }

  /** The same, of one that takes the bytes of a file, which are asked for each time that it is made. */
  send<A, R>(
    procedure: Procedure<A, R, true, false>,
    args: NoInfer<A>,
    caller: Caller,
    bytes: () => Pick<BytesOptions, 'bytes' | 'length' | 'left'>,
  ): Promise<R> {
    return this.#call(caller, procedure.name, (cancellation) =>
      this.client.call(procedure, args, { ...bytes(), cancellation }),
    )
  }

  /** Of one that answers with bytes. */
  receive<A, R>(procedure: Procedure<A, R, false, true>, args: NoInfer<A>, caller: Caller) {
    return this.#call(caller, procedure.name, (cancellation) => this.client.call(procedure, args, { cancellation }))
  }

  async #call<R>(caller: Caller, name: string, make: (cancellation: Cancellation) => Promise<R>): Promise<R> {
    const cancellation: Cancellation = {}
    let interrupted = false
    let repeats = 0
    const stop =
      'who' in caller
        ? undefined
        : this.#options.interruptions.watch(caller, () => {
            interrupted = true
            cancellation.cancel?.()
          })
    this.#waiting.add(cancellation)
    try {
      for (let pauseMs: number = BUSY_MS.least; ; pauseMs = Math.min(2 * pauseMs, BUSY_MS.most)) {
        if (interrupted) throw new FsError('EINTR', name)
        if (this.#dead) throw this.#deadError(name)
        try {
          return await make(cancellation)
        } catch (error) {
          if (interrupted) throw new FsError('EINTR', name, { cause: error })
          if (this.#dead) throw this.#deadError(name)
          if (isUnknown(error) && ++repeats <= REPEATS) continue
          if (!isBusy(error)) throw error instanceof ServiceError ? error : FsError.from(error)
        }
        await this.#pause(pauseMs, cancellation)
      }
    } finally {
      stop?.()
      this.#waiting.delete(cancellation)
    }
  }

  #pause(ms: number, cancellation: Cancellation): Promise<void> {
    return new Promise((resolve) => {
      const stop = this.#options.clock.after(ms, resolve)
      cancellation.cancel = () => {
        stop()
        resolve()
      }
    })
  }

  #deadError(name: string): FsError {
    return new FsError('ETIMEDOUT', `${name}: nothing heard of ${this.name}`)
  }

  #heard(event: WsClientEvent): void {
    const { clock, deadMs, events } = this.#options
    if (event.type === 'connected') {
      this.#lostAt = undefined
      this.#dead = false
      this.#stopTimer()
      if (!event.remembered) events.voided(this)
      events.returned(this)
    } else if (event.type === 'disconnected' && this.#lostAt === undefined) {
      this.#lostAt = clock.now()
      // Silence had to last for as long as it takes to ask twice for a sign of life.
      this.#stopTimer = clock.after(deadMs / 3, () => {
        this.#dead = true
        for (const { cancel } of this.#waiting) cancel?.()
      })
    }
  }

  /** Farewell: the server forgets its promises at once. */
  async leave(): Promise<void> {
    if (!this.client.connected) return
    await this.client.call(AFS.procedures.GiveUpAllCallBacks, undefined, { timeoutMs: 1000 }).catch(() => {})
  }

  close(): void {
    this.#stopTimer()
    this.client.close()
  }
}

const failedFor = (error: unknown): unknown => (error instanceof Error && 'reason' in error ? error.reason : undefined)

/**
 * A server that began anew has forgotten whether it did it: it is asked again. A store is the same twice; of a name that was
 * made, moved or removed the caller hears EEXIST or ENOENT then, as of any server that forgets.
 */
const isUnknown = (error: unknown): boolean => failedFor(error) === 'OUTCOME_UNKNOWN'

/** VBUSY: the volume is being moved or cloned. EAGAIN: the server could not tell us yet what we must know. */
function isBusy(error: unknown): boolean {
  if (error instanceof ServiceError) return error.code === 'VBUSY'
  return failedFor(error) === 'BUSY'
}
