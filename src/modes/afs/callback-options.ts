// What a server of mode `afs` may be told of its callback promises: how long they last, and how long it waits for a client
// that does not answer when one is broken.
import { type ModeOption, ModeOptionError, type ServeRequest, type ServerOption } from '../mode.ts'
import { promiseLifeMs } from './promise-life.ts'
import type { AfsServerOptions } from './server.ts'

const MOST_SECONDS = 86_400

export const callbackOptions: readonly ServerOption[] = [
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

export type CallbackSettings = Pick<AfsServerOptions, 'life' | 'breakTimeoutMs'>

/** Throws a `ModeOptionError` of one line. */
export function parseCallbackOptions({ options }: Pick<ServeRequest, 'options'>): CallbackSettings {
  const mostMs = lastOf(options, 'promise-life')
  const breakTimeoutMs = lastOf(options, 'break-timeout')
  return {
    ...(mostMs === undefined ? {} : { life: (...given) => Math.min(promiseLifeMs(...given), mostMs) }),
    ...(breakTimeoutMs === undefined ? {} : { breakTimeoutMs }),
  }
}

/** In milliseconds. */
function lastOf(options: readonly ModeOption[], name: string): number | undefined {
  const given = options.findLast((option) => option.name === name)
  if (given === undefined) return undefined
  const seconds = /^\d{1,5}$/.test(given.value ?? '') ? Number(given.value) : 0
  if (seconds >= 1 && seconds <= MOST_SECONDS) return 1000 * seconds
  throw new ModeOptionError(`--${name} needs a number of seconds from 1 to ${MOST_SECONDS}`)
}
