// The errors that people see: one line that says what to do, and the exit code of the command that it ends.

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

/** The errno name of a system error, or undefined. */
export function errorCode(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined
}
