// `proteus info`: what stat(2) says of a file, and what its file system knows beyond that (`user.proteus`).
import { type BigIntStats, statSync } from 'node:fs'
import type { Command } from 'commander'
import { addon } from '../host/addon.ts'
import { S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, S_IFSOCK } from '../posix/mode.ts'
import { CliError, errorCode } from './exit.ts'
import { findMount, readStatus } from './support/control-access.ts'
import { examples, jsonOption } from './support/options.ts'
import { columns, createOutput } from './support/output.ts'

interface InfoOptions {
  readonly json?: boolean
}

const TYPES: ReadonlyMap<number, string> = new Map([
  [S_IFSOCK, 'socket'],
  [S_IFLNK, 'symbolic link'],
  [S_IFREG, 'file'],
  [S_IFBLK, 'block device'],
  [S_IFDIR, 'directory'],
  [S_IFCHR, 'character device'],
  [S_IFIFO, 'fifo'],
])

export function define(command: Command): void {
  command
    .argument('<file>', 'a file or directory in a mount')
    .addOption(jsonOption())
    .addHelpText('after', examples('proteus info mount/a/note', 'proteus info --json mount/a/note'))
    .action(info)
}

async function info(file: string, options: InfoOptions): Promise<void> {
  const output = createOutput(options.json)
  // Asked with a time limit first: what follows would wait for a dead mount for ever.
  const { mode } = await readStatus(findMount(file))
  const stat = describeStat(statSync(file, { bigint: true }))
  const facts = readFacts(file)
  output.result({ file, mode, stat, facts })
  const rows = Object.entries({ ...stat, ...facts }).map(([name, value]) => [name, String(value)])
  for (const line of columns([['mode', mode], ...rows])) output.line(line)
}

/** All facts of a file; the kernel itself finds the file and checks that the caller may read it. */
function readFacts(file: string): Record<string, string> {
  try {
    return JSON.parse(Buffer.from(addon().getXattr(file, 'user.proteus')).toString()) as Record<string, string>
  } catch (error) {
    // Only files and directories have attributes of this kind, and not every mode knows facts.
    const code = errorCode(error)
    if (code === 'ENODATA' || code === 'EOPNOTSUPP' || code === 'EPERM') return {}
    if (code === 'EACCES') throw new CliError(`${file}: its facts are for those who may read it`)
    throw error
  }
}

/** The fields of stat(2) under their usual names, large numbers as they are. */
export function describeStat(stat: BigIntStats): Record<string, string | number> {
  const mode = Number(stat.mode)
  return {
    type: TYPES.get(mode & S_IFMT) ?? 'unknown',
    permissions: (mode & 0o7777).toString(8).padStart(4, '0'),
    inode: Number(stat.ino),
    links: Number(stat.nlink),
    owner: `${stat.uid}:${stat.gid}`,
    size: Number(stat.size),
    allocated: Number(stat.blocks) * 512,
    modified: formatNs(stat.mtimeNs),
    changed: formatNs(stat.ctimeNs),
    accessed: formatNs(stat.atimeNs),
    born: formatNs(stat.birthtimeNs),
  }
}

/** Nanoseconds since the epoch as ISO 8601 with all nine digits. */
export function formatNs(ns: bigint): string {
  const billion = 1_000_000_000n
  const fraction = ((ns % billion) + billion) % billion
  const seconds = (ns - fraction) / billion
  return `${new Date(Number(seconds) * 1000).toISOString().slice(0, 19)}.${String(fraction).padStart(9, '0')}Z`
}
