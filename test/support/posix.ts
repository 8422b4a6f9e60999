// System calls for tests, made by another process (posix.py): also those that Node lacks, and also as other users.
// A call that hangs fails after its time and costs only that process, not the test run.
import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Credentials, Syscalls } from './syscalls.ts'

const script = fileURLToPath(new URL('./posix.py', import.meta.url))

/** A system call failed: `code` is the name of its errno. */
export class SyscallError extends Error {
  readonly code: string

  constructor(code: string, message: string) {
    super(message)
    this.code = code
  }
}

interface Waiting {
  resolve(value: unknown): void
  reject(error: Error): void
}

type Answer = { value: unknown } | { errno: string; message: string } | { fault: string }

/** One process that makes system calls, one after the other. */
export class Posix {
  readonly #child: ChildProcess
  readonly #waiting: Waiting[] = []
  readonly #timeoutMs: number
  #dead: Error | undefined
  /** The calls, made by this process. */
  readonly calls: Syscalls

  constructor(timeoutMs = 30_000) {
    this.#timeoutMs = timeoutMs
    this.calls = this.#syscalls()
    this.#child = spawn('python3', ['-u', script], { stdio: ['pipe', 'pipe', 'inherit'], cwd: '/' })
    this.#child.once('error', (error) => this.#end(error))
    this.#child.once('exit', (code, signal) => this.#end(new Error(`the process is gone: ${signal ?? code}`)))
    this.#child.stdin?.on('error', (error) => this.#end(error))
    if (this.#child.stdout) createInterface(this.#child.stdout).on('line', (line) => this.#answered(line))
  }

  get alive(): boolean {
    return this.#dead === undefined
  }

  /** The calls, each made by a child of this process with these credentials; it keeps no descriptors. */
  as(who: Credentials): Syscalls {
    return this.#syscalls(who)
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }

  /** Ends the process. */
  close(): void {
    this.#end(new Error('the process was ended'))
    this.#child.kill('SIGKILL')
  }

  #syscalls(as?: Credentials): Syscalls {
    return new Proxy({} as Syscalls, {
      get:
        (_, call: string) =>
        (...args: unknown[]) =>
          this.#request({ call, args, ...(as && { as }) }),
    })
  }

  async #request(request: { call: string; args: unknown[] }): Promise<unknown> {
    if (this.#dead) throw this.#dead
    const answer = new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }))
    const line = JSON.stringify(request, (_, value) => (typeof value === 'bigint' ? String(value) : value))
    this.#child.stdin?.write(`${line}\n`)
    const timer = setTimeout(() => {
      this.#end(new Error(`${request.call} did not return within ${this.#timeoutMs} ms`))
      this.#child.kill('SIGKILL')
    }, this.#timeoutMs)
    try {
      return await answer
    } catch (error) {
      // The trace of the test that called, not of the line that was read.
      if (error instanceof SyscallError) throw new SyscallError(error.code, `${request.call}: ${error.message}`)
      throw error
    } finally {
      clearTimeout(timer)
    }
  }

  #answered(line: string): void {
    const waiting = this.#waiting.shift()
    const answer = JSON.parse(line, (key, value) => (key.endsWith('Ns') ? BigInt(value) : value)) as Answer
    if ('errno' in answer) waiting?.reject(new SyscallError(answer.errno, answer.message))
    else if ('fault' in answer) waiting?.reject(new Error(answer.fault))
    else waiting?.resolve(answer.value)
  }

  #end(reason: Error): void {
    this.#dead ??= reason
    for (const waiting of this.#waiting.splice(0)) waiting.reject(this.#dead)
  }
}
