// Child processes of the benchmark: programs that run to their end, daemons that serve a mount, and what has to be
// undone afterwards. Each child has a process group of its own: Ctrl-C in the terminal reaches only the benchmark,
// which then ends them one by one, by id.
import { spawn } from 'node:child_process'
import { accessSync, constants, readFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'

/** A program that failed: the message is one line with its last words. */
export class ProgramError extends Error {}

/** The path of a program on PATH or in the system folders, or undefined. */
export function findProgram(name) {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin']
  return folders
    .map((folder) => join(folder, name))
    .find((path) => {
      try {
        accessSync(path, constants.X_OK)
        return true
      } catch {
        return false
      }
    })
}

/** The Debian packages of the programs that the benchmark may miss. */
const PACKAGES = {
  python3: 'python3',
  bindfs: 'bindfs',
  sshfs: 'sshfs',
  ssh: 'openssh-client',
  'ssh-keygen': 'openssh-client',
  sshd: 'openssh-server',
  taskset: 'util-linux',
  losetup: 'mount',
  mount: 'mount',
  'mkfs.ext4': 'e2fsprogs',
  fusermount: 'fuse3',
  cc: 'gcc libc6-dev',
  git: 'git',
  tar: 'tar',
  grep: 'grep',
}

/** Undefined if all of these are there, else one line that says which is not and how to get it. */
export function missingProgram(...names) {
  const name = names.find((wanted) => findProgram(wanted) === undefined)
  return name === undefined ? undefined : `${name} is not installed: apt-get install ${PACKAGES[name]}`
}

/** The command, kept to one CPU (the first that this process may use) if the placement says so. */
export function placed(placement, argv) {
  return placement === 'one-cpu' ? ['taskset', '-c', firstAllowedCpu(), ...argv] : argv
}

function firstAllowedCpu() {
  const list = /^Cpus_allowed_list:\s*(\d+)/m.exec(readFileSync('/proc/self/status', 'utf8'))
  return list?.[1] ?? '0'
}

/** Things to undo, in the reverse order of their doing; each is undone once, and all of them even if some fail. */
export class Cleanup {
  #actions = []

  /** Returns a function that undoes it now. */
  defer(undo) {
    this.#actions.push(undo)
    return async () => {
      const at = this.#actions.lastIndexOf(undo)
      if (at < 0) return
      this.#actions.splice(at, 1)
      await undo()
    }
  }

  /** Returns the errors. */
  async run() {
    const errors = []
    for (let undo = this.#actions.pop(); undo !== undefined; undo = this.#actions.pop()) {
      try {
        await undo()
      } catch (error) {
        errors.push(error)
      }
    }
    return errors
  }
}

/** Runs a program to its end and returns its output. Throws ProgramError if it fails, or the reason of the signal. */
export async function run(argv, { signal, timeoutMs = 60_000 } = {}) {
  signal?.throwIfAborted()
  const child = start(argv)
  let output = ''
  child.process.stdout.setEncoding('utf8').on('data', (text) => {
    output += text
  })
  const interrupt = () => child.kill('SIGKILL')
  signal?.addEventListener('abort', interrupt, { once: true })
  const timer = setTimeout(interrupt, timeoutMs)
  const { code, by } = await child.ended
  clearTimeout(timer)
  signal?.removeEventListener('abort', interrupt)
  signal?.throwIfAborted()
  if (code !== 0)
    throw new ProgramError(`${argv[0]}: ${child.lastWords() || `ended with ${by ?? `exit code ${code}`}`}`)
  return output
}

/** A running program that serves something, with its pid. */
export class Daemon {
  #child
  #endSignal

  constructor(argv, { endSignal = 'SIGTERM' } = {}) {
    this.#child = start(argv)
    this.#endSignal = endSignal
  }

  get pid() {
    return this.#child.process.pid
  }

  /** Resolves with the first line of output that `accept` takes (what it returns). Throws ProgramError otherwise. */
  async line(accept, { signal, timeoutMs = 30_000 }) {
    const found = (async () => {
      for await (const line of createInterface(this.#child.process.stdout)) {
        const value = accept(line)
        if (value !== undefined) return value
      }
      await this.#child.ended
      return undefined
    })()
    const value = await Promise.race([found, delay(timeoutMs, undefined, { signal, ref: false })])
    if (value === undefined) throw this.#failed('did not become ready')
    this.#child.process.stdout.resume()
    return value
  }

  /** Resolves when `target` is a mount. */
  async mounted(target, { signal, timeoutMs = 10_000 }) {
    const until = performance.now() + timeoutMs
    while (!isMounted(target)) {
      if (this.#child.hasEnded() || performance.now() > until) throw this.#failed('did not mount')
      await delay(10, undefined, { signal })
    }
  }

  /** Asks it to end, waits, and insists. */
  async end({ graceMs = 20_000 } = {}) {
    if (this.#child.hasEnded()) return
    this.#child.process.kill(this.#endSignal)
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), graceMs)
    await this.#child.ended
    clearTimeout(timer)
  }

  #failed(otherwise) {
    return new ProgramError(this.#child.lastWords() || otherwise)
  }
}

/** Takes the mount out of sight if it is still there: its daemon died, or programs use it. */
export async function unmountIfMounted(target) {
  if (isMounted(target)) await run(['umount', '-l', target])
}

export function isMounted(target) {
  return mountPoints().includes(target)
}

/** Every mount point, from /proc, which asks no mounted file system anything. */
export function mountPoints() {
  const lines = readFileSync('/proc/self/mountinfo', 'utf8').split('\n')
  return lines.map((line) => decodePath(line.split(' ')[4] ?? ''))
}

/** Space, tab, newline and backslash are octal there (proc_pid_mountinfo(5)). */
function decodePath(text) {
  return text.replace(/\\([0-7]{3})/g, (_, octal) => String.fromCharCode(Number.parseInt(octal, 8)))
}

function start([program, ...args]) {
  const child = spawn(findProgram(program) ?? program, args, { detached: true, stdio: ['ignore', 'pipe', 'pipe'] })
  let errors = ''
  child.stderr.setEncoding('utf8').on('data', (text) => {
    errors = (errors + text).slice(-4096)
  })
  let ended = false
  return {
    process: child,
    ended: new Promise((resolve) => {
      const end = (code, by) => {
        ended = true
        resolve({ code, by })
      }
      child.on('close', end)
      child.on('error', (error) => {
        errors ||= error.message
        end(null, null)
      })
    }),
    hasEnded: () => ended,
    lastWords: () => errors.trim().split('\n').at(-1) ?? '',
    /** The whole group: a workload has children too. */
    kill: (name) => {
      if (ended || child.pid === undefined) return
      try {
        process.kill(-child.pid, name)
      } catch {
        // It has ended by now.
      }
    },
  }
}
