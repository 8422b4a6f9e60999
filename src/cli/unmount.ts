// `proteus unmount`: takes a mount away; its serving process ends by itself when it has no other.
import { resolve } from 'node:path'
import type { Command } from 'commander'
import { CliError, errorCode } from './exit.ts'
import { readStatus } from './support/control-access.ts'
import { isProbablyOurs, mountedOn, readMountTable } from './support/mount-table.ts'
import { examples, jsonOption } from './support/options.ts'
import { createOutput } from './support/output.ts'
import { processNow, usersOf, waitForEnd } from './support/processes.ts'
import { ANSWER_MS, shown, unmount as takeOff, targetState } from './support/target.ts'

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
  const target = resolve(dir)
  const entry = mountedOn(target, readMountTable())
  if (entry === undefined) throw new CliError(`nothing is mounted on ${dir}`)
  if (!isProbablyOurs(entry)) throw new CliError(`${dir} is a ${entry.type} mount, not one of Proteus: use umount`)

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
  if (server !== undefined) await waitForEnd(server, ANSWER_MS)
  output.result({ event: 'unmounted', target })
  output.line(`${shown(target)} is unmounted`)
}

/** The process behind `target` if it serves no other mount: then it ends with this one. */
async function onlyServerOf(target: string) {
  const targets = new Set(
    readMountTable()
      .filter(isProbablyOurs)
      .map((entry) => entry.target),
  )
  const pids = new Map<string, number>()
  const ask = async (path: string) => pids.set(path, (await readStatus(path)).pid)
  await Promise.allSettled([...targets].map(ask))
  const pid = pids.get(target)
  const shared = [...pids].some(([path, other]) => path !== target && other === pid)
  return pid === undefined || shared ? undefined : processNow(pid)
}
