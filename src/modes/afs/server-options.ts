// What `proteus serve afs` may be told.
import { isIP } from 'node:net'
import { isLoopback } from '../../rpc/loopback.ts'
import { type ModeOption, ModeOptionError, type ServeRequest, type ServerOption } from '../mode.ts'
import { isCellName, readAddress } from './addresses.ts'
import { promiseLifeMs } from './promise-life.ts'
import type { AfsServerOptions } from './server.ts'

const MOST_SECONDS = 86_400

export const serverOptions: readonly ServerOption[] = [
  {
    flags: '--token-file <path>',
    summary: 'only clients that know the token in this file; a server beyond this machine needs it',
    examples: ['--token-file ~/.proteus-token', '--host 10.0.0.1 --port 7000 --token-file /etc/proteus/token'],
    isPath: true,
  },
  {
    flags: '--cell <name>',
    summary: 'the cell that this server begins, and keeps the volume locations of; otherwise localcell',
    examples: ['--cell example.org --port 7000'],
  },
  {
    flags: '--join <host:port>',
    summary: 'one more file server of the cell whose first server is there; it has no root.cell of its own',
    examples: ['--data /srv/second --join 127.0.0.1:7000'],
  },
  {
    flags: '--promise-life <seconds>',
    summary: 'callback promises last no longer than this; otherwise 4 hours, and the shorter the more clients hold one',
    examples: ['--promise-life 600'],
  },
  {
    flags: '--break-timeout <seconds>',
    summary: 'how long a change waits for a client that does not answer when its promise is broken; otherwise 10',
    examples: ['--promise-life 30 --break-timeout 2  # to see on a lab what is stale for how long'],
  },
]

export type AfsServerSettings = Pick<AfsServerOptions, 'tokenFile' | 'cell' | 'join' | 'life' | 'breakTimeoutMs'>

/** Throws a `ModeOptionError` of one line. */
export function parseServerOptions({ options, host }: Pick<ServeRequest, 'options' | 'host'>): AfsServerSettings {
  const tokenFile = lastOf(options, 'token-file')
  const cell = lastOf(options, 'cell')
  const join = lastOf(options, 'join')
  if (tokenFile === '') throw new ModeOptionError('--token-file needs the path of a file')
  if (cell !== undefined && !isCellName(cell)) {
    throw new ModeOptionError(`--cell needs the name of a cell, such as example.org, not ${JSON.stringify(cell)}`)
  }
  if (join !== undefined && readAddress(join) === undefined) {
    throw new ModeOptionError(`--join needs host:port of the cell's first server, not ${JSON.stringify(join)}`)
  }
  if (isIP(host) === 0) {
    throw new ModeOptionError(`--host needs an IP address to listen on, not ${JSON.stringify(host)}`)
  }
  if (tokenFile === undefined && !isLoopback(host)) {
    throw new ModeOptionError(`a server on ${host} needs --token-file: without a token it believes whoever reaches it`)
  }
  const mostMs = millisecondsOf(options, 'promise-life')
  const breakTimeoutMs = millisecondsOf(options, 'break-timeout')
  return {
    ...(tokenFile === undefined ? {} : { tokenFile }),
    ...(cell === undefined ? {} : { cell }),
    ...(join === undefined ? {} : { join }),
    ...(mostMs === undefined ? {} : { life: (...given) => Math.min(promiseLifeMs(...given), mostMs) }),
    ...(breakTimeoutMs === undefined ? {} : { breakTimeoutMs }),
  }
}

function lastOf(options: readonly ModeOption[], name: string): string | undefined {
  const given = options.findLast((option) => option.name === name)
  return given && (given.value ?? '')
}

function millisecondsOf(options: readonly ModeOption[], name: string): number | undefined {
  const given = lastOf(options, name)
  if (given === undefined) return undefined
  const seconds = /^\d{1,5}$/.test(given) ? Number(given) : 0
  if (seconds >= 1 && seconds <= MOST_SECONDS) return 1000 * seconds
  throw new ModeOptionError(`--${name} needs a number of seconds from 1 to ${MOST_SECONDS}`)
}
