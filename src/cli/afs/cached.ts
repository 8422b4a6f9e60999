// `proteus afs flush|unstored`: what a mount keeps of files, and what it has that the server has not. Done through control
// files of the mount (src/modes/afs/cache-manager/control-files.ts).
import { writeFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { type Command, Option } from 'commander'
import { modesOf } from '../../lab/lab-plan.ts'
import { readLab } from '../../lab/lab-state.ts'
import { CliError, errorCode, usageError } from '../exit.ts'
import { controlPath, findMount, readControl, readStatus } from '../support/control-access.ts'
import { dataOption, examples, jsonOption } from '../support/options.ts'
import { columns, createOutput, type Output, shown } from '../support/output.ts'
import { attributeOf } from './connection.ts'

interface MountOptions {
  readonly data: string
  readonly json?: boolean
}

interface FlushOptions extends MountOptions {
  readonly all?: boolean
}

interface UnstoredOptions extends MountOptions {
  readonly retry?: string
  readonly discard?: string
}

/** A line of `.proteus/unstored`. */
interface UnstoredFile {
  readonly key: string
  readonly file: string
  readonly copy: string
  readonly why: string
  readonly next: string
}

/** `cell/volume.vnode.unique`. */
const KEY = /^[\w.-]+\/\d+\.\d+\.\d+$/

export function defineFlush(command: Command): void {
  command
    .argument('[path...]', 'files and directories in afs mounts')
    .option('--all', 'everything, in the mounts that the paths are in, or else in those of the lab')
    .addOption(dataOption())
    .addOption(jsonOption())
    .addHelpText(
      'after',
      examples('proteus afs flush mount/a/note', 'proteus afs flush --all', 'proteus afs flush --all mount/a --json'),
    )
    .action(flush)
}

export function defineUnstored(command: Command): void {
  command
    .argument('[path]', 'anything in an afs mount; otherwise the mounts of the lab')
    .addOption(new Option('--retry <file>', 'store it now: a path, or a key as the list has it').conflicts('discard'))
    .option('--discard <file>', 'give up the changes: what the server has stays')
    .addOption(dataOption())
    .addOption(jsonOption())
    .addHelpText(
      'after',
      examples(
        'proteus afs unstored',
        'proteus afs unstored --retry mount/a/note',
        'proteus afs unstored --discard localcell/536870912.7.2837465 --json',
      ),
    )
    .action(unstored)
}

async function flush(paths: readonly string[], { all = false, ...options }: FlushOptions): Promise<void> {
  if (paths.length === 0 && !all) throw usageError('a path, or --all')
  const output = createOutput(options.json)
  if (all) {
    const mounts = paths.length === 0 ? labMounts(options.data) : paths.map(findMount)
    for (const mount of new Set(mounts)) {
      await requireAfs(mount)
      tell(mount, 'flush', 'all', {
        EBUSY: `${shown(mount)}: what is open, or changed and not stored, stays; nothing else`,
      })
      output.result({ event: 'flushed', mount })
      output.line(`${shown(mount)}: nothing is kept any more.`)
    }
    return
  }
  for (const path of paths) {
    const key = await keyOf(path)
    const busy = `${shown(path)} stays: it is open, or changed and not stored (\`proteus afs unstored\`)`
    tell(findMount(path), 'flush', key, { EBUSY: busy })
    output.result({ event: 'flushed', path, key })
    output.line(`${shown(path)}: nothing is kept of it any more.`)
  }
}

async function unstored(path: string | undefined, options: UnstoredOptions): Promise<void> {
  const { retry, discard } = options
  const output = createOutput(options.json)
  const what = retry ?? discard
  if (what !== undefined) return settle(what, { discards: discard !== undefined, path, options, output })
  const mounts = path === undefined ? labMounts(options.data) : [findMount(path)]
  for (const mount of mounts) {
    const files = await unstoredIn(mount)
    for (const file of files) output.result({ mount, ...file })
    output.line(`${shown(mount)}: ${files.length === 0 ? 'the server has everything' : `${files.length} unstored`}`)
    for (const { key, file, why, next, copy } of files) {
      output.line(`  ${file}: ${why}; ${next}`)
      for (const line of columns([
        ['key', key],
        ['copy', copy],
      ]))
        output.line(`    ${line}`)
    }
  }
}

interface Settling {
  readonly discards: boolean
  readonly path: string | undefined
  readonly options: MountOptions
  readonly output: Output
}

async function settle(what: string, { discards, path, options, output }: Settling): Promise<void> {
  const isKey = KEY.test(what)
  const key = isKey ? what : await keyOf(what)
  const mount = isKey
    ? await mountWith(key, path === undefined ? labMounts(options.data) : [findMount(path)])
    : findMount(what)
  try {
    tell(mount, 'unstored', `${discards ? 'discard' : 'retry'} ${key}`, {
      ENOENT: `${shown(what)}: the server has everything`,
      EBUSY: `${shown(what)} is open, or being stored`,
    })
  } catch (error) {
    if (error instanceof CliError) throw error
    // The list says it in words.
    const why = (await unstoredIn(mount)).find((file) => file.key === key)?.why
    throw new CliError(`${shown(what)} is not stored: ${why ?? errorCode(error)}`, { cause: error })
  }
  output.result({ event: discards ? 'discarded' : 'stored', key, mount })
  output.line(discards ? `${shown(what)}: the changes are gone.` : `${shown(what)} is stored.`)
}

async function mountWith(key: string, mounts: readonly string[]): Promise<string> {
  for (const mount of mounts) if ((await unstoredIn(mount)).some((file) => file.key === key)) return mount
  throw new CliError(`${key} is unstored in none of ${mounts.map((mount) => shown(mount)).join(', ')}`)
}

async function unstoredIn(mount: string): Promise<UnstoredFile[]> {
  await requireAfs(mount)
  const lines = (await readControl(mount, 'unstored')).split('\n')
  return lines.filter((line) => line !== '').map((line) => JSON.parse(line) as UnstoredFile)
}

/** What the mount calls a file. */
async function keyOf(path: string): Promise<string> {
  const fid = await attributeOf(path, 'fid')
  return `${await attributeOf(path, 'cell')}/${fid}`
}

async function requireAfs(mount: string): Promise<void> {
  const { mode } = await readStatus(mount)
  if (mode !== 'afs') throw new CliError(`${shown(mount)} is a mount of mode ${mode}, not afs`)
}

function labMounts(data: string): readonly string[] {
  const lab = readLab(resolve(data))
  const modes = Object.entries(lab === undefined ? {} : modesOf(lab))
  const mounts = modes.filter(([, mode]) => mode === 'afs').map(([target]) => target)
  if (mounts.length > 0) return mounts
  throw new CliError(`no lab with afs mounts runs on ${shown(resolve(data))}: name a path in a mount`)
}

/** Writes a line to a control file of a mount that has just answered. */
function tell(mount: string, file: string, line: string, known: Readonly<Record<string, string>>): void {
  try {
    writeFileSync(controlPath(mount, file), `${line}\n`)
  } catch (error) {
    const code = errorCode(error) ?? ''
    const message = code === 'EACCES' ? `only who made ${shown(mount)} decides what it keeps` : known[code]
    if (message === undefined) throw error
    throw new CliError(message, { cause: error })
  }
}
