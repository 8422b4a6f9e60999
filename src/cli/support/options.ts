// Options that several commands share, and their defaults.
import { resolve } from 'node:path'
import { Option } from 'commander'
import type { Driver } from '../../serving/serving.ts'
import { usageError } from '../exit.ts'
import { optionNames } from './mount-options.ts'

export const DEFAULT_DATA = '.proteus-data'
export const DEFAULT_MOUNTS = 'mount/a,mount/b'

export const jsonOption = () => new Option('--json', 'print JSON, one object per line')

export const dataOption = () =>
  new Option('--data <dir>', 'where the lab keeps everything').default(DEFAULT_DATA).argParser((dir) => {
    if (dir === '') throw usageError('--data needs a directory')
    return dir
  })

export const driverOption = () =>
  new Option('--driver <name>', 'how to talk to the kernel: /dev/fuse, or npm fuse-native')
    .choices(['kernel', 'portable'] satisfies Driver[])
    .default('kernel' satisfies Driver)

export const mountOptionsOption = () =>
  new Option(
    '-o, --options <list>',
    `mount options, as mount.fuse names them: ${optionNames().join(',')}; and the mode's own`,
  )
    .argParser((list, previous: string[]) => [...previous, list])
    .default([], 'none')

/** Directories separated by commas, absolute. */
export function parseDirectories(list: string): string[] {
  const names = list.split(',').filter((name) => name !== '')
  if (names.length === 0) throw usageError('--mounts needs directories, as in --mounts mount/a,mount/b')
  return names.map((name) => resolve(name))
}

export const examples = (...lines: string[]): string =>
  ['', 'Examples:', ...lines.map((line) => `  $ ${line}`)].join('\n')

/** How this program was called, for commands to copy: it is rarely in the PATH of a fresh clone. */
export function invocation(script = process.argv[1] ?? ''): string {
  // npx finds it in a folder of the checkout, too.
  const isInstalled = /(^|\/)proteus$/.test(script) && !script.includes('/node_modules/.bin/')
  return isInstalled ? 'proteus' : 'npx proteus'
}
