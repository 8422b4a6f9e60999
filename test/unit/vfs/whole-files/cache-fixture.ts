// Caches for tests: in a scratch directory, with a clock that goes on when it is told to.
import fs from 'node:fs'
import { join } from 'node:path'
import { afterEach, inject } from 'vitest'
import { FsError } from '../../../../src/posix/errors.ts'
import type { Miss } from '../../../../src/vfs/whole-files/opening.ts'
import { OpenFile } from '../../../../src/vfs/whole-files/parts.ts'
import { WholeFileCache, type WholeFileCacheOptions } from '../../../../src/vfs/whole-files/whole-file-cache.ts'

export { diskWith, fail, ManualClock } from '../../store/volume-fixture.ts'

const caches = new Set<WholeFileCache>()
const folders: string[] = []

afterEach(async () => {
  for (const cache of caches) await cache.close().catch(() => {})
  caches.clear()
  for (const folder of folders.splice(0)) fs.rmSync(folder, { recursive: true, force: true })
})

export function scratch(): string {
  const folder = fs.mkdtempSync(join(inject('testRoot'), 'cache-'))
  folders.push(folder)
  return folder
}

export const ROOMY = { bytes: 1 << 30, files: 10_000 }

export async function openCache(directory: string, options: Partial<WholeFileCacheOptions> = {}) {
  const onBackgroundError = (error: Error) => {
    throw error
  }
  const cache = await WholeFileCache.open(directory, { limits: ROOMY, onBackgroundError, ...options })
  caches.add(cache)
  return cache
}

/** What kill -9 leaves at this moment. */
export function copyOf(directory: string): string {
  const copy = scratch()
  fs.cpSync(directory, copy, { recursive: true, preserveTimestamps: true })
  return copy
}

export interface Version {
  readonly version: number
  readonly content: string | Uint8Array
  readonly status?: unknown
}

export async function put(cache: WholeFileCache, key: string, { version, content, status }: Version): Promise<void> {
  const bytes = Buffer.from(content)
  const fetch = cache.fetch(key, { version, length: bytes.length, status })
  if (bytes.length > 0) await fetch.write(bytes)
  fetch.commit()
}

export function opened(result: OpenFile | Miss): OpenFile {
  if (!(result instanceof OpenFile)) throw new Error(`a miss: ${result}`)
  return result
}

export const textOf = (file: OpenFile): string => fs.readFileSync(file.path, 'utf8')

/** What an open reads; the miss, if it is one. */
export async function read(cache: WholeFileCache, key: string, version?: number): Promise<string> {
  const result = await cache.open(key, version)
  if (!(result instanceof OpenFile)) return `(${result})`
  const bytes = Buffer.alloc(fs.fstatSync(result.fd).size)
  fs.readSync(result.fd, bytes, 0, bytes.length, 0)
  result.release()
  return bytes.toString()
}

/** Names of the files on the disk. */
export const filesIn = (directory: string): string[] => fs.readdirSync(join(directory, 'files')).sort()

/** The name of the errno that `action` fails with. */
export async function codeOf(action: () => unknown): Promise<string | undefined> {
  try {
    await action()
    return undefined
  } catch (error) {
    if (error instanceof FsError) return error.code
    throw error
  }
}
