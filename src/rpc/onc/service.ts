// A program with handlers: what a server serves.
import type { Awaitable } from '../awaitable.ts'
import type { Caller } from './auth.ts'
import type { AuthStatus } from './message.ts'
import type { Peer } from './peer.ts'
import type { ArgsOf, Procedure, Program, ResultOf } from './program.ts'

/** What a handler knows of a call besides its arguments. */
export interface OncContext {
  readonly peer: Peer
  /** Who calls, as the call says. */
  readonly caller: Caller
  /** Aborted when nobody waits for the answer any more: the connection or the server is gone. */
  readonly signal: AbortSignal
  readonly xid: number
}

/** What a handler returns for a call that is not to be answered: procedures that are messages (NLM4.LOCK_MSG). */
export const NO_REPLY: unique symbol = Symbol('no reply')

/**
 * Handlers by name; what has none is PROC_UNAVAIL, but for procedure 0, which answers nothing to nothing. A handler that
 * fails is a SYSTEM_ERR. Opaque arguments are views on the message: what is kept must be copied.
 */
export type Handlers<P extends Program> = {
  readonly [K in keyof P['procedures']]?: (
    args: ArgsOf<P['procedures'][K]>,
    context: OncContext,
  ) => Awaitable<ResultOf<P['procedures'][K]> | typeof NO_REPLY>
}

export type Handler = (args: unknown, context: OncContext) => unknown

export interface ServiceOptions {
  /** Looks at each call but those of procedure 0: why it is refused, or undefined. */
  authorize?(context: OncContext, procedure: Procedure<unknown, unknown>): AuthStatus | undefined
}

export interface BoundProcedure {
  readonly procedure: Procedure<unknown, unknown>
  readonly handler: Handler
}

export interface Service {
  readonly program: Program
  readonly options: ServiceOptions
  /** By procedure number. */
  readonly procedures: ReadonlyMap<number, BoundProcedure>
}

export function service<P extends Program>(
  program: P,
  handlers: NoInfer<Handlers<P>>,
  options: ServiceOptions = {},
): Service {
  const procedures = new Map<number, BoundProcedure>()
  for (const [name, procedure] of Object.entries(program.procedures)) {
    const handler = (handlers as Readonly<Record<string, Handler | undefined>>)[name]
    if (handler !== undefined) procedures.set(procedure.number, { procedure, handler })
    else if (procedure.number === 0) procedures.set(0, { procedure, handler: () => undefined })
  }
  return { program, options, procedures }
}
