// What `proteus doctor` judges: the facts of this machine, gathered in one place and judged in another (checks.ts).
import { execFileSync } from 'node:child_process'
import { accessSync, constants, existsSync, readFileSync, statfsSync } from 'node:fs'
import { release } from 'node:os'
import { dirname, resolve } from 'node:path'
import { addon } from '../../host/addon.ts'
import { describeError } from '../exit.ts'

export interface Machine {
  readonly platform: string
  readonly nodeVersion: string
  /** As `uname -r`. */
  readonly kernelRelease: string
  readonly device: 'ok' | 'missing' | 'forbidden'
  readonly root: boolean
  /** CAP_SYS_ADMIN: mount(2) and passthrough. */
  readonly sysAdmin: boolean
  /** Path, or undefined. */
  readonly fusermount: string | undefined
  /** Why the addon cannot be loaded, or undefined if it can. */
  readonly addonError: string | undefined
  readonly compiler: boolean
  readonly libfuse2: boolean
  /** The data directory and the magic number (statfs(2)) of the file system that it is or would be on. */
  readonly data: { readonly path: string; readonly fsType: number }
  /** RLIMIT_NOFILE, hard; Infinity for none. */
  readonly maxOpenFiles: number
}

export function examineMachine(data: string): Machine {
  const path = resolve(data)
  return {
    platform: process.platform,
    nodeVersion: process.versions.node,
    kernelRelease: release(),
    device: deviceState(),
    root: process.geteuid?.() === 0,
    sysAdmin: hasSysAdmin(readText('/proc/self/status')),
    fusermount: findProgram('fusermount3'),
    addonError: addonError(),
    compiler: ['c++', 'make', 'python3'].every((program) => findProgram(program) !== undefined),
    libfuse2: /\blibfuse\.so\.2\b/.test(run('/sbin/ldconfig', '-p')),
    data: { path, fsType: statfsSync(existingAncestor(path)).type },
    maxOpenFiles: hardOpenFiles(readText('/proc/self/limits')),
  }
}

/** CAP_SYS_ADMIN (bit 21) in the effective set of a /proc/PID/status. */
export function hasSysAdmin(status: string): boolean {
  const mask = /^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1]
  return mask !== undefined && ((BigInt(`0x${mask}`) >> 21n) & 1n) === 1n
}

/** The hard limit of `Max open files` in a /proc/PID/limits. */
export function hardOpenFiles(limits: string): number {
  const hard = /^Max open files\s+\S+\s+(\S+)/m.exec(limits)?.[1]
  return hard === undefined || hard === 'unlimited' ? Number.POSITIVE_INFINITY : Number(hard)
}

function deviceState(): Machine['device'] {
  if (!existsSync('/dev/fuse')) return 'missing'
  try {
    accessSync('/dev/fuse', constants.R_OK | constants.W_OK)
    return 'ok'
  } catch {
    return 'forbidden'
  }
}

function addonError(): string | undefined {
  try {
    addon()
    return undefined
  } catch (error) {
    return describeError(error, false)
  }
}

function findProgram(name: string): string | undefined {
  const directories = (process.env.PATH ?? '').split(':').filter((directory) => directory !== '')
  return directories.map((directory) => `${directory}/${name}`).find((path) => existsSync(path))
}

function existingAncestor(path: string): string {
  let at = path
  while (!existsSync(at) && dirname(at) !== at) at = dirname(at)
  return at
}

function run(program: string, ...args: string[]): string {
  try {
    return execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
  } catch {
    return ''
  }
}

function readText(path: string): string {
  return existsSync(path) ? readFileSync(path, 'utf8') : ''
}
