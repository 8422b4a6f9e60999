// A server and mounts of mode nfs, each in a process of its own, so that each can be killed alone.
import { mkdirSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { AppendFindings } from '../../src/modes/nfs/append-detector.ts'
import { Daemon, type DaemonCommand } from './daemon.ts'
import { run } from './run.ts'
import { scratch } from './targets.ts'

const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))

export interface NfsLabOptions {
  /** The `-o` options of each mount; by default two mounts without any. */
  readonly mounts?: readonly (readonly string[])[]
}

export class NfsLab {
  readonly folder = scratch('nfs')
  /** Where the mounts are. */
  readonly directories: string[] = []
  readonly #data = join(this.folder, 'data')
  readonly #mounts: Daemon[] = []
  #server: Daemon | undefined
  #port = 0

  static async start({ mounts = [[], []] }: NfsLabOptions = {}): Promise<NfsLab> {
    const lab = new NfsLab()
    try {
      mkdirSync(lab.#data)
      await lab.startServer()
      for (const options of mounts) await lab.mount(options)
      return lab
    } catch (error) {
      await lab.end()
      throw error
    }
  }

  get url(): string {
    return `nfs://127.0.0.1:${this.#port}/export`
  }

  /** What the server exports, for libnfs. */
  libnfsUrl(path: string, more = ''): string {
    return `nfs://127.0.0.1${path}?nfsport=${this.#port}&mountport=${this.#port}${more}`
  }

  /** Again on the port that it had; `options` of the server. */
  async startServer(...options: string[]): Promise<void> {
    const port = String(this.#port)
    const args = ['serve', 'nfs', '--json', '--data', this.#data, '--port', port, ...options]
    this.#server = await Daemon.start({ ...this.#command(args), mounts: [], logs: [join(this.#data, 'log')] })
    const [, bound = ''] = /"url":"nfs:\/\/127\.0\.0\.1:(\d+)/.exec(this.#server.announcement) ?? []
    this.#port = Number(bound)
  }

  async killServer(): Promise<void> {
    await this.#server?.kill()
    this.#server = undefined
  }

  /** Another mount; returns its directory. `path`: below what is exported by default. */
  async mount(options: readonly string[], path = ''): Promise<string> {
    const directory = join(this.folder, 'abcdefgh'[this.directories.length] as string)
    this.#mounts.push(await mountNfs({ url: `${this.url}${path}`, directory, folder: this.folder, options }))
    this.directories.push(directory)
    return directory
  }

  /** kill -9 of the client on a directory; the mount goes with it. */
  async killMount(directory: string): Promise<void> {
    await this.#mounts[this.directories.indexOf(directory)]?.kill()
  }

  /** In peace. */
  async unmount(directory: string): Promise<void> {
    const [mount] = this.#mounts.splice(this.directories.indexOf(directory), 1)
    this.directories.splice(this.directories.indexOf(directory), 1)
    await mount?.stop()
  }

  #command(args: readonly string[]): Pick<DaemonCommand, 'program' | 'args' | 'folder' | 'announcesReady'> {
    return { program: process.execPath, args: [main, ...args], folder: this.folder, announcesReady: true }
  }

  /** In peace if they can: what is left open ends with its mount. */
  async end(): Promise<void> {
    for (const mount of this.#mounts.splice(0)) await mount.kill()
    await this.killServer()
  }
}

export interface NfsMountRequest {
  readonly url: string
  /** Is made. */
  readonly directory: string
  readonly folder: string
  readonly options: readonly string[]
  /** A program, with arguments, that starts the command. */
  readonly within?: { readonly program: string; readonly args: readonly string[] }
}

/** `proteus mount --foreground`. */
export function mountNfs({ url, directory, folder, options, within }: NfsMountRequest): Promise<Daemon> {
  const log = `${directory}.log`
  mkdirSync(directory)
  const flags = ['--foreground', '--json', '--log', log, ...options.flatMap((option) => ['-o', option])]
  const command = [process.execPath, main, 'mount', url, directory, ...flags]
  const [program = '', ...args] = within === undefined ? command : [within.program, ...within.args, ...command]
  return Daemon.start({ program, args, folder, mounts: [directory], logs: [log], announcesReady: true })
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
