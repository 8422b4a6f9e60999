// Exit codes of `proteus`, and the errors that people see: one line that says what to do.

export const EXIT = {
  /** Done. */
  ok: 0,
  /** The operation failed, or what `status` and `doctor` looked at is not well. */
  failed: 1,
  /** The command line makes no sense. */
  usage: 2,
} as const

export type ExitCode = (typeof EXIT)[keyof typeof EXIT]

/** An error with a message made for people. Anything else that is thrown is a defect or the system's. */
export class CliError extends Error {
  override readonly name = 'CliError'
  readonly exitCode: ExitCode

  constructor(message: string, options: ErrorOptions & { readonly exitCode?: ExitCode } = {}) {
    super(message, options)
    this.exitCode = options.exitCode ?? EXIT.failed
  }
}

/** The command line makes no sense. */
export function usageError(message: string): CliError {
  return new CliError(message, { exitCode: EXIT.usage })
}

/** What to print for a thrown value: one line; with PROTEUS_DEBUG set, the stack and its causes. */
export function describeError(error: unknown, debug: boolean): string {
  if (!(error instanceof Error)) return String(error)
  if (!debug) return describeSystemError(error) ?? (error.message.split('\n', 1)[0] || error.name)
  const cause = error.cause === undefined ? '' : `\ncaused by: ${describeError(error.cause, true)}`
  return `${error.stack ?? error.message}${cause}`
}

/** "ENOENT: no such file or directory, lstat '/x'" is for programmers: people read "/x: no such file or directory". */
function describeSystemError(error: Error): string | undefined {
  const code = errorCode(error)
  if (code === undefined || !('syscall' in error) || !('path' in error)) return undefined
  const what = error.message.match(/^[A-Z0-9]+: ([^,]*), /)?.[1]
  return what === undefined ? undefined : `${error.path}: ${what}`
}

export function exitCodeOf(error: unknown): ExitCode {
  return error instanceof CliError ? error.exitCode : EXIT.failed
}

/** The errno name of a system error, or undefined. */
export function errorCode(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined
}
