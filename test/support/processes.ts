// Processes that the tests started, by their ids: what they started in turn, ending them, and finding those left behind.
import { readdirSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'

/** The processes that a process has started and that still run, deepest first. */
export function descendants(pid: number): number[] {
  const children = (read(`/proc/${pid}/task/${pid}/children`) ?? '').split(' ').filter(Boolean).map(Number)
  return children.flatMap((child) => [...descendants(child), child])
}

export const killNow = (pid: number): void => signal(pid, 'SIGKILL')

function signal(pid: number, name: 'SIGKILL' | 'SIGSTOP'): void {
  try {
    process.kill(pid, name)
  } catch {
    // It has ended already.
  }
}

/** All at once: none of them gets to see that another has gone, and to clean up after it. */
export function killAll(pids: readonly number[]): void {
  for (const pid of pids) signal(pid, 'SIGSTOP')
  for (const pid of pids) killNow(pid)
}

/** Resolves when a process is gone, or a zombie. */
export async function ended(pid: number): Promise<void> {
  // proc(5): the state follows the name, which is in parentheses and may contain some.
  while (/\) [^ZX] [^)]*$/.test(read(`/proc/${pid}/stat`) ?? '')) await sleep(2)
}

/** Processes, other than this one, that have a path on their command line. */
export function processesNaming(path: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && read(`/proc/${name}/cmdline`)?.includes(path))
    .map(Number)
    .filter((pid) => pid !== process.pid)
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}
