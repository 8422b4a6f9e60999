// What can be wrong with a network, and how a person says it: `down`, `latency=50ms,jitter=5ms,loss=1%`.
import { FsError } from '../posix/errors.ts'

/** The state of a link. Both directions are alike. */
export interface LinkState {
  /** False: silence. Nothing passes, no connection is reset, new ones wait. */
  readonly up: boolean
  /** One way. */
  readonly latencyMs: number
  /** Added to the latency of each packet: evenly distributed between 0 and this. */
  readonly jitterMs: number
  /** Of each direction; Infinity: as much as there is. */
  readonly bytesPerSecond: number
  /** Parts of the datagrams, 0 to 1, that vanish, come twice, and come after later ones. Streams never lose anything. */
  readonly loss: number
  readonly duplicate: number
  readonly reorder: number
}

export const PERFECT_LINK: LinkState = {
  up: true,
  latencyMs: 0,
  jitterMs: 0,
  bytesPerSecond: Number.POSITIVE_INFINITY,
  loss: 0,
  duplicate: 0,
  reorder: 0,
}

const MS: Readonly<Record<string, number>> = { us: 0.001, ms: 1, s: 1000 }
const BYTES: Readonly<Record<string, number>> = {
  bit: 1 / 8,
  kbit: 1e3 / 8,
  mbit: 1e6 / 8,
  gbit: 1e9 / 8,
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  kib: 2 ** 10,
  mib: 2 ** 20,
  gib: 2 ** 30,
}
/** An hour: longer than any network, and no overflow of a timer. */
const MOST_MS = 3_600_000
/** A byte a second: slower is `down`. */
const LEAST_BYTES_PER_SECOND = 1

/**
 * The changes that a line asks for, words separated by commas or blanks; what it does not name stays as it is. `up` ends
 * `down` only; `reset` ends everything. FsError EINVAL for what is no setting.
 */
export function parseLink(line: string): Partial<LinkState> {
  const words = line.split(/[\s,]+/).filter((word) => word !== '')
  if (words.length === 0) throw new FsError('EINVAL', 'no setting')
  return Object.assign({}, ...words.map(parseWord))
}

function parseWord(word: string): Partial<LinkState> {
  const [name, value, ...more] = word.split('=')
  if (value === undefined) {
    if (word === 'up' || word === 'down') return { up: word === 'up' }
    if (word === 'reset') return PERFECT_LINK
  } else if (more.length === 0) {
    switch (name) {
      case 'latency':
        return { latencyMs: parseMs(value) }
      case 'jitter':
        return { jitterMs: parseMs(value) }
      case 'bandwidth':
        return { bytesPerSecond: parseBandwidth(value) }
      case 'loss':
      case 'duplicate':
      case 'reorder':
        return { [name]: parsePart(value) }
    }
  }
  throw new FsError('EINVAL', `${word} is no setting of a network`)
}

function parseMs(value: string): number {
  const [amount, unit] = split(value)
  const factor = unit === '' && amount === 0 ? 1 : MS[unit]
  const ms = amount * (factor ?? Number.NaN)
  if (!(ms <= MOST_MS)) throw new FsError('EINVAL', `${value} is no duration up to an hour, like 50ms`)
  return ms
}

function parseBandwidth(value: string): number {
  if (value === 'unlimited') return Number.POSITIVE_INFINITY
  const [amount, unit] = split(value)
  const rate = amount * (BYTES[unit.toLowerCase().replace(/\/s$|ps$/, '')] ?? Number.NaN)
  if (!(rate >= LEAST_BYTES_PER_SECOND && rate < Number.POSITIVE_INFINITY)) {
    throw new FsError('EINVAL', `${value} is no bandwidth, like 10mbit or 1MiB/s`)
  }
  return rate
}

function parsePart(value: string): number {
  const [amount, unit] = split(value)
  const part = unit === '%' ? amount / 100 : unit === '' ? amount : Number.NaN
  if (!(part <= 1)) throw new FsError('EINVAL', `${value} is no part of the packets, like 1%`)
  return part
}

function split(value: string): [amount: number, unit: string] {
  const match = /^(\d{1,15}(?:\.\d{1,15})?)([a-z/%]*)$/i.exec(value)
  return match === null ? [Number.NaN, ''] : [Number(match[1]), match[2] ?? '']
}

/** The state in the words that `parseLink` takes: `up`, `down,latency=50ms`. */
export function describeLink(state: LinkState): string {
  const words = [state.up ? 'up' : 'down']
  if (state.latencyMs > 0) words.push(`latency=${decimal(state.latencyMs)}ms`)
  if (state.jitterMs > 0) words.push(`jitter=${decimal(state.jitterMs)}ms`)
  if (state.bytesPerSecond < Number.POSITIVE_INFINITY) words.push(`bandwidth=${formatBandwidth(state.bytesPerSecond)}`)
  for (const name of ['loss', 'duplicate', 'reorder'] as const) {
    if (state[name] > 0) words.push(`${name}=${decimal(state[name] * 100)}%`)
  }
  return words.join(',')
}

function formatBandwidth(bytesPerSecond: number): string {
  const bits = bytesPerSecond * 8
  for (const [unit, size] of [
    ['gbit', 1e9],
    ['mbit', 1e6],
    ['kbit', 1e3],
  ] as const) {
    if (bits >= size) return `${decimal(bits / size)}${unit}`
  }
  return `${decimal(bits)}bit`
}

/** At most nine digits behind the point, and no exponent. */
const decimal = (value: number): string => value.toFixed(9).replace(/\.?0+$/, '')
