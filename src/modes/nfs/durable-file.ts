// Small files that are there completely or not at all, also after loss of power.
import { chmodSync, closeSync, fsyncSync, openSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'

/** For the owner only. */
export function writeDurably(path: string, content: string | Uint8Array): void {
  const draft = `${path}.new`
  writeFileSync(draft, content, { mode: 0o600, flush: true })
  chmodSync(draft, 0o600)
  renameSync(draft, path)
  syncDirectory(dirname(path))
}

/** Nothing happens if it is not there. After loss of power it may be there again. */
export function removeFile(path: string): void {
  rmSync(path, { force: true })
}

export function syncDirectory(path: string): void {
  const directory = openSync(path, 'r')
  try {
    fsyncSync(directory)
  } finally {
    closeSync(directory)
  }
}
