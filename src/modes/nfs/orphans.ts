// Files that clients which died have left under silly names. The server knows no opens, so nothing but their age tells
// them from those that a living client keeps open (Solaris' nfsfind removes them after a week, and so does everybody's
// cron job). They are looked for on a mount, by another process than the one that serves it.
import { lstat, opendir } from 'node:fs/promises'
import { join } from 'node:path'
import { parseSillyName } from './silly-rename.ts'

/** Times in milliseconds since the epoch. */
export interface OrphanCandidate {
  readonly name: string
  readonly fileId: bigint
  readonly atimeMs: number
  readonly mtimeMs: number
  readonly ctimeMs: number
}

/** When somebody last read, wrote or renamed it. */
export const lastUsedMs = ({ atimeMs, mtimeMs, ctimeMs }: OrphanCandidate): number =>
  Math.max(atimeMs, mtimeMs, ctimeMs)

/** Whether a silly rename made the name: those tell the file's own id. */
export const isSilly = ({ name, fileId }: OrphanCandidate): boolean => parseSillyName(name)?.fileId === fileId

/**
 * Whether a silly name is an orphan: nobody has used the file for `minAgeMs`. A client that only keeps it open looks just
 * the same, so the age has to be longer than anybody does that.
 */
export const isOrphan = (
  candidate: OrphanCandidate,
  { nowMs, minAgeMs }: { readonly nowMs: number; readonly minAgeMs: number },
): boolean => isSilly(candidate) && nowMs - lastUsedMs(candidate) >= minAgeMs

export interface SillyFileFound extends OrphanCandidate {
  readonly path: string
  readonly bytes: number
}

/** All silly names below a directory, without other file systems. `onError`: of a directory that cannot be read. */
export async function* findSillyNames(
  directory: string,
  onError: (path: string, error: unknown) => void,
): AsyncGenerator<SillyFileFound> {
  const { dev: device } = await lstat(directory)
  const waiting = [directory]
  for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
    try {
      for await (const entry of await opendir(path)) {
        const at = join(path, entry.name)
        if (entry.isDirectory()) waiting.push(at)
        else if (parseSillyName(entry.name) !== undefined) {
          const found = await lookAt(at, entry.name, device)
          if (found !== undefined) yield found
        }
      }
    } catch (error) {
      // What has gone meanwhile is no loss.
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') onError(path, error)
    }
  }
}

/** Undefined: not what it was, or not here. */
async function lookAt(path: string, name: string, device: number): Promise<SillyFileFound | undefined> {
  const stat = await lstat(path, { bigint: true }).catch(() => undefined)
  if (stat === undefined || stat.dev !== BigInt(device)) return undefined
  const { ino: fileId, size } = stat
  const [atimeMs, mtimeMs, ctimeMs] = [stat.atimeMs, stat.mtimeMs, stat.ctimeMs].map(Number) as [number, number, number]
  const found = { path, name, fileId, bytes: Number(size), atimeMs, mtimeMs, ctimeMs }
  return isSilly(found) ? found : undefined
}
