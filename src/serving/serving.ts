// Serving processes: what they are told, what they tell, and how a command starts and ends one.
//
// A serving process (src/cli/daemon.ts) never touches a mount that it serves, and nobody else serves: so each is a
// process apart from the command that starts it, in a session of its own, where Ctrl-C in a terminal does not reach it.
import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import type { MountFlags } from '../fuse/mount.ts'
import type { ModeOption } from '../modes/mode.ts'
import type { KernelAbilities } from '../vfs/filesystem.ts'
import { CliError } from './errors.ts'
import { isAlive, type ProcessId, processNow } from './processes.ts'

export type { MountFlags } from '../fuse/mount.ts'

export type Driver = 'kernel' | 'portable'

/** What a serving process is to do: its only argument, as JSON. Paths are absolute. */
export type ServingSpec =
  | {
      readonly role: 'mount'
      readonly url: string
      readonly targets: readonly string[]
      readonly driver: Driver
      readonly options: MountFlags
      readonly modeOptions: readonly ModeOption[]
      /** Below it mounts may keep files of their own; absent: among the caches of the user. */
      readonly cache?: string
    }
  | {
      readonly role: 'server'
      /** What it serves the one volume with; the first opens it. At least one. */
      readonly protocols: readonly ServedProtocol[]
      readonly data: string
      readonly host: string
      /** Mounts of mode `local` in the server's own process, which has the files. */
      readonly beside?: MountsBeside
    }

export interface ServedProtocol {
  readonly mode: string
  /** 0: any free port. */
  readonly port: number
  /** The mode's own; absent: none. */
  readonly options?: readonly ModeOption[]
}

export interface MountsBeside {
  readonly targets: readonly string[]
  readonly driver: Driver
  readonly options: MountFlags
}

/** The directories that a process serves. */
export function targetsOf(spec: ServingSpec): readonly string[] {
  return (spec.role === 'mount' ? spec.targets : spec.beside?.targets) ?? []
}

export interface ReadyMount {
  readonly target: string
  readonly abilities: KernelAbilities
  readonly limitations: readonly string[]
}

/** What a serving process tells its parent. */
export type ServingMessage =
  /** `urls`: of a server what clients connect to, by mode; otherwise what is mounted. */
  | { readonly type: 'ready'; readonly mounts: readonly ReadyMount[]; readonly urls: Readonly<Record<string, string>> }
  | { readonly type: 'failed'; readonly message: string }
  /** A mount that was in use when it was to end: taken out of sight, the programs keep what they have open. */
  | { readonly type: 'busy'; readonly target: string; readonly users: readonly string[] }

/** What a parent tells a serving process: it may outlive the parent. Until then it ends with it. */
export interface ParentMessage {
  readonly type: 'release'
}

export interface Exit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

export interface ServingProcess {
  readonly id: ProcessId
  readonly spec: ServingSpec
  /** Rejects with a message for people if it ends before. */
  readonly ready: Promise<Extract<ServingMessage, { type: 'ready' }>>
  readonly exited: Promise<Exit>
  /** Lets it go on without its parent. */
  release(): void
}

export interface StartOptions {
  /** The program of the serving process (src/cli/daemon.ts, compiled). */
  readonly program: string
  /** Appended to. */
  readonly log: string
  onBusy?(message: Extract<ServingMessage, { type: 'busy' }>): void
}

/**
 * What bulk data travels in is taken from the C library and given back again and again: it is to keep it, or each megabyte
 * would be mapped, and its pages be filled with zeros, anew (mallopt(3)).
 */
const MEMORY = { MALLOC_MMAP_THRESHOLD_: String(32 << 20), MALLOC_TRIM_THRESHOLD_: String(128 << 20) }

/** A larger young generation: what a request allocates is dead before it would be copied. A tenth less CPU per request. */
const NODE_OPTIONS = ['--enable-source-maps', '--max-semi-space-size=32']

export function startServing(spec: ServingSpec, { program, log, onBusy }: StartOptions): ServingProcess {
  const logFd = openSync(log, 'a', 0o600)
  const child = spawn(process.execPath, [...NODE_OPTIONS, program, JSON.stringify(spec)], {
    detached: true,
    stdio: ['ignore', logFd, logFd, 'ipc'],
    env: { ...MEMORY, ...process.env },
  })
  closeSync(logFd)
  const id = child.pid === undefined ? undefined : processNow(child.pid)
  if (id === undefined) throw new CliError(`the serving process could not be started; see ${log}`)

  const exited = new Promise<Exit>((resolve) => child.on('exit', (code, signal) => resolve({ code, signal })))
  const ready = new Promise<Extract<ServingMessage, { type: 'ready' }>>((resolve, reject) => {
    child.on('message', (message: ServingMessage) => {
      if (message.type === 'ready') resolve(message)
      else if (message.type === 'failed') reject(new CliError(message.message))
      else onBusy?.(message)
    })
    exited.then((exit) =>
      reject(new CliError(`the serving process ended (${describeExit(exit)}) before it was ready; see ${log}`)),
    )
  })
  // Whoever waits for it gets the error; a start that is given up has nobody waiting.
  ready.catch(() => undefined)
  return { id, spec, ready, exited, release: () => release(child) }
}

/** How often a process that is not a child is looked at, in milliseconds. */
const LOOK_MS = 50

/** A serving process that another command has started and released: how it ended only its parent would have heard. */
export function adoptServing(id: ProcessId, spec: ServingSpec): ServingProcess {
  return {
    id,
    spec,
    ready: Promise.resolve({ type: 'ready', urls: {}, mounts: [] }),
    exited: endOf(id),
    release: () => undefined,
  }
}

async function endOf(id: ProcessId): Promise<Exit> {
  while (isAlive(id)) await delay(LOOK_MS, undefined, { ref: false })
  return { code: 0, signal: null }
}

function release(child: ChildProcess): void {
  const message: ParentMessage = { type: 'release' }
  child.send(message, () => {
    child.disconnect()
    child.unref()
  })
}

export function describeExit({ code, signal }: Exit): string {
  return signal === null ? `exit code ${code}` : signal
}
