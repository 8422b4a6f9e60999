// Directories that a command is given: where they really are, and making those that are missing. Node's own recursive
// mkdir and realpath will not do: the first never ends where a directory takes no entries and says ENOENT (/proc), the
// second waits for a mount that does not answer.
import { mkdirSync, readlinkSync, statSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { CliError, errorCode } from './errors.ts'
import { isFuse, type MountEntry, mountedOn } from './mount-table.ts'
import { shown } from './shown.ts'

/** As many as the kernel follows (path_resolution(7)). */
const MAX_LINKS = 40

/**
 * `path` as the mount table names it: absolute and without symbolic links. What lies in a FUSE mount is not asked, and
 * what does not exist is taken as it is written.
 */
export function realTarget(path: string, table: readonly MountEntry[]): string {
  let rest = resolve(path).split('/').slice(1)
  let at = '/'
  for (let links = 0; rest.length > 0; ) {
    const [name = '', ...after] = rest
    const next = join(at, name)
    const entry = mountedOn(next, table)
    if (entry !== undefined && isFuse(entry)) return join(next, ...after)
    const link = linkText(next)
    if (link === undefined) {
      at = next
      rest = after
      continue
    }
    if (++links > MAX_LINKS) throw new CliError(`${path}: too many symbolic links`)
    rest = [...resolve(at, link).split('/').slice(1), ...after]
    at = '/'
  }
  return at
}

/** Undefined if `path` is no symbolic link, or cannot be looked at: then whoever uses it will hear why. */
function linkText(path: string): string | undefined {
  try {
    return readlinkSync(path)
  } catch {
    return undefined
  }
}

/** Makes `path` and what is missing above it. Fails with a message for people. */
export function makeDirectory(path: string, mode = 0o777): void {
  const missing: string[] = []
  for (let at = path; !isDirectory(at); at = dirname(at)) missing.unshift(at)
  for (const directory of missing) {
    try {
      mkdirSync(directory, mode)
    } catch (error) {
      // Somebody else was faster.
      if (errorCode(error) === 'EEXIST' && isDirectory(directory)) continue
      throw cannotMake(directory, error)
    }
  }
}

/** False if there is nothing. */
function isDirectory(path: string): boolean {
  let found: ReturnType<typeof statSync>
  try {
    found = statSync(path, { throwIfNoEntry: false })
  } catch (error) {
    // Something above it is a file: that will be found, too.
    if (errorCode(error) === 'ENOTDIR') return false
    throw error
  }
  if (found === undefined) return false
  if (found.isDirectory()) return true
  throw new CliError(`${shown(path)} is not a directory`)
}

function cannotMake(path: string, error: unknown): Error {
  const name = shown(path)
  switch (errorCode(error)) {
    case 'EACCES':
    case 'EPERM':
      return new CliError(`${name} cannot be made, permission denied: choose a directory that you may write to`, {
        cause: error,
      })
    case 'ENOENT':
      return new CliError(`${name} cannot be made: ${shown(dirname(path))} takes no directories`, { cause: error })
    default:
      return error as Error
  }
}
