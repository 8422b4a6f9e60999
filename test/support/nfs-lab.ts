// A server and mounts of mode nfs.
import { mkdirSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { AppendFindings } from '../../src/modes/nfs/append-detector.ts'
import type { Daemon } from './daemon.ts'
import { run } from './run.ts'
import { type MountRequest, type MountsOptions, mountProteus, ServedLab } from './served-lab.ts'

export class NfsLab extends ServedLab {
  static start({ mounts = [[], []] }: { readonly mounts?: MountsOptions } = {}): Promise<NfsLab> {
    return new NfsLab('nfs', 'export').begin(mounts)
  }

  /** What the server exports, for libnfs. */
  libnfsUrl(path: string, more = ''): string {
    return `nfs://127.0.0.1${path}?nfsport=${this.port}&mountport=${this.port}${more}`
  }
}

/** On a directory that is made. */
export function mountNfs(request: MountRequest): Promise<Daemon> {
  mkdirSync(request.directory)
  return mountProteus(request)
}

/** What `.proteus/status.json` of a mount says of the mode. */
export interface NfsStatus {
  readonly server: string
  readonly responding: boolean
  readonly connection: string
  readonly notRespondingSince?: string
  readonly waiting: readonly { readonly op: string; readonly since: string; readonly retransmissions: number }[]
  readonly retransmissions: number
  readonly network: string
  readonly calls: Readonly<Record<string, number>>
  readonly removedWhileOpen: readonly string[]
  readonly appends: AppendFindings
  readonly locks: NfsLocks
}

export interface NfsLocks {
  readonly connection: string
  readonly callsBack: boolean
  readonly calls: Readonly<Record<string, number>>
  readonly held: readonly NfsLock[]
  readonly waiting: readonly (NfsLock & { readonly state: string; readonly why: string })[]
  readonly lost: readonly NfsLock[]
}

interface NfsLock {
  readonly ino: number
  readonly bytes: string
  readonly kind: string
  readonly by: string
  readonly pid: number
}

export async function statusOf(mount: string): Promise<NfsStatus> {
  const { details } = JSON.parse(await readFile(join(mount, '.proteus/status.json'), 'utf8')) as { details: NfsStatus }
  return details
}

/** What the mode knows of a file: `user.proteus`. Another process asks: it may have to wait. */
export async function factsOf(path: string): Promise<Record<string, string>> {
  const script = 'import os, sys; sys.stdout.write(os.getxattr(sys.argv[1], "user.proteus").decode())'
  return JSON.parse(await run('python3', ['-c', script, path])) as Record<string, string>
}

export const locksOf = async (mount: string): Promise<NfsLocks> => (await statusOf(mount)).locks

/** The calls that a mount makes while `action` runs. */
export async function callsOf(mount: string, action: () => Promise<unknown>): Promise<Record<string, number>> {
  const before = (await statusOf(mount)).calls
  await action()
  const after = Object.entries((await statusOf(mount)).calls)
  return Object.fromEntries(
    after
      .map(([name, count]): [string, number] => [name.replace('NFS3.', ''), count - (before[name] ?? 0)])
      .filter(([, count]) => count > 0),
  )
}
