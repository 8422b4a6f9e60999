// A program of typed services as one table: procedure → number, arguments, result. Servers and clients are typed from it,
// and its schemas check what comes off the wire, on both sides.
//
//     export const FILES = program('FILES', 1, 1, {
//       stat: procedure(1, v.object({ fid: text(64) }), Status),
//       remove: procedure(2, v.object({ fid: text(64) }), nothing, { idempotent: false }),
//       fetch: procedure(3, v.object({ fid: text(64), offset: unsigned() }), Status, { bytesOut: true }),
//       store: procedure(4, v.object({ fid: text(64) }), Status, { bytesIn: true, idempotent: false }),
//     }, { errors: { MOVED: v.object({ server: text(255) }) } })
import type { Schema } from './schemas.ts'

/** A row of the table. */
export interface ProcedureRow<A, R, In extends boolean, Out extends boolean> {
  readonly number: number
  readonly args: Schema<A>
  readonly result: Schema<R>
  /**
   * Whether a repetition of the call does no harm. If it does, it is executed once: repetitions get the answer that the
   * server remembers, or none (OUTCOME_UNKNOWN).
   */
  readonly idempotent: boolean
  /** Bytes come with the call. */
  readonly bytesIn: In
  /** Bytes come with the answer. */
  readonly bytesOut: Out
}

/** Errors that a program has besides errno: code → what is told with it. */
export type ErrorTable = Readonly<Record<string, Schema<unknown>>>

/** A procedure that knows where it belongs. */
export interface Procedure<A, R, In extends boolean = boolean, Out extends boolean = boolean>
  extends ProcedureRow<A, R, In, Out> {
  /** With its program, as traces and statistics name it: `FILES.fetch`. */
  readonly name: string
  readonly program: number
  readonly version: number
  readonly errors: ErrorTable
}

/** Any procedure: what is known of its arguments is left to its schemas. */
// biome-ignore lint/suspicious/noExplicitAny: arguments and results of all types stand side by side in a table
export type AnyProcedure = Procedure<any, any>
// biome-ignore lint/suspicious/noExplicitAny: as above
type Rows = Readonly<Record<string, ProcedureRow<any, any, boolean, boolean>>>

type Placed<Row> = Row extends ProcedureRow<infer A, infer R, infer In, infer Out> ? Procedure<A, R, In, Out> : never

export interface Program<P extends Rows = Rows> {
  readonly name: string
  readonly number: number
  readonly version: number
  readonly errors: ErrorTable
  readonly procedures: { readonly [K in keyof P]: Placed<P[K]> }
}

export interface ProcedureOptions {
  /** True unless said otherwise. */
  readonly idempotent?: boolean
  /** Bytes come with the call: the caller gives them, the handler reads them. */
  readonly bytesIn?: boolean
  /** Bytes come with the answer: the handler gives them, the caller reads them. */
  readonly bytesOut?: boolean
}

type IsTrue<T> = T extends true ? true : false

export function procedure<A, R, const O extends ProcedureOptions = object>(
  number: number,
  args: Schema<A>,
  result: Schema<R>,
  options?: O,
): ProcedureRow<A, R, IsTrue<O['bytesIn']>, IsTrue<O['bytesOut']>> {
  const { idempotent = true, bytesIn = false, bytesOut = false } = options ?? {}
  if (!idempotent && bytesOut) throw new TypeError('bytes of an answer are not remembered: such a call is idempotent')
  return {
    ...{ number, args, result, idempotent },
    bytesIn: bytesIn as IsTrue<O['bytesIn']>,
    bytesOut: bytesOut as IsTrue<O['bytesOut']>,
  }
}

export interface ProgramOptions {
  readonly errors?: ErrorTable
}

export function program<const P extends Rows>(
  name: string,
  number: number,
  version: number,
  rows: P,
  { errors = {} }: ProgramOptions = {},
): Program<P> {
  const numbers = new Set(Object.values(rows).map((row) => row.number))
  if (numbers.size < Object.keys(rows).length) throw new TypeError(`${name}: two procedures of one number`)
  const procedures = Object.entries(rows).map(([key, row]) => [
    key,
    { ...row, name: `${name}.${key}`, program: number, version, errors },
  ])
  return { name, number, version, errors, procedures: Object.fromEntries(procedures) }
}
