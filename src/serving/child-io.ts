// Looking at mounts through child processes. A process that waits for a file system which does not answer cannot be
// killed until it does; with a child that fate is the child's, and the command goes on after a time.
import { type ChildProcessByStdio, spawn } from 'node:child_process'
import type { Readable } from 'node:stream'

export interface ChildResult {
  readonly status: 'ok' | 'failed' | 'timeout'
  readonly stdout: string
  readonly stderr: string
}

/** Longest output that is kept, in bytes. */
const MAX_OUTPUT_BYTES = 1024 * 1024

/** A command of the system with English messages. */
function start(
  command: string,
  args: readonly string[],
  { detached = false } = {},
): ChildProcessByStdio<null, Readable, Readable> {
  return spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, LC_ALL: 'C' }, detached })
}

/** Runs a command; after `timeoutMs` it is left to its fate. Never rejects. */
export function runChild(command: string, args: readonly string[], timeoutMs: number): Promise<ChildResult> {
  return new Promise((resolve) => {
    // In a session of its own: Ctrl-C in a terminal would end it, too, and a mount would seem to be well.
    const child = start(command, args, { detached: true })
    let stdout = ''
    let stderr = ''
    const finish = (status: ChildResult['status']): void => {
      clearTimeout(timer)
      resolve({ status, stdout, stderr })
    }
    const timer = setTimeout(() => {
      child.kill('SIGKILL')
      child.stdout.destroy()
      child.stderr.destroy()
      child.unref()
      finish('timeout')
    }, timeoutMs)
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      if (stdout.length < MAX_OUTPUT_BYTES) stdout += text
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      if (stderr.length < MAX_OUTPUT_BYTES) stderr += text
    })
    child.on('error', (error) => {
      stderr += error.message
      finish('failed')
    })
    child.on('close', (code) => finish(code === 0 ? 'ok' : 'failed'))
  })
}

/** The content of a small file. */
export function readFileInChild(path: string, timeoutMs: number): Promise<ChildResult> {
  return runChild('cat', ['--', path], timeoutMs)
}

/** The content of a file that goes on; end it by killing the child. */
export function streamFileInChild(path: string): ChildProcessByStdio<null, Readable, Readable> {
  return start('cat', ['--', path])
}
