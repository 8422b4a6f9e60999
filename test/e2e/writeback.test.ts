// The kernel's write-back cache, for a file system that asks for it: what is written comes late, in large pieces, and whole.
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import { KernelMount } from '../support/kernel-mount.ts'
import { Posix } from '../support/posix.ts'
import { O } from '../support/syscalls.ts'
import { scratch } from '../support/targets.ts'

const posix = new Posix()
const { calls } = posix
let mount: KernelMount

beforeAll(async () => {
  mount = await KernelMount.start(scratch('writeback'), { keepCache: true, writebackCache: true })
})
afterAll(async () => {
  posix.close()
  await mount.end()
})
beforeEach(() => mount.calls.forgetRequests())

const at = (name: string): string => join(mount.target, name)
const written = async () => {
  const { writes } = await mount.calls.report()
  return { count: writes.length, bytes: writes.reduce((sum, { bytes }) => sum + bytes, 0), writes }
}

async function put(name: string, text: string): Promise<void> {
  const fd = await calls.open(at(name), O.WRONLY | O.CREAT | O.TRUNC, 0o644)
  expect(await calls.write(fd, text)).toBe(text.length)
  await calls.close(fd)
}

it('many small writes come as few large ones, of no process, by the time of the close', async () => {
  const lines = Array.from({ length: 2000 }, (_, index) => `line ${index}\n`)
  const fd = await calls.open(at('small'), O.WRONLY | O.CREAT, 0o644)
  for (const line of lines) await calls.write(fd, line)
  await calls.close(fd)
  const { count, bytes, writes } = await written()
  // One, unless the kernel has reasons of its own to write earlier.
  expect(count).toBeLessThan(20)
  expect(bytes).toBeGreaterThanOrEqual(lines.join('').length)
  expect(new Set(writes.map(({ pid }) => pid))).toEqual(new Set([0]))
  expect(await mount.calls.read('small')).toBe(lines.join(''))
})

it('fsync brings what is written', async () => {
  const fd = await calls.open(at('synced'), O.RDWR | O.CREAT, 0o644)
  for (const part of ['a', 'b', 'c']) await calls.write(fd, part)
  expect(await calls.pread(fd, 10, 0)).toBe('abc')
  await calls.fsync(fd)
  expect(await mount.calls.read('synced')).toBe('abc')
  await calls.close(fd)
})

it('a page that is written in part is completed through a handle that is open for writing only', async () => {
  const text = 'x'.repeat(10_000)
  await put('part', text)
  await mount.calls.invalidateData(await mount.calls.node('part'))
  await mount.calls.forgetRequests()
  const fd = await calls.open(at('part'), O.WRONLY)
  await calls.pwrite(fd, 'middle', 5000)
  await calls.close(fd)
  expect((await mount.calls.report()).requests.READ).toBe(1)
  expect(await mount.calls.read('part')).toBe(`${text.slice(0, 5000)}middle${text.slice(5006)}`)
})

it('appends land at the end', async () => {
  await put('log', 'one\n')
  const first = await calls.open(at('log'), O.WRONLY | O.APPEND)
  const second = await calls.open(at('log'), O.WRONLY | O.APPEND)
  await calls.write(first, 'two\n')
  await calls.write(second, 'three\n')
  await calls.write(first, 'four\n')
  await calls.close(first)
  await calls.close(second)
  expect(await mount.calls.read('log')).toBe('one\ntwo\nthree\nfour\n')
})

it('shared mappings and truncation', async () => {
  await put('mapped', 'm'.repeat(6000))
  const fd = await calls.open(at('mapped'), O.RDWR)
  const mapping = await calls.mmap(fd, 6000, true)
  await calls.mmapWrite(mapping, 4000, 'written in the map')
  await calls.munmap(mapping)
  await calls.ftruncate(fd, 4010)
  await calls.close(fd)
  expect(await mount.calls.read('mapped')).toBe(`${'m'.repeat(4000)}written in`)
})

it('mtime is what the kernel says', async () => {
  await put('timed', 'text')
  const { mtimeNs } = await calls.stat(at('timed'))
  const { sec, nsec } = await mount.calls.mtime('timed')
  expect(BigInt(sec) * 1_000_000_000n + BigInt(nsec)).toBe(mtimeNs)
  expect((await mount.calls.report()).requests.SETATTR).toBeGreaterThan(0)
})

it('size is what the kernel says, even if it was told otherwise', async () => {
  await put('sized', 'text')
  const node = await mount.calls.node('sized')
  await mount.calls.write('sized', 'longer text')
  await mount.calls.invalidateAttributes(node)
  await mount.calls.invalidateData(node)
  expect((await calls.stat(at('sized'))).size).toBe(4)
  await mount.calls.invalidateName('sized') // The last thing that held the node: it is forgotten.
  expect((await calls.stat(at('sized'))).size).toBe(11)
})

it('the error of a late write is that of the fsync', async () => {
  const fd = await calls.open(at('far'), O.RDWR | O.CREAT, 0o644)
  await calls.pwrite(fd, 'beyond what the file system takes', 2 ** 30)
  await expect(calls.fsync(fd)).rejects.toMatchObject({ code: 'EFBIG' })
  await calls.close(fd).catch(() => undefined)
})
