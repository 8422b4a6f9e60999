// What the kernel is told: a file system in memory lets it believe everything for an hour, changes behind its back, and
// then says so. Programs see exactly what was taken back or given.
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { KernelMount } from '../support/kernel-mount.ts'
import { Posix } from '../support/posix.ts'
import { O } from '../support/syscalls.ts'
import { scratch } from '../support/targets.ts'

const HOUR_MS = 3_600_000
const MiB = 1 << 20

const posix = new Posix()
const { calls } = posix
let mount: KernelMount

beforeAll(async () => {
  mount = await KernelMount.start(scratch('notify'), {
    nameTtlMs: HOUR_MS,
    attributesTtlMs: HOUR_MS,
    keepCache: true,
  })
})
afterAll(async () => {
  posix.close()
  await mount.end()
})
beforeEach(() => mount.calls.forgetRequests())

it('before anybody comes in, the kernel knows who may', async () => {
  const other = await KernelMount.start(scratch('root'), { attributesTtlMs: HOUR_MS })
  try {
    await other.calls.forgetRequests()
    await calls.stat(other.target)
    expect((await other.calls.report()).requests.GETATTR).toBeUndefined()
  } finally {
    await other.end()
  }
})

const at = (name: string): string => join(mount.target, name)

async function put(name: string, text: string): Promise<number> {
  const fd = await calls.open(at(name), O.WRONLY | O.CREAT | O.TRUNC, 0o644)
  for (let done = 0; done < text.length; ) done += await calls.pwrite(fd, text.slice(done, done + MiB), done)
  await calls.close(fd)
  return mount.calls.node(name)
}

async function get(name: string): Promise<string> {
  const fd = await calls.open(at(name), O.RDONLY)
  let text = ''
  for (let part = 'more'; part !== ''; text += part) part = await calls.pread(fd, MiB, text.length)
  await calls.close(fd)
  return text
}

const errno = (call: Promise<unknown>): Promise<string | undefined> =>
  call.then(
    () => undefined,
    (error: { code?: string }) => error.code,
  )

const requests = async (name: string): Promise<number> => (await mount.calls.report()).requests[name] ?? 0

describe('attributes and data', () => {
  it('are old until they are invalidated', async () => {
    const node = await put('data', 'old')
    expect(await get('data')).toBe('old')
    await calls.stat(at('data')) // After the read, which changed atime.
    await mount.calls.write('data', 'new text')
    expect((await calls.stat(at('data'))).size).toBe(3)
    expect(await get('data')).toBe('old')
    expect(await mount.calls.invalidateAttributes(node)).toBe(true)
    expect((await calls.stat(at('data'))).size).toBe(8)
    await mount.calls.invalidateData(node)
    expect(await get('data')).toBe('new text')
  })
})

describe('names', () => {
  it('expired: looked up again, and lead to what is there now', async () => {
    await put('here', 'first')
    await put('there', 'second')
    await mount.calls.rename('there', 'here')
    await mount.calls.forgetRequests()
    expect(await get('here')).toBe('first')
    expect(await requests('LOOKUP')).toBe(0)
    await mount.calls.expireName('here')
    expect(await get('here')).toBe('second')
    expect(await requests('LOOKUP')).toBeGreaterThan(0)
  })

  it('expired: who works inside keeps a path; dropped: not', async () => {
    await calls.mkdir(at('inside'))
    await calls.chdir(at('inside'))
    await mount.calls.forgetRequests()
    await mount.calls.expireName('inside')
    expect(await calls.getcwd()).toBe(at('inside'))
    expect((await calls.stat(at('inside'))).nlink).toBe(2)
    expect(await requests('LOOKUP')).toBe(1)
    expect(await calls.getcwd()).toBe(at('inside'))
    await mount.calls.invalidateName('inside')
    expect(await errno(calls.getcwd())).toBe('ENOENT')
    await calls.chdir('/')
  })

  it('wait for a call in progress in the directory, and the daemon goes on meanwhile', async () => {
    await put('known', 'text')
    await mount.calls.hold('lookup')
    const slow = errno(calls.stat(at('slow')))
    await mount.calls.holding()
    const told = Promise.all([mount.calls.expireName('known'), mount.calls.deleted(4711, 'known')])
    let through = false
    told.then(() => {
      through = true
    })
    expect((await mount.calls.report()).errors).toEqual([])
    expect(through).toBe(false)
    await mount.calls.letGo()
    await told
    expect(await slow).toBe('ENOENT')
    expect(await get('known')).toBe('text')
  })

  it('expired without being known: nothing happens', async () => {
    await mount.calls.expireName('never-seen')
    await mount.calls.deleted(4711, 'never-seen')
  })

  it('deleted: the name is gone, and an open file knows that it has none', async () => {
    const node = await put('doomed', 'last words')
    const fd = await calls.open(at('doomed'), O.RDONLY)
    await calls.fstat(fd) // After the write, which changed mtime.
    await mount.calls.remove('doomed')
    expect((await calls.stat(at('doomed'))).nlink).toBe(1)
    await mount.calls.deleted(node, 'doomed')
    expect(await errno(calls.stat(at('doomed')))).toBe('ENOENT')
    expect((await calls.fstat(fd)).nlink).toBe(0)
    expect(await calls.pread(fd, 100, 0)).toBe('last words')
    await calls.close(fd)
  })

  it('deleted, said of another node than the name leads to: looked up again', async () => {
    const node = await put('stays', 'here')
    await mount.calls.forgetRequests()
    await mount.calls.deleted(node + 1000, 'stays')
    expect(await get('stays')).toBe('here')
    expect(await requests('LOOKUP')).toBe(1)
  })

  it('deleted directory in which a file is open: looked up again', async () => {
    await calls.mkdir(at('full'))
    const fd = await calls.open(at('full/file'), O.RDWR | O.CREAT, 0o644)
    await mount.calls.rename('full', 'moved')
    await mount.calls.deleted(await mount.calls.node('moved'), 'full')
    expect(await errno(calls.stat(at('full')))).toBe('ENOENT')
    await calls.pwrite(fd, 'x', 0)
    await calls.close(fd)
    // The name was asked for before it was there: the kernel still believes that it is not.
    await mount.calls.expireName('moved')
    expect(await calls.readdir(at('moved'))).toEqual(['file'])
  })
})

describe('stored bytes', () => {
  it('are read without asking, however many', async () => {
    const text = 'a page and more, '.repeat(200_000)
    const node = await put('stored', text)
    await mount.calls.invalidateData(node)
    await mount.calls.forgetRequests()
    expect(await mount.calls.store(node, 0, text)).toBe(true)
    expect((await get('stored')) === text).toBe(true)
    expect(await requests('READ')).toBe(0)
    await mount.calls.invalidateData(node)
    expect((await get('stored')) === text).toBe(true)
    expect(await requests('READ')).toBeGreaterThan(0)
  })

  it('replace what was cached, and let the file grow', async () => {
    const node = await put('grows', 'small')
    expect(await get('grows')).toBe('small')
    await mount.calls.write('grows', 'much larger')
    await mount.calls.forgetRequests()
    expect(await mount.calls.store(node, 0, 'much larger')).toBe(true)
    expect(await get('grows')).toBe('much larger')
    expect((await calls.stat(at('grows'))).size).toBe(11)
    expect(await requests('READ')).toBe(0)
  })

  it('go nowhere if the kernel does not know the node', async () => {
    expect(await mount.calls.store(4711, 0, 'text')).toBe(false)
  })
})
