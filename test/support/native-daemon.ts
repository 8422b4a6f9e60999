// Drives native-daemon.mjs, the child process that serves a mount through the addon, for test/unit/native.test.ts.
import { type ChildProcess, execFile, fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { addon } from '../../src/host/addon.ts'

const run = promisify(execFile)
export const isRoot = process.getuid?.() === 0

/** mount(2), as root, or fusermount3. */
export type Way = 'direct' | 'helper'
interface Answer {
  id?: number
  event?: string
  result?: unknown
  error?: { code: string; message: string }
}
export interface NativeState {
  errors: string[]
  closed: number
  done: number
  backing: number
  slow: boolean
}

/** A daemon that serves a mount, and what it can be told. */
export class NativeDaemon {
  readonly target: string
  readonly content: string
  readonly #child: ChildProcess
  readonly #waiting = new Map<number, (answer: Answer) => void>()
  #next = 1

  private constructor(target: string, content: string, way: Way) {
    this.target = target
    this.content = content
    this.#child = fork(join(import.meta.dirname, '../support/native-daemon.mjs'), [target, content, way], {
      execArgv: [],
    })
    this.#child.on('message', (answer: Answer) => {
      if (answer.id !== undefined) this.#waiting.get(answer.id)?.(answer)
    })
  }

  /** `testRoot`: the folder of this test run, which is cleaned up even after a kill (global-setup.ts). */
  static async start(testRoot: string, content: string, way: Way): Promise<NativeDaemon> {
    const daemon = new NativeDaemon(await mkdtemp(join(testRoot, 'native-')), content, way)
    await daemon.event('ready')
    return daemon
  }

  event(name: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const child = this.#child
      const onMessage = (answer: Answer) => {
        if (answer.event !== name) return
        child.off('message', onMessage).off('exit', onExit)
        resolve()
      }
      const onExit = (code: number | null) => reject(new Error(`the daemon ended with ${code} before '${name}'`))
      child.on('message', onMessage).once('exit', onExit)
    })
  }

  tell(command: string, argument?: unknown): Promise<unknown> {
    const id = this.#next++
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, ({ result, error }) => {
        this.#waiting.delete(id)
        if (error) reject(Object.assign(new Error(error.message), { code: error.code }))
        else resolve(result)
      })
      this.#child.send({ id, command, argument })
    })
  }

  state(): Promise<NativeState> {
    return this.tell('state') as Promise<NativeState>
  }

  /** Waits until the LOOKUP of `slow` has reached the daemon. */
  async slowArrived(): Promise<void> {
    while (!(await this.state()).slow) await sleep(5)
  }

  /** The exit code after a command that makes the daemon end. */
  async ends(command: 'exit' | 'leave'): Promise<number | null> {
    const exit = once(this.#child, 'exit')
    this.#child.send({ id: 0, command })
    return (await exit)[0]
  }

  async stop(): Promise<void> {
    await unmountLazily(this.target)
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      this.#child.kill('SIGKILL')
      await once(this.#child, 'exit')
    }
    await rm(this.target, { recursive: true })
  }
}

export async function unmountLazily(target: string): Promise<void> {
  while (await isMounted(target)) {
    if (isRoot) await addon().unmount(target, true)
    else await run('fusermount3', ['-u', '-z', target])
  }
}

export async function mountLine(target: string): Promise<string | undefined> {
  const lines = (await readFile('/proc/mounts', 'utf8')).split('\n')
  return lines.find((line) => line.split(' ')[1] === target)
}

async function isMounted(target: string): Promise<boolean> {
  return (await mountLine(target)) !== undefined
}

/** fuse_notify_inval_inode_out: only the attributes (offset -1). */
export function invalidateAttributes(node: bigint): string {
  const message = Buffer.alloc(40)
  message.writeUInt32LE(40, 0)
  message.writeInt32LE(2, 4)
  message.writeBigUInt64LE(node, 16)
  message.writeBigInt64LE(-1n, 24)
  return message.toString('hex')
}

/** fuse_notify_inval_entry_out for a name in the root. */
export function invalidateName(name: string): string {
  const message = Buffer.alloc(32 + name.length + 1)
  message.writeUInt32LE(message.length, 0)
  message.writeInt32LE(3, 4)
  message.writeBigUInt64LE(1n, 16)
  message.writeUInt32LE(name.length, 24)
  message.write(name, 32)
  return message.toString('hex')
}
