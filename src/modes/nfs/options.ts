// The options of an NFS mount, under the names and with the defaults of nfs(5).
import type { AttributeTimeouts } from '../../vfs/attribute-cache.ts'
import { type ModeOption, ModeOptionError } from '../mode.ts'

export type LookupCaching = 'all' | 'positive' | 'none'

export interface NfsOptions {
  readonly attributeTimeouts: AttributeTimeouts
  /** `noac`: attributes are not cached, and writes are on the server before write(2) returns. */
  readonly synchronous: boolean
  /** Close-to-open consistency: every open asks the server. */
  readonly closeToOpen: boolean
  readonly lookupCaching: LookupCaching
  /** Fail with ETIMEDOUT after `retransmissions`, instead of waiting for the server however long it takes. */
  readonly soft: boolean
  readonly transport: 'tcp' | 'udp'
  /** Until the first retransmission, in milliseconds. */
  readonly timeoutMs: number
  readonly retransmissions: number
  /** Most bytes in one READ and in one WRITE. The server may allow fewer (FSINFO, RFC 1813 §3.3.19). */
  readonly readBytes: number
  readonly writeBytes: number
  /** Of the NFS service; absent: the URL's, else the mode's own. */
  readonly port?: number
  /** Of the MOUNT service; absent: that of the NFS service. */
  readonly mountPort?: number
  /** Locks go to the server (NLM). Otherwise they hold on this mount only. */
  readonly remoteLocks: boolean
  readonly readOnly: boolean
}

/** The largest transfer that Linux' client makes, in bytes, by transport. A UDP datagram has less than 64 KiB. */
const MAX_TRANSFER = { tcp: 1024 * 1024, udp: 32 * 1024 } as const
const MIN_TRANSFER = 1024
const DEFAULT_TRANSFER = 4096
const PAGE_BYTES = 4096

/** nfs(5): TCP retries after 60 s, twice; UDP after 1.1 s, three times. */
const RETRY = { tcp: { timeo: 600, retrans: 2 }, udp: { timeo: 11, retrans: 3 } } as const

const MAX_U32 = 2 ** 32 - 1
const MAX_I32 = 2 ** 31 - 1
const MAX_PORT = 65_535
/** Longest attribute timeout that is of any use, in seconds: a year. */
const MAX_TIMEOUT_S = 31_536_000

/** What was said, before it is known what follows from it. */
interface Said {
  acregmin?: number
  acregmax?: number
  acdirmin?: number
  acdirmax?: number
  noac?: boolean
  cto?: boolean
  lookupcache?: LookupCaching
  soft?: boolean
  proto?: 'tcp' | 'udp'
  timeo?: number
  retrans?: number
  rsize?: number
  wsize?: number
  port?: number
  mountport?: number
  lock?: boolean
  ro?: boolean
}

/** Options without a value. Of a pair such as `soft,hard` the last one counts. */
const SWITCHES: Readonly<Record<string, Said>> = {
  ac: { noac: false },
  noac: { noac: true },
  cto: { cto: true },
  nocto: { cto: false },
  hard: { soft: false },
  soft: { soft: true },
  lock: { lock: true },
  nolock: { lock: false },
  tcp: { proto: 'tcp' },
  udp: { proto: 'udp' },
  ro: { ro: true },
  rw: { ro: false },
}

type Reader = (value: string, option: string) => Said

const VALUES: Readonly<Record<string, Reader>> = {
  acregmin: (value, option) => ({ acregmin: seconds(value, option) }),
  acregmax: (value, option) => ({ acregmax: seconds(value, option) }),
  acdirmin: (value, option) => ({ acdirmin: seconds(value, option) }),
  acdirmax: (value, option) => ({ acdirmax: seconds(value, option) }),
  actimeo: (value, option) => {
    const all = seconds(value, option)
    return { acregmin: all, acregmax: all, acdirmin: all, acdirmax: all }
  },
  lookupcache: (value, option) => ({
    lookupcache: oneOf({ all: 'all', positive: 'positive', pos: 'positive', none: 'none' }, value, option),
  }),
  proto: (value, option) => ({ proto: oneOf({ tcp: 'tcp', udp: 'udp' }, value, option) }),
  timeo: (value, option) => ({ timeo: number(value, option, { min: 1, max: MAX_I32, unit: 'tenths of a second' }) }),
  retrans: (value, option) => ({ retrans: number(value, option, { min: 0, max: MAX_I32, unit: 'retransmissions' }) }),
  rsize: (value, option) => ({ rsize: number(value, option, { min: 0, max: MAX_U32, unit: 'bytes' }) }),
  wsize: (value, option) => ({ wsize: number(value, option, { min: 0, max: MAX_U32, unit: 'bytes' }) }),
  port: (value, option) => ({ port: port(value, option) }),
  // As URLs of libnfs name it.
  nfsport: (value, option) => ({ port: port(value, option) }),
  mountport: (value, option) => ({ mountport: port(value, option) }),
}

