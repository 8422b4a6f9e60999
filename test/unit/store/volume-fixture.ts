// What the tests of the volume share: volumes that are closed and removed, a clock that stands still, a disk that
// fails on demand, and the whole of a volume as one value.
import fs from 'node:fs'
import { join } from 'node:path'
import { afterEach, expect, inject } from 'vitest'
import type { Clock } from '../../../src/host/clock.ts'
import { type Disk, hostDisk } from '../../../src/host/disk.ts'
import { type Credentials, ROOT_CREDENTIALS } from '../../../src/posix/credentials.ts'
import { FsError } from '../../../src/posix/errors.ts'
import { isDirectory, isRegular, O_RDONLY, S_IFDIR, S_IFREG } from '../../../src/posix/mode.ts'
import { Volume, type VolumeOptions } from '../../../src/store/volume.ts'

export const root: Credentials = ROOT_CREDENTIALS
export const superuser: Credentials = { uid: 0, gid: 0, groups: [] }
export const alice: Credentials = { uid: 1000, gid: 1000, groups: [50] }
export const bob: Credentials = { uid: 2000, gid: 2000, groups: [] }

/** Somebody whose permissions were checked elsewhere. */
export const as = (who: Credentials): Credentials => ({ ...who, checked: true })

const open = new Set<Volume>()
const folders: string[] = []

afterEach(async () => {
  for (const volume of open) await volume.close()
  open.clear()
  for (const folder of folders.splice(0)) fs.rmSync(folder, { recursive: true, force: true })
})

export function scratch(): string {
  const folder = fs.mkdtempSync(join(inject('testRoot'), 'volume-'))
  folders.push(folder)
  return folder
}

/** Opens a volume that fails the test on background errors, unless told otherwise, and is closed after it. */
export async function openVolume(directory = scratch(), options: VolumeOptions = {}): Promise<Volume> {
  const fail = (error: Error) => {
    throw error
  }
  const volume = await Volume.open(directory, { onBackgroundError: fail, ...options })
  open.add(volume)
  return volume
}

/** A clock that goes on when it is told to. */
export class ManualClock implements Clock {
  ms = 1_700_000_000_000
  #timers = new Set<{ at: number; action: () => void }>()

  now(): number {
    return this.ms
  }

  after(ms: number, action: () => void): () => void {
    const timer = { at: this.ms + ms, action }
    this.#timers.add(timer)
    return () => this.#timers.delete(timer)
  }

  advance(ms: number): void {
    this.ms += ms
    for (const timer of this.#timers) {
      if (timer.at > this.ms) continue
      this.#timers.delete(timer)
      timer.action()
    }
  }
}

/** Throws `code`, as a system call does. */
export function fail(code: string): never {
  throw Object.assign(new Error(`${code}: injected`), { code })
}

/** The host's disk with some calls replaced. */
export const diskWith = (calls: Partial<Disk>): Disk => ({ ...hostDisk, ...calls })

/** Runs `action` and returns the errno name that it fails with; undefined if it does not fail. */
export function codeOf(action: () => unknown): string | undefined {
  try {
    action()
    return undefined
  } catch (error) {
    if (error instanceof FsError) return error.code
    throw error
  }
}

export const file = (volume: Volume, parent: number, name: string, who: Credentials = root, mode = 0o644): number =>
  volume.create(parent, name, { mode: S_IFREG | mode }, who)

export const folder = (volume: Volume, parent: number, name: string, who: Credentials = root, mode = 0o755): number =>
  volume.create(parent, name, { mode: S_IFDIR | mode }, who)

export function put(volume: Volume, ino: number, text: string, offset = 0): void {
  const content = volume.openContent(ino, 1, root)
  volume.write(content, Buffer.from(text), offset)
  volume.closeContent(content)
}

export function contentOf(volume: Volume, ino: number): string {
  const content = volume.openContent(ino, O_RDONLY, root)
  const into = new Uint8Array(volume.attributes(ino).size)
  const count = volume.read(content, into, 0)
  volume.closeContent(content)
  return Buffer.from(into.subarray(0, count)).toString()
}

export const names = (volume: Volume, directory: number): string[] =>
  [...volume.list(directory, 0)].map((entry) => entry.name).filter((name) => name !== '.' && name !== '..')

/** All that can be seen of a node by its path: text for a diff. Inode numbers are left out unless asked for. */
export function treeOf(volume: Volume, options: { readonly numbers?: boolean } = {}): string[] {
  const lines: string[] = []
  const walk = (ino: number, path: string) => {
    const { mode, nlink, uid, gid, size, rdev } = volume.attributes(ino)
    const number = options.numbers ? ` #${ino}` : ''
    const xattrs = volume
      .listXattrs(ino, root)
      .map((name) => `${name}=${Buffer.from(volume.getXattr(ino, name, root) ?? []).toString('hex')}`)
    const content = isRegular(mode) ? contentOf(volume, ino) : ''
    lines.push(
      `${path}${number} ${mode.toString(8)} ${nlink} ${uid}:${gid} ${size} ${rdev} ${xattrs.sort().join(',')} ${content}`,
    )
    if (!isDirectory(mode)) return
    const entries = [...volume.list(ino, 0)].filter(({ name }) => name !== '.' && name !== '..')
    for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) walk(entry.ino, `${path}/${entry.name}`)
  }
  walk(volume.root, '')
  return lines
}

/** Checks what holds in every volume: link counts, `..`, types, cookies, and no content without an inode. */
export async function checkVolume(volume: Volume, directory: string): Promise<void> {
  const links = new Map<number, number>()
  const walk = (ino: number, parent: number) => {
    let subdirectories = 0
    let last = 0
    for (const { name, ino: child, type, cookie } of volume.list(ino, 0)) {
      expect(cookie).toBeGreaterThan(last)
      last = cookie
      if (name === '.') expect(child).toBe(ino)
      else if (name === '..') expect(child).toBe(parent)
      else {
        const { mode } = volume.attributes(child)
        expect(type).toBe((mode & 0o170000) >>> 12)
        expect(volume.lookup(ino, name, root)).toBe(child)
        links.set(child, (links.get(child) ?? 0) + 1)
        if (!isDirectory(mode)) continue
        subdirectories++
        walk(child, ino)
      }
    }
    expect(volume.attributes(ino).nlink).toBe(2 + subdirectories)
  }
  walk(volume.root, volume.root)
  let bytes = 0
  for (const [ino, count] of links) {
    const { mode, nlink, size } = volume.attributes(ino)
    if (isDirectory(mode)) expect(count).toBe(1)
    else expect(nlink).toBe(count)
    if (isRegular(mode)) bytes += size
  }
  expect(volume.used).toEqual({ inodes: links.size + 1, bytes })
  const regular = [...links.keys()].filter((ino) => isRegular(volume.attributes(ino).mode))
  await volume.sync()
  const used = new Set(regular.map((ino) => join(directory, volume.contentPath(ino) ?? '')))
  expect(used.size).toBe(regular.length)
  const found = fs
    .readdirSync(join(directory, 'content'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
  expect(found).toEqual(expect.arrayContaining([...used]))
  // What is left of deleted files waits, empty, for new ones.
  for (const path of found) if (!used.has(path)) expect(fs.statSync(path).size).toBe(0)
}

/** Nothing is synced: for volumes that are only looked at. */
export const unsynced = diskWith({ sync: async () => {}, syncFileSystem: async () => {} })

/** Lets everything run that waits for no timer and no disk. */
export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** How a clone is opened. */
export const readOnly = { readOnly: true } as const
