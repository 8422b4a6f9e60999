// Processes by id and start time: an id alone may by now be somebody else's. And who uses a mount. All from /proc.
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
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

/**
 * Programs with a working directory, root or open file under `directory`, as `name (pid)`; without the right to look
 * at others' processes, only one's own. Reads links in /proc, which asks no mounted file system anything.
 */
export function usersOf(directory: string): string[] {
  const isUnder = (path: string): boolean => path === directory || path.startsWith(`${directory}/`)
  const users: string[] = []
  for (const pid of readdirSync('/proc')) {
    if (!/^\d+$/.test(pid)) continue
    try {
      const links = [`/proc/${pid}/cwd`, `/proc/${pid}/root`, ...openFiles(pid)]
      if (!links.some((link) => isUnder(target(link)))) continue
      users.push(`${readFileSync(`/proc/${pid}/comm`, 'utf8').trim()} (${pid})`)
    } catch {
      // Not ours to look at, or gone by now.
    }
  }
  return users
}

function openFiles(pid: string): string[] {
  return readdirSync(`/proc/${pid}/fd`).map((fd) => `/proc/${pid}/fd/${fd}`)
}

function target(link: string): string {
  try {
    return readlinkSync(link)
  } catch {
    return ''
  }
}
