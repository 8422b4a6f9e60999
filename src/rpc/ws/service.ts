// A program with handlers: what one side of a connection serves.
import type { Awaitable } from '../awaitable.ts'
import type { Refusal } from './errors.ts'
import type { IncomingBytes } from './incoming-bytes.ts'
import type { ByteSource } from './outgoing-bytes.ts'
import type { WsPeer } from './peer.ts'
import type { AnyProcedure, Procedure, Program } from './program.ts'

/** What a handler knows of a call besides its arguments. */
export interface WsContext {
  /** Who calls: of a server, the client, which it can call back; of a client, its server. */
  readonly peer: WsPeer
  /**
   * Aborted when nobody waits for the answer any more: the caller does not want it, or is gone. A call that is executed once
   * goes on while its caller is not connected: it may come back and ask.
   */
  readonly signal: AbortSignal
  /** Counts up with the caller's calls. */
  readonly id: number
}

/** A result that bytes come with. The answer leaves at once, the bytes as the caller takes them. */
export interface WithBytes<R> {
  readonly result: R
  /** Few of them, in one buffer, go along with the answer: `WHOLE_BYTES`. */
  readonly bytes: ByteSource | Buffer
  /** How many there are, if that is known: one more or less is an error. */
  readonly length?: number
  /**
   * Told of each chunk that has left: its memory may be used again. Of those that were under way when the connection broke,
   * or that nobody wanted any more, it is not told.
   */
  readonly left?: (chunk: Buffer) => void
}

/**
 * Handlers by name; what has none is PROC_UNAVAIL. FsError and the table's ServiceError are answers; whatever else a handler
 * throws, the caller hears EIO and nothing of it. Bytes in arguments are views: what is kept must be copied.
 */
export type Handlers<P extends Program> = {
  readonly [K in keyof P['procedures']]?: HandlerOf<P['procedures'][K]>
}

type HandlerOf<Row> =
  Row extends Procedure<infer A, infer R, infer In, infer Out>
    ? (
        args: A,
        context: WsContext & (In extends true ? { readonly bytes: IncomingBytes } : unknown),
      ) => Awaitable<Out extends true ? WithBytes<R> : R>
    : never

export type Handler = (args: unknown, context: WsContext) => unknown

export interface BoundProcedure {
  readonly procedure: AnyProcedure
  readonly handler: Handler
}

export interface Service {
  readonly program: Program
  /** By procedure number. */
  readonly procedures: ReadonlyMap<number, BoundProcedure>
}

export function service<P extends Program>(program: P, handlers: NoInfer<Handlers<P>>): Service {
  const procedures = new Map<number, BoundProcedure>()
  for (const [name, procedure] of Object.entries(program.procedures)) {
    const handler = (handlers as Readonly<Record<string, Handler | undefined>>)[name]
    if (handler !== undefined) procedures.set(procedure.number, { procedure, handler })
  }
  return { program, procedures }
}

/** All that one side serves. */
export class ServiceTable {
  /** By program and version. */
  readonly #programs = new Map<number, Map<number, Service>>()

  constructor(services: readonly Service[]) {
    for (const service of services) {
      const { number, version, name } = service.program
      const versions = this.#programs.get(number) ?? new Map<number, Service>()
      if (versions.has(version)) throw new TypeError(`${name} is served twice`)
      this.#programs.set(number, versions.set(version, service))
    }
  }

  find(program: number, version: number, procedure: number): BoundProcedure | Refusal {
    const versions = this.#programs.get(program)
    if (versions === undefined) return 'PROG_UNAVAIL'
    const service = versions.get(version)
    if (service === undefined) return 'PROG_MISMATCH'
    return service.procedures.get(procedure) ?? 'PROC_UNAVAIL'
  }
}
