// The control directory of a mount as commands see it: finding the mount that a path is in, reading its files.
import { realpathSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { readFileInChild } from '../../serving/child-io.ts'
import { isFuse, mountOf, readMountTable } from '../../serving/mount-table.ts'
import { ANSWER_MS } from '../../serving/target.ts'
import { CliError } from '../exit.ts'
import { shown } from './output.ts'

/** The control directory's name, as in src/vfs/control.ts, which a command need not load. */
const CONTROL = '.proteus'

export const controlPath = (mount: string, name: string): string => join(mount, CONTROL, name)

/** The directory mounted on that `path` is in. */
export function findMount(path: string): string {
  const table = readMountTable()
  // As it is written first: a path into a mount that does not answer must not be resolved by asking it.
  const direct = mountOf(resolve(path), table)
  if (direct !== undefined && isFuse(direct)) return direct.target
  const real = mountOf(realpathSync(path), table)
  if (real !== undefined && isFuse(real)) return real.target
  throw new CliError(`${path} is not in a Proteus mount: \`proteus status\` lists them`)
}

/** The content of a control file. Fails with a message for people, also if the mount does not answer in time. */
export async function readControl(mount: string, name: string): Promise<string> {
  const { status, stdout, stderr } = await readFileInChild(controlPath(mount, name), ANSWER_MS)
  if (status === 'ok') return stdout
  throw new CliError(describeFailure(mount, status === 'timeout' ? 'timeout' : stderr))
}

/** Why reading a control file failed, from what `cat` said. */
export function describeFailure(mount: string, stderr: string): string {
  const name = shown(mount)
  if (stderr === 'timeout') {
    return `${name} does not answer: \`proteus down\` stops its lab, \`proteus unmount --force ${name}\` takes it away`
  }
  if (stderr.includes('Transport endpoint is not connected')) {
    return `${name} is stale, its server has died: \`proteus unmount ${name}\` cleans it`
  }
  if (stderr.includes('No such file')) return `${name} is not a Proteus mount: it has no ${CONTROL}/`
  return `${name}: ${stderr.trim()}`
}

export interface MountStatus {
  readonly mode: string
  readonly mount: string
  readonly pid: number
  readonly since: string
  readonly [fact: string]: unknown
}

/** `status.json` of a mount. */
export async function readStatus(mount: string): Promise<MountStatus> {
  const text = await readControl(mount, 'status.json')
  const value: unknown = JSON.parse(text)
  if (typeof value === 'object' && value !== null && 'pid' in value && 'mode' in value) return value as MountStatus
  throw new CliError(`${shown(mount)} has a status that this program does not understand`)
}