/** For help and for messages. */
export const nfsOptionNames: readonly string[] = [
  ...Object.keys(SWITCHES),
  ...Object.keys(VALUES).map((name) => `${name}=`),
]

/** Throws a `ModeOptionError` of one line that names the option. */
export function parseNfsOptions(options: readonly ModeOption[]): NfsOptions {
  const said: Said = {}
  for (const { name, value } of options) {
    if (Object.hasOwn(SWITCHES, name)) {
      if (value !== undefined) throw new ModeOptionError(`mount option ${name} takes no value`)
      Object.assign(said, SWITCHES[name])
    } else if (Object.hasOwn(VALUES, name)) {
      Object.assign(said, VALUES[name]?.(value ?? '', name))
    } else {
      throw new ModeOptionError(
        `mode nfs has no mount option ${JSON.stringify(name)}; there are ${nfsOptionNames.join(', ')}`,
      )
    }
  }
  return resolve(said)
}

function resolve(said: Said): NfsOptions {
  const transport = said.proto ?? 'tcp'
  const retry = RETRY[transport]
  const noac = said.noac ?? false
  return {
    attributeTimeouts: noac ? NO_CACHING : attributeTimeouts(said),
    synchronous: noac,
    closeToOpen: said.cto ?? true,
    lookupCaching: said.lookupcache ?? 'all',
    soft: said.soft ?? false,
    transport,
    timeoutMs: (said.timeo ?? retry.timeo) * 100,
    retransmissions: said.retrans ?? retry.retrans,
    readBytes: transferBytes(said.rsize, transport),
    writeBytes: transferBytes(said.wsize, transport),
    ...(said.port === undefined ? {} : { port: said.port }),
    ...(said.mountport === undefined ? {} : { mountPort: said.mountport }),
    remoteLocks: said.lock ?? true,
    readOnly: said.ro ?? false,
  }
}

const NO_CACHING: AttributeTimeouts = { file: { minMs: 0, maxMs: 0 }, directory: { minMs: 0, maxMs: 0 } }

function attributeTimeouts(said: Said): AttributeTimeouts {
  return {
    file: bounds('acreg', said.acregmin, said.acregmax, { min: 3, max: 60 }),
    directory: bounds('acdir', said.acdirmin, said.acdirmax, { min: 30, max: 60 }),
  }
}

/**
 * nfs(5) lets the minimum exceed the maximum, and then neither means what it says. Here that is a mistake if both were
 * given; if one was, the default of the other makes room.
 */
function bounds(
  name: 'acreg' | 'acdir',
  min: number | undefined,
  max: number | undefined,
  defaults: { readonly min: number; readonly max: number },
): AttributeTimeouts['file'] {
  if (min !== undefined && max !== undefined && min > max) {
    throw new ModeOptionError(`mount option ${name}min=${min} is more than ${name}max=${max}`)
  }
  const minSeconds = min ?? Math.min(defaults.min, max ?? defaults.min)
  const maxSeconds = max ?? Math.max(defaults.max, minSeconds)
  return { minMs: minSeconds * 1000, maxMs: maxSeconds * 1000 }
}

/**
 * As Linux rounds rsize and wsize: fewer than 1024 bytes are none said, more than the largest transfer are that;
 * then whole pages on TCP, and a power of two on UDP and below a page.
 */
export function transferBytes(said: number | undefined, transport: 'tcp' | 'udp'): number {
  const max = MAX_TRANSFER[transport]
  if (said === undefined) return max
  const bytes = said < MIN_TRANSFER ? DEFAULT_TRANSFER : Math.min(said, max)
  if (transport === 'tcp' && bytes >= PAGE_BYTES) return bytes - (bytes % PAGE_BYTES)
  return 2 ** Math.floor(Math.log2(bytes))
}

function number(
  value: string,
  option: string,
  { min, max, unit }: { readonly min: number; readonly max: number; readonly unit: string },
): number {
  const read = /^\d{1,10}$/.test(value) ? Number(value) : Number.NaN
  if (read >= min && read <= max) return read
  throw new ModeOptionError(`mount option ${option}= needs a number of ${unit} from ${min} to ${max}`)
}

function seconds(value: string, option: string): number {
  return number(value, option, { min: 0, max: MAX_TIMEOUT_S, unit: 'seconds' })
}

function port(value: string, option: string): number {
  const read = /^\d{1,5}$/.test(value) ? Number(value) : 0
  if (read >= 1 && read <= MAX_PORT) return read
  throw new ModeOptionError(`mount option ${option}= needs a port from 1 to ${MAX_PORT}`)
}

function oneOf<T extends string>(choices: Readonly<Record<string, T>>, value: string, option: string): T {
  const choice = Object.hasOwn(choices, value) ? choices[value] : undefined
  if (choice !== undefined) return choice
  throw new ModeOptionError(`mount option ${option}= is one of ${[...new Set(Object.values(choices))].join(', ')}`)
}
