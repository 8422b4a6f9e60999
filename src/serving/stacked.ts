// File systems that lie on others, whose files cannot be backing of passthrough.
import { statfsSync } from 'node:fs'

/** Their magic numbers (linux/magic.h). */
export const STACKED: ReadonlyMap<number, string> = new Map([
  [0x794c7630, 'overlayfs'],
  [0x65735546, 'FUSE'],
  [0xf15f, 'eCryptfs'],
])

/** The name of the file system that `path` is on if it is one of them. */
export function stackedFileSystem(path: string): string | undefined {
  return STACKED.get(statfsSync(path).type)
}
