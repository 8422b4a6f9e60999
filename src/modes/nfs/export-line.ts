// One export as exports(5) writes it: `/export 127.0.0.1(ro) 10.0.0.0/8(rw,all_squash)`.
//
// Paths: `/export` is the volume, `/export/pub` its directory `pub`. What Linux lets one choose and here is always the
// same (`insecure`, `no_subtree_check`, `sec=sys`) may be said; what would be a promise that is not kept, not.
import { isDot } from '../../store/names.ts'
import { ModeOptionError } from '../mode.ts'
import { type AccessOptions, ClientList, type ExportOptions } from './exports.ts'

/** The volume's root as clients name it. */
export const VOLUME_PATH = '/export'
/** What `*` means, and no client at all: anybody who can reach the server. */
export const ANYBODY: readonly string[] = ['0.0.0.0/0', '::/0']

/** (uid_t)-1 means "leave it as it is" to chown(2): nobody has it. */
const MAX_ID = 2 ** 32 - 2

interface Said {
  readOnly: boolean
  asynchronous?: boolean
  squashRoot: boolean
  squashAll: boolean
  anonymousUid?: number
  anonymousGid?: number
}

/** What exports(5) assumes. */
const DEFAULTS: Said = { readOnly: true, squashRoot: true, squashAll: false }

const SWITCHES: Readonly<Record<string, Partial<Said>>> = {
  ro: { readOnly: true },
  rw: { readOnly: false },
  root_squash: { squashRoot: true },
  no_root_squash: { squashRoot: false },
  all_squash: { squashAll: true },
  no_all_squash: { squashAll: false },
  sync: { asynchronous: false },
  async: { asynchronous: true },
  insecure: {},
  no_subtree_check: {},
  'sec=sys': {},
}

const VALUES: Readonly<Record<string, (id: number) => Partial<Said>>> = {
  anonuid: (id) => ({ anonymousUid: id }),
  anongid: (id) => ({ anonymousGid: id }),
}

const OPTION_NAMES = [...Object.keys(SWITCHES), ...Object.keys(VALUES).map((name) => `${name}=`)].join(', ')

/** Throws a `ModeOptionError` of one line that names what is wrong. */
export function parseExport(line: string): ExportOptions {
  const [path = '', ...words] = split(line)
  const directory = directoryOf(path)
  // `-ro,sync` before the clients: what holds for those after it.
  let defaults = DEFAULTS
  const accesses: AccessOptions[] = []
  for (const word of words) {
    if (word.startsWith('-')) defaults = parseOptions(word.slice(1), DEFAULTS)
    else accesses.push(parseClient(word, defaults))
  }
  const [first = accessOf('*', defaults), ...more] = accesses
  return { path, directory, ...first, ...(more.length === 0 ? {} : { more }) }
}

/** Words between blanks; in a path, these are `\040`, or it stands in quotes. */
function split(line: string): string[] {
  const [, quoted, rest = ''] = /^\s*"([^"]*)"(?!\S)(.*)$/s.exec(line) ?? [undefined, undefined, line]
  const words = rest.split(/\s+/).filter((word) => word !== '')
  if (quoted !== undefined) return [unescapeOctal(quoted), ...words]
  const [path = '', ...others] = words
  return [unescapeOctal(path), ...others]
}

/** A character is its bytes in UTF-8: `\303\274`. */
function unescapeOctal(text: string): string {
  if (!text.includes('\\')) return text
  const bytes = Buffer.from(text)
    .toString('latin1')
    .replace(/\\([0-3][0-7]{2})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)))
  return Buffer.from(bytes, 'latin1').toString()
}

function directoryOf(path: string): string {
  const within = path === VOLUME_PATH || path.startsWith(`${VOLUME_PATH}/`)
  const names = path.slice(VOLUME_PATH.length + 1)
  const broken = path.length > VOLUME_PATH.length && names.split('/').some((name) => name === '' || isDot(name))
  if (!within || broken) {
    const is = `${VOLUME_PATH} is the volume, ${VOLUME_PATH}/pub its directory pub`
    throw new ModeOptionError(`--export cannot export ${JSON.stringify(path)}: ${is}`)
  }
  return `/${names}`
}

function parseClient(word: string, defaults: Said): AccessOptions {
  const [, client = '', , options] = /^([^()]*)(\(([^()]*)\))?$/.exec(word) ?? []
  if (client === '') {
    throw new ModeOptionError(
      `--export cannot read ${JSON.stringify(word)}: options stand right behind their client, as in 127.0.0.1(ro,sync)`,
    )
  }
  return accessOf(client, options === undefined ? defaults : parseOptions(options, defaults))
}

function accessOf(client: string, said: Said): AccessOptions {
  const clients = client === '*' ? ANYBODY : [client]
  try {
    new ClientList(clients)
  } catch (error) {
    throw new ModeOptionError(`--export: ${(error as Error).message}, nor * for anybody`)
  }
  const { squashRoot, squashAll, ...rest } = said
  return { clients, squash: squashAll ? 'all' : squashRoot ? 'root' : 'none', ...rest }
}

function parseOptions(list: string, defaults: Said): Said {
  const said = { ...defaults }
  for (const option of list.split(',')) {
    if (option === '') continue
    const [name = '', value = ''] = option.split('=', 2)
    if (Object.hasOwn(SWITCHES, option)) Object.assign(said, SWITCHES[option])
    else if (Object.hasOwn(VALUES, name)) Object.assign(said, VALUES[name]?.(id(value, name)))
    else {
      throw new ModeOptionError(`--export knows no option ${JSON.stringify(option)}; there are ${OPTION_NAMES}`)
    }
  }
  return said
}

function id(value: string, option: string): number {
  const read = /^\d{1,10}$/.test(value) ? Number(value) : Number.NaN
  if (read <= MAX_ID) return read
  throw new ModeOptionError(`--export: ${option}= needs a number from 0 to ${MAX_ID}`)
}
