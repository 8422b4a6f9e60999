// The options of an AFS mount. Names are those of afsd(8), where it has them.
import { resolve } from 'node:path'
import { type ModeOption, ModeOptionError } from '../../mode.ts'

export interface AfsOptions {
  /** Where the cache is; absent: where the mount says. */
  readonly cacheDirectory?: string
  /** The most bytes of the cache; absent: what the disk has room for. */
  readonly cacheBytes?: number
  readonly cacheFiles: number
  /** Files and directories whose status is kept. */
  readonly statuses: number
  /** Calls fail when nothing was heard of their server for so long, in milliseconds. */
  readonly deadMs: number
  /** The root shows the cells that are known, instead of one volume. */
  readonly dynamicRoot: boolean
  /** Absolute. */
  readonly cellServDb?: string
  /** Look for cells in the DNS, too (RFC 5864). */
  readonly afsdb: boolean
  readonly tokenFile?: string
  readonly caFile?: string
}

const DEFAULTS = { cacheFiles: 100_000, statuses: 50_000, deadMs: 50_000 }
const UNITS: Readonly<Record<string, number>> = { '': 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30, t: 2 ** 40 }

export const afsOptionNames: readonly string[] = [
  ...['cachedir=', 'cachesize=', 'cachefiles=', 'stat=', 'deadtime=', 'dynroot', 'cellservdb=', 'afsdb'],
  ...['tokenfile=', 'cafile='],
]

export const afsPathOptions: readonly string[] = ['cachedir', 'cellservdb', 'tokenfile', 'cafile']

/** Throws a `ModeOptionError` of one line that names the option. */
export function parseAfsOptions(options: readonly ModeOption[]): AfsOptions {
  const said: { -readonly [name in keyof AfsOptions]?: AfsOptions[name] } = {}
  for (const option of options) {
    const { name } = option
    if (name === 'cachedir') said.cacheDirectory = resolve(text(option))
    else if (name === 'cachesize') said.cacheBytes = bytes(option)
    else if (name === 'cachefiles') said.cacheFiles = number(option, 16, 10_000_000)
    else if (name === 'stat') said.statuses = number(option, 100, 10_000_000)
    else if (name === 'deadtime') said.deadMs = 1000 * number(option, 1, 86_400)
    else if (name === 'dynroot') said.dynamicRoot = flag(option)
    else if (name === 'afsdb') said.afsdb = flag(option)
    else if (name === 'cellservdb') said.cellServDb = resolve(text(option))
    else if (name === 'tokenfile') said.tokenFile = resolve(text(option))
    else if (name === 'cafile') said.caFile = resolve(text(option))
    else throw new ModeOptionError(`unknown mount option ${name}; mode afs has ${afsOptionNames.join(', ')}`)
  }
  return { ...DEFAULTS, dynamicRoot: false, afsdb: false, ...said }
}

function flag({ name, value }: ModeOption): true {
  if (value !== undefined) throw new ModeOptionError(`mount option ${name} takes no value`)
  return true
}

function text({ name, value }: ModeOption): string {
  if (value === undefined || value === '') throw new ModeOptionError(`mount option ${name} needs a value: ${name}=…`)
  return value
}

function number(option: ModeOption, least: number, most: number): number {
  const said = text(option)
  const value = /^\d{1,15}$/.test(said) ? Number(said) : -1
  if (value < least || value > most) {
    throw new ModeOptionError(`mount option ${option.name} needs a number from ${least} to ${most}, not ${said}`)
  }
  return value
}

/** `500M`, `2G`, or bytes. */
function bytes(option: ModeOption): number {
  const said = text(option)
  const [, count, unit = ''] = /^(\d{1,12})([kmgt]?)$/i.exec(said) ?? []
  const value = Number(count) * (UNITS[unit.toLowerCase()] ?? Number.NaN)
  if (!Number.isSafeInteger(value) || value < 2 ** 20) {
    throw new ModeOptionError(`mount option ${option.name} needs at least 1M, as in ${option.name}=2G, not ${said}`)
  }
  return value
}
