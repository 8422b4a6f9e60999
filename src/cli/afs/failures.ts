// What a server of mode `afs` refuses, as one line for people.
import { ServiceError, WsError } from '../../rpc/ws/index.ts'
import { CliError, errorCode } from '../exit.ts'

interface Detail {
  readonly volume?: string | number
  readonly server?: string | null
  readonly name?: string
  readonly step?: string
  readonly reason?: string
}

/** Codes that mean something else for volumes than for files: `what` names the volume. */
const ERRNO: Readonly<Record<string, (what: string) => string>> = {
  EPERM: (what) => `${what} stays where the cell begins: it can neither be moved nor deleted`,
  EROFS: (what) => `${what} is a clone, which nobody changes`,
  EINTR: () => 'called off: nothing was changed',
}

/** `what`: the volume or file that it is about. `known`: what a code means for this very command. */
export function failureOf(error: unknown, what: string, known: Readonly<Record<string, string>> = {}): unknown {
  if (error instanceof CliError) return error
  const code = errorCode(error) ?? ''
  const message = known[code] ?? describe(error, code, what)
  return message === undefined ? error : new CliError(message, { cause: error })
}

function describe(error: unknown, code: string, what: string): string | undefined {
  if (error instanceof WsError) return describeWs(error)
  if (error instanceof ServiceError) return describeService(code, (error.detail ?? {}) as Detail, what)
  return ERRNO[code]?.(what)
}

function describeWs({ reason, message }: WsError): string | undefined {
  if (reason === 'UNAUTHORIZED') return `${message}: \`--token-file\` names the file with the token`
  if (reason === 'INTERRUPTED') return 'called off: `proteus afs volumes` shows where it stands'
  if (reason === 'PROG_UNAVAIL' || reason === 'PROC_UNAVAIL') return `${message}: not a server of mode afs`
  return undefined
}

function describeService(code: string, { server, step, reason }: Detail, what: string): string | undefined {
  switch (code) {
    case 'VL_NOENT':
    case 'VNOVOL':
      return `there is no volume ${what}: \`proteus afs volumes\` lists them`
    case 'VMOVED':
      return `${what} has just moved to ${server}: try again`
    case 'VBUSY':
      return `something else is being done with ${what}: try again`
    case 'VL_CONFLICT':
      return `somebody else has changed where ${what} is: try again`
    case 'VL_NOSERVER':
      return `${server} is no file server of this cell`
    case 'VOLFAILED':
      return `${what} stays as it was: at ${step}${server ? ` (${server})` : ''}: ${reason}`
    default:
      return undefined
  }
}
