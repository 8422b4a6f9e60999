// A client as the server knows it, over all its connections: how to call it, and what it was answered.
import type { Clock } from '../../host/clock.ts'
import type { Statistics } from '../statistics.ts'
import type { WsConnection } from './connection.ts'
import { Conversation, heartbeat } from './conversation.ts'
import { WindowBudget } from './credits.ts'
import type { Incoming } from './frames.ts'
import type { ClientFacts } from './handshake.ts'
import { IncomingCalls, type Load } from './incoming-calls.ts'
import type { WsLimits } from './limits.ts'
import { OutgoingCalls } from './outgoing-calls.ts'
import type { CallOptions, OptionsOf, ResultOf, WsPeer } from './peer.ts'
import type { Procedure } from './program.ts'
import { Replies } from './replies.ts'
import type { ServiceTable } from './service.ts'
import type { CloseReason } from './socket.ts'

/** What all clients of a server share. */
export interface ServerSurroundings {
  readonly services: ServiceTable
  readonly statistics: Statistics
  readonly clock: Clock
  readonly limits: WsLimits
  readonly load: Load
  readonly budget: WindowBudget
  readonly heartbeatMs?: number | undefined
  onError?(error: unknown, procedure: string): void
}

const GONE = AbortSignal.abort()

export class RemoteClient implements WsPeer {
  readonly id: string
  readonly session: string
  readonly #around: ServerSurroundings
  readonly #replies: Replies
  readonly #outgoing: OutgoingCalls
  #name = ''
  #connection: WsConnection | undefined
  #conversation: Conversation | undefined
  #abort: AbortController | undefined
  #stopHeart = () => {}
  #left = () => {}
  #goneAt = 0

  constructor({ client, session }: ClientFacts, around: ServerSurroundings) {
    const { clock, statistics, limits } = around
    this.id = client
    this.session = session
    this.#around = around
    this.#replies = new Replies(limits.replies)
    this.#outgoing = new OutgoingCalls({
      ...{ clock, statistics, survive: false, maxCalls: limits.calls, timeoutMs: undefined },
      name: () => this.#name,
    })
  }

  get name(): string {
    return this.#name
  }

  get connected(): boolean {
    return this.#connection !== undefined
  }

  get signal(): AbortSignal {
    return this.#abort?.signal ?? GONE
  }

  /** Since when it is not connected; undefined while it is. */
  get goneSince(): number | undefined {
    return this.connected ? undefined : this.#goneAt
  }

  call<A, R, In extends boolean, Out extends boolean>(
    procedure: Procedure<A, R, In, Out>,
    args: NoInfer<A>,
    ...[options]: OptionsOf<NoInfer<In>>
  ): Promise<ResultOf<R, Out>> {
    return this.#outgoing.call(procedure, args, options as CallOptions | undefined) as Promise<ResultOf<R, Out>>
  }

  tell<A>(procedure: Procedure<A, unknown, false, false>, args: NoInfer<A>): boolean {
    return this.#outgoing.tell(procedure, args)
  }

  /** It is connected, until `left` says that it is not. The connection before is none any more. */
  opened(connection: WsConnection, name: string, { limits: theirs }: ClientFacts, left: () => void): void {
    this.drop('replaced')
    const { clock, statistics, services, limits, load, budget, heartbeatMs, onError } = this.#around
    this.#name = name
    this.#connection = connection
    this.#left = left
    this.#abort = new AbortController()
    const incoming = new IncomingCalls(connection, {
      ...{ services, statistics, clock, peer: this, maxCalls: limits.calls, replies: this.#replies, load },
      budget: new WindowBudget(limits.windowsBytes, budget),
      ...(onError === undefined ? {} : { onError }),
    })
    this.#conversation = new Conversation(this.#outgoing, incoming)
    this.#outgoing.opened(connection, { calls: theirs.calls, remembered: true })
    if (heartbeatMs !== undefined)
      this.#stopHeart = heartbeat(connection, clock, heartbeatMs, () => this.drop('silent'))
  }

  /** ProtocolError if it makes no sense. */
  received(message: Incoming): void {
    this.#conversation?.received(message)
  }

  drained(): void {
    this.#outgoing.drained()
  }

  /** Ends the connection, if there is one. */
  drop(reason: CloseReason): void {
    const connection = this.#connection
    this.lost(connection)
    connection?.close(reason)
  }

  /** That connection is gone. */
  lost(connection: WsConnection | undefined): void {
    if (connection === undefined || connection !== this.#connection) return
    this.#stopHeart()
    this.#connection = undefined
    this.#goneAt = this.#around.clock.now()
    this.#conversation?.lost()
    this.#conversation = undefined
    this.#abort?.abort()
    this.#left()
  }

  /** Nobody will hear of it again. */
  forget(reason: CloseReason): void {
    this.drop(reason)
    this.#outgoing.close()
    this.#replies.abandon()
  }
}
