// Which file systems are mounted where, from /proc/self/mountinfo (proc_pid_mountinfo(5)), and which are ours.
// Reading it touches no mount, so a dead one cannot hang it.
import { readFileSync } from 'node:fs'

export interface MountEntry {
  readonly target: string
  /** `major:minor` of the files in it: several mounts of one file system have the same. */
  readonly device: string
  /** `ext4`, `fuse.proteus`. */
  readonly type: string
  /** What is mounted: a device, `proteus:local`. */
  readonly source: string
}

export function readMountTable(): MountEntry[] {
  return parseMountTable(readFileSync('/proc/self/mountinfo', 'utf8'))
}

export function parseMountTable(text: string): MountEntry[] {
  const entries: MountEntry[] = []
  for (const line of text.split('\n')) {
    // 36 35 98:0 /root /target options optional-fields… - type source super-options
    const [left = '', right = ''] = line.split(' - ', 2)
    const [, , device, , target] = left.split(' ')
    const [type, source] = right.split(' ')
    if (device === undefined || target === undefined || type === undefined || source === undefined) continue
    entries.push({ target: unescapeField(target), device, type, source: unescapeField(source) })
  }
  return entries
}

/** What is mounted exactly on `target`: the uppermost, if several lie on each other. */
export function mountedOn(target: string, table: readonly MountEntry[]): MountEntry | undefined {
  return table.findLast((entry) => entry.target === target)
}

/** The mount that `path` is in. */
export function mountOf(path: string, table: readonly MountEntry[]): MountEntry | undefined {
  let best: MountEntry | undefined
  for (const entry of table) {
    const isInside = path === entry.target || path.startsWith(entry.target === '/' ? '/' : `${entry.target}/`)
    if (isInside && entry.target.length >= (best?.target.length ?? 0)) best = entry
  }
  return best
}

/** Those of `targets` that have a FUSE mount. */
export function fuseMountedOf(targets: readonly string[], table: readonly MountEntry[]): string[] {
  return targets.filter((target) => {
    const entry = mountedOn(target, table)
    return entry !== undefined && isFuse(entry)
  })
}

/** What keeps the mount on `target` alive, or would go with it: mounts inside it, and other mounts of its file system. */
export function entangledWith(target: string, table: readonly MountEntry[]): MountEntry[] {
  const mounted = mountedOn(target, table)
  return table.filter(
    (entry) =>
      entry !== mounted && (entry.target.startsWith(`${target}/`) || (mounted && entry.device === mounted.device)),
  )
}

export const isFuse = (entry: MountEntry): boolean => entry.type === 'fuse' || entry.type.startsWith('fuse.')

/** Whether a mount is one of this program's; `fsname` and `subtype` may both have been changed, hence "probably". */
export const isProbablyOurs = (entry: MountEntry): boolean =>
  isFuse(entry) && (entry.type === 'fuse.proteus' || entry.source.startsWith('proteus:'))

/** Space, tab, newline and backslash stand as octal escapes. */
function unescapeField(field: string): string {
  if (!field.includes('\\')) return field
  const bytes = Buffer.from(field)
  const out: number[] = []
  for (let i = 0; i < bytes.length; i++) {
    const octal = bytes[i] === 0x5c ? /^[0-7]{3}$/.exec(bytes.toString('latin1', i + 1, i + 4)) : null
    out.push(octal ? Number.parseInt(octal[0], 8) : (bytes[i] ?? 0))
    if (octal) i += 3
  }
  return Buffer.from(out).toString()
}
