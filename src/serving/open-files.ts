// Who uses a mount: working directories, open and mapped files below a directory, from /proc. Links and texts there are
// made by the kernel from what it knows: no mounted file system is asked anything, so none can hold this up.
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'

export type Use = 'open' | 'mapped' | 'working directory' | 'root'

/** One thing that one process has in use. */
export interface UsedFile {
  readonly pid: number
  /** The process's name, up to 15 bytes (proc_pid_comm(5)). */
  readonly command: string
  /** As the kernel names it: a deleted file's ends in ` (deleted)`. */
  readonly path: string
  readonly use: Use
}

/**
 * What processes use below `directories`, by process; without the right to look at others' processes, one's own only.
 * A file that a process has open several times is told once; one that is open and mapped is open.
 */
export function usedFiles(directories: readonly string[]): UsedFile[] {
  const isUnder = (path: string): boolean =>
    directories.some((directory) => path === directory || path.startsWith(`${directory}/`))
  const found: UsedFile[] = []
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    const uses = new Map<string, Use>()
    for (const [path, use] of usesOf(`/proc/${name}`)) {
      if (isUnder(path) && !uses.has(path)) uses.set(path, use)
    }
    if (uses.size === 0) continue
    const command = text(`/proc/${name}/comm`).trim()
    for (const [path, use] of uses) found.push({ pid: Number(name), command, path, use })
  }
  return found
}

/** Programs that use something below `directory`, as `name (pid)`. */
export function usersOf(directory: string): string[] {
  return [...new Set(usedFiles([directory]).map(({ command, pid }) => `${command} (${pid})`))]
}

function* usesOf(process: string): Iterable<[path: string, use: Use]> {
  yield [target(`${process}/cwd`), 'working directory']
  yield [target(`${process}/root`), 'root']
  for (const fd of names(`${process}/fd`)) yield [target(`${process}/fd/${fd}`), 'open']
  for (const path of mappedFiles(text(`${process}/maps`))) yield [path, 'mapped']
}

/** The files that a text as in /proc/PID/maps names (proc_pid_maps(5)); a newline in a name stands as `\012`. */
export function mappedFiles(maps: string): Set<string> {
  const paths = new Set<string>()
  for (const line of maps.split('\n')) {
    // 08048000-08056000 r-xp 00000000 03:0c 64593      /path with spaces
    const path = /^\S+ \S+ \S+ \S+ \d+ +(\/.*)$/.exec(line)?.[1]
    if (path !== undefined) paths.add(path.replaceAll('\\012', '\n'))
  }
  return paths
}

// A process may be gone by the time that it is looked at, or somebody else's.

function names(directory: string): string[] {
  try {
    return readdirSync(directory)
  } catch {
    return []
  }
}

function target(link: string): string {
  try {
    return readlinkSync(link)
  } catch {
    return ''
  }
}

function text(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}
