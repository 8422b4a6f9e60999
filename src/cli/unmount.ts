// `proteus unmount`: takes a mount away; its serving process ends by itself when it has no other.
import type { Command } from 'commander'
import { realTarget } from '../serving/directories.ts'
import { isFuse, isProbablyOurs, type MountEntry, mountedOn, readMountTable } from '../serving/mount-table.ts'
import { usersOf } from '../serving/open-files.ts'
import { processNow, waitForEnd } from '../serving/processes.ts'
import { unmount as takeOff, targetState } from '../serving/target.ts'
import { CliError, errorCode } from './exit.ts'
import { readStatus } from './support/control-access.ts'
import { examples, jsonOption } from './support/options.ts'
import { createOutput, shown } from './support/output.ts'

/** How long its process may take to close, in milliseconds. */
const CLOSE_MS = 15_000

interface UnmountOptions {
  readonly force?: boolean
  readonly json?: boolean
}

export function define(command: Command): void {
  command
    .argument('<dir>', 'the directory mounted on')
    .option('--force', 'even if it is in use or does not answer')
    .addOption(jsonOption())
    .addHelpText('after', examples('proteus unmount mount/b', 'proteus unmount --force mount/b'))
    .action(unmount)
}

async function unmount(dir: string, { force = false, json }: UnmountOptions): Promise<void> {
  const output = createOutput(json)
  const table = readMountTable()
  const target = realTarget(dir, table)
  const entry = mountedOn(target, table)
  if (entry === undefined) throw new CliError(`nothing is mounted on ${dir}`)
  if (!(await isOurs(entry))) throw new CliError(`${dir} is a ${entry.type} mount, not one of Proteus: use umount`)

  const server = await onlyServerOf(target)
  try {
    await takeOff(target, { lazy: force || (await targetState(target)) === 'stale' })
  } catch (error) {
    if (errorCode(error) !== 'EBUSY') throw error
    const users = usersOf(target)
    const who = users.length > 0 ? ` by ${users.join(', ')}` : ''
    throw new CliError(`${dir} is in use${who}: close what is open there, or add --force`)
  }
  // The volume is closed when its process has ended: who mounts it next need not wait.
  if (server !== undefined) await waitForEnd(server, CLOSE_MS)
  output.result({ event: 'unmounted', target })
  output.line(`${shown(target)} is unmounted`)
}

/** With both names changed by options (fsname, subtype) a mount of ours still has a status. */
async function isOurs(entry: MountEntry): Promise<boolean> {
  if (isProbablyOurs(entry)) return true
  return isFuse(entry) && (await readStatus(entry.target).then(Boolean, () => false))
}

/** The process behind `target` if it serves no other mount: then it ends with this one. */
async function onlyServerOf(target: string) {
  const ours = readMountTable().filter(isProbablyOurs)
  const targets = new Set([target, ...ours.map((entry) => entry.target)])
  const pids = new Map<string, number>()
  const ask = async (path: string) => pids.set(path, (await readStatus(path)).pid)
  await Promise.allSettled([...targets].map(ask))
  const pid = pids.get(target)
  const shared = [...pids].some(([path, other]) => path !== target && other === pid)
  return pid === undefined || shared ? undefined : processNow(pid)
}
