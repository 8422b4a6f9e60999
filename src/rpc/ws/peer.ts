// The other side of a connection, as handlers and callers see it.
import type { Cancellation } from '../cancellation.ts'
import type { IncomingBytes } from './incoming-bytes.ts'
import type { ByteSource } from './outgoing-bytes.ts'
import type { Procedure } from './program.ts'

export interface CallOptions {
  /** Aborted: the call fails with INTERRUPTED, and the signal of its handler is aborted. */
  readonly signal?: AbortSignal
  /** The same, for calls that are many: gets a `cancel`, which costs less than a signal does. */
  readonly cancellation?: Cancellation
  /** After so long without an answer, or without the end of its bytes, the call fails with TIMED_OUT. None: it waits for ever. */
  readonly timeoutMs?: number
}

/** What a procedure that takes bytes needs, too. */
export interface BytesOptions extends CallOptions {
  /**
   * The bytes. Given as a function, which is called each time that they are sent from their beginning, or all in one buffer,
   * which must not change until the call is over, the call survives its connection; else it fails with DISCONNECTED.
   */
  readonly bytes: Uint8Array | ByteSource | (() => ByteSource)
  /** How many there are, if that is known: one more or less is an error. */
  readonly length?: number
  /**
   * Told of each chunk of a stream that has left: its memory may be used again. Of those that were under way when the
   * connection broke, or that nobody wanted any more, it is not told.
   */
  readonly left?: (chunk: Buffer) => void
}

/** A result and the bytes that come with it. They must be read to their end, or cancelled: until then the call is not over. */
export interface Answer<R> {
  readonly result: R
  readonly bytes: IncomingBytes
}

export type ResultOf<R, Out extends boolean> = Out extends true ? Answer<R> : R
export type OptionsOf<In extends boolean> = In extends true ? [options: BytesOptions] : [options?: CallOptions]

export interface WsPeer {
  /** Of a client, the name that it keeps; of a server, that of its present life. */
  readonly id: string
  /** Its address, for people. */
  readonly name: string
  readonly connected: boolean
  /** Aborted when the connection over which it is reached now is gone. */
  readonly signal: AbortSignal
  /**
   * Calls a procedure. Rejects with FsError, ServiceError or WsError: DISCONNECTED if the peer is not there or goes away.
   * Large arguments are better sent as bytes.
   */
  call<A, R, In extends boolean, Out extends boolean>(
    procedure: Procedure<A, R, In, Out>,
    args: NoInfer<A>,
    ...options: OptionsOf<NoInfer<In>>
  ): Promise<ResultOf<R, Out>>
  /** Calls once and waits for nothing. False if it is lost for certain. */
  tell<A>(procedure: Procedure<A, unknown, false, false>, args: NoInfer<A>): boolean
}
