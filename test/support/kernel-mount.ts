// Runs kernel-daemon as another process and talks to it. It ends with the test process; `end` leaves no mount behind.
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { COMMANDS, KernelAnswer, KernelCommand } from './kernel-daemon.ts'
import type { MemoryOptions } from './memory-fs.ts'
import { detachMounts } from './mounts.ts'
import { transpile } from './transpile.ts'

type Commands = typeof COMMANDS
/** The daemon's commands, as calls that are answered from there. */
type Calls = {
  [K in keyof Commands]: (...args: Parameters<Commands[K]>) => Promise<Awaited<ReturnType<Commands[K]>>>
}

export class KernelMount {
  readonly target: string
  readonly calls: Calls
  readonly #child: ChildProcess
  readonly #waiting = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>()
  #lastId = 0

  private constructor(program: string, target: string, options: MemoryOptions) {
    this.target = target
    this.#child = fork(program, [target, JSON.stringify(options)], { execArgv: [] })
    this.#child.on('message', ({ id, result, error }: KernelAnswer) => {
      const waiting = this.#waiting.get(id)
      this.#waiting.delete(id)
      if (error === undefined) waiting?.resolve(result)
      else waiting?.reject(new Error(error))
    })
    this.#child.once('exit', (code) => {
      for (const { reject } of this.#waiting.values()) reject(new Error(`the daemon ended with ${code}`))
    })
    this.calls = new Proxy({} as Calls, {
      get:
        (_, command: keyof Commands) =>
        (...args: unknown[]) =>
          this.#call(command, args),
    })
  }

  /** `folder`: for the mount and for the compiled daemon. */
  static async start(folder: string, options: MemoryOptions = {}): Promise<KernelMount> {
    const program = await transpile('test/support/kernel-daemon.ts', join(folder, 'program'))
    const target = join(folder, 'mount')
    mkdirSync(target)
    const mount = new KernelMount(program, target, options)
    try {
      await new Promise((resolve, reject) => mount.#waiting.set(0, { resolve, reject }))
      return mount
    } catch (error) {
      await mount.end()
      throw error
    }
  }

  async end(): Promise<void> {
    const { exitCode, signalCode } = this.#child
    const exited = exitCode === null && signalCode === null ? once(this.#child, 'exit') : undefined
    this.#child.kill('SIGKILL')
    await exited
    await detachMounts(this.target)
  }

  #call(command: keyof Commands, args: unknown[]): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const id = ++this.#lastId
      this.#waiting.set(id, { resolve, reject })
      this.#child.send({ id, command, args } satisfies KernelCommand)
    })
  }
}
