// Runs programs on a mount: always another process than the test, always with an end.
import { type ChildProcess, spawn } from 'node:child_process'

export interface RunOptions {
  cwd?: string
  env?: Record<string, string>
  /** Given to standard input. */
  input?: string
  timeoutMs?: number
}

export interface Finished {
  /** Exit code; null if a signal ended it. */
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface Running {
  readonly child: ChildProcess
  readonly finished: Promise<Finished>
}

/** Starts a program; it is killed, and `finished` fails, after its time (50 s unless told otherwise: before a test's own end). */
export function start(program: string, args: readonly string[], options: RunOptions = {}): Running {
  const timeoutMs = options.timeoutMs ?? 50_000
  const child = spawn(program, args, { cwd: options.cwd, env: environment(options.env) })
  const stdout: Buffer[] = []
  const stderr: Buffer[] = []
  child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk))
  child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk))
  child.stdin.on('error', () => {}) // A program need not read all of its input.
  child.stdin.end(options.input ?? '')
  const finished = new Promise<Finished>((resolve, reject) => {
    const timer = setTimeout(() => {
      child.kill('SIGKILL')
      reject(new Error(`${program} ${args.join(' ')}: not finished after ${timeoutMs} ms`))
    }, timeoutMs)
    child.once('error', (error) => {
      clearTimeout(timer)
      reject(error)
    })
    child.once('close', (code) => {
      clearTimeout(timer)
      resolve({ code, stdout: Buffer.concat(stdout).toString(), stderr: Buffer.concat(stderr).toString() })
    })
  })
  finished.catch(() => {}) // Whoever awaits it sees the failure; nobody else must crash of it.
  return { child, finished }
}

/** Runs a program to its end and returns what it printed; fails if it fails. */
export async function run(program: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
  const { code, stdout, stderr } = await start(program, args, options).finished
  if (code !== 0) throw new Error(`${program} ${args.join(' ')}: exit ${code}\n${stdout}${stderr}`)
  return stdout
}

/** The same for some shell, which ends at the first failure; `args` are its $1 and so on. */
export function shell(
  script: string,
  { args = [], ...options }: RunOptions & { args?: string[] } = {},
): Promise<string> {
  return run('sh', ['-ec', script, 'sh', ...args], options)
}

/** No user's configuration and no terminal in between: the same everywhere. */
function environment(more: Record<string, string> | undefined): Record<string, string> {
  const { PATH = '/usr/bin:/bin', HOME = '/nonexistent' } = process.env
  return {
    PATH,
    HOME,
    LC_ALL: 'C.UTF-8',
    GIT_CONFIG_GLOBAL: '/dev/null',
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_AUTHOR_NAME: 'Test',
    GIT_AUTHOR_EMAIL: 'test@example.org',
    GIT_COMMITTER_NAME: 'Test',
    GIT_COMMITTER_EMAIL: 'test@example.org',
    ...more,
  }
}
