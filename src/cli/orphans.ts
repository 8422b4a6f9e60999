// `proteus orphans`: the `.nfs…` files that clients which died have left behind, by age.
import { unlink } from 'node:fs/promises'
import type { Command } from 'commander'
import { findSillyNames, isOrphan, lastUsedMs } from '../modes/nfs/orphans.ts'
import { CliError, describeError, errorCode, usageError } from './exit.ts'
import { findMount, readStatus } from './support/control-access.ts'
import { examples, jsonOption } from './support/options.ts'
import { createOutput, shown } from './support/output.ts'

interface OrphansOptions {
  /** In milliseconds. */
  readonly olderThan: number
  readonly remove?: boolean
  readonly json?: boolean
}

/** `open`: on this very mount. `young`: another client may have it open. */
type State = 'open' | 'young' | 'orphan' | 'removed'

const UNITS: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }
const WEEK = 7 * 86_400_000

export function define(command: Command): void {
  command
    .argument('<dir>', 'an NFS mount, or a directory in it')
    .option('--older-than <age>', 'not used for so long: 7d, 12h, 30m', parseAge, WEEK)
    .option('--remove', 'remove them')
    .addOption(jsonOption())
    .addHelpText(
      'after',
      [
        '',
        'A file that is removed while a program has it open lives on as .nfs… until its last close. A client that dies',
        'leaves it. The server knows no opens: only its age tells whether another client may still have it open.',
        examples('proteus orphans mount/a', 'proteus orphans mount/a --older-than 30d --remove'),
      ].join('\n'),
    )
    .action(orphans)
}

function parseAge(text: string): number {
  const [, number, unit = ''] = /^(\d{1,6})([smhd])$/.exec(text) ?? []
  if (number === undefined) throw usageError('--older-than needs an age such as 7d, 12h or 30m')
  return Number(number) * (UNITS[unit] ?? 0)
}

async function orphans(directory: string, { olderThan: minAgeMs, remove, json }: OrphansOptions): Promise<void> {
  const output = createOutput(json)
  const mount = findMount(directory)
  const status = await readStatus(mount)
  if (status.mode !== 'nfs')
    throw new CliError(`${shown(mount)} is a mount of mode ${status.mode}: it leaves no orphans`)
  const own = ownNames(status.details)
  const nowMs = Date.now()
  let failed = 0
  const warn = (path: string, error: unknown): void => output.warn(`${shown(path)}: ${describeError(error, false)}`)
  for await (const file of findSillyNames(directory, warn)) {
    const { path, bytes } = file
    const was = own.get(file.name)
    let state: State = was !== undefined ? 'open' : isOrphan(file, { nowMs, minAgeMs }) ? 'orphan' : 'young'
    if (state === 'orphan' && remove) {
      try {
        await reap(path)
        state = 'removed'
      } catch (error) {
        failed++
        warn(path, error)
      }
    }
    const lastUsed = new Date(lastUsedMs(file)).toISOString()
    const fileId = String(file.fileId)
    output.result({ path, state, bytes, fileId, lastUsed, ...(was === undefined ? {} : { was }) })
    const name = was === undefined ? '' : ` (was ${JSON.stringify(was)})`
    output.line(`${state.padEnd(7)} ${lastUsed}  ${bytes} bytes  ${shown(path)}${name}`)
  }
  if (failed > 0) throw new CliError(`${failed} could not be removed`)
}

/** Silly names that this mount itself keeps open, and what they were called. */
function ownNames(details: unknown): Map<string, string> {
  const { removedWhileOpen = [] } = (details ?? {}) as { removedWhileOpen?: readonly string[] }
  return new Map(
    removedWhileOpen.flatMap((line) => {
      const [, name = '', was = ''] = /^(\S+) \(was (.*)\)$/s.exec(line) ?? []
      return name === '' ? [] : [[name, was] as const]
    }),
  )
}

async function reap(path: string): Promise<void> {
  await unlink(path).catch((error) => {
    // Somebody else was faster.
    if (errorCode(error) !== 'ENOENT') throw error
  })
}
