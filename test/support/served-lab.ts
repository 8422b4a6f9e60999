// A server and mounts of a mode, each in a process of its own, so that each can be killed alone.
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Daemon } from './daemon.ts'
import { scratch } from './targets.ts'

const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))

/** The `-o` options of each mount. */
export type MountsOptions = readonly (readonly string[])[]

export class ServedLab {
  readonly folder: string
  readonly data: string
  /** Where the mounts are. */
  readonly directories: string[] = []
  readonly #mode: string
  readonly #path: string
  readonly #mounts = new Map<string, Daemon>()
  #server: Daemon | undefined
  #port = 0

  /** `path`: what clients mount, as URLs have it. */
  protected constructor(mode: string, path: string) {
    this.#mode = mode
    this.#path = path
    this.folder = scratch(mode)
    this.data = join(this.folder, 'data')
    mkdirSync(this.data)
  }

  /** The server, and a mount for each list of options; nothing is left if that fails. */
  protected async begin(mounts: MountsOptions): Promise<this> {
    try {
      await this.startServer()
      for (const options of mounts) await this.mount(options)
      return this
    } catch (error) {
      await this.end()
      throw error
    }
  }

  get port(): number {
    return this.#port
  }

  get url(): string {
    return `${this.#mode}://127.0.0.1:${this.port}/${this.#path}`
  }

  /** Again on the port that it had; `options` of the server. */
  async startServer(...options: string[]): Promise<void> {
    const args = ['serve', this.#mode, '--json', '--data', this.data, '--port', String(this.#port), ...options]
    this.#server = await Daemon.start({
      ...{ program: process.execPath, args: [main, ...args], folder: this.folder, announcesReady: true },
      ...{ mounts: [], logs: [join(this.data, 'log')] },
    })
    const [, bound = ''] = /"url":"\w+:\/\/127\.0\.0\.1:(\d+)/.exec(this.#server.announcement) ?? []
    this.#port = Number(bound)
  }

  async killServer(): Promise<void> {
    await this.#server?.kill()
    this.#server = undefined
  }

  /** Another mount; returns its directory. `path`: below what is mounted by default. */
  async mount(options: readonly string[], path = ''): Promise<string> {
    const directory = join(this.folder, 'abcdefghijklmnop'[this.directories.length] as string)
    mkdirSync(directory)
    this.directories.push(directory)
    await this.#start(directory, options, path)
    return directory
  }

  /** Again where one was killed or unmounted. */
  mountAgain(directory: string, options: readonly string[]): Promise<void> {
    return this.#start(directory, options, '')
  }

  async #start(directory: string, options: readonly string[], path: string): Promise<void> {
    const url = `${this.url}${path}`
    this.#mounts.set(directory, await mountProteus({ url, directory, folder: this.folder, options }))
  }

  /** kill -9 of the client on a directory; the mount goes with it. */
  async killMount(directory: string): Promise<void> {
    const mount = this.#mounts.get(directory)
    this.#mounts.delete(directory)
    await mount?.kill()
  }

  /** In peace. */
  async unmount(directory: string): Promise<void> {
    const mount = this.#mounts.get(directory)
    this.#mounts.delete(directory)
    await mount?.stop()
  }

  /** Whatever is left open ends with its mount. */
  async end(): Promise<void> {
    for (const directory of [...this.#mounts.keys()]) await this.killMount(directory)
    await this.killServer()
  }
}

export interface MountRequest {
  readonly url: string
  /** Is there. */
  readonly directory: string
  readonly folder: string
  readonly options: readonly string[]
  /** A program, with arguments, that starts the command. */
  readonly within?: { readonly program: string; readonly args: readonly string[] }
}

/** `proteus mount --foreground`. */
export function mountProteus({ url, directory, folder, options, within }: MountRequest): Promise<Daemon> {
  const log = `${directory}.log`
  const flags = ['--foreground', '--json', '--log', log, ...options.flatMap((option) => ['-o', option])]
  const command = [process.execPath, main, 'mount', url, directory, ...flags]
  const [program = '', ...args] = within === undefined ? command : [within.program, ...within.args, ...command]
  return Daemon.start({ program, args, folder, mounts: [directory], logs: [log], announcesReady: true })
}
