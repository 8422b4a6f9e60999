// `-o` options under the names that mount(8) and mount.fuse(8) give them. What they do not know is for the mode to know.
import { existsSync, readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import type { MountFlags } from '../../fuse/mount.ts'
import type { MountSettings } from '../../lab/lab-plan.ts'
import { type Mode, type ModeOption, ModeOptionError } from '../../modes/mode.ts'
import { CliError, usageError } from '../exit.ts'

type Writable<T> = { -readonly [Key in keyof T]: T[Key] }

/** Options without a value: what they set. Of a pair such as `ro,rw` the last one counts. */
const SWITCHES: Readonly<Record<string, MountFlags>> = {
  ro: { ro: true },
  rw: { ro: false },
  noexec: { noexec: true },
  exec: { noexec: false },
  nosuid: { nosuid: true },
  suid: { nosuid: false },
  nodev: { nodev: true },
  dev: { nodev: false },
  noatime: { noatime: true },
  atime: { noatime: false },
  sync: { sync: true },
  async: { sync: false },
  dirsync: { dirsync: true },
  allow_other: { allowOther: true },
  default_permissions: { defaultPermissions: true },
}

/** Options with a value: how it is read. */
const VALUES: Readonly<Record<string, (value: string, option: string) => MountFlags>> = {
  fsname: (value, option) => ({ fsname: word(value, option) }),
  subtype: (value, option) => ({ subtype: word(value, option) }),
  max_read: (value, option) => ({ maxRead: bytes(value, option) }),
}

/** The kernel reads whole pages, and at most this much at once. */
const PAGE_BYTES = 4096
const MAX_READ_BYTES = 1024 * 1024

const FUSE_CONF = '/etc/fuse.conf'

/** The arguments of all `-o`: what the mount gets, and what the mode gets, in order. */
export interface ParsedMountOptions {
  readonly flags: MountFlags
  readonly modeOptions: readonly ModeOption[]
}

/** Reads the arguments of all `-o`, in order. Throws a usage error that names the option. */
export function parseMountOptions(lists: readonly string[]): ParsedMountOptions {
  const flags: Writable<MountFlags> = {}
  const modeOptions: ModeOption[] = []
  for (const option of lists.flatMap((list) => list.split(','))) {
    if (option === '') continue
    const equals = option.indexOf('=')
    const name = equals < 0 ? option : option.slice(0, equals)
    if (Object.hasOwn(SWITCHES, name)) {
      if (equals >= 0) throw usageError(`mount option ${name} takes no value`)
      Object.assign(flags, SWITCHES[name])
    } else if (Object.hasOwn(VALUES, name)) {
      Object.assign(flags, VALUES[name]?.(equals < 0 ? '' : option.slice(equals + 1), name))
    } else {
      modeOptions.push(equals < 0 ? { name } : { name, value: option.slice(equals + 1) })
    }
  }
  return { flags, modeOptions }
}

type OptionChecker = Pick<Mode, 'name' | 'checkOptions' | 'pathOptions'>

/** Throws a usage error unless the mode knows these options and finds them in order. */
export function checkModeOptions(mode: OptionChecker, options: ParsedMountOptions['modeOptions']): void {
  const [first] = options
  if (first === undefined) return
  if (mode.checkOptions === undefined) {
    throw usageError(`unknown mount option ${JSON.stringify(first.name)}; there are ${optionNames().join(', ')}`)
  }
  try {
    mode.checkOptions(options)
  } catch (error) {
    if (error instanceof ModeOptionError) throw usageError(error.message)
    throw error
  }
}

/**
 * What holds unless the options say otherwise: root's mounts are for everybody, as those of a disk are. Others need
 * leave from /etc/fuse.conf (its text, or '' if there is none) to let anybody else in.
 */
export function withDefaults(flags: MountFlags, { root, fuseConf }: { root: boolean; fuseConf: string }): MountFlags {
  if (root) return { allowOther: true, ...flags }
  if (flags.nosuid === false || flags.nodev === false) {
    throw new CliError('the options suid and dev need root: fusermount3 always mounts with nosuid and nodev')
  }
  if (flags.allowOther && !/^\s*user_allow_other\s*$/m.test(fuseConf)) {
    throw new CliError('allow_other without root needs a line `user_allow_other` in /etc/fuse.conf')
  }
  return flags
}

/** The options of a command line on this machine, for a mount of `mode`. */
export function resolveMountOptions(lists: readonly string[], mode: Mode): ParsedMountOptions {
  const { flags, modeOptions } = parseMountOptions(lists)
  checkModeOptions(mode, modeOptions)
  return { flags: withDefaultsHere(flags), modeOptions: withPaths(mode, modeOptions) }
}

/** The same for a lab with mounts of these modes. */
export function resolveLabOptions(
  lists: readonly string[],
  modes: readonly Mode[],
): Pick<MountSettings, 'options' | 'modeOptions'> {
  const { flags, modeOptions } = parseMountOptions(lists)
  return { options: withDefaultsHere(flags), modeOptions: shareModeOptions(modeOptions, modes) }
}

/** Each of several modes gets the options that it knows, in order. Throws a usage error for one that none knows. */
export function shareModeOptions(
  options: readonly ModeOption[],
  modes: readonly OptionChecker[],
): MountSettings['modeOptions'] {
  const [first] = modes
  if (modes.length === 1 && first !== undefined) {
    checkModeOptions(first, options)
    return options.length > 0 ? { [first.name]: withPaths(first, options) } : {}
  }
  for (const option of options) if (!modes.some((mode) => knowsOption(mode, option))) refuse(option, modes)
  const shares = modes.map((mode) => [mode.name, options.filter((option) => knowsOption(mode, option))] as const)
  for (const [i, [, own]] of shares.entries()) checkModeOptions(modes[i] as OptionChecker, own)
  const found = shares.map(([name, own], i) => [name, withPaths(modes[i] as OptionChecker, own)] as const)
  return Object.fromEntries(found.filter(([, own]) => own.length > 0))
}

/** Paths are meant from here, and the process that serves the mount is elsewhere. */
function withPaths({ pathOptions = [] }: OptionChecker, options: readonly ModeOption[]): readonly ModeOption[] {
  return options.map(({ name, value }) => {
    if (value === undefined) return { name }
    return { name, value: pathOptions.includes(name) ? resolve(value) : value }
  })
}

export const knowsOption = (mode: OptionChecker, option: ModeOption): boolean => complaint(mode, option) === undefined

/** What a mode has against an option. */
function complaint(mode: OptionChecker, option: ModeOption): string | undefined {
  try {
    checkModeOptions(mode, [option])
    return undefined
  } catch (error) {
    if (error instanceof CliError) return error.message
    throw error
  }
}

/** Says what those modes say that have options at all. */
function refuse(option: ModeOption, modes: readonly OptionChecker[]): never {
  const checking = modes.filter(({ checkOptions }) => checkOptions !== undefined)
  const complaints = (checking.length > 0 ? checking : modes).map((mode) => complaint(mode, option))
  throw usageError([...new Set(complaints)].join('; '))
}

function withDefaultsHere(flags: MountFlags): MountFlags {
  const fuseConf = existsSync(FUSE_CONF) ? readFileSync(FUSE_CONF, 'utf8') : ''
  return withDefaults(flags, { root: process.geteuid?.() === 0, fuseConf })
}

export function optionNames(): string[] {
  return [...Object.keys(SWITCHES), ...Object.keys(VALUES).map((name) => `${name}=`)]
}

function word(value: string, option: string): string {
  if (!/^[\x21-\x7e]{1,255}$/.test(value)) throw usageError(`mount option ${option}= needs a word, as in ${option}=lab`)
  return value
}

function bytes(value: string, option: string): number {
  const number = /^\d{1,9}$/.test(value) ? Number(value) : 0
  if (number >= PAGE_BYTES && number <= MAX_READ_BYTES) return number
  throw usageError(`mount option ${option}= needs a number of bytes from ${PAGE_BYTES} to ${MAX_READ_BYTES}`)
}
