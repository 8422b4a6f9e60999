// An NFS server as a process of its own, on loopback, that can be killed and started again on the same port.
import { type ChildProcess, fork } from 'node:child_process'
import { join } from 'node:path'
import type { NfsProgramMessage, NfsProgramOptions } from './nfs-server.ts'
import { killNow } from './processes.ts'
import { transpile } from './transpile.ts'

export class NfsProcess {
  readonly port: number
  readonly #child: ChildProcess
  readonly #exited: Promise<void>

  private constructor(child: ChildProcess, exited: Promise<void>, port: number) {
    this.#child = child
    this.#exited = exited
    this.port = port
  }

  /** Makes the program in `folder`; give it to `start`. */
  static program(folder: string): Promise<string> {
    return transpile('test/support/nfs-server.ts', join(folder, 'program'))
  }

  static async start(program: string, options: NfsProgramOptions): Promise<NfsProcess> {
    const child = fork(program, [JSON.stringify(options)], {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      execArgv: [],
    })
    const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()))
    const said = await new Promise<NfsProgramMessage>((resolve) => {
      child.once('message', (message) => resolve(message as NfsProgramMessage))
      void exited.then(() => resolve({ failed: 'the server ended' }))
    })
    if ('failed' in said) throw new Error(said.failed)
    return new NfsProcess(child, exited, said.port)
  }

  /** Resolves when the process has ended. */
  get ended(): Promise<void> {
    return this.#exited
  }

  async kill(): Promise<void> {
    if (this.#child.pid !== undefined) killNow(this.#child.pid)
    await this.#exited
  }

  /** A path of the default export, for libnfs. */
  url(path = ''): string {
    const { port } = this
    return `nfs://127.0.0.1/export${path}?nfsport=${port}&mountport=${port}&autoreconnect=-1`
  }
}
