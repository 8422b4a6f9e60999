// What is mounted where, and taking mounts away even when their daemon is dead or hangs.
import { execFile, execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'

/** Mount points at or below `root`, the deepest first. */
export function mountsUnder(root: string): string[] {
  const points: string[] = []
  for (const line of readFileSync('/proc/self/mountinfo', 'utf8').split('\n')) {
    // proc(5): field 5 is the mount point; space, tab, newline and backslash are written in octal.
    const field = line.split(' ')[4]
    if (field === undefined) continue
    const point = field.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)))
    if (point === root || point.startsWith(`${root}/`)) points.push(point)
  }
  return points.reverse()
}

const unmounters: [command: string, args: string[]][] = [
  ['umount', ['-l']],
  ['fusermount3', ['-uz']],
]

/** Detaches every mount at or below `root`. Lazy: it does not wait for programs that still use them. */
export async function detachMounts(root: string): Promise<void> {
  for (const point of mountsUnder(root)) {
    for (const [command, args] of unmounters) {
      const failed = await new Promise((resolve) => {
        execFile(command, [...args, point], { timeout: 10_000 }, resolve)
      })
      if (!failed) break
    }
  }
}

/** The same for exit handlers, where nothing can be awaited. */
export function detachMountsSync(root: string): void {
  for (const point of mountsUnder(root)) {
    for (const [command, args] of unmounters) {
      try {
        execFileSync(command, [...args, point], { timeout: 10_000, stdio: 'ignore' })
        break
      } catch {
        // Not permitted, or not there any more: the next one, or nothing, helps.
      }
    }
  }
}
