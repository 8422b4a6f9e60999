// What `proteus serve afs` may be told.
import { isIP } from 'node:net'
import { isLoopback } from '../../rpc/loopback.ts'
import { ModeOptionError, type ServeRequest, type ServerOption } from '../mode.ts'
import { type CallbackSettings, callbackOptions, parseCallbackOptions } from './callback-options.ts'

export const serverOptions: readonly ServerOption[] = [
  {
    flags: '--token-file <path>',
    summary: 'only clients that know the token in this file; a server beyond this machine needs it',
    examples: ['--token-file ~/.proteus-token', '--host 10.0.0.1 --port 7000 --token-file /etc/proteus/token'],
    isPath: true,
  },
  ...callbackOptions,
]

export interface AfsServerSettings extends CallbackSettings {
  readonly tokenFile?: string
}

/** Throws a `ModeOptionError` of one line. */
export function parseServerOptions({ options, host }: Pick<ServeRequest, 'options' | 'host'>): AfsServerSettings {
  const given = options.findLast(({ name }) => name === 'token-file')
  const tokenFile = given && (given.value ?? '')
  if (tokenFile === '') throw new ModeOptionError('--token-file needs the path of a file')
  if (isIP(host) === 0) {
    throw new ModeOptionError(`--host needs an IP address to listen on, not ${JSON.stringify(host)}`)
  }
  if (tokenFile === undefined && !isLoopback(host)) {
    throw new ModeOptionError(`a server on ${host} needs --token-file: without a token it believes whoever reaches it`)
  }
  return { ...(tokenFile === undefined ? {} : { tokenFile }), ...parseCallbackOptions({ options }) }
}
