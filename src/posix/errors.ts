// The error that crosses the file-system contract, and the errno numbers of this host.
import { constants } from 'node:os'

/** Symbolic error names as errno(3) spells them, e.g. `ENOENT`. */
export type ErrnoName = keyof typeof constants.errno | 'EREMOTEIO' | 'EUCLEAN'

const extra = { EREMOTEIO: 121, EUCLEAN: 117 } as const
const numbers: Record<string, number> = { ...constants.errno, ...extra }

/** The positive errno number of a name on this host. */
export function errnoNumber(name: ErrnoName): number {
  return numbers[name] ?? constants.errno.EIO
}

/** Whether a text names an error of this host. */
export function isErrnoName(text: string): text is ErrnoName {
  return Object.hasOwn(numbers, text)
}

/**
 * The only error that crosses the file-system contract: an errno, and what caused it. It is an answer, not a defect,
 * and common (ENODATA, EEXIST): it carries no stack trace of its own, since that costs more than most requests.
 */
export class FsError extends Error {
  override readonly name = 'FsError'
  readonly code: ErrnoName
  /** Positive errno number. */
  readonly errno: number

  constructor(code: ErrnoName, message?: string, options?: ErrorOptions) {
    const { stackTraceLimit } = Error
    Error.stackTraceLimit = 0
    super(message === undefined ? code : `${code}: ${message}`, options)
    Error.stackTraceLimit = stackTraceLimit
    this.code = code
    this.errno = errnoNumber(code)
  }

  /** Any thrown value as an `FsError`: system errors keep their errno, everything else is EIO. */
  static from(error: unknown): FsError {
    if (error instanceof FsError) return error
    if (error instanceof Error && 'code' in error && typeof error.code === 'string') {
      const { code } = error
      if (isErrnoName(code)) return new FsError(code, error.message, { cause: error })
    }
    return new FsError('EIO', error instanceof Error ? error.message : String(error), { cause: error })
  }
}

/** The same calls, which throw and reject with FsError only. */
export function withFsErrors<Calls extends object>(calls: Calls): Calls {
  const wrap =
    (call: (...parameters: never[]) => unknown) =>
    (...parameters: never[]): unknown => {
      try {
        const result = call.apply(calls, parameters)
        if (!(result instanceof Promise)) return result
        return result.catch((error: unknown) => {
          throw FsError.from(error)
        })
      } catch (error) {
        throw FsError.from(error)
      }
    }
  return Object.fromEntries(Object.entries(calls).map(([name, call]) => [name, wrap(call)])) as Calls
}
