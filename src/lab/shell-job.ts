// A shell command on a real mount: in a session of its own, so that Ctrl-C in a terminal does not reach it, and a signal
// reaches all that it has started.
import { type ChildProcess, spawn } from 'node:child_process'
import type { Ended, Printed } from './expectation.ts'
import type { Job } from './stage.ts'

/** Longest output that is kept of each stream, in characters. */
const MAX_OUTPUT = 64 * 1024

export interface ShellOptions {
  /** Where it works. */
  readonly directory: string
  readonly env: Readonly<Record<string, string>>
}

export class ShellJob implements Job {
  readonly #child: ChildProcess
  readonly #printed = { stdout: '', stderr: '' }
  #ended: Ended | undefined
  #wake: () => void = () => undefined
  #change!: Promise<void>
  /** Nothing of it is left. */
  readonly closed: Promise<void>

  constructor(command: string, { directory, env }: ShellOptions) {
    this.#arm()
    // Entered by env(1), which says why when it cannot; and which may wait for it, as this process may not.
    const child = spawn('env', ['-C', directory, 'sh', '-c', command], {
      cwd: '/',
      detached: true,
      stdio: ['pipe', 'pipe', 'pipe'],
      env,
    })
    this.#child = child
    // It may end without having read.
    child.stdin.on('error', () => undefined)
    for (const name of ['stdout', 'stderr'] as const) {
      child[name].setEncoding('utf8').on('data', (text: string) => {
        if (this.#printed[name].length < MAX_OUTPUT) this.#printed[name] += text
        this.#changed()
      })
    }
    // However this process ends, a command must not go on without anybody who would wait for it.
    const onExit = (): void => this.kill()
    process.on('exit', onExit)
    this.closed = new Promise((resolve) => {
      const end = (code: number | null, signal: NodeJS.Signals | null): void => {
        this.#ended ??= { code, signal, ...this.#printed }
        process.off('exit', onExit)
        this.#changed()
        resolve()
      }
      child.on('error', (error) => {
        this.#printed.stderr += `${error.message}\n`
        end(127, null)
      })
      child.on('close', end)
    })
  }

  get printed(): Printed {
    return { ...this.#printed }
  }

  get ended(): Ended | undefined {
    return this.#ended
  }

  changed(): Promise<void> {
    return this.#change
  }

  enter(): void {
    this.#child.stdin?.write('\n')
  }

  interrupt(): void {
    this.#signal('SIGINT')
  }

  kill(): void {
    this.#signal('SIGKILL')
  }

  /** The whole process group; its leader's id is nobody else's while the group is there. */
  #signal(name: NodeJS.Signals): void {
    const { pid } = this.#child
    if (pid === undefined || this.#ended !== undefined) return
    try {
      process.kill(-pid, name)
    } catch {
      // It has just ended.
    }
  }

  #changed(): void {
    const wake = this.#wake
    this.#arm()
    wake()
  }

  #arm(): void {
    this.#change = new Promise((resolve) => {
      this.#wake = resolve
    })
  }
}
