// A program of ONC RPC as one table: procedure → number, arguments, results. Servers and clients are typed from it.
//
//     export const MOUNT3 = program('MOUNT3', 100005, 3, {
//       NULL: procedure(0, nothing, nothing),
//       MNT: procedure(1, text(1024), mountres3),
//       UMNT: procedure(3, text(1024), nothing, { idempotent: false }),
//     })
import type { Codec } from '../../codec/xdr.ts'
import type { ErrnoName } from '../../posix/errors.ts'

/** A row of the table. */
export interface ProcedureRow<A, R> {
  readonly number: number
  readonly args: Codec<A>
  readonly result: Codec<R>
  /** Whether a repetition of the call does no harm. If it does, repetitions meet the duplicate request cache. */
  readonly idempotent: boolean
  /** The answer to arguments whose text is not UTF-8; without it they are GARBAGE_ARGS. */
  readonly ifNotText: R | undefined
}

/** A procedure that knows where it belongs. */
export interface Procedure<A, R> extends ProcedureRow<A, R> {
  /** With its program, as traces and statistics name it: `NFS3.GETATTR`. */
  readonly name: string
  readonly program: number
  readonly version: number
  /** The error that a result tells of, for traces. */
  errorOf(result: R): ErrnoName | undefined
}

type Rows = Readonly<Record<string, ProcedureRow<unknown, unknown>>>
export type ArgsOf<P> = P extends ProcedureRow<infer A, infer _> ? A : never
export type ResultOf<P> = P extends ProcedureRow<infer _, infer R> ? R : never

export interface Program<P extends Rows = Rows> {
  readonly name: string
  readonly number: number
  readonly version: number
  readonly procedures: { readonly [K in keyof P]: Procedure<ArgsOf<P[K]>, ResultOf<P[K]>> }
}

export interface ProcedureOptions<R> {
  /** True unless said otherwise. */
  readonly idempotent?: boolean
  readonly ifNotText?: R
}

export function procedure<A, R>(
  number: number,
  args: Codec<A>,
  result: Codec<R>,
  { idempotent = true, ifNotText }: ProcedureOptions<NoInfer<R>> = {},
): ProcedureRow<A, R> {
  return { number, args, result, idempotent, ifNotText }
}

export interface ProgramOptions {
  /** The error that a result of this program tells of, for traces. */
  errorOf?(result: unknown): ErrnoName | undefined
}

export function program<const P extends Rows>(
  name: string,
  number: number,
  version: number,
  rows: P,
  { errorOf = () => undefined }: ProgramOptions = {},
): Program<P> {
  const numbers = new Set(Object.values(rows).map((row) => row.number))
  if (numbers.size < Object.keys(rows).length) throw new TypeError(`${name}: two procedures of one number`)
  const procedures = Object.entries(rows).map(([key, row]) => [
    key,
    { ...row, name: `${name}.${key}`, program: number, version, errorOf },
  ])
  return { name, number, version, procedures: Object.fromEntries(procedures) }
}
