// One daemon under test: starts it, waits until its mounts are there, kills it, and is certain to end it.
// It is always another process: a process that touches its own FUSE mount waits for itself.
import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, existsSync, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { detachMounts, detachMountsSync, mountsUnder } from './mounts.ts'
import { descendants, ended, killAll } from './processes.ts'

export interface DaemonCommand {
  readonly program: string
  readonly args: readonly string[]
  /** Folder of this daemon: its mounts, and what it prints on standard error, lie in here. */
  readonly folder: string
  readonly mounts: readonly string[]
  /** Where its processes log, shown when something fails. */
  readonly logs: readonly string[]
  /** It prints `{"event":"ready",…}` when its mounts are usable. Otherwise: it is ready as soon as they are mounted. */
  readonly announcesReady: boolean
}

const startMs = 30_000
const stopMs = 15_000

export class Daemon {
  readonly #command: DaemonCommand
  readonly #child: ChildProcess
  readonly #exited: Promise<void>
  readonly #atExit = (): void => this.#killNow()
  #over = false
  #announced = { ready: false, text: '' }

  private constructor(command: DaemonCommand, log: number) {
    this.#command = command
    this.#child = spawn(command.program, command.args, { stdio: ['ignore', 'pipe', log] })
    this.#exited = new Promise<void>((resolve) => {
      this.#child.once('error', () => resolve())
      this.#child.once('exit', () => resolve())
    }).then(() => {
      this.#over = true
    })
    process.on('exit', this.#atExit)
  }

  static async start(command: DaemonCommand): Promise<Daemon> {
    const log = openSync(join(command.folder, 'stderr'), 'a')
    const daemon = new Daemon(command, log)
    closeSync(log)
    try {
      await daemon.#ready()
    } catch (error) {
      await daemon.kill()
      throw error
    }
    return daemon
  }

  /** What it printed until it was ready. */
  get announcement(): string {
    return this.#announced.text
  }

  /** kill -9 of all its processes; takes the dead mounts away, or leaves them. */
  async kill({ leaveMounts = false } = {}): Promise<void> {
    const processes = this.#processes()
    killAll(processes)
    await this.#exited
    await Promise.all(processes.map(ended))
    process.off('exit', this.#atExit)
    if (leaveMounts) return
    for (const mount of this.#command.mounts) await detachMounts(mount)
  }

  /** SIGINT, as Ctrl-C: it must unmount and end by itself. */
  async stop(): Promise<void> {
    this.#child.kill('SIGINT')
    await Promise.race([this.#exited, sleep(stopMs, undefined, { ref: false })])
    const hung = !this.#over
    const left = this.#command.mounts.flatMap(mountsUnder)
    await this.kill()
    if (hung) throw new Error(`the daemon did not stop within ${stopMs} ms of SIGINT\n${this.#log()}`)
    if (left.length > 0)
      throw new Error(`the daemon stopped and left mounts behind: ${left.join(', ')}\n${this.#log()}`)
  }

  async #ready(): Promise<void> {
    const deadline = Date.now() + startMs
    const announced = this.#readyLine()
    this.#announced = announced
    while (!(this.#command.announcesReady ? announced.ready : this.#mounted())) {
      if (this.#over) throw new Error(`the daemon ended before it was ready\n${announced.text}${this.#log()}`)
      if (Date.now() > deadline) throw new Error(`the daemon was not ready after ${startMs} ms\n${this.#log()}`)
      await sleep(10)
    }
    if (!this.#mounted()) throw new Error(`the daemon says it is ready, and nothing is mounted\n${this.#log()}`)
  }

  #readyLine(): { ready: boolean; text: string } {
    const seen = { ready: false, text: '' }
    this.#child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
      if (seen.ready) return // It may go on to print; the pipe is kept empty.
      seen.text += chunk
      seen.ready = seen.text.split('\n').slice(0, -1).some(isReady)
    })
    return seen
  }

  #mounted(): boolean {
    return this.#command.mounts.every((mount) => mountsUnder(mount).includes(mount))
  }

  /** The process that was started, and those that it started: the serving ones first. */
  #processes(): number[] {
    const { pid } = this.#child
    return pid === undefined || this.#over ? [] : [...descendants(pid), pid]
  }

  /** The ends of its logs. */
  #log(): string {
    return [join(this.#command.folder, 'stderr'), ...this.#command.logs]
      .filter((log) => existsSync(log))
      .map((log) => `${log}:\n${readFileSync(log, 'utf8').slice(-4000)}`)
      .join('\n')
  }

  #killNow(): void {
    killAll(this.#processes())
    for (const mount of this.#command.mounts) detachMountsSync(mount)
  }
}

function isReady(line: string): boolean {
  try {
    return (JSON.parse(line) as { event?: unknown }).event === 'ready'
  } catch {
    return false
  }
}
