// What a conformance test is, and what it works with: a fresh folder on the mount and a process that makes system calls.
import { expect } from 'vitest'
import type { Capability } from '../support/capabilities.ts'
import { Posix } from '../support/posix.ts'
import { type Credentials, O, type Syscalls } from '../support/syscalls.ts'

export type Check = (world: World) => Promise<void>

export interface Test {
  readonly needs: readonly Capability[]
  readonly run: Check
}

/** Tests of one area by name. */
export interface Area {
  readonly [name: string]: Check | Test
}

/** A test that can run only where the target has these. */
export function needs(what: Capability | readonly Capability[], run: Check): Test {
  return { needs: typeof what === 'string' ? [what] : what, run }
}

export const asTest = (test: Check | Test): Test => (typeof test === 'function' ? { needs: [], run: test } : test)

/** Two users who share nothing, as nobody else is. */
export const alice: Credentials = { uid: 61_001, gid: 61_001 }
export const bob: Credentials = { uid: 61_002, gid: 61_002 }

/** The permission bits of st_mode, with set-id and sticky. */
export const permissions = (mode: number): number => mode & 0o7777

/** Expects a call to fail with one of these errnos. */
export async function fails(call: Promise<unknown>, ...codes: string[]): Promise<void> {
  const outcome = await call.then(
    () => 'success',
    (error: { code?: string; message: string }) => error.code ?? error.message,
  )
  expect(codes).toContain(outcome)
}

/** Waits until a call gives what is expected, for things that the kernel may do a moment later. */
export async function eventually<T>(call: () => Promise<T>, expected: T): Promise<void> {
  await expect.poll(call, { timeout: 10_000, interval: 20 }).toEqual(expected)
}

/** What one test works with. */
export class World {
  /** A fresh, empty folder on the mount; anyone may pass through it, only root may change it. */
  readonly dir: string
  /** System calls of one process, as root. */
  readonly p: Syscalls
  readonly #posix: Posix
  readonly #others: Posix[] = []

  constructor(dir: string, posix: Posix) {
    this.dir = dir
    this.p = posix.calls
    this.#posix = posix
  }

  /** Paths in the folder of this test. */
  readonly at = (name: string): string => `${this.dir}/${name}`

  /** The calls as another user; they keep no descriptors. */
  as(who: Credentials): Syscalls {
    return this.#posix.as(who)
  }

  /** A second process with descriptors and locks of its own; it ends with the test. */
  another(): Posix {
    const other = new Posix()
    this.#others.push(other)
    return other
  }

  /** Makes a file and returns its path. */
  async file(name: string, content = '', mode = 0o644): Promise<string> {
    const fd = await this.p.open(this.at(name), O.WRONLY | O.CREAT | O.EXCL, mode)
    if (content.length > 0) expect(await this.p.write(fd, content)).toBe(content.length)
    await this.p.close(fd)
    return this.at(name)
  }

  /** Makes a directory and returns its path. */
  async directory(name: string, mode = 0o755): Promise<string> {
    await this.p.mkdir(this.at(name), mode)
    return this.at(name)
  }

  /** Makes a folder in which every user may work. */
  async common(name: string, mode = 0o777): Promise<string> {
    const path = await this.directory(name)
    await this.p.chmod(path, mode)
    return path
  }

  /** The whole content of a file. */
  async content(path: string): Promise<string> {
    const fd = await this.p.open(path, O.RDONLY)
    const { size } = await this.p.fstat(fd)
    const content = await this.p.pread(fd, size + 1, 0)
    await this.p.close(fd)
    return content
  }

  /** Ends the other processes. */
  close(): void {
    for (const other of this.#others) other.close()
  }
}
