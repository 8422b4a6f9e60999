// What `proteus` prints when it fails, and how it exits.
import { CliError, EXIT, type ExitCode, errorCode } from '../serving/errors.ts'

export { CliError, EXIT, type ExitCode, errorCode, usageError } from '../serving/errors.ts'

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
