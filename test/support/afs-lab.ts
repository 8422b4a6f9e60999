// A server and mounts of mode afs, each in a process of its own; or the server in the test's own process, where its volume
// and its promises are open to view.
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { AfsServer, type AfsServerOptions } from '../../src/modes/afs/server.ts'
import { type MountsOptions, ServedLab } from './served-lab.ts'

interface AfsLabOptions {
  readonly mounts?: MountsOptions
  /** The server is one of this process, with these options. */
  readonly here?: Omit<AfsServerOptions, 'directory' | 'port'>
}

export class AfsLab extends ServedLab {
  readonly #here: AfsLabOptions['here']
  #server: AfsServer | undefined

  private constructor(here: AfsLabOptions['here']) {
    super('afs', 'root.cell')
    this.#here = here
  }

  static start({ mounts = [[], []], here }: AfsLabOptions = {}): Promise<AfsLab> {
    return new AfsLab(here).begin(mounts)
  }

  /** That of this process. */
  get server(): AfsServer {
    if (this.#server === undefined) throw new Error('the server is another process')
    return this.#server
  }

  override get port(): number {
    return this.#server?.port ?? super.port
  }

  override async startServer(): Promise<void> {
    if (this.#here === undefined) return super.startServer()
    this.#server = await AfsServer.start({ ...this.#here, directory: this.data })
  }

  /** With a cache of its own. */
  override mount(options: readonly string[]): Promise<string> {
    return super.mount([...options, this.#cacheOption(this.directories.length)])
  }

  override mountAgain(directory: string, options: readonly string[] = []): Promise<void> {
    return super.mountAgain(directory, [...options, this.#cacheOption(this.directories.indexOf(directory))])
  }

  #cacheOption(index: number): string {
    return `cachedir=${join(this.folder, `cache${index}`)}`
  }

  /** The files in the cache of a mount, the newest first. */
  async cachedFiles(directory: string): Promise<string[]> {
    const files = join(this.folder, `cache${this.directories.indexOf(directory)}`, 'files')
    const numbers = (await readdir(files)).map(Number).sort((a, b) => b - a)
    return numbers.map((number) => join(files, String(number)))
  }

  override async end(): Promise<void> {
    await super.end()
    await this.#server?.close()
  }
}

/** What `.proteus/status.json` of a mount says of the mode. */
export interface AfsStatus {
  readonly servers: readonly {
    readonly responding: boolean
    readonly dead?: boolean
    readonly calls: Readonly<Record<string, number>>
    readonly waiting: readonly { readonly op: string }[]
  }[]
  readonly callbacks: { readonly promised: number; readonly breaks: number }
  readonly cache: { readonly bytes: number; readonly files: number }
  readonly transfers: readonly { readonly direction: string; readonly bytes: number; readonly percent: number }[]
  readonly fetched: { readonly files: number; readonly bytes: number }
  readonly stored: { readonly files: number; readonly bytes: number }
  readonly overwritten: number
  readonly unstored: readonly {
    readonly file: string
    readonly copy: string
    readonly why: string
    readonly next: string
  }[]
  readonly openFiles: number
  readonly locks: { readonly held: number; readonly lost: number }
}

export async function statusOf(mount: string): Promise<AfsStatus> {
  const { details } = JSON.parse(await readFile(join(mount, '.proteus/status.json'), 'utf8')) as { details: AfsStatus }
  return details
}

/** Sets the network of a mount, as `.proteus/network` takes it. */
export const network = (mount: string, setting: string): Promise<void> =>
  writeFile(join(mount, '.proteus/network'), `${setting}\n`)

/** The calls that a mount makes while `action` runs. */
export async function callsOf(mount: string, action: () => Promise<unknown>): Promise<Record<string, number>> {
  const before = await countCalls(mount)
  await action()
  const after = Object.entries(await countCalls(mount))
  return Object.fromEntries(
    after
      .map(([name, count]): [string, number] => [name, count - (before[name] ?? 0)])
      .filter(([, count]) => count > 0),
  )
}

async function countCalls(mount: string): Promise<Record<string, number>> {
  const counts: Record<string, number> = {}
  for (const { calls } of (await statusOf(mount)).servers) {
    for (const [name, count] of Object.entries(calls)) {
      const short = name.replace('AFS.', '')
      counts[short] = (counts[short] ?? 0) + count
    }
  }
  return counts
}
