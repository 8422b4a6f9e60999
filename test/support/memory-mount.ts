// Runs memory-daemon as another process and talks to it. It ends with the test process; `end` leaves no mount behind.
import { type ChildProcess, fork } from 'node:child_process'
import type { MemoryCommand, MemoryMessage, MemoryReport } from './memory-daemon.ts'
import { detachMounts } from './mounts.ts'

type MessageType = MemoryMessage['type']
type MessageOf<Type extends MessageType> = Extract<MemoryMessage, { type: Type }>

const REPLY_MS = 30_000

export class MemoryMount {
  readonly #targets: readonly string[]
  readonly #child: ChildProcess
  readonly #said: MemoryMessage[] = []
  #heard: () => void = () => undefined

  private constructor(program: string, targets: readonly string[], nameTtlMs: number) {
    this.#targets = targets
    this.#child = fork(program, [String(nameTtlMs), `${targets[0]}.content`, ...targets], { execArgv: [] })
    this.#child.on('message', (message: MemoryMessage) => {
      this.#said.push(message)
      this.#heard()
    })
    this.#child.once('exit', () => this.#heard())
  }

  /** `program`: the compiled memory-daemon. Makes a folder beside the first target; resolves when all is mounted. */
  static async start(program: string, targets: readonly string[], nameTtlMs = 0): Promise<MemoryMount> {
    const mount = new MemoryMount(program, targets, nameTtlMs)
    try {
      await mount.hear('ready')
      return mount
    } catch (error) {
      await mount.end()
      throw error
    }
  }

  /** The next message of this type, also if it came already. */
  async hear<Type extends MessageType>(type: Type): Promise<MessageOf<Type>> {
    const deadline = Date.now() + REPLY_MS
    for (;;) {
      const index = this.#said.findIndex((message) => message.type === type || message.type === 'failed')
      const [message] = index < 0 ? [] : this.#said.splice(index, 1)
      if (message?.type === type) return message as MessageOf<Type>
      if (message?.type === 'failed') throw new Error(message.message)
      const leftMs = deadline - Date.now()
      if (this.#child.exitCode !== null || leftMs <= 0) throw new Error(`the daemon did not say ${type}`)
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, leftMs)
        this.#heard = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
  }

  async report(): Promise<MemoryReport> {
    this.#send({ command: 'report' })
    return (await this.hear('report')).report
  }

  /** The name of the error, or null. */
  async unmount(target: string): Promise<string | null> {
    this.#send({ command: 'unmount', target })
    return (await this.hear('unmounted')).error
  }

  async end(): Promise<void> {
    this.#child.kill('SIGKILL')
    for (const target of this.#targets) await detachMounts(target)
  }

  #send(command: MemoryCommand): void {
    this.#child.send(command)
  }
}
