// Processes by id and start time: an id alone may by now be somebody else's. All from /proc.
import { readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'

export interface ProcessId {
  readonly pid: number
  /** Clock ticks after boot (proc_pid_stat(5), field 22). */
  readonly startTime: number
}

/** The process that has `pid` now, or undefined; one that has ended and only waits for its parent does not count. */
export function processNow(pid: number): ProcessId | undefined {
  try {
    const startTime = parseStartTime(readFileSync(`/proc/${pid}/stat`, 'utf8'))
    return startTime === undefined ? undefined : { pid, startTime }
  } catch {
    return undefined
  }
}

/** Field 22 of /proc/PID/stat; undefined for a zombie. The command name before it may hold spaces and parentheses. */
export function parseStartTime(stat: string): number | undefined {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const state = fields[0]
  const startTime = Number(fields[19])
  return state === 'Z' || state === 'X' || !Number.isSafeInteger(startTime) ? undefined : startTime
}

export function isAlive(process: ProcessId): boolean {
  return processNow(process.pid)?.startTime === process.startTime
}

/** Sends a signal if it is still that process. */
export function signal(target: ProcessId, name: NodeJS.Signals): void {
  try {
    if (isAlive(target)) process.kill(target.pid, name)
  } catch (error) {
    // It ended in between.
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error
  }
}

/** True when it is gone; false when `timeoutMs` have passed. */
export async function waitForEnd(target: ProcessId, timeoutMs: number): Promise<boolean> {
  const until = performance.now() + timeoutMs
  while (isAlive(target)) {
    if (performance.now() >= until) return false
    await delay(20)
  }
  return true
}

/** How a process came to its end: it was gone already, closed in peace, or had to be killed. */
export type Ending = 'gone' | 'closed' | 'killed'

/** SIGTERM, time to close, then SIGKILL. */
export async function endProcess(target: ProcessId, graceMs: number): Promise<Ending> {
  if (!isAlive(target)) return 'gone'
  signal(target, 'SIGTERM')
  if (await waitForEnd(target, graceMs)) return 'closed'
  signal(target, 'SIGKILL')
  await waitForEnd(target, graceMs)
  return 'killed'
}
