// Whom Ctrl-C frees of a hung mount, as `intr` of nfs(5) had it: a signal that ends a program, or that people send to end
// one, interrupts a call that waits for the server. Others (SIGALRM of a progress display, SIGCHLD) do not: programs do
// not expect stat(2) to fail with EINTR because of those.
//
// FUSE tells of the first signal only and not which it is. So it is looked up in /proc, and looked for again as long as
// the call waits.
import { readFileSync } from 'node:fs'
import { type Clock, hostClock } from '../host/clock.ts'
import type { CallContext } from './filesystem.ts'

const AGAIN_MS = 500
/** Calls that are over so soon are not watched: to be told of signals costs about as much as a call does. */
const LATE_MS = 20

const bit = (signal: number): bigint => 1n << BigInt(signal - 1)
/** SIGHUP, SIGINT, SIGQUIT, SIGKILL, SIGTERM: to end a program, even one that catches them to do it well. */
const ENDING = bit(1) | bit(2) | bit(3) | bit(9) | bit(15)
/** SIGCHLD, SIGCONT, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU, SIGURG, SIGWINCH: they end nothing if nobody catches them. */
const HARMLESS = bit(17) | bit(18) | bit(19) | bit(20) | bit(21) | bit(22) | bit(23) | bit(28)

export interface InterruptionOptions {
  readonly clock?: Clock
  /** /proc/<pid>/status of a thread; undefined if it is gone. */
  readonly statusOf?: (pid: number) => string | undefined
}

/** A signal that aborts when `context` is interrupted by what interrupts calls of this mode. */
export function interruptionOf(
  { signal, pid }: Pick<CallContext, 'signal' | 'pid'>,
  options: InterruptionOptions = {},
) {
  const { clock = hostClock(), statusOf = statusFromProc } = options
  const controller = new AbortController()
  let cancel = (): void => {}
  const look = (): void => {
    if (pid === 0 || isEnding(statusOf(pid))) controller.abort()
    else cancel = clock.after(AGAIN_MS, look)
  }
  if (signal.aborted) look()
  else signal.addEventListener('abort', look, { once: true })
  return {
    signal: controller.signal,
    /** The call is over. */
    dispose(): void {
      signal.removeEventListener('abort', look)
      cancel()
    },
  }
}

interface Watched {
  readonly context: Pick<CallContext, 'signal' | 'pid'>
  readonly interrupted: () => void
  readonly round: number
  over: boolean
  stop: (() => void) | undefined
}

/** Watches many calls, most of which are over soon. */
export class Interruptions {
  readonly #options: InterruptionOptions
  readonly #clock: Clock
  /** Those that are young, the oldest first, and those that are over and not cleared away yet. */
  #young: Watched[] = []
  #round = 0
  #armed = false

  constructor(options: InterruptionOptions = {}) {
    this.#options = options
    this.#clock = options.clock ?? hostClock()
  }

  /** Calls `interrupted` once if `context` is interrupted, maybe a moment later. Returns how to stop watching. */
  watch(context: Watched['context'], interrupted: () => void): () => void {
    const watched: Watched = { context, interrupted, round: this.#round, over: false, stop: undefined }
    this.#young.push(watched)
    this.#arm()
    return () => {
      watched.over = true
      watched.stop?.()
    }
  }

  #arm(): void {
    if (this.#armed || this.#young.length === 0) return
    this.#armed = true
    this.#clock.after(LATE_MS, () => {
      this.#armed = false
      this.#round++
      // Those from here on came since the last time.
      const next = this.#young.findIndex(({ round }) => round === this.#round - 1)
      const old = next < 0 ? this.#young : this.#young.slice(0, next)
      this.#young = next < 0 ? [] : this.#young.slice(next)
      for (const watched of old) if (!watched.over) this.#attend(watched)
      this.#arm()
    })
  }

  #attend(watched: Watched): void {
    const { signal, dispose } = interruptionOf(watched.context, { ...this.#options, clock: this.#clock })
    watched.stop = dispose
    if (signal.aborted) watched.interrupted()
    else signal.addEventListener('abort', watched.interrupted, { once: true })
  }
}

/** Whether a signal is pending that is to end the program. One that is gone does not wait any more. */
export function isEnding(status: string | undefined): boolean {
  if (status === undefined) return true
  const mask = (name: string): bigint =>
    BigInt(`0x${new RegExp(`^${name}:\\t([0-9a-f]+)$`, 'm').exec(status)?.[1] ?? '0'}`)
  const pending = (mask('SigPnd') | mask('ShdPnd')) & ~mask('SigBlk')
  const uncaught = pending & ~mask('SigCgt') & ~mask('SigIgn') & ~HARMLESS
  return (pending & ENDING & ~mask('SigIgn')) !== 0n || uncaught !== 0n
}

function statusFromProc(pid: number): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/status`, 'latin1')
  } catch {
    return undefined
  }
}
